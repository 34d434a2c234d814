# Lists the licence of every module that a user of the SDK may download, tests
# included, and fails when one is not permissive.
set -eu

echo 'check: licences'
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP
go build -C internal/tools/licenses -buildvcs=false -o "$tmp/licenses" .
cd internal/consumer
# Not go list -m all: it has modules whose code nobody downloads.
go mod download -json $(awk '$2 !~ /\/go\.mod$/ { print $1 "@" $2 }' go.sum) >"$tmp/modules"
"$tmp/licenses" <"$tmp/modules"
