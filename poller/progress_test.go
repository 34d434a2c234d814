package poller_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

// A wait that ended is resumed from its saved Progress.
func TestProgressResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, _ := newPoller(t, pending, reply(404, ""), reply(429, ""), dropped, dropped, dropped)
		first.MaxFailures = 3
		_, err := first.Wait(t.Context(), "gen1")
		var waitErr *poller.WaitError
		if !errors.As(err, &waitErr) {
			t.Fatal(err)
		}
		progress := saved(t, waitErr.Progress)
		if progress.Polls != 6 || progress.Failures != 3 || progress.Status != "pending" {
			t.Fatalf("saved %+v", progress)
		}
		time.Sleep(time.Until(progress.NextPoll))
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

// saved returns p after a round trip as JSON.
func saved(t *testing.T, p poller.Progress) (back poller.Progress) {
	t.Helper()
	text, err := json.Marshal(p)
	if err == nil {
		err = json.Unmarshal(text, &back)
	}
	if err != nil || back != p {
		t.Fatalf("%s gave %+v, %v, want %+v", text, back, err, p)
	}
	return back
}

// resumptions are the ways to resume a wait until it ends.
var resumptions = map[string]func(context.Context, *poller.Poller, poller.Progress) poller.Result{
	"Watch": func(ctx context.Context, p *poller.Poller, progress poller.Progress) (r poller.Result) {
		for ev, err := range p.Watch(ctx, progress) {
			r = poller.Result{Progress: ev.Progress, Generation: ev.Generation, Err: err}
		}
		return r
	},
	"Check": func(ctx context.Context, p *poller.Poller, progress poller.Progress) (r poller.Result) {
		for {
			gen, next, err := p.Check(ctx, &progress)
			if next == 0 {
				return poller.Result{Progress: progress, Generation: gen, Err: err}
			}
			time.Sleep(next)
		}
	},
	"All": func(ctx context.Context, p *poller.Poller, progress poller.Progress) (r poller.Result) {
		for end := range p.All(ctx, one(progress)) {
			r = end
		}
		return r
	},
}

// one returns the job p.
func one(p poller.Progress) iter.Seq[poller.Progress] {
	return func(yield func(poller.Progress) bool) { yield(p) }
}

// A wait that is resumed in another process sends nothing before NextPoll.
func TestNextPoll(t *testing.T) {
	for name, tt := range map[string]struct {
		first step
		want  time.Duration
		end   error // of the first wait
	}{
		"the interval":                   {pending, 5 * s, context.Canceled},
		"the backoff":                    {dropped, 5 * s, context.Canceled},
		"Retry-After of a 503":           {reply(503, "", "Retry-After", "600"), 600 * s, context.Canceled},
		"Retry-After of a response":      {reply(200, `{"generationId":"gen1","status":"pending"}`, "Retry-After", "600"), 600 * s, context.Canceled},
		"Retry-After of a 429":           {reply(429, "", "Retry-After", "600"), 600 * s, context.Canceled},
		"a 429 without Retry-After":      {reply(429, ""), 30 * s, context.Canceled},
		"Retry-After beyond the timeout": {reply(429, "", "Retry-After", "3600"), 3600 * s, poller.ErrPause},
		"Retry-After of an error":        {reply(401, "", "Retry-After", "600"), 600 * s, gamma.ErrUnauthorized},
		"an error without Retry-After":   {reply(401, ""), 30 * s, gamma.ErrUnauthorized},
		"a window that is spent":         {reply(200, `{"generationId":"gen1","status":"pending"}`, "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "600"), 600 * s, context.Canceled},
		"an hour that is spent":          {reply(200, `{"generationId":"gen1","status":"pending"}`, "X-RateLimit-Remaining", "0"), time.Hour / 64, context.Canceled},
	} {
		for way, resume := range resumptions {
			t.Run(name+", "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					start := time.Now()
					first, _ := newPoller(t, tt.first)
					first.Timeout = time.Hour
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					time.AfterFunc(s, cancel)
					_, err := first.Wait(ctx, "gen1")
					var ended *poller.WaitError
					if !errors.As(err, &ended) || !errors.Is(err, tt.end) {
						t.Fatal(err)
					}
					progress := saved(t, ended.Progress)
					if d := progress.NextPoll.Sub(start); d < tt.want || d > tt.want+min(tt.want/5, time.Minute) {
						t.Errorf("next poll after %v, want %v", d, tt.want)
					}
					second, script := newPoller(t, completed)
					second.Timeout = -1
					r := resume(t.Context(), second, progress)
					if r.Err != nil || r.Status != "completed" || r.Generation == nil || r.Polls != 2 || !r.Since.Equal(start) {
						t.Errorf("resumed: %+v", r)
					}
					if at := script.start; at.Before(progress.NextPoll) || at.After(progress.NextPoll.Add(6*s)) {
						t.Errorf("polled after %v, want %v", at.Sub(start), progress.NextPoll.Sub(start))
					}
				})
			})
		}
	}
}

// NextPoll of a wait that a 429 to another delays is when its Retry-After has passed.
func TestNextPollAfterAnothers429(t *testing.T) {
	for _, way := range []string{"Watch", "All"} {
		synctest.Test(t, func(t *testing.T) {
			p, _ := newPoller(t, reply(429, "", "Retry-After", "600"))
			start := time.Now()
			_, _, _ = p.Check(t.Context(), &poller.Progress{ID: "other"})
			p.Timeout = time.Hour
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			time.AfterFunc(20*s, cancel)
			r := resumptions[way](ctx, p, poller.Progress{ID: "gen1"})
			if d := r.NextPoll.Sub(start); !errors.Is(r.Err, context.Canceled) || r.Polls != 0 || d != 600*s {
				t.Errorf("%s: %v, next poll after %v", way, r.Err, d)
			}
		})
	}
}

// Retry-After is obeyed even if a supervisor restarts the program again and again.
func TestNextPollAcrossRestarts(t *testing.T) {
	for way, resume := range resumptions {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			p, _ := newPoller(t, reply(429, "", "Retry-After", "600"))
			progress := poller.Progress{ID: "gen1"}
			if _, _, err := p.Check(t.Context(), &progress); err != nil {
				t.Fatal(err)
			}
			for range 4 {
				p, script := newPoller(t, completed)
				progress = saved(t, progress)
				ctx, cancel := context.WithTimeout(t.Context(), 20*s)
				if way == "Check" {
					if _, next, err := p.Check(ctx, &progress); next < time.Until(start)+600*s || err != nil {
						t.Errorf("Check: next in %v, %v", next, err)
					}
					time.Sleep(20 * s)
				} else {
					r := resume(ctx, p, progress)
					var ended *poller.WaitError
					if !errors.Is(r.Err, poller.ErrPause) || errors.Is(r.Err, context.DeadlineExceeded) || !errors.As(r.Err, &ended) {
						t.Errorf("%s: %v", way, r.Err)
					}
					oneLine(t, r.Err)
					if progress = r.Progress; ended.Progress != progress {
						t.Errorf("%s: %+v is not %+v", way, ended.Progress, progress)
					}
				}
				cancel()
				if n := len(script.polls()); n != 0 {
					t.Errorf("%s: %d requests", way, n)
				}
			}
			time.Sleep(time.Until(progress.NextPoll))
			p, script := newPoller(t, completed)
			if r := resume(t.Context(), p, progress); r.Err != nil || r.RateLimited != 0 || r.Polls != 2 {
				t.Errorf("%s: %+v, polls at %v", way, r, script.polls())
			}
			if took := time.Since(start); took < 600*s || took > 725*s {
				t.Errorf("%s: took %v", way, took)
			}
		})
	}
}

// A wait that MaxFailures ended can be resumed, and continues with long pauses.
func TestResumedWaitKeepsItsBackoff(t *testing.T) {
	for way, resume := range resumptions {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			p, script := newPoller(t, dropped)
			p.MaxFailures, p.Timeout = 5, -1
			progress := poller.Progress{ID: "gen1"}
			for restart := range 3 {
				before := len(script.polls())
				r := resume(t.Context(), p, progress)
				var ended *poller.WaitError
				if !errors.As(r.Err, &ended) || !errors.Is(r.Err, io.ErrUnexpectedEOF) {
					t.Fatalf("%s: %+v", way, r)
				}
				if n := len(script.polls()) - before; n != 5 || r.Failures != 5*(restart+1) {
					t.Errorf("%s: %d failures after %d polls, want %d after 5", way, r.Failures, n, 5*(restart+1))
				}
				progress = saved(t, r.Progress)
			}
			at := script.polls()
			for i := 5; i < len(at); i++ {
				if pause := at[i] - at[i-1]; pause < 30*s || pause > 42*s {
					t.Errorf("%s: a pause of %v before poll %d", way, pause, i+1)
				}
			}
			if d := progress.NextPoll.Sub(start) - at[len(at)-1]; d < 30*s || d > 36*s {
				t.Errorf("%s: next poll %v after the last", way, d)
			}
		})
	}
}

// The largest MaxFailures does not make the Progress invalid.
func TestResumedWaitWithTheLargestMaxFailures(t *testing.T) {
	for way, resume := range resumptions {
		synctest.Test(t, func(t *testing.T) {
			p, _ := newPoller(t, dropped, reply(401, ""))
			p.MaxFailures, p.Timeout = math.MaxInt, -1
			progress := poller.Progress{ID: "gen1", Failures: 2}
			for range 2 {
				r := resume(t.Context(), p, progress)
				if !errors.Is(r.Err, gamma.ErrUnauthorized) || r.Failures != 3 {
					t.Errorf("%s: %+v", way, r)
				}
				progress = r.Progress
			}
		})
	}
}

// A resumed wait counts its failures from 0 again for MaxFailures.
func TestResumedWaitCountsAgain(t *testing.T) {
	for _, way := range []string{"Watch", "All"} {
		synctest.Test(t, func(t *testing.T) {
			p, script := newPoller(t, dropped)
			p.MaxFailures, p.Timeout = 5, -1
			r := resumptions[way](t.Context(), p, poller.Progress{ID: "gen1", Failures: 3})
			if !errors.Is(r.Err, io.ErrUnexpectedEOF) || len(script.polls()) != 5 {
				t.Errorf("%s: %v, polls at %v", way, r.Err, script.polls())
			}
		})
	}
}

// All continues the counters of a resumed job, and its Timeout counts from Since.
func TestResumedJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		job := poller.Progress{ID: "gen1", Since: start.Add(-3 * time.Minute).UTC(), Polls: 30, Status: "rendering", Failures: 2, RateLimited: 1, NotFound: true, NextPoll: start.Add(2 * s).UTC()}
		p, script := newPoller(t, reply(429, ""), dropped, pending)
		p.FirstPoll = time.Hour
		var r poller.Result
		for end := range p.All(t.Context(), one(job)) {
			r = end
		}
		if !errors.Is(r.Err, context.DeadlineExceeded) || time.Since(start) != 2*time.Minute {
			t.Errorf("ended with %v after %v", r.Err, time.Since(start))
		}
		if !r.Since.Equal(job.Since) || r.Polls != 30+len(script.polls()) || r.Status != "pending" || r.Failures != 0 || r.NotFound {
			t.Errorf("ended with %+v", r.Progress)
		}
		if first := script.start.Sub(start); first < 2*s || first > 7*s {
			t.Errorf("polled first after %v", first)
		}
		at := script.polls()
		for i, want := range []time.Duration{60 * s, 20 * s} { // the second 429, the third failure
			if pause := at[i+1] - at[i]; pause < want || pause > want+10*s {
				t.Errorf("a pause of %v, want %v", pause, want)
			}
		}
	})
}

// A job that is resumed after its Timeout is polled once.
func TestResumedJobAfterItsTimeout(t *testing.T) {
	for name, tt := range map[string]struct {
		step step
		want error
	}{
		"pending":   {pending, context.DeadlineExceeded},
		"completed": {completed, nil},
		"hangs":     {hangs, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, script := newPoller(t, tt.step)
				start := time.Now()
				for r := range p.All(t.Context(), one(poller.Progress{ID: "gen1", Since: start.Add(-time.Hour), Polls: 700})) {
					if !errors.Is(r.Err, tt.want) || r.Polls != 701 {
						t.Errorf("%+v", r)
					}
				}
				if took := time.Since(start); len(script.polls()) != 1 || took > 6*s {
					t.Errorf("polls at %v, ended after %v", script.polls(), took)
				}
			})
		})
	}
}

// Any Progress that was read as JSON is either refused or polled, with valid counters.
func FuzzProgress(f *testing.F) {
	f.Add(`{"id":"gen1","since":"2026-04-24T12:00:00Z","polls":3,"status":"pending","failures":1}`)
	f.Add(`{"id":"gen1","since":"0001-01-01T00:00:01Z","nextPoll":"9999-04-24T12:00:00Z"}`)
	f.Add(`{"id":"gen1","export":true,"status":"completed","completed":"9999-04-24T12:00:00Z","nextPoll":"2026-04-24T12:00:00+23:59"}`)
	f.Add(`{"id":"../x","polls":-1}`)
	f.Add(`{"id":"gen1","rateLimited":9223372036854775807,"failures":9223372036854775807,"polls":9223372036854775807}`)
	f.Fuzz(func(t *testing.T, text string) {
		var before poller.Progress
		if json.Unmarshal([]byte(text), &before) != nil {
			return
		}
		polls := 0
		p := poller.New(stub(func(context.Context, string) (*api.GetGenerationStatusHTTPResponse, error) {
			polls++
			return nil, io.ErrUnexpectedEOF
		}))
		progress := before
		_, next, err := p.Check(context.Background(), &progress)
		switch {
		case polls == 0:
			if err == nil {
				if next <= 0 || next > 24*time.Hour || !before.NextPoll.After(time.Now().Add(-s)) {
					t.Fatalf("%+v: next in %v", before, next)
				}
				before.Since, before.NextPoll = progress.Since, progress.NextPoll
			}
			if progress != before {
				t.Fatalf("%+v became %+v without a poll: %v", before, progress, err)
			}
		case polls > 1, progress.Polls < before.Polls, progress.Failures < before.Failures, progress.ID != before.ID, err == nil && next < 5*s:
			t.Fatalf("%+v became %+v after %d polls: next in %v, %v", before, progress, polls, next, err)
		}
	})
}

// The time Completed may be wrong, since another machine may have set it.
func TestResumedTimes(t *testing.T) {
	for _, tt := range []struct {
		name      string
		completed func(now time.Time) time.Time
		want      time.Duration // until the wait ends without the export
	}{
		{"two minutes ago", func(now time.Time) time.Time { return now.Add(-2 * time.Minute) }, time.Minute},
		{"in another zone", func(now time.Time) time.Time {
			return now.Add(-2 * time.Minute).In(time.FixedZone("", 3600))
		}, time.Minute},
		{"before the wait started", func(now time.Time) time.Time { return now.Add(-time.Hour) }, 0},
		{"long ago", func(time.Time) time.Time { return time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC) }, 0},
		{"in the future", func(now time.Time) time.Time { return now.Add(time.Hour) }, 3 * time.Minute},
		{"in the far future", func(time.Time) time.Time { return time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC) }, 3 * time.Minute},
	} {
		for _, way := range []string{"Watch", "All"} {
			t.Run(tt.name+", "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p, _ := newPoller(t, completed)
					job := poller.Progress{ID: "gen1", Export: true, Polls: 1, Status: "completed", Completed: tt.completed(time.Now())}
					start := time.Now()
					var err error
					if way == "All" {
						for r := range p.All(t.Context(), one(job)) {
							err = r.Err
						}
					} else {
						for _, e := range p.Watch(t.Context(), job) {
							err = e
						}
					}
					took := time.Since(start)
					if !errors.Is(err, poller.ErrNoExport) || took < tt.want || took > tt.want+10*time.Second {
						t.Errorf("%v after %v, want %v after %v", err, took, poller.ErrNoExport, tt.want)
					}
				})
			})
		}
	}
}
