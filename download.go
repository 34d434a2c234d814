package gamma

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gamma-sdk/gamma-go/internal/retry"
)

const (
	maxExport        = 1 << 30 // bytes
	downloadStall    = 30 * time.Second
	downloadDeadline = time.Hour
	downloadFailures = 5 // in a row, without a new byte
	maxRedirects     = 10

	exportOperation = "GET export" // in errors
)

// DownloadOption changes one setting of [Client.Download] and [Client.DownloadFile].
type DownloadOption func(*download) error

// WithProgress calls f after every piece that was written, with the number of
// bytes so far and that of the whole file, -1 when the server does not say. The
// first is smaller than before when [Client.DownloadFile] has to start over. f is called
// in the goroutine of the caller. A nil f is no callback, as is the default.
func WithProgress(f func(written, total int64)) DownloadOption {
	return func(d *download) error {
		d.progress = f
		return nil
	}
}

// Download writes the file behind the ExportURL of a generation to dst, over the
// client's transport. The link is a secret by itself: no API key is sent with it, and
// no error text has it. It must be https, or http to a loopback host, and so must
// redirects, of which up to 10 are followed.
//
// An interrupted transfer is resumed with a Range request (RFC 9110, section 14) if
// the file has not changed. Download gives up after five attempts in a row without a
// new byte (an attempt ends after 30 seconds without data) or when ctx is done; the
// default limit is one hour. [WithOnRetry] tells of the pauses. The length is checked
// if the server sends it. A file of more than 1 GiB is [ErrResponseTooLarge]; a page of
// HTML, a compressed, an empty or a changed file is [ErrUnexpectedResponse].
//
// An expired link is [ErrLinkExpired]; any other status is an [*APIError], whose
// Operation is "GET export". An error of dst is returned at once. After an error,
// dst has a part of the file. Use [Client.DownloadFile] to have it whole or not at all.
func (c *Client) Download(ctx context.Context, exportURL string, dst io.Writer, opts ...DownloadOption) error {
	if dst == nil {
		return errors.New("gamma: GET export: nil writer")
	}
	d, err := c.doer.newDownload(exportURL, opts)
	if err != nil {
		return err
	}
	d.dst = dst
	return d.run(ctx)
}

// download is one file on its way.
type download struct {
	doer     *doer
	url      *url.URL
	client   http.Client
	progress func(written, total int64)
	dst      io.Writer
	restart  func() error // empties dst; nil when that is impossible

	written  int64
	furthest int64 // the most that was ever written
	total    int64 // -1: unknown
	etag     string
	modified string
}

func (c *doer) newDownload(exportURL string, opts []DownloadOption) (*download, error) {
	d := &download{doer: c, client: http.Client{Transport: c.transport}, total: -1}
	for _, opt := range opts {
		if opt == nil {
			return nil, errors.New("gamma: nil option")
		}
		if err := opt(d); err != nil {
			return nil, err
		}
	}
	if exportURL == "" {
		return nil, errors.New("gamma: the export URL is empty: a generation has one when it is completed and was created with ExportAs")
	}
	var err error
	if d.url, err = url.Parse(exportURL); err != nil {
		return nil, errors.New("gamma: the export URL is not a URL") // err quotes it
	}
	if err := d.check(d.url); err != nil {
		return nil, fmt.Errorf("gamma: the export URL has %w", err)
	}
	d.client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		req.Header.Del("Referer") // the link before, a secret
		if len(via) > maxRedirects {
			return &redirectError{errors.New("after 10 others")}
		}
		if err := d.check(req.URL); err != nil {
			return &redirectError{fmt.Errorf("to a URL with %w", err)}
		}
		return nil
	}
	return d, nil
}

// check is for the export URL itself, and for what it redirects to.
func (d *download) check(u *url.URL) error {
	switch {
	case u.Opaque != "" || u.Hostname() == "":
		return errors.New("no host")
	case u.User != nil:
		return errors.New("user info")
	case u.Scheme == "https", u.Scheme == "http" && (d.doer.insecure || isLoopback(u.Hostname()) && isLoopback(d.url.Hostname())):
		return nil
	}
	return errors.New("a scheme other than https")
}

var errStalled = fmt.Errorf("no byte within %v", downloadStall)

// run fetches the file in as many attempts as it takes.
func (d *download) run(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, downloadDeadline)
		defer cancel()
	}
	for attempts, failures := 1, 0; ; attempts++ {
		before := d.furthest
		again, err := d.attempt(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return &exchangeError{text: "gamma: GET export: " + ctx.Err().Error(), err: retry.Canceled(ctx)}
		case !again:
			return err
		}
		if d.furthest > before {
			failures = 0
		}
		if failures++; failures == downloadFailures {
			return err
		}
		pause := 100 * time.Millisecond // most breaks are over at once
		if failures > 1 {
			pause = retry.Backoff(time.Second, time.Minute, failures-2)
		}
		var apiErr *APIError
		if errors.As(err, &apiErr) {
			pause = max(pause, apiErr.RetryAfter)
		}
		if deadline, _ := ctx.Deadline(); pause > time.Until(deadline) {
			return err
		}
		pause += retry.Jitter(pause/5, rand.Float64())
		_ = d.doer.retry(ctx, Retry{exportOperation, attempts, err, pause}) // the next attempt tells
	}
}

// attempt sends one request, for what is still missing. It reports whether another
// one may do better.
func (d *download) attempt(ctx context.Context) (again bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(downloadStall, func() { cancel(errStalled) })
	defer stall.Stop()
	conns := &bounded{Context: ctx}
	conns.left.Store(maxConns + maxRedirects)
	req := (&http.Request{Method: http.MethodGet, URL: d.url, Host: d.url.Host, Header: http.Header{
		"User-Agent": {"gamma-go/" + Version},
		// A part of a compressed file is of no use.
		"Accept-Encoding": {"identity"},
	}}).WithContext(conns)
	if d.written > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.written))
		switch {
		case d.etag != "" && !strings.HasPrefix(d.etag, "W/"):
			req.Header.Set("If-Range", d.etag)
		case d.modified != "":
			req.Header.Set("If-Range", d.modified)
		}
	}
	rsp, err := d.client.Do(req)
	if err != nil {
		return d.failed(ctx, err)
	}
	defer func() { _ = rsp.Body.Close() }()
	skip, again, err := d.accept(rsp)
	if err != nil {
		return again, err
	}
	buf := make([]byte, 32<<10)
	for {
		stall.Reset(downloadStall)
		n, err := rsp.Body.Read(buf)
		stall.Stop() // what dst and progress take is theirs
		old := min(skip, int64(n))
		skip -= old
		if data := buf[old:n]; len(data) > 0 {
			if err := d.write(data); err != nil {
				return false, err
			}
		}
		switch {
		case err == io.EOF && (skip > 0 || d.written < d.total):
			return d.failed(ctx, io.ErrUnexpectedEOF)
		case err == io.EOF && d.total < 0 && ctx.Err() != nil: // closing the connection may look like it
			return d.failed(ctx, ctx.Err())
		case err == io.EOF && d.written == 0:
			return false, d.unexpected("the file is empty")
		case err == io.EOF:
			return false, nil
		case err != nil:
			return d.failed(ctx, err)
		case ctx.Err() != nil: // the body of a caller's transport may not look
			return d.failed(ctx, ctx.Err())
		}
	}
}

func (d *download) write(data []byte) error {
	if size := d.written + int64(len(data)); size > maxExport {
		return fmt.Errorf("%w: an export of more than %d bytes", ErrResponseTooLarge, maxExport)
	} else if d.total >= 0 && size > d.total {
		return d.unexpected("more than the whole file")
	}
	n, err := d.dst.Write(data)
	if err == nil && n < len(data) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("gamma: GET export: %w", err)
	}
	d.written += int64(n)
	d.furthest = max(d.furthest, d.written)
	if d.progress != nil {
		d.progress(d.written, d.total)
	}
	return nil
}

// accept looks at the head of rsp. skip is how much of its body dst has already.
func (d *download) accept(rsp *http.Response) (skip int64, again bool, err error) {
	status := rsp.StatusCode
	switch {
	case status == http.StatusOK:
	case d.written > 0 && (status == http.StatusPartialContent || status == http.StatusRequestedRangeNotSatisfiable):
		from, total, ok := contentRange(rsp.Header.Get("Content-Range"))
		if ok && from == d.written && (d.total < 0 || total < 0 || total == d.total) && d.goesOn(rsp.Header) {
			d.total = max(d.total, total)
			return 0, false, d.checkType(rsp)
		}
		if rsp.Header.Get("Content-Range") == fmt.Sprintf("bytes */%d", d.written) && d.goesOn(rsp.Header) {
			rsp.Body = http.NoBody // only the end of the file was missing
			return 0, false, nil
		}
		if err := d.startOver(); err != nil {
			return 0, false, err
		}
		return 0, true, d.unexpected("another part of the file than asked for")
	case status/100 == 2:
		return 0, false, d.unexpected(fmt.Sprintf("status %d", status))
	default:
		apiErr := newAPIError(exportOperation, rsp, nil)
		apiErr.RequestID = "" // not Gamma's, and it may quote the link
		if status == http.StatusForbidden || status == http.StatusGone {
			return 0, false, &explainedError{ErrLinkExpired, apiErr}
		}
		return 0, retry.TransientStatus(status), apiErr
	}
	if err := d.checkType(rsp); err != nil {
		return 0, false, err
	}
	if rsp.ContentLength > maxExport {
		return 0, false, fmt.Errorf("%w: an export of %d bytes", ErrResponseTooLarge, rsp.ContentLength)
	}
	if d.written > 0 {
		// The server cannot go on in the middle, or has another file now.
		if d.restart == nil && d.versioned() && d.same(rsp.Header) && rsp.ContentLength == d.total {
			return d.written, false, nil
		}
		if err := d.startOver(); err != nil {
			return 0, false, err
		}
	}
	d.total = rsp.ContentLength
	d.etag, d.modified = rsp.Header.Get("Etag"), rsp.Header.Get("Last-Modified")
	return 0, false, nil
}

// startOver forgets what was written, if dst can.
func (d *download) startOver() error {
	if d.restart == nil {
		return d.unexpected("the transfer broke, and the server cannot go on with it")
	}
	if err := d.restart(); err != nil {
		return fmt.Errorf("gamma: GET export: %w", err)
	}
	d.written, d.total, d.etag, d.modified = 0, -1, "", ""
	return nil
}

// same reports whether h belongs to the file that the transfer began with.
func (d *download) same(h http.Header) bool {
	return h.Get("Etag") == d.etag && h.Get("Last-Modified") == d.modified
}

// goesOn reports whether a part with h belongs to the file that the transfer began
// with. An answer to If-Range need not repeat Last-Modified (RFC 9110, section
// 15.3.7). Where the server names no version the length must do, which is checked.
func (d *download) goesOn(h http.Header) bool {
	if modified := h.Get("Last-Modified"); h.Get("Etag") != d.etag || modified != "" && modified != d.modified {
		return false
	}
	return d.versioned() || d.etag == "" && d.total >= 0
}

// versioned reports whether the server says which version of the file it is, to the
// byte: a weak ETag does not (RFC 9110, section 8.8.1).
func (d *download) versioned() bool {
	return d.modified != "" || d.etag != "" && !strings.HasPrefix(d.etag, "W/")
}

func (d *download) checkType(rsp *http.Response) error {
	switch encoding := rsp.Header.Get("Content-Encoding"); {
	case rsp.Uncompressed, encoding != "" && !strings.EqualFold(encoding, "identity"):
		return d.unexpected("a compressed file")
	case strings.HasPrefix(strings.ToLower(rsp.Header.Get("Content-Type")), "text/html"):
		return d.unexpected("a page of HTML instead of a file")
	}
	return nil
}

func (*download) unexpected(why string) error {
	return fmt.Errorf("%w: GET export: %s", ErrUnexpectedResponse, why)
}

// failed describes err, which has no answer to it. Neither its text nor what it
// wraps has the URL.
func (d *download) failed(ctx context.Context, err error) (again bool, _ error) {
	var urlErr *url.Error
	if errors.As(err, &urlErr) {
		err = urlErr.Err
	}
	if strings.HasPrefix(err.Error(), "failed to parse Location header") { // and quotes it
		err = &redirectError{errors.New("to what is not a URL")}
	}
	var redirect *redirectError
	if errors.As(err, &redirect) {
		return false, &exchangeError{text: "gamma: GET export: " + redirect.Error(), err: redirect}
	}
	if errors.Is(context.Cause(ctx), errStalled) {
		err = errStalled
	}
	text := describe(err)
	return !retry.Permanent(err), &exchangeError{text: "gamma: GET export: " + text, err: unquoted(err, text)}
}

// contentRange reads "bytes 100-199/1000" (RFC 9110, section 14.4). total is -1
// where it is "*".
func contentRange(s string) (from, total int64, ok bool) {
	// Not fmt.Sscanf, which nothing else needs: it would add 56 KiB.
	s, isBytes := strings.CutPrefix(s, "bytes ")
	s, size, hasSize := strings.Cut(s, "/")
	first, last, isRange := strings.Cut(s, "-")
	from, err1 := strconv.ParseInt(first, 10, 64)
	to, err2 := strconv.ParseInt(last, 10, 64)
	total, err3 := strconv.ParseInt(size, 10, 64)
	if size == "*" {
		total, err3 = -1, nil
	}
	ok = isBytes && hasSize && isRange && errors.Join(err1, err2, err3) == nil && from >= 0 && to >= from
	return from, total, ok && (total < 0 && size == "*" || total > to)
}
