// Package gammatest is a stand-in for the Gamma API, for the tests of programs that
// use it. It answers every operation of the document, in memory or over loopback
// sockets. A generation is a script of steps:
//
//	transport := gammatest.NewTransport(t, gammatest.Pending(3), gammatest.Completed(""))
//	client, err := gamma.NewClient(gammatest.Key, gamma.WithHTTPClient(&http.Client{Transport: transport}))
//
// Every generation that this client creates is pending for three polls, then
// completed. Add is for one that is there from the start:
//
//	server := gammatest.NewServer(t)
//	server.Add("gen1", gammatest.PendingFor(90*time.Second), gammatest.Failed(422, "Failed to generate text."))
//	server.Add("gen2", gammatest.RateLimited(30*time.Second), gammatest.Drop(), gammatest.Completed("https://example.com/deck.pdf"))
//	client, err := gamma.NewClient(gammatest.Key, gamma.WithBaseURL(server.URL))
//
// Any other operation can be made to fail with [API.Next]. One that this package does
// not know has a response made up from the document. Exports come from another host,
// which reports a request that has the API key.
//
// The stand-in ends with the t that it was made with. Where parallel subtests share
// one, that must be the t of their parent.
//
// # Time
//
// A [Transport] works inside a [testing/synctest] bubble, where a wait of minutes
// takes no time; make it inside the bubble too. A [Server] has sockets, which make no
// progress in one.
//
// # The contract
//
// Every request is held to the OpenAPI document of the SDK, and so is every
// answer except deliberate faults and errors that the document leaves out. Three
// things are not: the names of image models, patterns whose syntax is not Go's, and
// null for the warnings of a create, which is what there is without a warning. A
// violation on either side is an error of the test, and the client gets status 400
// or 500. Such an error has the request in its text, because its line is one of the
// stand-in: net/http stands between it and the test.
//
// The package is in a module of its own, so that a program that does not import it
// downloads nothing for it.
package gammatest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Key is the API key that is accepted at first. See [API.SetKey].
const Key = "sk-gamma-fake-0123456789abcdef"

// TB is the part of [testing.TB] that the stand-in needs. A program that is no test
// can pass its own; Errorf must be safe for concurrent use, as that of a test is.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Cleanup(func())
}

// API is what a [Server] and a [Transport] have in common: the generations, the
// workspace and the rules. All methods are safe for concurrent use.
type API struct {
	t        TB
	contract *contract
	closed   chan struct{}
	sockets  []*httptest.Server

	reporting sync.Mutex // held while t is in use, which ends with its cleanup

	mu          sync.Mutex
	key         string
	generations map[string]*script
	workspace
	files    files
	requests []Request
	enforced bool
	burst    window
	hour     window
	day      window
}

// Request is a request that the stand-in got.
type Request struct {
	Method string
	Path   string      // escaped, as on the wire
	Query  string      // the same, without the question mark
	Header http.Header // with the API key; not to be changed
	Body   []byte      // what came of it; not to be changed
	Time   time.Time   // when it arrived
}

// newAPI returns an API that is closed by the cleanups of t.
func newAPI(t TB, life []Step) *API {
	s := &API{
		t:           t,
		contract:    published(),
		closed:      make(chan struct{}),
		key:         Key,
		generations: make(map[string]*script),
		workspace:   newWorkspace(),
		// A hundred times the numbers in the API's documentation, so that a test
		// with thousands of jobs never comes near them by accident.
		burst: window{limit: 1_000_000, length: time.Minute},
		hour:  window{limit: 4_000_000, length: time.Hour},
		day:   window{limit: 20_000_000, length: 24 * time.Hour},
	}
	t.Helper()
	s.Created(life...)
	t.Cleanup(func() {
		s.reporting.Lock()
		close(s.closed)
		s.reporting.Unlock()
		for _, socket := range s.sockets {
			socket.Close() // waits for the handlers, which s.closed has let go
		}
	})
	return s
}

// Add makes the generation id answer by steps, one poll after the other; the last
// step answers for ever. The generation is created now, which counts for
// [PendingFor]. Without steps it stays pending. An id that is there already starts
// over, with the new steps. A step with impossible arguments is an error of the
// test.
func (s *API) Add(id string, steps ...Step) {
	s.t.Helper()
	s.check("generation "+id, steps)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generations[id] = newScript(steps, "")
}

// check reports steps with impossible arguments. Scripts leave them out.
func (s *API) check(what string, steps []Step) {
	s.t.Helper()
	for _, step := range steps {
		if step.err != nil {
			s.report("gammatest: %s: %v", what, step.err)
		}
	}
}

// Budget refuses with status 429 what goes beyond n requests in a window, which
// starts with its first request. Retry-After then says when the window ends, in
// seconds, rounded up. The x-ratelimit-limit-burst and x-ratelimit-remaining-burst
// headers show n and what is left of it. A refused request uses up no step of a
// script. The default is no refusal, and headers that start at 1,000,000. n and
// the window must be positive. A new Budget starts a new window.
func (s *API) Budget(n int, per time.Duration) {
	s.t.Helper()
	if n <= 0 || per <= 0 {
		s.report("gammatest: a budget of %d requests in %v", n, per)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.burst, s.enforced = window{limit: n, length: per}, true
}

// SetKey makes key the one that is accepted from now on; every other, [Key]
// included, gets status 401.
func (s *API) SetKey(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key = key
}

// Requests returns the requests so far in the order of their arrival, with those
// that were refused, dropped or broke the contract.
func (s *API) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// report tells the test, unless it is over: an Errorf of a test that has ended
// panics.
func (s *API) report(format string, args ...any) {
	s.t.Helper()
	s.reporting.Lock()
	defer s.reporting.Unlock()
	select {
	case <-s.closed:
	default:
		s.t.Errorf(format, args...)
	}
}

// script is the state of one generation.
type script struct {
	steps []Step
	used  int       // polls that the first of steps has answered
	since time.Time // when the step before the first of steps was used up

	exportAs string // empty: without an export
}

func newScript(steps []Step, exportAs string) *script {
	g := &script{since: time.Now(), exportAs: exportAs}
	for _, step := range steps {
		if step.err == nil && (step.polls > 0 || step.span > 0) {
			g.steps = append(g.steps, step)
		}
	}
	if len(g.steps) == 0 {
		g.steps = []Step{Pending(1)}
	}
	return g
}

// next returns the step that answers a poll at now.
func (g *script) next(now time.Time) Step {
	for len(g.steps) > 1 {
		switch step := g.steps[0]; {
		case step.span > 0 && now.Sub(g.since) < step.span:
			return step
		case step.span > 0:
			g.since = g.since.Add(step.span)
		case g.used < step.polls:
			g.used++
			g.since = now
			return step
		}
		g.steps, g.used = g.steps[1:], 0
	}
	return g.steps[0]
}

// window counts requests in a fixed window that opens with its first request.
type window struct {
	limit, used int
	length      time.Duration
	end         time.Time
}

// roll opens a new window when the last one is over.
func (w *window) roll(now time.Time) {
	if !now.Before(w.end) {
		w.used, w.end = 0, now.Add(w.length)
	}
}

func (w *window) header(h http.Header, suffix string) {
	h["X-Ratelimit-Limit"+suffix] = []string{strconv.Itoa(w.limit)}
	h["X-Ratelimit-Remaining"+suffix] = []string{strconv.Itoa(max(w.limit-w.used, 0))}
}

// errDropped is an answer that ends with its connection.
var errDropped = errors.New("gammatest: the connection was dropped")

// reply returns the answer to r. The error is errDropped, or the cause of the end
// of r's context.
func (s *API) reply(r *http.Request) (answer, error) {
	body, whole := read(r)
	if !whole {
		s.arrive(r, body, call{})
		return answer{}, errDropped
	}
	call, violation := s.contract.request(r)
	v := s.arrive(r, body, call)
	var a answer
	switch {
	case violation != nil:
		s.report("gammatest: the request %s %s breaks the contract: %v", r.Method, r.URL.RequestURI(), violation)
		a = problem(http.StatusBadRequest, violation.Error())
		a.fault = true
	case !v.authorized:
		a = status(http.StatusUnauthorized, "")
	case v.refused:
		a = status(http.StatusTooManyRequests, "")
	case v.scripted:
		if err := s.hold(r, v.step); err != nil {
			return answer{}, err
		}
		a = v.step.answer(call.id, v.link)
		a.fault = v.step.fault
	case call.operation == "getGenerationStatus":
		a = status(http.StatusNotFound, call.id)
	default:
		s.mu.Lock()
		a = s.operate(call, r)
		s.mu.Unlock()
		switch a.status {
		case http.StatusOK:
			a.status, a.partial = call.document.Status, true
		case 0:
			a = s.contract.derived(call)
		}
	}
	if a.partial {
		a.body = s.contract.whole(call, a.body)
	}
	if !a.fault {
		if err := s.contract.response(call, a); err != nil {
			s.report("gammatest: the answer to %s %s breaks the contract: %d %s: %v", r.Method, r.URL.Path, a.status, a.body, err)
			a = problem(http.StatusInternalServerError, err.Error())
		}
	}
	v.complete(&a)
	return a, nil
}

// read returns the body of r, which can be read again, and reports whether all of it
// came: a connection may break, which is no violation.
func read(r *http.Request) (body []byte, whole bool) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, true
	}
	body, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body, err == nil
}

// visit is what the stand-in makes of a request when it arrives.
type visit struct {
	header     http.Header // of the answer, whichever it is
	authorized bool
	refused    bool
	scripted   bool // step is the answer
	step       Step
	link       string
}

// arrive records r, takes it from the budget and takes the next step of the
// generation that it asks for.
func (s *API) arrive(r *http.Request, body []byte, c call) visit {
	request := Request{Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Header: r.Header.Clone(), Body: body}
	v := visit{header: make(http.Header, 12)}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	request.Time = now
	s.requests = append(s.requests, request)
	key := r.Header.Get("X-Api-Key")
	v.authorized = key != "" && key == s.key
	for _, w := range []*window{&s.burst, &s.hour, &s.day} {
		w.roll(now)
	}
	v.refused = s.enforced && s.burst.used >= s.burst.limit
	if v.authorized && !v.refused {
		s.burst.used++
		s.hour.used++
		s.day.used++
		var g *script
		if c.operation == "getGenerationStatus" {
			g = s.generations[c.id]
		}
		if g != nil && g.exportAs != "" {
			v.link = s.link(c.id, g.exportAs)
		}
		if next := s.next[c.operation]; len(next) > 0 {
			v.scripted, v.step = true, next[0]
			s.next[c.operation] = next[1:]
		} else if g != nil {
			v.scripted, v.step = true, g.next(now)
		}
	}
	v.header["X-Request-Id"] = []string{fmt.Sprintf("req-%06d", len(s.requests))}
	s.burst.header(v.header, "-Burst")
	s.hour.header(v.header, "")
	s.day.header(v.header, "-Daily")
	if v.authorized && v.refused {
		v.header["Retry-After"] = []string{seconds(s.burst.end.Sub(now))}
	}
	return v
}

// complete puts the head of the answer together.
func (v visit) complete(a *answer) {
	if a.status == http.StatusNoContent || a.status == http.StatusNotModified {
		a.body = nil
	}
	h := v.header
	h["Date"] = []string{time.Now().UTC().Format(http.TimeFormat)}
	h["Content-Type"] = []string{a.contentType}
	if a.contentType == "" && a.body == nil {
		h["Content-Type"] = nil
	}
	h["Content-Length"] = []string{strconv.Itoa(len(a.body))}
	if v.step.cut {
		a.body = a.body[:len(a.body)/2]
	}
	for _, field := range v.step.header {
		h[field[0]] = nil // also keeps net/http from adding its own
		if field[1] != "" {
			h[field[0]] = []string{field[1]}
		}
	}
	if n, err := strconv.Atoi(h.Get("Content-Length")); err == nil && n >= 0 {
		a.body = a.body[:min(n, len(a.body))] // net/http would send nothing of it
	}
	a.header = h
}

// hold keeps the answer back as long as step says. The error is errDropped where
// the step drops the connection or the stand-in closes first.
func (s *API) hold(r *http.Request, step Step) error {
	if step.hang || step.delay > 0 {
		var elapsed <-chan time.Time // nil: never
		if !step.hang {
			elapsed = time.After(step.delay)
		}
		select {
		case <-elapsed:
		case <-s.closed:
			return errDropped
		case <-r.Context().Done():
			return context.Cause(r.Context())
		}
	}
	if step.drop {
		return errDropped
	}
	return nil
}

// seconds returns d in whole seconds, rounded up: earlier would be too early.
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}
