// Package retry has what creates, downloads and polls share: which errors are transient,
// how long to pause, and how the text of an error includes that of another.
package retry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gamma-sdk/gamma-go/internal/apiruntime"
)

// Sleep returns true after d, or false when ctx is done. If d is not positive it returns at
// once.
func Sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// Pauses lets the caller of a create or a download observe and end the pauses between its
// requests, and check each request of a create before it is sent.
type Pauses struct {
	// Context is done when no more requests must be sent. It must be derived from the
	// context of the call. A request in flight is not canceled.
	Context context.Context //nolint:containedctx // it is the value of another context

	// Tell, if not nil, is called before each pause, with the error that is the reason, nil
	// for the rate limit.
	Tell func(err error, pause time.Duration)

	// Send, if not nil, is called before each request of a create, after all pauses. If it
	// returns an error, the request is not sent.
	Send func() error
}

type pausesKey struct{}

// With returns a context that carries p.
func (p *Pauses) With(ctx context.Context) context.Context {
	return context.WithValue(ctx, pausesKey{}, p)
}

// PausesOf returns the Pauses that ctx carries. The default is Pauses with only ctx.
//
//go:noinline
func PausesOf(ctx context.Context) *Pauses {
	if p, ok := ctx.Value(pausesKey{}).(*Pauses); ok {
		return p
	}
	return &Pauses{Context: ctx}
}

// Backoff returns base doubled n times, at most limit.
func Backoff(base, limit time.Duration, n int) time.Duration {
	for ; n > 0 && base < limit; n-- {
		base *= 2
	}
	return min(base, limit)
}

// Jitter returns limit, at most a minute, times random, which must be in [0, 1). Add it to
// a pause. Do not subtract it: the server asks for the pause as a minimum.
func Jitter(limit time.Duration, random float64) time.Duration {
	return time.Duration(random * float64(min(limit, time.Minute)))
}

// Never is a pause that no poll follows, and the time remaining if there is no deadline.
const Never = time.Duration(1<<63 - 1)

// UntilNext returns the time until the next poll, which is due after pause. remaining is the
// time until the deadline. The last poll is due margin before the deadline, so that there is
// time for its response. UntilNext returns remaining if no poll follows.
func UntilNext(pause, remaining, margin time.Duration) time.Duration {
	switch last := remaining - margin; {
	case remaining == Never || pause <= last:
		return pause
	case pause == Never || last < margin:
		return remaining
	default:
		return last
	}
}

// RTT returns the new estimate of the round-trip time after a round trip of d, given the old
// estimate rtt. It is about the longest of the last round trips.
func RTT(rtt, d time.Duration) time.Duration { return max(d, rtt-rtt/32, 1) }

// TransientStatus reports whether a request may succeed later after a response with status.
func TransientStatus(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported, http.StatusNetworkAuthenticationRequired:
		return false
	}
	return status/100 == 5
}

// ProxyError is the response of an HTTP proxy that did not connect to the server. The server
// has received nothing.
type ProxyError struct {
	text      string
	permanent bool
}

// NewProxyError returns the error for status from proxy, a host and a port. It is not
// permanent for a 5xx, by which a proxy reports that it cannot reach the server.
func NewProxyError(proxy string, status int) *ProxyError {
	text := fmt.Sprintf("the proxy %s refused the connection: %d %s", apiruntime.Printable(proxy), status, http.StatusText(status))
	return &ProxyError{strings.TrimSpace(text), status < 500 && !TransientStatus(status)}
}

// Error returns one printable line without the user info of the proxy's URL.
func (e *ProxyError) Error() string { return e.text }

// Permanent reports whether err means that retrying will not reach the server: the proxy
// refuses to connect, or [Unknown] is true.
func Permanent(err error) bool {
	var proxyErr *ProxyError
	return Unknown(err) || errors.As(err, &proxyErr) && proxyErr.permanent
}

// Unknown reports whether err means that the host does not exist or that its certificate
// does not verify.
func Unknown(err error) bool {
	var (
		dnsErr  *net.DNSError
		certErr *tls.CertificateVerificationError
		// From a TLS client other than crypto/tls.
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	return errors.As(err, &certErr) || errors.As(err, &authority) || errors.As(err, &hostname) || errors.As(err, &invalid) ||
		errors.As(err, &dnsErr) && dnsErr.IsNotFound
}

// Canceled returns the error of ctx, which is done, joined with its cause if that differs.
func Canceled(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == err {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// Inner returns the text of err for the text of another error: printable, and without the
// prefix "gamma: ".
func Inner(err error) string {
	return apiruntime.Printable(strings.TrimPrefix(err.Error(), "gamma: "))
}
