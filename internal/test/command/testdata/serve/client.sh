# Creates a PDF with curl, waits for it, downloads it to the file $1, and prints the id.
set -eu

api() { curl -sS --fail -H "X-API-KEY: $GAMMA_API_KEY" "$@"; }
field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }

id=$(api -H 'Content-Type: application/json' -d "$REQUEST" "$GAMMA_BASE_URL/v1.0/generations" | field generationId)
link=
while [ -z "$link" ]; do
	sleep 0.2
	generation=$(api "$GAMMA_BASE_URL/v1.0/generations/$id")
	if [ "$(echo "$generation" | field status)" = failed ]; then
		echo "$generation" >&2
		exit 3
	fi
	link=$(echo "$generation" | field exportUrl)
done
tries=0
until curl -sS --fail -C - -o "$1" "$link"; do # a link needs no key
	tries=$((tries + 1))
	[ "$tries" -lt 5 ]
done
echo "$id"
