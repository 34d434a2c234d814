# Fails where tracked text has words that prose.md of this project's writers avoids: see
# CONTRIBUTING.md. Lines that match a pattern of prose-allowed are meant so.
set -eu

echo 'check: prose'
words='\bbut for\b|\banew\b|\bof its own\b|\bgoes on\b|\bunder way\b|stand-in|\bheed|\bweigh(s|ed|ing)?\b|\bsurely\b|what (a|the) server says|answer'
found=$(git grep -nIiE "$words" -- ':!*go.sum' ':!*package-lock.json' ':!*openapi*.json' ':!*openapi*.yaml' ':!*.gen.*' \
	':!internal/test/bench/peers' ':!internal/test/bench/results' ':!*/testdata/*' ':!testdata' ':!LICENSE' ':!internal/ci/prose*' |
	grep -vEf internal/ci/prose-allowed || true)
if [ -n "$found" ]; then
	echo "$found"
	echo 'check: the words above have plainer ones: "response" for "answer", "except" for "but for", "again" for "anew", "continues" for "goes on", "in flight" for "under way", "separate" for "of its own", "fake" for "stand-in"' >&2
	exit 1
fi
