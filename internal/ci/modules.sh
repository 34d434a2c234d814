# Fails when a go.mod or go.sum is not tidy, or when a module in the cache is not
# what its checksum says.
set -eu

find . -name .git -prune -o -name go.mod -print | sort | while read -r file; do
	dir=$(dirname "$file")
	echo "check: go.mod and go.sum of $dir"
	(cd "$dir" && go mod tidy -diff && go mod verify) || {
		echo "check: run go mod tidy in $dir and commit the result" >&2
		exit 1
	}
done
