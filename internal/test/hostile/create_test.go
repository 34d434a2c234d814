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

// A connection that was used before may be dead when the next request needs it. The
// request arrives once at most, and when it may have arrived the error says so.
func TestCreateOnUsedConnection(t *testing.T) {
	for name, second := range map[string]func(*exchange){
		"closed unread": nil,
		"closed":        func(x *exchange) { _ = x.Close() },
		"reset":         func(x *exchange) { reset(x.Conn) },
		"half answered": func(x *exchange) { x.say("HTTP/1.1 200 OK\r\nContent-Le"); reset(x.Conn) },
		"answered 408":  func(x *exchange) { x.say(full("408 Request Timeout", "", "", "Connection: close")); _ = x.Close() },
	} {
		for _, e := range some("CreateGeneration", "CreateFromTemplateGeneration") {
			t.Run(name+"/"+e.name, func(t *testing.T) {
				t.Parallel()
				s := serve(t, "tcp", "127.0.0.1:0", "http", http1(func(x *exchange) {
					switch {
					case x.n == 1 && second == nil:
						x.say(isJSON(answer))
						reset(x.Conn)
					case x.n == 1 || second == nil:
						x.say(isJSON(answer))
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

// What HTTP/2 says was not begun is asked for again. A protocol error says no such
// thing.
func TestCreateOverHTTP2(t *testing.T) {
	for name, refuse := range map[string]func(*stream){
		"GOAWAY":         func(x *stream) { x.goAway(0, noError); _ = x.Close() },
		"RST":            func(x *stream) { x.rst(refusedStream) },
		"protocol error": func(x *stream) { x.rst(protocolError) },
	} {
		for _, e := range some("CreateGeneration", "CreateFromTemplateGeneration") {
			t.Run(name+"/"+e.name, func(t *testing.T) {
				t.Parallel()
				want := map[bool]int32{true: 2, false: 1}[name != "protocol error"]
				s := serve(t, "tcp", "127.0.0.1:0", "https", http2("", func(x *stream) {
					if x.conn == 1 && x.n == 1 {
						refuse(x)
						return
					}
					x.ok()
				}))
				r := newRig(t, s, settings{})
				if o := r.call(t, t.Context(), e); (o.err == nil) != (want == 2) || r.requests.Load() != want || want == 1 && !errors.Is(o.err, gamma.ErrMaybeCreated) {
					t.Errorf("%v after %d requests", o.err, r.requests.Load())
				}
			})
		}
	}
}

// A connection that takes no request has created nothing.
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

// A large request to a server that does not read it ends in time, and the server
// may have it.
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
		{name: "deaf for a while", slow: true, ends: ends{create: maybe}, handle: half(func(c net.Conn) {
			time.Sleep(200 * time.Millisecond)
			_, _ = io.Copy(io.Discard, c)
		})},
		{name: "reset", ends: ends{create: maybe}, handle: half(reset)},
		{name: "refused early", ends: ends{create: refused}, handle: half(func(c net.Conn) {
			say(c, early)
			_, _ = io.Copy(io.Discard, c)
		})},
		{name: "read and lost", ends: ends{create: maybe}, handle: http1(func(x *exchange) { _ = x.Close() })},
	}, []entry{e})
}

// A server that is not there has created nothing.
func TestCreateRefused(t *testing.T) {
	// Once, before the cases run: another's Listen must not get the port.
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

// With less than its first pause until the deadline, a wait after a create polls once,
// just before the deadline.
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
		"good":             {post: ok, get: ok},
		"a lost creation":  {post: func(x *exchange) { reset(x.Conn) }, maybe: true},
		"a lost answer":    {post: ok, get: func(x *exchange) { reset(x.Conn) }, as: new(*poller.WaitError)},
		"a failure":        {post: ok, get: func(x *exchange) { x.say(isJSON(`{"generationId":"gen1","status":"failed"}`)) }, as: new(*poller.FailedError)},
		"a refusal":        {post: func(x *exchange) { x.say(full("402 Pay", "", "")) }, as: new(*gamma.APIError)},
		"a redirect":       {post: ok, get: func(x *exchange) { x.say(full("302 Found", "", "", "Location: /")) }, as: new(*poller.WaitError)},
		"silence after it": {post: ok, get: func(x *exchange) { x.hang() }, as: new(*poller.WaitError)},
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

func ok(x *exchange) { x.say(isJSON(answer)) }

// All yields every id once, whatever becomes of it.
func TestAllMixed(t *testing.T) { synctest.Test(t, testAllMixed) }

func testAllMixed(t *testing.T) {
	type fate struct {
		respond func(*exchange, string)
		end     end
	}
	json := func(status, body string) func(*exchange, string) {
		return func(x *exchange, id string) {
			x.say(full(status, "application/json", strings.ReplaceAll(body, "ID", id)))
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
		{func(x *exchange, _ string) { x.say("\x00"); _ = x.Close() }, givesUp},
		{func(x *exchange, _ string) { x.say(head("200 OK", jsonType)); flood(x, " ") }, atOnce},
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

// The loopback has another address, too.
func TestIPv6(t *testing.T) {
	for _, e := range entries {
		t.Run(e.name, func(t *testing.T) {
			r := newRig(t, serve(t, "tcp6", "[::1]:0", "http", says(isJSON(answer))), settings{})
			r.call(t, t.Context(), e)
			r.ended(t, e, completes)
		})
	}
}

// A server that closes each connection after its answer, and says so or not.
func TestPollsOverClosedConnections(t *testing.T) {
	for name, last := range map[string]func(*exchange){
		"silently": func(x *exchange) { _ = x.Close() },
		"by reset": func(x *exchange) { reset(x.Conn) },
		"with 408": func(x *exchange) { x.say(full("408 Request Timeout", "", "", "Connection: close")); _ = x.Close() },
		"politely": func(*exchange) {},
	} {
		for _, e := range some("Wait", "Watch", "All") {
			t.Run(name+"/"+e.name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, serve(t, "tcp", "127.0.0.1:0", "http", http1(func(x *exchange) {
					status := `{"generationId":"gen1","status":"pending"}`
					if x.n > 20 {
						status = answer
					}
					if name == "politely" {
						x.say(isJSON(status, "Connection: close"))
						_ = x.Close()
						return
					}
					x.say(isJSON(status))
					if x.n <= 20 {
						last(x)
					}
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

// A create waits as long as its context lets it, since to give up early saves nothing: a
// server that was stopped, and a large text on a slow line, cost time and no doubt.
func TestCreateTakesItsTime(t *testing.T) {
	const kB = 1000
	_ = serverCert() // not by the clock of a bubble
	large := text
	large.InputText = strings.Repeat("\u8336", 399_999) // three bytes each
	perByte := func(n int) time.Duration { return time.Duration(n) * time.Second / (60 * kB) }
	for name, tt := range map[string]struct {
		request api.GenerationRequest
		stopped time.Duration                      // the server, before it responds
		line    func(sent, more int) time.Duration // how long the next bytes take
		within  time.Duration                      // of the context; 0: no deadline
		maybe   bool
	}{
		"a server that is stopped for a minute":   {request: text, stopped: time.Minute},
		"a server that takes nearly five minutes": {request: text, stopped: 299 * time.Second},
		"a server that takes more than five":      {request: text, stopped: 301 * time.Second, maybe: true},
		"a server that takes ten, and a deadline": {request: text, stopped: 10 * time.Minute, within: time.Hour},
		"a server that takes longer than ctx":     {request: text, stopped: time.Minute, within: 30 * time.Second, maybe: true},
		"a large text on a slow line":             {request: large, stopped: 30 * time.Second, line: func(_, n int) time.Duration { return perByte(n) }},
		"a line that is silent for a minute": {request: text, line: func(sent, n int) time.Duration {
			if sent < 4*kB && sent+n >= 4*kB { // after the handshake
				return time.Minute
			}
			return 0
		}},
	} {
		for _, protocol := range []string{"h2", "http/1.1"} {
			for _, way := range []string{"CreateGeneration", "CreateGenerationWithResponse"} {
				t.Run(name+"/"+protocol+"/"+way, func(t *testing.T) {
					t.Parallel()
					skipSharedChannels(t, protocol)
					synctest.Test(t, func(t *testing.T) {
						l := &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
						config := with(serverCert())
						config.NextProtos = []string{protocol}
						// Room for the whole request: a server that reads it sends frames, which stand for a ping.
						room := &http.HTTP2Config{MaxReceiveBufferPerConnection: 4 << 20, MaxReceiveBufferPerStream: 4 << 20}
						server := &http.Server{TLSConfig: config, HTTP2: room, Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
							time.Sleep(tt.stopped)
							_, _ = io.Copy(io.Discard, req.Body)
							w.Header().Set("Content-Type", "application/json")
							_, _ = io.WriteString(w, answer)
						})}
						go func() { _ = server.ServeTLS(l, "", "") }()
						defer func() {
							_ = server.Close()
							time.Sleep(time.Hour) // both sides end by themselves
						}()
						transport := gamma.NewTransport()
						transport.Proxy, transport.TLSClientConfig = nil, trusted()
						defer transport.CloseIdleConnections()
						transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
							conn, err := l.dial(ctx, network, address)
							if err == nil && tt.line != nil {
								conn = newSlowLine(conn, tt.line)
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
						if way == "CreateGeneration" {
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

// slowLine takes at once what is written, as a kernel does, and delivers it when delay
// has passed.
type slowLine struct {
	net.Conn
	queue chan []byte
	gone  chan struct{}
	once  sync.Once
}

func newSlowLine(conn net.Conn, delay func(sent, more int) time.Duration) *slowLine {
	c := &slowLine{Conn: conn, queue: make(chan []byte, 10_000), gone: make(chan struct{})}
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

func (c *slowLine) Write(p []byte) (int, error) {
	select {
	case c.queue <- bytes.Clone(p):
		return len(p), nil
	case <-c.gone:
		return 0, net.ErrClosed
	}
}

func (c *slowLine) Close() error {
	c.once.Do(func() { close(c.gone) })
	return c.Conn.Close()
}

// Servers and load balancers close a connection that was idle for too long, which may
// happen just as the next request comes. No create meets that.
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
				say(c, isJSON(answer))
				_, _ = r.Peek(1) // and closes as the next comes
			}
		}},
		"HTTP/1 that closes at once": {"http", saysAndCloses(isJSON(answer))},
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
