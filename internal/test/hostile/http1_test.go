package hostile

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// chunked is a body in chunks.
func chunked(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(p), p)
	}
	return b.String() + "0\r\n\r\n"
}

const isChunked = "Transfer-Encoding: chunked"

func TestConnections(t *testing.T) {
	half := answer[:len(answer)/2]
	length := fmt.Sprintf("Content-Length: %d", len(answer))
	cut := func(after string) (attacks []attack) {
		name := strings.ToLower(after)
		text := map[string]string{
			"Nothing":            "",
			"A byte":             "H",
			"The status":         "HTTP/1.1 200 OK\r\n",
			"Half a header":      "HTTP/1.1 200 OK\r\nContent-Ty",
			"The header":         head("200 OK", jsonType, length),
			"Half a body":        head("200 OK", jsonType, length) + half,
			"Half a chunk size":  head("200 OK", jsonType, isChunked) + "1",
			"Half a chunk":       head("200 OK", jsonType, isChunked) + "ff\r\n" + half,
			"A chunk":            head("200 OK", jsonType, isChunked) + strings.TrimSuffix(chunked(half), "0\r\n\r\n"),
			"All but the ending": head("200 OK", jsonType, isChunked) + strings.TrimSuffix(chunked(half), "\r\n\r\n"),
		}[after]
		return []attack{
			{name: "the end after " + name, handle: saysAndCloses(text), ends: lost},
			{name: "a reset after " + name, handle: http1(func(x *exchange) { x.say(text); reset(x.Conn) }), ends: lost},
		}
	}
	attacks := []attack{
		{name: "a reset at once", handle: func(_ *server, c net.Conn) { reset(c) }, ends: lost},
		{name: "the end at once", handle: func(_ *server, c net.Conn) { _ = c.Close() }, ends: lost},
		{name: "a reset in the request", handle: func(_ *server, c net.Conn) { _, _ = c.Read(make([]byte, 10)); reset(c) }, ends: lost},
		{name: "the end after an answer", handle: saysAndCloses(isJSON(answer)), ends: good},
		{name: "a reset after an error", handle: http1(func(x *exchange) {
			x.say(full("400 Bad Request", "application/json", `{"message":"no"}`))
			reset(x.Conn)
		}),
			ends: ends{fails, unchecked, unchecked, fails}}, // the reset may come first
		{name: "more than was asked for", handle: says(isJSON(answer), "HTTP/1.1 200 OK\r\n\r\n", isJSON(`{"generationId":"gen2","status":"failed"}`)), ends: good},
		{name: "more than its length", handle: says(isJSON(answer), "}}}}"), ends: good},
	}
	for _, after := range []string{"Nothing", "A byte", "The status", "Half a header", "The header", "Half a body", "Half a chunk size", "Half a chunk", "A chunk", "All but the ending"} {
		attacks = append(attacks, cut(after)...)
	}
	run(t, attacks, entries)
}

func TestHeads(t *testing.T) {
	length := fmt.Sprintf("Content-Length: %d", len(answer))
	ok := func(headers ...string) string { return head("200 OK", append(headers, jsonType, length)...) + answer }
	lines := func(format string, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	status := func(line string) string { return line + "\r\n" + jsonType + "\r\n" + length + "\r\n\r\n" + answer }
	run(t, []attack{
		{name: "HTTP 1.0", handle: saysAndCloses(status("HTTP/1.0 200 OK")), ends: good},
		{name: "HTTP 0.9", handle: saysAndCloses(answer), ends: lost},
		{name: "HTTP 1.9", handle: says(status("HTTP/1.9 200 OK")), ends: good},
		{name: "HTTP 3.0", handle: saysAndCloses(status("HTTP/3.0 200 OK")), ends: good},
		{name: "no version", handle: saysAndCloses(status("HTTP/ 200 OK")), ends: lost},
		{name: "lower case", handle: saysAndCloses(status("http/1.1 200 OK")), ends: lost},
		{name: "another protocol", handle: saysAndCloses("220 ftp.example FTP ready\r\n"), ends: lost},
		{name: "an empty line first", handle: says("\r\n" + ok()), ends: lost},
		{name: "no reason", handle: says(status("HTTP/1.1 200")), ends: good},
		{name: "a reason with escapes", handle: says(status("HTTP/1.1 200 \x1b[31m\x07")), ends: good},
		{name: "a negative status", handle: saysAndCloses(status("HTTP/1.1 -20 OK")), ends: lost},
		{name: "a status of two digits", handle: saysAndCloses(status("HTTP/1.1 20 OK")), ends: lost},
		{name: "a status of four digits", handle: saysAndCloses(status("HTTP/1.1 2000 OK")), ends: lost},
		{name: "a status in words", handle: saysAndCloses(status("HTTP/1.1 two OK")), ends: lost},
		{name: "no colon", handle: saysAndCloses(ok("Broken header")), ends: lost},
		{name: "a header without a name", handle: saysAndCloses(ok(": x")), ends: lost},
		{name: "a space in a name", handle: says(ok("X Y: z")), ends: good},
		{name: "NUL in a header", handle: saysAndCloses(ok("X: a\x00b")), ends: lost},
		{name: "NUL in a name", handle: saysAndCloses(ok("X\x00: a")), ends: lost},
		{name: "a bare line feed", handle: says(strings.ReplaceAll(head("200 OK", jsonType, length), "\r\n", "\n"), answer), ends: good},
		{name: "a folded header", handle: says(ok("X: a\r\n  b")), ends: good},
		{name: "a header that is folded at once", handle: saysAndCloses("HTTP/1.1 200 OK\r\n folded\r\n", jsonType, "\r\n\r\n", answer), ends: lost},
		{name: "bytes above ASCII", handle: says(ok("X: \xff\xfe\u202e")), ends: good},
		{name: "escapes in a header", handle: says(ok("X-Request-Id: \x1b[31m")), ends: lost},
		{name: "cookies", handle: says(ok("Set-Cookie: a=b; Path=/", "Set-Cookie: \x20")), ends: good},
		{name: "a header just under the limit", handle: says(ok("X: " + strings.Repeat("x", 200<<10))), ends: good},
		{name: "a header over the limit", handle: says(ok("X: " + strings.Repeat("x", 260<<10))), ends: lost},
		{name: "100 first", handle: says(head("100 Continue"), ok()), ends: good},
		{name: "103 first", handle: says(strings.Repeat(head("103 Early Hints", "Link: </x>"), 3), ok()), ends: good},
		{name: "a hundred times 103", handle: says(strings.Repeat(head("103 Early Hints"), 100), ok()), ends: good},
		{name: "100 with a body", handle: saysAndCloses(head("100 Continue", "Content-Length: 2"), "{}", ok()), ends: lost},
		{name: "101", handle: http1(func(x *exchange) {
			x.say(head("101 Switching Protocols", "Upgrade: x", "Connection: Upgrade"), answer)
			x.hang()
		}), ends: final},
		{name: "101 to HTTP 2", handle: http1(func(x *exchange) {
			x.say(head("101 Switching Protocols", "Upgrade: h2c", "Connection: Upgrade"))
			x.hang()
		}), ends: final},
	}, brief)
	run(t, []attack{
		{name: "headers without end", handle: http1(func(x *exchange) { x.say("HTTP/1.1 200 OK\r\n"); flood(x, "X: y\r\n") }), ends: lost},
		{name: "a status line without end", handle: http1(func(x *exchange) { flood(x, "HTTP/1.1 200 ") }), ends: lost},
		{name: "a header without end", handle: http1(func(x *exchange) { x.say("HTTP/1.1 200 OK\r\nX: "); flood(x, "y") }), ends: lost},
		{name: "line breaks without end", handle: http1(func(x *exchange) { flood(x, "\r\n") }), ends: lost},
		{name: "NUL without end", handle: http1(func(x *exchange) { flood(x, "\x00") }), ends: lost},
		{name: "100 without end", handle: http1(func(x *exchange) { flood(x, head("100 Continue")) }), ends: lost},
		{name: "102 without end", handle: http1(func(x *exchange) { flood(x, head("102 Processing")) }), ends: lost},
		{name: "103 without end", handle: http1(func(x *exchange) { flood(x, head("103 Early Hints", "Link: </x>")) }), ends: lost},
		{name: "199 without end", handle: http1(func(x *exchange) { flood(x, head("199 Odd")) }), ends: lost},
		{name: "101 and a flood", handle: http1(func(x *exchange) {
			x.say(head("101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"))
			flood(x, answer)
		}), ends: final},
		{name: "many headers", handle: says(ok(lines("X-%d: a\r\n", 9000) + "X: a")), ends: good},
		{name: "too many headers", handle: says(ok(lines("X-%d: a\r\n", 30000) + "X: a")), ends: lost},
	}, few)
}

func gzipped(body string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, body)
	_ = w.Close()
	return b.String()
}

// bomb is a little that becomes much.
var bomb = sync.OnceValue(func() string { return gzipped(strings.Repeat(" ", 32<<20)) })

func TestBodies(t *testing.T) {
	length := fmt.Sprintf("Content-Length: %d", len(answer))
	ok := func(headers ...string) string { return head("200 OK", append(headers, jsonType)...) }
	padded := func(n int) string { return answer + strings.Repeat(" ", n-len(answer)) }
	large := ends{fails, atOnce, maybe, completes}
	zip := gzipped(answer)
	tooMuch := ends{fails, atOnce, maybe, unchecked} // TestDownloadWithoutEnd has the file
	run(t, []attack{
		{name: "until the end", handle: saysAndCloses(ok(), answer), ends: good},
		{name: "in chunks", handle: says(ok(isChunked), chunked(answer[:7], answer[7:])), ends: good},
		{name: "in chunks of a byte", handle: says(ok(isChunked), chunked(strings.Split(answer, "")...)), ends: good},
		{name: "a chunk with an extension", handle: says(ok(isChunked), strings.Replace(chunked(answer), "\r\n", ";a=b\r\n", 1)), ends: good},
		{name: "a trailer", handle: says(ok(isChunked, "Trailer: X"), strings.TrimSuffix(chunked(answer), "\r\n"), "X: a\r\n\r\n"), ends: good},
		{name: "a chunk size in words", handle: saysAndCloses(ok(isChunked), "zz\r\n"), ends: lost},
		{name: "a negative chunk size", handle: saysAndCloses(ok(isChunked), "-1\r\n"), ends: lost},
		{name: "a chunk size that overflows", handle: saysAndCloses(ok(isChunked), "ffffffffffffffffff\r\n"), ends: lost},
		{name: "a chunk longer than its size", handle: saysAndCloses(ok(isChunked), "5\r\n", answer, "\r\n0\r\n\r\n"), ends: lost},
		{name: "a chunk shorter than its size", handle: saysAndCloses(ok(isChunked), "fff\r\n", answer, "\r\n0\r\n\r\n"), ends: lost},
		{name: "chunks and a length", handle: says(ok(isChunked, "Content-Length: 5"), chunked(answer)), ends: good},
		{name: "a length and the same again", handle: says(ok(length, length), answer), ends: good},
		{name: "two lengths", handle: saysAndCloses(ok(length, "Content-Length: 5"), answer), ends: lost},
		{name: "a negative length", handle: saysAndCloses(ok("Content-Length: -5"), answer), ends: lost},
		{name: "a length in words", handle: saysAndCloses(ok("Content-Length: all"), answer), ends: lost},
		{name: "a length that overflows", handle: saysAndCloses(ok("Content-Length: 99999999999999999999"), answer), ends: lost},
		{name: "a length with a sign", handle: saysAndCloses(ok("Content-Length: +5"), answer), ends: lost},
		{name: "an empty length", handle: saysAndCloses(ok("Content-Length: "), answer), ends: lost},
		{name: "a length that is too short", handle: says(ok("Content-Length: 20"), answer), ends: ends{fails, givesUp, maybe, completes}},
		{name: "no length but 0", handle: says(ok("Content-Length: 0")), ends: lost},
		{name: "an unknown transfer encoding", handle: saysAndCloses(ok("Transfer-Encoding: gzip, chunked"), chunked(zip)), ends: lost},
		{name: "two transfer encodings", handle: saysAndCloses(ok(isChunked, isChunked), chunked(answer)), ends: lost},
		{name: "a transfer encoding with escapes", handle: saysAndCloses(ok("Transfer-Encoding: \x1b[31m"), answer), ends: lost},

		{name: "gzip", handle: says(full("200 OK", "application/json", zip, "Content-Encoding: gzip")), ends: ends{completes, completes, completes, fails}},
		{name: "gzip in capitals", handle: says(full("200 OK", "application/json", zip, "Content-Encoding: GZIP")), ends: ends{completes, completes, completes, fails}},
		{name: "gzip twice", handle: says(full("200 OK", "application/json", gzipped(zip), "Content-Encoding: gzip, gzip")), ends: lost},
		{name: "gzip that is not told", handle: says(isJSON(zip)), ends: ends{fails, givesUp, maybe, completes}},
		{name: "gzip that is none", handle: says(full("200 OK", "application/json", answer, "Content-Encoding: gzip")), ends: lost},
		{name: "gzip that is cut", handle: says(full("200 OK", "application/json", zip[:len(zip)/2], "Content-Encoding: gzip")), ends: lost},
		{name: "gzip with a wrong sum", handle: says(full("200 OK", "application/json", zip[:len(zip)-8]+"12345678", "Content-Encoding: gzip")), ends: ends{fails, givesUp, completes, fails}},
		{name: "brotli", handle: says(full("200 OK", "application/json", "\x0b\x02\x80", "Content-Encoding: br")), ends: lost},
	}, brief)
	run(t, []attack{
		{name: "a trailer without end", handle: http1(func(x *exchange) {
			x.say(ok(isChunked), strings.TrimSuffix(chunked(answer), "\r\n"))
			flood(x, "X: a\r\n")
		}), ends: ends{fails, givesUp, completes, fails}},
		{name: "a chunk size without end", handle: http1(func(x *exchange) { x.say(ok(isChunked)); flood(x, "0") }), ends: lost},
		{name: "a chunk extension without end", handle: http1(func(x *exchange) { x.say(ok(isChunked), "1;"); flood(x, "x") }), ends: lost},
		{name: "a huge length", handle: http1(func(x *exchange) { x.say(ok("Content-Length: 1099511627776")); flood(x, " ") }), ends: tooMuch},
		{name: "without end", handle: http1(func(x *exchange) { x.say(ok()); flood(x, " ") }), ends: tooMuch},
		{name: "a chunk without end", handle: http1(func(x *exchange) { x.say(ok(isChunked), "7fffffffffffffff\r\n"); flood(x, " ") }), ends: tooMuch},
		{name: "chunks without end", handle: http1(func(x *exchange) { x.say(ok(isChunked)); flood(x, "40\r\n"+strings.Repeat(" ", 64)+"\r\n") }), ends: tooMuch},
		{name: "an error without end", handle: http1(func(x *exchange) { x.say(head("400 Bad Request", jsonType)); flood(x, " ") }), ends: denied},
		{name: "a redirect without end", handle: http1(func(x *exchange) { x.say(head("302 Found", jsonType)); flood(x, " ") }), ends: final},
		{name: "500 without end", handle: http1(func(x *exchange) { x.say(head("500 Oops", jsonType)); flood(x, " ") }), ends: lost},
		{name: "exactly 1 MiB", handle: says(isJSON(padded(1 << 20))), ends: good},
		{name: "1 MiB and a byte", handle: says(isJSON(padded(1<<20 + 1))), ends: large},
		{name: "1 MiB in chunks", handle: says(ok(isChunked), chunked(padded(1<<20))), ends: good},
		{name: "1 MiB and a byte in chunks", handle: says(ok(isChunked), chunked(padded(1<<20+1))), ends: ends{fails, atOnce, completes, completes}},
		{name: "a bomb", handle: says(full("200 OK", "application/json", bomb(), "Content-Encoding: gzip")), ends: final},
		{name: "a bomb in a bomb", handle: says(full("200 OK", "application/json", gzipped(bomb()), "Content-Encoding: gzip")), ends: lost},
		{name: "a bomb in an error", handle: says(full("400 Bad Request", "application/json", bomb(), "Content-Encoding: gzip")), ends: denied},
	}, few)
}
