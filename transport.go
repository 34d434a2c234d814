package gamma

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gamma-sdk/gamma-go/internal/apiruntime"
	"github.com/gamma-sdk/gamma-go/internal/retry"
)

// NewTransport returns a new transport with the defaults of [NewClient]. Change it, for
// example to add a proxy or a certificate authority, and pass it to [WithHTTPClient]. It
// uses the proxy of the environment, keeps up to 1,024 idle connections for 30 seconds,
// limits a response header to 256 KiB, pings HTTP/2 connections, and opens at most twelve
// connections for one request.
func NewTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		OnProxyConnectResponse: checkConnect,
		DialContext:            dial,
		ForceAttemptHTTP2:      true, // also if the caller sets TLSClientConfig
		MaxIdleConns:           1024,
		MaxIdleConnsPerHost:    1024,             // all go to one host
		IdleConnTimeout:        30 * time.Second, // less than that of common load balancers
		TLSHandshakeTimeout:    10 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 5 * time.Second, PingTimeout: 5 * time.Second},
	}
}

// A request may open maxConns connections without a pause and maxSlowConns more after
// pauses. net/http retries a request without a body, each time over a new connection and
// without a limit, if HTTP/2 connections end in certain ways. One is not enough: concurrent
// requests may use up the streams of a new connection.
const (
	maxConns     = 8
	maxSlowConns = 4
)

var errTooManyConns = errors.New("the server closed too many connections in a row")

// bounded is the context of a request, with its deadline and the number of connections
// that it may still open.
type bounded struct {
	caller         context.Context
	deadline       time.Time // zero: that of caller
	connsRemaining atomic.Int32

	trace              *httptrace.ClientTrace // nil: that of caller
	started, connected atomic.Bool            // set by trace

	// The timer is created on first use: a fake transport in memory needs none.
	once   sync.Once
	timed  context.Context
	cancel context.CancelFunc
}

type boundedKey struct{}

func (b *bounded) context() context.Context {
	b.once.Do(func() {
		if b.deadline.IsZero() {
			b.timed, b.cancel = context.WithCancel(b.caller)
		} else {
			b.timed, b.cancel = context.WithDeadline(b.caller, b.deadline)
		}
	})
	return b.timed
}

// end cancels b.
func (b *bounded) end() {
	b.once.Do(func() { b.timed = canceled })
	if b.cancel != nil {
		b.cancel()
	}
}

var canceled = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

func (b *bounded) Deadline() (time.Time, bool) { return b.context().Deadline() }
func (b *bounded) Done() <-chan struct{}       { return b.context().Done() }
func (b *bounded) Err() error                  { return b.context().Err() }

func (b *bounded) Value(key any) any {
	switch {
	case key == (boundedKey{}):
		return b
	case b.trace != nil && key == traceKey:
		return b.trace
	}
	if v := b.context().Value(key); v != nil {
		return v
	}
	return b.caller.Value(key)
}

// setTrace sets trace. It records in b whether the request has started and has a
// connection, tells o, which may be nil, of a connection that others can share, and calls
// the trace of the caller. [httptrace.WithClientTrace] uses reflection, which would add 20
// KiB to a program.
func (b *bounded) setTrace(o *opener) {
	t := new(httptrace.ClientTrace)
	if caller := httptrace.ContextClientTrace(b.caller); caller != nil {
		*t = *caller
	}
	getConn, gotConn := t.GetConn, t.GotConn
	t.GetConn = func(hostPort string) {
		b.started.Store(true)
		if getConn != nil {
			getConn(hostPort)
		}
	}
	t.GotConn = func(info httptrace.GotConnInfo) {
		b.connected.Store(true)
		if o != nil {
			c, overTLS := info.Conn.(*tls.Conn)
			if info.Reused || !overTLS || c.ConnectionState().NegotiatedProtocol != "h2" {
				o.used(nil)
				o.release()
			} // else net/http sends at most 100 requests before it knows the server's settings, and waits for the first response
		}
		if gotConn != nil {
			gotConn(info)
		}
	}
	b.trace = t
}

// traceKey is the key of a trace in a context. Package httptrace does not export it.
var traceKey = func() any {
	var r keyRecorder
	_ = httptrace.ContextClientTrace(&r)
	return r.key
}()

type keyRecorder struct {
	context.Context
	key any
}

func (r *keyRecorder) Value(key any) any { r.key = key; return nil }

// dial connects for a request that may open another connection.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	if b, ok := ctx.Value(boundedKey{}).(*bounded); ok {
		n := int(-b.connsRemaining.Add(-1))
		if n > maxSlowConns {
			return nil, errTooManyConns
		}
		// ctx is not canceled with the request, b is.
		if n > 0 && !retry.Sleep(b, retry.Backoff(100*time.Millisecond, 800*time.Millisecond, n-1)) {
			return nil, b.Err()
		}
	}
	return dialer.DialContext(ctx, network, address)
}

var dialer = net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}

// sendOnNewConn sends a request with a body over a new connection: if the server closes an
// idle one, it is unknown whether it has received the request. It sends no HTTP/2 pings: a
// slow upload would delay the response to a ping.
func sendOnNewConn(t *http.Transport, req *http.Request) (*http.Response, error) {
	s := t.Clone()
	s.DisableKeepAlives = true
	s.IdleConnTimeout = 10 * time.Second // for an HTTP/2 connection that was established too late
	if s.HTTP2 != nil {
		s.HTTP2.SendPingTimeout = 0
	}
	// If net/http has enabled HTTP/2 for t, it has set TLSClientConfig, which disables HTTP/2
	// in the copy unless it is forced. The TLSNextProto of t would add the connection to those
	// of t.
	if t.TLSNextProto["h2"] != nil {
		s.ForceAttemptHTTP2, s.TLSNextProto = true, nil
	}
	defer s.CloseIdleConnections()
	return s.RoundTrip(req)
}

// maxOpening is how long requests wait for the first one to connect.
const maxOpening = time.Second

// opener lets one request connect first if no connection is open, so that concurrent
// requests share its HTTP/2 connection. net/http would open one for each of them.
type opener struct {
	idle  time.Duration // the idle timeout of a connection
	until atomic.Int64  // when the last known connection is closed, in Unix nanoseconds

	// first is closed when the first request has a connection. It is nil if no request is
	// the first.
	first atomic.Pointer[chan struct{}]
}

func newOpener(idle time.Duration) *opener {
	const forever = 24 * time.Hour
	if idle <= 0 || idle > forever {
		idle = forever
	}
	return &opener{idle: idle}
}

func (o *opener) open() bool { return time.Now().UnixNano() < o.until.Load() }

// used records that a request ended with err.
func (o *opener) used(err error) {
	if err == nil {
		o.until.Store(time.Now().UnixNano() + int64(o.idle))
	} else {
		o.until.Store(0)
	}
}

// wait returns true at once for the first request, which must call release. For others it
// returns false after release, after a second, or when ctx is done.
func (o *opener) wait(ctx context.Context) (first bool) {
	released := make(chan struct{})
	if o.first.CompareAndSwap(nil, &released) {
		return true
	}
	if first := o.first.Load(); first != nil {
		select {
		case <-*first:
		case <-time.After(maxOpening):
			o.release()
		case <-ctx.Done():
		}
	}
	return false
}

func (o *opener) release() {
	if first := o.first.Swap(nil); first != nil {
		close(*first)
	}
}

// checkConnect returns an error unless a proxy's response to CONNECT has status 200, as
// net/http requires. The error of net/http is only the reason phrase.
func checkConnect(_ context.Context, proxy *url.URL, _ *http.Request, rsp *http.Response) error {
	if rsp.StatusCode == http.StatusOK {
		return nil
	}
	return retry.NewProxyError(proxy.Host, rsp.StatusCode)
}

// refusedConnect returns err, which transport returned for req. If err is the reason phrase
// of a proxy, as from a transport without [checkConnect], it returns a [retry.ProxyError].
func refusedConnect(transport http.RoundTripper, req *http.Request, err error) error {
	t, ok := transport.(*http.Transport)
	if !ok || t.Proxy == nil || req.URL.Scheme != "https" {
		return err
	}
	for status := 400; status < 600; status++ {
		if text := http.StatusText(status); text != "" && text == err.Error() {
			if proxy, e := t.Proxy(req); e == nil && proxy != nil {
				return retry.NewProxyError(proxy.Host, status)
			}
		}
	}
	return err
}

// withoutQuote returns err, or only its description if err is an error of net/http that
// quotes the server. Those errors have no exported type.
func withoutQuote(err error, description string) error {
	if strings.HasSuffix(description, mayQuote) {
		for _, text := range [...]string{"HTTP/1.x transport connection broken", "malformed HTTP", malformedHeader, "http2: server sent GOAWAY"} {
			if strings.Contains(err.Error(), text) {
				return errors.New(description)
			}
		}
	}
	return err
}

const (
	malformedHeader = "malformed MIME header" // a part of the header follows
	mayQuote        = " (the rest may quote the response)"
)

// notRetried returns the error after which net/http would have retried a request over
// HTTP/2 if it had a GetBody.
func notRetried(err error) (why string, ok bool) {
	why, ok = strings.CutPrefix(err.Error(), "http2: Transport: cannot retry err [")
	why, _, _ = strings.Cut(why, "]")
	return why, ok
}

// notProcessed reports whether err, from a transport, means that the server cannot have
// started to process a request with a body: there was no connection, the server refused
// the stream or had shut the connection down before it (RFC 9113, sections 6.8 and 8.7),
// or the connection had no free stream. net/http has no types for these, except the first.
// If another version changes a text, the outcome counts as unknown.
func notProcessed(err error) bool {
	var opErr *net.OpError
	if errors.As(err, &opErr) && opErr.Op == "dial" {
		return true
	}
	why, ok := notRetried(err)
	return ok && (strings.HasSuffix(why, "; REFUSED_STREAM; received from peer") || why == "http2: Transport received Server's graceful shutdown GOAWAY") ||
		err.Error() == "net/http: cannot rewind body after connection loss" ||
		err.Error() == "http2: client conn could not be established" // of the first request on it
}

// describe returns the text of a transport's error. net/http quotes what it cannot parse,
// which may be a part of a body, so its texts are cut before the quote.
func describe(err error) string {
	var (
		urlErr  *url.Error
		opErr   *net.OpError
		dnsErr  *net.DNSError
		certErr *tls.CertificateVerificationError
		errno   syscall.Errno
	)
	switch {
	case errors.Is(err, ErrResponseTooLarge):
		return "the response is larger than 1 MiB"
	case errors.As(err, &certErr):
		err = certErr
	case errors.As(err, &dnsErr):
		err = dnsErr
	case errors.As(err, &opErr):
		err = opErr
	case errors.As(err, &errno):
		err = errno
	default:
		if errors.As(err, &urlErr) {
			err = urlErr.Err
		}
		text := err.Error()
		if why, ok := notRetried(err); ok {
			text = why
		}
		if before, _, found := strings.Cut(text, malformedHeader); found {
			text = before + malformedHeader + mayQuote
		} else if before, _, found := strings.Cut(text, `"`); found {
			text = strings.TrimRight(before, ": ") + mayQuote
		}
		return apiruntime.Printable(text)
	}
	return apiruntime.Printable(err.Error())
}
