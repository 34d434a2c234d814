package hostile

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// elsewhere is a server that the client should not contact. It counts connections and keeps
// what it receives.
type elsewhere struct {
	*server
	connections atomic.Int32
	heard       syncBuffer
}

func newElsewhere(t *testing.T) *elsewhere {
	e := &elsewhere{}
	e.server = serve(t, "tcp", "127.0.0.1:0", "http", func(_ *server, c net.Conn) {
		e.connections.Add(1)
		_, _ = io.Copy(&e.heard, c)
	})
	return e
}

func (e *elsewhere) port() string { return e.url[strings.LastIndex(e.url, ":")+1:] }

// dialing makes a client dial elsewhere for every host except that of s.
func (e *elsewhere) dialing(s *server) func(*http.Transport) {
	return func(t *http.Transport) {
		dial := t.DialContext
		t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			if !strings.HasSuffix(s.url, address) && !strings.HasSuffix(address, s.url[strings.LastIndex(s.url, ":"):]) {
				address = strings.TrimPrefix(e.url, "http://")
			}
			return dial(ctx, network, address)
		}
	}
}

var redirects = []int{300, 301, 302, 303, 304, 305, 306, 307, 308, 399}

// locations are values of Location; $host and $port are those of the server.
var locations = map[string]string{
	"another host":           "http://other.example:$port/$key",
	"another port":           "http://$host:$elsewhere/$key",
	"another address":        "http://127.0.0.2:$port/$key",
	"another scheme":         "https://$host:$elsewhere/$key",
	"a sub-domain":           "http://sub.$host:$elsewhere/",
	"a host with a dot":      "http://$host.:$elsewhere/",
	"user info":              "http://$host:$port@other.example/",
	"itself":                 "http://$host:$port/v1.0/generations/gen1",
	"itself, by path":        "/v1.0/generations/gen1",
	"itself, without scheme": "//$host:$port/",
	"an empty location":      "",
	"its parent":             "..",
	"a script":               "javascript:alert(1)",
	"a file":                 "file:///etc/passwd",
	"ftp":                    "ftp://other.example/",
	"a malformed URL":        "http://[::1/%zz",
	"control characters":     "http://$host:$port/\x01\x7f",
	"a long URL":             "http://other.example/" + strings.Repeat("x", 100<<10),
}

// An API request follows no redirect.
func TestRedirects(t *testing.T) {
	for _, status := range redirects {
		for name, location := range locations {
			for _, e := range some("status", "Wait", "CreateGeneration") {
				t.Run(fmt.Sprint(status, " to ", name, "/", e.name), func(t *testing.T) {
					t.Parallel()
					other := newElsewhere(t)
					s := serve(t, "tcp", "127.0.0.1:0", "http", http1(func(x *exchange) {
						host, port, _ := net.SplitHostPort(x.req.Host)
						to := strings.NewReplacer("$host", host, "$port", port, "$elsewhere", other.port(), "$key", x.req.Header.Get("X-Api-Key")).Replace(location)
						body := okBody
						if status == 304 {
							body = ""
						}
						x.send(full(fmt.Sprint(status, " Moved"), "application/json", body, "Location: "+to, "Refresh: 0; url="+to))
					}))
					r := newRig(t, s, settings{transport: other.dialing(s)})
					ends := denied
					if status == 302 || status == 303 { // which a server may send after processing a POST
						ends = final
					}
					want := ends.of(e.kind)
					o := r.call(t, t.Context(), e)
					if strings.ContainsAny(location, "\x01") { // not a valid header
						want = lost.of(e.kind)
					}
					r.ended(t, e, want)
					if n := other.connections.Load(); n > 0 || r.requests.Load() != 1 && want == ends.of(e.kind) {
						t.Errorf("%d requests, %d connections elsewhere: %v", r.requests.Load(), n, o.err)
					}
				})
			}
		}
	}
}

// A download follows redirects to https URLs, and sends no Referer.
func TestDownloadRedirects(t *testing.T) {
	for _, status := range redirects {
		follows := status == 301 || status == 302 || status == 303 || status == 307 || status == 308
		for name, tt := range map[string]struct {
			location string
			ends     bool // with the file
			contacts bool
		}{
			"another port":    {"https://127.0.0.1:$elsewhere/", false, true},
			"another host":    {"https://other.example:$port/", false, true},
			"a sub-domain":    {"https://sub.127.0.0.1:$port/", false, true},
			"itself forever":  {"", false, false},
			"itself":          {"/again", true, false},
			"plain http":      {"http://other.example:$port/", false, false},
			"user info":       {"https://a:b@127.0.0.1:$port/again", false, false},
			"a file":          {"file:///etc/passwd", false, false},
			"a script":        {"javascript:alert(1)", false, false},
			"a malformed URL": {"https://other.example/%zz?" + secret, false, false},
		} {
			for _, e := range some("Download") {
				t.Run(fmt.Sprint(status, " to ", name, "/", e.name), func(t *testing.T) {
					t.Parallel()
					other := newElsewhere(t)
					s := serve(t, "tcp", "127.0.0.1:0", "https", overTLS(with(serverCert()), http1(func(x *exchange) {
						if x.req.Header.Get("Referer") != "" || showsKey(fmt.Sprint(x.req.Header)) {
							t.Errorf("headers %v", x.req.Header)
						}
						if x.req.URL.Path == "/again" && tt.location != "" {
							x.send(full("200 OK", "application/pdf", okBody))
							return
						}
						_, port, _ := net.SplitHostPort(x.req.Host)
						x.send(full(fmt.Sprint(status, " Moved"), "", "", "Location: "+strings.NewReplacer("$port", port, "$elsewhere", other.port()).Replace(tt.location)))
					})))
					r := newRig(t, s, settings{transport: other.dialing(s)})
					want := fails
					if tt.ends && follows {
						want = completes
					}
					e := e
					if want != completes {
						e.call = briefly(e.call)
					}
					o := r.call(t, t.Context(), e)
					r.ended(t, e, want)
					if n := other.connections.Load(); n > 0 && (!tt.contacts || !follows) || r.requests.Load() > 11 || showsKey(other.heard.String()) {
						t.Errorf("%d requests, %d connections elsewhere: %v", r.requests.Load(), n, o.err)
					}
				})
			}
		}
	}
}

// A download from the host of the API sends no key.
func TestDownloadHasNoKey(t *testing.T) {
	var heard bytes.Buffer
	s := serve(t, "tcp", "127.0.0.1:0", "http", http1(func(x *exchange) {
		_ = x.req.Write(&heard)
		x.send(full("200 OK", "application/pdf", okBody))
	}))
	r := newRig(t, s, settings{})
	if _, err := r.client.GetGenerationStatusWithResponse(t.Context(), "gen1"); err == nil {
		t.Error("a PDF is accepted as a status")
	}
	if !showsKey(heard.String()) {
		t.Error("the request to the API has no key")
	}
	heard.Reset()
	if err := r.client.Download(t.Context(), s.url+"/v1.0/generations/gen1", io.Discard); err != nil {
		t.Error(err)
	}
	if text := heard.String(); text == "" || showsKey(text) || strings.Contains(text, "Authorization") || strings.Contains(text, "Cookie") {
		t.Errorf("the download sent %s", text)
	}
	r.transport.CloseIdleConnections()
}
