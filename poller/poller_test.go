package poller_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

// script is a RoundTripper that gives one answer after another and repeats the
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

// reply answers with status, body and headers, given as name, value pairs.
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

func TestWaitSchedule(t *testing.T) {
	ratelimit := func(limit, remaining string) step {
		return reply(200, `{"generationId":"gen1","status":"pending"}`, "X-RateLimit-Limit-Burst", limit, "X-RateLimit-Remaining-Burst", remaining)
	}
	low := []string{"X-RateLimit-Limit-Burst", "10000", "X-RateLimit-Remaining-Burst", "5"}
	tests := []struct {
		name  string
		steps []step
		want  []time.Duration
	}{
		{"finished already", []step{completed}, []time.Duration{0}},
		{"flat 5 s", []step{pending, pending, pending, completed}, []time.Duration{0, 5 * s, 10 * s, 15 * s}},
		{"low budget", []step{ratelimit("10000", "99"), completed}, []time.Duration{0, 15 * s}},
		{"low budget, other answers", []step{reply(404, "", low...), reply(503, "", low...), reply(429, "", append(low, "Retry-After", "7")...), completed}, []time.Duration{0, 15 * s, 30 * s, 37 * s}},
		{"budget of 1 %", []step{ratelimit("10000", "100"), completed}, []time.Duration{0, 5 * s}},
		{"budget without a limit", []step{ratelimit("", "0"), completed}, []time.Duration{0, 5 * s}},
		{"429 with Retry-After", []step{reply(429, "", "Retry-After", "42"), completed}, []time.Duration{0, 42 * s}},
		{"429 without", []step{reply(429, ""), reply(429, ""), reply(429, ""), pending, reply(429, ""), completed}, []time.Duration{0, 30 * s, 90 * s, 210 * s, 215 * s, 245 * s}},
		{"Retry-After on 503", []step{reply(503, "", "Retry-After", "100"), completed}, []time.Duration{0, 100 * s}},
		{"Retry-After on 200", []step{reply(200, `{"generationId":"gen1","status":"pending"}`, "Retry-After", "17"), completed}, []time.Duration{0, 17 * s}},
		{"Retry-After shorter than the pause", []step{reply(503, "", "Retry-After", "1"), completed}, []time.Duration{0, 5 * s}},
		{"Retry-After by the server's own clock", []step{reply(429, "", "Retry-After", "Wed, 21 Oct 2015 07:28:20 GMT", "Date", "Wed, 21 Oct 2015 07:28:00 GMT"), completed}, []time.Duration{0, 20 * s}},
		{"failures", []step{dropped, reply(500, ""), reply(200, `{"half`), reply(408, ""), completed}, []time.Duration{0, 5 * s, 15 * s, 35 * s, 65 * s}},
		{"a good answer resets failures", []step{dropped, dropped, pending, dropped, completed}, []time.Duration{0, 5 * s, 15 * s, 20 * s, 25 * s}},
		{"404 once", []step{reply(404, ""), completed}, []time.Duration{0, 5 * s}},
		{"unknown status", []step{state("rendering"), completed}, []time.Duration{0, 5 * s}},
		{"request timeout", []step{hangs, completed}, []time.Duration{0, 20 * s}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, script := newPoller(t, tt.steps...)
				p.Timeout = -1
				gen, err := p.Wait(t.Context(), "gen1")
				if err != nil || gen.Status != api.GenerationStatusCompleted {
					t.Fatalf("Wait = %+v, %v", gen, err)
				}
				if r := gen.Credits.Remaining; r == nil || *r != 1<<53 {
					t.Errorf("Credits.Remaining = %v, want 2^53", r)
				}
				within(t, script.polls(), tt.want...)
			})
		})
	}
}

func TestWaitEnds(t *testing.T) {
	tests := []struct {
		name  string
		steps []step
		polls int
		is    error
		last  bool
	}{
		{"401", []step{reply(401, `{"message":"Invalid API key.","statusCode":401}`)}, 1, gamma.ErrUnauthorized, true},
		{"401 in mid-wait", []step{pending, pending, reply(401, "")}, 3, gamma.ErrUnauthorized, true},
		{"402", []step{reply(402, "")}, 1, gamma.ErrInsufficientCredits, true},
		{"403", []step{reply(403, "")}, 1, gamma.ErrForbidden, true},
		{"404 twice", []step{reply(404, ""), reply(404, "")}, 2, gamma.ErrNotFound, true},
		{"404 twice around a 429", []step{reply(404, ""), reply(429, ""), reply(404, "")}, 3, gamma.ErrNotFound, true},
		{"404 and 500 in turn", []step{reply(404, ""), reply(500, ""), reply(404, ""), reply(500, ""), reply(404, ""), reply(500, ""), reply(404, ""), reply(500, ""), reply(404, ""), reply(500, "")}, 10, nil, true},
		{"redirect", []step{reply(302, "", "Location", "https://example.com/")}, 1, nil, true},
		{"501", []step{reply(501, "")}, 1, nil, true},
		{"five failures", []step{dropped}, 5, io.ErrUnexpectedEOF, true},
		{"another generation's answer", []step{reply(200, `{"generationId":"gen2","status":"completed"}`)}, 5, gamma.ErrUnexpectedResponse, true},
		{"empty status", []step{state("")}, 5, gamma.ErrUnexpectedResponse, true},
		{"HTML", []step{reply(200, "<html>", "Content-Type", "text/html")}, 5, gamma.ErrUnexpectedResponse, true},
		{"too large", []step{reply(200, strings.Repeat(" ", 1<<20+1))}, 1, gamma.ErrResponseTooLarge, true},
		{"Retry-After beyond the deadline", []step{pending, reply(429, "", "Retry-After", "3600")}, 2, context.DeadlineExceeded, true},
		{"Retry-After of a 503 beyond the deadline", []step{reply(503, "", "Retry-After", "3600")}, 1, context.DeadlineExceeded, true},
		{"pending for ever", []step{pending}, 0, context.DeadlineExceeded, false},
		{"hangs for ever", []step{pending, hangs}, 0, context.DeadlineExceeded, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, script := newPoller(t, tt.steps...)
				start := time.Now()
				_, err := p.Wait(t.Context(), "gen1")
				var waitErr *poller.WaitError
				if !errors.As(err, &waitErr) {
					t.Fatalf("Wait: %v, want a WaitError", err)
				}
				if tt.is != nil && !errors.Is(err, tt.is) {
					t.Errorf("Wait: %v, want it to be %v", err, tt.is)
				}
				if tt.polls != 0 && len(script.polls()) != tt.polls {
					t.Errorf("%d polls, want %d", len(script.polls()), tt.polls)
				}
				if waitErr.Polls != len(script.polls()) || waitErr.ID != "gen1" || waitErr.Since.IsZero() || waitErr.Cause == nil || (waitErr.Last != nil) != tt.last {
					t.Errorf("WaitError = %+v (Last %v) after %d polls", waitErr, waitErr.Last, len(script.polls()))
				}
				if elapsed := time.Since(start); elapsed > 5*time.Minute {
					t.Errorf("returned after %v, past the default of 5 minutes", elapsed)
				}
				oneLine(t, err)
			})
		})
	}
}

// oneLine holds an error text to the rules for all of them.
func oneLine(t *testing.T, err error) {
	t.Helper()
	text := err.Error()
	if !strings.HasPrefix(text, "gamma: ") || strings.Count(text, "gamma: ") != 1 || strings.ContainsAny(text, "\n\r\x1b") ||
		strings.Contains(text, "sk-gamma-test") || strings.Contains(text, "http") || len(text) > 1500 {
		t.Errorf("error text %q", text)
	}
}

func TestWaitFailed(t *testing.T) {
	tests := []struct {
		name    string
		step    step
		message string
		code    int
	}{
		{"with an error", state("failed", `,"error":{"message":"no\n\u001b[31mluck","statusCode":422},"credits":{"deducted":2,"remaining":5}`), `no\n\x1b[31mluck`, 422},
		{"without", state("failed"), "", 0},
		{"with an odd error", state("failed", `,"error":"boom"`), "", 0},
		{"with an odd message", state("failed", `,"error":{"message":["a"],"statusCode":422}`), "", 422},
		{"with an odd code", state("failed", `,"error":{"message":"m","statusCode":1e300}`), "m", 0},
		{"unknown status with an error", state("exploded", `,"error":{"message":"m","statusCode":500}`), "m", 500},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, _ := newPoller(t, pending, tt.step)
				gen, err := p.Wait(t.Context(), "gen1")
				var failed *poller.FailedError
				if !errors.As(err, &failed) || gen == nil || failed.Generation != gen {
					t.Fatalf("Wait = %v, %v, want the generation and a FailedError", gen, err)
				}
				if failed.Message != tt.message || failed.StatusCode != tt.code || failed.Polls != 2 {
					t.Errorf("FailedError = %+v, want message %q and code %d", failed, tt.message, tt.code)
				}
				oneLine(t, err)
			})
		})
	}
}

// An answer that says how a paid job ended is worth more than its details.
func TestWaitKeepsTheVerdict(t *testing.T) {
	for _, extra := range []string{``, `,"credits":"many"`, `,"credits":[]`, `,"error":5`, `,"gammaUrl":7,"exportUrl":{}`, `,"gammaId":null`, `,"credits":{"deducted":"3","remaining":1}`} {
		synctest.Test(t, func(t *testing.T) {
			p, script := newPoller(t, state("completed", extra))
			gen, err := p.Wait(t.Context(), "gen1")
			if err != nil || gen.Status != api.GenerationStatusCompleted || len(script.polls()) != 1 {
				t.Errorf("with %s: Wait = %+v, %v", extra, gen, err)
			}
		})
	}
}

func TestWaitDeadline(t *testing.T) {
	tests := []struct {
		name    string
		timeout time.Duration // of the Poller
		ctx     time.Duration // of the context, 0 for none
		steps   []step
		want    time.Duration
		polls   int
	}{
		{"Timeout", 12 * s, 0, []step{pending}, 12 * s, 4},
		{"context", 0, 12 * s, []step{pending}, 12 * s, 4},
		{"context before Timeout", time.Hour, 12 * s, []step{pending}, 12 * s, 4},
		{"Timeout before context", 12 * s, time.Hour, []step{pending}, 12 * s, 4},
		{"neither", 0, 0, []step{pending}, 5 * time.Minute, 0},
		{"context beyond the default", 0, time.Hour, []step{pending}, time.Hour, 0},
		{"Timeout off", -1, time.Hour, []step{pending}, time.Hour, 0},
		{"shorter than a poll", time.Millisecond, 0, []step{pending}, time.Millisecond, 1},
		{"in mid-request", 12 * s, 0, []step{pending, hangs}, 12 * s, 2},
		{"failures up to the deadline", 12 * s, 0, []step{dropped}, 12 * s, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, script := newPoller(t, tt.steps...)
				p.Timeout = tt.timeout
				ctx := t.Context()
				if tt.ctx != 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.ctx)
					defer cancel()
				}
				start := time.Now()
				_, err := p.Wait(ctx, "gen1")
				var waitErr *poller.WaitError
				if !errors.As(err, &waitErr) || !errors.Is(waitErr.Cause, context.DeadlineExceeded) {
					t.Fatalf("Wait: %v, want a WaitError for the deadline", err)
				}
				if got := time.Since(start); got != tt.want {
					t.Errorf("returned after %v, want %v", got, tt.want)
				}
				if got := len(script.polls()); tt.polls != 0 && (got < tt.polls-1 || got > tt.polls) {
					t.Errorf("%d polls, want %d, or one less by jitter", got, tt.polls)
				}
			})
		})
	}
}

// A result that is there just before the deadline is not missed, however long
// the pause is.
func TestWaitPollsLastAtTheDeadline(t *testing.T) {
	for _, trip := range []time.Duration{0, 300 * time.Millisecond, 2 * s} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			p, _ := newPoller(t, func(req *http.Request) (*http.Response, error) {
				answer := pending
				if time.Since(start) > 50*s {
					answer = completed
				}
				return after(trip, answer)(req)
			})
			p.Interval, p.Timeout = 40*s, 60*s
			if gen, err := p.Wait(t.Context(), "gen1"); err != nil || gen.Status != api.GenerationStatusCompleted {
				t.Errorf("with a round trip of %v: Wait = %v, %v", trip, gen, err)
			}
			if d := time.Since(start); d > 60*s {
				t.Errorf("with a round trip of %v: returned after %v", trip, d)
			}
		})
	}
}

// At the deadline itself All must not poll again and again until the context tells.
func TestAllIsQuietAtTheDeadline(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			p, s := newPoller(t, pending)
			ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
			defer cancel()
			for _, err := range p.All(ctx, func(yield func(string) bool) { yield("gen1") }) {
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			}
			within(t, s.polls(), 0, 5*time.Second, 10*time.Second, 12*time.Second-10*time.Millisecond)
		})
	}
}

func TestWaitCanceled(t *testing.T) {
	why := errors.New("the user left")
	tests := []struct {
		name  string
		steps []step
		at    time.Duration
		polls int
	}{
		{"before the first poll", []step{pending}, 0, 0},
		{"in the pause", []step{pending}, 7 * s, 2},
		{"in mid-request", []step{hangs}, 7 * s, 1},
		{"while rate limited", []step{reply(429, "")}, 7 * s, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, script := newPoller(t, tt.steps...)
				ctx, cancel := context.WithCancelCause(t.Context())
				if tt.at == 0 {
					cancel(why)
				}
				time.AfterFunc(tt.at, func() { cancel(why) })
				start := time.Now()
				_, err := p.Wait(ctx, "gen1")
				var waitErr *poller.WaitError
				if !errors.As(err, &waitErr) || !errors.Is(waitErr.Cause, why) || !errors.Is(waitErr.Cause, context.Canceled) {
					t.Fatalf("Wait: %v, want a WaitError for the cancellation and its cause", err)
				}
				if got := time.Since(start); got != tt.at {
					t.Errorf("returned after %v, want %v", got, tt.at)
				}
				if len(script.polls()) != tt.polls {
					t.Errorf("%d polls, want %d", len(script.polls()), tt.polls)
				}
			})
		})
	}
}

// A status counts, also when the context ends in its body.
func TestWaitCutOffInTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cutOff := func(head step) step {
			return func(req *http.Request) (*http.Response, error) {
				rsp, err := head(req)
				rsp.Body, rsp.ContentLength = io.NopCloser(stalled{req.Context()}), -1
				return rsp, err
			}
		}
		p, script := newPoller(t, cutOff(reply(503, "")), cutOff(reply(429, "", "Retry-After", "60")), cutOff(pending), completed)
		progress := poller.Progress{ID: "gen1"}
		check := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 2*s)
			defer cancel()
			_, _, err := p.Check(ctx, &progress)
			return err
		}
		var apiErr *gamma.APIError
		if err := check(); !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &apiErr) || progress.Failures != 1 {
			t.Errorf("503: %v with %+v", err, progress)
		}
		if err := check(); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, gamma.ErrRateLimited) || progress.RateLimited != 1 {
			t.Errorf("429: %v with %+v", err, progress)
		}
		if _, next, err := p.Check(t.Context(), &progress); next < 60*s || err != nil {
			t.Errorf("behind the 429: next in %v, %v", next, err)
		}
		time.Sleep(60 * s)
		if err := check(); !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &apiErr) || progress.Failures != 1 {
			t.Errorf("200: %v with %+v", err, progress)
		}
		if _, err := p.Wait(t.Context(), "gen1"); err != nil {
			t.Error(err)
		}
		within(t, script.polls(), 0, 2*s, 64*s, 66*s)
	})
}

// stalled is a body that does not come.
type stalled struct{ ctx context.Context }

func (b stalled) Read([]byte) (int, error) {
	<-b.ctx.Done()
	return 0, b.ctx.Err()
}

func TestWaitFinishedAnswerBeatsCancellation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		p := poller.New(stub(func(context.Context, string) (*api.GetGenerationStatusHTTPResponse, error) {
			cancel()
			return &api.GetGenerationStatusHTTPResponse{JSON200: &api.GenerationStatusResponse{GenerationID: "gen1", Status: "completed"}}, nil
		}))
		if gen, err := p.Wait(ctx, "gen1"); err != nil || gen.Status != api.GenerationStatusCompleted {
			t.Errorf("Wait = %v, %v", gen, err)
		}
	})
}

type stub func(context.Context, string) (*api.GetGenerationStatusHTTPResponse, error)

func (f stub) GetGenerationStatusWithResponse(ctx context.Context, id string, _ ...api.RequestEditorFn) (*api.GetGenerationStatusHTTPResponse, error) {
	return f(ctx, id)
}

// A client that gamma.NewClient did not make reports statuses in the response.
func TestWaitWithStubs(t *testing.T) {
	respond := func(code int) *api.GetGenerationStatusHTTPResponse {
		return &api.GetGenerationStatusHTTPResponse{HTTPResponse: &http.Response{StatusCode: code, Header: http.Header{"Retry-After": {"1"}}}}
	}
	tests := []struct {
		name  string
		rsp   *api.GetGenerationStatusHTTPResponse
		err   error
		polls int
		is    error
	}{
		{"nothing", nil, nil, 5, nil},
		{"no JSON", &api.GetGenerationStatusHTTPResponse{}, nil, 5, gamma.ErrUnexpectedResponse},
		{"200 without JSON", respond(200), nil, 5, gamma.ErrUnexpectedResponse},
		{"401", respond(401), nil, 1, gamma.ErrUnauthorized},
		{"404", respond(404), nil, 2, gamma.ErrNotFound},
		{"500", respond(500), nil, 5, nil},
		{"an answer and an error", respond(200), io.ErrUnexpectedEOF, 5, io.ErrUnexpectedEOF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				polls := 0
				p := poller.New(stub(func(context.Context, string) (*api.GetGenerationStatusHTTPResponse, error) {
					polls++
					return tt.rsp, tt.err
				}))
				_, err := p.Wait(t.Context(), "gen1")
				var waitErr *poller.WaitError
				if !errors.As(err, &waitErr) || polls != tt.polls || tt.is != nil && !errors.Is(err, tt.is) {
					t.Errorf("Wait: %v after %d polls, want %v after %d", err, polls, tt.is, tt.polls)
				}
			})
		})
	}
}

// A RetryAfter that no server can ask for does not make the poller spin, or wait
// for ever.
func TestStubRetryAfter(t *testing.T) {
	const day = 24 * time.Hour
	for _, tt := range []struct {
		code             int
		retryAfter, want time.Duration
	}{
		{429, -1, 30 * s},
		{503, -1, 5 * s},
		{503, math.MinInt64, 5 * s},
		{429, day + 1, day},
		{429, math.MaxInt64, day},
		{503, math.MaxInt64, day},
	} {
		p := poller.New(stub(func(context.Context, string) (*api.GetGenerationStatusHTTPResponse, error) {
			return nil, &gamma.APIError{StatusCode: tt.code, RetryAfter: tt.retryAfter}
		}))
		for range 2 { // the second may be held back by the first
			if _, next, err := p.Check(t.Context(), &poller.Progress{ID: "gen1"}); err != nil || next < tt.want-s || next > tt.want+min(tt.want/5, time.Minute) {
				t.Errorf("%d with %v: next in %v, %v, want %v", tt.code, tt.retryAfter, next, err, tt.want)
			}
		}
	}
}

func TestBadInput(t *testing.T) {
	count := 0
	client := stub(func(context.Context, string) (*api.GetGenerationStatusHTTPResponse, error) {
		count++
		return nil, errors.New("sent")
	})
	tests := []struct {
		name     string
		poller   *poller.Poller
		progress poller.Progress
		want     string
	}{
		{"negative Interval", &poller.Poller{Interval: -1}, poller.Progress{ID: "x"}, "negative Interval"},
		{"empty id", poller.New(client), poller.Progress{}, "is empty"},
		{"dots", poller.New(client), poller.Progress{ID: ".."}, "dot segment"},
		{"slash", poller.New(client), poller.Progress{ID: "a/b"}, "position 1"},
		{"escape", poller.New(client), poller.Progress{ID: "a%2fb"}, "position 1"},
		{"line break", poller.New(client), poller.Progress{ID: "a\n"}, "position 1"},
		{"long", poller.New(client), poller.Progress{ID: strings.Repeat("a", 257)}, "257 characters"},
		{"negative Polls", poller.New(client), poller.Progress{ID: "x", Polls: -1}, "not valid"},
		{"negative Failures", poller.New(client), poller.Progress{ID: "x", Failures: -1}, "not valid"},
		{"negative RateLimited", poller.New(client), poller.Progress{ID: "x", RateLimited: -1}, "not valid"},
	}
	negative := poller.New(client)
	negative.Interval = -1
	failures := poller.New(client)
	failures.MaxFailures = -1
	tests = append(tests, []struct {
		name     string
		poller   *poller.Poller
		progress poller.Progress
		want     string
	}{
		{"negative Interval with a client", negative, poller.Progress{ID: "x"}, "negative Interval"},
		{"negative MaxFailures", failures, poller.Progress{ID: "x"}, "negative MaxFailures"},
	}...)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			check := func(method string, err error) {
				t.Helper()
				var waitErr *poller.WaitError
				if err == nil || !strings.Contains(err.Error(), tt.want) || errors.As(err, &waitErr) {
					t.Errorf("%s: %v, want an error that says %q", method, err, tt.want)
				} else {
					oneLine(t, err)
				}
			}
			n := 0
			for _, err := range tt.poller.Watch(t.Context(), tt.progress) {
				check("Watch", err)
				n++
			}
			if n != 1 {
				t.Errorf("Watch yielded %d times", n)
			}
			if tt.progress.Polls == 0 && tt.progress.Failures == 0 && tt.progress.RateLimited == 0 {
				_, err := tt.poller.Wait(t.Context(), tt.progress.ID)
				check("Wait", err)
			}
			_, _, err := tt.poller.Check(t.Context(), &tt.progress)
			check("Check", err)
		})
	}
	if _, _, err := poller.New(client).Check(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "nil Progress") {
		t.Errorf("Check(nil): %v", err)
	}
	if count != 0 {
		t.Errorf("%d requests were sent", count)
	}
}

func TestWatchEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newPoller(t, pending, dropped, state("rendering"), completed)
		var seen []poller.Event
		p.OnPoll = func(ev poller.Event) { seen = append(seen, ev) }
		var got []poller.Event
		for ev, err := range p.Watch(t.Context(), poller.Progress{ID: "gen1"}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, ev)
		}
		if len(got) != 4 || len(seen) != 4 {
			t.Fatalf("%d events, %d calls of OnPoll, want 4", len(got), len(seen))
		}
		for i, want := range []struct {
			status     api.GenerationStatus
			failures   int
			generation bool
			err        bool
			next       bool
		}{
			{"pending", 0, true, false, true},
			{"pending", 1, false, true, true},
			{"rendering", 0, true, false, true},
			{"completed", 0, true, false, false},
		} {
			ev := got[i]
			if ev.Polls != i+1 || ev.Status != want.status || ev.Failures != want.failures || (ev.Generation != nil) != want.generation || (ev.Err != nil) != want.err || (ev.Next > 0) != want.next || ev != seen[i] {
				t.Errorf("event %d = %+v", i, ev)
			}
		}
	})
}

func TestWatchBreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, script := newPoller(t, pending)
		for range p.Watch(t.Context(), poller.Progress{ID: "gen1"}) {
			if len(script.polls()) == 3 {
				break
			}
		}
		synctest.Wait()
		time.Sleep(time.Hour)
		if len(script.polls()) != 3 {
			t.Errorf("%d polls after a break at the third", len(script.polls()))
		}
	}) // synctest fails the test if a goroutine is left
}

// A program stops, and another one carries on from the saved Progress.
func TestProgressResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, _ := newPoller(t, pending, reply(404, ""), reply(429, ""), dropped, dropped, dropped)
		first.MaxFailures = 3
		_, err := first.Wait(t.Context(), "gen1")
		var waitErr *poller.WaitError
		if !errors.As(err, &waitErr) {
			t.Fatal(err)
		}
		saved, err := json.Marshal(waitErr.Progress)
		if err != nil {
			t.Fatal(err)
		}
		var progress poller.Progress
		if err := json.Unmarshal(saved, &progress); err != nil {
			t.Fatal(err)
		}
		if progress != waitErr.Progress || progress.Polls != 6 || progress.Failures != 3 || progress.Status != "pending" {
			t.Fatalf("%s gave %+v, want %+v", saved, progress, waitErr.Progress)
		}
		second, script := newPoller(t, dropped, completed)
		var last poller.Event
		for ev, err := range second.Watch(t.Context(), progress) {
			if last = ev; err != nil {
				t.Fatal(err)
			}
		}
		if last.Polls != 8 || !last.Since.Equal(progress.Since) || last.Status != "completed" {
			t.Errorf("ended with %+v", last)
		}
		within(t, script.polls(), 0, 30*s) // the fourth failure in a row
	})
}

func TestCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, script := newPoller(t, pending, dropped, reply(404, ""), reply(429, "", "Retry-After", "60"), completed)
		polled := 0
		p.OnPoll = func(poller.Event) { polled++ }
		progress := poller.Progress{ID: "gen1"}
		for i, want := range []time.Duration{5 * s, 5 * s, 5 * s, 60 * s} {
			gen, next, err := p.Check(t.Context(), &progress)
			if err != nil || next < want || next > want+want/5 || (gen != nil) != (i == 0) || progress.Polls != i+1 {
				t.Errorf("Check %d = %v, %v, %v with %+v, want a pause of %v", i+1, gen, next, err, progress, want)
			}
		}
		other := poller.Progress{ID: "gen1"}
		for _, pr := range []*poller.Progress{&progress, &other} {
			before := pr.Polls
			if gen, next, err := p.Check(t.Context(), pr); gen != nil || next < 60*s || next > 72*s || err != nil || pr.Polls != before {
				t.Errorf("Check while rate limited = %v, %v, %v", gen, next, err)
			}
		}
		time.Sleep(time.Minute)
		gen, next, err := p.Check(t.Context(), &progress)
		if err != nil || next != 0 || gen.Status != "completed" || progress.Status != "completed" || progress.Polls != 5 || progress.Failures != 0 || progress.NotFound {
			t.Errorf("Check = %v, %v, %v with %+v", gen, next, err, progress)
		}
		if len(script.polls()) != 5 || polled != 5 {
			t.Errorf("%d requests and %d calls of OnPoll, want 5", len(script.polls()), polled)
		}
	})
}

func TestCheckEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		p, _ := newPoller(t, hangs)
		progress := poller.Progress{ID: "gen1"}
		_, next, err := p.Check(ctx, &progress)
		var waitErr *poller.WaitError
		if !errors.As(err, &waitErr) || !errors.Is(err, context.DeadlineExceeded) || next != 0 || progress.Polls != 1 {
			t.Errorf("Check = %v, %v with %+v", next, err, progress)
		}
		if _, _, err = p.Check(ctx, &progress); !errors.As(err, &waitErr) || progress.Polls != 1 {
			t.Errorf("Check after the deadline: %v with %+v", err, progress)
		}
		p, _ = newPoller(t, state("failed"))
		var failed *poller.FailedError
		if gen, next, err := p.Check(t.Context(), &progress); !errors.As(err, &failed) || gen == nil || next != 0 {
			t.Errorf("Check = %v, %v, %v", gen, next, err)
		}
	})
}

// What one wait learns, all obey; and they do not come back in one moment.
func TestRateLimitIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var mu sync.Mutex
		polls := map[string][]time.Duration{}
		p := poller.New(stub(func(_ context.Context, id string) (*api.GetGenerationStatusHTTPResponse, error) {
			mu.Lock()
			defer mu.Unlock()
			now := time.Since(start)
			polls[id] = append(polls[id], now)
			if id == "first" && now < time.Minute {
				return nil, &gamma.APIError{StatusCode: 429, RetryAfter: time.Minute}
			}
			status := api.GenerationStatusPending
			if now >= time.Minute {
				status = api.GenerationStatusCompleted
			}
			return &api.GetGenerationStatusHTTPResponse{JSON200: &api.GenerationStatusResponse{GenerationID: id, Status: status}}, nil
		}))
		var wg sync.WaitGroup
		wait := func(id string) {
			wg.Go(func() {
				if _, err := p.Wait(t.Context(), id); err != nil {
					t.Errorf("Wait(%s): %v", id, err)
				}
			})
		}
		for i := range 20 {
			wait(fmt.Sprintf("early%d", i))
		}
		synctest.Wait()
		time.Sleep(time.Second)
		wait("first")
		synctest.Wait()
		time.Sleep(time.Second)
		wait("late")
		wg.Wait()
		again := map[time.Duration]int{}
		for id, at := range polls {
			for _, d := range at {
				if d > time.Second && d < 61*s {
					t.Errorf("%s polled at %v, while rate limited", id, d)
				}
			}
			again[at[len(at)-1]]++
		}
		if len(polls["late"]) != 1 {
			t.Errorf("late polled at %v, want once", polls["late"])
		}
		for at, n := range again {
			if n > 2 {
				t.Errorf("%d waits came back at %v", n, at)
			}
		}
	})
}

// A wait that would outlast its deadline behind the gate does not start.
func TestRateLimitBeyondTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, script := newPoller(t, reply(429, "", "Retry-After", "3600"))
		p.Timeout = time.Minute
		for range 2 {
			start := time.Now()
			_, err := p.Wait(t.Context(), "gen1")
			if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, gamma.ErrRateLimited) || time.Since(start) != 0 {
				t.Errorf("Wait: %v after %v", err, time.Since(start))
			}
		}
		if len(script.polls()) != 1 {
			t.Errorf("%d polls, want 1", len(script.polls()))
		}
	})
}

// The deadline ends a wait because of Retry-After, not because of the jitter, and
// only where no time is left for an answer.
func TestRetryAfterJustBeforeTheDeadline(t *testing.T) {
	for name, tt := range map[string]struct {
		code       int
		left       time.Duration // when Retry-After is over; an answer takes 2 s
		done, held bool          // held is what the wait behind it sees
	}{
		"429":                       {429, 7 * s, true, true},
		"503":                       {503, 7 * s, true, true},
		"429, no time for another":  {429, 3 * s, false, true},
		"503, no time for another":  {503, 3 * s, false, true},
		"429, beyond the deadline":  {429, -s, false, false},
		"503, which holds no other": {503, -s, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 {
				synctest.Test(t, func(t *testing.T) {
					p, script := newPoller(t, after(2*s, reply(tt.code, "", "Retry-After", "60")), after(2*s, completed))
					p.Timeout = 62*s + tt.left
					start := time.Now()
					_, err := p.Wait(t.Context(), "gen1")
					if at := script.polls(); (err == nil) != tt.done || tt.done && (len(at) != 2 || at[1] < 62*s) || !tt.done && time.Since(start) != 2*s {
						t.Errorf("%v after %v, polls at %v", err, time.Since(start), at)
					}
					p, script = newPoller(t, reply(tt.code, "", "Retry-After", "60"), completed)
					_, _, _ = p.Check(t.Context(), &poller.Progress{ID: "gen1"})
					p.Timeout = 60*s + tt.left
					if _, err = p.Wait(t.Context(), "gen1"); (err == nil) != tt.held {
						t.Errorf("behind it: %v, polls at %v", err, script.polls())
					}
				})
			}
		})
	}
}

func TestConcurrentWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newPoller(t, pending)
		var mu sync.Mutex
		polls := 0
		p.OnPoll = func(poller.Event) { mu.Lock(); polls++; mu.Unlock() }
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if _, err := p.Wait(ctx, "gen1"); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Wait: %v", err)
				}
			})
		}
		wg.Wait()
		if polls < 1000 || polls > 1400 {
			t.Errorf("%d polls in a minute of 100 waits, want about 1200", polls)
		}
	})
}
