# Merges the pages and documents named into openapi.json and generates api/ from it,
# or changes nothing. With CHECK=1 it only reports.
set -eu

if [ $# -eq 0 ]; then
	echo 'usage: make spec FROM="page.md document.yaml ..." [CHECK=1]' >&2
	exit 2
fi
refuse() {
	echo "make spec: nothing was changed: $*" >&2
	exit 1
}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP
go build -C internal/spec -buildvcs=false -o "$tmp/spec" .
"$tmp/spec" -o "$tmp/openapi.json" "$@"

# All that can fail is tried on a copy.
mkdir "$tmp/tree"
tar -cf "$tmp/tree.tar" --exclude ./.git --exclude node_modules .
tar -xf "$tmp/tree.tar" -C "$tmp/tree"
cp "$tmp/openapi.json" "$tmp/tree/openapi.json"
(cd "$tmp/tree" && go generate ./...) || refuse 'go generate fails'
build() {
	(cd "$tmp/tree" && go build ./... && cd gammatest && go build ./...) 2>"$tmp/why"
}
# The root requires what generated code may need, and the modules that use it learn
# of it here. Where none has to, no network is needed.
tidy() {
	grep -q -e 'updates to go.mod needed' -e 'missing go.sum entry' "$tmp/why" || return
	for dir in . gammatest internal/consumer internal/otel internal/soak; do
		(cd "$tmp/tree/$dir" && go mod tidy) || return
	done
}
build || { tidy && build; } || {
	cat "$tmp/why" >&2
	refuse 'the code does not compile with what would be generated'
}

go tool -modfile=internal/tools/oasdiff/go.mod oasdiff changelog --flatten-allof openapi.json "$tmp/openapi.json" >"$tmp/changes" || refuse 'oasdiff fails'
sed "s|$tmp/||" "$tmp/changes"
(cd "$tmp/tree" && go vet ./...) || echo 'make spec: the tests do not compile any more' >&2
if ! (cd "$tmp/tree/gammatest" && go vet ./...); then
	echo 'make spec: the stand-in in gammatest/ no longer fits: its tests do not compile' >&2
elif ! (cd "$tmp/tree/gammatest" && go test ./...) >"$tmp/tests" 2>&1; then
	echo "make spec: the stand-in in gammatest/ no longer fits:" $(sed -n 's/^--- FAIL: \([^ ]*\).*/\1/p' "$tmp/tests") >&2
fi
if [ -n "${CHECK:-}" ]; then
	echo 'make spec: nothing was changed: CHECK is set'
	exit 0
fi
for file in "$tmp"/tree/api/*.gen.go "$tmp/openapi.json" "$tmp"/tree/go.* "$tmp"/tree/gammatest/go.* "$tmp"/tree/internal/*/go.*; do
	to=${file#"$tmp/"}
	to=${to#tree/}
	cmp -s "$file" "$to" && continue
	cp "$file" "$to.new"
	mv "$to.new" "$to"
	case $to in
	*go.mod) echo "make spec: $to is written" ;;
	esac
done
echo 'make spec: openapi.json and api/ are written'
