# Tests package riverwait and its examples with a real PostgreSQL, which CI installs, and the
# example for Temporal.
set -eu

for os in darwin windows; do
	echo "check: poller/riverwait on $os"
	(cd poller/riverwait && GOOS=$os go vet ./...)
done
sh internal/ci/postgres.sh
for dir in internal/test/postgres internal/test/durable examples/river examples/table examples/temporal; do
	echo "check: $dir"
	(cd "$dir" && go test -race -count=1 ./...)
done
