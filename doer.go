package gamma

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gamma-sdk/gamma-go/internal/wire"
)

const (
	redacted = "[API key]"

	maxBody      = 1 << 20  // of a successful answer, decoded
	maxErrorBody = 16 << 10 // of any other answer: enough for its message
)

var errOtherHost = errors.New("gamma: the request is for another host than the base URL's")

// doer is the one layer under every generated operation. It calls the
// RoundTripper itself: what an http.Client adds is redirects, which are refused
// here, and a timeout that costs more than a context's.
type doer struct {
	base      *url.URL
	transport http.RoundTripper
	timeout   time.Duration

	// The key lives in closures alone, where no dump of any value shows it.
	authorize  func(http.Header)
	redact     func(string) string // returns its argument when the key is not in it
	redactBody func([]byte) []byte
	isKey      func(header string) bool // its name has the key, in whatever case

	// stale is set by a request that timed out: its connection may be dead.
	stale atomic.Bool
}

func newDoer(key string, base *url.URL, c config) *doer {
	d := &doer{base: base, transport: c.client.Transport, timeout: c.timeout}
	if d.transport == nil {
		d.transport = NewTransport()
	}
	if t := c.client.Timeout; t > 0 {
		d.timeout = min(d.timeout, t)
	}
	keyValue, userAgent := []string{key}, []string{c.userAgent}
	d.authorize = func(h http.Header) {
		h["X-Api-Key"] = keyValue[:1:1]
		if h["User-Agent"] == nil {
			h["User-Agent"] = userAgent[:1:1]
		}
	}
	d.redact = func(s string) string {
		if len(s) < len(key) { // as most of a header is
			return s
		}
		return strings.ReplaceAll(s, key, redacted)
	}
	d.redactBody = func(body []byte) []byte { return redactBody(body, key) }
	lower := strings.ToLower(key) // net/http changes the case of names
	d.isKey = func(name string) bool {
		return len(name) >= len(lower) && strings.Contains(strings.ToLower(name), lower)
	}
	return d
}

// Do sends req with the key, to the base URL's host only, and returns its answer
// with the body read whole. Any status but success is an [*APIError].
func (d *doer) Do(req *http.Request) (*http.Response, error) {
	if u := req.URL; u == nil || u.Scheme != d.base.Scheme || u.Host != d.base.Host || u.User != nil || u.Opaque != "" ||
		req.Host != "" && req.Host != d.base.Host {
		return nil, refuse(req, errOtherHost)
	}
	if err := parsed().checkRequest(req, d.base.EscapedPath()); err != nil {
		return nil, refuse(req, err)
	}
	if err := req.Context().Err(); err != nil {
		return nil, refuse(req, d.fail(req.Context(), req, err, true))
	}
	if d.stale.Load() && d.stale.Swap(false) {
		if t, ok := d.transport.(interface{ CloseIdleConnections() }); ok {
			t.CloseIdleConnections()
		}
	}
	ctx, cancel := context.WithTimeout(req.Context(), d.timeout)
	defer cancel()
	var x struct { // one allocation for both
		bounded
		out http.Request
	}
	x.bounded.Context = ctx
	x.left.Store(maxConns)
	// The caller's request never holds the key: it stays within reach of the answer.
	x.out = *req.WithContext(&x.bounded)
	x.out.Header = make(http.Header, len(req.Header)+2)
	for name, values := range req.Header {
		if strings.EqualFold(name, "Host") {
			return nil, refuse(req, errOtherHost) // net/http would send it as it is
		}
		x.out.Header[name] = values
	}
	d.authorize(x.out.Header)
	// With it net/http sends a body a second time also where the server may have
	// begun with the first, as after an HTTP/2 PROTOCOL_ERROR.
	x.out.GetBody = nil
	rsp, err := d.transport.RoundTrip(&x.out)
	if err == nil && rsp == nil {
		err = errors.New("the transport returned neither an answer nor an error")
	}
	if err != nil {
		return nil, d.fail(ctx, req, err, notBegun(err))
	}
	rsp.Request = req
	body, err := d.read(rsp)
	body = d.redactBody(body)
	d.redactHeader(rsp) // now that the trailer has come
	if rsp.StatusCode/100 != 2 {
		// The status is the verdict, however much of the body arrived.
		return nil, newAPIError(parsed().operation(req, d.base.EscapedPath()), rsp, body)
	}
	if err == nil && ctx.Err() != nil && !json.Valid(body) {
		err = ctx.Err() // closing the connection may look like the end of the body
	}
	if err != nil {
		failure := d.fail(ctx, req, err, false)
		if req.Method == http.MethodPost {
			failure.part = body // which may tell what was created
		}
		return nil, failure
	}
	rsp.Body = wire.NewBody(body)
	return rsp, nil
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
		if n > 0 && !sleep(ctx, 50*time.Millisecond<<n) {
			return nil, ctx.Err()
		}
	}
	return (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext(ctx, network, address)
}

// sleep returns after d, or with false when ctx is done.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// read reads the body of rsp up to its limit and closes it.
func (d *doer) read(rsp *http.Response) ([]byte, error) {
	if rsp.Body == nil {
		return nil, nil
	}
	defer func() { _ = rsp.Body.Close() }()
	limit := int64(maxBody)
	switch rsp.StatusCode / 100 {
	case 1, 3:
		return nil, nil // the body of a 101 is the connection, which has no end
	case 2:
		if rsp.ContentLength > limit {
			return nil, ErrResponseTooLarge
		}
	default:
		limit = maxErrorBody
	}
	size := int64(512)
	if n := rsp.ContentLength; n >= 0 && n <= limit {
		size = n + 1 // one more, to see the end without growing
	}
	body := make([]byte, 0, size)
	for {
		n, err := rsp.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if int64(len(body)) > limit {
			return body[:limit], ErrResponseTooLarge
		}
		if err == io.EOF {
			return body, nil
		}
		if err != nil {
			return body, err
		}
		if len(body) == cap(body) {
			body = append(body, 0)[:len(body)]
		}
	}
}

// redactHeader removes the key from what the server echoes in the head of rsp.
func (d *doer) redactHeader(rsp *http.Response) {
	for _, h := range [...]http.Header{rsp.Header, rsp.Trailer} {
		for name, values := range h {
			for i, v := range values {
				if clean := d.redact(v); clean != v { // a stub may share its header
					values[i] = clean
				}
			}
			if d.isKey(name) {
				delete(h, name)
				h[redacted] = values
			}
		}
	}
	rsp.Status = d.redact(rsp.Status)
}

// redactBody removes the key from what the server echoes in a body, also where
// JSON escapes hide it from a plain search. Strings are looked at one by one, since
// a decoder drops some of them and the body need not be whole.
func redactBody(body []byte, key string) []byte {
	if bytes.Contains(body, []byte(key)) {
		body = bytes.ReplaceAll(body, []byte(key), []byte(redacted))
	}
	if bytes.IndexByte(body, '\\') < 0 {
		return body
	}
	var clean []byte
	copied := 0 // how much of body is in clean
	for i := 0; i < len(body); i++ {
		if body[i] != '"' {
			continue
		}
		start, escapes := i, false
		for i++; i < len(body) && body[i] != '"'; i++ {
			if body[i] == '\\' {
				escapes = true
				i++
			}
		}
		if !escapes || i-start <= len(key) {
			continue
		}
		literal := body[start:min(i+1, len(body))]
		if i >= len(body) {
			literal = append(bytes.Clone(literal), '"') // the body is cut
		}
		var text string
		if json.Unmarshal(literal, &text) != nil || !strings.Contains(text, key) {
			continue
		}
		quoted, _ := json.Marshal(strings.ReplaceAll(text, key, redacted))
		clean = append(append(clean, body[copied:start]...), quoted...)
		copied = min(i+1, len(body))
	}
	if copied == 0 {
		return body
	}
	return append(clean, body[copied:]...)
}

// refuse returns err, for a request that is not sent.
func refuse(req *http.Request, err error) error {
	if req.Body != nil {
		_ = req.Body.Close() // as an http.Client does
	}
	return err
}

// fail describes a failure to get an answer to req. ctx is the context that
// bounded the exchange. unsent says that the server has surely not begun with req.
func (d *doer) fail(ctx context.Context, req *http.Request, err error, unsent bool) *exchangeError {
	e := &exchangeError{err: err, unsent: unsent}
	switch parent := req.Context(); {
	case parent.Err() != nil:
		// The transport returns the cause alone; both must be found.
		e.err, e.text = canceled(parent), parent.Err().Error()
	case ctx.Err() != nil:
		d.stale.Store(true)
		e.err = ctx.Err()
		e.text = fmt.Sprintf("no answer within %v", d.timeout)
	default:
		e.text = describe(err)
		if text := err.Error(); d.redact(text) != text {
			e.err, e.text = errors.New(d.redact(text)), "the exchange failed"
		}
		e.err = unquoted(e.err, e.text)
	}
	e.text = "gamma: " + parsed().operation(req, d.base.EscapedPath()) + ": " + e.text
	return e
}

// canceled joins what ctx says and why, where that differs.
func canceled(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == err {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// exchangeError is a request without a usable answer.
type exchangeError struct {
	text   string
	err    error
	unsent bool   // the server has surely not begun with the request
	part   []byte // what came of a success to a POST
}

func (e *exchangeError) Error() string { return e.text }
func (e *exchangeError) Unwrap() error { return e.err }

// unquoted is err, but only its description where net/http quotes the server. Those
// errors have no exported type that would be lost.
func unquoted(err error, description string) error {
	if strings.HasSuffix(description, mayQuote) {
		for _, its := range [...]string{"HTTP/1.x transport connection broken", malformedHeader, "http2: server sent GOAWAY"} {
			if strings.Contains(err.Error(), its) {
				return errors.New(description)
			}
		}
	}
	return err
}

const (
	malformedHeader = "malformed MIME header" // and what follows is a part of it
	mayQuote        = " (the rest may quote the answer)"
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
		return fmt.Sprintf("the answer is larger than %d bytes", maxBody)
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
