# Installs Chromium, which a test of an example needs, where it is missing: in CI only, and
# Debian's package. Elsewhere it says what to do and passes; the test is skipped then.
set -eu

for name in chromium chromium-browser google-chrome google-chrome-stable; do
	if [ -n "$(command -v "$name" || true)" ]; then
		exit 0
	fi
done
if [ -z "${CI:-}" ]; then
	echo 'Chromium is not installed, so the test that needs it is skipped: apt-get install chromium (Debian)' >&2
	exit 0
fi
sudo=
if [ "$(id -u)" != 0 ]; then
	sudo=sudo
fi
echo 'installing chromium'
$sudo apt-get update -qq
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium
