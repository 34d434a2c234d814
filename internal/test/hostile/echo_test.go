package hostile

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// A server that echoes the key, in every place and every spelling, does not get it
// into what the client hands out.
func TestEchoedKey(t *testing.T) {
	quoted, _ := json.Marshal(key)
	inJSON := string(quoted[1 : len(quoted)-1])
	var escaped strings.Builder
	for _, r := range key {
		fmt.Fprintf(&escaped, `\u%04X`, r)
	}
	odd := "\\u0073" + inJSON[1:]
	spellings := map[string]string{"as JSON": inJSON, "escaped": escaped.String(), "in part escaped": odd}
	var attacks []attack
	add := func(name string, e ends, parts ...string) {
		attacks = append(attacks, attack{name: name, handle: says(parts...), ends: e})
	}
	for name, k := range spellings {
		message := fmt.Sprintf(`{"message":"bad %s %s","statusCode":401,"x":"%s"}`, k, k, k)
		failure := fmt.Sprintf(`{"generationId":"gen1","status":"failed","error":{"message":"bad %s","statusCode":401},"error":{"statusCode":402},"%s":"%s"}`, k, k, k)
		add("a message "+name, denied, full("401 Unauthorized", "application/json", message))
		add("a list of messages "+name, denied, full("400 Bad Request", "application/json", fmt.Sprintf(`{"message":["%s","%s"]}`, k, k)))
		add("a message that is cut "+name, denied, full("401 Unauthorized", "application/json", message+strings.Repeat(" ", 20<<10)))
		add("a long message "+name, denied, full("401 Unauthorized", "application/json", `{"message":"`+strings.Repeat("x", 500)+k+`"}`))
		add("a failure "+name, ends{completes, failed, completes, completes}, isJSON(failure))
		add("links "+name, ends{completes, completes, completes, completes}, isJSON(fmt.Sprintf(`{"generationId":"gen1","status":"completed","gammaUrl":"https://x/%s","gammaId":"%s"}`, k, k)))
		add("a status "+name, ends{completes, deadline, completes, completes}, isJSON(fmt.Sprintf(`{"generationId":"gen1","status":"%s"}`, k)))
		add("an id "+name, ends{completes, givesUp, maybe, completes}, isJSON(fmt.Sprintf(`{"generationId":"%s","status":"completed"}`, k)))
		add("a warning "+name, ends{completes, completes, completes, completes}, isJSON(fmt.Sprintf(`{"generationId":"gen1","status":"completed","warnings":"%s"}`, k)))
		add("warnings "+name, ends{completes, completes, completes, completes}, isJSON(fmt.Sprintf(`{"generationId":"gen1","status":"completed","warnings":[{"code":"%s"}]}`, k)))
		add("broken JSON "+name, ends{fails, givesUp, maybe, completes}, isJSON(`{"generationId":"`+k))
	}
	add("a header", good, isJSON(answer, "X-Echo: "+key, "X-Request-Id: "+key, "Set-Cookie: key="+key, "Retry-After: "+key))
	add("a name", good, isJSON(answer, "X-sk-gamma: 1"))
	add("an id of a request", denied, full("401 Unauthorized", "", "", "X-Request-Id: "+key+key))
	add("the reason", good, full("200 "+key, "application/json", answer))
	add("the reason of an error", denied, full("403 "+key, "", ""))
	add("a content type", ends{fails, givesUp, completes, completes}, full("200 OK", key, answer))
	add("a content encoding", lost, full("200 OK", "application/json", key, "Content-Encoding: "+key))
	add("a trailer", good, head("200 OK", jsonType, isChunked, "Trailer: X-Echo"), strings.TrimSuffix(chunked(answer), "\r\n"), "X-Echo: ", key, "\r\n\r\n")
	add("a location", final, full("302 Found", "", "", "Location: /"+key))
	add("early hints", good, head("103 Early Hints", "Link: "+key), isJSON(answer))
	for name, text := range map[string]string{
		"no HTTP": key + "\r\n\r\n", "a version": "HTTP/" + key + " 200 OK\r\n\r\n", "a status line": "HTTP/1.1 " + key + "\r\n\r\n",
		"no header": head("200 OK", key), "a length": head("200 OK", "Content-Length: "+key), "an encoding": head("200 OK", "Transfer-Encoding: "+key),
		"a header with NUL": head("200 OK", "X: "+key+"\x00"), "a chunk": head("200 OK", isChunked) + key + "\r\n", "a bad trailer": head("200 OK", jsonType, isChunked) + "0\r\n" + key + "\r\n\r\n",
	} {
		attacks = append(attacks, attack{name: name, handle: saysAndCloses(text), ends: lost})
	}
	attacks = append(attacks, attack{name: "an answer twice", handle: saysAndCloses(full("500 "+key, "text/html", key)), ends: lost})
	run(t, attacks, some("status", "create", "Wait", "Watch", "All", "CreateGeneration", "Download"))
}
