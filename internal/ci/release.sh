# Makes the release archive of HEAD in dist/, twice, from clones in two places, and
# builds the README's program from each. Fails when one byte differs.
set -eu

version=$(sed -n 's/^const Version = "\(.*\)"$/\1/p' client.go)
name=gamma-go-$version
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP
for place in one another/place; do
	dir=$tmp/$place
	git clone -q . "$dir/clone"
	git -C "$dir/clone" archive --format=tar --prefix="$name/" HEAD | gzip -9n >"$dir/$name.tar.gz"
	gzip -dc "$dir/$name.tar.gz" | tar -xf - -C "$dir"
	# A cache of its own, or the second build would only copy the first.
	(cd "$dir/$name/internal/test/consumer" && GOCACHE=$dir/cache CGO_ENABLED=0 go build -trimpath -ldflags=-s -o "$dir/program" .)
done
for file in "$name.tar.gz" program; do
	cmp "$tmp/one/$file" "$tmp/another/place/$file" || {
		echo "release: $file is not reproducible" >&2
		exit 1
	}
done
mkdir -p dist
cp "$tmp/one/$name.tar.gz" dist/
(cd dist && sha256sum "$name.tar.gz" | tee "$name.tar.gz.sha256")
echo 'release: built twice, without a difference'
