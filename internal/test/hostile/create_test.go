package hostile

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

// A connection may be dead when it is used again. The create request arrives at most once,
// and if it may have arrived, the error matches ErrMaybeCreated.
func TestCreateOnUsedConnection(t *testing.T) {
	for name, second := range map[string]func(*exchange){
		"reset after the first response": nil,
		"closed after the request":       func(x *exchange) { _ = x.Close() },
		"reset after the request":        func(x *exchange) { reset(x.Conn) },
		"reset after half a response":    func(x *exchange) { x.send("HTTP/1.1 200 OK\r\nContent-Le"); reset(x.Conn) },
		"408":                            func(x *exchange) { x.send(full("408 Request Timeout", "", "", "Connection: close")); _ = x.Close() },
	} {
		for _, e := range some("CreateGeneration", "CreateFromTemplateGeneration") {
			t.Run(name+"/"+e.name, func(t *testing.T) {
				t.Parallel()
				s := serve(t, "tcp", "127.0.0.1:0", "http", http1(func(x *exchange) {
					switch {
					case x.n == 1 && second == nil:
						x.send(json200(okBody))
						reset(x.Conn)
					case x.n == 1 || second == nil:
						x.send(json200(okBody))
					default:
						second(x)
					}
				}))
				r := newRig(t, s, settings{})
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				if o := e.call(ctx, r); o.err != nil {
					t.Fatal(o.err)
				}
				o := r.call(t, ctx, e)
				arrived := r.requests.Load() - 1
				if arrived > 1 || second != nil && !errors.Is(o.err, gamma.ErrMaybeCreated) {
					t.Errorf("%d requests: %v", arrived, o.err)
				}
				if second == nil && o.err != nil && !errors.Is(o.err, gamma.ErrMaybeCreated) {
					t.Errorf("%d requests: %v", arrived, o.err)
				}
			})
		}
	}
}

// A create request that the server refuses by HTTP/2 as not processed is retried. A protocol
// error is no such refusal.
func TestCreateOverHTTP2(t *testing.T) {
	for name, tt := range map[string]struct {
		refuse   func(*stream)
		requests int32
	}{
		"GOAWAY":         {func(x *stream) { x.goAway(0, noError); _ = x.Close() }, 2},
		"REFUSED_STREAM": {func(x *stream) { x.rst(refusedStream) }, 2},
		"PROTOCOL_ERROR": {func(x *stream) { x.rst(protocolError) }, 1},
	} {
		for _, e := range some("CreateGeneration", "CreateFromTemplateGeneration") {
			t.Run(name+"/"+e.name, func(t *testing.T) {
				t.Parallel()
				s := serve(t, "tcp", "127.0.0.1:0", "https", http2("", func(x *stream) {
					if x.conn == 1 && x.n == 1 {
						tt.refuse(x)
						return
					}
					x.ok()
				}))
				r := newRig(t, s, settings{})
				o := r.call(t, t.Context(), e)
				retried := tt.requests > 1
				if (o.err == nil) != retried || r.requests.Load() != tt.requests || !retried && !errors.Is(o.err, gamma.ErrMaybeCreated) {
					t.Errorf("%v after %d requests, want %d", o.err, r.requests.Load(), tt.requests)
				}
			})
		}
	}
}

// If a connection accepts no request, nothing was created.
func TestCreateWithoutStreams(t *testing.T) {
	for _, e := range some("CreateGeneration", "CreateFromTemplateGeneration") {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, serve(t, "tcp", "127.0.0.1:0", "https", http2("\x00\x03\x00\x00\x00\x00", func(*stream) {})), settings{})
			ctx, cancel := context.WithTimeout(t.Context(), 4*soon)
			defer cancel()
			if o := r.call(t, ctx, e); o.err == nil || errors.Is(o.err, gamma.ErrMaybeCreated) && r.requests.Load() == 0 {
				t.Errorf("%v after %d requests", o.err, r.requests.Load())
			}
		})
	}
}

// A large create request ends in time if the server does not read it; the generation may be
// created.
func TestCreateUnread(t *testing.T) {
	large := text
	large.InputText = strings.Repeat("tea ", 99_999)
	e := entry{"CreateGeneration", creating, func(ctx context.Context, r *rig) outcome {
		created, err := r.client.CreateGeneration(ctx, large)
		return outcome{value: created, err: err}
	}}
	early := "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
	half := func(then func(net.Conn)) handler {
		return func(_ *server, c net.Conn) {
			_, _ = io.ReadFull(c, make([]byte, 1000))
			then(c)
		}
	}
	run(t, []attack{
		{name: "read slowly, no response", slow: true, ends: ends{create: maybe}, handle: half(func(c net.Conn) {
			time.Sleep(200 * time.Millisecond)
			_, _ = io.Copy(io.Discard, c)
		})},
		{name: "reset in the request", ends: ends{create: maybe}, handle: half(reset)},
		{name: "413 before the end of the request", ends: ends{create: refused}, handle: half(func(c net.Conn) {
			send(c, early)
			_, _ = io.Copy(io.Discard, c)
		})},
		{name: "closed after the request", ends: ends{create: maybe}, handle: http1(func(x *exchange) { _ = x.Close() })},
	}, []entry{e})
}

// If no server listens, nothing was created.
func TestCreateRefused(t *testing.T) {
	// Once, before the cases run, so that their servers do not get the port.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	for _, e := range entries {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, &server{url: "http://" + l.Addr().String()}, settings{})
			e := e
			if e.kind == creating || e.kind == fetching {
				e.call = briefly(e.call)
			}
			r.call(t, t.Context(), e)
			r.ended(t, e, none.of(e.kind))
		})
	}
}

// If the deadline is earlier than the first poll, a wait after a create polls once, just
// before the deadline.
func TestCreateAndWait(t *testing.T) {
	e := entry{"CreateGeneration and Wait", creating, func(ctx context.Context, r *rig) outcome {
		created, err := r.client.CreateGeneration(ctx, text)
		if err != nil {
			return outcome{value: created, err: err}
		}
		p := poller.New(r.client)
		p.FirstPoll = 20 * time.Second
		gen, err := p.Wait(ctx, created.GenerationID)
		return outcome{value: gen, err: err}
	}}
	for name, tt := range map[string]struct {
		post, get func(*exchange)
		as        any // the type of the error, nil for none
		maybe     bool
	}{
		"both succeed":            {post: ok, get: ok},
		"create is reset":         {post: func(x *exchange) { reset(x.Conn) }, maybe: true},
		"poll is reset":           {post: ok, get: func(x *exchange) { reset(x.Conn) }, as: new(*poller.WaitError)},
		"generation fails":        {post: ok, get: func(x *exchange) { x.send(json200(`{"generationId":"gen1","status":"failed"}`)) }, as: new(*poller.FailedError)},
		"create returns 402":      {post: func(x *exchange) { x.send(full("402 Pay", "", "")) }, as: new(*gamma.APIError)},
		"poll returns 302":        {post: ok, get: func(x *exchange) { x.send(full("302 Found", "", "", "Location: /")) }, as: new(*poller.WaitError)},
		"no response to the poll": {post: ok, get: func(x *exchange) { x.hang() }, as: new(*poller.WaitError)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				posts := 0
				r := newRig(t, inMemory(t, "http", http1(func(x *exchange) {
					if x.req.Method == "POST" {
						posts++
						tt.post(x)
					} else {
						tt.get(x)
					}
				})), settings{})
				ctx, cancel := context.WithTimeout(t.Context(), 4*soon)
				defer cancel()
				o := r.call(t, ctx, e)
				if (o.err == nil) != (tt.as == nil && !tt.maybe) || posts != 1 || errors.Is(o.err, gamma.ErrMaybeCreated) != tt.maybe {
					t.Errorf("%v, %v after %d creations", o.value, o.err, posts)
				}
				if tt.as != nil && !errors.As(o.err, tt.as) {
					t.Errorf("%v, want %T", o.err, tt.as)
				}
			})
		})
	}
}

func ok(x *exchange) { x.send(json200(okBody)) }

// All yields every id once, whatever the responses.
func TestAllMixed(t *testing.T) { synctest.Test(t, testAllMixed) }

func testAllMixed(t *testing.T) {
	type fate struct {
		respond func(*exchange, string)
		end     end
	}
	json := func(status, body string) func(*exchange, string) {
		return func(x *exchange, id string) {
			x.send(full(status, "application/json", strings.ReplaceAll(body, "ID", id)))
		}
	}
	fates := []fate{
		{json("200 OK", `{"generationId":"ID","status":"completed"}`), completes},
		{json("200 OK", `{"generationId":"ID","status":"failed","error":{"message":"\u001b"}}`), failed},
		{json("200 OK", `{"generationId":"ID","status":"pending"}`), deadline},
		{json("200 OK", `{"generationId":"other","status":"completed"}`), givesUp},
		{json("200 OK", `{"generationId":"ID","status":"completed","credits":"x"}`), completes},
		{json("404 Not Found", `{}`), missing},
		{json("500 Oops", `<html>`), givesUp},
		{json("302 Found", ``), atOnce},
		{json("204 No Content", ``), givesUp},
		{func(x *exchange, _ string) { reset(x.Conn) }, givesUp},
		{func(x *exchange, _ string) { _ = x.Close() }, givesUp},
		{func(x *exchange, _ string) { x.send("\x00"); _ = x.Close() }, givesUp},
		{func(x *exchange, _ string) { x.send(head("200 OK", jsonType)); flood(x, " ") }, atOnce},
		{func(x *exchange, _ string) { x.hang() }, deadline},
	}
	const each, invalid = 4, "../not an id"
	s := inMemory(t, "http", http1(func(x *exchange) {
		id := x.req.URL.Path[strings.LastIndex(x.req.URL.Path, "/")+1:]
		var n int
		_, _ = fmt.Sscanf(id, "gen%d", &n)
		fates[n%len(fates)].respond(x, id)
	}))
	r := newRig(t, s, settings{requestTimeout: 10 * time.Second})
	seen := map[string]int{}
	e := entry{"All", waiting, func(ctx context.Context, r *rig) (o outcome) {
		for result := range r.poller().All(ctx, func(yield func(poller.Progress) bool) {
			for n := range each * len(fates) {
				if !yield(poller.Progress{ID: fmt.Sprint("gen", n)}) {
					return
				}
			}
			yield(poller.Progress{ID: invalid})
		}) {
			checkError(t, result.Err)
			seen[result.ID]++
			if result.ID == invalid {
				continue
			}
			var n int
			_, _ = fmt.Sscanf(result.ID, "gen%d", &n)
			if why := waiting.wrong(outcome{value: result, err: result.Err}, fates[n%len(fates)].end, 1); why != "" {
				t.Errorf("%s: %s, want %s: %v", result.ID, why, fates[n%len(fates)].end, result.Err)
			}
		}
		return o
	}}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	r.call(t, ctx, e)
	if len(seen) != each*len(fates)+1 {
		t.Errorf("%d results, want %d", len(seen), each*len(fates)+1)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%q came %d times", id, n)
		}
	}
}

// The API may have an IPv6 address.
func TestIPv6(t *testing.T) {
	for _, e := range entries {
		t.Run(e.name, func(t *testing.T) {
			r := newRig(t, serve(t, "tcp6", "[::1]:0", "http", sends(json200(okBody))), settings{})
			r.call(t, t.Context(), e)
			r.ended(t, e, completes)
		})
	}
}

// A server may close each connection after its response, with or without telling the client.
func TestPollsOverClosedConnections(t *testing.T) {
	for name, tt := range map[string]struct {
		headers []string
		end     func(*exchange)
	}{
		"closed":            {nil, func(x *exchange) { _ = x.Close() }},
		"reset":             {nil, func(x *exchange) { reset(x.Conn) }},
		"408 and closed":    {nil, func(x *exchange) { x.send(full("408 Request Timeout", "", "", "Connection: close")); _ = x.Close() }},
		"Connection: close": {[]string{"Connection: close"}, func(x *exchange) { _ = x.Close() }},
	} {
		for _, e := range some("Wait", "Watch", "All") {
			t.Run(name+"/"+e.name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, serve(t, "tcp", "127.0.0.1:0", "http", http1(func(x *exchange) {
					if x.n > 20 {
						ok(x)
						return
					}
					x.send(json200(`{"generationId":"gen1","status":"pending"}`, tt.headers...))
					tt.end(x)
				})), settings{})
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				r.call(t, ctx, e)
				if r.outcome.err != nil {
					t.Error(r.outcome.err)
				}
			})
		}
	}
}

// A create waits until its context is done, because giving up early leaves its outcome
// unknown: a suspended server, or a large text on a slow connection, takes minutes.
func TestCreateTakesItsTime(t *testing.T) {
	const kB = 1000
	_ = serverCert() // not by the clock of a bubble
	large := text
	large.InputText = strings.Repeat("\u8336", 399_999) // three bytes each
	perByte := func(n int) time.Duration { return time.Duration(n) * time.Second / (60 * kB) }
	for name, tt := range map[string]struct {
		request api.GenerationRequest
		pause   time.Duration                      // of the server, before it responds
		delay   func(sent, more int) time.Duration // of the next bytes
		within  time.Duration                      // of the context; 0: no deadline
		maybe   bool
	}{
		"server suspended for 60 s":                 {request: text, pause: time.Minute},
		"response after 299 s":                      {request: text, pause: 299 * time.Second},
		"response after 301 s":                      {request: text, pause: 301 * time.Second, maybe: true},
		"response after 600 s, deadline of an hour": {request: text, pause: 10 * time.Minute, within: time.Hour},
		"response after 60 s, deadline of 30 s":     {request: text, pause: time.Minute, within: 30 * time.Second, maybe: true},
		"large text, slow connection":               {request: large, pause: 30 * time.Second, delay: func(_, n int) time.Duration { return perByte(n) }},
		"connection stalls for 60 s": {request: text, delay: func(sent, n int) time.Duration {
			if sent < 4*kB && sent+n >= 4*kB { // after the handshake
				return time.Minute
			}
			return 0
		}},
	} {
		for _, protocol := range []string{"h2", "http/1.1"} {
			for _, method := range []string{"CreateGeneration", "CreateGenerationWithResponse"} {
				t.Run(name+"/"+protocol+"/"+method, func(t *testing.T) {
					t.Parallel()
					skipSharedChannels(t, protocol)
					synctest.Test(t, func(t *testing.T) {
						l := &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
						config := with(serverCert())
						config.NextProtos = []string{protocol}
						// A buffer for the whole request: reading it would make the server send frames, which net/http takes for the response to a ping.
						buffers := &http.HTTP2Config{MaxReceiveBufferPerConnection: 4 << 20, MaxReceiveBufferPerStream: 4 << 20}
						server := &http.Server{TLSConfig: config, HTTP2: buffers, Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
							time.Sleep(tt.pause)
							_, _ = io.Copy(io.Discard, req.Body)
							w.Header().Set("Content-Type", "application/json")
							_, _ = io.WriteString(w, okBody)
						})}
						go func() { _ = server.ServeTLS(l, "", "") }()
						defer func() {
							_ = server.Close()
							time.Sleep(time.Hour) // until both sides end
						}()
						transport := gamma.NewTransport()
						transport.Proxy, transport.TLSClientConfig = nil, trusted()
						defer transport.CloseIdleConnections()
						transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
							conn, err := l.dial(ctx, network, address)
							if err == nil && tt.delay != nil {
								conn = newSlowConn(conn, tt.delay)
							}
							return conn, err
						}
						client, err := gamma.NewClient(key, gamma.WithBaseURL("https://"+address.String()), gamma.WithRequestTimeout(time.Second),
							gamma.WithHTTPClient(&http.Client{Transport: transport, Timeout: time.Second}))
						if err != nil {
							t.Fatal(err)
						}
						ctx := t.Context()
						if tt.within > 0 {
							var cancel context.CancelFunc
							ctx, cancel = context.WithTimeout(ctx, tt.within)
							defer cancel()
						}
						if method == "CreateGeneration" {
							var created gamma.Created
							if created, err = client.CreateGeneration(ctx, tt.request); (err == nil) != (created.GenerationID == "gen1") {
								t.Errorf("%+v, %v", created, err)
							}
							if errors.Is(err, gamma.ErrMaybeCreated) != tt.maybe {
								t.Error(err)
							}
						} else {
							_, err = client.CreateGenerationWithResponse(ctx, tt.request)
						}
						if (err != nil) != tt.maybe {
							t.Error(err)
						}
						checkError(t, err)
					})
				})
			}
		}
	}
}

// slowConn buffers what is written, as a kernel does, and delivers it after a delay.
type slowConn struct {
	net.Conn
	queue chan []byte
	gone  chan struct{}
	once  sync.Once
}

func newSlowConn(conn net.Conn, delay func(sent, more int) time.Duration) *slowConn {
	c := &slowConn{Conn: conn, queue: make(chan []byte, 10_000), gone: make(chan struct{})}
	go func() {
		for sent := 0; ; {
			select {
			case p := <-c.queue:
				time.Sleep(delay(sent, len(p)))
				if _, err := conn.Write(p); err != nil {
					return
				}
				sent += len(p)
			case <-c.gone:
				return
			}
		}
	}()
	return c
}

func (c *slowConn) Write(p []byte) (int, error) {
	select {
	case c.queue <- bytes.Clone(p):
		return len(p), nil
	case <-c.gone:
		return 0, net.ErrClosed
	}
}

func (c *slowConn) Close() error {
	c.once.Do(func() { close(c.gone) })
	return c.Conn.Close()
}

// Servers and load balancers close idle connections, perhaps just when the next request
// arrives. A create is therefore never sent on a connection that was used before.
func TestCreateOnKeptConnection(t *testing.T) {
	const creates = 5
	for name, tt := range map[string]struct {
		scheme string
		handle handler
	}{
		"HTTP/1": {"http", func(s *server, c net.Conn) {
			r := bufio.NewReader(c)
			if req, err := http.ReadRequest(r); err == nil {
				s.requests.Add(1)
				_, _ = io.Copy(io.Discard, req.Body)
				send(c, json200(okBody))
				_, _ = r.Peek(1) // closes when the next request arrives
			}
		}},
		"HTTP/1, closed after the response": {"http", sendsAndCloses(json200(okBody))},
		"HTTP/2": {"https", http2("", func(x *stream) {
			if x.conn > 1 {
				_ = x.Close()
				return
			}
			x.ok()
		})},
	} {
		for _, e := range some("Create", "Create from a template") {
			t.Run(name+"/"+e.name, func(t *testing.T) {
				t.Parallel()
				var opened atomic.Int32
				s := serve(t, "tcp", "127.0.0.1:0", tt.scheme, func(s *server, c net.Conn) {
					opened.Add(1)
					tt.handle(s, c)
				})
				r := newRig(t, s, settings{})
				for range creates {
					if o := e.call(t.Context(), r); o.err != nil {
						t.Error(o.err)
					}
				}
				if !eventually(func() bool { return s.open.Load() == 0 }) {
					t.Errorf("%d connections left open", s.open.Load())
				}
				if n := opened.Load(); n != creates || r.requests.Load() != creates {
					t.Errorf("%d requests over %d connections, want %d of each", r.requests.Load(), n, creates)
				}
			})
		}
	}
}
