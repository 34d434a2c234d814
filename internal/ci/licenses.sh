# Lists the licence of every module that a user of the SDK or of the gamma command may
# download, tests included, and fails when one is not permissive.
set -eu

echo 'check: licences'
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP
go build -C internal/tools/licenses -buildvcs=false -o "$tmp/licenses" .
for dir in internal/consumer batch cmd/gamma; do
	# Not go list -m all: it has modules whose code nobody downloads.
	(cd "$dir" && go mod download -json $(awk '$2 !~ /\/go\.mod$/ { print $1 "@" $2 }' go.sum)) >"$tmp/modules"
	"$tmp/licenses" <"$tmp/modules" >>"$tmp/list"
done
sort -u "$tmp/list"
