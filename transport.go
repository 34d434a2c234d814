package gamma

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gamma-sdk/gamma-go/internal/retry"
	"github.com/gamma-sdk/gamma-go/internal/wire"
)

// NewTransport returns a new copy of the transport that [NewClient] uses, for
// callers who must add a proxy or a certificate authority and pass it back in an
// [http.Client] through [WithHTTPClient]. Against [http.DefaultTransport] it
// keeps more idle connections to one host, but for 30 seconds, bounds the response
// header to 256 KiB, finds a dead HTTP/2 connection by pings, within 10 seconds, and
// opens at most twelve connections for one request. Like the default, it uses the proxy
// that the environment names; the error for a proxy that refuses names the proxy and
// its status.
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
	context.Context
	left atomic.Int32
}

type boundedKey struct{}

func (b *bounded) Value(key any) any {
	if key == (boundedKey{}) {
		return b
	}
	return b.Context.Value(key)
}

// dial connects for a request, if it has not had its share of connections.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	if b, ok := ctx.Value(boundedKey{}).(*bounded); ok {
		n := -b.left.Add(-1)
		if n > maxSlowConns {
			return nil, errTooManyConns
		}
		if n > 0 && !retry.Sleep(ctx, 50*time.Millisecond<<n) {
			return nil, ctx.Err()
		}
	}
	return (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext(ctx, network, address)
}

// singleUse returns a copy of t for one request with a body, over a connection that no
// other has used: the server may be about to close an idle one, and then it is unknown
// whether it has begun with the request. Nothing but time ends a slow upload, behind
// which the response to a ping would be late.
func singleUse(t *http.Transport) *http.Transport {
	s := t.Clone()
	s.DisableKeepAlives = true
	s.IdleConnTimeout = 10 * time.Second // of an HTTP/2 connection that came too late to be used
	if s.HTTP2 != nil {
		s.HTTP2.SendPingTimeout = 0
	}
	// net/http sets TLSClientConfig of t when it turns HTTP/2 on by default, and takes
	// that of the copy for a reason to leave it off.
	if s.Protocols == nil && s.TLSNextProto == nil && t.TLSNextProto["h2"] != nil {
		s.ForceAttemptHTTP2 = true
	}
	return s
}

// maxOpening is how long the first request may keep others waiting.
const maxOpening = time.Second

// opener lets one request go first while no connection is known to be open, so that many
// at once share its HTTP/2 connection. net/http would open one for each of them. A nil
// opener lets all go.
type opener struct {
	idle  time.Duration // how long a connection stays open without requests
	until atomic.Int64  // when the last one that was seen is closed, in Unix nanoseconds

	mu    sync.Mutex
	first chan struct{} // closed when the first request has a connection; nil when there is none
}

func newOpener(idle time.Duration) *opener {
	const forever = 24 * time.Hour
	if idle <= 0 || idle > forever {
		idle = forever
	}
	return &opener{idle: idle}
}

func (o *opener) open() bool { return o == nil || time.Now().UnixNano() < o.until.Load() }

// used records how a request ended.
func (o *opener) used(err error) {
	switch {
	case o == nil:
	case err == nil:
		o.until.Store(time.Now().Add(o.idle).UnixNano())
	default:
		o.until.Store(0)
	}
}

// wait returns when a request may go: the first at once, with another context and what
// must be called at its end, and the others when it has a connection that takes them,
// when it has ended or after a second, or when ctx is done.
func (o *opener) wait(ctx context.Context) (context.Context, func()) {
	o.mu.Lock()
	if first := o.first; first != nil || o.open() {
		o.mu.Unlock()
		if first != nil {
			select {
			case <-first:
			case <-ctx.Done():
			}
		}
		return ctx, func() {}
	}
	first := make(chan struct{})
	o.first = first
	o.mu.Unlock()
	done := sync.OnceFunc(func() {
		o.mu.Lock()
		o.first = nil
		o.mu.Unlock()
		close(first)
	})
	timer := time.AfterFunc(maxOpening, done)
	connected := func() {
		o.used(nil)
		done()
	}
	trace := &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			c, overTLS := info.Conn.(*tls.Conn)
			if info.Reused || !overTLS || c.ConnectionState().NegotiatedProtocol != "h2" {
				connected()
			} // else net/http takes 100 requests at most until it has the server's settings
		},
		GotFirstResponseByte: connected,
	}
	return httptrace.WithClientTrace(ctx, trace), func() { timer.Stop(); done() }
}

// checkConnect returns an error unless the response of a proxy to CONNECT is the one that
// net/http accepts. The error of net/http is the reason phrase alone.
func checkConnect(_ context.Context, proxy *url.URL, _ *http.Request, rsp *http.Response) error {
	if rsp.StatusCode == http.StatusOK {
		return nil
	}
	return &retry.ProxyError{Proxy: proxy.Host, Status: rsp.StatusCode}
}

// refusedConnect returns err, which transport returned for a request to u, or the
// [retry.ProxyError] that it means, of a transport without [checkConnect]: net/http then
// returns the reason phrase of the proxy and no more.
func refusedConnect(transport http.RoundTripper, u *url.URL, err error) error {
	t, ok := transport.(*http.Transport)
	if !ok || t.Proxy == nil || u.Scheme != "https" {
		return err
	}
	for status := 400; status < 600; status++ {
		if text := http.StatusText(status); text != "" && text == err.Error() {
			if proxy, e := t.Proxy(&http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: http.Header{}}); e == nil && proxy != nil {
				return &retry.ProxyError{Proxy: proxy.Host, Status: status}
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

// notBegun reports whether err, from a transport, says that the server has surely not
// begun with a request that has a body: it refused the stream or left the connection
// before it (RFC 9113, sections 6.8 and 8.7), or the connection had no room for it.
// net/http has no type for these. Where it words them otherwise, they are in doubt.
func notBegun(err error) bool {
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
		return fmt.Sprintf("the response is larger than %d bytes", maxBody)
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
		return wire.Printable(text)
	}
	return wire.Printable(err.Error())
}
