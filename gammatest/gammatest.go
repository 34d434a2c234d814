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
	"strings"
	"sync"
	"time"
)

// Key is the API key that a fake accepts, unless [API.SetKey] sets another.
const Key = "sk-gamma-fake-0123456789abcdef"

// TB is the part of [testing.TB] that a fake uses. Errorf must be safe for concurrent use,
// as in a test. See [Program] for a program that is not a test.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Cleanup(func())
}

// Program is a [TB] for a program that is not a test, such as an example or a demo.
// The zero value is ready to use. It is safe for concurrent use.
type Program struct {
	mu       sync.Mutex
	errs     []error
	cleanups []func()
}

// Helper does nothing.
func (*Program) Helper() {}

// Errorf keeps an error for [Program.Close].
func (p *Program) Errorf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.errs = append(p.errs, fmt.Errorf(format, args...))
}

// Cleanup makes [Program.Close] call f.
func (p *Program) Cleanup(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cleanups = append(p.cleanups, f)
}

// Close closes the fakes that were created with p: it calls the functions given to Cleanup,
// the last one first. It returns the errors that were reported, joined, or nil. A second
// call does nothing.
func (p *Program) Close() error {
	p.mu.Lock()
	cleanups := p.cleanups
	p.cleanups = nil
	p.mu.Unlock()
	for _, f := range slices.Backward(cleanups) {
		f()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	err := errors.Join(p.errs...)
	p.errs = nil
	return err
}

// API controls a fake. [NewClient] returns one; a [Server], a [Handler] and a [Transport]
// embed one. All methods are safe for concurrent use.
type API struct {
	t        TB
	contract *contract
	closed   chan struct{}
	sockets  []*httptest.Server

	reporting sync.Mutex // held while t is in use, which ends with its cleanup
	planning  sync.Mutex // held while onCreate runs

	mu          sync.Mutex
	key         string
	generations map[string]*script
	workspace
	files    files
	received int       // requests
	requests []Request // the last of them
	keep     int       // requests and downloads, each; negative: all
	enforced bool
	burst    window
	hour     window
	day      window
}

// Request is a request that the fake received.
type Request struct {
	Method string
	Path   string      // escaped, as it was sent
	Query  string      // escaped, without the question mark
	Header http.Header // includes the API key; must not be changed
	Body   []byte      // what arrived of it; nil for a download; must not be changed
	Time   time.Time   // when it arrived
}

// newAPI returns an API that is closed by the cleanups of t.
func newAPI(t TB, steps []Step) *API {
	s := &API{
		t:           t,
		contract:    published(),
		closed:      make(chan struct{}),
		key:         Key,
		keep:        -1,
		files:       files{lifetime: linkLifetime},
		generations: make(map[string]*script),
		workspace:   newWorkspace(),
		// A hundred times the documented limits, so that a test with thousands of jobs
		// does not reach them by accident.
		burst: window{limit: 1_000_000, length: time.Minute},
		hour:  window{limit: 4_000_000, length: time.Hour},
		day:   window{limit: 20_000_000, length: 24 * time.Hour},
	}
	t.Helper()
	s.life = s.lifeOf("created generations", steps)
	t.Cleanup(func() {
		s.reporting.Lock()
		close(s.closed)
		s.reporting.Unlock()
		for _, socket := range s.sockets {
			socket.Close() // waits for the handlers, which s.closed ends
		}
	})
	return s
}

// Add adds a generation with the given id and life: each step responds to one poll or more,
// and the last one repeats. The generation is created now, which counts for [PendingFor],
// without an export. Without steps it stays pending. If the id exists, it starts again with
// the new steps. A step with invalid arguments is an error of the test.
func (s *API) Add(id string, steps ...Step) {
	s.t.Helper()
	what := "generation " + id
	l := s.lifeOf(what, steps)
	if len(l.create) > 0 {
		s.report("gammatest: %s: ForCreate is of no use: no request creates it", what)
	}
	if len(l.downloads) > 0 {
		s.report("gammatest: %s: ForDownload is of no use: it has no export", what)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generations[id] = newScript(l, "")
}

// life is what happens to a generation.
type life struct {
	create    []Step // at most one; none: as usual
	polls     []Step
	downloads []Step
}

// lifeOf returns the life that steps make. It reports invalid steps.
func (s *API) lifeOf(what string, steps []Step) (l life) {
	s.t.Helper()
	for _, step := range steps {
		role := step.role
		step.role = forPoll
		switch {
		case role == forCreate:
			l.create = append(l.create, s.exchanges(what+": create", step)...)
		case role == forDownload:
			l.downloads = append(l.downloads, s.exchanges(what+": downloads", step)...)
		case step.err != nil:
			s.report("gammatest: %s: %v", what, step.err)
		case step.usual:
			s.report("gammatest: %s: Usual is only for Next, NextDownload, ForCreate and ForDownload", what)
		case step.polls > 0 || step.span > 0:
			l.polls = append(l.polls, step)
		}
	}
	if len(l.create) > 1 {
		s.report("gammatest: %s: %d steps for the create, want at most 1", what, len(l.create))
	}
	return l
}

// Budget limits the rate to n requests per window of length per, which starts with its first
// request. Further requests receive status 429, and a Retry-After header with the time until
// the window ends, in whole seconds, rounded up; they take no step. The
// x-ratelimit-limit-burst and x-ratelimit-remaining-burst headers have n and the number of
// requests that remain. The default is no limit, with headers that start at 1,000,000. n and
// per must be positive. Another call of Budget starts another window.
func (s *API) Budget(n int, per time.Duration) {
	s.t.Helper()
	if n <= 0 || per <= 0 {
		s.report("gammatest: Budget(%d, %v): both must be positive", n, per)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.burst, s.enforced = window{limit: n, length: per}, true
}

// SetKey makes key the only accepted API key. Requests with another key, also [Key], receive
// status 401. If key is empty, all do.
func (s *API) SetKey(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key = key
}

// Requests returns the requests so far in the order of their arrival, including refused,
// dropped and invalid ones. It does not return downloads, see [API.Downloads].
func (s *API) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// KeepRequests limits [API.Requests] and [API.Downloads] to the last n each, for a fake
// that runs for a long time. The default is all, as is a negative n.
func (s *API) KeepRequests(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep = n
	s.requests = latest(s.requests, n)
	s.files.requests = latest(s.files.requests, n)
}

// latest returns the last n of requests, all for a negative n. It releases the others.
func latest(requests []Request, n int) []Request {
	if n == 0 {
		return nil
	}
	if excess := len(requests) - n; n > 0 && excess > 0 {
		clear(requests[:excess])
		requests = requests[excess:]
	}
	return requests
}

// received returns the record of r.
func received(r *http.Request, body []byte) Request {
	return Request{Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Header: r.Header.Clone(), Body: body, Time: time.Now()}
}

// report reports an error to the test, unless that has ended: its Errorf would panic.
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
	steps []Step    // for polls
	used  int       // polls that took the first of steps
	since time.Time // when the step before the first of steps was used up

	exportAs string    // empty: without an export
	link     int       // the number of its present link
	issued   time.Time // when that was given out; zero: it has expired

	downloads []Step // for the next of them
}

func newScript(l life, exportAs string) *script {
	if len(l.polls) == 0 {
		l.polls = []Step{Pending(1)}
	}
	return &script{steps: l.polls, since: time.Now(), exportAs: exportAs, downloads: l.downloads}
}

// next returns the step that responds to a poll at now.
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

// window counts requests in a fixed window, which starts with its first request.
type window struct {
	limit, used int
	length      time.Duration
	end         time.Time
}

// roll starts a new window if the last one has ended.
func (w *window) roll(now time.Time) {
	if !now.Before(w.end) {
		w.used, w.end = 0, now.Add(w.length)
	}
}

func (w *window) header(h http.Header, suffix string) {
	h["X-Ratelimit-Limit"+suffix] = []string{strconv.Itoa(w.limit)}
	h["X-Ratelimit-Remaining"+suffix] = []string{strconv.Itoa(max(w.limit-w.used, 0))}
}

// errDropped is returned for a request whose connection breaks.
var errDropped = errors.New("gammatest: the connection was dropped")

// reply returns the response to r. The error is errDropped, or the cause of the end of
// r's context.
func (s *API) reply(r *http.Request) (response, error) {
	if strings.HasPrefix(r.URL.Path, exportsPath) {
		return s.replyFile(r)
	}
	body, complete := read(r)
	if !complete {
		s.arrive(r, body, call{})
		return response{}, errDropped
	}
	call, violation := s.contract.request(r)
	v := s.arrive(r, body, call)
	step := v.step
	var rsp response
	switch {
	case violation != nil:
		s.report("gammatest: the request %s %s is invalid: %v", r.Method, r.URL.EscapedPath(), violation)
		rsp = problem(http.StatusBadRequest, violation.Error())
		rsp.fault = true
	case !v.authorized:
		rsp = status(http.StatusUnauthorized, "")
	case v.refused:
		rsp = status(http.StatusTooManyRequests, "")
	default:
		if step.usual {
			var own Step
			rsp, own = s.operate(call, r.URL.Query(), body)
			step = own.like(step)
		}
		if err := s.hold(r, step); err != nil {
			return response{}, err
		}
		if !step.usual {
			rsp = step.respond(call.id, v.link)
			rsp.fault = step.fault
		}
	}
	if rsp.partial {
		rsp.body = s.contract.complete(call, rsp.body)
	}
	if !rsp.fault {
		if err := s.contract.response(call, rsp); err != nil {
			s.report("gammatest: the response to %s %s is invalid: %d %s: %v", r.Method, r.URL.Path, rsp.status, rsp.body, err)
			rsp = problem(http.StatusInternalServerError, err.Error())
		}
	}
	rsp.finish(v.header, step)
	return rsp, nil
}

// read returns the body of r, which can be read again, and whether all of it arrived. A
// connection that breaks is not a violation.
func read(r *http.Request) (body []byte, complete bool) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, true
	}
	body, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	r.Body = http.NoBody // a chunked body may be empty
	if len(body) > 0 {
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return body, err == nil
}

// visit is what is decided when a request arrives.
type visit struct {
	header     http.Header // of the response
	authorized bool
	refused    bool
	step       Step // usual: nothing is scripted
	link       string
}

// arrive records r, counts it against the budget, and takes the next step of the operation
// or of the generation.
func (s *API) arrive(r *http.Request, body []byte, c call) visit {
	request := received(r, body)
	v := visit{header: make(http.Header, 12), step: Usual()}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.received++
	s.requests = latest(append(s.requests, request), s.keep)
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
		if next := s.next[c.operation]; len(next) > 0 {
			v.step, s.next[c.operation] = next[0], next[1:]
		}
		if g := s.generations[c.id]; g != nil && c.operation == "getGenerationStatus" && v.step.usual {
			v.step = g.next(now).like(v.step)
			if v.step.export && g.exportAs != "" {
				v.link = s.link(r, c.id, g, now)
			}
		}
	}
	v.header["X-Request-Id"] = []string{fmt.Sprintf("req-%06d", s.received)}
	s.burst.header(v.header, "-Burst")
	s.hour.header(v.header, "")
	s.day.header(v.header, "-Daily")
	if v.authorized && v.refused {
		v.header["Retry-After"] = []string{seconds(s.burst.end.Sub(now))}
	}
	return v
}

// hold waits for as long as step delays its response. The error is errDropped if the
// step drops the connection or the fake closes first.
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

// seconds returns d in whole seconds, rounded up: a client must not retry too early.
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}
