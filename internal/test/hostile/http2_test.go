package hostile

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Types and flags of HTTP/2 frames, RFC 9113, section 6.
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	frameRST          = 0x3
	frameSettings     = 0x4
	framePush         = 0x5
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindowUpdate = 0x8
	frameContinuation = 0x9

	endStream  = 0x1
	ack        = 0x1
	endHeaders = 0x4
)

// Codes of RST_STREAM and GOAWAY, section 7.
const (
	noError       = 0x0
	protocolError = 0x1
	internalError = 0x2
	refusedStream = 0x7
	cancelStream  = 0x8
	enhanceCalm   = 0xb
	http11Needed  = 0xd
)

// frame returns the bytes of a frame.
func frame(kind, flags byte, stream uint32, payload string) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	b = append(b, flags)
	return string(binary.BigEndian.AppendUint32(b, stream)) + payload
}

func uint32s(values ...uint32) string {
	var b []byte
	for _, v := range values {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return string(b)
}

// fields returns a header block: the status, by its index in the static table of HPACK (RFC
// 7541, appendix A) or as a literal, and pairs of names and values.
func fields(status string, pairs ...string) string {
	indexed := map[string]string{"200": "\x88", "204": "\x89", "206": "\x8a", "304": "\x8b", "400": "\x8c", "404": "\x8d", "500": "\x8e"}
	block, ok := indexed[status]
	if !ok && status != "" {
		block = literal(":status", status)
	}
	for i := 0; i < len(pairs); i += 2 {
		block += literal(pairs[i], pairs[i+1])
	}
	return block
}

// literal returns a field without indexing.
func literal(name, value string) string { return "\x00" + hpackString(name) + hpackString(value) }

func hpackString(s string) string {
	if len(s) < 127 {
		return string([]byte{byte(len(s))}) + s
	}
	b := []byte{127}
	n := len(s) - 127
	for ; n >= 128; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return string(append(b, byte(n))) + s
}

var okFields = fields("200", "content-type", "application/json")

// stream is one request on an HTTP/2 connection.
type stream struct {
	net.Conn
	id   uint32
	n    int // 1 for the first request to the server
	conn int // 1 for the first request of its connection
}

func (x *stream) headers(flags byte, block string) {
	send(x, frame(frameHeaders, flags|endHeaders, x.id, block))
}
func (x *stream) data(flags byte, body string) { send(x, frame(frameData, flags, x.id, body)) }
func (x *stream) rst(code uint32)              { send(x, frame(frameRST, 0, x.id, uint32s(code))) }
func (x *stream) goAway(last, code uint32) {
	send(x, frame(frameGoAway, 0, 0, uint32s(last, code)))
}
func (x *stream) ok() {
	x.headers(0, okFields)
	x.data(endStream, okBody)
}

func withH2() *tls.Config {
	config := with(serverCert())
	config.NextProtos = []string{"h2"}
	return config
}

// http2 implements the protocol as far as the tests need it, and calls respond for each
// request.
func http2(settings string, respond func(*stream)) handler {
	return overTLS(withH2(), func(s *server, conn net.Conn) {
		preface := make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
		if _, err := io.ReadFull(conn, preface); err != nil {
			return
		}
		send(conn, frame(frameSettings, 0, 0, settings))
		for n := 0; ; {
			header := make([]byte, 9)
			if _, err := io.ReadFull(conn, header); err != nil {
				return
			}
			payload := make([]byte, binary.BigEndian.Uint32(header)>>8)
			if _, err := io.ReadFull(conn, payload); err != nil {
				return
			}
			kind, flags, id := header[3], header[4], binary.BigEndian.Uint32(header[5:])
			switch {
			case kind == frameSettings && flags&ack == 0:
				send(conn, frame(frameSettings, ack, 0, ""))
			case kind == framePing && flags&ack == 0:
				send(conn, frame(framePing, ack, 0, string(payload)))
			case (kind == frameHeaders || kind == frameData) && flags&endStream != 0:
				n++
				respond(&stream{conn, id, int(s.requests.Add(1)), n})
			}
		}
	})
}

// floodFrames writes text as often as the client reads it.
func floodFrames(text func(*stream) string) func(*stream) {
	return func(x *stream) { flood(x, text(x)) }
}

func TestHTTP2(t *testing.T) {
	h2 := func(name string, ends ends, respond func(*stream)) attack {
		return attack{name: name, handle: http2("", respond), ends: ends, https: true}
	}
	goneThenGood := func(respond func(*stream)) func(*stream) {
		return func(x *stream) {
			if x.n == 1 {
				respond(x)
			} else {
				x.ok()
			}
		}
	}
	busy := func(a attack) attack { a.busy = true; return a } // the next request gets no response
	end := func(x *stream) { _ = x.Close() }
	tooMuch := ends{fails, atOnce, maybe, unchecked}
	run(t, []attack{
		h2("200", good, (*stream).ok),
		h2("pushed promises", lost, func(x *stream) {
			send(x, frame(framePush, endHeaders, x.id, uint32s(2)+okFields))
		}),
		h2("GOAWAY after the response", good, func(x *stream) { x.ok(); x.goAway(x.id, noError) }),
		h2("GOAWAY before the response", good, func(x *stream) { x.goAway(x.id, noError); x.ok() }),
		h2("GOAWAY for every request", none, func(x *stream) { x.goAway(0, noError); end(x) }),
		h2("GOAWAY with an error", lost, func(x *stream) { x.goAway(x.id, enhanceCalm); end(x) }),
		h2("GOAWAY with text", lost, func(x *stream) {
			send(x, frame(frameGoAway, 0, 0, uint32s(x.id, internalError)+"\x1b[31m"+key))
			end(x)
		}),
		h2("RST_STREAM", lost, func(x *stream) { x.rst(internalError) }),
		h2("RST_STREAM with cancel", lost, func(x *stream) { x.rst(cancelStream) }),
		h2("RST_STREAM without an error", lost, func(x *stream) { x.rst(noError) }),
		h2("RST_STREAM with an unknown code", lost, func(x *stream) { x.rst(0xffff) }),
		h2("RST_STREAM for HTTP/1.1", lost, func(x *stream) { x.rst(http11Needed) }),
		h2("RST_STREAM with a protocol error", lost, func(x *stream) { x.rst(protocolError) }),
		h2("RST_STREAM after the header", lost, func(x *stream) { x.headers(0, okFields); x.rst(internalError) }),
		h2("RST_STREAM after half a body", lost, func(x *stream) { x.headers(0, okFields); x.data(0, okBody[:9]); x.rst(internalError) }),
		h2("RST_STREAM after the body", ends{fails, givesUp, completes, fails}, func(x *stream) { x.headers(0, okFields); x.data(0, okBody); x.rst(internalError) }),
		h2("closed after the request", lost, end),
		h2("closed after the header", lost, func(x *stream) { x.headers(0, okFields); end(x) }),
		h2("closed after half a body", lost, func(x *stream) { x.headers(0, okFields); x.data(0, okBody[:9]); end(x) }),
		h2("closed in a frame", lost, func(x *stream) {
			x.headers(0, okFields)
			send(x, frame(frameData, endStream, x.id, okBody)[:30])
			end(x)
		}),
		h2("a body that is too short", ends{fails, givesUp, completes, fails}, func(x *stream) {
			x.headers(0, okFields+literal("content-length", "5000"))
			x.data(endStream, okBody)
		}),
		h2("a body that is too long", lost, func(x *stream) {
			x.headers(0, okFields+literal("content-length", "5"))
			x.data(endStream, okBody)
		}),
		h2("no body", lost, func(x *stream) { x.headers(endStream, okFields) }),
		h2("a trailer", good, func(x *stream) {
			x.headers(0, okFields)
			x.data(0, okBody)
			x.headers(endStream, literal("x", "y"))
		}),
		h2("padding that is too long", lost, func(x *stream) {
			x.headers(0, okFields)
			send(x, frame(frameData, endStream|0x8, x.id, "\xff"+okBody[:9]))
		}),
		h2("no status", lost, func(x *stream) { x.headers(endStream, fields("", "content-type", "application/json")) }),
		h2("malformed status", lost, func(x *stream) { x.headers(endStream, fields("two")) }),
		h2("a status of 101", good, func(x *stream) { x.headers(0, fields("101")); x.ok() }),
		h2("100 and 103 first", good, func(x *stream) { x.headers(0, fields("100")); x.headers(0, fields("103")); x.ok() }),
		h2("a redirect", final, func(x *stream) { x.headers(endStream, fields("302", "location", "https://other.example/"+secret)) }),
		h2("400", denied, func(x *stream) { x.headers(endStream, fields("400")) }),
		h2("500", lost, func(x *stream) { x.headers(endStream, fields("500")) }),
		h2("a name in capitals", lost, func(x *stream) { x.headers(endStream, fields("200", "X-Big", "a")) }),
		h2("broken HPACK", lost, func(x *stream) { x.headers(endStream, "\xff\xff\xff\xff\xff\xff") }),
		h2("an unknown HPACK index", lost, func(x *stream) { x.headers(endStream, "\xfe") }),
		h2("an HPACK table that is too large", lost, func(x *stream) { x.headers(endStream, "\x3f\xff\xff\xff\x7f"+okFields) }),
		h2("a header over the limit", lost, func(x *stream) {
			block := okFields + literal("x", strings.Repeat("x", 16000))
			send(x, frame(frameHeaders, 0, x.id, block))
			for range 20 {
				send(x, frame(frameContinuation, 0, x.id, literal("x", strings.Repeat("x", 16000))))
			}
			send(x, frame(frameContinuation, endHeaders, x.id, literal("x", "y")))
		}),
		h2("a frame that is too large", lost, func(x *stream) { send(x, frame(frameData, 0, x.id, strings.Repeat(" ", 1<<20+1))) }),
		h2("a frame of an unknown type", good, func(x *stream) { send(x, frame(0xee, 0xff, x.id, okBody)); x.ok() }),
		h2("data before the header", lost, func(x *stream) { x.data(0, okBody) }),
		h2("data of another stream", lost, func(x *stream) { send(x, frame(frameData, 0, x.id+2, okBody)) }),
		h2("data of stream 0", lost, func(x *stream) { send(x, frame(frameData, 0, 0, okBody)) }),
		h2("a continuation of nothing", lost, func(x *stream) { send(x, frame(frameContinuation, endHeaders, x.id, okFields)) }),
		h2("a window that overflows", lost, func(x *stream) {
			send(x, frame(frameWindowUpdate, 0, 0, uint32s(1<<31-1)), frame(frameWindowUpdate, 0, 0, uint32s(1<<31-1)))
		}),
		h2("a window of 0", lost, func(x *stream) { send(x, frame(frameWindowUpdate, 0, 0, uint32s(0))) }),
		h2("a short ping", lost, func(x *stream) { send(x, frame(framePing, 0, 0, "x")) }),
		h2("an unexpected ping response", good, func(x *stream) { send(x, frame(framePing, ack, 0, "12345678")); x.ok() }),
		h2("truncated settings", lost, func(x *stream) { send(x, frame(frameSettings, 0, 0, "abc")) }),
		h2("settings that are not allowed", lost, func(x *stream) { send(x, frame(frameSettings, 0, 0, "\x00\x04\xff\xff\xff\xff")) }),
		h2("an HTTP/1.1 response", lost, func(x *stream) { send(x, json200(okBody)); end(x) }),
		{name: "no settings", handle: overTLS(withH2(), func(_ *server, c net.Conn) {
			send(c, frame(frameHeaders, endStream|endHeaders, 1, okFields))
			_, _ = io.Copy(io.Discard, c)
		}), ends: lost, https: true},
		{name: "HTTP/1.1 without settings", handle: overTLS(withH2(), func(_ *server, c net.Conn) {
			send(c, json200(okBody))
			_, _ = io.Copy(io.Discard, c)
		}), ends: lost, https: true},
	}, brief)
	// net/http retries requests without a body. Create retries its own; see TestCreateOverHTTP2.
	for _, again := range []ends{{operation: completes, wait: completes, file: completes}, {operation: fails}} {
		entries := some("status", "Themes", "Wait", "All", "Check", "DownloadFile")
		if again.operation == fails {
			entries = some("create", "template")
		}
		run(t, []attack{
			h2("GOAWAY once before processing", again, goneThenGood(func(x *stream) { x.goAway(0, noError); end(x) })),
			h2("REFUSED_STREAM once", again, goneThenGood(func(x *stream) { x.rst(refusedStream) })),
		}, entries)
	}
	run(t, []attack{
		busy(h2("100 without end", lost, floodFrames(func(x *stream) string { return frame(frameHeaders, endHeaders, x.id, fields("100")) }))),
		busy(h2("103 without end", lost, floodFrames(func(x *stream) string {
			return frame(frameHeaders, endHeaders, x.id, fields("103", "link", "</x>"))
		}))),
		h2("a header without end", lost, func(x *stream) {
			send(x, frame(frameHeaders, 0, x.id, okFields))
			flood(x, frame(frameContinuation, 0, x.id, literal("x", strings.Repeat("x", 1000))))
		}),
		h2("a body without end", tooMuch, func(x *stream) {
			x.headers(0, okFields)
			for i := 0; i < 4<<20; i += 16 << 10 { // as much as the window allows
				if _, err := io.WriteString(x, frame(frameData, 0, x.id, strings.Repeat(" ", 16<<10))); err != nil {
					return
				}
			}
		}),
	}, few)
}

// slowHTTP2 returns attacks over HTTP/2 that end by a timeout.
func slowHTTP2() []attack {
	h2 := func(name string, respond func(*stream)) attack {
		return attack{name: name + ", HTTP/2", handle: http2("", respond), https: true}
	}
	gone := func(x *stream) { _, _ = io.Copy(io.Discard, x) }
	return []attack{
		h2("silence", gone),
		h2("pings", func(x *stream) { drip(x, func(int) string { return frame(framePing, 0, 0, "12345678") }) }),
		h2("settings", func(x *stream) { drip(x, func(int) string { return frame(frameSettings, 0, 0, "") }) }),
		h2("slow 103", func(x *stream) {
			drip(x, func(int) string { return frame(frameHeaders, endHeaders, x.id, fields("103")) })
		}),
		h2("silence after the header", func(x *stream) { x.headers(0, okFields); gone(x) }),
		h2("silence after half a body", func(x *stream) { x.headers(0, okFields); x.data(0, okBody[:9]); gone(x) }),
		h2("silence, but ping responses", func(*stream) {}),
		h2("a slow body", func(x *stream) {
			x.headers(0, okFields)
			drip(x, func(int) string { return frame(frameData, 0, x.id, " ") })
		}),
		h2("empty data", func(x *stream) {
			x.headers(0, okFields)
			drip(x, func(int) string { return frame(frameData, 0, x.id, "") })
		}),
		h2("half a header", func(x *stream) { send(x, frame(frameHeaders, 0, x.id, okFields)); gone(x) }),
		{name: "no window, HTTP/2", https: true, handle: http2("\x00\x04\x00\x00\x00\x00", func(*stream) {})},
		// net/http dials repeatedly, which the dialer of sockets limits. TestCreateWithoutStreams
		// has the create.
		{name: "no streams, HTTP/2", https: true, handle: http2("\x00\x03\x00\x00\x00\x00", func(*stream) {}), busy: true, ends: ends{fails, givesUp, unchecked, fails}},
	}
}

// net/http retries immediately, over a new connection, as long as the server refuses the
// request so. The number of retries is limited.
func TestNoStorm(t *testing.T) {
	for name, respond := range map[string]func(*stream){
		"PROTOCOL_ERROR": func(x *stream) { x.rst(protocolError) },
		"GOAWAY":         func(x *stream) { x.goAway(0, noError); _ = x.Close() },
	} {
		for _, e := range some("status", "archive", "Download") {
			t.Run(name+"/"+e.name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, serve(t, "tcp", "127.0.0.1:0", "https", http2("", respond)), settings{})
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				o := r.call(t, ctx, e)
				// Eight, and those after 100, 200 and 400 ms. A download may be redirected.
				if n, most := r.requests.Load(), map[kind]int32{operation: 12, foreign: 12, fetching: 40}[e.kind]; n > most || o.err == nil {
					t.Errorf("%d requests: %v", n, o.err)
				}
			})
		}
	}
}

// The next poll does not use a connection that does not respond: the wait completes over
// another.
func TestSilentConnectionIsLeft(t *testing.T) {
	silentOnce := func(silent func(x *stream)) handler {
		return http2("", func(x *stream) {
			if x.n == 1 {
				silent(x)
			} else {
				x.ok()
			}
		})
	}
	_ = serverCert() // outside the bubble, whose clock is another
	for name, silent := range map[string]func(x *stream){
		"silence":              func(x *stream) { _, _ = io.Copy(io.Discard, x) },
		"a header without end": func(x *stream) { x.headers(0, okFields); _, _ = io.Copy(io.Discard, x) },
	} {
		for _, e := range some("Wait", "Watch", "All") {
			t.Run(name+"/"+e.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, inMemory(t, "https", silentOnce(silent)), settings{})
					start := time.Now()
					r.call(t, t.Context(), e)
					r.ended(t, e, completes)
					if took := r.returned.Sub(start); took > 12*time.Second { // a ping times out after 10
						t.Errorf("took %v", took)
					}
				})
			})
		}
	}
}

// The HTTP/2 server of net/http.
func TestHTTP2Server(t *testing.T) {
	for name, respond := range map[string]http.HandlerFunc{
		"a panic": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"a panic after a part": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, okBody[:9])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
	} {
		for _, e := range some("status", "Wait", "All", "CreateGeneration") {
			t.Run(fmt.Sprint(name, "/", e.name), func(t *testing.T) {
				s := httptest.NewUnstartedServer(respond)
				s.EnableHTTP2 = true
				s.TLS = with(serverCert())
				s.StartTLS()
				defer s.Close()
				r := newRig(t, &server{url: s.URL}, settings{})
				r.call(t, t.Context(), e)
				r.ended(t, e, lost.of(e.kind))
			})
		}
	}
}
