# Fails if a go.mod or go.sum is not tidy, or if a module in the cache does not have its
# checksum.
set -eu

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP
find . -name .git -prune -o -name go.mod -print | sort | while read -r file; do
	dir=$(dirname "$file")
	echo "check: go.mod and go.sum of $dir"
	modfile=
	if [ "$dir" = ./cmd/gamma ]; then
		# go install refuses a go.mod with replace directives, so they are in go.work, which
		# go mod tidy does not read.
		cp "$dir/go.mod" "$dir/go.sum" "$tmp/"
		go mod edit -replace=github.com/gamma-sdk/gamma-go=../.. \
			-replace=github.com/gamma-sdk/gamma-go/batch=../../batch \
			-replace=github.com/gamma-sdk/gamma-go/gammatest=../../gammatest "$tmp/go.mod"
		modfile=-modfile=$tmp/go.mod
	fi
	(cd "$dir" && go mod tidy $modfile -diff && go mod verify $modfile) || {
		echo "check: go mod tidy would change $dir, as above: commit that" >&2
		exit 1
	}
done
