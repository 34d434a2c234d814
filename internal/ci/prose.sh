# Fails if a tracked file has a word of the list below, except in lines that match a pattern
# of internal/ci/prose-allowed.
set -eu

echo 'check: prose'
words='but for|\banew\b|of its own|goes on|under way|stand-in|\bheed|\bweigh(s|ed|ing)?\b|\bsurely\b|what (a|the) server says|answer'
found=$(git grep -nIiE "$words" -- ':!*go.sum' ':!*package-lock.json' ':!*openapi*.json' ':!*.gen.*' ':!*testdata/*' \
	':!internal/test/bench/peers' ':!LICENSE' ':!internal/ci/prose*' |
	grep -vEf internal/ci/prose-allowed || true)
if [ -n "$found" ]; then
	printf '%s\n' "$found"
	cat <<'END' >&2
check: use plainer words for those above: response (answer), except (but for), again (anew),
continues (goes on), in flight (under way), separate (of its own), fake (stand-in), obey
(heed), consider (weigh), cannot have (surely), text from the server (what a server says)
END
	exit 1
fi
