# Runs go vet and golangci-lint on the SDK and on the modules that use it.
set -eu

lint=$(go tool -n -modfile=internal/tools/golangci-lint/go.mod golangci-lint)
for dir in . gammatest batch poller/riverwait examples examples/river examples/table examples/temporal \
	internal/test/command internal/test/consumer internal/test/durable internal/test/postgres internal/test/soak internal/codegen; do
	echo "lint: $dir"
	(cd "$dir" && go vet ./... && "$lint" run ./...)
done
echo 'lint: cmd/gamma'
(unset GOWORK && cd cmd/gamma && go vet ./... && "$lint" run ./...) # the go.work there has the replace directives
