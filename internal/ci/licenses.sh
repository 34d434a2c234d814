# Lists the licence of every module that a user of the SDK may download, tests
# included, and fails when one is not permissive.
set -eu

echo 'check: licences'
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP
go build -C internal/tools/licenses -buildvcs=false -o "$tmp/licenses" .
cd internal/consumer
go mod download
go list -m -json all >"$tmp/modules"
"$tmp/licenses" <"$tmp/modules"
