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

// NewTransport returns a new transport like the one that [NewClient] uses, for callers
// who add a proxy or a certificate authority and pass it to [WithHTTPClient]. It uses
// the proxy of the environment, keeps up to 1,024 idle connections for 30 seconds,
// limits the response header to 256 KiB, pings HTTP/2 connections, and opens at most
// twelve connections for one request.
func NewTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		OnProxyConnectResponse: checkConnect,
		DialContext:            dial,
		ForceAttemptHTTP2:      true, // also once the caller has set TLSClientConfig
		MaxIdleConns:           1024,
		MaxIdleConnsPerHost:    1024,             // all of them go to one host
		IdleConnTimeout:        30 * time.Second, // before common load balancers close them
		TLSHandshakeTimeout:    10 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 5 * time.Second, PingTimeout: 5 * time.Second},
	}
}

// One request may open so many connections at once, and some more after pauses.
// net/http repeats by itself what has no body, for as long as HTTP/2 connections end in
// certain ways, at once and each time over a new one. But many requests at once may
// take each other's room on new ones, too.
const (
	maxConns     = 8
	maxSlowConns = 4
)

var errTooManyConns = errors.New("the server ended one connection after the other")

// bounded is the context of a request. The dialer of [NewTransport] counts its
// connections.
type bounded struct {
	caller   context.Context
	deadline time.Time // zero: that of caller
	left     atomic.Int32

	trace              *httptrace.ClientTrace // nil: that of caller
	started, connected atomic.Bool            // by what trace was told

	// The timer starts when something asks for it: without it a request in memory takes a
	// sixth less time.
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

// follow sets trace, so that net/http tells b how far the request has come, and o, which
// may be nil, of a connection that takes other requests. It calls the caller's trace, too.
// [httptrace.WithClientTrace] does that by reflection, which adds 20 KiB to a program.
func (b *bounded) follow(o *opener) {
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
			} // else net/http takes 100 requests at most before the server's settings, which come with its first response
		}
		if gotConn != nil {
			gotConn(info)
		}
	}
	b.trace = t
}

// traceKey is the key by which net/http asks a context for its trace. Package httptrace
// does not export it.
var traceKey = func() any {
	var a asked
	_ = httptrace.ContextClientTrace(&a)
	return a.key
}()

type asked struct {
	context.Context
	key any
}

func (a *asked) Value(key any) any { a.key = key; return nil }

// dial connects for a request, if it has not had its share of connections.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	if b, ok := ctx.Value(boundedKey{}).(*bounded); ok {
		n := int(-b.left.Add(-1))
		if n > maxSlowConns {
			return nil, errTooManyConns
		}
		// ctx does not end with the request.
		if n > 0 && !retry.Sleep(b, retry.Backoff(100*time.Millisecond, 800*time.Millisecond, n-1)) {
			return nil, b.Err()
		}
	}
	return dialer.DialContext(ctx, network, address)
}

var dialer = net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}

// sendAlone sends a request with a body by t, over a connection that no other has used:
// the server may be about to close an idle one, and then it is unknown whether it has
// begun with the request. Nothing but time ends a slow upload, behind which the response
// to a ping would be late.
func sendAlone(t *http.Transport, req *http.Request) (*http.Response, error) {
	s := t.Clone()
	s.DisableKeepAlives = true
	s.IdleConnTimeout = 10 * time.Second // of an HTTP/2 connection that came too late to be used
	if s.HTTP2 != nil {
		s.HTTP2.SendPingTimeout = 0
	}
	// net/http has set TLSClientConfig where it turned HTTP/2 on for t, and takes that of
	// the copy for a reason to leave it off. An HTTP/2 of the caller's would add the
	// connection to those of t.
	if t.TLSNextProto["h2"] != nil {
		s.ForceAttemptHTTP2, s.TLSNextProto = true, nil
	}
	defer s.CloseIdleConnections()
	return s.RoundTrip(req)
}

// maxOpening is how long the first request may keep others waiting.
const maxOpening = time.Second

// opener lets one request go first while no connection is known to be open, so that many
// at once share its HTTP/2 connection. net/http would open one for each of them.
type opener struct {
	idle  time.Duration // how long a connection stays open without requests
	until atomic.Int64  // when the last one that was seen is closed, in Unix nanoseconds

	// first is closed when the first request has a connection; nil when there is none.
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

// used records how a request ended.
func (o *opener) used(err error) {
	if err == nil {
		o.until.Store(time.Now().UnixNano() + int64(o.idle))
	} else {
		o.until.Store(0)
	}
}

// wait returns true at once for the first request, after which release must be called.
// It returns false for others when that is, after a second at most, or when ctx is done.
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

// checkConnect returns an error unless the response of a proxy to CONNECT is the one that
// net/http accepts. The error of net/http is the reason phrase alone.
func checkConnect(_ context.Context, proxy *url.URL, _ *http.Request, rsp *http.Response) error {
	if rsp.StatusCode == http.StatusOK {
		return nil
	}
	return retry.NewProxyError(proxy.Host, rsp.StatusCode)
}

// refusedConnect returns err, which transport returned for req, or the
// [retry.ProxyError] that it means, of a transport without [checkConnect]: net/http then
// returns the reason phrase of the proxy and no more.
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

// unquoted is err, but only its description where net/http quotes the server. Those
// errors have no exported type that would be lost.
func unquoted(err error, description string) error {
	if strings.HasSuffix(description, mayQuote) {
		for _, its := range [...]string{"HTTP/1.x transport connection broken", "malformed HTTP", malformedHeader, "http2: server sent GOAWAY"} {
			if strings.Contains(err.Error(), its) {
				return errors.New(description)
			}
		}
	}
	return err
}

const (
	malformedHeader = "malformed MIME header" // and what follows is a part of it
	mayQuote        = " (the rest may quote the response)"
)

// notRepeated returns why net/http would have repeated a request over HTTP/2, had
// it known how to get its body again.
func notRepeated(err error) (why string, ok bool) {
	why, ok = strings.CutPrefix(err.Error(), "http2: Transport: cannot retry err [")
	why, _, _ = strings.Cut(why, "]")
	return why, ok
}

// notBegun reports whether err, from a transport, says that the server cannot have begun
// with a request that has a body: there was no connection, the server refused the stream
// or left the connection before it (RFC 9113, sections 6.8 and 8.7), or the connection
// had no room for it. net/http has no type for these, except the first. Where it words
// them otherwise, they are in doubt.
func notBegun(err error) bool {
	var opErr *net.OpError
	if errors.As(err, &opErr) && opErr.Op == "dial" {
		return true
	}
	why, ok := notRepeated(err)
	return ok && (strings.HasSuffix(why, "; REFUSED_STREAM; received from peer") || why == "http2: Transport received Server's graceful shutdown GOAWAY") ||
		err.Error() == "net/http: cannot rewind body after connection loss"
}

// describe returns the text of a transport's error. net/http quotes what it
// cannot read, which may be part of a body, so its own errors are cut there.
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
		if why, ok := notRepeated(err); ok {
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
