# Runs the conformance test against Prism, a mock server that others have written.
# Without Node.js and npm, which run and install it, or without a way to npm's
# registry, it says so and passes.
set -eu

for command in node npm; do
	if ! command -v "$command" >/dev/null; then
		echo "make conformance: SKIPPED: there is no $command, which Prism needs" >&2
		exit 0
	fi
done
cd internal/test/conformance
if ! [ node_modules/.package-lock.json -nt package-lock.json ]; then
	echo 'conformance: installing Prism'
	npm ci || {
		echo 'make conformance: SKIPPED: Prism cannot be installed' >&2
		exit 0
	}
fi
PRISM=$PWD/node_modules/.bin/prism go test -count=1 -v .
