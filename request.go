package gamma

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gamma-sdk/gamma-go/internal/apiruntime"
	"github.com/gamma-sdk/gamma-go/internal/ratelimit"
	"github.com/gamma-sdk/gamma-go/internal/retry"
)

const (
	maxBody      = 1 << 20  // of a successful response, decoded
	maxErrorBody = 16 << 10 // of any other response: enough for its message
)

// doer sends the requests of all generated operations. It uses the RoundTripper without
// an http.Client: that would follow redirects, and its timeout costs more than a context's.
type doer struct {
	base      *url.URL
	transport http.RoundTripper
	timeout   time.Duration
	onRetry   func(Retry)
	insecure  bool // http is accepted for any host

	// The key is only in closures, so that printing a value does not show it.
	authorize  func(http.Header)
	redact     func(string) string // returns its argument if the key is not in it
	redactBody func([]byte) []byte
	isKey      func(header string) bool // whether its name contains the key, ignoring case

	// own is the transport, unless the caller supplied it. stale is set by a request that
	// timed out: own's connections may be dead. A caller's transport may have other users,
	// so its connections are not closed.
	own   *http.Transport
	stale atomic.Bool

	opener *opener // nil for a transport that is not an *http.Transport
	budget *ratelimit.Budget
}

func newDoer(key string, base *url.URL, c config) *doer {
	d := &doer{base: base, transport: c.client.Transport, timeout: c.timeout, onRetry: c.onRetry, insecure: c.insecureHTTP, budget: new(ratelimit.Budget)}
	if d.transport == nil {
		d.own = NewTransport()
		d.transport = d.own
	}
	if t, ok := d.transport.(*http.Transport); ok && !t.DisableKeepAlives {
		d.opener = newOpener(t.IdleConnTimeout)
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
	d.setRedaction(key)
	return d
}

// Do sends req with the key, only to the base URL's host, and returns its response with
// the body read. Any status other than 2xx is an [*APIError].
func (d *doer) Do(req *http.Request) (*http.Response, error) {
	header, err := d.prepare(req)
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // as an http.Client does
		}
		return nil, err
	}
	if d.own != nil && d.stale.Load() && d.stale.Swap(false) {
		d.own.CloseIdleConnections()
	}
	ctx := req.Context()
	operation, sent, err := d.admit(ctx, req)
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	var x struct { // one allocation for both
		bounded
		out http.Request
	}
	x.caller = ctx
	x.connsRemaining.Store(maxConns)
	if timeout := d.timeoutOf(req); timeout > 0 {
		x.deadline = sent.Add(timeout)
	}
	defer x.end()
	// The caller's request, to which the response refers, never has the key.
	x.out = *req.WithContext(&x.bounded)
	x.out.Header = header
	// With GetBody, net/http sends a body again also if the server may have processed the
	// first, as after an HTTP/2 PROTOCOL_ERROR.
	x.out.GetBody = nil
	rsp, err := d.exchange(operation, sent, req, &x.out, &x.bounded)
	return d.finish(&x.bounded, req, rsp, err)
}

// exchange sends out, the copy of req with the key, and reports the response to operation
// if that is not nil.
func (d *doer) exchange(operation *ratelimit.Operation, sent time.Time, req, out *http.Request, ctx *bounded) (rsp *http.Response, err error) {
	if operation != nil {
		defer func() { operation.End(d.rateLimitResponse(req, rsp, sent)) }() // also if the transport panics
	}
	return d.send(out, ctx)
}

// admit counts req against the rate limit, after waiting for it if the mode of ctx is
// Waits. It returns the time of sending, and a nil operation if the caller counts req.
func (d *doer) admit(ctx context.Context, req *http.Request) (operation *ratelimit.Operation, sent time.Time, err error) {
	mode := d.budget.Mode(ctx)
	if mode == ratelimit.Counted {
		return nil, time.Now(), nil
	}
	operation = d.budget.Operation(d.operation(req))
	if mode == ratelimit.Immediate {
		return operation, operation.Start(), nil
	}
	pauses := retry.PausesOf(ctx)
	err = operation.Acquire(pauses.Context, pauses.Tell)
	if err != nil && pauses.Context.Err() != nil {
		err = d.fail(ctx, req, context.Cause(pauses.Context), true)
	}
	return operation, time.Now(), err
}

// rateLimitResponse returns what the budget needs of rsp, which may be nil.
func (d *doer) rateLimitResponse(req *http.Request, rsp *http.Response, sent time.Time) ratelimit.Response {
	if rsp == nil {
		return ratelimit.Response{}
	}
	r := ratelimit.Response{Status: rsp.StatusCode, Sent: sent}
	if rsp.StatusCode == http.StatusTooManyRequests {
		err := newAPIError(d.operation(req), rsp, nil)
		r.Err, r.RetryAfter = err, err.RetryAfter
	}
	for i := range headers {
		if r.Limits[i].Remaining = count(rsp.Header, headers[i].remaining); r.Limits[i].Remaining >= 0 {
			r.Limits[i] = ratelimit.Window(windowOf(rsp.Header, i))
		}
	}
	return r
}

// send sends req, whose context is ctx.
func (d *doer) send(req *http.Request, ctx *bounded) (*http.Response, error) {
	t, known := d.transport.(*http.Transport)
	switch {
	case hasBody(req):
		if pauses := retry.PausesOf(ctx); pauses.Send != nil {
			if err := pauses.Send(); err != nil {
				ctx.started.Store(true) // and never connected: it was not sent
				return nil, err
			}
		}
		ctx.setTrace(nil)
		if known {
			return sendOnNewConn(t, req)
		}
	case d.opener != nil:
		first := !d.opener.open() && d.opener.wait(ctx)
		if first {
			ctx.setTrace(d.opener)
		}
		rsp, err := t.RoundTrip(req)
		d.opener.used(err)
		if first {
			d.opener.release()
		}
		return rsp, err
	}
	return d.transport.RoundTrip(req)
}

// finish reads the response to req, or returns the error for the lack of one.
func (d *doer) finish(ctx *bounded, req *http.Request, rsp *http.Response, err error) (*http.Response, error) {
	if err == nil && rsp == nil {
		err = errors.New("the transport returned neither a response nor an error")
	}
	if err != nil {
		unsent := ctx.started.Load() && !ctx.connected.Load() || notProcessed(err)
		return nil, d.fail(ctx, req, refusedConnect(d.transport, req, err), unsent)
	}
	rsp.Request = req
	body, err := read(rsp)
	body = d.redactBody(body)
	d.redactHeader(rsp) // after the body, so that the trailer is there
	if rsp.StatusCode/100 != 2 {
		// The status counts also if the body was cut off.
		return nil, newAPIError(d.operation(req), rsp, body)
	}
	if err == nil && int64(len(body)) != rsp.ContentLength && ctx.Err() != nil && !json.Valid(body) {
		err = ctx.Err() // a canceled read may look like the end of the body
	}
	if err != nil {
		failure := d.fail(ctx, req, err, false)
		if req.Method == http.MethodPost {
			failure.partialBody = body // it may have the id of what was created
		}
		return nil, failure
	}
	rsp.Body = apiruntime.NewBody(body)
	return rsp, nil
}

// retry reports a pause to the caller and sleeps. It returns an error if the context is
// done before the end.
func (d *doer) retry(ctx context.Context, r Retry) error {
	if d.onRetry != nil {
		d.onRetry(r)
	}
	pauses := retry.PausesOf(ctx)
	if pauses.Tell != nil {
		pauses.Tell(r.Err, r.Pause)
	}
	if retry.Sleep(pauses.Context, r.Pause) {
		return nil
	}
	return retry.Canceled(pauses.Context)
}

// read reads the body of rsp up to its limit and closes it.
func read(rsp *http.Response) (body []byte, err error) {
	limit := maxErrorBody
	switch rsp.StatusCode / 100 {
	case 1, 3:
		limit = 0 // the body of a 101 is the connection
	case 2:
		limit = maxBody
	}
	switch {
	case rsp.Body == nil:
		return nil, nil
	case limit == maxBody && rsp.ContentLength > maxBody:
		err = ErrResponseTooLarge
	case limit > 0:
		body, err = readUpTo(limit, rsp)
	}
	_ = rsp.Body.Close()
	return body, err
}

func readUpTo(limit int, rsp *http.Response) ([]byte, error) {
	size := 512
	if n := rsp.ContentLength; n >= 0 && n <= int64(limit) {
		size = int(n) + 1 // one more, to read EOF without growing
	}
	body := make([]byte, 0, size)
	for {
		n, err := rsp.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case len(body) > limit:
			return body[:limit], ErrResponseTooLarge
		case err == io.EOF:
			return body, nil
		case err != nil:
			return body, err
		case len(body) == cap(body):
			body = append(body, 0)[:len(body)]
		}
	}
}

// prepare returns a copy of req's header with the key, or an error if req must not be sent.
func (d *doer) prepare(req *http.Request) (http.Header, error) {
	u := req.URL
	elsewhere := u == nil || u.Scheme != d.base.Scheme || u.Host != d.base.Host || u.User != nil || u.Opaque != "" ||
		req.Host != "" && req.Host != d.base.Host
	header := make(http.Header, len(req.Header)+2)
	for name, values := range req.Header {
		elsewhere = elsewhere || strings.EqualFold(name, "Host") // net/http may send it
		header[name] = values
	}
	d.authorize(header)
	ctx := req.Context()
	err := ctx.Err()
	if err == nil && elsewhere {
		err = errOtherHost
	}
	if err != nil {
		return nil, d.fail(ctx, req, err, ctx.Err() != nil)
	}
	return header, parsed().checkRequest(req, d.base.EscapedPath())
}

// operation returns the name of req for an error text.
func (d *doer) operation(req *http.Request) string {
	if req.URL == nil { // a request editor removed it
		return req.Method + " (no URL)"
	}
	return parsed().operation(req, d.base.EscapedPath())
}

func hasBody(req *http.Request) bool { return req.Body != nil && req.Body != http.NoBody }

// timeoutOf returns the timeout of req, 0 for none but its context's. A request with a
// body may cost credits and is not retried, so it gets as long as its context allows.
func (d *doer) timeoutOf(req *http.Request) time.Duration {
	if !hasBody(req) {
		return d.timeout
	}
	if _, ok := req.Context().Deadline(); ok {
		return 0
	}
	return createTimeout
}

// fail returns the error for a req without a response. ctx is the context with the timeout
// of req. unsent means that the server cannot have started to process req.
func (d *doer) fail(ctx context.Context, req *http.Request, err error, unsent bool) *exchangeError {
	var text string
	switch parent := req.Context(); {
	case parent.Err() != nil:
		// The transport returns only the cause; errors.Is must find both.
		err, text = retry.Canceled(parent), parent.Err().Error()
	case ctx.Err() != nil:
		d.stale.Store(true)
		err, text = ctx.Err(), "no response within "+d.timeoutOf(req).String()
	default:
		if clean := d.redact(err.Error()); clean != err.Error() {
			err, text = errors.New(clean), "the request failed"
		} else {
			text = describe(err)
			err = withoutQuote(err, text)
		}
	}
	return &exchangeError{text: "gamma: " + d.operation(req) + ": " + text, err: err, unsent: unsent}
}
