package poller_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

// script is a RoundTripper that gives one response after another and repeats the
// last. It records when each request came, counted from the first.
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

// within checks that each poll came at its due time, stretched by at most a fifth
// of each pause before it.
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

// oneLine holds an error text to the rules for all of them.
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

// farm is a Client with generations that finish some time after the start, and a
// budget of requests in every window.
type farm struct {
	mu       sync.Mutex
	start    time.Time
	rtt      time.Duration
	done     map[string]time.Duration // since start; never, if not there
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

// stalled is a body that does not come.
type stalled struct{ ctx context.Context }

func (b stalled) Read([]byte) (int, error) {
	<-b.ctx.Done()
	return 0, b.ctx.Err()
}
