package poller_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"runtime"
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

// farm is a Client with generations that finish some time after the start, and a
// budget of requests in every window.
type farm struct {
	mu       sync.Mutex
	start    time.Time
	trip     time.Duration
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
	sleepCtx(ctx, f.trip/2)
	rsp, err := f.answer(id)
	sleepCtx(ctx, f.trip/2)
	f.mu.Lock()
	f.inFlight--
	f.mu.Unlock()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return rsp, err
}

func (f *farm) answer(id string) (*api.GetGenerationStatusHTTPResponse, error) {
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

func sequence(n int) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range n {
			if !yield(fmt.Sprintf("gen%d", i)) {
				return
			}
		}
	}
}

func TestAllYieldsAsTheyEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm()
		f.done = map[string]time.Duration{"slow": 200 * s, "fast": 0, "bad": 60 * s, "twice": 90 * s}
		f.failed["bad"] = true
		p := poller.New(f)
		p.Timeout = 250 * s
		var got []string
		for gen, err := range p.All(t.Context(), slices.Values([]string{"slow", "never", "fast", "no/good", "bad", "twice", "twice"})) {
			var failed *poller.FailedError
			var ended *poller.WaitError
			switch {
			case err == nil:
				got = append(got, gen.GenerationID)
			case errors.As(err, &failed):
				got = append(got, failed.ID+" failed")
			case errors.As(err, &ended):
				if !errors.Is(err, context.DeadlineExceeded) || gen == nil || gen.Status != "pending" || ended.Polls < 40 || ended.Status != "pending" || time.Since(f.start) != 250*s {
					t.Errorf("never ended with %v, %v after %v", gen, err, time.Since(f.start))
				}
				got = append(got, ended.ID+" ended")
			default:
				got = append(got, err.Error())
			}
		}
		want := []string{"gamma: the generation id has a character other than A-Z a-z 0-9 - . _ ~ at position 2", "fast", "bad failed", "twice", "twice", "slow", "never ended"}
		if !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}

func TestAllBadInput(t *testing.T) {
	negative := poller.New(newFarm())
	negative.MaxInFlight = -1
	waiting := poller.New(newFarm())
	waiting.MaxWaiting = -1
	first := poller.New(newFarm())
	first.FirstPoll = -1
	pulled := 0
	ids := func(func(string) bool) { pulled++ }
	for want, all := range map[string]iter.Seq2[*api.GenerationStatusResponse, error]{
		"negative MaxInFlight": negative.All(t.Context(), ids),
		"negative MaxWaiting":  waiting.All(t.Context(), ids),
		"negative FirstPoll":   first.All(t.Context(), ids),
		"nil ids":              poller.New(newFarm()).All(t.Context(), nil),
	} {
		n := 0
		for gen, err := range all {
			if n++; gen != nil || err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, %v", want, gen, err)
			}
		}
		if n != 1 || pulled != 0 {
			t.Errorf("%s: %d errors, %d pulls", want, n, pulled)
		}
	}
	for range poller.New(newFarm()).All(t.Context(), slices.Values([]string{})) {
		t.Error("an empty sequence yields")
	}
}

func TestAllLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm()
		f.trip = 2 * s
		p := poller.New(f)
		p.MaxInFlight, p.MaxWaiting, p.Timeout = 3, 10, -1
		pulled, finished, most := 0, 0, 0
		ids := func(yield func(string) bool) {
			for i := range 100 {
				id := fmt.Sprintf("gen%d", i)
				f.mu.Lock()
				f.done[id] = time.Since(f.start) + 3*s
				pulled++
				most = max(most, pulled-finished)
				f.mu.Unlock()
				if !yield(id) {
					return
				}
			}
		}
		for _, err := range p.All(t.Context(), ids) {
			if err != nil {
				t.Error(err)
			}
			f.mu.Lock()
			finished++
			f.mu.Unlock()
		}
		if finished != 100 || most > 11 || most < 10 || f.most != 3 {
			t.Errorf("%d finished, at most %d waiting and %d in flight, want 100, 10 and 3", finished, most, f.most)
		}
	})
}

// Whatever ends the loop, nothing is left running: synctest fails otherwise, and
// the stacks are searched as soon as the loop has ended.
func TestAllLeavesNothingBehind(t *testing.T) {
	boom := errors.New("boom")
	tests := map[string]func(context.Context, context.CancelFunc, *poller.Poller, *farm){
		"break": func(ctx context.Context, _ context.CancelFunc, p *poller.Poller, _ *farm) {
			for range p.All(ctx, sequence(1000)) {
				break
			}
		},
		"break before ids end": func(ctx context.Context, _ context.CancelFunc, p *poller.Poller, _ *farm) {
			p.MaxWaiting = 5
			for range p.All(ctx, sequence(1e9)) {
				break
			}
		},
		"cancel": func(ctx context.Context, cancel context.CancelFunc, p *poller.Poller, _ *farm) {
			n, done := 0, 0
			for _, err := range p.All(ctx, sequence(1000)) {
				if err == nil {
					done++
					cancel()
				}
				n++
			}
			if n != 1000 || done == 0 {
				panic(fmt.Sprint(n, done))
			}
		},
		"cancel before": func(ctx context.Context, cancel context.CancelFunc, p *poller.Poller, f *farm) {
			cancel()
			for range p.All(ctx, sequence(1000)) {
			}
			if f.requests != 0 {
				panic(f.requests)
			}
		},
		"panic in the body": func(ctx context.Context, _ context.CancelFunc, p *poller.Poller, _ *farm) {
			for range p.All(ctx, sequence(1000)) {
				panic(boom)
			}
		},
		"panic in ids": func(ctx context.Context, _ context.CancelFunc, p *poller.Poller, _ *farm) {
			for range p.All(ctx, func(yield func(string) bool) { yield("gen1"); panic(boom) }) {
			}
		},
		"panic in ids at once": func(ctx context.Context, _ context.CancelFunc, p *poller.Poller, _ *farm) {
			for range p.All(ctx, func(func(string) bool) { panic(boom) }) {
			}
		},
		"panic in ids after a break": func(ctx context.Context, _ context.CancelFunc, p *poller.Poller, _ *farm) {
			p.MaxWaiting = 5
			for range p.All(ctx, func(yield func(string) bool) {
				for yield("gen0") {
				}
				panic(boom)
			}) {
				break
			}
		},
		"panic in OnPoll": func(ctx context.Context, _ context.CancelFunc, p *poller.Poller, _ *farm) {
			p.OnPoll = func(poller.Event) { panic(boom) }
			for range p.All(ctx, sequence(1000)) {
			}
		},
	}
	for name, run := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFarm()
				f.trip = 50 * time.Millisecond
				f.done["gen0"] = 10 * s
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				func() {
					defer func() {
						if v := recover(); (v != nil) != strings.HasPrefix(name, "panic") || v != nil && v != any(boom) {
							t.Errorf("recovered %v", v)
						}
					}()
					run(ctx, cancel, poller.New(f), f)
				}()
				stacks := make([]byte, 1<<20)
				stacks = stacks[:runtime.Stack(stacks, true)]
				if bytes.Contains(stacks, []byte("poller.(*scheduler)")) {
					t.Errorf("a goroutine is left:\n%s", stacks)
				}
				if f.inFlight != 0 {
					t.Errorf("%d requests in flight", f.inFlight)
				}
			})
		})
	}
}

// An id that has left its queue when the context ends is not lost.
func TestAllKeepsTheLastID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		queue := make(chan string)
		go func() {
			defer close(queue)
			queue <- "early"
			time.Sleep(10 * s)
			cancel()
			time.Sleep(s)
			queue <- "late"
		}()
		f := newFarm()
		var got []string
		for _, err := range poller.New(f).All(ctx, func(yield func(string) bool) {
			for id := range queue {
				if !yield(id) {
					return
				}
			}
		}) {
			var ended *poller.WaitError
			if !errors.As(err, &ended) || !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			got = append(got, ended.ID)
		}
		if !slices.Equal(got, []string{"early", "late"}) || len(f.polls["late"]) != 0 {
			t.Errorf("yielded %v, polls at %v", got, f.polls)
		}
	})
}

func TestAllGoexitInIDs(t *testing.T) {
	done := make(chan bool)
	go func() {
		defer close(done)
		for range poller.New(newFarm()).All(context.Background(), func(func(string) bool) { runtime.Goexit() }) {
		}
		done <- true
	}()
	if <-done {
		t.Error("the loop went on")
	}
}

// The loop body may take its time: the polls go on, and the results wait.
func TestAllSlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm()
		for i := range 20 {
			f.done[fmt.Sprintf("gen%d", i)] = 10 * s
		}
		n := 0
		for range poller.New(f).All(t.Context(), sequence(20)) {
			if n++; n == 1 {
				time.Sleep(time.Minute)
				f.mu.Lock()
				if f.requests > 100 || f.requests < 40 {
					t.Errorf("%d requests", f.requests)
				}
				f.mu.Unlock()
			}
		}
		if n != 20 || time.Since(f.start) > 75*s {
			t.Errorf("%d results after %v", n, time.Since(f.start))
		}
	})
}

// Ids that come slowly do not hold up the ones that wait.
func TestAllSlowIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm()
		ch := make(chan string)
		go func() {
			for i := range 3 {
				id := fmt.Sprintf("gen%d", i)
				f.mu.Lock()
				f.done[id] = time.Since(f.start) + 10*s
				f.mu.Unlock()
				ch <- id
				time.Sleep(time.Hour)
			}
			close(ch)
		}()
		var at []time.Duration
		for gen, err := range poller.New(f).All(t.Context(), func(yield func(string) bool) {
			for id := range ch {
				if !yield(id) {
					return
				}
			}
		}) {
			if err != nil {
				t.Error(gen, err)
			}
			at = append(at, time.Since(f.start).Truncate(time.Hour))
		}
		if !slices.Equal(at, []time.Duration{0, time.Hour, 2 * time.Hour}) {
			t.Errorf("finished in the hours %v", at)
		}
	})
}

// The pace of the first of many ids does not hold up the others.
func TestAllPaceFollowsTheNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm()
		ctx, cancel := context.WithTimeout(t.Context(), 4*s)
		defer cancel()
		for range poller.New(f).All(ctx, func(yield func(string) bool) {
			for id := range sequence(1000) {
				if !yield(id) {
					return
				}
				if id == "gen0" {
					time.Sleep(10 * time.Millisecond)
				}
			}
		}) {
		}
		for second := range 3 {
			if n := f.seconds[second]; n < 150 || n > 250 {
				t.Errorf("%d polls of 1000 in second %d of 5", n, second+1)
			}
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
		if at := f.polls["short"]; !slices.Equal(at, []time.Duration{start + 9*s, start + 10*s - 10*time.Millisecond}) || !errors.Is(err, context.DeadlineExceeded) || time.Since(f.start) != start+10*s {
			t.Errorf("a short wait polled at %v from %v: %v", at, start, err)
		}
	})
}

// A first poll is early enough for its answer, whatever the settings say.
func TestFirstPollIsAnswered(t *testing.T) {
	for name, tt := range map[string]struct {
		trip, timeout, first time.Duration
		waiting              int
	}{
		"a Timeout before FirstPoll":        {300 * time.Millisecond, 15 * s, 20 * s, 0},
		"a Timeout before the Interval":     {300 * time.Millisecond, 3 * s, 0, 0},
		"a Timeout too short to leave time": {time.Millisecond, 5 * time.Millisecond, 0, 0},
		"slow answers":                      {3 * s, 9 * s, 0, 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFarm()
				f.trip = tt.trip
				for i := range 20 {
					f.done[fmt.Sprintf("gen%d", i)] = 0
				}
				p := poller.New(f)
				p.Timeout, p.FirstPoll, p.MaxWaiting = tt.timeout, tt.first, tt.waiting
				for _, err := range p.All(t.Context(), sequence(20)) {
					if err != nil {
						t.Error("All:", err)
					}
				}
				if _, err := p.Wait(t.Context(), "gen0"); err != nil && tt.trip < s { // the first trip of a Wait is a guess
					t.Error("Wait:", err)
				}
			})
		})
	}
}

// The largest value of a setting is no special case.
func TestAllLargestSettings(t *testing.T) {
	for name, tt := range map[string]struct {
		set  func(*poller.Poller)
		want time.Duration
	}{
		"Interval":    {func(p *poller.Poller) { p.Interval = math.MaxInt64 }, 24 * time.Hour},
		"Timeout":     {func(p *poller.Poller) { p.Timeout = math.MaxInt64 }, 5 * s},
		"FirstPoll":   {func(p *poller.Poller) { p.FirstPoll, p.Timeout = math.MaxInt64, time.Hour }, time.Hour},
		"MaxFailures": {func(p *poller.Poller) { p.MaxFailures = math.MaxInt }, 5 * s},
		"MaxInFlight": {func(p *poller.Poller) { p.MaxInFlight = math.MaxInt }, 5 * s},
		"MaxWaiting":  {func(p *poller.Poller) { p.MaxWaiting = math.MaxInt }, 5 * s},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFarm()
				p := poller.New(f)
				p.Timeout = -1
				tt.set(p)
				for i := range 3 {
					f.done[fmt.Sprintf("gen%d", i)] = 0
				}
				for _, err := range p.All(t.Context(), func(yield func(string) bool) {
					time.Sleep(time.Nanosecond) // so that no wait starts at zero
					sequence(3)(yield)
				}) {
					if err != nil {
						t.Error(err)
					}
				}
				if took := time.Since(f.start); took > tt.want || took < tt.want/2 {
					t.Errorf("took %v, want about %v", took, tt.want)
				}
			})
		})
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

func TestAllPacing(t *testing.T) {
	tests := []struct {
		name        string
		budget      int64
		aligned     bool
		trip        time.Duration
		refused     int
		late        time.Duration
		perJob      float64
		lastAtMost  float64
		busiestRate int // refused requests included
	}{
		{"no budget", 0, false, 50 * time.Millisecond, 0, 2800 * time.Millisecond, 15.5, 1.02, 3333},
		{"budget, windows by the clock", 1000, true, 50 * time.Millisecond, 20, 46 * s, 15.5, 1.02, 1020},
		{"budget, windows by the first request", 1000, false, 50 * time.Millisecond, 20, 46 * s, 15.5, 1.02, 1020},
		{"budget, answers at once", 1000, true, 0, 20, 46 * s, 15.5, 1.02, 1020},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if testing.Short() {
				t.Skip("takes seconds")
			}
			synctest.Test(t, func(t *testing.T) {
				f := newFarm()
				f.trip, f.budget, f.window, f.aligned = tt.trip, tt.budget, 10*s, tt.aligned
				durations := lognormal(10000)
				for i, d := range durations {
					f.done[fmt.Sprintf("gen%d", i)] = d
				}
				last := slices.Max(durations)
				p := poller.New(f)
				p.Timeout, p.FirstPoll = -1, 20*s
				var late time.Duration
				n := 0
				for gen, err := range p.All(t.Context(), sequence(len(durations))) {
					if err != nil {
						t.Fatal(err)
					}
					late += time.Since(f.start) - f.done[gen.GenerationID]
					n++
				}
				mean := late / time.Duration(n)
				busiest := slices.Max(slices.Collect(maps.Values(f.seconds)))
				t.Logf("mean lateness %v, %.1f requests per generation, busiest second %d, %d refused, known after %v of %v",
					mean, float64(f.requests)/float64(n), busiest, f.refused, time.Since(f.start), last)
				if mean > tt.late || float64(f.requests)/float64(n) > tt.perJob || busiest > tt.busiestRate || f.refused > tt.refused || float64(time.Since(f.start)) > tt.lastAtMost*float64(last) {
					t.Error("a bar is missed")
				}
			})
		})
	}
}

// With more polls due than the budget allows, none starves.
func TestAllFairness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm()
		f.budget, f.window, f.aligned = 50, 10*s, true
		p := poller.New(f)
		p.Timeout = 10 * time.Minute
		for range p.All(t.Context(), sequence(500)) {
		}
		for id, at := range f.polls {
			for i := range at[1:] {
				if gap := at[i+1] - at[i]; gap > 130*s { // 500 generations at 5 a second
					t.Errorf("%s waited %v for a poll", id, gap)
				}
			}
		}
		if len(f.polls) != 500 {
			t.Errorf("%d were polled", len(f.polls))
		}
		if f.refused > 20 {
			t.Errorf("%d requests were refused", f.refused)
		}
	})
}

// Calls of All on one Poller share a budget that is too small for them.
func TestAllTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate, burst = 20.0, 20.0 // a bucket of requests that is never quite empty
		var mu sync.Mutex
		left, at, polls := burst, time.Now(), map[string]int{}
		p := poller.New(stub(func(ctx context.Context, id string) (*api.GetGenerationStatusHTTPResponse, error) {
			sleepCtx(ctx, 50*time.Millisecond)
			mu.Lock()
			left, at = min(burst, left+rate*time.Since(at).Seconds()), time.Now()
			if left < 1 {
				mu.Unlock()
				return nil, &gamma.APIError{StatusCode: 429, RetryAfter: s}
			}
			left--
			h := http.Header{"X-Ratelimit-Remaining-Burst": {fmt.Sprint(int(left))}}
			call, _, several := strings.Cut(id, "-")
			polls[call]++
			mu.Unlock()
			sleepCtx(ctx, 50*time.Millisecond)
			gen := &api.GenerationStatusResponse{GenerationID: id, Status: api.GenerationStatusPending}
			if !several {
				gen.Status = api.GenerationStatusCompleted
			}
			return &api.GetGenerationStatusHTTPResponse{HTTPResponse: &http.Response{StatusCode: 200, Header: h}, JSON200: gen}, nil
		}))
		p.Timeout = -1
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		var wg sync.WaitGroup
		for call, n := range map[string]int{"many": 2000, "fewer": 500, "fewest": 200} {
			wg.Go(func() {
				for range p.All(ctx, func(yield func(string) bool) {
					for i := range n {
						if !yield(fmt.Sprint(call, "-", i)) {
							return
						}
					}
				}) {
				}
			})
		}
		for range 5 {
			time.Sleep(time.Minute)
			start := time.Now()
			for range p.All(t.Context(), slices.Values([]string{"one"})) {
			}
			if took := time.Since(start); took > 2*s {
				t.Errorf("one poll took %v", took)
			}
		}
		wg.Wait()
		if least, most := min(polls["many"], polls["fewer"], polls["fewest"]), polls["many"]; least < most*9/10 || most < 1000 {
			t.Errorf("the calls had %v polls, want as many each", polls)
		}
	})
}

// All goes on as soon as the request of another wait has made room.
func TestAllAwaitsRoom(t *testing.T) {
	for _, interval := range []time.Duration{1, 0, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			p := poller.New(stub(func(ctx context.Context, id string) (*api.GetGenerationStatusHTTPResponse, error) {
				if id == "slow" {
					sleepCtx(ctx, 7*s)
				}
				return &api.GetGenerationStatusHTTPResponse{
					HTTPResponse: &http.Response{StatusCode: 200, Header: http.Header{"X-Ratelimit-Remaining-Burst": {"1"}}},
					JSON200:      &api.GenerationStatusResponse{GenerationID: id, Status: api.GenerationStatusCompleted},
				}, nil
			}))
			p.Interval = interval
			all := func(ids ...string) {
				for _, err := range p.All(t.Context(), slices.Values(ids)) {
					if err != nil {
						t.Error(err)
					}
				}
			}
			all("gen1") // tells what is left
			start := time.Now()
			go func() { _, _ = p.Wait(t.Context(), "slow") }()
			synctest.Wait()
			if all("gen2"); time.Since(start) != 7*s {
				t.Errorf("with an Interval of %v: polled after %v", interval, time.Since(start))
			}
		})
	}
}

// What All learns, a Wait on the same Poller obeys.
func TestAllSharesTheGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm()
		var limited atomic.Bool
		p := poller.New(stub(func(ctx context.Context, id string) (*api.GetGenerationStatusHTTPResponse, error) {
			if id == "gen0" && limited.CompareAndSwap(false, true) {
				return nil, &gamma.APIError{StatusCode: 429, RetryAfter: time.Minute}
			}
			return f.GetGenerationStatusWithResponse(ctx, id)
		}))
		f.done = map[string]time.Duration{"gen0": 0, "gen1": 0, "alone": 0}
		var wg sync.WaitGroup
		wg.Go(func() {
			time.Sleep(s)
			if _, err := p.Wait(t.Context(), "alone"); err != nil {
				t.Error(err)
			}
		})
		for _, err := range p.All(t.Context(), sequence(2)) {
			if err != nil {
				t.Error(err)
			}
		}
		wg.Wait()
		for id, at := range f.polls {
			if at[0] < time.Minute || at[0] > 75*s {
				t.Errorf("%s polled at %v", id, at)
			}
		}
		// A gate that is closed past the deadline ends what waits behind it.
		limited.Store(false)
		p.Timeout = 30 * s
		start := time.Now()
		for gen, err := range p.All(t.Context(), slices.Values([]string{"gen0", "other"})) {
			if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, gamma.ErrRateLimited) {
				t.Errorf("%v, %v", gen, err)
			}
		}
		if time.Since(start) > 5*s {
			t.Errorf("ended after %v", time.Since(start))
		}
	})
}

// A budget that is nearly spent slows down what was not told by its own answer.
func TestLowBudgetIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm()
		p := poller.New(stub(func(ctx context.Context, id string) (*api.GetGenerationStatusHTTPResponse, error) {
			rsp, err := f.GetGenerationStatusWithResponse(ctx, id)
			if id == "low" {
				rsp.HTTPResponse.Header = http.Header{"X-Ratelimit-Limit": {"1000"}, "X-Ratelimit-Remaining": {"9"}}
			}
			return rsp, err
		}))
		p.Timeout = 13 * s
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = p.Wait(t.Context(), "other") })
		wg.Go(func() {
			for range p.All(t.Context(), sequence(3)) {
			}
		})
		time.Sleep(4 * s)
		wg.Go(func() { _, _ = p.Wait(t.Context(), "low") })
		wg.Wait()
		if at := f.polls["other"]; len(at) != 2 || at[1] < 12*s { // the last poll at the deadline
			t.Errorf("other polled at %v", at)
		}
		for i := range 3 {
			if at := f.polls[fmt.Sprintf("gen%d", i)]; len(at) != 2 || at[1] < 12*s {
				t.Errorf("gen%d polled at %v", i, at)
			}
		}
	})
}
