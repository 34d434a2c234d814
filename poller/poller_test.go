package poller_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

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
		{"negative Polls", poller.New(client), poller.Progress{ID: "x", Polls: -1}, "is invalid"},
		{"negative Failures", poller.New(client), poller.Progress{ID: "x", Failures: -1}, "is invalid"},
		{"negative RateLimited", poller.New(client), poller.Progress{ID: "x", RateLimited: -1}, "is invalid"},
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

func TestCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, script := newPoller(t, pending, dropped, reply(404, ""), reply(429, "", "Retry-After", "60"), completed)
		polled := 0
		p.OnPoll = func(poller.Event) { polled++ }
		progress := poller.Progress{ID: "gen1"}
		for i, want := range []time.Duration{5 * s, 5 * s, 5 * s, 60 * s} {
			gen, next, err := p.Check(t.Context(), &progress)
			if err != nil || next < want || next > want+want/5 || (gen != nil) != (i == 0) || progress.Polls != i+1 || !progress.NextPoll.Equal(time.Now().Add(next)) {
				t.Errorf("Check %d = %v, %v, %v with %+v, want a pause of %v", i+1, gen, next, err, progress, want)
			}
			time.Sleep(next - s)
			before := progress
			if gen, next, err := p.Check(t.Context(), &progress); gen != nil || next != s || err != nil || progress != before {
				t.Errorf("a Check a second early = %v, %v, %v with %+v", gen, next, err, progress)
			}
			if i < 3 {
				time.Sleep(s)
			}
		}
		time.Sleep(s)
		gen, next, err := p.Check(t.Context(), &progress)
		if err != nil || next != 0 || gen == nil || gen.Status != "completed" || progress.Status != "completed" || progress.Polls != 5 || progress.Failures != 0 || progress.NotFound || !progress.NextPoll.IsZero() {
			t.Errorf("Check = %v, %v, %v with %+v", gen, next, err, progress)
		}
		if len(script.polls()) != 5 || polled != 5 {
			t.Errorf("%d requests and %d calls of OnPoll, want 5", len(script.polls()), polled)
		}
	})
}

// A 429 to one generation delays the Check of another.
func TestCheckSharesTheRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, script := newPoller(t, reply(429, "", "Retry-After", "60"), completed)
		start := time.Now()
		_, _, _ = p.Check(t.Context(), &poller.Progress{ID: "other"})
		progress := poller.Progress{ID: "gen1"}
		gen, next, err := p.Check(t.Context(), &progress)
		if gen != nil || next < 60*s || next > 72*s || err != nil || progress.Polls != 0 || !progress.NextPoll.Equal(time.Now().Add(next)) {
			t.Errorf("Check while rate limited = %v, %v, %v with %+v", gen, next, err, progress)
		}
		for range 100 {
			time.Sleep(next)
			if gen, next, err = p.Check(t.Context(), &progress); next == 0 {
				break
			}
		}
		if gen == nil || err != nil || time.Since(start) > 2*time.Minute || len(script.polls()) != 2 {
			t.Errorf("Check = %v, %v after %v, polls at %v", gen, err, time.Since(start), script.polls())
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

func TestFirstPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm()
		p := poller.New(f)
		p.FirstPoll, p.Timeout = 20*s, 30*s
		for range p.All(t.Context(), sequence(50)) {
		}
		for id, at := range f.polls {
			if at[0] < 20*s || at[0] > 25*s {
				t.Errorf("All polled %s first at %v", id, at[0])
			}
		}
		start := time.Since(f.start)
		_, err := p.Wait(t.Context(), "alone")
		if at := f.polls["alone"]; at[0] != start+20*s || len(at) != 3 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait polled at %v from %v", at, start)
		}
		start = time.Since(f.start)
		for range p.Watch(t.Context(), poller.Progress{ID: "resumed", Polls: 1}) {
			break
		}
		if at := f.polls["resumed"]; at[0] != start {
			t.Errorf("a resumed wait polled at %v from %v", at, start)
		}
		start = time.Since(f.start)
		for range p.Watch(t.Context(), poller.Progress{ID: "ahead", Since: time.Now().Add(time.Hour)}) {
			break
		}
		if at := f.polls["ahead"]; at[0] != start+20*s {
			t.Errorf("a wait with Since in the future polled at %v from %v", at, start)
		}
		p.Timeout = 10 * s // before the first poll
		start = time.Since(f.start)
		_, err = p.Wait(t.Context(), "short")
		if at := f.polls["short"]; !slices.Equal(at, []time.Duration{start + 9*s, start + 9500*time.Millisecond}) || !errors.Is(err, context.DeadlineExceeded) || time.Since(f.start) != start+10*s {
			t.Errorf("a short wait polled at %v from %v: %v", at, start, err)
		}
	})
}

// A program may call Check with a new Progress each time.
func TestCheckOfNewProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &limited{windows: []clocked{{name: "-Daily", limit: 1000, length: 24 * time.Hour}}}
		p := pollerOf(t, server)
		for range 600 {
			if _, _, err := p.Check(t.Context(), &poller.Progress{ID: "gen1"}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		if server.good < 200 || server.refused > 0 {
			t.Errorf("%d requests of 600, %d refused", server.good, server.refused)
		}
	})
}

func TestCheckOfNewProgressBesideAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &limited{windows: []clocked{{limit: 200, used: 110, length: time.Hour, end: time.Now().Add(time.Hour)}}}
		p := pollerOf(t, server)
		kept, polled := poller.Progress{ID: "kept"}, 0
		p.OnPoll = func(e poller.Event) {
			if e.ID == "gen1" {
				polled++
			}
		}
		for i := range 3000 {
			if _, _, err := p.Check(t.Context(), &kept); err != nil {
				t.Fatal(err)
			}
			if i%300 == 0 {
				if _, _, err := p.Check(t.Context(), &poller.Progress{ID: "gen1"}); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(s)
		}
		if polled == 0 {
			t.Error("gen1 was not polled")
		}
	})
}

// A program may call Check for all of its ids every few minutes, later than NextPoll.
func TestChecksThatComeLate(t *testing.T) {
	for _, every := range []time.Duration{15 * s, time.Minute, 5 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			server := &limited{windows: []clocked{{limit: 600, used: 320, length: time.Hour, end: time.Now().Add(time.Hour)}}}
			p := pollerOf(t, server)
			jobs := make([]poller.Progress, 30)
			for range 100 {
				for i := range jobs {
					jobs[i].ID = fmt.Sprintf("gen%d", i)
					if _, _, err := p.Check(t.Context(), &jobs[i]); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(every)
			}
			least, most := jobs[0].Polls, jobs[0].Polls
			for _, j := range jobs {
				least, most = min(least, j.Polls), max(most, j.Polls)
			}
			if least == 0 || most > 4*least {
				t.Errorf("every %v: %d to %d polls", every, least, most)
			}
		})
	}
}

// Generations that are no longer checked do not delay others.
func TestAbandonedChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &limited{windows: []clocked{{limit: 300, length: time.Hour}}}
		p := pollerOf(t, server)
		for i := range 100 {
			if _, _, err := p.Check(t.Context(), &poller.Progress{ID: fmt.Sprintf("gen%d", i), Polls: 1}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2*time.Hour + time.Second)
		for _, id := range []string{"alone1", "alone2"} {
			server.finishes(id, time.Now())
			start := time.Now()
			if _, err := p.Wait(t.Context(), id); err != nil || time.Since(start) > s {
				t.Errorf("%s: %v after %v", id, err, time.Since(start))
			}
		}
	})
}
