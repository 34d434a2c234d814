# Fails when the SDK calls something with a known vulnerability. Without a way to
# the database it says so and passes.
set -eu

echo 'check: known vulnerabilities'
if out=$(go tool -modfile=internal/tools/govulncheck/go.mod govulncheck ./... 2>&1); then
	echo "$out"
	exit 0
fi
echo "$out"
case $out in
*'fetching vulnerabilities:'*)
	echo 'check: SKIPPED, known vulnerabilities: the database cannot be reached' >&2
	exit 0
	;;
esac
exit 1
