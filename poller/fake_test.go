package poller_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"math"
	"math/rand/v2"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

// script is a RoundTripper that returns one response after another and repeats the last. It
// records the time of each request, from the first.
type script struct {
	mu    sync.Mutex
	steps []step
	start time.Time
	at    []time.Duration
}

type step func(*http.Request) (*http.Response, error)

func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	if s.start.IsZero() {
		s.start = time.Now()
	}
	s.at = append(s.at, time.Since(s.start))
	next := s.steps[min(len(s.at), len(s.steps))-1]
	s.mu.Unlock()
	return next(req)
}

func (s *script) polls() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

// reply responds with status, body and headers, given as name, value pairs.
func reply(status int, body string, headers ...string) step {
	return func(req *http.Request) (*http.Response, error) {
		h := http.Header{"Content-Type": {"application/json"}}
		for i := 0; i < len(headers); i += 2 {
			h.Set(headers[i], headers[i+1])
		}
		return &http.Response{
			StatusCode: status, Header: h, Request: req,
			Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
		}, nil
	}
}

func state(status string, extra ...string) step {
	return reply(200, fmt.Sprintf(`{"generationId":"gen1","status":%q%s}`, status, strings.Join(extra, "")))
}

var (
	pending   = state("pending")
	completed = state("completed", `,"gammaUrl":"https://gamma.app/docs/x","credits":{"deducted":3,"remaining":9007199254740992}`)
	dropped   = step(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF })
	hangs     = step(func(req *http.Request) (*http.Response, error) {
		<-req.Context().Done()
		return nil, req.Context().Err()
	})
)

func after(d time.Duration, s step) step {
	return func(req *http.Request) (*http.Response, error) {
		select {
		case <-time.After(d):
			return s(req)
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
}

func newPoller(t *testing.T, steps ...step) (*poller.Poller, *script) {
	t.Helper()
	s := &script{steps: steps}
	client, err := gamma.NewClient("sk-gamma-test", gamma.WithHTTPClient(&http.Client{Transport: s}))
	if err != nil {
		t.Fatal(err)
	}
	return poller.New(client), s
}

// within checks that each poll came at its time, or up to a fifth later because of jitter.
func within(t *testing.T, got []time.Duration, want ...time.Duration) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("polls at %v, want %d of them at about %v", got, len(want), want)
	}
	for i := range want {
		if got[i] < want[i] || got[i] > want[i]+want[i]/5+time.Millisecond {
			t.Errorf("poll %d at %v, want %v to %v", i+1, got[i], want[i], want[i]+want[i]/5)
		}
	}
}

const s = time.Second

// oneLine checks the rules for all error texts.
func oneLine(t *testing.T, err error) {
	t.Helper()
	text := err.Error()
	if !strings.HasPrefix(text, "gamma: ") || strings.Count(text, "gamma: ") != 1 || strings.ContainsAny(text, "\n\r\x1b") ||
		strings.Contains(text, "sk-gamma-test") || strings.Contains(text, "http") || len(text) > 1500 {
		t.Errorf("error text %q", text)
	}
}

type stub func(context.Context, string) (*api.GetGenerationStatusHTTPResponse, error)

func (f stub) GetGenerationStatusWithResponse(ctx context.Context, id string, _ ...api.RequestEditorFn) (*api.GetGenerationStatusHTTPResponse, error) {
	return f(ctx, id)
}

// farm is a Client with generations that finish some time after the start, and a limit of
// requests in every window.
type farm struct {
	mu       sync.Mutex
	start    time.Time
	rtt      time.Duration
	done     map[string]time.Duration // since start; missing: never
	failed   map[string]bool
	budget   int64 // 0 for none
	window   time.Duration
	aligned  bool // windows follow the clock, not their first request
	opened   time.Duration
	left     int64
	polls    map[string][]time.Duration
	seconds  map[int]int
	requests int
	refused  int
	inFlight int
	most     int
}

func newFarm() *farm {
	return &farm{start: time.Now(), done: map[string]time.Duration{}, failed: map[string]bool{}, polls: map[string][]time.Duration{}, seconds: map[int]int{}, opened: -time.Hour}
}

func (f *farm) GetGenerationStatusWithResponse(ctx context.Context, id string, _ ...api.RequestEditorFn) (*api.GetGenerationStatusHTTPResponse, error) {
	f.mu.Lock()
	f.inFlight++
	f.most = max(f.most, f.inFlight)
	f.mu.Unlock()
	sleepCtx(ctx, f.rtt/2)
	rsp, err := f.respond(id)
	sleepCtx(ctx, f.rtt/2)
	f.mu.Lock()
	f.inFlight--
	f.mu.Unlock()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return rsp, err
}

func (f *farm) respond(id string) (*api.GetGenerationStatusHTTPResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Since(f.start)
	f.requests++
	f.seconds[int(now/time.Second)]++
	f.polls[id] = append(f.polls[id], now)
	h := http.Header{}
	if f.budget > 0 {
		if now >= f.opened+f.window {
			if f.opened, f.left = now, f.budget; f.aligned {
				f.opened = now.Truncate(f.window)
			}
		}
		if f.left == 0 {
			f.refused++
			wait := f.opened + f.window - now
			return nil, &gamma.APIError{StatusCode: 429, RetryAfter: (wait + time.Second - 1).Truncate(time.Second), RateLimit: gamma.RateLimitOf(http.Header{"X-Ratelimit-Remaining-Burst": {"0"}})}
		}
		f.left--
		h.Set("X-RateLimit-Remaining-Burst", fmt.Sprint(f.left))
	}
	gen := &api.GenerationStatusResponse{GenerationID: id, Status: api.GenerationStatusPending}
	if at, ok := f.done[id]; ok && now >= at {
		if gen.Status = api.GenerationStatusCompleted; f.failed[id] {
			gen.Status = api.GenerationStatusFailed
		}
	}
	return &api.GetGenerationStatusHTTPResponse{HTTPResponse: &http.Response{StatusCode: 200, Header: h}, JSON200: gen}, nil
}

// polled returns when the generation id was polled, while it may be polled again.
func (f *farm) polled(id string) []time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.polls[id])
}

func sleepCtx(ctx context.Context, d time.Duration) {
	// Not a timer that is due at once: goroutines of a bubble that look at such timers
	// at the same time crash the race detector (golang.org/issue/78156).
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// sequence returns n new waits, for gen0, gen1 and so on.
func sequence(n int) iter.Seq[poller.Progress] {
	return func(yield func(poller.Progress) bool) {
		for i := range n {
			if !yield(poller.Progress{ID: fmt.Sprintf("gen%d", i)}) {
				return
			}
		}
	}
}

// lognormal returns n durations with the median and the 95th percentile that
// Gamma's generations may have.
func lognormal(n int) []time.Duration {
	r := rand.New(rand.NewPCG(1, 2))
	out := make([]time.Duration, n)
	for i := range out {
		out[i] = time.Duration(75 * float64(time.Second) * math.Exp(0.5322*r.NormFloat64()))
	}
	return out
}

// stalled is a body that never arrives.
type stalled struct{ ctx context.Context }

func (b stalled) Read([]byte) (int, error) {
	<-b.ctx.Done()
	return 0, b.ctx.Err()
}

// limited is a RoundTripper with generations that finish at a given time, and rate-limit
// windows that start at fixed times. It responds after 100 ms.
type limited struct {
	mu       sync.Mutex
	windows  []clocked
	finished map[string]time.Time
	good     int
	refused  int
	capacity time.Time     // since when there is capacity in every window
	silent   time.Duration // the longest time that none of it was used
}

// clocked is a window that starts at multiples of its length.
type clocked struct {
	name        string // the end of the headers' names
	limit, used int
	length      time.Duration
	end         time.Time
}

func (l *limited) RoundTrip(req *http.Request) (*http.Response, error) {
	sleepCtx(req.Context(), 50*time.Millisecond)
	status, h := l.count(time.Now())
	sleepCtx(req.Context(), 50*time.Millisecond)
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	return l.respond(req, status, h), nil
}

func (l *limited) count(now time.Time) (status int, h http.Header) {
	l.mu.Lock()
	defer l.mu.Unlock()
	status, h = 200, http.Header{}
	for i := range l.windows {
		w := &l.windows[i]
		if !now.Before(w.end) {
			w.used, w.end = 0, now.Truncate(w.length).Add(w.length)
		}
		if w.used == w.limit {
			status = 429
		}
	}
	if !l.capacity.IsZero() {
		l.silent = max(l.silent, now.Sub(l.capacity))
	}
	l.capacity = now
	for i := range l.windows {
		w := &l.windows[i]
		if status == 200 {
			w.used++
		}
		if w.used == w.limit && w.end.After(l.capacity) {
			l.capacity = w.end
		}
		h.Set("X-Ratelimit-Limit"+w.name, fmt.Sprint(w.limit))
		h.Set("X-Ratelimit-Remaining"+w.name, fmt.Sprint(w.limit-w.used))
	}
	if status == 200 {
		l.good++
	} else {
		l.refused++
	}
	return status, h
}

func (l *limited) respond(req *http.Request, status int, h http.Header) *http.Response {
	id := path.Base(req.URL.Path)
	body := fmt.Sprintf(`{"generationId":%q,"status":"pending"}`, id)
	if l.done(id) {
		body = fmt.Sprintf(`{"generationId":%q,"status":"completed"}`, id)
	}
	if status != 200 {
		body = `{"message":"Too many requests"}`
	}
	h.Set("Content-Type", "application/json")
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: req}
}

// done reports whether the generation id has finished.
func (l *limited) done(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, ok := l.finished[id]
	return ok && !time.Now().Before(at)
}

func (l *limited) finishes(id string, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.finished == nil {
		l.finished = map[string]time.Time{}
	}
	l.finished[id] = at
}

func pollerOf(t *testing.T, transport http.RoundTripper) *poller.Poller {
	t.Helper()
	client, err := gamma.NewClient("sk-gamma-test", gamma.WithHTTPClient(&http.Client{Transport: transport}))
	if err != nil {
		t.Fatal(err)
	}
	return poller.New(client)
}

// bucket is a limit of requests per second, a leaky bucket as in nginx.
type bucket struct {
	limited
	perSecond, burst float64
	excess           float64
	last             time.Time
	tell             bool // Retry-After and what remains
}

func (b *bucket) RoundTrip(req *http.Request) (*http.Response, error) {
	sleepCtx(req.Context(), 30*time.Millisecond)
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	status, h := b.drip(time.Now())
	return b.respond(req, status, h), nil
}

func (b *bucket) drip(now time.Time) (status int, h http.Header) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h = http.Header{}
	excess := 0.0
	if !b.last.IsZero() {
		excess = max(0, b.excess-b.perSecond*now.Sub(b.last).Seconds()+1)
	}
	status = 429
	if excess <= b.burst {
		status, b.excess, b.last = 200, excess, now
		b.good++
	} else {
		b.refused++
	}
	if b.tell {
		h.Set("X-Ratelimit-Limit", fmt.Sprint(b.burst))
		h.Set("X-Ratelimit-Remaining", fmt.Sprint(int(max(0, b.burst-excess))))
		if status == 429 {
			h.Set("Retry-After", "1")
		}
	}
	return status, h
}
