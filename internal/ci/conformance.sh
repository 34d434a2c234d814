# Runs the conformance tests: Prism and NestJS, which npm installs, and nginx, which in CI
# apt-get does. Elsewhere it says what is missing and runs the others. In CI all must be there.
set -eu

servers=
missing() {
	echo "make conformance: $1" >&2
	if [ -n "${CI:-}" ]; then
		exit 1
	fi
}

install_node_modules() {
	[ node_modules/.package-lock.json -nt package-lock.json ] || npm ci || npm ci # the registry may fail once
}

install_nginx() {
	sudo=
	if [ "$(id -u)" != 0 ]; then
		sudo=sudo
	fi
	$sudo apt-get update -qq &&
		$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nginx-light
}

cd internal/test/conformance
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
	missing 'SKIPPED Prism and NestJS: Node.js or npm is not installed'
elif ! install_node_modules; then
	missing 'SKIPPED Prism and NestJS: npm cannot install them; they need Node.js 20 or later'
else
	servers='prism throttler'
fi

nginx=$(command -v nginx || ls /usr/sbin/nginx 2>/dev/null || true)
if [ -z "$nginx" ] && [ -n "${CI:-}" ]; then
	echo 'conformance: installing nginx'
	install_nginx && nginx=/usr/sbin/nginx
fi
if [ -z "$nginx" ]; then
	missing 'SKIPPED nginx: it is not installed: apt-get install nginx-light (Debian), or brew install nginx (macOS)'
else
	servers="$servers nginx"
fi

# The race detector needs a C compiler.
race=-race
if [ -z "${CI:-}" ] && ! { command -v cc || command -v gcc || command -v clang; } >/dev/null; then
	race=
fi
CONFORMANCE=$servers go test $race -count=1 -v .
