# Runs every fuzz target, each for a time or a number of inputs:
# sh internal/ci/fuzz.sh 60s, or 20000x.
set -eu

budget=$1
out=$(mktemp)
trap 'rm -f "$out"' EXIT
trap 'exit 130' INT TERM HUP

# Before Go 1.27 a run with a time limit sometimes fails although no input failed; see
# golang.org/issue/75804. An input that failed is always printed.
fuzz() {
	echo "fuzz: $1 $2, $budget"
	if go test -run '^$' -fuzz "^$2\$" -fuzztime "$budget" "$1" </dev/null >"$out" 2>&1; then
		tail -n 2 "$out"
	elif grep -q 'context deadline exceeded' "$out" && ! grep -q -e 'Failing input' -e '^panic:' -e 'failure while testing' "$out"; then
		echo "fuzz: $1 $2 ended late, but no input failed"
	else
		cat "$out"
		return 1
	fi
}

found=
for dir in . gammatest internal/codegen batch poller/riverwait cmd/gamma; do
	if [ "$dir" = cmd/gamma ]; then
		unset GOWORK # the go.work there has the replace directives
	fi
	# go test prints the names of a package's targets, then a line "ok <package> ...".
	list=$(cd "$dir" && go test -list '^Fuzz' ./...) || {
		echo "$list"
		exit 1
	}
	for target in $(echo "$list" | awk '/^Fuzz/ { names[n++] = $1 } /^ok/ { for (i = 0; i < n; i++) print $2 ":" names[i]; n = 0 }'); do
		found=1
		(cd "$dir" && fuzz "${target%:*}" "${target##*:}") || exit 1
	done
done
if [ -z "$found" ]; then
	echo "fuzz: there is no fuzz target" >&2
	exit 1
fi
