# Runs go vet and golangci-lint on the SDK and on the modules that use it.
set -eu

tool=$PWD/internal/tools/golangci-lint/go.mod
for dir in . gammatest internal/consumer internal/otel internal/soak internal/spec; do
	echo "lint: $dir"
	(cd "$dir" && go vet ./... && go tool -modfile="$tool" golangci-lint run ./...)
done
