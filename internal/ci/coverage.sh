# Prints the statement coverage of each package by its own tests, and fails if it is below a
# minimum: sh internal/ci/coverage.sh 95 . ./poller
set -eu

floor=$1
shift
for package; do
	out=$(go test -count=1 -cover "$package") || {
		echo "$out"
		exit 1
	}
	echo "$out"
	echo "$out" | awk -v floor="$floor" '
		match($0, /coverage: [0-9.]+%/) { found = 1; low = substr($0, RSTART + 10, RLENGTH - 11) + 0 < floor }
		END { exit !found || low }' || {
		echo "check: statement coverage of $package is below $floor %" >&2
		exit 1
	}
done
