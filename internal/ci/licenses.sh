# Lists the licence of every module that a user of the SDK or of the gamma command may
# download, including those of tests, and fails if one is not permissive. River has the
# MPL-2.0, which covers changes of its files; only users of poller/riverwait download it.
set -eu

echo 'check: licences'
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP
go build -C internal/tools/licenses -buildvcs=false -o "$tmp/licenses" .
for dir in internal/test/consumer batch poller/riverwait cmd/gamma; do
	also=
	if [ "$dir" = poller/riverwait ]; then
		also=MPL-2.0
	fi
	# Not go list -m all, which has modules that are never downloaded.
	(cd "$dir" && go mod download -json $(awk '$2 !~ /\/go\.mod$/ { print $1 "@" $2 }' go.sum)) >"$tmp/modules"
	"$tmp/licenses" $also <"$tmp/modules" >>"$tmp/list"
done
sort -u "$tmp/list"
