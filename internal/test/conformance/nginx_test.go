package conformance

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/poller"
)

// backend is the server behind nginx. A generation is completed at its third poll.
type backend struct {
	*httptest.Server
	delay time.Duration // of creates
	hold  chan struct{} // if not nil, requests wait until it is closed

	mu      sync.Mutex
	creates map[string]int // by text
	polls   map[string]int // by id
	served  atomic.Int32   // requests that have come
}

func startBackend(t *testing.T) *backend {
	b := &backend{creates: map[string]int{}, polls: map[string]int{}}
	b.Server = httptest.NewServer(b)
	t.Cleanup(b.Close)
	return b
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var request struct{ InputText string }
	_ = json.NewDecoder(r.Body).Decode(&request)
	id := filepath.Base(r.URL.Path)
	b.mu.Lock()
	if r.Method == http.MethodPost {
		b.creates[request.InputText]++
	} else {
		b.polls[id]++
	}
	polls := b.polls[id]
	b.mu.Unlock()
	b.served.Add(1)
	if b.hold != nil {
		select {
		case <-b.hold:
		case <-r.Context().Done():
		}
	}
	if r.Method == http.MethodPost {
		time.Sleep(b.delay)
	}
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.Method == http.MethodPost:
		_ = json.NewEncoder(w).Encode(map[string]any{"generationId": "gen" + strings.ReplaceAll(request.InputText, " ", "")})
	case polls < 3:
		_ = json.NewEncoder(w).Encode(map[string]any{"generationId": id, "status": "pending"})
	default:
		_ = json.NewEncoder(w).Encode(map[string]any{"generationId": id, "status": "completed"})
	}
}

// checkCreates fails if a text was created more than once, or not at all.
func (b *backend) checkCreates(t *testing.T, texts int) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for text, n := range b.creates {
		if n != 1 {
			t.Errorf("%q was created %d times", text, n)
		}
	}
	if len(b.creates) != texts {
		t.Errorf("%d texts were created, want %d", len(b.creates), texts)
	}
}

// nginx is a running nginx with one server, as the user who runs the test.
type nginx struct {
	t                *testing.T
	dir, listen, url string
	process          *os.Process
	main             string         // lines of the main context
	certificate      *x509.CertPool // nil: no TLS
}

// startNginx starts nginx with some lines of its configuration, in the contexts main, http
// and server. With h2 it takes HTTP/2 over TLS, otherwise HTTP/1.1.
func startNginx(t *testing.T, h2 bool, main, http, server string) *nginx {
	t.Helper()
	need(t, "nginx")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	n := &nginx{t: t, dir: t.TempDir(), main: main, listen: l.Addr().String()}
	n.url = "http://" + n.listen
	if h2 {
		n.url = "https://" + n.listen
		n.listen += " ssl http2"
		n.writeCertificate()
	}
	n.configure(http, server)
	path, err := exec.LookPath("nginx")
	if err != nil {
		path = "/usr/sbin/nginx" // is not in everybody's PATH
	}
	cmd := exec.Command(path, "-e", "stderr", "-p", n.dir, "-c", "nginx.conf")
	cmd.ExtraFiles = []*os.File{socket} // file 3: nobody else can take the port
	cmd.Env = append(os.Environ(), "NGINX=3;")
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Start has made the socket blocking, and nginx leaves it so: a worker would wait for
	// connections that another has taken. A listener is never blocking.
	if nonblocking, err := net.FileListener(socket); err != nil {
		t.Error(err)
	} else {
		_ = nonblocking.Close()
	}
	n.process = cmd.Process
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // then the master ends its workers
		_ = cmd.Wait()
	})
	eventually(t, "nginx has written its pid", func() bool {
		_, err := os.Stat(filepath.Join(n.dir, "nginx.pid"))
		return err == nil
	})
	return n
}

// configure writes the configuration, which counts from the next start or reload.
func (n *nginx) configure(http, server string) {
	n.t.Helper()
	config := "daemon off;\nworker_processes 2;\npid nginx.pid;\nerror_log stderr crit;\n" + n.main
	if u, err := user.Current(); err == nil && u.Uid == "0" {
		config += "user " + u.Username + ";\n" // the directory is private
	}
	config += "events { worker_connections 2048; }\nhttp {\naccess_log off;\n"
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		config += kind + "_temp_path " + kind + ";\n"
	}
	config += http + "\nserver {\nlisten " + n.listen + ";\n"
	if n.certificate != nil {
		config += "ssl_certificate cert.pem;\nssl_certificate_key key.pem;\n"
	}
	config += server + "\n}\n}\n"
	if err := os.WriteFile(filepath.Join(n.dir, "nginx.conf"), []byte(config), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// reload is what nginx -s reload does. The old workers close idle connections at once, and
// the others after their response, or after worker_shutdown_timeout.
func (n *nginx) reload() {
	if err := n.process.Signal(syscall.SIGHUP); err != nil {
		n.t.Error(err)
	}
}

func (n *nginx) writeCertificate() {
	n.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		n.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		n.t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		n.t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	n.certificate = x509.NewCertPool()
	n.certificate.AppendCertsFromPEM(cert)
	for name, data := range map[string][]byte{"cert.pem": cert, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})} {
		if err := os.WriteFile(filepath.Join(n.dir, name), data, 0o600); err != nil {
			n.t.Fatal(err)
		}
	}
}

// client returns a client with a transport that the SDK knows, so that creates have
// connections of their own, and counts of what it does.
func (n *nginx) client() (*gamma.Client, *events) {
	n.t.Helper()
	transport := gamma.NewTransport()
	if n.certificate != nil {
		transport.TLSClientConfig = &tls.Config{RootCAs: n.certificate}
	}
	n.t.Cleanup(transport.CloseIdleConnections)
	e := &events{statuses: map[int]int{}}
	client, err := gamma.NewClient(key, gamma.WithBaseURL(n.url), gamma.WithHTTPClient(&http.Client{Transport: transport}), gamma.WithOnRetry(e.retry))
	if err != nil {
		n.t.Fatal(err)
	}
	return client, e
}

// events counts what the callbacks of the SDK tell.
type events struct {
	mu       sync.Mutex
	polls    int
	statuses map[int]int // of polls with an error; 0 without a response
	retries  []error     // of creates and downloads
}

func (e *events) retry(r gamma.Retry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.retries = append(e.retries, r.Err)
}

func (e *events) poll(ev poller.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.polls++
	var apiErr *gamma.APIError
	switch {
	case errors.As(ev.Err, &apiErr):
		e.statuses[apiErr.StatusCode]++
	case ev.Err != nil:
		e.statuses[0]++
	}
}

func (e *events) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return fmt.Sprintf("%d polls, failed ones by status: %v; %d retries of creates", e.polls, e.statuses, len(e.retries))
}

// proxyTo returns the line that passes requests on.
func proxyTo(url string) string { return "location / { proxy_pass " + url + "; }\n" }

// createAll creates n generations at once. It returns those that were created, and the
// errors of the others.
func createAll(ctx context.Context, client *gamma.Client, n int) (created []string, errs []error) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			c, err := client.CreateGeneration(ctx, text(fmt.Sprint("Tea ", i)))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
			} else {
				created = append(created, c.GenerationID)
			}
		})
	}
	all.Wait()
	return created, errs
}

// protocols are those of both sides.
var protocols = []struct {
	name string
	h2   bool
}{{"HTTP/1.1", false}, {"HTTP/2", true}}

// Connections end after a few requests, and when they are idle for longer than a poll
// takes. No wait or create may notice.
func TestNginxClosesConnections(t *testing.T) {
	t.Parallel()
	for _, test := range protocols {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := startBackend(t)
			n := startNginx(t, test.h2, "", "keepalive_requests 100; keepalive_timeout 500ms;", proxyTo(b.URL))
			client, e := n.client()
			p := quick(client)
			p.Interval, p.OnPoll = time.Second, e.poll
			created, errs := createAll(t.Context(), client, 50)
			errs = append(errs, waits[0].wait(t.Context(), p, created)...)
			errs = append(errs, waits[1].wait(t.Context(), p, ids(200))...)
			for _, err := range errs {
				t.Error(err)
			}
			b.checkCreates(t, 50)
			if len(e.statuses) > 0 || len(e.retries) > 0 {
				t.Errorf("it was noticed: %v, %v", e, e.retries)
			}
		})
	}
}

// The configuration is loaded again and again while requests are in flight. Polls are
// repeated; of a create that was cut off nobody knows what it did, so it is not.
func TestNginxReloads(t *testing.T) {
	t.Parallel()
	const generations = 200
	for _, test := range protocols {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := startBackend(t)
			b.delay = 100 * time.Millisecond
			n := startNginx(t, test.h2, "", "", proxyTo(b.URL))
			client, e := n.client()
			p := quick(client)
			p.OnPoll = e.poll
			var all sync.WaitGroup
			var created []string
			var errs, failed []error
			all.Go(func() { created, errs = createAll(t.Context(), client, generations) })
			all.Go(func() { failed = waits[0].wait(t.Context(), p, ids(generations)) })
			for reloads := range int32(6) {
				eventually(t, "more requests have come", func() bool { return b.served.Load() > 100*reloads+20 })
				n.reload()
			}
			all.Wait()
			for _, err := range failed {
				t.Error(err)
			}
			for _, err := range errs {
				if !errors.Is(err, gamma.ErrMaybeCreated) {
					t.Error(err)
				}
			}
			b.mu.Lock()
			for text, n := range b.creates {
				if n != 1 {
					t.Errorf("%q was created %d times", text, n)
				}
			}
			if len(b.creates) < len(created) {
				t.Errorf("%d were created, and the client has %d", len(b.creates), len(created))
			}
			b.mu.Unlock()
			if len(created)+len(errs) != generations || len(created) < generations/2 {
				t.Errorf("%d of %d were created", len(created), generations)
			}
			t.Logf("%v; %d creates have an unknown outcome", e, len(errs))
		})
	}
}

// A worker that ends cuts off the requests that the server has not responded to in time.
func TestNginxEndsAWorker(t *testing.T) {
	t.Parallel()
	for _, test := range protocols {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := startBackend(t)
			b.hold = make(chan struct{})
			n := startNginx(t, test.h2, "worker_shutdown_timeout 100ms;\n", "", proxyTo(b.URL))
			client, _ := n.client()
			var all sync.WaitGroup
			all.Go(func() {
				if _, errs := createAll(t.Context(), client, 5); len(errs) != 5 {
					t.Errorf("%d errors, want 5", len(errs))
				} else {
					for _, err := range errs {
						if !errors.Is(err, gamma.ErrMaybeCreated) {
							t.Error(err)
						}
					}
				}
				close(b.hold)
			})
			all.Go(func() {
				for _, err := range waits[0].wait(t.Context(), quick(client), ids(5)) {
					t.Error(err)
				}
			})
			eventually(t, "all requests are in flight", func() bool { return b.served.Load() >= 10 })
			n.reload()
			all.Wait()
			b.checkCreates(t, 5)
		})
	}
}

// What nginx itself responds with, in HTML.
func TestNginxErrors(t *testing.T) {
	t.Parallel()
	closed := httptest.NewServer(nil)
	closed.Close()
	t.Run("504, the server takes too long", func(t *testing.T) {
		t.Parallel()
		b := startBackend(t)
		b.hold = make(chan struct{})
		n := startNginx(t, false, "", "proxy_read_timeout 300ms;", proxyTo(b.URL))
		client, e := n.client()
		_, err := client.CreateGeneration(t.Context(), text("Tea"))
		var apiErr *gamma.APIError
		if !errors.As(err, &apiErr) || apiErr.StatusCode != http.StatusGatewayTimeout || !errors.Is(err, gamma.ErrMaybeCreated) || strings.Contains(err.Error(), "<") {
			t.Errorf("%v", err)
		}
		b.checkCreates(t, 1)
		p := quick(client)
		var once sync.Once
		p.OnPoll = func(ev poller.Event) {
			e.poll(ev)
			once.Do(func() { close(b.hold) })
		}
		for _, err := range waits[0].wait(t.Context(), p, ids(1)) {
			t.Error(err)
		}
		if e.statuses[http.StatusGatewayTimeout] == 0 {
			t.Error("no poll was timed out")
		}
	})
	t.Run("502, there is no server", func(t *testing.T) {
		t.Parallel()
		b := startBackend(t)
		n := startNginx(t, false, "", "", proxyTo(closed.URL))
		client, events := n.client()
		_, err := client.CreateGeneration(t.Context(), text("Tea"))
		var apiErr *gamma.APIError
		if !errors.As(err, &apiErr) || apiErr.StatusCode != http.StatusBadGateway || !errors.Is(err, gamma.ErrMaybeCreated) {
			t.Errorf("%v", err)
		}
		p := quick(client)
		var once sync.Once
		p.OnPoll = func(e poller.Event) {
			events.poll(e)
			if e.Failures == 3 {
				once.Do(func() {
					n.configure("", proxyTo(b.URL))
					n.reload()
				})
			}
		}
		for _, err := range waits[0].wait(t.Context(), p, ids(1)) {
			t.Error(err)
		}
		if events.statuses[http.StatusBadGateway] < 3 || len(events.retries) > 0 {
			t.Error(events)
		}
	})
	t.Run("413, the text is too long", func(t *testing.T) {
		t.Parallel()
		b := startBackend(t)
		n := startNginx(t, false, "", "client_max_body_size 1k;", proxyTo(b.URL))
		client, _ := n.client()
		_, err := client.CreateGeneration(t.Context(), text(strings.Repeat("Tea ", 90_000)))
		var apiErr *gamma.APIError
		if !errors.As(err, &apiErr) || apiErr.StatusCode != http.StatusRequestEntityTooLarge || errors.Is(err, gamma.ErrMaybeCreated) {
			t.Errorf("%v", err)
		}
		b.checkCreates(t, 0)
	})
	t.Run("429, without a header that says more", func(t *testing.T) {
		t.Parallel()
		b := startBackend(t)
		n := startNginx(t, false, "", "limit_req_zone $binary_remote_addr zone=all:1m rate=30r/s; limit_req_status 429;",
			"location / { limit_req zone=all burst=10 nodelay; proxy_pass "+b.URL+"; }")
		client, e := n.client()
		_, errs := createAll(t.Context(), client, 5)
		p := quick(client)
		p.OnPoll = e.poll
		for _, err := range append(errs, waits[0].wait(t.Context(), p, ids(100))...) {
			t.Error(err)
		}
		refused := e.statuses[http.StatusTooManyRequests]
		t.Log(e)
		if refused == 0 || refused > 100 {
			t.Errorf("%d requests were refused", refused)
		}
		b.checkCreates(t, 5)
	})
	t.Run("429 to a create, without a header that says more", func(t *testing.T) {
		t.Parallel()
		b := startBackend(t)
		n := startNginx(t, false, "", "limit_req_zone $binary_remote_addr zone=all:1m rate=1r/s; limit_req_status 429;",
			"location / { limit_req zone=all burst=3 nodelay; proxy_pass "+b.URL+"; }")
		client, e := n.client()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // less than the pause without Retry-After
		defer cancel()
		created, errs := createAll(ctx, client, 12)
		if len(errs) == 0 {
			t.Error("no create was refused")
		}
		for _, err := range errs {
			if !errors.Is(err, gamma.ErrRateLimited) || errors.Is(err, gamma.ErrMaybeCreated) {
				t.Error(err)
			}
		}
		b.checkCreates(t, len(created))
		if len(e.retries) > 0 {
			t.Errorf("creates were repeated without a pause: %v", e.retries)
		}
	})
}

// nginx sends a file slowly, and a reload cuts it off.
func TestNginxResumesADownload(t *testing.T) {
	t.Parallel()
	for _, test := range protocols {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			n := startNginx(t, test.h2, "worker_shutdown_timeout 100ms;\n", "", "root files; limit_rate 1m;")
			file := make([]byte, 8<<20)
			_, _ = rand.Read(file)
			if err := os.Mkdir(filepath.Join(n.dir, "files"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(n.dir, "files", "deck.pdf"), file, 0o600); err != nil {
				t.Fatal(err)
			}
			client, e := n.client()
			var once sync.Once
			var got bytes.Buffer
			err := client.Download(t.Context(), n.url+"/deck.pdf", &got, gamma.WithProgress(func(written, total int64) {
				if written < total {
					once.Do(func() {
						n.configure("", "root files;")
						n.reload()
					})
				}
			}))
			if err != nil || !bytes.Equal(got.Bytes(), file) {
				t.Errorf("%v; %d bytes, want %d", err, got.Len(), len(file))
			}
			if len(e.retries) == 0 {
				t.Error("nothing was resumed")
			}
		})
	}
}

// NestJS behind nginx is restarted while 100 generations are waited for.
func TestNginxInFrontOfAThrottler(t *testing.T) {
	t.Parallel()
	nest := startNest(t, settings{Finish: 2000, Limits: []limit{{"burst", 100, 1000}, {"", 1_000_000, 3_600_000}}})
	n := startNginx(t, true, "", "", proxyTo(nest.url))
	client, e := n.client()
	p := quick(client)
	p.OnPoll = e.poll
	ended := make(chan []error)
	go func() { ended <- waits[0].wait(t.Context(), p, ids(100)) }()
	eventually(t, "40 polls", func() bool { return len(nest.entries()) >= 40 })
	nest.kill()
	eventually(t, "a 502", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.statuses[http.StatusBadGateway] > 0
	})
	n.reload()
	nest.start()
	for _, err := range <-ended {
		t.Error(err)
	}
	if client.RateLimit().Burst.Limit != 100 {
		t.Errorf("%+v", client.RateLimit())
	}
	t.Log(e)
}
