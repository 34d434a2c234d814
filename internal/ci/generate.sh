# Fails if the generated files in the tree differ from newly generated ones. It works on a
# copy without them, so it changes nothing and finds files that are no longer generated.
set -eu

echo 'check: generated files'
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP
mkdir "$tmp/tree" "$tmp/made"
tar -cf "$tmp/tree.tar" --exclude ./.git --exclude node_modules .
tar -xf "$tmp/tree.tar" -C "$tmp/tree"
tar -xf "$tmp/tree.tar" -C "$tmp/made"
rm -f "$tmp"/made/api/*.gen.*
(cd "$tmp/made" && go generate ./...)
cd "$tmp"
if ! git --no-pager diff --no-index --no-ext-diff tree made; then
	echo 'check: api/ is not up to date with openapi.json: run make generate and commit the result' >&2
	exit 1
fi
