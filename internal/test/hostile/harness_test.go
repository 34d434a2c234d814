package hostile

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/gamma-sdk/gamma-go"
)

const (
	// key has characters that JSON escapes in more than one way.
	key = `sk-gamma-7Zq&<>"\secret`

	// secret is in every link of these tests.
	secret = "s3cr3t"

	// okBody is a valid response body of every operation.
	okBody = `{"generationId":"gen1","status":"completed","gammaId":"g1","gammaUrl":"https://gamma.example/g1",` +
		`"exportUrl":"https://files.example/x?` + secret + `","data":[],"hasMore":false,"nextCursor":"","archived":true,"message":"done"}`

	interval = time.Millisecond

	// patience is the timeout of waits that must succeed, also on a slow machine; only a
	// failure takes so long. net/http alone needs up to 10 seconds to close a connection
	// whose server does not read and does not stop writing.
	patience = 2 * time.Minute
)

// logged is what the process wrote to the standard logger.
var logged syncBuffer

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestMain(m *testing.M) {
	flag.Parse()
	// Most cases wait for a timeout, so many can run at once.
	_ = flag.Set("test.parallel", "24")
	log.SetOutput(&logged)
	code := m.Run()
	if !eventually(func() bool { return leaked() == "" }) {
		fmt.Println("FAIL: goroutines left behind:", leaked())
		code = 1
	}
	if showsKey(logged.String()) {
		fmt.Println("FAIL: the key is in the log:", logged.String())
		code = 1
	}
	os.Exit(code)
}

// showsKey reports whether text contains the key, also as JSON or Go quote it.
func showsKey(text string) bool {
	for _, spelling := range spellings() {
		if strings.Contains(text, spelling) {
			return true
		}
	}
	return false
}

var spellings = sync.OnceValue(func() []string {
	asJSON, _ := json.Marshal(key)
	asGo := strconv.Quote(key)
	return []string{key, string(asJSON[1 : len(asJSON)-1]), asGo[1 : len(asGo)-1]}
})

// server is the server of a case.
type server struct {
	url      string
	requests atomic.Int32
	open     atomic.Int32 // connections
	closing  chan struct{}
	dial     func(ctx context.Context, network, address string) (net.Conn, error) // nil for sockets
}

// handler handles a connection, which is closed when it returns.
type handler func(*server, net.Conn)

// serve starts a server on a loopback address. It is closed when the test ends.
func serve(t testing.TB, network, address, scheme string, handle handler) *server {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Skip("cannot listen: ", err)
	}
	return serveOn(t, l, scheme, handle)
}

func serveOn(t testing.TB, l net.Listener, scheme string, handle handler) *server {
	t.Helper()
	s := &server{url: scheme + "://" + l.Addr().String(), closing: make(chan struct{})}
	var goroutines sync.WaitGroup
	goroutines.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.open.Add(1)
			gone := make(chan struct{})
			goroutines.Go(func() {
				defer s.open.Add(-1)
				defer close(gone)
				defer func() { _ = conn.Close() }()
				handle(s, conn)
			})
			goroutines.Go(func() {
				select {
				case <-s.closing:
					_ = conn.Close()
				case <-gone:
				}
			})
		}
	})
	t.Cleanup(func() {
		close(s.closing)
		_ = l.Close()
		goroutines.Wait()
	})
	return s
}

// exchange is a request and its connection.
type exchange struct {
	net.Conn
	req *http.Request
	n   int // 1 for the first request to the server
}

// http1 reads requests and calls respond for each.
func http1(respond func(*exchange)) handler {
	return func(s *server, conn net.Conn) {
		r := bufio.NewReader(conn)
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			x := &exchange{conn, req, int(s.requests.Add(1))}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			respond(x)
		}
	}
}

func (x *exchange) send(parts ...string) { send(x.Conn, parts...) }

func send(w io.Writer, parts ...string) { _, _ = io.WriteString(w, strings.Join(parts, "")) }

// hang returns when the connection is closed, by the client or at the end of the test.
func (x *exchange) hang() { _, _ = io.Copy(io.Discard, x.Conn) }

// reset closes the connection so that the client's kernel reports an error.
func reset(conn net.Conn) {
	if tcp, ok := conn.(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// drip writes next(0), next(1) and so on until the client closes the connection: every 5
// milliseconds, and after a second every second, because a create takes minutes.
func drip(conn net.Conn, next func(i int) string) {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, conn)
	}()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-gone:
			return
		case <-tick.C:
		}
		if i == 200 {
			tick.Reset(time.Second)
		}
		if _, err := io.WriteString(conn, next(i)); err != nil {
			<-gone
			return
		}
	}
}

// flood writes text repeatedly, as fast as the client reads it.
func flood(w io.Writer, text string) {
	text = strings.Repeat(text, 1+(32<<10)/len(text))
	for {
		if _, err := io.WriteString(w, text); err != nil {
			return
		}
	}
}

// sends writes parts after every request.
func sends(parts ...string) handler { return http1(func(x *exchange) { x.send(parts...) }) }

// sendsAndCloses writes parts after every request and closes the connection.
func sendsAndCloses(parts ...string) handler {
	return http1(func(x *exchange) {
		x.send(parts...)
		_ = x.Close()
	})
}

// head returns a status line and headers.
func head(status string, headers ...string) string {
	return "HTTP/1.1 " + status + "\r\n" + strings.Join(append(headers, "", ""), "\r\n")
}

// full returns a complete response with a content type and a length.
func full(status, contentType, body string, headers ...string) string {
	if contentType != "" {
		headers = append(headers, "Content-Type: "+contentType)
	}
	return head(status, append(headers, fmt.Sprintf("Content-Length: %d", len(body)))...) + body
}

func json200(body string, headers ...string) string {
	return full("200 OK", "application/json", body, headers...)
}

const jsonType = "Content-Type: application/json"

// attack is what a server does, and the expected results.
type attack struct {
	name   string
	handle handler
	ends

	https     bool
	slow      bool                  // requests time out soon, in memory
	busy      bool                  // requests time out soon, over sockets: the time of a bubble stops while a goroutine is busy
	transport func(*http.Transport) // nil: as it is
	budget    time.Duration         // of the whole call; 0: the usual one of the result
}

// ends are the expected results, by the kind of entry.
type ends struct{ operation, wait, create, file end }

// end is the result of a call.
type end string

const (
	completes end = "completes"     // with a value
	fails     end = "fails"         // with an error, in bounded time
	atOnce    end = "fails at once" // with the error of the first request
	failed    end = "FailedError"   // the generation failed
	givesUp   end = "gives up"      // after MaxFailures in a row
	deadline  end = "deadline"      // continues until then
	paused    end = "has to pause"  // beyond the deadline, so it ends at once
	heldBack  end = "is held back"  // by the rate limit until the deadline
	late      end = "deadline or pause"
	refused   end = "was not created"  // for certain
	maybe     end = "may be created"   // and was requested once
	missing   end = "is not found"     // requested twice
	unchecked end = "is not this case" // not run
)

var (
	good = ends{completes, completes, completes, completes}
	// lost: the response is unusable; the next one may be valid.
	lost = ends{fails, givesUp, maybe, fails}
	// final: the response is unusable, and retrying does not help.
	final = ends{fails, atOnce, maybe, fails}
	// denied: the response says that nothing was done.
	denied = ends{fails, atOnce, refused, fails}
	// none: there is no connection for a request now.
	none = ends{fails, givesUp, deadline, fails}
	// never: there will be no connection for a request.
	never = ends{fails, atOnce, refused, fails}
)

func (e ends) of(k kind) end {
	return map[kind]end{operation: e.operation, foreign: e.operation, waiting: e.wait, checking: e.wait, creating: e.create, fetching: e.file}[k]
}

// isLate reports whether a call ends because of its deadline.
func (e end) isLate() bool { return e == deadline || e == paused || e == heldBack || e == late }

// rig is one case: a client, a server, and what one call did.
type rig struct {
	*server
	client    *gamma.Client
	transport *http.Transport
	dir       func() string // of DownloadFile
	outcome   outcome
	returned  time.Time
}

type outcome struct {
	value any
	err   error
	next  time.Duration // Check: the pause
}

// settings of a rig.
type settings struct {
	requestTimeout time.Duration
	transport      func(*http.Transport)
}

func newRig(t testing.TB, s *server, c settings) *rig {
	t.Helper()
	r := &rig{server: s, transport: gamma.NewTransport(), dir: t.TempDir}
	r.transport.Proxy = nil
	r.transport.TLSClientConfig = trusted()
	r.transport.TLSHandshakeTimeout = patience
	if s.dial != nil {
		r.transport.DialContext = s.dial
	}
	if c.transport != nil {
		c.transport(r.transport)
	}
	client, err := gamma.NewClient(key, gamma.WithBaseURL(s.url), gamma.WithRequestTimeout(c.requestTimeout),
		gamma.WithHTTPClient(&http.Client{Transport: typed{r.transport}}))
	if err != nil {
		t.Fatal(err)
	}
	r.client = client
	return r
}

// typed gives JSON responses to downloads the type of a file: attacks respond with JSON to
// every request, and a download refuses JSON.
type typed struct{ *http.Transport }

func (t typed) RoundTrip(req *http.Request) (*http.Response, error) {
	rsp, err := t.Transport.RoundTrip(req)
	if err == nil && req.URL.Path == "/deck.pdf" && rsp.Header.Get("Content-Type") == "application/json" {
		rsp.Header.Set("Content-Type", "application/pdf")
	}
	return rsp, err
}

// call calls e and checks the rules that hold for every server: the result contains no
// key and no link, and no connection stays open. TestMain looks for goroutines.
func (r *rig) call(t testing.TB, ctx context.Context, e entry) outcome { //nolint:revive // as t.Helper's callers write it
	t.Helper()
	// Goroutines inherit the label, those of net/http too.
	pprof.SetGoroutineLabels(pprof.WithLabels(ctx, pprof.Labels("case", t.Name())))
	r.outcome = e.call(ctx, r)
	r.returned = time.Now()
	pprof.SetGoroutineLabels(context.Background())
	r.check(t)
	if !eventually(func() bool {
		// net/http ends a canceled stream a moment later: until then its connection
		// is not idle.
		r.transport.CloseIdleConnections()
		return r.open.Load() == 0
	}) {
		t.Errorf("%d connections left open", r.open.Load())
	}
	return r.outcome
}

// eventually calls ok until it returns true, for at most patience.
func eventually(ok func() bool) bool {
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// leaked returns the stacks of goroutines that a call has started.
func leaked() string {
	var b bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&b, 1)
	var found []string
	for block := range strings.SplitSeq(b.String(), "\n\n") {
		if strings.Contains(block, `"case":`) {
			found = append(found, block)
		}
	}
	return strings.Join(found, "\n\n")
}

// check checks the rules for what a call returns.
func (r *rig) check(t testing.TB) {
	t.Helper()
	checkNoKey(t, r.outcome.value)
	checkError(t, r.outcome.err)
}

func checkError(t testing.TB, err error) {
	t.Helper()
	if err == nil {
		return
	}
	text := err.Error()
	if !strings.HasPrefix(text, "gamma: ") || len(text) > 2400 || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("error text %q", text)
	}
	for _, s := range []string{"://", secret, "exportUrl", "127.0.0.1/"} {
		if strings.Contains(text, s) {
			t.Errorf("error text %q has %q", text, s)
		}
	}
	checkNoKey(t, err)
	var apiErr *gamma.APIError
	if errors.As(err, &apiErr) {
		checkNoKey(t, *apiErr)
	}
	walk(err, func(err error) {
		if text := err.Error(); showsKey(text) || strings.Contains(text, secret) {
			t.Errorf("%T in the error has a secret: %v", err, err)
		}
	})
}

// walk visits err and every error that it wraps.
func walk(err error, visit func(error)) {
	if err == nil {
		return
	}
	visit(err)
	switch err := err.(type) {
	case interface{ Unwrap() error }:
		walk(err.Unwrap(), visit)
	case interface{ Unwrap() []error }:
		for _, err := range err.Unwrap() {
			walk(err, visit)
		}
	}
}

// checkNoKey prints v in every common way and looks for the key.
func checkNoKey(t testing.TB, v any) {
	t.Helper()
	dump, _ := json.Marshal(v)
	for _, text := range []string{fmt.Sprintf("%v", v), fmt.Sprintf("%+v", v), fmt.Sprintf("%#v", v), string(dump)} {
		if showsKey(text) || strings.Contains(text, "7Zq") {
			t.Errorf("%T shows the key: %s", v, text)
		}
	}
}

// run runs every attack against every entry.
func run(t *testing.T, attacks []attack, entries []entry) {
	t.Helper()
	for _, a := range attacks {
		for _, e := range entries {
			if want := a.of(e.kind); want != unchecked && want != "" {
				t.Run(a.name+"/"+e.name, func(t *testing.T) {
					t.Parallel()
					a.run(t, e, want)
				})
			}
		}
	}
}

func (a attack) run(t *testing.T, e entry, want end) {
	t.Helper()
	if a.slow || want.isLate() && e.kind == waiting {
		synctest.Test(t, func(t *testing.T) { a.against(t, inMemory(t, a.scheme(), a.handle), e, want) })
		return
	}
	a.against(t, serve(t, "tcp", "127.0.0.1:0", a.scheme(), a.handle), e, want)
}

func (a attack) scheme() string {
	if a.https {
		return "https"
	}
	return "http"
}

func (a attack) against(t *testing.T, s *server, e entry, want end) {
	t.Helper()
	requestTimeout, budget := patience, 2*patience
	if a.slow || a.busy && e.kind != creating { // which would end before its request is sent
		requestTimeout = 80 * time.Millisecond
	}
	switch {
	case a.budget > 0:
		budget = a.budget
	case a.busy && (e.kind == operation || e.kind == foreign): // a body lifts the timeout of a request
		budget = requestTimeout
	case want.isLate() && e.kind != checking && s.dial != nil:
		budget = 150 * time.Millisecond
	case e.kind == fetching && want != completes:
		budget = 250 * time.Millisecond // it would retry for seconds
	}
	r := newRig(t, s, settings{requestTimeout: requestTimeout, transport: a.transport})
	ctx, cancel := context.WithTimeout(t.Context(), budget)
	defer cancel()
	if want == deadline && e.kind == creating && s.dial == nil {
		ctx = hurried{ctx}
	}
	r.call(t, ctx, e)
	r.ended(t, e, want)
	if end, _ := ctx.Deadline(); s.dial != nil && r.returned.After(end) {
		t.Errorf("returned %v after the deadline", r.returned.Sub(end))
	}
}

// hurried has a deadline that is always earlier than the end of Create's first pause, and
// late enough for a request on a slow machine.
type hurried struct{ context.Context }

func (hurried) Deadline() (time.Time, bool) { return time.Now().Add(900 * time.Millisecond), true }

// ended checks that the call ended as expected.
func (r *rig) ended(t testing.TB, e entry, want end) {
	t.Helper()
	o := r.outcome
	if why := e.kind.wrong(o, want, int(r.requests.Load())); why != "" {
		t.Errorf("%s: %s after %d requests: %v, %v, %v", want, why, r.requests.Load(), o.value, o.next, o.err)
	}
}
