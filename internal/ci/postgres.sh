# Installs Debian's packages of PostgreSQL and of PgBouncer, which one test needs, if they are
# missing, but only in CI. Elsewhere it says how to install PostgreSQL and passes; the tests
# that need it are skipped.
set -eu

missing=postgresql
for initdb in "$(command -v initdb || true)" /usr/lib/postgresql/*/bin/initdb; do
	if [ -x "$initdb" ]; then
		missing=
	fi
done
if [ -z "${CI:-}" ]; then
	if [ -n "$missing" ]; then
		echo 'PostgreSQL is not installed, so the tests that need it are skipped: apt-get install postgresql (Debian), or brew install postgresql@17 (macOS) and add its bin folder to PATH' >&2
	fi
	exit 0
fi
if [ -z "$(command -v pgbouncer || true)" ] && [ ! -x /usr/sbin/pgbouncer ]; then
	missing="$missing pgbouncer"
fi
if [ -z "$missing" ]; then
	exit 0
fi
sudo=
if [ "$(id -u)" != 0 ]; then
	sudo=sudo
fi
echo "installing $missing"
# The package would also create a cluster and run it as a service; the tests do not need it.
$sudo mkdir -p /etc/postgresql-common/createcluster.d
echo 'create_main_cluster = false' | $sudo tee /etc/postgresql-common/createcluster.d/gamma-go.conf >/dev/null
$sudo apt-get update -qq
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
