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

// piece is an answer that is the deck from one byte to another, of which half is
// lost unless it is whole.
func piece(x *exchange, from int, whole bool, headers ...string) {
	status := "200 OK"
	if from > 0 {
		status = "206 Partial Content"
		headers = append([]string{fmt.Sprintf("Content-Range: bytes %d-%d/%d", from, len(deck)-1, len(deck))}, headers...)
	}
	x.say(head(status, append(headers, "Content-Type: application/pdf", fmt.Sprintf("Content-Length: %d", len(deck)-from))...))
	if whole {
		x.say(deck[from:])
		return
	}
	x.say(deck[from : (from+len(deck))/2])
	_ = x.Close()
}

// asked is where the range that was asked for begins.
func asked(x *exchange) (from int) {
	_, _ = fmt.Sscanf(x.req.Header.Get("Range"), "bytes=%d-", &from)
	return from
}

// A download that broke in the middle, and how the server goes on.
func TestDownloadResumes(t *testing.T) {
	const tag = `Etag: "1"`
	both := func(e end) [2]end { return [2]end{e, e} }
	for _, tt := range []struct {
		name  string
		first func(*exchange) // nil: half of the file
		next  func(*exchange)
		ends  [2]end // of Download, of DownloadFile
	}{
		{"where it broke", nil, func(x *exchange) { piece(x, asked(x), true, tag) }, both(completes)},
		{"without a tag", func(x *exchange) { piece(x, 0, false) }, func(x *exchange) { piece(x, asked(x), true) }, both(completes)},
		{"from the start", nil, func(x *exchange) { piece(x, 0, true, tag) }, both(completes)},
		{"from the start with another tag", nil, func(x *exchange) { piece(x, 0, true, `Etag: "2"`) }, [2]end{fails, completes}},
		{"with another tag", nil, func(x *exchange) {
			if asked(x) > 0 {
				piece(x, asked(x), true, `Etag: "2"`)
			} else {
				piece(x, 0, true, `Etag: "2"`)
			}
		}, [2]end{fails, completes}},
		{"with a range that is not there", nil, func(x *exchange) {
			if asked(x) > 0 {
				x.say(full("416 Range Not Satisfiable", "", "", "Content-Range: bytes */10", tag))
			} else {
				piece(x, 0, true, tag)
			}
		}, [2]end{fails, completes}},
		{"somewhere else", nil, func(x *exchange) { piece(x, max(asked(x)-1, 0), true, tag) }, [2]end{fails, completes}},
		{"with a broken range", nil, func(x *exchange) {
			if asked(x) == 0 {
				piece(x, 0, true, tag)
				return
			}
			x.say(head("206 Partial Content", tag, "Content-Range: bytes -5-x/y", fmt.Sprintf("Content-Length: %d", len(deck))), deck)
		}, [2]end{fails, completes}},
		{"with a range that overflows", nil, func(x *exchange) {
			if asked(x) == 0 {
				piece(x, 0, true, tag)
				return
			}
			x.say(head("206 Partial Content", tag, "Content-Range: bytes 32768-99999999999999999999/99999999999999999999", "Content-Length: 0"))
		}, [2]end{fails, completes}},
		{"as a 200 with its range", nil, func(x *exchange) {
			if asked(x) == 0 {
				piece(x, 0, true, tag)
				return
			}
			x.say(full("200 OK", "application/pdf", deck[asked(x):], tag, fmt.Sprintf("Content-Range: bytes %d-%d/%d", asked(x), len(deck)-1, len(deck))))
		}, both(completes)},
		{"as a 200 without its range", nil, func(x *exchange) {
			x.say(full("200 OK", "application/pdf", deck[asked(x):], tag))
		}, [2]end{fails, completes}},
		{"as several parts", nil, func(x *exchange) {
			if asked(x) == 0 {
				piece(x, 0, true, tag)
				return
			}
			x.say(full("206 Partial Content", "multipart/byteranges; boundary=x", "--x\r\n\r\n"+deck[asked(x):]+"--x--", tag))
		}, [2]end{fails, completes}},
		{"as a page", nil, func(x *exchange) { x.say(full("200 OK", "text/html", "<html>")) }, both(fails)},
		{"no more", nil, func(x *exchange) { x.say(full("403 Forbidden", "application/xml", "<Error/>")) }, both(fails)},
		{"after an error", nil, func(x *exchange) {
			if x.n == 2 {
				x.say(full("503 Busy", "", ""))
			} else {
				piece(x, asked(x), true, tag)
			}
		}, both(completes)},
		{"with too much", nil, func(x *exchange) {
			x.say(head("206 Partial Content", tag, fmt.Sprintf("Content-Range: bytes %d-%d/%d", asked(x), len(deck)-1, len(deck)), isChunked),
				chunked(deck[asked(x):], "more"))
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

// The ends of a download that has one answer.
func TestDownloadAnswers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer string
		want   error // nil: none that is known
	}{
		{"an expired link", full("403 Forbidden", "application/xml", "<Error>"+secret+"</Error>"), gamma.ErrLinkExpired},
		{"a link that is gone", full("410 Gone", "", ""), gamma.ErrLinkExpired},
		{"an empty file", full("200 OK", "application/pdf", ""), gamma.ErrUnexpectedResponse},
		{"an empty file in chunks", head("200 OK", isChunked) + "0\r\n\r\n", gamma.ErrUnexpectedResponse},
		{"nothing", full("204 No Content", "", ""), gamma.ErrUnexpectedResponse},
		{"a part that was not asked for", full("206 Partial Content", "application/pdf", "x", "Content-Range: bytes 0-0/5"), gamma.ErrUnexpectedResponse},
		{"a part with the status of the whole", full("200 OK", "application/pdf", "x", "Content-Range: bytes 0-0/5"), gamma.ErrUnexpectedResponse},
		{"a message in JSON", full("200 OK", "application/json; charset=utf-8", "{}"), gamma.ErrUnexpectedResponse},
		{"a message in XML", full("200 OK", "text/xml", "<Error/>"), gamma.ErrUnexpectedResponse},
		{"a page", full("200 OK", "Text/HTML", "<html>"), gamma.ErrUnexpectedResponse},
		{"a compressed file", full("200 OK", "application/pdf", gzipped(deck), "Content-Encoding: gzip"), gamma.ErrUnexpectedResponse},
		{"a file of 1 TiB", head("200 OK", "Content-Length: 1099511627776"), gamma.ErrResponseTooLarge},
	} {
		for _, e := range some("Download", "DownloadFile") {
			t.Run(tt.name+"/"+e.name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, serve(t, "tcp", "127.0.0.1:0", "http", says(tt.answer)), settings{})
				if o := r.call(t, t.Context(), e); !errors.Is(o.err, tt.want) || r.requests.Load() != 1 {
					t.Errorf("%v, want %v", o.err, tt.want)
				}
			})
		}
	}
}

// limited is a disk that becomes full.
type limited struct{ left int }

var errFull = errors.New("gamma: the disk is full")

func (w *limited) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

// A file without end goes on until the disk, or the time, does.
func TestDownloadWithoutEnd(t *testing.T) {
	start := head("200 OK", "Content-Type: application/pdf")
	attacks := []attack{
		{name: "until the end", handle: http1(func(x *exchange) { x.say(start); flood(x, "x") })},
		{name: "in chunks", handle: http1(func(x *exchange) {
			x.say(head("200 OK", isChunked))
			flood(x, "1000\r\n"+strings.Repeat("x", 0x1000)+"\r\n")
		})},
		{name: "over HTTP 2", https: true, handle: http2("", func(x *stream) {
			x.headers(0, fields("200"))
			flood(x, frame(frameData, 0, x.id, deck[:16<<10]))
		})},
	}
	for _, a := range attacks {
		a.file, a.budget = fails, patience
		run(t, []attack{a}, []entry{{"a full disk", fetching, func(ctx context.Context, r *rig) outcome {
			err := r.client.Download(ctx, r.url, &limited{3 << 20})
			if !errors.Is(err, errFull) {
				err = nil // which is none of the ends of this attack
			}
			return outcome{err: err}
		}}})
	}
	run(t, []attack{{name: "drop by drop", ends: ends{file: fails}, handle: http1(func(x *exchange) {
		x.say(start)
		drip(x.Conn, func(int) string { return "x" })
	})}}, some("Download", "DownloadFile"))
}

// Where a file cannot be.
func TestDownloadTargets(t *testing.T) {
	s := serve(t, "tcp", "127.0.0.1:0", "http", http1(func(x *exchange) {
		if strings.HasPrefix(x.req.URL.Path, "/good") {
			x.say(full("200 OK", "application/pdf", deck))
		} else {
			x.say(full("404 Not Found", "", ""))
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
	}{
		{"/good", "dir", false},
		{"/good", "dirlink", false},
		{"/good", "no/such/dir", false},
		{"/good", "old/under a file", false},
		{"/good", strings.Repeat("x", 300), false},
		{"/bad", "old", false},
		{"/bad", "link", false},
		{"/bad", "new", false},
		{"/good", "link", true},
		{"/good", "dangling", true},
		{"/good", "old", true},
		{"/good", "new", true},
	} {
		before := names(t, dir)
		err := r.client.DownloadFile(t.Context(), s.url+tt.path, at(tt.name))
		if (err == nil) != tt.ok {
			t.Errorf("%s to %s: %v", tt.path, tt.name, err)
		}
		checkNoKey(t, err)
		got, _ := os.ReadFile(at(tt.name))
		if tt.ok && string(got) != deck || !tt.ok && names(t, dir) != before || tt.path == "/bad" && (tt.name == "old" || tt.name == "link") && string(got) != "old" {
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
