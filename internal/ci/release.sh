# Checks that HEAD can be released, and makes its archive in dist/, as in:
# sh internal/ci/release.sh 0.1.0. It prints the commands that tag and publish that version,
# and runs none of them. Without a version it checks what is true of every commit, for CI.
set -eu

version=${1:-}
failed=

ok() {
	echo "ok    $1"
}

# fail reports a check that failed and what to do.
fail() {
	echo "FAIL  $1" >&2
	failed=1
}

# found reports what was found, if anything was, as the failure $2, or else $3 as good.
found() {
	if [ -n "$1" ]; then
		printf '%s\n' "$1" >&2
		fail "$2"
	else
		ok "$3"
	fi
}

sdk=github.com/gamma-sdk/gamma-go
current=$(sed -n 's/^const Version = "\(.*\)"$/\1/p' client.go)
published=$(grep -v '^#' internal/ci/published)
dirs=$(echo "$published" | cut -d ' ' -f 1)

# The version.
if [ -z "$version" ]; then
	version=$current
	if grep -q -e '^## \[Unreleased\]$' -e "^## \[$version\] - " CHANGELOG.md; then
		ok "CHANGELOG.md has [Unreleased] or $version"
	else
		fail "CHANGELOG.md has neither [Unreleased] nor $version: add the heading \"## [Unreleased]\""
	fi
else
	if ! echo "$version" | grep -qE '^[01]\.[0-9]+\.[0-9]+$'; then
		fail "$version is not a version such as 0.1.0; version 2 would need other module paths"
		exit 1
	fi
	changes=$(git status --porcelain)
	found "$changes" 'the working tree is not clean: commit the changes above' 'the working tree is clean'
	if [ "$version" = "$current" ]; then
		ok "Version in client.go is $version"
	else
		fail "Version in client.go is $current: set it to $version"
	fi
	if grep -qE "^## \[$version\] - [0-9]{4}-[0-9]{2}-[0-9]{2}\$" CHANGELOG.md; then
		ok "CHANGELOG.md has $version"
	else
		fail "CHANGELOG.md does not have $version: add the heading \"## [$version] - $(date +%Y-%m-%d)\""
	fi
	if awk '/^## / { on = $0 == "## [Unreleased]"; next } on && NF { found = 1 } END { exit !found }' CHANGELOG.md; then
		fail "CHANGELOG.md has entries under [Unreleased]: move them to $version"
	else
		ok 'CHANGELOG.md has no entry under [Unreleased]'
	fi
	unpublished=$(grep -niE 'not published|no release|-replace' README.md || true)
	found "$unpublished" 'README.md says that there is no release: change it to "go get"' 'README.md does not say that there is no release'
fi

# The published modules.
others=$(git ls-files '*go.mod' ':!internal' ':!examples' | xargs -n 1 dirname | grep -vxF "$dirs" || true)
found "$others" 'a module outside internal and examples is not in internal/ci/published: add it' 'internal/ci/published has every module outside internal and examples'
tags=
for dir in $dirs; do
	tag=v$version
	if [ "$dir" != . ]; then
		tag=$dir/$tag
	fi
	tags="$tags $tag"
	if [ -n "${1:-}" ] && git rev-parse -q --verify "refs/tags/$tag" >/dev/null; then
		fail "there is a tag $tag: choose another version, for proxies keep the old one"
	fi

	go=$(echo "$published" | awk -v dir="$dir" '$1 == dir { print $2 }')
	if [ "$(awk '$1 == "go" { print $2 }' "$dir/go.mod")" = "$go" ] && ! grep -q '^toolchain ' "$dir/go.mod"; then
		ok "$dir requires Go $go"
	else
		fail "$dir/go.mod has other go or toolchain lines than \"go $go\": correct it, or internal/ci/published, README.md and ci.yml"
	fi
	wrong=$(grep -E "^(require)?[[:space:]]$sdk[^ ]* v" "$dir/go.mod" | grep -vE " v$version\$" || true)
	found "$wrong" "$dir/go.mod requires another version of the SDK, as above: set it to v$version" "$dir requires the SDK at v$version only"

	# Those who depend on a module do not get its replace directives, so in the libraries they
	# may only name the SDK itself. "go install" refuses a program that has any.
	if [ "$dir" = cmd/gamma ]; then
		wrong=$(grep -E '=>|^(replace|exclude)' "$dir/go.mod" || true)
	else
		wrong=$(grep -E '=>' "$dir/go.mod" | grep -vE "^(replace)?[[:space:]]$sdk(/[a-z/]+)? => \.\./" || true)
	fi
	found "$wrong" "$dir/go.mod has a replace directive, as above, that its users do not get: remove it" "$dir needs no replace directive"
done

# The tree.
todo=$(git grep -nwE 'TODO|FIXME' -- ':!internal/ci/release.sh' ':!*package-lock.json' || true)
found "$todo" 'TODO or FIXME, as above: do it, or remove the comment' 'no TODO or FIXME'
if git cat-file -e HEAD:LICENSE 2>/dev/null; then
	ok 'LICENSE is in the root: the go command copies it into the archive of each module'
else
	fail 'LICENSE is not in the root: the modules cannot be used without it'
fi

# The modules as users get them.
if (cd internal/test/consumer && go test -count=1 -run '^TestPublishedModules$' .); then
	ok 'every published module installs by its version, and has the licence'
else
	fail 'a published module cannot be installed by its version: see above'
fi

# The archive, made twice from clones in two places, and the README's program from each.
name=gamma-go-$version
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP
for place in one another/place; do
	dir=$tmp/$place
	git clone -q . "$dir/clone"
	git -C "$dir/clone" archive --format=tar --prefix="$name/" HEAD | gzip -9n >"$dir/$name.tar.gz"
	gzip -dc "$dir/$name.tar.gz" | tar -xf - -C "$dir"
	# With a separate cache, or the second build would only copy the first.
	(cd "$dir/$name/internal/test/consumer" && GOCACHE=$dir/cache CGO_ENABLED=0 go build -trimpath -ldflags=-s -o "$dir/program" .)
done
for file in "$name.tar.gz" program; do
	if cmp "$tmp/one/$file" "$tmp/another/place/$file"; then
		ok "$file is reproducible"
	else
		fail "$file is not reproducible: compare two builds with go build -x"
	fi
done

if [ -n "$failed" ]; then
	echo 'release: not ready, see the lines with FAIL' >&2
	exit 1
fi
mkdir -p dist
cp "$tmp/one/$name.tar.gz" dist/
(cd dist && sha256sum "$name.tar.gz" | tee "$name.tar.gz.sha256")
if [ -z "${1:-}" ]; then
	echo "release: ready except for the version; run make release VERSION=$version before a release"
	exit 0
fi
echo 'release: ready; to publish it, run make test check and then:'
for tag in $tags; do
	echo "git tag $tag"
done
echo "git push --atomic origin$tags"
