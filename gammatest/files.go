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

// filesHost is the host of exports in memory. A [Server] has a second socket for them,
// a [Handler] has them at the host of the API.
const filesHost = "exports.gamma.example"

// exportsPath is where exports are. No operation of the API starts with it.
const exportsPath = "/exports/"

// linkLifetime is from the API's documentation.
const linkLifetime = 7 * 24 * time.Hour

// contentTypes are those of the formats that a generation can be exported as.
var contentTypes = map[string]string{
	"pdf":  "application/pdf",
	"pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
	"png":  "application/zip",
}

// files is the host of exports. It is not part of the API, and takes no key.
type files struct {
	base     string // of the links; empty: the host that the poll was sent to
	lifetime time.Duration
	requests []Request
	next     []Step
}

// Export returns the bytes of the export of the generation id, about 100 KiB. They
// depend on the id only.
func (s *API) Export(id string) []byte {
	var b bytes.Buffer
	for i := range 3200 {
		sum := sha256.Sum256([]byte(id + strconv.Itoa(i)))
		b.Write(sum[:])
	}
	return b.Bytes()
}

// NextDownload gives steps to the next downloads of exports, one after another. Each request
// counts, also one that resumes a download. Then the responses are as usual again: the file,
// or status 403 if the link has expired. The steps are [Usual] and faults, as in
//
//	g.NextDownload(gammatest.Status(403), gammatest.CutAfter(20_000, gammatest.Slow(1_000, gammatest.Usual())))
//
// Any other step is an error of the test. Steps from an earlier call come first. See
// [ForDownload] for the downloads of one generation.
func (s *API) NextDownload(steps ...Step) {
	s.t.Helper()
	next := s.exchanges("downloads", steps...)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files.next = append(s.files.next, next...)
}

// exchanges returns one step for each request, and reports those that are neither Usual
// nor a fault.
func (s *API) exchanges(what string, steps ...Step) (valid []Step) {
	s.t.Helper()
	for _, step := range s.expand(what, steps) {
		if step.respond != nil && !step.fault {
			s.report("gammatest: %s: the step must be Usual or a fault", what)
			continue
		}
		valid = append(valid, step)
	}
	return valid
}

// ExpireLinks makes all existing links to exports expire now: a download receives status
// 403. The next poll of a generation returns a new link.
func (s *API) ExpireLinks() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.generations {
		g.issued = time.Time{}
	}
}

// SetLinkLifetime makes links to exports, also existing ones, expire d after the poll that
// returned them. The default is a week. d must be positive. See [API.ExpireLinks].
func (s *API) SetLinkLifetime(d time.Duration) {
	s.t.Helper()
	if d <= 0 {
		s.report("gammatest: SetLinkLifetime(%v): the time must be positive", d)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files.lifetime = d
}

// Downloads returns the requests for exports so far, in the order of their arrival.
func (s *API) Downloads() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.files.requests)
}

// link returns the link to the export of the generation g in the response to r, a new
// one if the last has expired. s.mu is held.
func (s *API) link(r *http.Request, id string, g *script, now time.Time) string {
	if !s.linkIsGood(g, now) {
		g.link++
		g.issued = now
	}
	base := s.files.base
	if base == "" {
		base = "http://" + r.Host
		if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
			base = "https://" + r.Host
		}
	}
	return fmt.Sprintf("%s%s%s.%s?signature=%d", base, exportsPath, id, g.exportAs, g.link)
}

// linkIsGood reports whether the last link of g has not expired. s.mu is held.
func (s *API) linkIsGood(g *script, now time.Time) bool {
	return !g.issued.IsZero() && now.Before(g.issued.Add(s.files.lifetime))
}

// replyFile returns the response to a download. The error is as that of reply.
func (s *API) replyFile(r *http.Request) (response, error) {
	for _, name := range []string{"X-Api-Key", "Authorization", "Cookie", "Referer"} {
		if r.Header.Get(name) != "" {
			s.report("gammatest: a download has the header %s, which the host of exports must not receive", name)
		}
	}
	id, format, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, exportsPath), ".")
	request, step := received(r, nil), Usual()
	s.mu.Lock()
	s.files.requests = latest(append(s.files.requests, request), s.keep)
	g := s.generations[id]
	good := g != nil && r.Method == http.MethodGet && format == g.exportAs &&
		r.URL.Query().Get("signature") == strconv.Itoa(g.link) && s.linkIsGood(g, time.Now())
	if next := s.files.next; len(next) > 0 {
		step, s.files.next = next[0], next[1:]
	}
	if g != nil && len(g.downloads) > 0 && step.usual {
		step, g.downloads = g.downloads[0].like(step), g.downloads[1:]
	}
	s.mu.Unlock()
	if err := s.hold(r, step); err != nil {
		return response{}, err
	}
	w := httptest.NewRecorder()
	var rsp response
	switch {
	case !step.usual:
		rsp = step.respond("", "")
	case !good:
		rsp = response{status: http.StatusForbidden, contentType: "application/xml", body: []byte("<Error><Code>AccessDenied</Code></Error>")}
	default:
		data := s.Export(id)
		w.Header().Set("Content-Type", contentTypes[format])
		w.Header().Set("Etag", fmt.Sprintf("%q", fmt.Sprintf("%x", sha256.Sum256(data))))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
		rsp = response{status: w.Code, contentType: w.Header().Get("Content-Type"), body: w.Body.Bytes()}
	}
	rsp.finish(w.Header(), step)
	return rsp, nil
}
