// Package retry holds what creates, downloads and polls have in common: which
// failures may pass, how long to pause, and how an error describes another.
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

// Sleep returns true after d, at once if d is not positive, or false as soon as ctx is
// done.
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
// requests. A create also reports each request before it is sent.
type Pauses struct {
	// Context is done when no further request is to be sent. It is derived from that of
	// the call. A request in flight is not affected.
	Context context.Context //nolint:containedctx // it is the value of another context

	// Tell, if not nil, is called before each pause with the error that caused it, nil for
	// the rate limit alone.
	Tell func(err error, pause time.Duration)

	// Send, if not nil, is called before each request of a create, after all pauses. If it
	// returns an error, the request is not sent.
	Send func() error
}

type pausesKey struct{}

// With returns a context for a call with p.
func (p *Pauses) With(ctx context.Context) context.Context {
	return context.WithValue(ctx, pausesKey{}, p)
}

// PausesOf returns what [Pauses.With] put into ctx; by default, Pauses with only ctx.
//
//go:noinline
func PausesOf(ctx context.Context) *Pauses {
	if p, ok := ctx.Value(pausesKey{}).(*Pauses); ok {
		return p
	}
	return &Pauses{Context: ctx}
}

// Backoff returns base doubled n times, and at most limit.
func Backoff(base, limit time.Duration, n int) time.Duration {
	for ; n > 0 && base < limit; n-- {
		base *= 2
	}
	return min(base, limit)
}

// Jitter returns a random part of most, and of a minute; random is in [0, 1). It is
// added to a pause, never taken from it: a pause is what the API or the server asks
// for at least.
func Jitter(most time.Duration, random float64) time.Duration {
	return time.Duration(random * float64(min(most, time.Minute)))
}

// Never is a pause that no poll may end, and the time remaining without a deadline.
const Never = time.Duration(1<<63 - 1)

// UntilNext returns when a poll follows that is due after pause, with remaining until the
// deadline: at the latest margin before it, so that there is time for a response. It
// returns remaining if no poll follows.
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

// RTT returns how long a round trip may take of which the last took d, when it was rtt
// before: about the longest of the last ones.
func RTT(rtt, d time.Duration) time.Duration { return max(d, rtt-rtt/32, 1) }

// TransientStatus reports whether a request that got status may succeed later.
func TransientStatus(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported, http.StatusNetworkAuthenticationRequired:
		return false
	}
	return status/100 == 5
}

// ProxyError is the response of an HTTP proxy that did not connect to the server, which
// has received nothing.
type ProxyError struct {
	text      string
	permanent bool
}

// NewProxyError returns the error for status from proxy, a host and a port. All of 5xx is
// about the way from the proxy to the server, which may be open again later.
func NewProxyError(proxy string, status int) *ProxyError {
	text := fmt.Sprintf("the proxy %s refused the connection: %d %s", apiruntime.Printable(proxy), status, http.StatusText(status))
	return &ProxyError{strings.TrimSpace(text), status < 500 && !TransientStatus(status)}
}

// Error returns one printable line without the user info of the proxy's URL.
func (e *ProxyError) Error() string { return e.text }

// Permanent reports whether err says that the server cannot be reached, now or a
// moment later: the proxy refuses to connect, or [Unknown].
func Permanent(err error) bool {
	var proxyErr *ProxyError
	return Unknown(err) || errors.As(err, &proxyErr) && proxyErr.permanent
}

// Unknown reports whether err says that there is no such host, or that its certificate
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

// Canceled joins the error of ctx, which is done, and its cause where that differs.
func Canceled(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == err {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// Inner returns the text of err for use inside the text of another error.
func Inner(err error) string {
	return apiruntime.Printable(strings.TrimPrefix(err.Error(), "gamma: "))
}
