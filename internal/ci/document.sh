# Fails if openapi.json is not valid OpenAPI: runs the test for that, and fails if there is no
# such test.
set -eu

echo 'check: openapi.json'
name=TestDocumentIsValidOpenAPI
out=$(cd gammatest && go test -count=1 -v -run "^$name\$" . 2>&1) || {
	echo "$out"
	echo 'check: openapi.json is not valid OpenAPI' >&2
	exit 1
}
if ! echo "$out" | grep -q "^--- PASS: $name"; then
	echo "check: the test $name, which validates openapi.json, did not run" >&2
	exit 1
fi
