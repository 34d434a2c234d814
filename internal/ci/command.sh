# Compiles package batch and the gamma command for other systems, and runs the end-to-end
# tests of the command.
set -eu

for os in darwin windows; do
	echo "check: batch and cmd/gamma on $os"
	(cd batch && GOOS=$os go vet ./...)
	(unset GOWORK && cd cmd/gamma && GOOS=$os go vet ./... && GOOS=$os CGO_ENABLED=0 go build -buildvcs=false -o /dev/null .)
done
echo 'check: the gamma command'
cd internal/test/command
go test -count=1 ./...
