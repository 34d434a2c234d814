package gamma_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
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

// connectProxy is a proxy that calls respond for every CONNECT. URL has a password.
type connectProxy struct {
	URL  *url.URL
	seen atomic.Int32
}

func newConnectProxy(t *testing.T, overTLS bool, respond func(net.Conn)) *connectProxy {
	t.Helper()
	p := &connectProxy{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			t.Errorf("the proxy got %s", r.Method)
		}
		p.seen.Add(1)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		respond(conn)
		_ = conn.Close()
	}))
	if overTLS {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	var err error
	if p.URL, err = url.Parse(server.URL); err != nil {
		t.Fatal(err)
	}
	p.URL.User = url.UserPassword("jane", "pr0xy-secret")
	return p
}

// viaProxy returns a client that uses p and accepts any certificate.
func viaProxy(transport *http.Transport, p *connectProxy) *http.Client {
	transport.Proxy = http.ProxyURL(p.URL)
	transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	return &http.Client{Transport: transport}
}

func TestProxyRefusesConnect(t *testing.T) {
	says := func(text string) func(net.Conn) {
		return func(c net.Conn) { _, _ = io.WriteString(c, text) }
	}
	newTransport := gamma.NewTransport
	plain := func() *http.Transport { return &http.Transport{} }
	for _, tt := range []struct {
		name      string
		transport func() *http.Transport
		https     bool // to the proxy
		respond   func(net.Conn)
		permanent bool
		text      string // in the error; PROXY is the address of the proxy
	}{
		{"407", newTransport, false, says("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"), true, "the proxy PROXY refused the connection: 407 Proxy Authentication Required"},
		{"403", newTransport, false, says("HTTP/1.1 403 Forbidden\r\n\r\n"), true, "the proxy PROXY refused the connection: 403 Forbidden"},
		{"401", newTransport, false, says("HTTP/1.1 401 Unauthorized\r\n\r\n"), true, "the proxy PROXY refused the connection: 401 Unauthorized"},
		{"404, other reason phrase", newTransport, false, says("HTTP/1.1 404 \x1b[31m" + key + "\r\n\r\n"), true, "the proxy PROXY refused the connection: 404 Not Found"},
		{"499, no reason phrase", newTransport, false, says("HTTP/1.1 499\r\n\r\n"), true, "the proxy PROXY refused the connection: 499"},
		{"302", newTransport, false, says("HTTP/1.1 302 Found\r\nLocation: https://login.example/\r\n\r\n"), true, "the proxy PROXY refused the connection: 302 Found"},
		{"403, proxy over TLS", newTransport, true, says("HTTP/1.1 403 Forbidden\r\n\r\n"), true, "the proxy PROXY refused the connection: 403 Forbidden"},
		{"408", newTransport, false, says("HTTP/1.1 408 Request Timeout\r\n\r\n"), false, "the proxy PROXY refused the connection: 408 Request Timeout"},
		{"425", newTransport, false, says("HTTP/1.1 425 Too Early\r\n\r\n"), false, "the proxy PROXY refused the connection: 425 Too Early"},
		{"429", newTransport, false, says("HTTP/1.1 429 Too Many Requests\r\n\r\n"), false, "the proxy PROXY refused the connection: 429 Too Many Requests"},
		{"503", newTransport, false, says("HTTP/1.1 503 Service Unavailable\r\n\r\n"), false, "the proxy PROXY refused the connection: 503 Service Unavailable"},
		{"501", newTransport, false, says("HTTP/1.1 501 Not Implemented\r\n\r\n"), false, "the proxy PROXY refused the connection: 501 Not Implemented"},
		{"not HTTP", newTransport, false, says(key + "\r\n\r\n"), false, "malformed HTTP"},
		{"no response", newTransport, false, says(""), false, "EOF"},
		{"200, then no TLS", newTransport, false, says("HTTP/1.1 200 OK\r\n\r\n" + key), false, ""},
		{"http.Transport, 407", plain, false, says("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"), true, "the proxy PROXY refused the connection: 407 Proxy Authentication Required"},
		{"http.Transport, 403", plain, false, says("HTTP/1.1 403 Forbidden\r\n\r\n"), true, "the proxy PROXY refused the connection: 403 Forbidden"},
		{"http.Transport, 403, proxy over TLS", plain, true, says("HTTP/1.1 403 Forbidden\r\n\r\n"), true, "the proxy PROXY refused the connection: 403 Forbidden"},
		{"http.Transport, 502", plain, false, says("HTTP/1.1 502 Bad Gateway\r\n\r\n"), false, "the proxy PROXY refused the connection: 502 Bad Gateway"},
		{"http.Transport, not HTTP", plain, false, says(key + "\r\n\r\n"), false, "malformed HTTP"},
	} {
		const base, id = "https://gamma.invalid", "gen1"
		for name, operation := range map[string]struct {
			requests int32 // if the error is not permanent
			call     func(context.Context, *gamma.Client) error
		}{
			"Wait": {2, func(ctx context.Context, client *gamma.Client) error {
				p := poller.New(client)
				p.Interval, p.MaxFailures = time.Millisecond, 2
				_, err := p.Wait(ctx, id)
				return err
			}},
			"CreateGeneration": {1, func(ctx context.Context, client *gamma.Client) error {
				_, err := client.CreateGeneration(hurried{ctx}, generation(api.GenerationRequest{InputText: "tea"}))
				return err
			}},
			"Download": {2, func(ctx context.Context, client *gamma.Client) error {
				return client.Download(briefly{ctx}, base+"/file?s3cr3t", io.Discard)
			}},
		} {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				p := newConnectProxy(t, tt.https, tt.respond)
				transport := tt.transport()
				client := newClient(t, base, gamma.WithHTTPClient(viaProxy(transport, p)))
				defer transport.CloseIdleConnections()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				err := operation.call(ctx, client)
				if err == nil || !strings.Contains(err.Error(), strings.ReplaceAll(tt.text, "PROXY", p.URL.Host)) {
					t.Fatalf("%v, want %q", err, tt.text)
				}
				checkText(t, err)
				for _, secret := range []string{"jane", "pr0xy", "s3cr3t"} {
					if strings.Contains(err.Error(), secret) {
						t.Errorf("%v has %q", err, secret)
					}
				}
				for _, is := range []error{gamma.ErrMaybeCreated, gamma.ErrForbidden, gamma.ErrUnauthorized, gamma.ErrNotFound, gamma.ErrLinkExpired} {
					if errors.Is(err, is) {
						t.Errorf("%v matches %v", err, is)
					}
				}
				want := operation.requests
				if tt.permanent {
					want = 1
				}
				if n := p.seen.Load(); n != want {
					t.Errorf("%d CONNECT requests, want %d", n, want)
				}
			})
		}
	}
}

// briefly always has less time remaining than the second pause of a download takes.
type briefly struct{ context.Context }

func (briefly) Deadline() (time.Time, bool) { return time.Now().Add(500 * time.Millisecond), true }

// A create is retried if the proxy could not reach the server.
func TestCreateAfterProxyFailure(t *testing.T) {
	var p *connectProxy
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"generationId":"gen1"}`)
	}))
	defer server.Close()
	p = newConnectProxy(t, false, func(c net.Conn) {
		if p.seen.Load() == 1 {
			_, _ = io.WriteString(c, "HTTP/1.1 503 Service Unavailable\r\n\r\n")
			return
		}
		to, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "https://"))
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(to, bufio.NewReader(c)); _ = to.Close() }()
		_, _ = io.Copy(c, to)
	})
	retries := 0
	client := newClient(t, "https://gamma.invalid", gamma.WithHTTPClient(viaProxy(gamma.NewTransport(), p)),
		gamma.WithOnRetry(func(gamma.Retry) { retries++ }))
	created, err := client.CreateGeneration(t.Context(), generation(api.GenerationRequest{InputText: "tea"}))
	if err != nil || created.GenerationID != "gen1" || retries != 1 {
		t.Errorf("%v, %v after %d retries", created, err, retries)
	}
}

// Every create opens a connection and closes it, over any version of HTTP that the caller's
// transport is configured for.
func TestCreateOverEveryVersion(t *testing.T) {
	insecure := &tls.Config{InsecureSkipVerify: true}
	protocols := func(set ...func(*http.Protocols, bool)) *http.Protocols {
		p := new(http.Protocols)
		for _, set := range set {
			set(p, true)
		}
		return p
	}
	http1, http2, plain2 := (*http.Protocols).SetHTTP1, (*http.Protocols).SetHTTP2, (*http.Protocols).SetUnencryptedHTTP2
	usedBefore := &http.Transport{}
	_ = usedBefore.Clone() // enables HTTP/2, as a request does
	usedBefore.TLSClientConfig.InsecureSkipVerify = true
	ofCaller := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}}
	ofCaller.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{"h2": func(_ string, c *tls.Conn) http.RoundTripper {
		_ = c.Close()
		return responds(func() *http.Response {
			return reply(200, "application/json", `{"generationId":"gen1","status":"pending"}`)
		})
	}}
	ofGamma := gamma.NewTransport()
	ofGamma.TLSClientConfig = insecure.Clone()
	for name, tt := range map[string]struct {
		transport *http.Transport
		server    *http.Protocols
		overTLS   bool
		want      string
	}{
		"NewTransport":                                    {ofGamma, nil, true, "HTTP/2.0"},
		"NewTransport, server with only HTTP/2":           {ofGamma, protocols(http2), true, "HTTP/2.0"},
		"NewTransport, server with only HTTP/1":           {ofGamma, protocols(http1), true, "HTTP/1.1"},
		"http.Transport":                                  {usedBefore, nil, true, "HTTP/2.0"},
		"http.Transport, TLSClientConfig":                 {&http.Transport{TLSClientConfig: insecure.Clone()}, nil, true, "HTTP/1.1"},
		"http.Transport, HTTP/2 disabled by TLSNextProto": {&http.Transport{TLSClientConfig: insecure.Clone(), ForceAttemptHTTP2: true, TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}, nil, true, "HTTP/1.1"},
		"http.Transport, only HTTP/2 in Protocols":        {&http.Transport{TLSClientConfig: insecure.Clone(), Protocols: protocols(http2)}, nil, true, "HTTP/2.0"},
		"http.Transport, only HTTP/1 in Protocols":        {&http.Transport{TLSClientConfig: insecure.Clone(), Protocols: protocols(http1)}, nil, true, "HTTP/1.1"},
		"http.Transport, caller's HTTP/2":                 {ofCaller, nil, true, "HTTP/2.0"},
		"http.Transport, no TLS":                          {&http.Transport{}, nil, false, "HTTP/1.1"},
		"http.Transport, HTTP/2 without TLS":              {&http.Transport{Protocols: protocols(plain2)}, protocols(http1, plain2), false, "HTTP/2.0"},
		"http.Transport, DisableKeepAlives":               {&http.Transport{DisableKeepAlives: true}, nil, false, "HTTP/1.1"},
	} {
		t.Run(name, func(t *testing.T) {
			var opened, open atomic.Int32
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Proto != tt.want {
					t.Errorf("%s, want %s", r.Proto, tt.want)
				}
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, `{"generationId":"gen1","status":"pending"}`)
			}))
			server.Config.Protocols = tt.server
			server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				switch state {
				case http.StateNew:
					opened.Add(1)
					open.Add(1)
				case http.StateClosed, http.StateHijacked:
					open.Add(-1)
				}
			}
			if tt.overTLS {
				server.EnableHTTP2 = tt.server == nil || tt.server.HTTP2()
				server.StartTLS()
			} else {
				server.Start()
			}
			defer server.Close()
			defer tt.transport.CloseIdleConnections()
			client := newClient(t, server.URL, gamma.WithHTTPClient(&http.Client{Transport: tt.transport}))
			if _, err := get(t, client); err != nil { // may leave an idle connection
				t.Fatal(err)
			}
			const creates = 3
			for range creates {
				if _, err := client.CreateGeneration(t.Context(), generation(api.GenerationRequest{InputText: "tea"})); err != nil {
					t.Fatal(err)
				}
			}
			if n := opened.Load(); n != 1+creates {
				t.Errorf("%d connections for a poll and %d creates", n, creates)
			}
			tt.transport.CloseIdleConnections()
			for end := time.Now().Add(time.Minute); open.Load() > 0; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("%d connections are still open", open.Load())
				}
			}
		})
	}
}

// After a timeout the idle connections are closed, since they may be dead, but not those of
// a caller's transport, which may have other users.
func TestIdleConnectionsAfterTimeout(t *testing.T) {
	for name, tt := range map[string]struct {
		own  bool
		want int // connections
	}{
		"the client's transport": {true, 3},
		"the caller's transport": {false, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var opened, both atomic.Int32
				serve := func(conn net.Conn) {
					r := bufio.NewReader(conn)
					for {
						req, err := http.ReadRequest(r)
						if err != nil {
							return
						}
						if strings.HasSuffix(req.URL.Path, "/hang") {
							_, _ = r.ReadByte()
							return
						}
						if both.Add(1) <= 2 {
							time.Sleep(time.Second) // for a second connection
						}
						const body = `{"generationId":"gen1","status":"pending"}`
						_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
					}
				}
				client := newClient(t, "http://127.0.0.1:1")
				transport := gamma.OwnTransport(client)
				if !tt.own {
					transport = gamma.NewTransport()
					client = newClient(t, "http://127.0.0.1:1", gamma.WithHTTPClient(&http.Client{Transport: transport}))
				}
				transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
					opened.Add(1)
					here, there := net.Pipe()
					go func() { serve(there); _ = there.Close() }()
					return here, nil
				}
				defer transport.CloseIdleConnections()
				results := make(chan error)
				for range 2 {
					go func() { _, err := get(t, client); results <- err }()
				}
				for range 2 {
					if err := <-results; err != nil {
						t.Error(err)
					}
				}
				if _, err := client.GetGenerationStatus(t.Context(), "hang"); !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				if _, err := get(t, client); err != nil {
					t.Error(err)
				}
				if n := opened.Load(); int(n) != tt.want {
					t.Errorf("%d connections, want %d", n, tt.want)
				}
			})
		})
	}
}

// A transport that is not an http.Transport gets every request at once.
func TestFirstRequestsOfOtherTransports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 50
		arrived := 0
		var mu sync.Mutex
		all := make(chan struct{})
		client := newFakeClient(t, func(*http.Request) (*http.Response, error) {
			mu.Lock()
			if arrived++; arrived == n {
				close(all)
			}
			mu.Unlock()
			<-all
			return reply(200, "application/json", `{"generationId":"gen1","status":"pending"}`), nil
		})
		start := time.Now()
		var requests sync.WaitGroup
		for range n {
			requests.Go(func() { _, _ = get(t, client) })
		}
		requests.Wait()
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v", took)
		}
	})
}

// Concurrent first requests share an HTTP/2 connection.
func TestConcurrentFirstRequests(t *testing.T) {
	const n = 200
	var opened atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"generationId":"gen1","status":"pending"}`)
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	transport := gamma.NewTransport()
	transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	defer transport.CloseIdleConnections()
	client := newClient(t, server.URL, gamma.WithHTTPClient(&http.Client{Transport: transport}))
	var requests sync.WaitGroup
	for range n {
		requests.Go(func() {
			if _, err := client.GetGenerationStatus(t.Context(), "gen1"); err != nil {
				t.Error(err)
			}
		})
	}
	requests.Wait()
	if n := opened.Load(); n > 5 {
		t.Errorf("%d connections", n)
	}
}

func TestTransportErrors(t *testing.T) {
	inner := &net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded}
	for _, tt := range []struct {
		err  error
		text string
		is   error
	}{
		{nil, "neither a response nor an error", nil},
		{io.ErrUnexpectedEOF, "unexpected EOF", io.ErrUnexpectedEOF},
		{inner, "read tcp", os.ErrDeadlineExceeded},
		{&url.Error{Op: "Get", URL: "https://secret.example/", Err: io.EOF}, "EOF", io.EOF},
		{errors.New(`malformed HTTP response "exportUrl"`), "malformed HTTP response (the rest may quote the response)", nil},
		{errors.New("malformed MIME header line: exportUrl https://x"), "malformed MIME header (the rest may quote the response)", nil},
		{fmt.Errorf("malformed MIME header: missing colon: %q", key), "malformed MIME header (the rest may quote the response)", nil},
		{errors.New("bad " + key), "the request failed", nil},
		{fmt.Errorf("http2: server sent GOAWAY and closed the connection; debug=%q", key), "debug= (the rest may quote the response)", nil},
		{errors.New("a\nb\x1b"), `a\nb\x1b`, nil},
		{&net.DNSError{Err: "no such host", Name: "h.example", IsNotFound: true}, "lookup h.example: no such host", nil},
	} {
		client := newClient(t, "https://h.example", gamma.WithHTTPClient(&http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) { return nil, tt.err })}))
		_, err := get(t, client)
		if err == nil || !strings.Contains(err.Error(), tt.text) || !strings.Contains(err.Error(), "GET /v1.0/generations/{id}") || tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%v gave %v, want %q", tt.err, err, tt.text)
			continue
		}
		checkText(t, err)
	}
}

func TestNewTransport(t *testing.T) {
	a, b := gamma.NewTransport(), gamma.NewTransport()
	if a == b || a.HTTP2 == b.HTTP2 {
		t.Error("two transports share state")
	}
	if a.MaxResponseHeaderBytes != 256<<10 || a.MaxIdleConnsPerHost < 64 || a.HTTP2.SendPingTimeout <= 0 || a.IdleConnTimeout != 30*time.Second || !a.ForceAttemptHTTP2 || a.Proxy == nil {
		t.Errorf("%+v", a)
	}
}

func TestTLS(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"generationId":"gen1","status":"completed"}`)
	}))
	server.Config.ErrorLog = nil
	defer server.Close()
	_, err := get(t, newClient(t, server.URL))
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("unknown authority: %v", err)
	}
	transport := gamma.NewTransport()
	transport.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	rsp, err := get(t, newClient(t, server.URL, gamma.WithHTTPClient(&http.Client{Transport: transport})))
	if err != nil || rsp.JSON200.Status != "completed" {
		t.Errorf("known authority: %v", err)
	}
	transport.CloseIdleConnections()
}
