package hostile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gamma-sdk/gamma-go"
)

// deck is the file that is downloaded.
var deck = strings.Repeat("0123456789abcdef", 1<<12)

// piece responds with the deck from a byte on. Unless whole, it closes the connection in the
// middle.
func piece(x *exchange, from int, whole bool, headers ...string) {
	status := "200 OK"
	if from > 0 {
		status = "206 Partial Content"
		headers = append([]string{fmt.Sprintf("Content-Range: bytes %d-%d/%d", from, len(deck)-1, len(deck))}, headers...)
	}
	x.send(head(status, append(headers, "Content-Type: application/pdf", fmt.Sprintf("Content-Length: %d", len(deck)-from))...))
	if whole {
		x.send(deck[from:])
		return
	}
	x.send(deck[from : (from+len(deck))/2])
	_ = x.Close()
}

// rangeStart returns the first byte of the requested range.
func rangeStart(x *exchange) (from int) {
	_, _ = fmt.Sscanf(x.req.Header.Get("Range"), "bytes=%d-", &from)
	return from
}

// Resuming a download that was cut off in the middle. Download has already written the first
// half, so it fails if the file has changed; DownloadFile starts again.
func TestDownloadResumes(t *testing.T) {
	const tag = `Etag: "1"`
	both := func(e end) [2]end { return [2]end{e, e} }
	for _, tt := range []struct {
		name  string
		first func(*exchange) // nil: half of the file, with a strong ETag
		next  func(*exchange)
		ends  [2]end // of Download, of DownloadFile
	}{
		{"206, same ETag", nil, func(x *exchange) { piece(x, rangeStart(x), true, tag) }, both(completes)},
		{"206, no ETag", func(x *exchange) { piece(x, 0, false) }, func(x *exchange) { piece(x, rangeStart(x), true) }, both(completes)},
		{"200, same ETag", nil, func(x *exchange) { piece(x, 0, true, tag) }, both(completes)},
		{"200, other ETag", nil, func(x *exchange) { piece(x, 0, true, `Etag: "2"`) }, [2]end{fails, completes}},
		{"206, other ETag", nil, func(x *exchange) {
			if rangeStart(x) > 0 {
				piece(x, rangeStart(x), true, `Etag: "2"`)
			} else {
				piece(x, 0, true, `Etag: "2"`)
			}
		}, [2]end{fails, completes}},
		{"416", nil, func(x *exchange) {
			if rangeStart(x) > 0 {
				x.send(full("416 Range Not Satisfiable", "", "", "Content-Range: bytes */10", tag))
			} else {
				piece(x, 0, true, tag)
			}
		}, [2]end{fails, completes}},
		{"206, range starts a byte earlier", nil, func(x *exchange) { piece(x, max(rangeStart(x)-1, 0), true, tag) }, [2]end{fails, completes}},
		{"206, malformed Content-Range", nil, func(x *exchange) {
			if rangeStart(x) == 0 {
				piece(x, 0, true, tag)
				return
			}
			x.send(head("206 Partial Content", tag, "Content-Range: bytes -5-x/y", fmt.Sprintf("Content-Length: %d", len(deck))), deck)
		}, [2]end{fails, completes}},
		{"206, Content-Range overflows", nil, func(x *exchange) {
			if rangeStart(x) == 0 {
				piece(x, 0, true, tag)
				return
			}
			x.send(head("206 Partial Content", tag, "Content-Range: bytes 32768-99999999999999999999/99999999999999999999", "Content-Length: 0"))
		}, [2]end{fails, completes}},
		{"200, Content-Range", nil, func(x *exchange) {
			if rangeStart(x) == 0 {
				piece(x, 0, true, tag)
				return
			}
			x.send(full("200 OK", "application/pdf", deck[rangeStart(x):], tag, fmt.Sprintf("Content-Range: bytes %d-%d/%d", rangeStart(x), len(deck)-1, len(deck))))
		}, both(completes)},
		{"200, only the rest, no Content-Range", nil, func(x *exchange) {
			x.send(full("200 OK", "application/pdf", deck[rangeStart(x):], tag))
		}, [2]end{fails, completes}},
		{"206, multipart/byteranges", nil, func(x *exchange) {
			if rangeStart(x) == 0 {
				piece(x, 0, true, tag)
				return
			}
			x.send(full("206 Partial Content", "multipart/byteranges; boundary=x", "--x\r\n\r\n"+deck[rangeStart(x):]+"--x--", tag))
		}, [2]end{fails, completes}},
		{"200, HTML", nil, func(x *exchange) { x.send(full("200 OK", "text/html", "<html>")) }, both(fails)},
		{"403", nil, func(x *exchange) { x.send(full("403 Forbidden", "application/xml", "<Error/>")) }, both(fails)},
		{"503, then 206", nil, func(x *exchange) {
			if x.n == 2 {
				x.send(full("503 Busy", "", ""))
			} else {
				piece(x, rangeStart(x), true, tag)
			}
		}, both(completes)},
		{"206, longer than its range", nil, func(x *exchange) {
			x.send(head("206 Partial Content", tag, fmt.Sprintf("Content-Range: bytes %d-%d/%d", rangeStart(x), len(deck)-1, len(deck)), isChunked),
				chunked(deck[rangeStart(x):], "more"))
		}, both(fails)},
	} {
		for i, e := range some("Download", "DownloadFile") {
			t.Run(tt.name+"/"+e.name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, serve(t, "tcp", "127.0.0.1:0", "http", http1(func(x *exchange) {
					switch {
					case x.n > 1:
						tt.next(x)
					case tt.first != nil:
						tt.first(x)
					default:
						piece(x, 0, false, tag)
					}
				})), settings{})
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				o := r.call(t, ctx, e)
				r.ended(t, e, tt.ends[i])
				if o.err == nil && fmt.Sprint(o.value) != fmt.Sprint(len(deck)) {
					t.Errorf("%v bytes of %d", o.value, len(deck))
				}
			})
		}
	}
}

// Responses to a download that are errors. None is retried.
func TestDownloadResponses(t *testing.T) {
	for _, tt := range []struct {
		name     string
		response string
		want     error
	}{
		{"403", full("403 Forbidden", "application/xml", "<Error>"+secret+"</Error>"), gamma.ErrLinkExpired},
		{"410", full("410 Gone", "", ""), gamma.ErrLinkExpired},
		{"200, empty", full("200 OK", "application/pdf", ""), gamma.ErrUnexpectedResponse},
		{"200, empty, chunked", head("200 OK", isChunked) + "0\r\n\r\n", gamma.ErrUnexpectedResponse},
		{"204", full("204 No Content", "", ""), gamma.ErrUnexpectedResponse},
		{"206, not requested", full("206 Partial Content", "application/pdf", "x", "Content-Range: bytes 0-0/5"), gamma.ErrUnexpectedResponse},
		{"200, Content-Range not requested", full("200 OK", "application/pdf", "x", "Content-Range: bytes 0-0/5"), gamma.ErrUnexpectedResponse},
		{"200, JSON", full("200 OK", "application/json; charset=utf-8", "{}"), gamma.ErrUnexpectedResponse},
		{"200, XML", full("200 OK", "text/xml", "<Error/>"), gamma.ErrUnexpectedResponse},
		{"200, HTML", full("200 OK", "Text/HTML", "<html>"), gamma.ErrUnexpectedResponse},
		{"200, gzip", full("200 OK", "application/pdf", gzipped(deck), "Content-Encoding: gzip"), gamma.ErrUnexpectedResponse},
		{"200, Content-Length of 1 TiB", head("200 OK", "Content-Length: 1099511627776"), gamma.ErrResponseTooLarge},
	} {
		for _, e := range some("Download", "DownloadFile") {
			t.Run(tt.name+"/"+e.name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, serve(t, "tcp", "127.0.0.1:0", "http", sends(tt.response)), settings{})
				if o := r.call(t, t.Context(), e); !errors.Is(o.err, tt.want) || r.requests.Load() != 1 {
					t.Errorf("%v, want %v", o.err, tt.want)
				}
			})
		}
	}
}

// limited is a writer that fails after a number of bytes, as a full disk does.
type limited struct{ remaining int }

var errFull = errors.New("gamma: the disk is full")

func (w *limited) Write(p []byte) (int, error) {
	if w.remaining -= len(p); w.remaining < 0 {
		return 0, errFull
	}
	return len(p), nil
}

// Downloading an endless file continues until the disk is full or the context is done.
func TestDownloadWithoutEnd(t *testing.T) {
	start := head("200 OK", "Content-Type: application/pdf")
	attacks := []attack{
		{name: "without length", handle: http1(func(x *exchange) { x.send(start); flood(x, "x") })},
		{name: "chunked", handle: http1(func(x *exchange) {
			x.send(head("200 OK", isChunked))
			flood(x, "1000\r\n"+strings.Repeat("x", 0x1000)+"\r\n")
		})},
		{name: "HTTP/2", https: true, handle: http2("", func(x *stream) {
			x.headers(0, fields("200"))
			flood(x, frame(frameData, 0, x.id, deck[:16<<10]))
		})},
	}
	for _, a := range attacks {
		a.file, a.budget = fails, patience
		run(t, []attack{a}, []entry{{"full disk", fetching, func(ctx context.Context, r *rig) outcome {
			err := r.client.Download(ctx, r.url, &limited{3 << 20})
			if !errors.Is(err, errFull) {
				err = nil // which this attack does not expect
			}
			return outcome{err: err}
		}}})
	}
	run(t, []attack{{name: "slow", ends: ends{file: fails}, handle: http1(func(x *exchange) {
		x.send(start)
		drip(x.Conn, func(int) string { return "x" })
	})}}, some("Download", "DownloadFile"))
}

// Paths that DownloadFile can and cannot write to. On an error, the folder is unchanged.
func TestDownloadTargets(t *testing.T) {
	s := serve(t, "tcp", "127.0.0.1:0", "http", http1(func(x *exchange) {
		if strings.HasPrefix(x.req.URL.Path, "/good") {
			x.send(full("200 OK", "application/pdf", deck))
		} else {
			x.send(full("404 Not Found", "", ""))
		}
	}))
	r := newRig(t, s, settings{})
	defer r.transport.CloseIdleConnections()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(os.Mkdir(at("dir"), 0o700), os.WriteFile(at("old"), []byte("old"), 0o600), os.Symlink(at("old"), at("link")),
		os.Symlink(at("none"), at("dangling")), os.Symlink(at("dir"), at("dirlink"))); err != nil {
		t.Skip(err)
	}
	for _, tt := range []struct {
		path, name string
		ok         bool
		want       string // the file afterwards; empty if there is none
	}{
		{"/good", "dir", false, ""},
		{"/good", "dirlink", false, ""},
		{"/good", "no/such/dir", false, ""},
		{"/good", "old/under a file", false, ""},
		{"/good", strings.Repeat("x", 300), false, ""},
		{"/bad", "old", false, "old"},
		{"/bad", "link", false, "old"},
		{"/bad", "new", false, ""},
		{"/good", "link", true, deck},
		{"/good", "dangling", true, deck},
		{"/good", "old", true, deck},
		{"/good", "new", true, deck},
	} {
		before := names(t, dir)
		err := r.client.DownloadFile(t.Context(), s.url+tt.path, at(tt.name))
		if (err == nil) != tt.ok {
			t.Errorf("%s to %s: %v", tt.path, tt.name, err)
		}
		checkNoKey(t, err)
		got, _ := os.ReadFile(at(tt.name))
		if string(got) != tt.want || !tt.ok && names(t, dir) != before {
			t.Errorf("%s to %s: %d bytes, %s", tt.path, tt.name, len(got), names(t, dir))
		}
	}
}

func names(t *testing.T, dir string) string {
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, f := range files {
		_, _ = io.WriteString(&b, f.Name()+" ")
	}
	return b.String()
}
