package hostile

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// A server may echo the key anywhere in a response, in any spelling: the client returns it
// nowhere.
func TestEchoedKey(t *testing.T) {
	quoted, _ := json.Marshal(key)
	inJSON := string(quoted[1 : len(quoted)-1])
	var escaped strings.Builder
	for _, r := range key {
		fmt.Fprintf(&escaped, `\u%04X`, r)
	}
	odd := "\\u0073" + inJSON[1:]
	spellings := map[string]string{"JSON": inJSON, "all escaped": escaped.String(), "one letter escaped": odd}
	var attacks []attack
	add := func(name string, e ends, parts ...string) {
		attacks = append(attacks, attack{name: name, handle: sends(parts...), ends: e})
	}
	for name, k := range spellings {
		message := fmt.Sprintf(`{"message":"bad %s %s","statusCode":401,"x":"%s"}`, k, k, k)
		failure := fmt.Sprintf(`{"generationId":"gen1","status":"failed","error":{"message":"bad %s","statusCode":401},"error":{"statusCode":402},"%s":"%s"}`, k, k, k)
		add("message, "+name, denied, full("401 Unauthorized", "application/json", message))
		add("list of messages, "+name, denied, full("400 Bad Request", "application/json", fmt.Sprintf(`{"message":["%s","%s"]}`, k, k)))
		add("message in a body that is cut off, "+name, denied, full("401 Unauthorized", "application/json", message+strings.Repeat(" ", 20<<10)))
		add("end of a long message, "+name, denied, full("401 Unauthorized", "application/json", `{"message":"`+strings.Repeat("x", 500)+k+`"}`))
		add("failed generation, "+name, ends{completes, failed, completes, completes}, json200(failure))
		add("links, "+name, ends{completes, completes, completes, completes}, json200(fmt.Sprintf(`{"generationId":"gen1","status":"completed","gammaUrl":"https://x/%s","gammaId":"%s"}`, k, k)))
		add("status, "+name, ends{completes, deadline, completes, completes}, json200(fmt.Sprintf(`{"generationId":"gen1","status":"%s"}`, k)))
		add("id, "+name, ends{completes, givesUp, maybe, completes}, json200(fmt.Sprintf(`{"generationId":"%s","status":"completed"}`, k)))
		add("warning, "+name, ends{completes, completes, completes, completes}, json200(fmt.Sprintf(`{"generationId":"gen1","status":"completed","warnings":"%s"}`, k)))
		add("list of warnings, "+name, ends{completes, completes, completes, completes}, json200(fmt.Sprintf(`{"generationId":"gen1","status":"completed","warnings":[{"code":"%s"}]}`, k)))
		add("JSON that is cut off, "+name, ends{fails, givesUp, maybe, completes}, json200(`{"generationId":"`+k))
	}
	add("header values", good, json200(okBody, "X-Echo: "+key, "X-Request-Id: "+key, "Set-Cookie: key="+key, "Retry-After: "+key))
	add("header name", good, json200(okBody, "X-sk-gamma: 1"))
	add("X-Request-Id", denied, full("401 Unauthorized", "", "", "X-Request-Id: "+key+key))
	add("reason phrase", good, full("200 "+key, "application/json", okBody))
	add("reason phrase, 403", denied, full("403 "+key, "", ""))
	add("Content-Type", ends{fails, givesUp, completes, completes}, full("200 OK", key, okBody))
	add("Content-Encoding", lost, full("200 OK", "application/json", key, "Content-Encoding: "+key))
	add("trailer", good, head("200 OK", jsonType, isChunked, "Trailer: X-Echo"), strings.TrimSuffix(chunked(okBody), "\r\n"), "X-Echo: ", key, "\r\n\r\n")
	add("Location", final, full("302 Found", "", "", "Location: /"+key))
	add("103 Early Hints", good, head("103 Early Hints", "Link: "+key), json200(okBody))
	for name, text := range map[string]string{
		"not HTTP": key + "\r\n\r\n", "HTTP version": "HTTP/" + key + " 200 OK\r\n\r\n", "status line": "HTTP/1.1 " + key + "\r\n\r\n",
		"header without colon": head("200 OK", key), "Content-Length": head("200 OK", "Content-Length: "+key), "Transfer-Encoding": head("200 OK", "Transfer-Encoding: "+key),
		"header with NUL": head("200 OK", "X: "+key+"\x00"), "chunk size": head("200 OK", isChunked) + key + "\r\n", "malformed trailer": head("200 OK", jsonType, isChunked) + "0\r\n" + key + "\r\n\r\n",
	} {
		attacks = append(attacks, attack{name: name, handle: sendsAndCloses(text), ends: lost})
	}
	attacks = append(attacks, attack{name: "500 in HTML, then closed", handle: sendsAndCloses(full("500 "+key, "text/html", key)), ends: lost})
	run(t, attacks, some("status", "create", "Wait", "Watch", "All", "CreateGeneration", "Download"))
}
