# Builds, vets and tests the published modules, each with the oldest version of Go that it
# supports. Where that version cannot be downloaded, it says so and passes.
set -eu

grep -v '^#' internal/ci/published | while read -r dir go; do
	export GOTOOLCHAIN="go$go"
	if ! why=$(go version 2>&1); then
		echo "make check-oldest: SKIPPED, $dir: Go $go cannot be downloaded: $why" >&2
		continue
	fi
	echo "check: $dir with Go $go"
	if [ "$dir" = cmd/gamma ]; then
		unset GOWORK # the go.work there has the replace directives
	fi
	# Without the race detector, which make test has: this is about the language and the library.
	(cd "$dir" && go build ./... && go vet ./... && go test ./...)
done
