package hostile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// impatient shortens the timeout of a dial: a dial continues until then after the last
// request that waited for it has ended.
func impatient(t *http.Transport) { t.TLSHandshakeTimeout = time.Second }

// slowAttacks returns attacks that end by a timeout.
func slowAttacks() []attack {
	long := fmt.Sprintf("Content-Length: %d", len(okBody))
	one := func(text string) func(int) string { return func(int) string { return text } }
	letters := func(text string) func(int) string { return func(i int) string { return text[i%len(text):][:1] } }
	hang := func(parts ...string) handler {
		return http1(func(x *exchange) { x.send(parts...); x.hang() })
	}
	dripping := func(start string, next func(int) string) handler {
		return http1(func(x *exchange) { x.send(start); drip(x.Conn, next) })
	}
	created := ends{fails, givesUp, completes, fails} // the body is complete, so it has the id
	silence := func(_ *server, c net.Conn) { _, _ = io.Copy(io.Discard, c) }
	attacks := []attack{
		{name: "silence", handle: silence},
		{name: "silence after half a status", handle: hang("HTTP/1.1 2")},
		{name: "silence after half a header", handle: hang("HTTP/1.1 200 OK\r\nContent-Ty")},
		{name: "silence after the header", handle: hang(head("200 OK", jsonType, long))},
		{name: "silence after half a body", handle: hang(head("200 OK", jsonType, long), okBody[:20])},
		{name: "silence after a body without length", handle: hang(head("200 OK", jsonType), okBody), ends: created},
		{name: "silence after a chunk", handle: hang(head("200 OK", jsonType, isChunked), "5\r\n", okBody[:5], "\r\n")},
		{name: "silence before the last chunk", handle: hang(head("200 OK", jsonType, isChunked), strings.TrimSuffix(chunked(okBody), "0\r\n\r\n")), ends: created},
		{name: "silence in the trailer", handle: hang(head("200 OK", jsonType, isChunked), strings.TrimSuffix(chunked(okBody), "\r\n")), ends: created},
		{name: "silence in gzip", handle: hang(head("200 OK", jsonType, "Content-Encoding: gzip"), gzipped(okBody)[:12]),
			ends: ends{fails, givesUp, maybe, unchecked}},
		{name: "silence after 100", handle: hang(head("100 Continue"))},
		{name: "a slow status", handle: dripping("", letters(head("200 OK", "X: "+strings.Repeat("x", 4096))))},
		{name: "slow headers", handle: dripping("HTTP/1.1 200 OK\r\n", one("X: y\r\n"))},
		{name: "a slow header", handle: dripping("HTTP/1.1 200 OK\r\nX: ", one("y"))},
		{name: "a slow body", handle: dripping(head("200 OK", jsonType), one(" "))},
		{name: "slow chunks", handle: dripping(head("200 OK", jsonType, isChunked), one("1\r\n \r\n"))},
		{name: "slow 100", handle: dripping("", one(head("100 Continue")))},
		{name: "slow 103", handle: dripping("", one(head("103 Early Hints", "Link: </x>")))},
		{name: "silence in the handshake", handle: silence, https: true, transport: impatient, ends: none},
		{name: "silence after the handshake", handle: overTLS(with(serverCert()), silence), https: true},
		{name: "a slow body over TLS", handle: overTLS(with(serverCert()), dripping(head("200 OK", jsonType), one(" "))), https: true},
	}
	attacks = append(attacks, slowHTTP2()...)
	for i := range attacks {
		attacks[i].slow = !attacks[i].busy
		if attacks[i].ends == (ends{}) {
			attacks[i].ends = lost
		}
	}
	return attacks
}

// A request that times out fails, and may be retried.
func TestSlow(t *testing.T) { run(t, slowAttacks(), entries) }

// Over sockets too, a call ends and leaves nothing behind.
func TestSlowOverSockets(t *testing.T) {
	for _, a := range slowAttacks() {
		// On a slow machine, a request may time out before it is sent: that changes the
		// result of a create, but not of these.
		for _, e := range some("status", "Wait", "Check", "DownloadFile") {
			if want := a.of(e.kind); want != unchecked {
				t.Run(a.name+"/"+e.name, func(t *testing.T) {
					t.Parallel()
					a.against(t, serve(t, "tcp", "127.0.0.1:0", a.scheme(), a.handle), e, want)
				})
			}
		}
	}
}

// punctually runs every slow attack against the entries in brief. The call must return at
// the moment when the context that stop returns is done.
func punctually(t *testing.T, want error, stop func() (ctx context.Context, moment func() time.Time)) {
	t.Helper()
	for _, a := range slowAttacks() {
		for _, e := range brief {
			if a.of(e.kind) == unchecked || !a.slow {
				continue
			}
			t.Run(a.name+"/"+e.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, inMemory(t, a.scheme(), a.handle), settings{requestTimeout: 20 * time.Second, transport: a.transport})
					ctx, moment := stop()
					o := r.call(t, ctx, e)
					if a.of(e.kind) != completes && !errors.Is(o.err, want) {
						t.Errorf("%v, want %v", o.err, want)
					}
					if delay := r.returned.Sub(moment()); delay != 0 {
						t.Errorf("returned %v after the end of the context, want 0", delay)
					}
				})
			})
		}
	}
}

func TestDeadline(t *testing.T) {
	punctually(t, context.DeadlineExceeded, func() (context.Context, func() time.Time) {
		ctx, cancel := context.WithTimeout(context.Background(), soon)
		end, _ := ctx.Deadline()
		context.AfterFunc(ctx, cancel)
		return ctx, func() time.Time { return end }
	})
}

var errHome = errors.New("gamma: the user went home")

func TestCancellation(t *testing.T) {
	punctually(t, context.Canceled, func() (context.Context, func() time.Time) {
		ctx, cancel := context.WithCancelCause(context.Background())
		var moment time.Time
		done := make(chan struct{})
		time.AfterFunc(soon/2, func() {
			defer close(done)
			moment = time.Now()
			cancel(errHome)
		})
		return ctx, func() time.Time { <-done; return moment }
	})
}

// A deadline and a cancellation end a call over sockets before the request timeout.
func TestContextOverSockets(t *testing.T) {
	for _, a := range slowAttacks() {
		for _, e := range few {
			if want := a.of(e.kind); want == unchecked || want == completes {
				continue
			}
			reaches := func(name string, want error, start func(*testing.T, *rig) context.Context) {
				t.Run(name+"/"+a.name+"/"+e.name, func(t *testing.T) {
					t.Parallel()
					r := newRig(t, serve(t, "tcp", "127.0.0.1:0", a.scheme(), a.handle), settings{requestTimeout: patience, transport: a.transport})
					if o := r.call(t, start(t, r), e); !errors.Is(o.err, want) {
						t.Errorf("%v, want %v", o.err, want)
					}
				})
			}
			reaches("deadline", context.DeadlineExceeded, func(t *testing.T, _ *rig) context.Context {
				ctx, cancel := context.WithTimeout(t.Context(), soon)
				t.Cleanup(cancel)
				return ctx
			})
			if a.busy { // it may fail before the cancellation
				continue
			}
			reaches("cancellation", errHome, func(t *testing.T, r *rig) context.Context {
				ctx, cancel := context.WithCancelCause(t.Context())
				go func() {
					eventually(func() bool { return r.open.Load() > 0 })
					cancel(errHome)
				}()
				return ctx
			})
		}
	}
}
