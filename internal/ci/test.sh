# Tests the published modules with the race detector. If it cannot be used, because there is no C compiler,
# the tests run without it, except in CI.
set -eu

flags=-race
if [ -z "${CI:-}" ]; then
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	trap 'exit 130' INT TERM HUP
	printf 'package main\n\nfunc main() {}\n' >"$tmp/main.go"
	# Only a build tells: headers may be missing, and not every platform has a race detector.
	if ! why=$(go build -race -o "$tmp/probe" "$tmp/main.go" 2>&1); then
		flags=
		export CGO_ENABLED=0
		echo "make test: the tests run without the race detector: $why" >&2
	fi
fi
go test $flags ./...
for dir in gammatest batch; do # separate modules
	(cd "$dir" && go test $flags ./...)
done
if why=$(go -C poller/riverwait version 2>&1); then # River needs Go 1.26
	(cd poller/riverwait && go test $flags ./...)
else
	echo "make test: SKIPPED, poller/riverwait: $why" >&2
fi
(unset GOWORK && cd cmd/gamma && go test $flags ./...) # the go.work there has the replace directives
