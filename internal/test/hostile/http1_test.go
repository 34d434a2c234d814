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

// chunked returns a chunked body.
func chunked(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(p), p)
	}
	return b.String() + "0\r\n\r\n"
}

const isChunked = "Transfer-Encoding: chunked"

func TestConnections(t *testing.T) {
	half := okBody[:len(okBody)/2]
	length := fmt.Sprintf("Content-Length: %d", len(okBody))
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
			{name: "closed after " + name, handle: sendsAndCloses(text), ends: lost},
			{name: "reset after " + name, handle: http1(func(x *exchange) { x.send(text); reset(x.Conn) }), ends: lost},
		}
	}
	attacks := []attack{
		{name: "reset before the request", handle: func(_ *server, c net.Conn) { reset(c) }, ends: lost},
		{name: "closed before the request", handle: func(_ *server, c net.Conn) { _ = c.Close() }, ends: lost},
		{name: "reset in the request", handle: func(_ *server, c net.Conn) { _, _ = c.Read(make([]byte, 10)); reset(c) }, ends: lost},
		{name: "closed after the response", handle: sendsAndCloses(json200(okBody)), ends: good},
		{name: "400, then reset", handle: http1(func(x *exchange) {
			x.send(full("400 Bad Request", "application/json", `{"message":"no"}`))
			reset(x.Conn)
		}),
			ends: ends{fails, unchecked, unchecked, fails}}, // the reset may come first
		{name: "a second response", handle: sends(json200(okBody), "HTTP/1.1 200 OK\r\n\r\n", json200(`{"generationId":"gen2","status":"failed"}`)), ends: good},
		{name: "body longer than its length", handle: sends(json200(okBody), "}}}}"), ends: good},
	}
	for _, after := range []string{"Nothing", "A byte", "The status", "Half a header", "The header", "Half a body", "Half a chunk size", "Half a chunk", "A chunk", "All but the ending"} {
		attacks = append(attacks, cut(after)...)
	}
	run(t, attacks, entries)
}

func TestHeaders(t *testing.T) {
	length := fmt.Sprintf("Content-Length: %d", len(okBody))
	ok := func(headers ...string) string { return head("200 OK", append(headers, jsonType, length)...) + okBody }
	lines := func(format string, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	status := func(line string) string { return line + "\r\n" + jsonType + "\r\n" + length + "\r\n\r\n" + okBody }
	run(t, []attack{
		{name: "HTTP/1.0", handle: sendsAndCloses(status("HTTP/1.0 200 OK")), ends: good},
		{name: "HTTP/0.9", handle: sendsAndCloses(okBody), ends: lost},
		{name: "HTTP/1.9", handle: sends(status("HTTP/1.9 200 OK")), ends: good},
		{name: "HTTP/3.0", handle: sendsAndCloses(status("HTTP/3.0 200 OK")), ends: good},
		{name: "no version", handle: sendsAndCloses(status("HTTP/ 200 OK")), ends: lost},
		{name: "lower case", handle: sendsAndCloses(status("http/1.1 200 OK")), ends: lost},
		{name: "another protocol", handle: sendsAndCloses("220 ftp.example FTP ready\r\n"), ends: lost},
		{name: "an empty line first", handle: sends("\r\n" + ok()), ends: lost},
		{name: "no reason", handle: sends(status("HTTP/1.1 200")), ends: good},
		{name: "a reason with escapes", handle: sends(status("HTTP/1.1 200 \x1b[31m\x07")), ends: good},
		{name: "a negative status", handle: sendsAndCloses(status("HTTP/1.1 -20 OK")), ends: lost},
		{name: "a status of two digits", handle: sendsAndCloses(status("HTTP/1.1 20 OK")), ends: lost},
		{name: "a status of four digits", handle: sendsAndCloses(status("HTTP/1.1 2000 OK")), ends: lost},
		{name: "malformed status", handle: sendsAndCloses(status("HTTP/1.1 two OK")), ends: lost},
		{name: "no colon", handle: sendsAndCloses(ok("Broken header")), ends: lost},
		{name: "a header without a name", handle: sendsAndCloses(ok(": x")), ends: lost},
		{name: "a space in a name", handle: sends(ok("X Y: z")), ends: good},
		{name: "NUL in a header", handle: sendsAndCloses(ok("X: a\x00b")), ends: lost},
		{name: "NUL in a name", handle: sendsAndCloses(ok("X\x00: a")), ends: lost},
		{name: "a bare line feed", handle: sends(strings.ReplaceAll(head("200 OK", jsonType, length), "\r\n", "\n"), okBody), ends: good},
		{name: "a folded header", handle: sends(ok("X: a\r\n  b")), ends: good},
		{name: "a folded line before the first header", handle: sendsAndCloses("HTTP/1.1 200 OK\r\n folded\r\n", jsonType, "\r\n\r\n", okBody), ends: lost},
		{name: "bytes above ASCII", handle: sends(ok("X: \xff\xfe\u202e")), ends: good},
		{name: "escapes in a header", handle: sends(ok("X-Request-Id: \x1b[31m")), ends: lost},
		{name: "cookies", handle: sends(ok("Set-Cookie: a=b; Path=/", "Set-Cookie: \x20")), ends: good},
		{name: "a header just under the limit", handle: sends(ok("X: " + strings.Repeat("x", 200<<10))), ends: good},
		{name: "a header over the limit", handle: sends(ok("X: " + strings.Repeat("x", 260<<10))), ends: lost},
		{name: "100 first", handle: sends(head("100 Continue"), ok()), ends: good},
		{name: "103 first", handle: sends(strings.Repeat(head("103 Early Hints", "Link: </x>"), 3), ok()), ends: good},
		{name: "100 times 103", handle: sends(strings.Repeat(head("103 Early Hints"), 100), ok()), ends: good},
		{name: "100 with a body", handle: sendsAndCloses(head("100 Continue", "Content-Length: 2"), "{}", ok()), ends: lost},
		{name: "101", handle: http1(func(x *exchange) {
			x.send(head("101 Switching Protocols", "Upgrade: x", "Connection: Upgrade"), okBody)
			x.hang()
		}), ends: final},
		{name: "101 to HTTP/2", handle: http1(func(x *exchange) {
			x.send(head("101 Switching Protocols", "Upgrade: h2c", "Connection: Upgrade"))
			x.hang()
		}), ends: final},
	}, brief)
	run(t, []attack{
		{name: "headers without end", handle: http1(func(x *exchange) { x.send("HTTP/1.1 200 OK\r\n"); flood(x, "X: y\r\n") }), ends: lost},
		{name: "a status line without end", handle: http1(func(x *exchange) { flood(x, "HTTP/1.1 200 ") }), ends: lost},
		{name: "a header without end", handle: http1(func(x *exchange) { x.send("HTTP/1.1 200 OK\r\nX: "); flood(x, "y") }), ends: lost},
		{name: "line breaks without end", handle: http1(func(x *exchange) { flood(x, "\r\n") }), ends: lost},
		{name: "NUL without end", handle: http1(func(x *exchange) { flood(x, "\x00") }), ends: lost},
		{name: "100 without end", handle: http1(func(x *exchange) { flood(x, head("100 Continue")) }), ends: lost},
		{name: "102 without end", handle: http1(func(x *exchange) { flood(x, head("102 Processing")) }), ends: lost},
		{name: "103 without end", handle: http1(func(x *exchange) { flood(x, head("103 Early Hints", "Link: </x>")) }), ends: lost},
		{name: "199 without end", handle: http1(func(x *exchange) { flood(x, head("199 Odd")) }), ends: lost},
		{name: "101 and a flood", handle: http1(func(x *exchange) {
			x.send(head("101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"))
			flood(x, okBody)
		}), ends: final},
		{name: "many headers", handle: sends(ok(lines("X-%d: a\r\n", 9000) + "X: a")), ends: good},
		{name: "too many headers", handle: sends(ok(lines("X-%d: a\r\n", 30000) + "X: a")), ends: lost},
	}, few)
}

func gzipped(body string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, body)
	_ = w.Close()
	return b.String()
}

// bomb is a small gzip file of 32 MiB of spaces.
var bomb = sync.OnceValue(func() string { return gzipped(strings.Repeat(" ", 32<<20)) })

func TestBodies(t *testing.T) {
	length := fmt.Sprintf("Content-Length: %d", len(okBody))
	ok := func(headers ...string) string { return head("200 OK", append(headers, jsonType)...) }
	padded := func(n int) string { return okBody + strings.Repeat(" ", n-len(okBody)) }
	large := ends{fails, atOnce, maybe, completes}
	zip := gzipped(okBody)
	tooMuch := ends{fails, atOnce, maybe, unchecked} // TestDownloadWithoutEnd has the file
	run(t, []attack{
		{name: "without length", handle: sendsAndCloses(ok(), okBody), ends: good},
		{name: "chunked", handle: sends(ok(isChunked), chunked(okBody[:7], okBody[7:])), ends: good},
		{name: "chunks of one byte", handle: sends(ok(isChunked), chunked(strings.Split(okBody, "")...)), ends: good},
		{name: "a chunk with an extension", handle: sends(ok(isChunked), strings.Replace(chunked(okBody), "\r\n", ";a=b\r\n", 1)), ends: good},
		{name: "a trailer", handle: sends(ok(isChunked, "Trailer: X"), strings.TrimSuffix(chunked(okBody), "\r\n"), "X: a\r\n\r\n"), ends: good},
		{name: "malformed chunk size", handle: sendsAndCloses(ok(isChunked), "zz\r\n"), ends: lost},
		{name: "a negative chunk size", handle: sendsAndCloses(ok(isChunked), "-1\r\n"), ends: lost},
		{name: "a chunk size that overflows", handle: sendsAndCloses(ok(isChunked), "ffffffffffffffffff\r\n"), ends: lost},
		{name: "a chunk longer than its size", handle: sendsAndCloses(ok(isChunked), "5\r\n", okBody, "\r\n0\r\n\r\n"), ends: lost},
		{name: "a chunk shorter than its size", handle: sendsAndCloses(ok(isChunked), "fff\r\n", okBody, "\r\n0\r\n\r\n"), ends: lost},
		{name: "chunks and a length", handle: sends(ok(isChunked, "Content-Length: 5"), chunked(okBody)), ends: good},
		{name: "the same length twice", handle: sends(ok(length, length), okBody), ends: good},
		{name: "two lengths", handle: sendsAndCloses(ok(length, "Content-Length: 5"), okBody), ends: lost},
		{name: "a negative length", handle: sendsAndCloses(ok("Content-Length: -5"), okBody), ends: lost},
		{name: "malformed length", handle: sendsAndCloses(ok("Content-Length: all"), okBody), ends: lost},
		{name: "a length that overflows", handle: sendsAndCloses(ok("Content-Length: 99999999999999999999"), okBody), ends: lost},
		{name: "a length with a sign", handle: sendsAndCloses(ok("Content-Length: +5"), okBody), ends: lost},
		{name: "an empty length", handle: sendsAndCloses(ok("Content-Length: "), okBody), ends: lost},
		{name: "a length that is too short", handle: sends(ok("Content-Length: 20"), okBody), ends: ends{fails, givesUp, maybe, completes}},
		{name: "length of 0", handle: sends(ok("Content-Length: 0")), ends: lost},
		{name: "an unknown transfer encoding", handle: sendsAndCloses(ok("Transfer-Encoding: gzip, chunked"), chunked(zip)), ends: lost},
		{name: "two transfer encodings", handle: sendsAndCloses(ok(isChunked, isChunked), chunked(okBody)), ends: lost},
		{name: "a transfer encoding with escapes", handle: sendsAndCloses(ok("Transfer-Encoding: \x1b[31m"), okBody), ends: lost},

		{name: "gzip", handle: sends(full("200 OK", "application/json", zip, "Content-Encoding: gzip")), ends: ends{completes, completes, completes, fails}},
		{name: "gzip in capitals", handle: sends(full("200 OK", "application/json", zip, "Content-Encoding: GZIP")), ends: ends{completes, completes, completes, fails}},
		{name: "gzip twice", handle: sends(full("200 OK", "application/json", gzipped(zip), "Content-Encoding: gzip, gzip")), ends: lost},
		{name: "gzip without Content-Encoding", handle: sends(json200(zip)), ends: ends{fails, givesUp, maybe, completes}},
		{name: "Content-Encoding: gzip without gzip", handle: sends(full("200 OK", "application/json", okBody, "Content-Encoding: gzip")), ends: lost},
		{name: "gzip that is cut off", handle: sends(full("200 OK", "application/json", zip[:len(zip)/2], "Content-Encoding: gzip")), ends: lost},
		{name: "gzip with a wrong checksum", handle: sends(full("200 OK", "application/json", zip[:len(zip)-8]+"12345678", "Content-Encoding: gzip")), ends: ends{fails, givesUp, completes, fails}},
		{name: "brotli", handle: sends(full("200 OK", "application/json", "\x0b\x02\x80", "Content-Encoding: br")), ends: lost},
	}, brief)
	run(t, []attack{
		{name: "a trailer without end", handle: http1(func(x *exchange) {
			x.send(ok(isChunked), strings.TrimSuffix(chunked(okBody), "\r\n"))
			flood(x, "X: a\r\n")
		}), ends: ends{fails, givesUp, completes, fails}},
		{name: "a chunk size without end", handle: http1(func(x *exchange) { x.send(ok(isChunked)); flood(x, "0") }), ends: lost},
		{name: "a chunk extension without end", handle: http1(func(x *exchange) { x.send(ok(isChunked), "1;"); flood(x, "x") }), ends: lost},
		{name: "a huge length", handle: http1(func(x *exchange) { x.send(ok("Content-Length: 1099511627776")); flood(x, " ") }), ends: tooMuch},
		{name: "without end", handle: http1(func(x *exchange) { x.send(ok()); flood(x, " ") }), ends: tooMuch},
		{name: "a chunk without end", handle: http1(func(x *exchange) { x.send(ok(isChunked), "7fffffffffffffff\r\n"); flood(x, " ") }), ends: tooMuch},
		{name: "chunks without end", handle: http1(func(x *exchange) { x.send(ok(isChunked)); flood(x, "40\r\n"+strings.Repeat(" ", 64)+"\r\n") }), ends: tooMuch},
		{name: "an error without end", handle: http1(func(x *exchange) { x.send(head("400 Bad Request", jsonType)); flood(x, " ") }), ends: denied},
		{name: "a redirect without end", handle: http1(func(x *exchange) { x.send(head("302 Found", jsonType)); flood(x, " ") }), ends: final},
		{name: "500 without end", handle: http1(func(x *exchange) { x.send(head("500 Oops", jsonType)); flood(x, " ") }), ends: lost},
		{name: "exactly 1 MiB", handle: sends(json200(padded(1 << 20))), ends: good},
		{name: "1 MiB and a byte", handle: sends(json200(padded(1<<20 + 1))), ends: large},
		{name: "1 MiB in chunks", handle: sends(ok(isChunked), chunked(padded(1<<20))), ends: good},
		{name: "1 MiB and a byte in chunks", handle: sends(ok(isChunked), chunked(padded(1<<20+1))), ends: ends{fails, atOnce, completes, completes}},
		{name: "a bomb", handle: sends(full("200 OK", "application/json", bomb(), "Content-Encoding: gzip")), ends: final},
		{name: "a bomb in a bomb", handle: sends(full("200 OK", "application/json", gzipped(bomb()), "Content-Encoding: gzip")), ends: lost},
		{name: "a bomb in an error", handle: sends(full("400 Bad Request", "application/json", bomb(), "Content-Encoding: gzip")), ends: denied},
	}, few)
}
