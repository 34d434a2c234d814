package gamma_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/internal/retry"
)

const link = "https://files.example.com/deck.pdf?signature=s3cr3t"

var file = bytes.Repeat([]byte("0123456789abcdef"), 8<<10) // 128 KiB

// newClientWith returns a client of the SDK that uses client.
func newClientWith(t testing.TB, client *http.Client) *gamma.Client {
	t.Helper()
	c, err := gamma.NewClient(key, gamma.WithHTTPClient(client))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// checkExportError checks the text of an error of a download, and that no error that it wraps
// has the secret part of the link.
func checkExportError(t *testing.T, err error) {
	t.Helper()
	checkText(t, err)
	if !strings.HasPrefix(err.Error(), "gamma: GET export: ") {
		t.Errorf("error text %q", err)
	}
	var check func(error)
	check = func(err error) {
		for _, secret := range []string{"s3cr3t", "signature=", "?"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%T in the error has %q: %v", err, secret, err)
			}
		}
		switch err := err.(type) {
		case interface{ Unwrap() error }:
			if inner := err.Unwrap(); inner != nil {
				check(inner)
			}
		case interface{ Unwrap() []error }:
			for _, inner := range err.Unwrap() {
				check(inner)
			}
		}
	}
	check(err)
}

// broken is a body that ends with err.
type broken struct {
	io.Reader
	err error
}

func (b *broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = b.err
	}
	return n, err
}

func (*broken) Close() error { return nil }

// part returns a transport that responds with file[from:], cut off at to.
func part(status, from, to int, headers ...string) roundTripper {
	return func(req *http.Request) (*http.Response, error) {
		rsp := reply(status, "application/pdf", "", headers...)
		rsp.Request = req
		if status == http.StatusPartialContent && rsp.Header.Get("Content-Range") == "" {
			rsp.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(file)-1, len(file)))
		}
		rsp.ContentLength = int64(len(file) - from)
		end := io.EOF
		if to < len(file) {
			end = io.ErrUnexpectedEOF
		}
		rsp.Body = &broken{bytes.NewReader(file[from:to]), end}
		return rsp, nil
	}
}

// wants returns a transport that checks a header of the request and calls next. An empty
// value means no header.
func wants(t *testing.T, name, value string, next roundTripper) roundTripper {
	return func(req *http.Request) (*http.Response, error) {
		if got := req.Header.Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
		return next(req)
	}
}

func TestDownload(t *testing.T) {
	const (
		etag     = "ETag"
		modified = "Last-Modified"
		date     = "Mon, 02 Nov 2026 10:00:00 GMT"
		size     = 128 << 10
	)
	noHost := error(&net.DNSError{Err: "no such host", Name: "files.example.com", IsNotFound: true})
	status := func(code int, headers ...string) roundTripper {
		return responds(func() *http.Response { return reply(code, "application/xml", "<Error>"+link+"</Error>", headers...) })
	}
	fails := func(err error) roundTripper {
		return func(*http.Request) (*http.Response, error) { return nil, err }
	}
	says := func(code int, text string) roundTripper {
		return responds(func() *http.Response { return reply(code, "application/xml", text) })
	}
	page := func(code int) roundTripper {
		return responds(func() *http.Response { return reply(code, "text/HTML; charset=utf-8", "<html>s3cr3t</html>") })
	}
	body := func(contentType, text string, headers ...string) roundTripper {
		return responds(func() *http.Response { return reply(200, contentType, text, headers...) })
	}
	stalls := func(req *http.Request) (*http.Response, error) {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	times := func(n int, step roundTripper) []roundTripper { return slices.Repeat([]roundTripper{step}, n) }
	whole := part(200, 0, size)
	chunked := func(to int, headers ...string) roundTripper { // without a length, cut off at to
		return func(req *http.Request) (*http.Response, error) {
			rsp, err := part(200, 0, to, headers...)(req)
			rsp.Body, rsp.ContentLength = &broken{bytes.NewReader(file[:to]), io.ErrUnexpectedEOF}, -1
			return rsp, err
		}
	}
	tests := []struct {
		name      string
		responses []roundTripper
		err       error // of Download
		file      error // of DownloadFile, if that differs; errNone for success
		atLeast   time.Duration
		atMost    time.Duration
	}{
		{name: "200", responses: []roundTripper{wants(t, "Range", "", wants(t, "X-Api-Key", "", wants(t, "Accept-Encoding", "identity", whole)))}},
		{name: "206 twice, strong ETag", responses: []roundTripper{
			part(200, 0, 1000, etag, `"a"`),
			wants(t, "Range", "bytes=1000-", wants(t, "If-Range", `"a"`, part(206, 1000, 5000, etag, `"a"`))),
			wants(t, "Range", "bytes=5000-", part(206, 5000, size, etag, `"a"`)),
		}, atLeast: 200 * time.Millisecond, atMost: 300 * time.Millisecond},
		{name: "206, weak ETag, Last-Modified", responses: []roundTripper{
			part(200, 0, 1000, etag, `W/"a"`, modified, date),
			wants(t, "If-Range", date, part(206, 1000, size, etag, `W/"a"`, modified, date)),
		}, atLeast: 100 * time.Millisecond, atMost: 150 * time.Millisecond},
		{name: "206, no ETag, no Last-Modified, same length", responses: []roundTripper{
			part(200, 0, 1000), wants(t, "Range", "bytes=1000-", wants(t, "If-Range", "", part(206, 1000, size))),
		}, atLeast: 100 * time.Millisecond, atMost: 150 * time.Millisecond},
		{name: "206, strong ETag, Last-Modified only in the 200", responses: []roundTripper{
			part(200, 0, 1000, etag, `"a"`, modified, date), part(206, 1000, size, etag, `"a"`),
		}, atLeast: 100 * time.Millisecond, atMost: 150 * time.Millisecond},
		{name: "206, strong ETag, another Last-Modified", responses: []roundTripper{
			part(200, 0, 1000, etag, `"a"`, modified, date), part(206, 1000, size, etag, `"a"`, modified, "Tue, 03 Nov 2026 10:00:00 GMT"), whole,
		}, err: gamma.ErrUnexpectedResponse, file: errNone, atLeast: 100 * time.Millisecond, atMost: 2 * time.Second},
		{name: "206, no ETag, no Last-Modified, length unknown", responses: []roundTripper{chunked(1000), part(206, 1000, size), whole}, err: gamma.ErrUnexpectedResponse, file: errNone, atLeast: 100 * time.Millisecond, atMost: 2 * time.Second},
		{name: "206, weak ETag, no Last-Modified", responses: []roundTripper{
			part(200, 0, 1000, etag, `W/"a"`), part(206, 1000, size, etag, `W/"a"`), whole,
		}, err: gamma.ErrUnexpectedResponse, file: errNone, atLeast: 100 * time.Millisecond, atMost: 2 * time.Second},
		{name: "416, the file was complete", responses: []roundTripper{
			chunked(size, etag, `"a"`), wants(t, "Range", "bytes=131072-", status(416, "Content-Range", "bytes */131072", etag, `"a"`)),
		}, atLeast: 100 * time.Millisecond, atMost: 150 * time.Millisecond},
		{name: "416, the file is shorter than before", responses: []roundTripper{part(200, 0, 1000, etag, `"a"`), status(416, "Content-Range", "bytes */1000", etag, `"a"`), whole}, err: gamma.ErrUnexpectedResponse, file: errNone, atLeast: 100 * time.Millisecond, atMost: 2 * time.Second},
		{name: "416, another ETag", responses: []roundTripper{
			chunked(size, etag, `"a"`), status(416, "Content-Range", "bytes */131072", etag, `"b"`), whole,
		}, err: gamma.ErrUnexpectedResponse, file: errNone, atLeast: 100 * time.Millisecond, atMost: 2 * time.Second},
		{name: "200 twice, weak ETag", responses: []roundTripper{part(200, 0, 1000, etag, `W/"a"`), part(200, 0, size, etag, `W/"a"`)}, err: gamma.ErrUnexpectedResponse, file: errNone, atLeast: 100 * time.Millisecond, atMost: 150 * time.Millisecond},
		{name: "Content-Encoding Identity", responses: []roundTripper{part(200, 0, size, "Content-Encoding", "Identity")}},
		{name: "Content-Encoding UTF-8", responses: []roundTripper{part(200, 0, size, "Content-Encoding", "UTF-8")}},
		{name: "Content-Encoding utf8", responses: []roundTripper{part(200, 0, size, "Content-Encoding", "utf8")}},
		{name: "Content-Encoding binary", responses: []roundTripper{part(200, 0, size, "Content-Encoding", "binary")}},
		{name: "Content-Encoding None", responses: []roundTripper{part(200, 0, size, "Content-Encoding", "None")}},
		{name: "Content-Encoding empty", responses: []roundTripper{part(200, 0, size, "Content-Encoding", "")}},
		{name: "Content-Encoding aws-chunked, identity", responses: []roundTripper{part(200, 0, size, "Content-Encoding", "aws-chunked, identity")}},
		{name: "Content-Encoding aws-chunked, gzip", responses: []roundTripper{part(200, 0, size, "Content-Encoding", "aws-chunked,GZIP")}, err: gamma.ErrUnexpectedResponse},
		{name: "Content-Encoding deflate", responses: []roundTripper{part(200, 0, size, "Content-Encoding", "deflate")}, err: gamma.ErrUnexpectedResponse},
		{name: "Content-Encoding br", responses: []roundTripper{part(200, 0, size, "Content-Encoding", "br")}, err: gamma.ErrUnexpectedResponse},
		{name: "Content-Encoding zstd", responses: []roundTripper{part(200, 0, size, "Content-Encoding", "zstd")}, err: gamma.ErrUnexpectedResponse},
		{name: "Content-Encoding x-gzip", responses: []roundTripper{part(200, 0, size, "Content-Encoding", "x-gzip")}, err: gamma.ErrUnexpectedResponse},
		{name: "Content-Encoding dcb", responses: []roundTripper{part(200, 0, size, "Content-Encoding", "dcb")}, err: gamma.ErrUnexpectedResponse},
		{name: "200 twice, same strong ETag", responses: []roundTripper{part(200, 0, 40_000, etag, `"a"`), part(200, 0, size, etag, `"a"`)}, atLeast: 100 * time.Millisecond, atMost: 150 * time.Millisecond},
		{name: "200 twice, no ETag, no Last-Modified", responses: []roundTripper{part(200, 0, 1000), whole}, err: gamma.ErrUnexpectedResponse, file: errNone, atLeast: 100 * time.Millisecond, atMost: 150 * time.Millisecond},
		{name: "200 twice, another ETag", responses: []roundTripper{part(200, 0, 1000, etag, `"b"`), part(200, 0, size, etag, `"a"`)}, err: gamma.ErrUnexpectedResponse, file: errNone, atLeast: 100 * time.Millisecond, atMost: 150 * time.Millisecond},
		{name: "206, another ETag", responses: []roundTripper{part(200, 0, 1000, etag, `"b"`), part(206, 1000, size, etag, `"a"`), wants(t, "Range", "", whole)}, err: gamma.ErrUnexpectedResponse, file: errNone, atLeast: 100 * time.Millisecond, atMost: 2 * time.Second},
		{name: "206, another start", responses: []roundTripper{part(200, 0, 1000), part(206, 2000, size), whole}, err: gamma.ErrUnexpectedResponse, file: errNone, atLeast: 100 * time.Millisecond, atMost: 2 * time.Second},
		{name: "206, another length", responses: []roundTripper{part(200, 0, 1000), part(206, 1000, size, "Content-Range", "bytes 1000-1999/2000"), whole}, err: gamma.ErrUnexpectedResponse, file: errNone, atLeast: 100 * time.Millisecond, atMost: 2 * time.Second},
		{name: "206, invalid Content-Range", responses: []roundTripper{part(200, 0, 1000), part(206, 1000, size, "Content-Range", "bytes */2000"), whole}, err: gamma.ErrUnexpectedResponse, file: errNone, atLeast: 100 * time.Millisecond, atMost: 2 * time.Second},
		{name: "416, no Content-Range", responses: []roundTripper{part(200, 0, 1000), status(416), whole}, err: gamma.ErrUnexpectedResponse, file: errNone, atLeast: 100 * time.Millisecond, atMost: 2 * time.Second},
		{name: "200 with the requested range", responses: []roundTripper{part(200, 0, 40960, etag, `"a"`), part(200, 40960, size, etag, `"a"`, "Content-Range", "bytes 40960-131071/131072")}, atLeast: 100 * time.Millisecond, atMost: 150 * time.Millisecond},
		{name: "200 with another range", responses: []roundTripper{part(200, 0, 40960, etag, `"a"`), part(200, 50000, size, etag, `"a"`, "Content-Range", "bytes 50000-131071/131072"), wants(t, "Range", "", whole)}, err: gamma.ErrUnexpectedResponse, file: errNone, atLeast: 100 * time.Millisecond, atMost: 2 * time.Second},
		{name: "200 with the requested range, no Content-Range", responses: []roundTripper{part(200, 0, 40960), part(200, 40960, size), wants(t, "Range", "", whole)}, err: gamma.ErrUnexpectedResponse, file: errNone, atLeast: 100 * time.Millisecond, atMost: 2 * time.Second},
		{name: "200 three times, same strong ETag, another length", responses: []roundTripper{part(200, 0, 40960, etag, `"a"`), part(200, 40960, size, etag, `"a"`), part(200, 40960, size, etag, `"a"`)}, err: gamma.ErrUnexpectedResponse, atLeast: 100 * time.Millisecond, atMost: 2 * time.Second},
		{name: "206, multipart/byteranges", responses: []roundTripper{part(200, 0, 40960, etag, `"a"`), part(206, 40960, size, etag, `"a"`, "Content-Type", "multipart/byteranges; boundary=x"), whole}, err: gamma.ErrUnexpectedResponse, file: errNone, atLeast: 100 * time.Millisecond, atMost: 2 * time.Second},
		{name: "206, Content-Range shorter than the body", responses: []roundTripper{part(200, 0, 40960, etag, `"a"`), part(206, 40960, size, etag, `"a"`, "Content-Range", "bytes 40960-131070/131072"), whole}, err: gamma.ErrUnexpectedResponse, file: errNone, atLeast: 100 * time.Millisecond, atMost: 2 * time.Second},
		{name: "206 twice, total length unknown in the first", responses: []roundTripper{
			chunked(1000, etag, `"a"`),
			responds(func() *http.Response {
				return reply(206, "", string(file[1000:5000]), etag, `"a"`, "Content-Range", "bytes 1000-4999/*")
			}),
			wants(t, "Range", "bytes=5000-", part(206, 5000, size, etag, `"a"`)),
		}, atLeast: 200 * time.Millisecond, atMost: 300 * time.Millisecond},
		{name: "first response 200, Content-Range of a part", responses: []roundTripper{func(*http.Request) (*http.Response, error) {
			return reply(200, "", string(file[:32768]), "Content-Range", "bytes 0-32767/131072"), nil
		}}, err: gamma.ErrUnexpectedResponse},
		{name: "first response 200, Content-Range of the whole file", responses: []roundTripper{part(200, 0, size, "Content-Range", "bytes 0-131071/131072")}},
		{name: "first response 200, Content-Range of another length", responses: []roundTripper{part(200, 0, size, "Content-Range", "bytes 0-131071/131073")}, err: gamma.ErrUnexpectedResponse},
		{name: "first response 200, multipart/byteranges", responses: []roundTripper{part(200, 0, size, "Content-Type", "multipart/byteranges; boundary=x")}, err: gamma.ErrUnexpectedResponse},

		{name: "206 shorter than requested", responses: []roundTripper{part(200, 0, 1000, etag, `"a"`), responds(func() *http.Response {
			return reply(206, "", string(file[1000:1003]), "Content-Range", "bytes 1000-1002/131072", etag, `"a"`)
		}), part(206, 1003, size, etag, `"a"`)}, atLeast: 200 * time.Millisecond, atMost: 300 * time.Millisecond},

		{name: "403", responses: []roundTripper{status(403)}, err: gamma.ErrLinkExpired},
		{name: "410", responses: []roundTripper{status(410)}, err: gamma.ErrLinkExpired},
		{name: "403 to a Range request", responses: []roundTripper{part(200, 0, 1000), status(403)}, err: gamma.ErrLinkExpired, atLeast: 100 * time.Millisecond, atMost: 150 * time.Millisecond},
		{name: "403, HTML", responses: []roundTripper{page(403)}, err: notExpiredError(403)},
		{name: "410, HTML", responses: []roundTripper{page(410)}, err: notExpiredError(410)},
		{name: "400", responses: []roundTripper{status(400)}, err: notExpiredError(400)},
		{name: "400 ExpiredToken", responses: []roundTripper{says(400, "<?xml version='1.0'?>\n<Error>\n<Code>\tExpiredToken\n</Code><Message>s3cr3t</Message></Error>")}, err: gamma.ErrLinkExpired},
		{name: "400 ExpiredRequest", responses: []roundTripper{says(400, "<Error><Code>ExpiredRequest</Code></Error>")}, err: gamma.ErrLinkExpired},
		{name: "400 RequestExpired", responses: []roundTripper{says(400, "<Error><Code>RequestExpired</Code></Error>")}, err: gamma.ErrLinkExpired},
		{name: "400 AccessDenied, expired", responses: []roundTripper{says(400, "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>")}, err: gamma.ErrLinkExpired},
		{name: "400 AccessDenied", responses: []roundTripper{says(400, "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")}, err: notExpiredError(400)},
		{name: "400 AuthenticationFailed, expired", responses: []roundTripper{says(400, "<Error><Code>AuthenticationFailed</Code><AuthenticationErrorDetail>Signature not valid in the specified time frame: Start [x] - Expiry [y]</AuthenticationErrorDetail></Error>")}, err: gamma.ErrLinkExpired},
		{name: "400 InvalidArgument", responses: []roundTripper{says(400, "<Error><Code>InvalidArgument</Code><Message>expired</Message></Error>")}, err: notExpiredError(400)},
		{name: "400, truncated XML", responses: []roundTripper{says(400, "<Error><Code>ExpiredToken")}, err: notExpiredError(400)},
		{name: "400, HTML", responses: []roundTripper{responds(func() *http.Response { return reply(400, "text/html", "<code>expired</code>") })}, err: notExpiredError(400)},
		{name: "400 ExpiredToken after 5000 bytes", responses: []roundTripper{says(400, strings.Repeat(" ", 5000)+"<Code>ExpiredToken</Code>")}, err: notExpiredError(400)},
		{name: "404 twice", responses: times(2, status(404)), err: gamma.ErrNotFound, atLeast: 100 * time.Millisecond, atMost: 150 * time.Millisecond},
		{name: "404 once", responses: []roundTripper{status(404), whole}, atLeast: 100 * time.Millisecond, atMost: 150 * time.Millisecond},
		{name: "404 twice, not in a row", responses: []roundTripper{status(404), status(503), status(404), whole}, atLeast: 3 * time.Second, atMost: 4 * time.Second},
		{name: "404 twice with a refused connection between", responses: []roundTripper{status(404), fails(errRefused), status(404)}, err: gamma.ErrNotFound, atLeast: time.Second, atMost: 2 * time.Second},
		{name: "501", responses: []roundTripper{status(501)}, err: statusError(501)},
		{name: "304", responses: []roundTripper{status(304)}, err: statusError(304)},
		{name: "101", responses: []roundTripper{status(101)}, err: statusError(101)},
		{name: "204", responses: []roundTripper{status(204)}, err: gamma.ErrUnexpectedResponse},
		{name: "first response 206", responses: []roundTripper{part(206, 0, size)}, err: gamma.ErrUnexpectedResponse},
		{name: "429 once", responses: []roundTripper{status(429, "Retry-After", "20"), whole}, atLeast: 20 * time.Second, atMost: 24 * time.Second},
		{name: "503 once", responses: []roundTripper{status(503), whole}, atLeast: 100 * time.Millisecond, atMost: 150 * time.Millisecond},
		{name: "503 always", responses: times(8, status(503)), err: statusError(503), atLeast: 63 * time.Second, atMost: 76 * time.Second},
		{name: "503 for a minute", responses: append(times(7, status(503)), whole), atLeast: 63 * time.Second, atMost: 76 * time.Second},
		{name: "connection refused for a minute, then 206", responses: slices.Concat([]roundTripper{part(200, 0, 1000, etag, `"a"`)}, times(6, fails(errRefused)), []roundTripper{part(206, 1000, size, etag, `"a"`)}), atLeast: 63 * time.Second, atMost: 76 * time.Second},
		{name: "unknown host", responses: []roundTripper{fails(noHost)}, err: noHost},
		{name: "unknown host once after a 200", responses: []roundTripper{part(200, 0, 1000, etag, `"a"`), fails(noHost), part(206, 1000, size, etag, `"a"`)}, atLeast: time.Second, atMost: 2 * time.Second},
		{name: "unknown host once after a 503", responses: []roundTripper{status(503), fails(noHost), whole}, atLeast: time.Second, atMost: 2 * time.Second},
		{name: "unknown host after a refused connection", responses: []roundTripper{fails(errRefused), fails(noHost)}, err: noHost, atLeast: 100 * time.Millisecond, atMost: 150 * time.Millisecond},
		{name: "invalid certificate after a 200", responses: []roundTripper{part(200, 0, 1000, etag, `"a"`), fails(x509.HostnameError{Certificate: &x509.Certificate{}, Host: "x"})}, err: x509.HostnameError{Certificate: &x509.Certificate{}, Host: "x"}, atLeast: 100 * time.Millisecond, atMost: 150 * time.Millisecond},
		{name: "Retry-After past the deadline", responses: []roundTripper{status(503, "Retry-After", "7200")}, err: statusError(503)},
		{name: "connection refused once", responses: []roundTripper{fails(errRefused), whole}, atLeast: 100 * time.Millisecond, atMost: 150 * time.Millisecond},
		{name: "invalid certificate", responses: []roundTripper{fails(x509.HostnameError{Certificate: &x509.Certificate{}, Host: "x"})}, err: x509.HostnameError{Certificate: &x509.Certificate{}, Host: "x"}, file: nil},
		{name: "stalled once", responses: []roundTripper{stalls, whole}, atLeast: 30 * time.Second, atMost: 31 * time.Second},
		{name: "stalled always", responses: times(8, stalls), err: errSome, atLeast: 303 * time.Second, atMost: 316 * time.Second},
		{name: "cut off always", responses: times(8, part(200, 0, 0)), err: io.ErrUnexpectedEOF, atLeast: 63 * time.Second, atMost: 76 * time.Second},

		{name: "empty", responses: []roundTripper{body("application/pdf", "")}, err: gamma.ErrUnexpectedResponse},
		{name: "HTML", responses: []roundTripper{body("text/HTML; charset=utf-8", "<html>sign in</html>")}, err: gamma.ErrUnexpectedResponse},
		{name: "XHTML", responses: []roundTripper{body("application/xhtml+xml", "<html/>")}, err: gamma.ErrUnexpectedResponse},
		{name: "JSON", responses: []roundTripper{body("Application/JSON; charset=utf-8", `{"message":"s3cr3t"}`)}, err: gamma.ErrUnexpectedResponse},
		{name: "problem+json", responses: []roundTripper{body("application/problem+json", `{}`)}, err: gamma.ErrUnexpectedResponse},
		{name: "application/xml", responses: []roundTripper{body("application/xml", "<Error/>")}, err: gamma.ErrUnexpectedResponse},
		{name: "text/xml", responses: []roundTripper{body("text/xml", "<Error/>")}, err: gamma.ErrUnexpectedResponse},
		{name: "atom+xml", responses: []roundTripper{body("application/atom+xml", "<Error/>")}, err: gamma.ErrUnexpectedResponse},
		{name: "JSON to a Range request", responses: []roundTripper{part(200, 0, 1000), body("application/json", `{}`)}, err: gamma.ErrUnexpectedResponse, atLeast: 100 * time.Millisecond, atMost: 150 * time.Millisecond},
		{name: "no Content-Type", responses: []roundTripper{part(200, 0, size, "Content-Type", "")}},
		{name: "application/octet-stream", responses: []roundTripper{part(200, 0, size, "Content-Type", "application/octet-stream")}},
		{name: "application/zip", responses: []roundTripper{part(200, 0, size, "Content-Type", "application/zip")}},
		{name: "PPTX", responses: []roundTripper{part(200, 0, size, "Content-Type", "application/vnd.openxmlformats-officedocument.presentationml.presentation")}},
		{name: "Content-Encoding gzip", responses: []roundTripper{body("application/pdf", "x", "Content-Encoding", "gzip")}, err: gamma.ErrUnexpectedResponse},
		{name: "Content-Length above 1 GiB", responses: []roundTripper{func(*http.Request) (*http.Response, error) {
			rsp := reply(200, "application/pdf", "x")
			rsp.ContentLength = 1<<30 + 1
			return rsp, nil
		}}, err: gamma.ErrResponseTooLarge},
		{name: "longer than Content-Length", responses: []roundTripper{func(*http.Request) (*http.Response, error) {
			rsp := reply(200, "application/pdf", "xyz")
			rsp.ContentLength = 2
			return rsp, nil
		}}, err: gamma.ErrUnexpectedResponse},
	}
	for _, tt := range tests {
		for _, method := range []string{"Download", "DownloadFile"} {
			t.Run(tt.name+"/"+method, func(t *testing.T) {
				dir := t.TempDir()
				target := filepath.Join(dir, "deck.pdf")
				if err := os.WriteFile(target, []byte("old"), 0o600); err != nil {
					t.Fatal(err)
				}
				synctest.Test(t, func(t *testing.T) {
					responses, wantErr := slices.Clone(tt.responses), tt.err
					client := &http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
						if len(responses) == 0 {
							t.Error("too many requests")
							return nil, errors.New("no more responses")
						}
						next := responses[0]
						responses = responses[1:]
						rsp, err := next(req)
						if rsp != nil {
							rsp.Request = req
						}
						return rsp, err
					})}
					start := time.Now()
					var got []byte
					var err error
					if method == "Download" {
						var b bytes.Buffer
						err = newClientWith(t, client).Download(t.Context(), link, &b)
						got = b.Bytes()
					} else {
						if tt.file != nil {
							wantErr = tt.file
						}
						err = newClientWith(t, client).DownloadFile(t.Context(), link, target)
						entries, e := os.ReadDir(dir)
						if e != nil || len(entries) != 1 {
							t.Errorf("the directory has %v, %v", entries, e)
						}
						got, _ = os.ReadFile(target)
					}
					spent := time.Since(start)
					if spent < tt.atLeast || spent > tt.atMost {
						t.Errorf("took %v, not %v to %v", spent, tt.atLeast, tt.atMost)
					}
					switch {
					case wantErr == nil || wantErr == errNone:
						if err != nil || !bytes.Equal(got, file) {
							t.Errorf("%d bytes, %v", len(got), err)
						}
					case err == nil:
						t.Fatal("no error")
					default:
						if !matches(err, wantErr) {
							t.Errorf("error %v", err)
						}
						checkExportError(t, err)
						if method == "DownloadFile" && string(got) != "old" {
							t.Errorf("the existing file has changed to %d bytes", len(got))
						}
					}
					if err == nil && len(responses) != 0 {
						t.Errorf("%d responses were not requested", len(responses))
					}
				})
			})
		}
	}
}

// A download that succeeds has written one version of the file completely, also if the header
// of a response contradicts the request, an earlier response or itself.
func TestDownloadIsCompleteOrFails(t *testing.T) {
	const (
		first, second = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz9876543210"
		cut           = 15 // the length of the first response
		date          = "Mon, 02 Nov 2026 10:00:00 GMT"
		later         = "Tue, 03 Nov 2026 10:00:00 GMT"
	)
	respond := func(status int, contents string, length int64, headers ...string) *http.Response {
		rsp := reply(status, "application/pdf", contents)
		for i := 0; i < len(headers); i += 2 {
			if headers[i+1] != "" {
				rsp.Header.Set(headers[i], headers[i+1])
			}
		}
		switch rsp.ContentLength = length; { // as net/http does
		case length > int64(len(contents)):
			rsp.Body = &broken{strings.NewReader(contents), io.ErrUnexpectedEOF}
		case length >= 0:
			rsp.Body = io.NopCloser(strings.NewReader(contents[:length]))
		}
		return rsp
	}
	type version struct{ etag, modified string }
	dir := t.TempDir()
	check := func(t *testing.T, before version, known bool, status int, ranges string, length int64, after version) {
		t.Helper()
		now := first // the contents of the file at the time of the second request
		if after.etag == `"b"` || after.modified == later {
			now = second
		}
		body := now[cut:]
		switch {
		case ranges == "bytes 20-35/36":
			body = now[20:]
		case ranges == "bytes 0-35/36", ranges == "" && length == 36:
			body = now
		case ranges == "bytes 15-29/36", ranges == "bytes 15-29/*":
			body = now[15:30]
		}
		methods := []string{"Download", "DownloadFile"}
		if before.etag != "" && !known { // DownloadFile is slow
			methods = methods[:1]
		}
		for _, method := range methods {
			n := 0
			client := newClientWith(t, &http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
				n++
				var from int
				_, _ = fmt.Sscanf(req.Header.Get("Range"), "bytes=%d-", &from)
				switch {
				case n == 1 && known:
					return respond(200, first[:cut], int64(len(first)), "Etag", before.etag, "Last-Modified", before.modified), nil
				case n == 1:
					rsp := respond(200, first[:cut], -1, "Etag", before.etag, "Last-Modified", before.modified)
					rsp.Body = &broken{rsp.Body, io.ErrUnexpectedEOF}
					return rsp, nil
				case n == 2:
					return respond(status, body, length, "Content-Range", ranges, "Etag", after.etag, "Last-Modified", after.modified), nil
				case from >= len(now):
					return respond(416, "", 0, "Content-Range", fmt.Sprintf("bytes */%d", len(now)), "Etag", after.etag, "Last-Modified", after.modified), nil
				case from > 0:
					return respond(206, now[from:], int64(len(now)-from), "Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(now)-1, len(now)), "Etag", after.etag, "Last-Modified", after.modified), nil
				}
				return respond(200, now, int64(len(now)), "Etag", after.etag, "Last-Modified", after.modified), nil
			})})
			var got []byte
			var err error
			if method == "Download" {
				var b bytes.Buffer
				err = client.Download(t.Context(), link, &b)
				got = b.Bytes()
			} else {
				path := filepath.Join(dir, "deck.pdf")
				err = client.DownloadFile(t.Context(), link, path)
				got, _ = os.ReadFile(path)
			}
			if err == nil && string(got) != first && string(got) != second || err != nil && !errors.Is(err, gamma.ErrUnexpectedResponse) {
				t.Errorf("%s: %+v of known length %t, then %d, range %q, length %d, %+v: %q, %v", method, before, known, status, ranges, length, after, got, err)
			}
		}
	}
	for _, status := range []int{200, 206, 416} {
		for _, ranges := range []string{"", "bytes 15-35/36", "bytes 20-35/36", "bytes 0-35/36", "bytes 15-29/36", "bytes 15-29/*", "bytes 15-35/30", "bytes 15-35/40", "bytes */36", "pages 15-35/36", "x"} {
			t.Run(fmt.Sprint(status, " ", ranges), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					for _, length := range []int64{-1, 21, 36} {
						for _, before := range []version{{}, {`"a"`, ""}, {`W/"a"`, ""}, {"", date}} {
							for _, after := range []version{before, {`"b"`, ""}, {before.etag, later}} {
								check(t, before, true, status, ranges, length, after)
								check(t, before, false, status, ranges, length, after)
							}
						}
					}
				})
			})
		}
	}
}

var (
	errNone = errors.New("none")
	errSome = errors.New("any")
)

type statusError int

func (s statusError) Error() string { return strconv.Itoa(int(s)) }

// notExpiredError is a status that does not match ErrLinkExpired.
type notExpiredError int

func (s notExpiredError) Error() string { return strconv.Itoa(int(s)) }

func matches(err, want error) bool {
	var code statusError
	var notExpired notExpiredError
	var apiErr *gamma.APIError
	var host x509.HostnameError
	switch {
	case want == errSome:
		return true
	case errors.As(want, &code):
		return errors.As(err, &apiErr) && apiErr.StatusCode == int(code)
	case errors.As(want, &notExpired):
		return !errors.Is(err, gamma.ErrLinkExpired) && matches(err, statusError(notExpired)) && (notExpired != 403 || errors.Is(err, gamma.ErrForbidden))
	case errors.As(want, &host):
		return errors.As(err, &host)
	}
	return errors.Is(err, want)
}

func TestDownloadContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("shut down")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(10*time.Second, func() { cancel(why) })
		client := &http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		})}
		start := time.Now()
		err := newClientWith(t, client).Download(ctx, link, io.Discard)
		if !errors.Is(err, context.Canceled) || !errors.Is(err, why) || time.Since(start) != 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		checkExportError(t, err)

		// A connection that ends with the context does not complete the file.
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		hasty := &http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			r, w := io.Pipe()
			go func() { _, _ = io.WriteString(w, "%PDF") }()
			context.AfterFunc(req.Context(), func() { _ = w.Close() })
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: r, ContentLength: -1, Request: req}, nil
		})}
		if err := newClientWith(t, hasty).Download(ctx, link, io.Discard); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a body that ends with the context: %v", err)
		}

		// Without a deadline, the limit is an hour.
		drip := &http.Client{Transport: responds(func() *http.Response {
			rsp := reply(200, "application/pdf", "")
			rsp.Body, rsp.ContentLength = io.NopCloser(dripping{}), -1
			return rsp
		})}
		start = time.Now()
		err = newClientWith(t, drip).Download(t.Context(), link, io.Discard)
		if spent := time.Since(start); err == nil || spent < 59*time.Minute || spent > 61*time.Minute {
			t.Errorf("%v after %v", err, spent)
		}
	})
}

// With retry.Pauses the caller observes each pause.
func TestDownloadPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := 0
		pauses := &retry.Pauses{Context: t.Context(), Tell: func(err error, _ time.Duration) {
			var apiErr *gamma.APIError
			if told++; !errors.As(err, &apiErr) || apiErr.StatusCode != http.StatusServiceUnavailable {
				t.Error(err)
			}
		}}
		failing := &http.Client{Transport: responds(func() *http.Response { return reply(503, "", "") })}
		if err := newClientWith(t, failing).Download(pauses.With(t.Context()), link, io.Discard); err == nil || told != 7 {
			t.Errorf("%v, told %d times", err, told)
		}
	})
}

// A transport may use an http.Client, which quotes the URL in its errors.
func TestDownloadTransportQuotesTheLink(t *testing.T) {
	for _, quoting := range []error{
		&url.Error{Op: "Get", URL: link, Err: errRefused},
		fmt.Errorf("gave up: %w", &url.Error{Op: "Get", URL: link, Err: errRefused}),
		errors.New("gave up on " + link),
		fmt.Errorf("gave up on %s: %w", link, errRefused),
	} {
		synctest.Test(t, func(t *testing.T) {
			client := &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) { return nil, quoting })}
			checkExportError(t, newClientWith(t, client).Download(t.Context(), link, io.Discard))

			// The target of a redirect is a link too.
			client.Transport = roundTripper(func(req *http.Request) (*http.Response, error) {
				if req.URL.Path != "/moved" {
					return nil, quoting
				}
				return reply(302, "", "", "Location", link), nil
			})
			checkExportError(t, newClientWith(t, client).Download(t.Context(), "https://files.example.com/moved", io.Discard))
		})
	}
}

// The request timeout does not apply to downloads.
func TestDownloadIgnoresRequestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, err := gamma.NewClient(key, gamma.WithRequestTimeout(time.Second), gamma.WithHTTPClient(&http.Client{
			Timeout: time.Second,
			Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
				time.Sleep(20 * time.Second)
				rsp := reply(200, "application/pdf", "")
				rsp.Body, rsp.ContentLength, rsp.Request = io.NopCloser(io.LimitReader(dripping{}, 3)), 3, req
				return rsp, nil
			}),
		}))
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := client.Download(t.Context(), link, &b); err != nil || b.String() != "xxx" {
			t.Errorf("%q, %v", b.String(), err)
		}
	})
}

type dripping struct{}

func (dripping) Read(p []byte) (int, error) {
	time.Sleep(29 * time.Second) // in a bubble
	return copy(p, "x"), nil
}

type failingWriter struct{ n int }

func (w failingWriter) Write([]byte) (int, error) {
	if w.n > 0 {
		return w.n, nil
	}
	return 0, os.ErrClosed
}

func TestDownloadBadInput(t *testing.T) {
	never := &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
		t.Error("a request was sent")
		return nil, errors.New("no")
	})}
	dir := t.TempDir()
	tests := []struct {
		name, url string
		dst       io.Writer
		opts      []gamma.DownloadOption
	}{
		{"empty", "", io.Discard, nil},
		{"not a URL", "https://[::1", io.Discard, nil},
		{"http", "http://files.example.com/s3cr3t", io.Discard, nil},
		{"another scheme", "file:///etc/s3cr3t", io.Discard, nil},
		{"no host", "https:///s3cr3t", io.Discard, nil},
		{"opaque", "https:s3cr3t", io.Discard, nil},
		{"user info", "https://a:s3cr3t@files.example.com/", io.Discard, nil},
		{"a line break", "https://files.example.com/s3cr3t\n", io.Discard, nil},
		{"nil writer", link, nil, nil},
		{"nil option", link, io.Discard, []gamma.DownloadOption{nil}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := newClientWith(t, never).Download(t.Context(), tt.url, tt.dst, tt.opts...)
			if err == nil {
				t.Fatal("no error")
			}
			checkExportError(t, err)
		})
	}
	for _, path := range []string{"", dir, filepath.Join(dir, "missing", "deck.pdf")} {
		if err := newClientWith(t, never).DownloadFile(t.Context(), link, path); err == nil {
			t.Errorf("%q: no error", path)
		} else {
			checkExportError(t, err)
		}
	}
	if err := newClientWith(t, never).DownloadFile(t.Context(), "http://example.com", filepath.Join(dir, "x")); err == nil {
		t.Error("http: no error")
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// The text of a writer's error is made printable.
func TestDownloadWriterErrorText(t *testing.T) {
	client := &http.Client{Transport: part(200, 0, len(file))}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{errors.New("gamma: full\n\x1b[2J"), `gamma: GET export: full\n\x1b[2J`},
		{&fs.PathError{Op: "write", Path: "a\nb", Err: syscall.ENOSPC}, `gamma: GET export: write "a\nb": ` + syscall.ENOSPC.Error()},
		{fmt.Errorf("disk 2: %w", &fs.PathError{Op: "write", Path: "a\nb", Err: syscall.ENOSPC}), `gamma: GET export: disk 2: write a\nb: ` + syscall.ENOSPC.Error()},
	} {
		err := newClientWith(t, client).Download(t.Context(), link, writerFunc(func([]byte) (int, error) { return 0, tt.err }))
		if !errors.Is(err, tt.err) || err.Error() != tt.want {
			t.Errorf("%q, want %q", err, tt.want)
		}
	}
}

func TestDownloadWriterFails(t *testing.T) {
	requests := 0
	client := &http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
		requests++
		return part(200, 0, len(file))(req)
	})}
	err := newClientWith(t, client).Download(t.Context(), link, failingWriter{})
	if !errors.Is(err, os.ErrClosed) {
		t.Errorf("%v", err)
	}
	checkExportError(t, err)
	for _, n := range []int{1, len(file)} { // a writer that encodes may return the encoded length
		if err := newClientWith(t, client).Download(t.Context(), link, failingWriter{n}); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("Write returns %d: %v", n, err)
		}
	}
	if requests != 3 {
		t.Errorf("%d requests", requests)
	}
}

// Over real sockets, with a server that supports ranges and cuts off two responses.
func TestDownloadFileOverTLS(t *testing.T) {
	requests := 0
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		for name := range r.Header {
			if !slices.Contains([]string{"Accept-Encoding", "User-Agent", "Range", "If-Range"}, name) {
				t.Errorf("header %s: %q", name, r.Header[name])
			}
		}
		if requests <= 2 {
			w = &breaking{ResponseWriter: w, remaining: 50_000}
		}
		w.Header().Set("ETag", `"v1"`)
		http.ServeContent(w, r, "deck.pdf", time.Time{}, bytes.NewReader(file))
	}))
	defer server.Close()
	path := filepath.Join(t.TempDir(), "deck.pdf")
	var last int64
	err := newClientWith(t, server.Client()).DownloadFile(t.Context(), server.URL+"/deck.pdf?s=1#page=2", path,
		gamma.WithProgress(func(written, total int64) {
			if written <= last || total != int64(len(file)) {
				t.Errorf("progress %d of %d after %d", written, total, last)
			}
			last = written
		}))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, file) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if requests != 3 || last != int64(len(file)) {
		t.Errorf("%d requests, %d bytes", requests, last)
	}
	if server.Client().CheckRedirect != nil {
		t.Error("the client was changed")
	}
}

// breaking closes the connection after remaining bytes.
type breaking struct {
	http.ResponseWriter
	remaining int
}

func (b *breaking) Write(p []byte) (int, error) {
	if len(p) > b.remaining {
		_, _ = b.ResponseWriter.Write(p[:b.remaining])
		panic(http.ErrAbortHandler)
	}
	b.remaining -= len(p)
	return b.ResponseWriter.Write(p)
}

func TestDownloadRedirects(t *testing.T) {
	file := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Referer") != "" || r.Header.Get("X-Api-Key") != "" {
			t.Errorf("headers %v", r.Header)
		}
		_, _ = io.WriteString(w, "%PDF-1.7")
	}))
	defer file.Close()
	tests := []struct {
		name, to string
		ok       bool
	}{
		{"another host", file.URL, true},
		{"itself, always", "", false},
		{"http to another host", "http://files.example.com/s3cr3t", false},
		{"user info", strings.Replace(file.URL, "https://", "https://a:s3cr3t@", 1), false},
		{"another scheme", "ftp://files.example.com/s3cr3t", false},
		{"not a URL", "https://files.example.com/%zz?s3cr3t", false},
	}
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, tt := range tests {
			t.Run(fmt.Sprint(status, " ", tt.name), func(t *testing.T) {
				requests := 0
				server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					requests++
					w.Header().Set("Location", tt.to)
					if tt.to == "" {
						w.Header().Set("Location", "/again")
					}
					w.WriteHeader(status)
				}))
				defer server.Close()
				client := server.Client()
				client.Transport.(*http.Transport).TLSClientConfig.InsecureSkipVerify = true //nolint:forcetypeassert // two servers, two authorities
				var b bytes.Buffer
				err := newClientWith(t, client).Download(t.Context(), server.URL+"/s3cr3t", &b)
				if tt.ok && (err != nil || b.String() != "%PDF-1.7") {
					t.Errorf("%q %v", b.String(), err)
				}
				if !tt.ok {
					if err == nil || requests > 11 {
						t.Fatalf("error %v after %d requests", err, requests)
					}
					checkExportError(t, err)
				}
			})
		}
	}
}

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 2-9/10", "bytes 2-9/*", "bytes */10", "bytes 2-1/10", "bytes 2-9/9223372036854775808", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		requests := 0
		client := &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			if requests++; requests == 1 {
				rsp := reply(200, "", "01")
				rsp.ContentLength = 10
				rsp.Body = &broken{strings.NewReader("01"), io.ErrUnexpectedEOF}
				return rsp, nil
			}
			return reply(206, "", "23456789", "Content-Range", s), nil
		})}
		synctest.Test(t, func(t *testing.T) {
			requests = 0
			var b bytes.Buffer
			err := newClientWith(t, client).Download(t.Context(), link, &b)
			if err == nil && b.String() != "0123456789" {
				t.Errorf("%q: %q", s, b.String())
			}
		})
	})
}
