# Fails if the SDK or the gamma command calls code with a known vulnerability. If the database
# cannot be reached, it says so and passes.
set -eu

vulncheck=$(go tool -n -modfile=internal/tools/govulncheck/go.mod govulncheck)
for dir in . batch poller/riverwait cmd/gamma; do
	echo "check: known vulnerabilities of $dir"
	if [ "$dir" = cmd/gamma ]; then
		unset GOWORK # the go.work there has the replace directives
	fi
	if out=$(cd "$dir" && "$vulncheck" ./... 2>&1); then
		echo "$out"
		continue
	fi
	echo "$out"
	case $out in
	*'fetching vulnerabilities:'*)
		echo 'check: SKIPPED, known vulnerabilities: the database cannot be reached' >&2
		exit 0
		;;
	esac
	exit 1
done
