package poller_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

// schedule is a row of TestWaitSchedule: responses, and when the polls come.
type schedule struct {
	name  string
	steps []step
	want  []time.Duration
}

func TestWaitSchedule(t *testing.T) {
	ratelimit := func(limit, remaining string) step {
		return reply(200, `{"generationId":"gen1","status":"pending"}`, "X-RateLimit-Limit-Burst", limit, "X-RateLimit-Remaining-Burst", remaining)
	}
	for _, tt := range []schedule{
		{"finished already", []step{completed}, []time.Duration{0}},
		{"pending", []step{pending, pending, pending, completed}, []time.Duration{0, 5 * s, 10 * s, 15 * s}},
		{"little remains", []step{ratelimit("10000", "5"), completed}, []time.Duration{0, 5 * s}},
		{"nothing remains of an unknown limit", []step{ratelimit("", "0"), completed}, []time.Duration{0, 5 * s}},
		{"Retry-After on 503", []step{reply(503, "", "Retry-After", "100"), completed}, []time.Duration{0, 100 * s}},
		{"Retry-After on 200", []step{reply(200, `{"generationId":"gen1","status":"pending"}`, "Retry-After", "17"), completed}, []time.Duration{0, 17 * s}},
		{"Retry-After shorter than the pause", []step{reply(503, "", "Retry-After", "1"), completed}, []time.Duration{0, 5 * s}},
		{"failures with growing pauses", []step{dropped, reply(500, ""), reply(200, `{"half`), reply(408, ""), completed}, []time.Duration{0, 5 * s, 15 * s, 35 * s, 65 * s}},
		{"a good response resets failures", []step{dropped, dropped, pending, dropped, completed}, []time.Duration{0, 5 * s, 15 * s, 20 * s, 25 * s}},
		{"404 once", []step{reply(404, ""), completed}, []time.Duration{0, 5 * s}},
		{"unknown status", []step{state("rendering"), completed}, []time.Duration{0, 5 * s}},
		{"request timeout", []step{hangs, completed}, []time.Duration{0, 20 * s}},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.check(t, 0) })
	}
}

// A 429 may slow down the Poller by 10 s more.
func TestWaitScheduleAfter429(t *testing.T) {
	for _, tt := range []schedule{
		{"429 with Retry-After", []step{reply(429, "", "Retry-After", "42"), completed}, []time.Duration{0, 42 * s}},
		{"429 without Retry-After", []step{reply(429, ""), reply(429, ""), reply(429, ""), pending, reply(429, ""), completed}, []time.Duration{0, 30 * s, 90 * s, 210 * s, 215 * s, 245 * s}},
		{"429 with Retry-After by the server's own clock", []step{reply(429, "", "Retry-After", "Wed, 21 Oct 2015 07:28:20 GMT", "Date", "Wed, 21 Oct 2015 07:28:00 GMT"), completed}, []time.Duration{0, 20 * s}},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.check(t, 10*s) })
	}
}

// check waits, and checks that the polls come at their time, or up to slack later.
func (tt schedule) check(t *testing.T, slack time.Duration) {
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
		got := script.polls()
		for i := range min(len(got), len(tt.want)) {
			got[i] = max(got[i]-slack, min(got[i], tt.want[i]))
		}
		within(t, got, tt.want...)
	})
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
		{"401 after two responses", []step{pending, pending, reply(401, "")}, 3, gamma.ErrUnauthorized, true},
		{"402", []step{reply(402, "")}, 1, gamma.ErrInsufficientCredits, true},
		{"403", []step{reply(403, "")}, 1, gamma.ErrForbidden, true},
		{"404 twice", []step{reply(404, ""), reply(404, "")}, 2, gamma.ErrNotFound, true},
		{"404 twice around a 429", []step{reply(404, ""), reply(429, ""), reply(404, "")}, 3, gamma.ErrNotFound, true},
		{"404 and 500 in turn", []step{reply(404, ""), reply(500, ""), reply(404, ""), reply(500, ""), reply(404, ""), reply(500, ""), reply(404, ""), reply(500, ""), reply(404, ""), reply(500, "")}, 10, nil, true},
		{"302", []step{reply(302, "", "Location", "https://example.com/")}, 1, nil, true},
		{"501", []step{reply(501, "")}, 1, nil, true},
		{"five failures", []step{dropped}, 5, io.ErrUnexpectedEOF, true},
		{"response about another generation", []step{reply(200, `{"generationId":"gen2","status":"completed"}`)}, 5, gamma.ErrUnexpectedResponse, true},
		{"empty status", []step{state("")}, 5, gamma.ErrUnexpectedResponse, true},
		{"HTML", []step{reply(200, "<html>", "Content-Type", "text/html")}, 5, gamma.ErrUnexpectedResponse, true},
		{"too large", []step{reply(200, strings.Repeat(" ", 1<<20+1))}, 1, gamma.ErrResponseTooLarge, true},
		{"Retry-After beyond the deadline", []step{pending, reply(429, "", "Retry-After", "3600")}, 2, poller.ErrPause, true},
		{"Retry-After of a 503 beyond the deadline", []step{reply(503, "", "Retry-After", "3600")}, 1, poller.ErrPause, true},
		{"always pending", []step{pending}, 0, context.DeadlineExceeded, false},
		{"no response after the first", []step{pending, hangs}, 0, context.DeadlineExceeded, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, script := newPoller(t, tt.steps...)
				p.MaxFailures = 5
				start := time.Now()
				_, err := p.Wait(t.Context(), "gen1")
				var waitErr *poller.WaitError
				if !errors.As(err, &waitErr) {
					t.Fatalf("Wait: %v, want a WaitError", err)
				}
				if tt.is != nil && !errors.Is(err, tt.is) {
					t.Errorf("Wait: %v, want an error matching %v", err, tt.is)
				}
				if tt.polls != 0 && len(script.polls()) != tt.polls {
					t.Errorf("%d polls, want %d", len(script.polls()), tt.polls)
				}
				if waitErr.Polls != len(script.polls()) || waitErr.ID != "gen1" || waitErr.Since.IsZero() || waitErr.Cause == nil || (waitErr.Last != nil) != tt.last {
					t.Errorf("WaitError = %+v (Last %v) after %d polls", waitErr, waitErr.Last, len(script.polls()))
				}
				if elapsed := time.Since(start); elapsed > 5*time.Minute {
					t.Errorf("returned after %v, past the default of 5 minutes", elapsed)
				} else if waitErr.Cause == context.DeadlineExceeded && elapsed < 5*time.Minute {
					t.Errorf("returned after %v, before the deadline that it names", elapsed)
				}
				if least := script.polls()[len(script.polls())-1] + 5*s; waitErr.NextPoll.Sub(start) < least {
					t.Errorf("next poll after %v, want at least %v", waitErr.NextPoll.Sub(start), least)
				}
				oneLine(t, err)
			})
		})
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
		{"without an error", state("failed"), "", 0},
		{"with an error that is not an object", state("failed", `,"error":"boom"`), "", 0},
		{"with a message that is not a string", state("failed", `,"error":{"message":["a"],"statusCode":422}`), "", 422},
		{"with a code out of range", state("failed", `,"error":{"message":"m","statusCode":1e300}`), "m", 0},
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

// A completed generation is returned even if optional fields of the response are malformed.
func TestWaitIgnoresMalformedDetails(t *testing.T) {
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
		{"during a request", 12 * s, 0, []step{pending, hangs}, 12 * s, 2},
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

// A generation that finishes during a long pause before the deadline is not missed.
func TestWaitPollsLastAtTheDeadline(t *testing.T) {
	for _, rtt := range []time.Duration{0, 300 * time.Millisecond, 2 * s} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			p, _ := newPoller(t, func(req *http.Request) (*http.Response, error) {
				response := pending
				if time.Since(start) > 50*s {
					response = completed
				}
				return after(rtt, response)(req)
			})
			p.Interval, p.Timeout = 40*s, 60*s
			if gen, err := p.Wait(t.Context(), "gen1"); err != nil || gen.Status != api.GenerationStatusCompleted {
				t.Errorf("with a round trip of %v: Wait = %v, %v", rtt, gen, err)
			}
			if d := time.Since(start); d > 60*s {
				t.Errorf("with a round trip of %v: returned after %v", rtt, d)
			}
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
		{"during a request", []step{hangs}, 7 * s, 1},
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

// The policy applies to a status code even if the context ends while the body is read.
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
		check := func(want error) (last error) {
			t.Helper()
			time.Sleep(time.Until(progress.NextPoll))
			ctx, cancel := context.WithTimeout(t.Context(), 2*s)
			defer cancel()
			_, _, err := p.Check(ctx, &progress)
			var ended *poller.WaitError
			if !errors.As(err, &ended) || !errors.Is(err, want) || ended.Progress != progress {
				t.Fatalf("Check: %v, want %v", err, want)
			}
			return ended.Last
		}
		var apiErr *gamma.APIError
		if err := check(context.DeadlineExceeded); !errors.As(err, &apiErr) || apiErr.StatusCode != 503 || progress.Failures != 1 {
			t.Errorf("503: %v with %+v", err, progress)
		}
		if err := check(context.DeadlineExceeded); !errors.Is(err, gamma.ErrRateLimited) || progress.RateLimited != 1 {
			t.Errorf("429: %v with %+v", err, progress)
		}
		if _, next, err := p.Check(t.Context(), &progress); next < 60*s || err != nil {
			t.Errorf("behind the 429: next in %v, %v", next, err)
		}
		if err := check(context.DeadlineExceeded); errors.As(err, &apiErr) || progress.Failures != 1 {
			t.Errorf("200: %v with %+v", err, progress)
		}
		if _, err := p.Wait(t.Context(), "gen1"); err != nil {
			t.Error(err)
		}
		within(t, script.polls()[:3], 0, 7*s, 69*s)
	})
}

func TestWaitReturnsAFinishedGenerationThoughCanceled(t *testing.T) {
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
		{"a response and an error", respond(200), io.ErrUnexpectedEOF, 5, io.ErrUnexpectedEOF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				polls := 0
				p := poller.New(stub(func(context.Context, string) (*api.GetGenerationStatusHTTPResponse, error) {
					polls++
					return tt.rsp, tt.err
				}))
				p.MaxFailures = 5
				_, err := p.Wait(t.Context(), "gen1")
				var waitErr *poller.WaitError
				if !errors.As(err, &waitErr) || polls != tt.polls || tt.is != nil && !errors.Is(err, tt.is) {
					t.Errorf("Wait: %v after %d polls, want %v after %d", err, polls, tt.is, tt.polls)
				}
			})
		})
	}
}

// A RetryAfter out of range, from a stub, neither makes the Poller spin nor wait for more
// than a day.
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
		_, next, err := p.Check(t.Context(), &poller.Progress{ID: "gen1"})
		if err != nil || next < tt.want || next > tt.want+min(tt.want/5, time.Minute) {
			t.Errorf("%d with %v: next in %v, %v, want %v", tt.code, tt.retryAfter, next, err, tt.want)
		}
		// Another generation may be held back by a 429, and is by its Retry-After.
		if tt.retryAfter <= 0 || tt.code != 429 {
			tt.want = 0
		}
		if _, next, err := p.Check(t.Context(), &poller.Progress{ID: "gen2"}); err != nil || next <= 0 || next < tt.want-s || next > day+time.Minute {
			t.Errorf("%d with %v, then another: next in %v, %v, want %v", tt.code, tt.retryAfter, next, err, tt.want)
		}
	}
}

// A 429 to one wait delays all, and they do not resume at the same moment.
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

// A request whose transport panicked does not count as in flight: a program that recovers
// from the panic still polls when no requests remain.
func TestPollsAfterATransportPanicked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := &script{steps: []step{
			func(*http.Request) (*http.Response, error) { panic("in the transport") },
			reply(200, `{"generationId":"gen1","status":"pending"}`, "X-RateLimit-Remaining-Burst", "0", "X-RateLimit-Reset-Burst", "3"),
		}}
		client, err := gamma.NewClient("sk-gamma-test", gamma.WithHTTPClient(&http.Client{Transport: script}))
		if err != nil {
			t.Fatal(err)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			_, _ = client.GetGenerationStatus(t.Context(), "gen1")
		}()
		if _, err = poller.New(client).Wait(t.Context(), "gen1"); len(script.polls()) < 50 {
			t.Errorf("%d polls: %v", len(script.polls()), err)
		}
	})
}

// A wait whose deadline comes before the Retry-After of a 429 has passed ends at once.
func TestRateLimitBeyondTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, script := newPoller(t, reply(429, "", "Retry-After", "3600"))
		p.Timeout = time.Minute
		for range 2 {
			start := time.Now()
			_, err := p.Wait(t.Context(), "gen1")
			if !errors.Is(err, poller.ErrPause) || errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, gamma.ErrRateLimited) || time.Since(start) != 0 {
				t.Errorf("Wait: %v after %v", err, time.Since(start))
			}
			oneLine(t, err)
		}
		if len(script.polls()) != 1 {
			t.Errorf("%d polls, want 1", len(script.polls()))
		}
	})
}

// A limit of 0 requests is ignored if the server accepts requests.
func TestLimitOfNoRequests(t *testing.T) {
	for _, window := range []string{"-Burst", "", "-Daily"} {
		synctest.Test(t, func(t *testing.T) {
			p, script := newPoller(t, reply(200, `{"generationId":"gen1","status":"pending"}`, "X-RateLimit-Limit"+window, "0", "X-RateLimit-Remaining"+window, "0"))
			_, err := p.Wait(t.Context(), "gen1")
			if n := len(script.polls()); n < 50 {
				t.Errorf("%d polls with X-RateLimit-Limit%s: %v", n, window, err)
			}
		})
	}
}

// decorated is a client that embeds another, as for logs or traces.
type decorated struct{ *gamma.Client }

// Pollers of a client that is embedded in another type share its rate limit, too.
func TestRateLimitOfADecoratedClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := &script{steps: []step{reply(429, "", "Retry-After", "3600")}}
		client, err := gamma.NewClient("sk-gamma-test", gamma.WithHTTPClient(&http.Client{Transport: script}))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range []*poller.Poller{poller.New(client), poller.New(decorated{client}), poller.New(&decorated{client})} {
			if _, err := p.Wait(t.Context(), "gen1"); !errors.Is(err, poller.ErrPause) {
				t.Error(err)
			}
		}
		if n := len(script.polls()); n != 1 {
			t.Errorf("%d polls, want 1", n)
		}
		_ = poller.New(decorated{}) // does not panic
	})
}

// A wait ends early because of Retry-After only if no time is left for a response. The
// jitter does not count.
func TestRetryAfterJustBeforeTheDeadline(t *testing.T) {
	for name, tt := range map[string]struct {
		code       int
		left       time.Duration // when Retry-After is over; a response takes 2 s
		done, held bool          // whether this wait completes, and another wait behind it
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

// In an outage clients send fewer requests, whichever way they wait, and every generation
// is known afterwards.
func TestOutage(t *testing.T) {
	const n, from = 1000, 30 * s
	ways := map[string]func(context.Context, *poller.Poller) error{
		"All": func(ctx context.Context, p *poller.Poller) (err error) {
			for r := range p.All(ctx, sequence(n)) {
				err = errors.Join(err, r.Err)
			}
			return err
		},
		"Wait": func(ctx context.Context, p *poller.Poller) error {
			var wg sync.WaitGroup
			errs := make([]error, n)
			for i := range n {
				wg.Go(func() { _, errs[i] = p.Wait(ctx, fmt.Sprintf("gen%d", i)) })
			}
			wg.Wait()
			return errors.Join(errs...)
		},
	}
	busy := func(context.Context) error { return &gamma.APIError{StatusCode: 503} }
	silent := func(ctx context.Context) error { sleepCtx(ctx, 15*s); return context.DeadlineExceeded }
	outages := map[string]struct {
		lasts time.Duration
		fail  func(context.Context) error
	}{
		"none":                 {0, nil},
		"silence for a minute": {60 * s, silent},
		"503 for 90 s":         {90 * s, busy},
		"503 for four minutes": {240 * s, busy},
	}
	for way, wait := range ways {
		type count struct{ requests, meanwhile int64 }
		counts := map[string]count{}
		for name, outage := range outages {
			synctest.Test(t, func(t *testing.T) {
				f := newFarm()
				f.rtt = 50 * time.Millisecond
				for i, d := range lognormal(n) {
					f.done[fmt.Sprintf("gen%d", i)] = d
				}
				var all, down atomic.Int64
				p := poller.New(stub(func(ctx context.Context, id string) (*api.GetGenerationStatusHTTPResponse, error) {
					all.Add(1)
					if at := time.Since(f.start); at >= from && at < from+outage.lasts {
						down.Add(1)
						return nil, outage.fail(ctx)
					}
					return f.GetGenerationStatusWithResponse(ctx, id)
				}))
				p.Timeout = -1
				if err := wait(t.Context(), p); err != nil {
					t.Errorf("%s, %s: %v", way, name, err)
				}
				counts[name] = count{all.Load(), down.Load()}
			})
		}
		for name, outage := range outages {
			got, none := counts[name], counts["none"]
			t.Logf("%s, %s: %d requests of %d without, %d meanwhile", way, name, got.requests, none.requests, got.meanwhile)
			if got.requests > none.requests*11/10 {
				t.Errorf("%s, %s: %d requests, more than a tenth more than %d", way, name, got.requests, none.requests)
			}
			// One request in 30 s of each that waits, and the retry budget.
			if most := n*int64(outage.lasts/(30*s)) + 100; got.meanwhile > most {
				t.Errorf("%s, %s: %d requests meanwhile, more than %d", way, name, got.meanwhile, most)
			}
		}
	}
}

// Ten good responses add one retry to the budget.
func TestRetryBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var bad bool
		p := poller.New(stub(func(_ context.Context, id string) (*api.GetGenerationStatusHTTPResponse, error) {
			if bad {
				return nil, &gamma.APIError{StatusCode: 503}
			}
			return &api.GetGenerationStatusHTTPResponse{JSON200: &api.GenerationStatusResponse{GenerationID: id, Status: api.GenerationStatusPending}}, nil
		}))
		check := func() time.Duration {
			_, next, err := p.Check(t.Context(), &poller.Progress{ID: "gen1"})
			if err != nil {
				t.Fatal(err)
			}
			return next
		}
		quick := func() (n int) {
			bad = true
			for check() < 30*s {
				n++
			}
			bad = false
			return n
		}
		if n := quick(); n != 100 {
			t.Errorf("%d quick retries at first", n)
		}
		for range 35 {
			check()
		}
		if n := quick(); n != 3 {
			t.Errorf("%d quick retries after 35 good responses", n)
		}
		for range 2000 {
			check()
		}
		if n := quick(); n != 100 {
			t.Errorf("%d quick retries after 2000 good responses", n)
		}
	})
}

var exported = state("completed", `,"exportUrl":"https://example.com/x.pdf"`)

// exports are the ways to wait for a generation with its export.
var exports = map[string]func(context.Context, *poller.Poller) poller.Result{
	"WaitExport": func(ctx context.Context, p *poller.Poller) (r poller.Result) {
		r.Generation, r.Err = p.WaitExport(ctx, "gen1")
		var ended *poller.WaitError
		if errors.As(r.Err, &ended) {
			r.Progress = ended.Progress
		}
		return r
	},
}

func init() {
	for way, resume := range resumptions {
		exports[way] = func(ctx context.Context, p *poller.Poller) poller.Result {
			return resume(ctx, p, poller.Progress{ID: "gen1", Export: true})
		}
	}
}

func TestExport(t *testing.T) {
	for name, tt := range map[string]struct {
		steps []step
		want  []time.Duration // the last is the last poll
		err   error
	}{
		"is there at once":                {[]step{pending, exported}, []time.Duration{0, 5 * s}, nil},
		"comes after the generation":      {[]step{pending, completed, completed, exported}, []time.Duration{0, 5 * s, 10 * s, 15 * s}, nil},
		"comes after a failure":           {[]step{completed, dropped, exported}, []time.Duration{0, 5 * s, 10 * s}, nil},
		"comes after a rate limit":        {[]step{completed, reply(503, "", "Retry-After", "60"), exported}, []time.Duration{0, 5 * s, 65 * s}, nil},
		"pending again":                   {[]step{completed, pending, exported}, []time.Duration{0, 5 * s, 10 * s}, nil},
		"does not come in three minutes":  {[]step{completed}, nil, poller.ErrNoExport},
		"failures for three minutes":      {[]step{completed, dropped, dropped, dropped, dropped, dropped, dropped, dropped, completed}, nil, poller.ErrNoExport},
		"does not come, generation fails": {[]step{completed, state("failed")}, []time.Duration{0, 5 * s}, errors.ErrUnsupported},
	} {
		for way, wait := range exports {
			t.Run(name+", "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p, script := newPoller(t, tt.steps...)
					r := wait(t.Context(), p)
					var failed *poller.FailedError
					if !errors.Is(r.Err, tt.err) && (!errors.As(r.Err, &failed) || tt.err != errors.ErrUnsupported) {
						t.Errorf("%+v", r)
					}
					if gen := r.Generation; gen == nil || tt.err == nil && gen.ExportURL == "" || tt.err == poller.ErrNoExport && (gen.Status != "completed" || gen.GammaURL == "" || gen.GenerationID != "gen1") {
						t.Errorf("the generation is %+v", gen)
					}
					got := script.polls()
					if tt.want != nil {
						within(t, got, tt.want...)
						return
					}
					oneLine(t, r.Err)
					if last := got[len(got)-1]; last < 180*s || last > 220*s {
						t.Errorf("polled until %v", last)
					}
					if r.Status != "completed" || !r.Completed.Equal(script.start) || r.NextPoll.IsZero() || errors.Is(r.Err, context.DeadlineExceeded) {
						t.Errorf("ended with %+v", r.Progress)
					}
				})
			})
		}
	}
}

// Without Export a wait does not wait for an export.
func TestNoExport(t *testing.T) {
	for way, resume := range resumptions {
		synctest.Test(t, func(t *testing.T) {
			p, script := newPoller(t, completed)
			if r := resume(t.Context(), p, poller.Progress{ID: "gen1"}); r.Err != nil || r.Generation == nil || len(script.polls()) != 1 || !r.Completed.IsZero() {
				t.Errorf("%s: %+v, polls at %v", way, r, script.polls())
			}
		})
	}
}

// The three minutes for an export continue when the wait is resumed.
func TestExportIsResumed(t *testing.T) {
	for way, resume := range resumptions {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			p, script := newPoller(t, completed)
			ctx, cancel := context.WithTimeout(t.Context(), 100*s)
			defer cancel()
			_, err := p.WaitExport(ctx, "gen1")
			var ended *poller.WaitError
			if !errors.As(err, &ended) || !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			p, _ = newPoller(t, completed)
			r := resume(t.Context(), p, saved(t, ended.Progress))
			if took := time.Since(start); !errors.Is(r.Err, poller.ErrNoExport) || r.Generation == nil || r.Generation.GammaURL == "" || took < 180*s || took > 190*s {
				t.Errorf("%s: %+v after %v, polls at %v", way, r, took, script.polls())
			}
			// Whoever asks again later gets one poll more.
			time.Sleep(time.Hour)
			p, script = newPoller(t, completed)
			p.Timeout = -1
			if r = resume(t.Context(), p, saved(t, r.Progress)); !errors.Is(r.Err, poller.ErrNoExport) || len(script.polls()) != 1 {
				t.Errorf("%s, again: %+v, polls at %v", way, r, script.polls())
			}
			time.Sleep(time.Hour)
			p, _ = newPoller(t, exported)
			p.Timeout = -1
			if r = resume(t.Context(), p, saved(t, r.Progress)); r.Err != nil || r.Generation.ExportURL == "" {
				t.Errorf("%s, at last: %+v", way, r)
			}
		})
	}
}

// A wait whose deadline comes before the export returns the completed generation.
func TestExportAtTheDeadline(t *testing.T) {
	for way, wait := range exports {
		if way == "Check" {
			continue // the caller sleeps
		}
		synctest.Test(t, func(t *testing.T) {
			p, _ := newPoller(t, pending, completed)
			p.Timeout = time.Minute
			start := time.Now()
			r := wait(t.Context(), p)
			if !errors.Is(r.Err, context.DeadlineExceeded) || errors.Is(r.Err, poller.ErrNoExport) || time.Since(start) != time.Minute {
				t.Errorf("%s: %v after %v", way, r.Err, time.Since(start))
			}
			if way != "Watch" && (r.Generation == nil || r.Generation.GammaURL == "") {
				t.Errorf("%s: %+v", way, r.Generation)
			}
		})
	}
}

// The default of five minutes is for the generation; the export has three more.
func TestExportDefaultTimeout(t *testing.T) {
	for way, wait := range exports {
		if way == "Check" {
			continue // has none
		}
		synctest.Test(t, func(t *testing.T) {
			p, _ := newPoller(t, pending)
			start := time.Now()
			if r := wait(t.Context(), p); !errors.Is(r.Err, context.DeadlineExceeded) || time.Since(start) != 8*time.Minute {
				t.Errorf("%s: %v after %v", way, r.Err, time.Since(start))
			}
		})
	}
}

func TestWaitOutlastsAnOutage(t *testing.T) {
	for name, tt := range map[string]struct {
		down, from time.Duration
		fail       step
	}{
		"90 s of 503":                    {90 * s, 30 * s, reply(503, "")},
		"90 s of lost connections":       {90 * s, 30 * s, dropped},
		"90 s of 503 from the start":     {90 * s, 0, reply(503, "")},
		"4 minutes of 503":               {4 * time.Minute, 20 * s, reply(503, "")},
		"4 minutes of lost connections":  {4 * time.Minute, 0, dropped},
		"4 minutes of unreadable bodies": {4 * time.Minute, 0, reply(200, "<html>", "Content-Type", "text/html")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				p, script := newPoller(t, func(req *http.Request) (*http.Response, error) {
					switch at := time.Since(start); {
					case at < tt.from:
						return pending(req)
					case at < tt.from+tt.down:
						return tt.fail(req)
					}
					return completed(req)
				})
				if _, err := p.Wait(t.Context(), "gen1"); err != nil {
					t.Errorf("%v, polls at %v", err, script.polls())
				}
				if late := time.Since(start) - tt.from - tt.down; late > 36*s {
					t.Errorf("known %v after the outage", late)
				}
			})
		})
	}
}

// If an outage lasts until the deadline, that is the cause.
func TestOutageUntilTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newPoller(t, reply(503, ""))
		start := time.Now()
		_, err := p.Wait(t.Context(), "gen1")
		var ended *poller.WaitError
		var apiErr *gamma.APIError
		if !errors.As(err, &ended) || !errors.Is(err, context.DeadlineExceeded) || !errors.As(ended.Last, &apiErr) || time.Since(start) != 5*time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestUnknownHost(t *testing.T) {
	noHost := step(func(*http.Request) (*http.Response, error) {
		return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "example.invalid", IsNotFound: true}}
	})
	badCert := step(func(*http.Request) (*http.Response, error) {
		return nil, &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
	})
	for name, tt := range map[string]struct {
		steps []step
		polls int
		ok    bool
	}{
		"no such host at first":                   {[]step{noHost, completed}, 1, false},
		"a bad certificate at first":              {[]step{badCert, completed}, 1, false},
		"no such host after a failure":            {[]step{dropped, noHost, completed}, 2, false},
		"no such host after a response":           {[]step{pending, noHost, noHost, noHost, noHost, noHost, completed}, 7, true},
		"a bad certificate after a response":      {[]step{pending, badCert, badCert, completed}, 4, true},
		"no such host after an HTML page":         {[]step{reply(200, "<html>", "Content-Type", "text/html"), noHost, completed}, 2, false},
		"a bad certificate after a gateway's 503": {[]step{reply(503, ""), badCert, completed}, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, script := newPoller(t, tt.steps...)
				if _, err := p.Wait(t.Context(), "gen1"); (err == nil) != tt.ok || len(script.polls()) != tt.polls {
					t.Errorf("%v, polls at %v", err, script.polls())
				}
			})
		})
	}
	// What one wait has reached, another has too; and so has a Progress of another process.
	synctest.Test(t, func(t *testing.T) {
		p, _ := newPoller(t, completed, noHost, completed)
		for range 2 {
			if _, err := p.Wait(t.Context(), "gen1"); err != nil {
				t.Error(err)
			}
		}
		for way, resume := range resumptions {
			p, _ = newPoller(t, noHost, completed)
			if r := resume(t.Context(), p, poller.Progress{ID: "gen1", Status: "pending"}); r.Err != nil {
				t.Errorf("%s: %v", way, r.Err)
			}
		}
	})
}

func TestKeepWaiting(t *testing.T) {
	for name, tt := range map[string]struct {
		down time.Duration
		fail step
	}{
		"3 minutes of 503":       {3 * time.Minute, reply(503, "")},
		"30 s of 401":            {30 * s, reply(401, "")},
		"4 minutes of redirects": {4 * time.Minute, reply(302, "", "Location", "https://example.com/")},
		"30 s of no such host":   {30 * s, func(*http.Request) (*http.Response, error) { return nil, &net.DNSError{IsNotFound: true} }},
	} {
		for _, from := range []time.Duration{0, 30 * s} {
			t.Run(fmt.Sprint(name, " after ", from), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					start := time.Now()
					var failures atomic.Int64
					p, _ := newPoller(t, func(req *http.Request) (*http.Response, error) {
						respond := state("completed")
						switch at := time.Since(start); {
						case at < from:
							respond = state("pending")
						case at < from+tt.down:
							respond = tt.fail
						}
						rsp, err := respond(req)
						if err == nil && rsp.StatusCode == 200 {
							body, _ := io.ReadAll(rsp.Body)
							id := req.URL.Path[strings.LastIndex(req.URL.Path, "/")+1:]
							rsp.Body = io.NopCloser(strings.NewReader(strings.Replace(string(body), "gen1", id, 1)))
							rsp.ContentLength = -1
						}
						return rsp, err
					})
					p.KeepWaiting, p.MaxFailures, p.Timeout = true, 1, -1
					p.OnPoll = func(ev poller.Event) {
						if ev.Err != nil {
							failures.Add(1)
						}
					}
					n := 0
					for r := range p.All(t.Context(), sequence(300)) {
						if n++; r.Err != nil {
							t.Errorf("All: %v", r.Err)
						}
					}
					if late := time.Since(start) - from - tt.down; n != 300 || late > 40*s || failures.Load() < 300 {
						t.Errorf("All: %d ended, %v after it was over; %d failures", n, late, failures.Load())
					}
				})
				synctest.Test(t, func(t *testing.T) {
					start := time.Now()
					p, _ := newPoller(t, func(req *http.Request) (*http.Response, error) {
						switch at := time.Since(start); {
						case at < from:
							return pending(req)
						case at < from+tt.down:
							return tt.fail(req)
						}
						return completed(req)
					})
					p.KeepWaiting, p.MaxFailures = true, 1
					if _, err := p.Wait(t.Context(), "gen1"); err != nil {
						t.Errorf("Wait: %v", err)
					}
				})
			})
		}
	}
}

// A wait with KeepWaiting ends with the generation, at the second 404 in a row, and at the
// deadline, even if Retry-After is longer.
func TestKeepWaitingEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		steps []step
		polls int
		took  time.Duration
		is    error
		next  time.Duration // the least time from the start to NextPoll
	}{
		"404 twice":              {[]step{reply(404, "")}, 2, 5 * s, gamma.ErrNotFound, 0},
		"failed":                 {[]step{pending, state("failed")}, 2, 5 * s, nil, math.MinInt64},
		"401 until the deadline": {[]step{reply(401, "")}, 11, 5 * time.Minute, context.DeadlineExceeded, 0},
		"429 with Retry-After after the deadline": {[]step{pending, reply(429, "", "Retry-After", "3600")}, 2, 5 * time.Minute, context.DeadlineExceeded, 3600 * s},
		"503 with Retry-After after the deadline": {[]step{reply(503, "", "Retry-After", "3600")}, 1, 5 * time.Minute, context.DeadlineExceeded, 3600 * s},
	} {
		for _, way := range []string{"Watch", "All"} {
			t.Run(name+", "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p, script := newPoller(t, tt.steps...)
					p.KeepWaiting = true
					start := time.Now()
					r := resumptions[way](t.Context(), p, poller.Progress{ID: "gen1"})
					var failed *poller.FailedError
					if r.Err == nil || tt.is != nil && !errors.Is(r.Err, tt.is) || tt.is == nil && !errors.As(r.Err, &failed) {
						t.Error(r.Err)
					}
					if n := len(script.polls()); n > tt.polls || n < min(tt.polls, 9) {
						t.Errorf("polls at %v", script.polls())
					}
					if took := time.Since(start); took < tt.took || took > tt.took+7*s {
						t.Errorf("took %v", took)
					}
					if r.NextPoll.Sub(start) < tt.next {
						t.Errorf("next poll after %v", r.NextPoll.Sub(start))
					}
				})
			})
		}
	}
}

// A wait that the rate limit delays until its deadline ends with ErrPause.
func TestKeepWaitingBehindAnothers429(t *testing.T) {
	for _, way := range []string{"Watch", "All"} {
		synctest.Test(t, func(t *testing.T) {
			p, _ := newPoller(t, reply(429, "", "Retry-After", "3600"), completed)
			_, _, _ = p.Check(t.Context(), &poller.Progress{ID: "other"})
			p.KeepWaiting, p.Timeout = true, time.Minute
			start := time.Now()
			r := resumptions[way](t.Context(), p, poller.Progress{ID: "gen1"})
			if !errors.Is(r.Err, poller.ErrPause) || !errors.Is(r.Err, context.DeadlineExceeded) || time.Since(start) != time.Minute || r.NextPoll.Sub(start) != time.Hour {
				t.Errorf("%s: %v after %v, next poll after %v", way, r.Err, time.Since(start), r.NextPoll.Sub(start))
			}
			oneLine(t, r.Err)
		})
	}
}

// A Retry-After beyond the deadline ends the wait at once.
func TestPauseBeyondTheDeadline(t *testing.T) {
	for name, first := range map[string]step{
		"429":                            reply(429, "", "Retry-After", "3600"),
		"503":                            reply(503, "", "Retry-After", "3600"),
		"a good response":                reply(200, `{"generationId":"gen1","status":"pending"}`, "Retry-After", "3600"),
		"429 with a date in Retry-After": reply(429, "", "Retry-After", "Wed, 21 Oct 2015 08:28:00 GMT", "Date", "Wed, 21 Oct 2015 07:28:00 GMT"),
	} {
		for _, way := range []string{"Watch", "All"} {
			t.Run(name+", "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p, script := newPoller(t, pending, first)
					start := time.Now()
					r := resumptions[way](t.Context(), p, poller.Progress{ID: "gen1"})
					if !errors.Is(r.Err, poller.ErrPause) || errors.Is(r.Err, context.DeadlineExceeded) || len(script.polls()) != 2 || time.Since(start) > 6*s {
						t.Errorf("%v after %v", r.Err, time.Since(start))
					}
					if d := r.NextPoll.Sub(start); d < 3605*s || d > 3605*s+2*time.Minute {
						t.Errorf("next poll after %v", d)
					}
					oneLine(t, r.Err)
				})
			})
		}
	}
}

// A wait that was suspended past its deadline, as by SIGSTOP, polls once more.
func TestSuspendedPastTheDeadline(t *testing.T) {
	var ctxDeadline = 90 * s
	for name, tt := range map[string]struct {
		timeout, ctx time.Duration
		then         step
		want         error
	}{
		"completed meanwhile, Timeout":               {time.Minute, 0, completed, nil},
		"completed meanwhile, context":               {0, ctxDeadline, completed, nil},
		"completed meanwhile, Timeout after context": {time.Hour, ctxDeadline, completed, nil},
		"pending, Timeout":                           {time.Minute, 0, pending, context.DeadlineExceeded},
		"pending, context":                           {0, ctxDeadline, pending, context.DeadlineExceeded},
		"no response, Timeout":                       {time.Minute, 0, hangs, context.DeadlineExceeded},
		"no response, context":                       {0, ctxDeadline, hangs, context.DeadlineExceeded},
		"a failure, Timeout":                         {time.Minute, 0, dropped, context.DeadlineExceeded},
		"a 429, context":                             {0, ctxDeadline, reply(429, ""), context.DeadlineExceeded},
		"a 429 that asks for long, Timeout":          {time.Minute, 0, reply(429, "", "Retry-After", "3600"), poller.ErrPause},
		"401, Timeout":                               {time.Minute, 0, reply(401, ""), gamma.ErrUnauthorized},
		"403, context":                               {0, ctxDeadline, reply(403, ""), gamma.ErrForbidden},
	} {
		stops := map[string]func(context.Context, *poller.Poller) error{
			"OnPoll of Wait": func(ctx context.Context, p *poller.Poller) error {
				stopped := false
				p.OnPoll = func(poller.Event) {
					if !stopped {
						stopped = true
						time.Sleep(10 * time.Minute)
					}
				}
				_, err := p.Wait(ctx, "gen1")
				return err
			},
			"the body of Watch": func(ctx context.Context, p *poller.Poller) (last error) {
				for ev, err := range p.Watch(ctx, poller.Progress{ID: "gen1"}) {
					if last = err; ev.Polls == 1 {
						time.Sleep(10 * time.Minute)
					}
				}
				return last
			},
		}
		for stop, wait := range stops {
			t.Run(name+", in "+stop, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p, script := newPoller(t, pending, tt.then)
					p.Timeout = tt.timeout
					ctx := t.Context()
					if tt.ctx != 0 {
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, tt.ctx)
						defer cancel()
					}
					start := time.Now()
					err := wait(ctx, p)
					if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
						t.Errorf("%v, want %v", err, tt.want)
					}
					if took := time.Since(start) - 10*time.Minute; len(script.polls()) != 2 || took < 0 || took > 6*s {
						t.Errorf("polls at %v, ended after %v more", script.polls(), took)
					}
				})
			})
		}
	}
}

// A poll that was in flight while the process was suspended is repeated once.
func TestSuspendedInFlightPastTheDeadline(t *testing.T) {
	stopped := step(func(req *http.Request) (*http.Response, error) {
		time.Sleep(10 * time.Minute)
		return hangs(req)
	})
	for way, resume := range resumptions {
		for name, tt := range map[string]struct {
			context bool // whose deadline it is
			then    step
			want    error
		}{
			"completed meanwhile, Timeout": {false, completed, nil},
			"completed meanwhile, context": {true, completed, nil},
			"no response, Timeout":         {false, hangs, context.DeadlineExceeded},
			"no response, context":         {true, hangs, context.DeadlineExceeded},
			"stopped again, Timeout":       {false, stopped, context.DeadlineExceeded},
		} {
			if way == "Check" { // it has no deadline
				continue
			}
			t.Run(name+", "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p, script := newPoller(t, pending, stopped, tt.then)
					ctx := t.Context()
					if p.Timeout = time.Minute; tt.context {
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, p.Timeout)
						defer cancel()
						p.Timeout = 0
					}
					var next []bool // whether another poll follows, as its Event says
					p.OnPoll = func(ev poller.Event) { next = append(next, ev.Next > 0) }
					r := resume(ctx, p, poller.Progress{ID: "gen1"})
					if !errors.Is(r.Err, tt.want) || (r.Err == nil) != (tt.want == nil) || len(script.polls()) != 3 {
						t.Errorf("%v, polls at %v", r.Err, script.polls())
					}
					if !slices.Equal(next, []bool{true, true, false}) {
						t.Errorf("another poll follows: %v", next)
					}
				})
			})
		}
	}
}

// late is a context that ends some time after its deadline, as after SIGSTOP.
type late struct {
	context.Context
	deadline time.Time
}

func (c late) Deadline() (time.Time, bool) { return c.deadline, true }

func TestSuspendedPastTheDeadlineOfALateContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, script := newPoller(t, pending, after(200*time.Millisecond, completed))
		p.OnPoll = func(ev poller.Event) {
			if ev.Polls == 1 {
				time.Sleep(10 * time.Minute)
			}
		}
		inner, cancel := context.WithTimeout(t.Context(), 10*time.Minute+50*time.Millisecond)
		defer cancel()
		_, err := p.Wait(late{inner, time.Now().Add(time.Minute)}, "gen1")
		if err != nil || len(script.polls()) != 2 {
			t.Errorf("polls at %v: %v", script.polls(), err)
		}
	})
}

// The poll after the deadline ends when the wait is canceled.
func TestSuspendedPastTheDeadlineThenCanceled(t *testing.T) {
	for _, way := range []string{"Watch", "All"} {
		synctest.Test(t, func(t *testing.T) {
			p, _ := newPoller(t, pending, hangs)
			p.Timeout = time.Minute
			p.OnPoll = func(ev poller.Event) {
				if ev.Polls == 1 {
					time.Sleep(10 * time.Minute)
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			time.AfterFunc(10*time.Minute+s, cancel)
			start := time.Now()
			r := resumptions[way](ctx, p, poller.Progress{ID: "gen1"})
			if !errors.Is(r.Err, context.Canceled) || r.Polls != 2 || time.Since(start) != 10*time.Minute+s {
				t.Errorf("%s: %v after %v", way, r.Err, time.Since(start))
			}
		})
	}
}

// A wait that was canceled while it was suspended, or has had its last poll, does not poll
// again.
func TestSuspendedPastTheDeadlineWithoutAPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, script := newPoller(t, pending, completed)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		p.OnPoll = func(poller.Event) {
			time.Sleep(10 * s)
			cancel()
			time.Sleep(10 * time.Minute)
		}
		if _, err := p.Wait(ctx, "gen1"); !errors.Is(err, context.Canceled) || len(script.polls()) != 1 {
			t.Errorf("%v, polls at %v", err, script.polls())
		}
	})
	synctest.Test(t, func(t *testing.T) {
		p, script := newPoller(t, pending, pending, completed)
		p.Interval, p.Timeout = 50*s, 60*s
		p.OnPoll = func(ev poller.Event) {
			if ev.Polls == 2 && time.Since(script.start) > 58*s {
				time.Sleep(10 * time.Minute)
			}
		}
		if _, err := p.Wait(t.Context(), "gen1"); !errors.Is(err, context.DeadlineExceeded) && len(script.polls()) == 2 {
			t.Errorf("%v, polls at %v", err, script.polls())
		}
	})
}

// The error has the cause of the context whose deadline passed, whichever timer fires first.
func TestDeadlineWithACause(t *testing.T) {
	why := errors.New("the job's time is over")
	for _, tt := range []struct {
		name string
		step step
	}{{"pending", pending}, {"a server that hangs", after(time.Hour, completed)}} {
		for _, way := range []string{"Wait", "All"} {
			t.Run(tt.name+", "+way, func(t *testing.T) {
				for range 20 {
					synctest.Test(t, func(t *testing.T) {
						p, _ := newPoller(t, tt.step)
						ctx, cancel := context.WithTimeoutCause(t.Context(), 10*s, why)
						defer cancel()
						var err error
						if way == "Wait" {
							_, err = p.Wait(ctx, "gen1")
						} else {
							for r := range p.All(ctx, poller.IDs("gen1")) {
								err = r.Err
							}
						}
						if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, why) {
							t.Error(err)
						}
					})
				}
			})
		}
	}
}

// Waits that start together do not delay each other if the limit is high enough.
func TestFirstPollsOfWaitsAtOnce(t *testing.T) {
	for _, tt := range []struct {
		limit, waits int
		within       time.Duration
	}{
		{100_000, 20, s},
		{10_000, 20, s},
		{600, 1, s},
		{300, 1, s},
		{1000, 100, 40 * s},
	} {
		t.Run(fmt.Sprintf("%d waits, %d an hour", tt.waits, tt.limit), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &limited{windows: []clocked{{limit: tt.limit, length: time.Hour}}}
				p := pollerOf(t, server)
				server.finishes("known", time.Now())
				if _, err := p.Wait(t.Context(), "known"); err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				var waits sync.WaitGroup
				for i := range tt.waits {
					id := fmt.Sprintf("gen%d", i)
					server.finishes(id, start)
					waits.Go(func() {
						if _, err := p.Wait(t.Context(), id); err != nil {
							t.Error(err)
						}
					})
				}
				waits.Wait()
				if took := time.Since(start); took > tt.within {
					t.Errorf("the last first poll came after %v", took)
				}
			})
		})
	}
}

// The first poll of a wait with little time is not delayed until its deadline.
func TestFirstPollWithLittleTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &limited{windows: []clocked{{limit: 100, length: time.Hour}}}
		p := pollerOf(t, server)
		p.Timeout = 12 * s
		server.finishes("gen1", time.Now())
		for late := false; !late; {
			_, pause, err := p.Check(t.Context(), &poller.Progress{ID: "gen1"})
			if err != nil {
				t.Fatal(err)
			}
			late = pause == 20*s
			time.Sleep(pause)
		}
		start := time.Now()
		if _, err := p.Wait(t.Context(), "gen1"); err != nil || time.Since(start) > 4*s {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// Three hundred waits share an hour's limit that refills by two requests each second.
func TestWaitsAtABucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &bucket{perSecond: 2, burst: 7200, excess: 6200, last: time.Now(), tell: true}
		p := pollerOf(t, server)
		p.Timeout = 20 * time.Minute
		var all sync.WaitGroup
		for job := range sequence(300) { // none of them finishes
			all.Go(func() { _, _ = p.Wait(t.Context(), job.ID) })
		}
		all.Wait()
		if server.refused > server.good/100 || server.good < 1000 {
			t.Errorf("%d good responses, %d refused", server.good, server.refused)
		}
	})
}
