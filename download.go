package gamma

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
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
	downloadFailures = 8 // in a row without a new byte; the pauses between them are 63 s
	maxRedirects     = 10

	exportOperation = "GET export" // in errors
)

// DownloadOption is an option of [Client.Download] and [Client.DownloadFile].
type DownloadOption func(*download)

// WithProgress calls f after each write, in the goroutine of the caller, with the number
// of bytes written so far and that of the whole file, -1 if unknown. The number written
// becomes smaller if [Client.DownloadFile] starts over. The default, also for nil, is no
// callback.
func WithProgress(f func(written, total int64)) DownloadOption {
	return func(d *download) { d.progress = f }
}

// Download writes the file at exportURL, the ExportURL of a generation, to dst. Anyone who
// has the link can download the file, so error texts do not contain it. The API key is not
// sent. The URL must be https, or http to a loopback host. Up to 10 redirects are followed,
// under the same rule. After an error, dst may have a part of the file;
// [Client.DownloadFile] writes the whole file or none.
//
// An interrupted transfer is resumed with a Range request (RFC 9110, section 14) if the
// file has not changed. Download gives up when ctx is done, or after an hour if ctx has no
// deadline, and after eight attempts in a row without a new byte, which take at least a
// minute. An attempt times out after 30 seconds without data. [WithOnRetry] observes the
// pauses.
//
// The error matches [ErrLinkExpired] for an expired link, [ErrResponseTooLarge] for a
// file of more than 1 GiB, and [ErrUnexpectedResponse] for HTML, JSON or XML and for a
// file that is compressed, empty, changed or incomplete. Any other status is an
// [*APIError] with the Operation "GET export".
func (c *Client) Download(ctx context.Context, exportURL string, dst io.Writer, opts ...DownloadOption) error {
	if dst == nil {
		return exportError("nil writer", nil)
	}
	d, err := newDownload(c.doer, exportURL, opts)
	if err != nil {
		return err
	}
	d.dst = dst
	return d.run(ctx)
}

// download is the state of one download.
type download struct {
	doer     *doer
	url      *url.URL
	client   http.Client
	progress func(written, total int64)
	dst      io.Writer
	restart  func() error // empties dst; nil if that is impossible

	written    int64
	maxWritten int64 // the most that was ever written
	total      int64 // -1: unknown
	etag       string
	modified   string
	reached    bool // there was a response
	notFound   int  // responses in a row with status 404
}

func newDownload(doer *doer, exportURL string, opts []DownloadOption) (*download, error) {
	d := &download{doer: doer, client: http.Client{Transport: doer.transport}, total: -1}
	for _, opt := range opts {
		if opt == nil {
			return nil, exportError("nil option", nil)
		}
		opt(d)
	}
	if exportURL == "" {
		return nil, exportError("the export URL is empty: a generation has one if it was created with ExportAs and is completed", nil)
	}
	var err error
	if d.url, err = url.Parse(exportURL); err != nil {
		return nil, exportError("the export URL is not a URL", nil) // err quotes it
	}
	if err := d.check(d.url); err != nil {
		return nil, exportError("the export URL has "+err.Error(), err)
	}
	d.client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		req.Header.Del("Referer") // it would be the previous URL, which is secret
		if len(via) > maxRedirects {
			return &redirectError{errors.New("after 10 redirects")}
		}
		if err := d.check(req.URL); err != nil {
			return &redirectError{fmt.Errorf("to a URL with %w", err)}
		}
		return nil
	}
	return d, nil
}

// check returns an error unless u, the export URL or that of a redirect, may be requested.
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

var errStalled = fmt.Errorf("no response data within %v", downloadStall)

// run downloads the file, with retries.
func (d *download) run(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, downloadDeadline)
		defer cancel()
	}
	for attempts, failures := 1, 0; ; attempts++ {
		before := d.maxWritten
		again, err := d.attempt(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return exportError(ctx.Err().Error(), retry.Canceled(ctx))
		case !again:
			return err
		}
		if d.maxWritten > before {
			failures = 0
		}
		if failures++; failures == downloadFailures {
			return err
		}
		pause := 100 * time.Millisecond // most failures are brief
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
		_ = d.doer.retry(ctx, Retry{exportOperation, attempts, err, pause}) // the next attempt finds that ctx is done
	}
}

// attempt sends one request for the rest of the file. again reports whether another
// attempt may succeed.
func (d *download) attempt(ctx context.Context) (again bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(downloadStall, func() { cancel(errStalled) })
	defer stall.Stop()
	conns := &bounded{caller: ctx}
	defer conns.end()
	conns.connsRemaining.Store(maxConns + maxRedirects)
	req := (&http.Request{Method: http.MethodGet, URL: d.url, Host: d.url.Host, Header: http.Header{
		"User-Agent": {"gamma-go/" + Version},
		// A range of a compressed file cannot be resumed.
		"Accept-Encoding": {"identity"},
	}}).WithContext(conns)
	if d.written > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.written))
		switch {
		case isStrong(d.etag):
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
	d.reached = true
	d.notFound++
	if rsp.StatusCode != http.StatusNotFound {
		d.notFound = 0
	}
	p, again, err := d.accept(rsp)
	if err != nil {
		return again, err
	}
	skip := d.written - p.start // dst has it already
	buf := make([]byte, 32<<10)
	for {
		stall.Reset(downloadStall)
		n, err := rsp.Body.Read(buf)
		stall.Stop() // dst and progress may take their time
		old := min(skip, int64(n))
		skip -= old
		if data := buf[old:n]; len(data) > 0 {
			if p.end >= 0 && d.written+int64(len(data)) > p.end {
				return false, unexpected("the response is longer than its header promises")
			}
			if err := d.write(data); err != nil {
				return false, err
			}
		}
		switch {
		case err == io.EOF && (skip > 0 || d.written < max(p.end, d.total)):
			return d.failed(ctx, io.ErrUnexpectedEOF)
		case err == io.EOF && p.end >= 0 && d.total < 0: // the file may be longer
			return d.failed(ctx, io.ErrUnexpectedEOF)
		case err == io.EOF && d.total < 0 && ctx.Err() != nil: // a canceled read may look like the end
			return d.failed(ctx, ctx.Err())
		case err == io.EOF && d.written == 0:
			return false, unexpected("the file is empty")
		case err == io.EOF:
			return false, nil
		case err != nil:
			return d.failed(ctx, err)
		case ctx.Err() != nil: // the body of a caller's transport may ignore ctx
			return d.failed(ctx, ctx.Err())
		}
	}
}

func (d *download) write(data []byte) error {
	if d.written+int64(len(data)) > maxExport {
		return errExportTooLarge
	}
	n, err := d.dst.Write(data)
	if err == nil && n != len(data) { // also if n is larger: the offset is unknown
		err = io.ErrShortWrite
	}
	if err != nil {
		return exportError(fileText(err), err)
	}
	d.written += int64(n)
	d.maxWritten = max(d.maxWritten, d.written)
	if d.progress != nil {
		d.progress(d.written, d.total)
	}
	return nil
}

// part is the part of a file that a response has: the bytes from start up to end, of
// total bytes. If total is unknown it is -1; so is end if the part is the whole file.
type part struct{ start, end, total int64 }

// partOf reads the header of a 2xx response. ok is false if the header does not tell which
// part of the file the body is, or contradicts itself.
func partOf(rsp *http.Response) (p part, ok bool) {
	length, ranges := rsp.ContentLength, rsp.Header["Content-Range"]
	switch {
	case strings.HasPrefix(mediaType(rsp), "multipart/"): // several parts (RFC 9110, section 14.6)
		return part{}, false
	case len(ranges) == 0:
		return part{0, length, length}, rsp.StatusCode == http.StatusOK
	case len(ranges) > 1:
		return part{}, false
	}
	p, ok = contentRange(ranges[0])
	return p, ok && (length < 0 || length == p.end-p.start)
}

// accept decides by the header of rsp whether its body can be used, and returns which part
// of the file it is. That may start before d.written. If the response to a Range request
// may be another part than the one requested, the download starts over with a request for
// the whole file.
func (d *download) accept(rsp *http.Response) (p part, again bool, err error) {
	status, resumed := rsp.StatusCode, d.written > 0
	switch {
	case status == http.StatusOK, resumed && status == http.StatusPartialContent:
	case resumed && status == http.StatusRequestedRangeNotSatisfiable:
		if rsp.Header.Get("Content-Range") != fmt.Sprintf("bytes */%d", d.written) || d.total >= 0 || !d.isSame(rsp.Header) {
			return d.otherPart()
		}
		d.total = d.written // the file was complete
		rsp.Body = http.NoBody
		return part{d.written, d.written, d.written}, false, nil
	case status/100 == 2:
		return part{}, false, unexpected(fmt.Sprintf("status %d", status))
	default:
		again, err := d.refused(rsp)
		return part{}, again, err
	}
	if err := checkType(rsp); err != nil {
		return part{}, false, err
	}
	p, ok := partOf(rsp)
	isWhole := ok && p.start == 0 && p.end == p.total
	switch {
	case isWhole && !resumed && p.total > maxExport:
		return part{}, false, errExportTooLarge
	case isWhole && resumed && p.total >= 0 && p.total == d.total:
		if d.isSame(rsp.Header) {
			return p, false, nil
		}
		// The file has changed, or the server does not say whether it has.
		if err := d.startOver(); err != nil {
			return part{}, false, err
		}
	case isWhole && !resumed:
	case resumed && ok && d.fits(p, rsp):
		d.total = max(d.total, p.total)
		return p, false, nil
	case resumed:
		return d.otherPart()
	default:
		return part{}, false, unexpected("a part of the file instead of the whole file")
	}
	etag, modified := rsp.Header.Get("Etag"), rsp.Header.Get("Last-Modified")
	if isStrong(etag) && etag == d.etag && d.total >= 0 { // the same bytes, so the same length
		if p.total >= 0 && p.total != d.total {
			return part{}, false, unexpected("the same ETag with a different length")
		}
		p.end, p.total = d.total, d.total
	}
	d.total, d.etag, d.modified = p.total, etag, modified
	return p, false, nil
}

// refused returns the error for a response without a file.
func (d *download) refused(rsp *http.Response) (again bool, err error) {
	status := rsp.StatusCode
	apiErr := newAPIError(exportOperation, rsp, nil)
	apiErr.RequestID = "" // not Gamma's, and it may quote the link
	switch {
	case isPage(rsp): // from a proxy, which does not know the link
	case status == http.StatusForbidden, status == http.StatusGone, status == http.StatusBadRequest && saysExpired(rsp.Body):
		text := strconv.Itoa(status) + " " + apiErr.Message + ": " + retry.Inner(ErrLinkExpired)
		return false, exportError(text, errors.Join(ErrLinkExpired, apiErr))
	}
	// An object store may not find a new file at first.
	return retry.TransientStatus(status) || d.notFound == 1, apiErr
}

// saysExpired reports whether body is an XML error of an object store that says that a
// link has expired. Google Cloud Storage and S3 say it by a code, such as ExpiredToken or
// RequestExpired, Azure by a text.
func saysExpired(body io.Reader) bool {
	start, _ := io.ReadAll(io.LimitReader(body, 4<<10))
	text := strings.ToLower(string(start))
	_, code, _ := strings.Cut(text, "<code>")
	code, _, found := strings.Cut(code, "</code>")
	switch code = strings.TrimSpace(code); {
	case !found:
		return false
	case code == "accessdenied", code == "authenticationfailed":
		return strings.Contains(text, "expired") || strings.Contains(text, "expiry")
	}
	return strings.Contains(code, "expired")
}

func (d *download) otherPart() (p part, again bool, err error) {
	if err := d.startOver(); err != nil {
		return part{}, false, err
	}
	return part{}, true, unexpected("a part of the file other than the one requested")
}

// startOver empties dst, if that is possible.
func (d *download) startOver() error {
	if d.restart == nil {
		return unexpected("the transfer was interrupted, and the server cannot resume it")
	}
	if err := d.restart(); err != nil {
		return exportError(fileText(err), err)
	}
	d.written = 0
	return nil
}

// isSame reports whether h is for the same bytes that the transfer started with. A weak
// ETag is not enough (RFC 9110, section 8.8.1).
func (d *download) isSame(h http.Header) bool {
	etag, modified := h.Get("Etag"), h.Get("Last-Modified")
	return etag == d.etag && (modified == d.modified || modified == "") && (modified != "" || isStrong(etag))
}

// fits reports whether the part p in rsp continues what was written. A 206 in response
// to If-Range need not repeat Last-Modified (RFC 9110, section 15.3.7). If the server
// sends neither an ETag nor Last-Modified, the length of the file decides.
func (d *download) fits(p part, rsp *http.Response) bool {
	etag, modified := rsp.Header.Get("Etag"), rsp.Header.Get("Last-Modified")
	isOptional := modified == "" && rsp.StatusCode == http.StatusPartialContent
	switch {
	case p.start != d.written,
		d.total >= 0 && (p.end > d.total || p.total >= 0 && p.total != d.total),
		etag != d.etag,
		modified != d.modified && !isOptional:
		return false
	case isStrong(d.etag), d.modified != "":
		return true
	}
	return d.etag == "" && d.total >= 0 && p.total == d.total
}

func isStrong(etag string) bool { return etag != "" && !strings.HasPrefix(etag, "W/") }

// checkType returns an error if the body is compressed or has the type of an error page or
// message.
func checkType(rsp *http.Response) error {
	isCompressed := rsp.Uncompressed
	for _, coding := range strings.Split(strings.Join(rsp.Header["Content-Encoding"], ","), ",") {
		switch strings.ToLower(strings.TrimSpace(coding)) {
		case "", "identity", "none", "binary", "utf-8", "utf8", "aws-chunked": // object stores repeat what the upload had
		default:
			isCompressed = true
		}
	}
	kind := mediaType(rsp)
	_, suffix, _ := strings.Cut(kind, "/")
	suffix = suffix[strings.LastIndexByte(suffix, '+')+1:]
	switch {
	case isCompressed:
		return unexpected("a compressed file")
	case isPage(rsp):
		return unexpected("an HTML page instead of a file")
	case suffix == "json", suffix == "xml":
		return unexpected("a JSON or XML message instead of a file")
	}
	return nil
}

func isPage(rsp *http.Response) bool {
	kind := mediaType(rsp)
	return kind == "text/html" || kind == "application/xhtml+xml"
}

func mediaType(rsp *http.Response) string {
	kind, _, _ := strings.Cut(rsp.Header.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(kind))
}

var errExportTooLarge = exportError(fmt.Sprintf("the file is larger than %d bytes", maxExport), ErrResponseTooLarge)

func unexpected(why string) error { return exportError(why, ErrUnexpectedResponse) }

// exportError returns an error that wraps err, which may be nil, with a text that names
// the operation. Inlined, it would add 3 KiB to a program.
//
//go:noinline
func exportError(text string, err error) error {
	return &exchangeError{text: "gamma: " + exportOperation + ": " + text, err: err}
}

// failed returns the error for err, which came instead of a response or cut one off.
// Neither its text nor what it wraps has the URL.
func (d *download) failed(ctx context.Context, err error) (again bool, _ error) {
	links := []string{d.url.RequestURI()}
	var urlErr *url.Error
	for errors.As(err, &urlErr) { // the transport may use an http.Client too
		err = urlErr.Err
		if u, e := url.Parse(urlErr.URL); e == nil {
			links = append(links, u.RequestURI()) // the target of a redirect
		}
	}
	if strings.HasPrefix(err.Error(), "failed to parse Location header") { // the text quotes it
		err = &redirectError{errors.New("to an invalid URL")}
	}
	var redirect *redirectError
	if errors.As(err, &redirect) {
		return false, exportError(redirect.Error(), redirect)
	}
	if errors.Is(context.Cause(ctx), errStalled) {
		err = errStalled
	}
	err = refusedConnect(d.doer.transport, &http.Request{URL: d.url}, err)
	// A host that was reached before will probably resolve again. A certificate that does
	// not verify is permanent.
	var dnsErr *net.DNSError
	again = !retry.Permanent(err) || d.reached && errors.As(err, &dnsErr)
	for _, link := range links {
		if len(link) > len("/") && strings.Contains(err.Error(), link) {
			return again, exportError("the request failed", nil)
		}
	}
	text := describe(err)
	return again, exportError(text, withoutQuote(err, text))
}

// contentRange reads "bytes 100-199/1000" (RFC 9110, section 14.4). The total is -1 if it
// is "*".
func contentRange(s string) (p part, ok bool) {
	// fmt.Sscanf would add 56 KiB to a program.
	unit, s, _ := strings.Cut(s, " ")
	s, size, _ := strings.Cut(s, "/")
	first, last, _ := strings.Cut(s, "-")
	start, err1 := strconv.ParseUint(first, 10, 62)
	end, err2 := strconv.ParseUint(last, 10, 62)
	total, err3 := strconv.ParseUint(size, 10, 62)
	p = part{int64(start), int64(end) + 1, int64(total)}
	if size == "*" {
		p.total, err3 = -1, nil
	}
	ok = strings.EqualFold(unit, "bytes") && err1 == nil && err2 == nil && err3 == nil && start <= end && (size == "*" || p.end <= p.total)
	return p, ok
}
