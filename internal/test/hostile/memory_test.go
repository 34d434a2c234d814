package hostile

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

// pinging makes net/http notice soon that a server does not read.
func pinging(t *http.Transport) {
	t.HTTP2.SendPingTimeout, t.HTTP2.PingTimeout = 200*time.Millisecond, 200*time.Millisecond
}

// maxGrowth is how much the heap may grow by a response.
const maxGrowth = 16 << 20

// No response makes the heap grow by more than maxGrowth. Cases run one after the other,
// because the server and the client share the heap.
func TestMemory(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(20)) // garbage does not count
	spaces := strings.Repeat(" ", 64<<10)
	ok := head("200 OK", jsonType)
	endless := func(start, text string) handler {
		return http1(func(x *exchange) {
			x.send(start)
			for {
				if _, err := x.Write([]byte(text)); err != nil {
					return
				}
			}
		})
	}
	for _, a := range []attack{
		{name: "a body", handle: endless(ok, spaces)},
		{name: "a wrong Content-Length", handle: endless(head("200 OK", jsonType, "Content-Length: 999999999999"), spaces)},
		{name: "Content-Length of 1 MiB and silence", handle: sends(head("200 OK", jsonType, "Content-Length: 1048576"), "{", spaces[:1000])},
		{name: "an error", handle: endless(head("400 Oops", jsonType), spaces)},
		{name: "500", handle: endless(head("500 Oops", jsonType), spaces)},
		{name: "chunks", handle: endless(head("200 OK", jsonType, isChunked), strings.Repeat("40\r\n"+spaces[:64]+"\r\n", 1000))},
		{name: "a header", handle: endless("HTTP/1.1 200 OK\r\nX: ", spaces)},
		{name: "headers", handle: endless("HTTP/1.1 200 OK\r\n", strings.Repeat("X: y\r\n", 10000))},
		{name: "a trailer", handle: endless(head("200 OK", jsonType, isChunked)+"0\r\n", strings.Repeat("X: y\r\n", 10000))},
		{name: "100", handle: endless("", strings.Repeat(head("100 Continue"), 1000))},
		{name: "101", handle: endless(head("101 Switching", "Upgrade: x", "Connection: Upgrade"), spaces)},
		{name: "a bomb", handle: sends(full("200 OK", "application/json", bomb(), "Content-Encoding: gzip"))},
		{name: "a bomb in an error", handle: sends(full("400 Oops", "application/json", bomb(), "Content-Encoding: gzip"))},
		{name: "an endless bomb", handle: http1(func(x *exchange) {
			x.send(head("200 OK", jsonType, "Content-Encoding: gzip"))
			w, _ := gzip.NewWriterLevel(x, gzip.BestSpeed)
			for {
				if _, err := w.Write([]byte(spaces)); err != nil {
					return
				}
			}
		})},
		{name: "1 MiB of strings", handle: sends(json200(`{"generationId":"gen1","status":"` + strings.Repeat(`\u001b`, 1<<20/6-20) + `"}`))},
		{name: "1 MiB of properties", handle: sends(json200(`{"generationId":"gen1","status":"completed","credits":1` + strings.Repeat(`,"a":[]`, 149000) + `}`))},
		{name: "1 MiB of brackets", handle: sends(json200(strings.Repeat(`[`, 1<<20)))},
		{name: "1 MiB of items", handle: sends(json200(`{"data":[` + strings.Repeat(`{},`, 340000) + `{}],"hasMore":false,"nextCursor":""}`))},
		{name: "a body over HTTP/2", https: true, handle: http2("", func(x *stream) { x.headers(0, okFields); flood(x, frame(frameData, 0, x.id, spaces[:16<<10])) })},
		{name: "a header over HTTP/2", https: true, handle: http2("", func(x *stream) {
			send(x, frame(frameHeaders, 0, x.id, okFields))
			flood(x, frame(frameContinuation, 0, x.id, literal("x", spaces[:8<<10])))
		})},
		{name: "pings over HTTP/2", https: true, handle: http2("", func(x *stream) { flood(x, frame(framePing, 0, 0, "12345678")) }), transport: pinging},
		{name: "settings over HTTP/2", https: true, handle: http2("", func(x *stream) { flood(x, frame(frameSettings, 0, 0, "")) }), transport: pinging},
	} {
		for _, e := range some("Themes", "Wait") {
			t.Run(a.name+"/"+e.name, func(t *testing.T) {
				scheme := "http"
				if a.https {
					scheme = "https"
				}
				grows := func(e entry) (growth uint64) {
					r := newRig(t, serve(t, "tcp", "127.0.0.1:0", scheme, a.handle), settings{requestTimeout: time.Second, transport: a.transport})
					r.call(t, t.Context(), entry{e.name, e.kind, func(ctx context.Context, r *rig) (o outcome) {
						growth = growing(func() { o = briefly(e.call)(ctx, r) })
						return o
					}})
					return growth
				}
				var seen []string
				for range 3 { // garbage collection is not deterministic
					growth := grows(e)
					if growth < maxGrowth {
						return
					}
					control := grows(plain) // on a busy machine the collector is late
					if growth < control+maxGrowth {
						return
					}
					seen = append(seen, fmt.Sprintf("%d KiB, and by %d KiB with net/http alone", growth>>10, control>>10))
				}
				t.Error("the heap grew by ", seen)
			})
		}
	}
}

// plain reads as much as the SDK does, with net/http alone.
var plain = entry{"net/http", operation, func(ctx context.Context, r *rig) outcome {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return outcome{}
	}
	rsp, err := r.transport.RoundTrip(req)
	if err != nil {
		return outcome{}
	}
	_, _ = io.CopyN(io.Discard, rsp.Body, 1<<20)
	_ = rsp.Body.Close()
	return outcome{}
}}

// growing returns the largest growth of the heap while f ran.
func growing(f func()) uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before, most := m.HeapAlloc, m.HeapAlloc
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
		}
	}()
	f()
	close(stop)
	<-done
	return most - before
}
