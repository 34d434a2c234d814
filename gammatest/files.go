package gammatest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"time"
)

// filesHost serves exports in memory. A [Server] has a second one for them, on
// another port.
const filesHost = "exports.gamma.example"

// contentTypes are those of the formats that a generation can be exported as.
var contentTypes = map[string]string{
	"pdf":  "application/pdf",
	"pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
	"png":  "application/zip",
}

// files is the host of exports. It is no part of the API: it takes no key, and a
// link is enough.
type files struct {
	base      string // of the links
	requests  []Request
	signature int // of the links that are good now
	breaks    int
	after     int
}

// Export returns the bytes of the export of the generation id, about 100 KiB.
func (s *API) Export(id string) []byte {
	var b bytes.Buffer
	for i := range 3200 {
		sum := sha256.Sum256([]byte(id + strconv.Itoa(i)))
		b.Write(sum[:])
	}
	return b.Bytes()
}

// ExpireLinks makes every link to an export that was given so far answer 403. The
// next status of a generation has a new one.
func (s *API) ExpireLinks() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files.signature++
}

// BreakDownloads closes the connection of the next n downloads after so many bytes
// of their bodies.
func (s *API) BreakDownloads(n, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files.breaks, s.files.after = n, bytes
}

// Downloads returns the requests that the host of the exports got so far.
func (s *API) Downloads() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.files.requests)
}

// link returns the address of an export. s.mu is held.
func (s *API) link(id, format string) string {
	return fmt.Sprintf("%s/%s.%s?signature=%d", s.files.base, id, format, s.files.signature)
}

func (s *API) serveFile(w http.ResponseWriter, r *http.Request) {
	for _, name := range []string{"X-Api-Key", "Authorization", "Cookie", "Referer"} {
		if r.Header.Get(name) != "" {
			s.report("gammatest: the host of the exports got the header %s, which is none of its business", name)
		}
	}
	name, format, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), ".")
	s.mu.Lock()
	s.files.requests = append(s.files.requests, Request{Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Header: r.Header.Clone(), Time: time.Now()})
	g := s.generations[name]
	good := g != nil && format == g.exportAs && r.URL.Query().Get("signature") == strconv.Itoa(s.files.signature)
	if s.files.breaks > 0 {
		s.files.breaks--
		w = &breaking{w, s.files.after}
	}
	s.mu.Unlock()
	if !good {
		http.Error(w, "<Error><Code>AccessDenied</Code></Error>", http.StatusForbidden)
		return
	}
	data := s.Export(name)
	w.Header().Set("Content-Type", contentTypes[format])
	w.Header().Set("Etag", fmt.Sprintf("%q", fmt.Sprintf("%x", sha256.Sum256(data))))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

// breaking closes the connection after so many bytes.
type breaking struct {
	http.ResponseWriter
	left int
}

func (b *breaking) Write(p []byte) (int, error) {
	if len(p) > b.left {
		_, _ = b.ResponseWriter.Write(p[:b.left])
		panic(http.ErrAbortHandler)
	}
	b.left -= len(p)
	return b.ResponseWriter.Write(p)
}

// roundTripFile answers in memory.
func (s *API) roundTripFile(r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	broken := func() (broken bool) {
		defer func() { broken = recover() != nil }()
		s.serveFile(w, r)
		return
	}()
	rsp := w.Result()
	rsp.Request = r
	if n, err := strconv.ParseInt(rsp.Header.Get("Content-Length"), 10, 64); err == nil {
		rsp.ContentLength = n
	}
	if broken {
		rsp.Body = truncated(rsp.Body)
	}
	return rsp
}
