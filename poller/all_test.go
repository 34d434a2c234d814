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
	"path"
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

func TestAllYieldsAsTheyEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm()
		f.done = map[string]time.Duration{"slow": 200 * s, "fast": 0, "bad": 60 * s, "twice": 90 * s}
		f.failed["bad"] = true
		p := poller.New(f)
		p.Timeout = 250 * s
		var got []string
		for r := range p.All(t.Context(), poller.IDs("slow", "never", "fast", "no/good", "bad", "twice", "twice")) {
			var failed *poller.FailedError
			var ended *poller.WaitError
			switch {
			case r.Err == nil:
				got = append(got, r.ID+" "+string(r.Generation.Status))
			case errors.As(r.Err, &failed):
				if failed.Progress != r.Progress || failed.Generation != r.Generation {
					t.Errorf("%+v is not that of %+v", r, failed)
				}
				got = append(got, r.ID+" failed")
			case errors.As(r.Err, &ended):
				if !errors.Is(r.Err, context.DeadlineExceeded) || r.Generation == nil || r.Generation.Status != "pending" || r.Generation.GenerationID != r.ID || ended.Progress != r.Progress || ended.Polls < 40 || ended.Status != "pending" || time.Since(f.start) != 250*s {
					t.Errorf("never ended with %+v after %v", r, time.Since(f.start))
				}
				got = append(got, r.ID+" ended")
			default:
				got = append(got, r.ID+" "+r.Err.Error())
			}
		}
		want := []string{
			"no/good gamma: the generation id has a character other than A-Z a-z 0-9 - . _ ~ at position 2",
			"fast completed", "bad failed", "twice completed", "twice completed", "slow completed", "never ended",
		}
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
	ids := func(func(poller.Progress) bool) { pulled++ }
	for want, all := range map[string]iter.Seq[poller.Result]{
		"negative MaxInFlight": negative.All(t.Context(), ids),
		"negative MaxWaiting":  waiting.All(t.Context(), ids),
		"negative FirstPoll":   first.All(t.Context(), ids),
		"nil jobs":             poller.New(newFarm()).All(t.Context(), nil),
	} {
		n := 0
		for r := range all {
			if n++; r.ID != "" || r.Generation != nil || r.Err == nil || !strings.Contains(r.Err.Error(), want) {
				t.Errorf("%s: %+v", want, r)
			}
		}
		if n != 1 || pulled != 0 {
			t.Errorf("%s: %d errors, %d pulls", want, n, pulled)
		}
	}
	for range poller.New(newFarm()).All(t.Context(), poller.IDs()) {
		t.Error("an empty sequence yields")
	}
}

func TestAllLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm()
		f.rtt = 2 * s
		p := poller.New(f)
		p.MaxInFlight, p.MaxWaiting, p.Timeout = 3, 10, -1
		pulled, finished, most := 0, 0, 0
		ids := func(yield func(poller.Progress) bool) {
			for i := range 100 {
				id := fmt.Sprintf("gen%d", i)
				f.mu.Lock()
				f.done[id] = time.Since(f.start) + 3*s
				pulled++
				most = max(most, pulled-finished)
				f.mu.Unlock()
				if !yield(poller.Progress{ID: id}) {
					return
				}
			}
		}
		for r := range p.All(t.Context(), ids) {
			if r.Err != nil {
				t.Error(r.Err)
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

// No goroutine and no request is left when the loop has ended.
func TestAllLeavesNothingBehind(t *testing.T) {
	for name, run := range map[string]func(context.Context, context.CancelFunc, *poller.Poller, *farm){
		"break": func(ctx context.Context, _ context.CancelFunc, p *poller.Poller, _ *farm) {
			for range p.All(ctx, sequence(1000)) {
				break
			}
		},
		"break before jobs end": func(ctx context.Context, _ context.CancelFunc, p *poller.Poller, _ *farm) {
			p.MaxWaiting = 5
			for range p.All(ctx, sequence(1e9)) {
				break
			}
		},
		"cancel": func(ctx context.Context, cancel context.CancelFunc, p *poller.Poller, _ *farm) {
			n, done := 0, 0
			for r := range p.All(ctx, sequence(1000)) {
				if r.Err == nil {
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
			n := 0
			for r := range p.All(ctx, sequence(1000)) {
				if n++; !errors.Is(r.Err, context.Canceled) {
					panic(r.Err)
				}
			}
			if f.requests != 0 || n == 0 {
				panic(fmt.Sprint(f.requests, n))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			leavesNothingBehind(t, func(t *testing.T, f *farm) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				run(ctx, cancel, poller.New(f), f)
			})
		})
	}
}

// A panic is propagated to the caller, and nothing is left then either.
func TestAllPropagatesPanics(t *testing.T) {
	boom := errors.New("boom")
	for name, run := range map[string]func(context.Context, *poller.Poller){
		"in the loop body": func(ctx context.Context, p *poller.Poller) {
			for range p.All(ctx, sequence(1000)) {
				panic(boom)
			}
		},
		"in jobs": func(ctx context.Context, p *poller.Poller) {
			for range p.All(ctx, func(yield func(poller.Progress) bool) { yield(poller.Progress{ID: "gen1"}); panic(boom) }) {
			}
		},
		"in jobs at once": func(ctx context.Context, p *poller.Poller) {
			for range p.All(ctx, func(func(poller.Progress) bool) { panic(boom) }) {
			}
		},
		"in jobs after a break": func(ctx context.Context, p *poller.Poller) {
			p.MaxWaiting = 5
			for range p.All(ctx, func(yield func(poller.Progress) bool) {
				for yield(poller.Progress{ID: "gen0"}) {
				}
				panic(boom)
			}) {
				break
			}
		},
		"in OnPoll": func(ctx context.Context, p *poller.Poller) {
			p.OnPoll = func(poller.Event) { panic(boom) }
			for range p.All(ctx, sequence(1000)) {
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			leavesNothingBehind(t, func(t *testing.T, f *farm) {
				defer func() {
					if v := recover(); v != any(boom) {
						t.Errorf("recovered %v", v)
					}
				}()
				run(t.Context(), poller.New(f))
			})
		})
	}
}

// leavesNothingBehind calls run, and fails the test if a goroutine or a request of All is left.
// It searches the stacks as soon as run has returned; synctest does so at the end.
func leavesNothingBehind(t *testing.T, run func(*testing.T, *farm)) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm()
		f.rtt = 50 * time.Millisecond
		f.done["gen0"] = 10 * s
		run(t, f)
		synctest.Wait() // the function of an AfterFunc may not have run yet
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		if bytes.Contains(stacks, []byte("internal/schedule.")) {
			t.Errorf("a goroutine is left:\n%s", stacks)
		}
		if f.inFlight != 0 {
			t.Errorf("%d requests in flight", f.inFlight)
		}
	})
}

// A job that was received when the context ends yields its error.
func TestAllYieldsTheLastJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		queue := make(chan poller.Progress)
		go func() {
			defer close(queue)
			queue <- poller.Progress{ID: "early"}
			time.Sleep(10 * s)
			cancel()
			time.Sleep(s)
			queue <- poller.Progress{ID: "late"}
		}()
		f := newFarm()
		var got []string
		for r := range poller.New(f).All(ctx, func(yield func(poller.Progress) bool) {
			for p := range queue { // not FromChan, which would leave the late one
				if !yield(p) {
					return
				}
			}
		}) {
			if !errors.Is(r.Err, context.Canceled) {
				t.Fatal(r.Err)
			}
			got = append(got, r.ID)
		}
		if !slices.Equal(got, []string{"early", "late", ""}) || len(f.polls["late"]) != 0 {
			t.Errorf("yielded %v, polls at %v", got, f.polls)
		}
	})
}

// Polls continue while the loop body is busy.
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

// A sequence of jobs that blocks does not delay the waits.
func TestAllSlowJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm()
		ch := make(chan poller.Progress)
		go func() {
			for i := range 3 {
				id := fmt.Sprintf("gen%d", i)
				f.mu.Lock()
				f.done[id] = time.Since(f.start) + 10*s
				f.mu.Unlock()
				ch <- poller.Progress{ID: id}
				time.Sleep(time.Hour)
			}
			close(ch)
		}()
		var at []time.Duration
		for r := range poller.New(f).All(t.Context(), poller.FromChan(t.Context(), ch)) {
			if r.Err != nil {
				t.Error(r.Generation, r.Err)
			}
			at = append(at, time.Since(f.start).Truncate(time.Hour))
		}
		if !slices.Equal(at, []time.Duration{0, time.Hour, 2 * time.Hour}) {
			t.Errorf("finished in the hours %v", at)
		}
	})
}

// First polls are spread evenly over the interval, or over the time before the deadline.
func TestAllSpreadsFirstPolls(t *testing.T) {
	for name, tt := range map[string]struct {
		timeout time.Duration
		seconds int
	}{
		"over the interval":                {-1, 5},
		"over the time before the timeout": {4 * s, 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFarm()
				p := poller.New(f)
				p.Timeout = tt.timeout
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				time.AfterFunc(6*s, cancel)
				for range p.All(ctx, func(yield func(poller.Progress) bool) {
					for p := range sequence(1000) {
						if !yield(p) {
							return
						}
						if p.ID == "gen0" {
							time.Sleep(10 * time.Millisecond)
						}
					}
				}) {
				}
				for second := range tt.seconds {
					want := 1000 / tt.seconds
					if n := f.seconds[second]; n < want*3/4 || n > want*5/4 {
						t.Errorf("%d polls in second %d, want about %d", n, second+1, want)
					}
				}
			})
		})
	}
}

// The first poll is sent early enough for its response, whatever the settings are.
func TestFirstPollLeavesTimeForTheResponse(t *testing.T) {
	for name, tt := range map[string]struct {
		rtt, timeout, first time.Duration
		waiting             int
	}{
		"a Timeout before FirstPoll":        {300 * time.Millisecond, 15 * s, 20 * s, 0},
		"a Timeout before the Interval":     {300 * time.Millisecond, 3 * s, 0, 0},
		"a Timeout too short to leave time": {time.Millisecond, 5 * time.Millisecond, 0, 0},
		"slow responses":                    {3 * s, 9 * s, 0, 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFarm()
				f.rtt = tt.rtt
				for i := range 20 {
					f.done[fmt.Sprintf("gen%d", i)] = 0
				}
				p := poller.New(f)
				p.Timeout, p.FirstPoll, p.MaxWaiting = tt.timeout, tt.first, tt.waiting
				for r := range p.All(t.Context(), sequence(20)) {
					if r.Err != nil {
						t.Error("All:", r.Err)
					}
				}
				if _, err := p.Wait(t.Context(), "gen0"); err != nil && tt.rtt < s { // the first round trip of a Wait is a guess
					t.Error("Wait:", err)
				}
			})
		})
	}
}

// The largest value of each setting works.
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
				for r := range p.All(t.Context(), func(yield func(poller.Progress) bool) {
					time.Sleep(time.Nanosecond) // so that no wait starts at zero
					sequence(3)(yield)
				}) {
					if r.Err != nil {
						t.Error(r.Err)
					}
				}
				if took := time.Since(f.start); took > tt.want || took < tt.want/2 {
					t.Errorf("took %v, want about %v", took, tt.want)
				}
			})
		})
	}
}

func TestAllPacing(t *testing.T) {
	tests := []struct {
		name        string
		budget      int64
		aligned     bool
		rtt         time.Duration
		refused     int
		late        time.Duration
		perJob      float64
		lastAtMost  float64
		busiestRate int // refused requests included
	}{
		{"no budget", 0, false, 50 * time.Millisecond, 0, 2800 * time.Millisecond, 15.5, 1.02, 3333},
		{"budget, windows by the clock", 1000, true, 50 * time.Millisecond, 20, 46 * s, 15.5, 1.02, 1020},
		{"budget, windows by the first request", 1000, false, 50 * time.Millisecond, 20, 46 * s, 15.5, 1.02, 1020},
		{"budget, responses at once", 1000, true, 0, 20, 46 * s, 15.5, 1.02, 1020},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if testing.Short() {
				t.Skip("takes seconds")
			}
			synctest.Test(t, func(t *testing.T) {
				f := newFarm()
				f.rtt, f.budget, f.window, f.aligned = tt.rtt, tt.budget, 10*s, tt.aligned
				durations := lognormal(10000)
				for i, d := range durations {
					f.done[fmt.Sprintf("gen%d", i)] = d
				}
				last := slices.Max(durations)
				p := poller.New(f)
				p.Timeout, p.FirstPoll = -1, 20*s
				var late time.Duration
				n := 0
				for r := range p.All(t.Context(), sequence(len(durations))) {
					if r.Err != nil {
						t.Fatal(r.Err)
					}
					late += time.Since(f.start) - f.done[r.Generation.GenerationID]
					n++
				}
				mean := late / time.Duration(n)
				busiest := slices.Max(slices.Collect(maps.Values(f.seconds)))
				t.Logf("mean lateness %v, %.1f requests per generation, busiest second %d, %d refused, known after %v of %v",
					mean, float64(f.requests)/float64(n), busiest, f.refused, time.Since(f.start), last)
				if mean > tt.late || float64(f.requests)/float64(n) > tt.perJob || busiest > tt.busiestRate || f.refused > tt.refused || float64(time.Since(f.start)) > tt.lastAtMost*float64(last) {
					t.Error("a limit is exceeded")
				}
			})
		})
	}
}

// If more polls are due than the rate limit allows, all generations are polled.
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

// Calls of All on one Poller take turns when the rate limit is too low for them.
func TestCallsOfAllTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate, burst = 20.0, 20.0 // a leaky bucket of requests
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
				for range p.All(ctx, func(yield func(poller.Progress) bool) {
					for i := range n {
						if !yield(poller.Progress{ID: fmt.Sprint(call, "-", i)}) {
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
			for range p.All(t.Context(), poller.IDs("one")) {
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

// All polls as soon as the request of another wait has ended, if one request remains then.
func TestAllWaitsForRequestsInFlight(t *testing.T) {
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
				for r := range p.All(t.Context(), poller.IDs(ids...)) {
					if r.Err != nil {
						t.Error(r.Err)
					}
				}
			}
			all("gen1") // tells what is left
			start := time.Now()
			go func() { _, _ = p.Wait(t.Context(), "slow") }()
			synctest.Wait()
			if all("gen2"); time.Since(start) < 7*s || time.Since(start) > 7*s+100*time.Millisecond {
				t.Errorf("with an Interval of %v: polled after %v", interval, time.Since(start))
			}
		})
	}
}

// A request that takes minutes, as a create may, does not delay polls until it ends if no
// requests remain in a short window.
func TestPollsBesideASlowRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		limited := step(func(req *http.Request) (*http.Response, error) {
			reset := 10 - int(time.Since(begin)/s)%10
			return reply(200, `{"generationId":"gen1","status":"pending"}`, "X-RateLimit-Remaining-Burst", "0", "X-RateLimit-Reset-Burst", fmt.Sprint(reset))(req)
		})
		script := &script{steps: []step{after(4*time.Minute, limited), limited}}
		client, err := gamma.NewClient("sk-gamma-test", gamma.WithHTTPClient(&http.Client{Transport: script}), gamma.WithRequestTimeout(5*time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = client.GetGenerationStatus(t.Context(), "gen1") }()
		synctest.Wait()
		_, _ = poller.New(client).Wait(t.Context(), "gen1")
		polls := script.polls()
		for i, at := range polls[1:] {
			if pause := at - polls[i]; pause > 30*s {
				t.Errorf("no request for %v at %v", pause, polls[i])
			}
		}
		if len(polls) < 15 {
			t.Errorf("requests at %v", polls)
		}
	})
}

// A 429 to All delays a Wait of the same Poller.
func TestAllSharesTheRateLimit(t *testing.T) {
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
		for r := range p.All(t.Context(), sequence(2)) {
			if r.Err != nil {
				t.Error(r.Err)
			}
		}
		wg.Wait()
		for id, at := range f.polls {
			if at[0] < time.Minute || at[0] > 2*time.Minute {
				t.Errorf("%s polled at %v", id, at)
			}
		}
		// A 429 that lasts past the deadline ends the others too.
		limited.Store(false)
		p.Timeout = 30 * s
		start := time.Now()
		for r := range p.All(t.Context(), poller.IDs("gen0", "other")) {
			if !errors.Is(r.Err, poller.ErrPause) || errors.Is(r.Err, context.DeadlineExceeded) || !errors.Is(r.Err, gamma.ErrRateLimited) {
				t.Errorf("%+v", r)
			}
		}
		if time.Since(start) > 15*s {
			t.Errorf("ended after %v", time.Since(start))
		}
	})
}

// At the deadline All polls once, even if the timer of the context fires late.
func TestAllPollsOnceAtTheDeadline(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			p, s := newPoller(t, pending)
			ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
			defer cancel()
			for r := range p.All(ctx, poller.IDs("gen1")) {
				if !errors.Is(r.Err, context.DeadlineExceeded) {
					t.Error(r.Err)
				}
			}
			within(t, s.polls(), 0, 5*time.Second, 10*time.Second, 11500*time.Millisecond)
		})
	}
}

func TestIDs(t *testing.T) {
	got := slices.Collect(poller.IDs("gen1", "gen2", "gen1"))
	if want := []poller.Progress{{ID: "gen1"}, {ID: "gen2"}, {ID: "gen1"}}; !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	for p := range poller.IDs("gen1", "gen2") {
		if p.ID != "gen1" {
			t.Error("continues after a break")
		}
		break
	}
}

// FromChan ends when the channel is closed, the context is done, or the loop ends.
func TestFromChan(t *testing.T) {
	for name, tt := range map[string]struct {
		at   time.Duration
		do   func(cancel context.CancelFunc, ch chan poller.Progress)
		last error
	}{
		"closed":                  {10 * s, func(_ context.CancelFunc, ch chan poller.Progress) { close(ch) }, nil},
		"canceled, channel quiet": {10 * s, func(cancel context.CancelFunc, _ chan poller.Progress) { cancel() }, context.Canceled},
		"canceled, channel full": {10 * s, func(cancel context.CancelFunc, ch chan poller.Progress) {
			cancel()
			for range cap(ch) {
				ch <- poller.Progress{ID: "late"}
			}
		}, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ch := make(chan poller.Progress, 100)
				ch <- poller.Progress{ID: "gen0"}
				ch <- poller.Progress{ID: "gen1"}
				time.AfterFunc(tt.at, func() { tt.do(cancel, ch) })
				f := newFarm()
				f.done = map[string]time.Duration{"gen0": 0, "gen1": 0}
				var ids []string
				var last error
				start := time.Now()
				for r := range poller.New(f).All(ctx, poller.FromChan(ctx, ch)) {
					ids, last = append(ids, r.ID), r.Err
				}
				want := []string{"gen0", "gen1"}
				if tt.last != nil {
					want = append(want, "")
				}
				if !slices.Equal(ids, want) || !errors.Is(last, tt.last) || len(f.polls["late"]) != 0 || time.Since(start) != tt.at {
					t.Errorf("yielded %q, the last with %v, after %v", ids, last, time.Since(start))
				}
			})
		})
	}
	// A context that has ended lets nothing through, however full the channel is.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ch := make(chan poller.Progress, 100)
	for range cap(ch) {
		ch <- poller.Progress{ID: "gen1"}
	}
	for p := range poller.FromChan(ctx, ch) {
		t.Error(p)
	}
}

// When the context is done, every pulled job yields a result, and one more Result reports
// that jobs may have had more.
func TestAllYieldsEveryJob(t *testing.T) {
	const n = 1000
	why := errors.New("shut down")
	for name, tt := range map[string]struct {
		context func(context.Context) (context.Context, context.CancelFunc)
		is      error
	}{
		"canceled before": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ctx, cancel
		}, context.Canceled},
		"canceled with a cause": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			cancel(why)
			return ctx, func() {}
		}, why},
		"a deadline that has passed": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithDeadline(ctx, time.Now().Add(-time.Hour))
		}, context.DeadlineExceeded},
		"a deadline in 200 microseconds": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 200*time.Microsecond)
		}, context.DeadlineExceeded},
		"a deadline with a cause": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeoutCause(ctx, 50*time.Millisecond, why)
		}, why},
		"a deadline in a second": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		}, context.DeadlineExceeded},
	} {
		for _, pause := range []time.Duration{0, time.Microsecond} {
			t.Run(fmt.Sprint(name, ", a job each ", pause), func(t *testing.T) {
				for range 3 {
					synctest.Test(t, func(t *testing.T) {
						ctx, cancel := tt.context(t.Context())
						defer cancel()
						f := newFarm()
						pulled, all := 0, false
						seen := map[string]bool{}
						rest := 0
						for r := range poller.New(f).All(ctx, func(yield func(poller.Progress) bool) {
							for p := range sequence(n) {
								time.Sleep(pause)
								pulled++
								if !yield(p) {
									return
								}
							}
							all = true
						}) {
							var ended *poller.WaitError
							if !errors.Is(r.Err, tt.is) || r.ID != "" && !errors.As(r.Err, &ended) {
								t.Fatalf("%+v", r)
							}
							if oneLine(t, r.Err); r.ID == "" {
								rest++
							} else {
								seen[r.ID] = true
							}
						}
						if len(seen) != pulled || rest > 1 || rest == 0 && !all {
							t.Errorf("%d of %d that were pulled yielded, and %d for those that were not; all pulled: %v", len(seen), pulled, rest, all)
						}
					})
				}
			})
		}
	}
}

// The results of a canceled All can be resumed.
func TestAllCanceledKeepsProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newPoller(t, pending)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(7*s, cancel)
		start := time.Now()
		for r := range p.All(ctx, poller.IDs("gen1")) {
			if !errors.Is(r.Err, context.Canceled) || r.Polls != 2 || !r.Since.Equal(start) || r.Status != "pending" || r.Generation == nil || r.NextPoll.Sub(start) < 10*s || r.NextPoll.Sub(start) > 11*s {
				t.Errorf("%+v", r)
			}
		}
		ctx, cancel = context.WithCancel(t.Context())
		cancel()
		start = time.Now()
		for r := range p.All(ctx, one(poller.Progress{ID: "gen1", Since: start.Add(-s), NextPoll: start.Add(20 * s), Polls: 3, Failures: 2})) {
			if !errors.Is(r.Err, context.Canceled) || r.ID != "" && (r.Polls != 3 || r.Failures != 2 || r.NextPoll.Before(start.Add(20*s))) {
				t.Errorf("%+v", r)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) { // before the first poll
		p, script := newPoller(t, pending)
		ctx, cancel := context.WithCancel(t.Context())
		p.FirstPoll = time.Minute
		time.AfterFunc(7*s, cancel)
		start := time.Now()
		for r := range p.All(ctx, poller.IDs("gen1")) {
			if !errors.Is(r.Err, context.Canceled) || r.Polls != 0 || r.NextPoll.Sub(start) > 65*s || len(script.polls()) != 0 {
				t.Errorf("%+v", r)
			}
		}
	})
}

// NextPoll is when the next poll would be sent, even if the deadline comes first.
func TestAllKeepsThePauseBeyondTheDeadline(t *testing.T) {
	for name, tt := range map[string]struct {
		then []step
		last time.Duration // NextPoll after the last poll
	}{
		"the interval": {[]step{pending}, 40 * s},
		"the backoff":  {[]step{dropped}, 160 * s},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, script := newPoller(t, tt.then...)
				p.Interval, p.Timeout = 40*s, time.Minute
				for r := range p.All(t.Context(), poller.IDs("gen1")) {
					at := script.polls()
					if d := r.NextPoll.Sub(script.start) - at[len(at)-1]; !errors.Is(r.Err, context.DeadlineExceeded) || len(at) != 3 || d < tt.last || d > tt.last+4*s {
						t.Errorf("%v, polls at %v, next %v after the last", r.Err, at, d)
					}
				}
			})
		})
	}
}

// An invalid Progress yields an error with its id. The other waits continue.
func TestAllInvalidProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm()
		f.done["good"] = 0
		bad := []poller.Progress{{ID: ""}, {ID: "a/b"}, {ID: "polls", Polls: -1}, {ID: "failures", Failures: -1}, {ID: "limited", RateLimited: 1<<30 + 1}}
		var got []string
		for r := range poller.New(f).All(t.Context(), slices.Values(append(bad, poller.Progress{ID: "good"}))) {
			var ended *poller.WaitError
			if (r.Err == nil) != (r.ID == "good") || errors.As(r.Err, &ended) || r.Err != nil && r.Generation != nil {
				t.Errorf("%+v", r)
			}
			got = append(got, r.ID)
		}
		if want := []string{"", "a/b", "polls", "failures", "limited", "good"}; !slices.Equal(got, want) || len(f.polls) != 1 {
			t.Errorf("yielded %q", got)
		}
	})
}

func TestDrop(t *testing.T) {
	for name, tt := range map[string]struct {
		at      time.Duration
		reaches bool // a poll that ends it is not in flight
		setup   func(*poller.Poller, *farm)
	}{
		"waiting for the first poll": {10 * s, true, func(p *poller.Poller, _ *farm) { p.FirstPoll = 20 * s }},
		"between two polls":          {12 * s, true, func(*poller.Poller, *farm) {}},
		"due, held by a 429": {20 * s, true, func(p *poller.Poller, f *farm) {
			f.budget, f.window, p.Timeout = 1, time.Hour, -1
		}},
		"in flight, pending":   {7 * s, true, func(_ *poller.Poller, f *farm) { f.rtt = 10 * s }},
		"in flight, completed": {7 * s, false, func(_ *poller.Poller, f *farm) { f.rtt, f.done["gen1"] = 10*s, 0 }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFarm()
				p := poller.New(f)
				p.Timeout = 10 * time.Minute
				tt.setup(p, f)
				f.done["gen0"] = 0
				start := time.Now()
				var dropped atomic.Int64
				time.AfterFunc(tt.at, func() {
					p.Drop("gen1")
					dropped.Store(int64(time.Since(start)))
				})
				n := 0
				for r := range p.All(t.Context(), poller.IDs("gen1", "gen2")) {
					if n++; r.ID != "gen1" {
						t.Errorf("%+v", r)
					}
					var ended *poller.WaitError
					if is := errors.Is(r.Err, poller.ErrDropped); is != tt.reaches || is && (!errors.As(r.Err, &ended) || ended.Progress != r.Progress) || !is && r.Err != nil {
						t.Errorf("%+v", r)
					}
					if at := time.Since(start); at < tt.at || at > tt.at+f.rtt {
						t.Errorf("yielded after %v", at)
					}
					if r.Err != nil {
						oneLine(t, r.Err)
					}
					polls := len(f.polled("gen1"))
					time.Sleep(time.Minute)
					if len(f.polled("gen1")) != polls {
						t.Error("polled after it was dropped")
					}
					break
				}
				if at := time.Duration(dropped.Load()); n != 1 || at != tt.at {
					t.Errorf("%d results; Drop returned after %v", n, at)
				}
			})
		})
	}
}

func TestDropFromTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm()
		for i := range 10 {
			f.done[fmt.Sprint("gen", i)] = 10 * s
		}
		p := poller.New(f)
		p.Drop("gen1") // nothing runs
		got := map[string]error{}
		for r := range p.All(t.Context(), sequence(20)) {
			got[r.ID] = r.Err
			p.Drop(r.ID) // it has ended
			p.Drop("unknown")
			if r.ID == "gen3" {
				for i := 10; i < 20; i++ {
					p.Drop(fmt.Sprint("gen", i))
				}
			}
		}
		for i := range 20 {
			if err, ok := got[fmt.Sprint("gen", i)]; !ok || i < 10 && err != nil || i >= 10 && !errors.Is(err, poller.ErrDropped) {
				t.Errorf("gen%d: %v, %v", i, ok, err)
			}
		}
		p.Drop("gen1") // nothing runs any more
		if took := time.Since(f.start); took > 20*s {
			t.Errorf("took %v", took)
		}
	})
}

// Drop may be called while the loop ends.
func TestDropAtTheEnd(t *testing.T) {
	for name, end := range map[string]func(*poller.Poller, context.CancelFunc) bool{
		"after the last": func(p *poller.Poller, _ context.CancelFunc) bool { p.Drop("gen0"); return true },
		"then break":     func(p *poller.Poller, _ context.CancelFunc) bool { p.Drop("gen0"); return false },
		"then cancel":    func(p *poller.Poller, cancel context.CancelFunc) bool { p.Drop("gen0"); cancel(); return true },
		"after cancel":   func(p *poller.Poller, cancel context.CancelFunc) bool { cancel(); p.Drop("gen0"); return true },
		"slowly": func(p *poller.Poller, _ context.CancelFunc) bool {
			time.Sleep(time.Hour)
			p.Drop("gen0")
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				f := newFarm()
				f.done = map[string]time.Duration{"gen0": 0, "gen1": 0, "gen2": 0}
				p := poller.New(f)
				var wg sync.WaitGroup
				defer wg.Wait()
				for range 3 { // from other goroutines too
					wg.Go(func() {
						for range 100 {
							p.Drop("gen2")
							time.Sleep(100 * time.Millisecond)
						}
					})
				}
				for range p.All(ctx, sequence(3)) {
					if !end(p, cancel) {
						break
					}
				}
			})
		})
	}
}

func TestDropFromOnPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm()
		p := poller.New(f)
		p.OnPoll = func(ev poller.Event) {
			if ev.Polls == 3 {
				p.Drop(ev.ID)
			}
		}
		n := 0
		for r := range p.All(t.Context(), sequence(300)) {
			if n++; !errors.Is(r.Err, poller.ErrDropped) || r.Polls != 3 || len(f.polled(r.ID)) != 3 || time.Until(r.NextPoll) < 4*s {
				t.Errorf("%+v, polls at %v", r, f.polled(r.ID))
			}
		}
		if n != 300 {
			t.Errorf("%d results", n)
		}
	})
}

// Drop ends all waits for the id in every call of All of the Poller, and of no other Poller.
func TestDropReachesEveryCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm()
		p, other := poller.New(f), poller.New(f)
		var wg sync.WaitGroup
		var dropped, ended atomic.Int64
		for _, p := range []*poller.Poller{p, p, other} {
			wg.Go(func() {
				for r := range p.All(t.Context(), poller.IDs("gen1", "gen2", "gen1")) {
					if errors.Is(r.Err, poller.ErrDropped) && r.ID == "gen1" {
						dropped.Add(1)
					} else if errors.Is(r.Err, context.DeadlineExceeded) {
						ended.Add(1)
					}
				}
			})
		}
		time.Sleep(time.Minute)
		p.Drop("gen1")
		wg.Wait()
		if dropped.Load() != 4 || ended.Load() != 5 {
			t.Errorf("%d dropped, %d at the deadline, want 4 and 5", dropped.Load(), ended.Load())
		}
	})
}

// Drop does not wait for a loop body that is busy.
func TestDropWhileTheBodyIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm()
		f.done["gen0"] = 0
		p := poller.New(f)
		var took atomic.Int64
		time.AfterFunc(10*s, func() {
			start := time.Now()
			p.Drop("gen1")
			took.Store(int64(time.Since(start)))
		})
		for r := range p.All(t.Context(), sequence(2)) {
			if r.ID == "gen0" {
				time.Sleep(time.Hour)
			} else if !errors.Is(r.Err, poller.ErrDropped) {
				t.Errorf("%+v", r)
			}
		}
		if took.Load() != 0 {
			t.Errorf("Drop took %v", time.Duration(took.Load()))
		}
	})
}

// endless is a context that has a deadline, but is not done when it passes.
type endless struct {
	context.Context
	deadline time.Time
}

func (c endless) Deadline() (time.Time, bool) { return c.deadline, true }

// At the deadline of such a context all jobs end.
func TestAllAtTheDeadlineOfAnEndlessContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 2000
		start, got := time.Now(), 0
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for r := range poller.New(newFarm()).All(endless{ctx, start.Add(10 * s)}, func(yield func(poller.Progress) bool) {
			for p := range sequence(n) {
				if !yield(p) {
					return
				}
			}
		}) {
			if got++; !errors.Is(r.Err, context.DeadlineExceeded) {
				t.Fatal(r.Err)
			}
		}
		if took := time.Since(start); got != n || took > 10*s+500*time.Millisecond {
			t.Errorf("%d results after %v", got, took)
		}
	})
}

// If All was suspended past the deadlines, as by SIGSTOP, it polls each job once more.
func TestAllSuspendedPastTheDeadline(t *testing.T) {
	for name, tt := range map[string]struct {
		then step
		want error
	}{
		"completed meanwhile": {completed, nil},
		"pending":             {pending, context.DeadlineExceeded},
		"no response":         {hangs, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, script := newPoller(t, pending, tt.then)
				p.Timeout = time.Minute
				p.OnPoll = func(ev poller.Event) {
					if ev.Polls == 1 {
						time.Sleep(10 * time.Minute)
					}
				}
				start := time.Now()
				for r := range p.All(t.Context(), poller.IDs("gen1")) {
					if !errors.Is(r.Err, tt.want) || (r.Err == nil) != (tt.want == nil) || r.Polls != 2 {
						t.Errorf("%+v", r)
					}
				}
				if took := time.Since(start) - 10*time.Minute; len(script.polls()) != 2 || took > 6*s {
					t.Errorf("polls at %v, ended after %v more", script.polls(), took)
				}
			})
		})
	}
}

// A spent window does not keep All from polling when all windows have capacity again.
func TestAllUsesWhatEveryWindowAllows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &limited{windows: []clocked{{name: "-Burst", limit: 200, length: time.Minute}, {limit: 340, length: time.Hour}}}
		p := pollerOf(t, server)
		p.Timeout = -1
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Hour)
		defer cancel()
		for range p.All(ctx, func(yield func(poller.Progress) bool) { // none of them finishes
			for job := range sequence(112) {
				if job.ID == "gen12" {
					time.Sleep(time.Hour + s) // the others come in the next hour
				}
				if !yield(job) {
					return
				}
			}
		}) {
		}
		if server.silent > time.Minute || server.good < 3*340 {
			t.Errorf("%d requests, %d refused, silent for %v with capacity", server.good, server.refused, server.silent)
		}
	})
}

// The first polls of more waits than the rate limit allows for are delayed. It allows two
// requests per second here.
func TestFirstPollIsStretched(t *testing.T) {
	for _, tt := range []struct {
		name     string
		jobs     int // of All
		resumed  bool
		interval time.Duration
		last     time.Duration // the last first poll comes before
		sooner   int           // so many jobs are polled within 20 seconds, at most
	}{
		{"one", 1, false, 0, 0, 1},
		{"a few", 15, false, 0, 5 * s, 15},
		{"more than it allows in two intervals", 60, false, 0, 25 * s, 20},
		{"more, with a short interval", 60, false, s, 5 * s, 60},
		{"more, with a long interval", 400, false, time.Minute, 80 * s, 85},
		{"more, resumed", 60, true, 0, 5 * s, 60},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &limited{windows: []clocked{{limit: 7200, length: time.Hour}}}
				p := pollerOf(t, server)
				p.Interval, p.KeepWaiting = tt.interval, true
				server.finishes("known", time.Now())
				if _, err := p.Wait(t.Context(), "known"); err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				var mu sync.Mutex
				first := map[string]time.Duration{}
				p.OnPoll = func(e poller.Event) {
					mu.Lock()
					defer mu.Unlock()
					if _, polled := first[e.ID]; !polled {
						first[e.ID] = time.Since(start) - 100*time.Millisecond
					}
				}
				for i := range tt.jobs {
					server.finishes(fmt.Sprintf("gen%d", i), start)
				}
				for r := range p.All(t.Context(), func(yield func(poller.Progress) bool) {
					for job := range sequence(tt.jobs) {
						if tt.resumed {
							job.Polls = 1
						}
						if !yield(job) {
							return
						}
					}
				}) {
					if r.Err != nil {
						t.Error(r.Err)
					}
				}
				sooner, last := 0, time.Duration(0)
				for _, d := range first {
					if last = max(last, d); d < 20*s {
						sooner++
					}
				}
				if sooner > tt.sooner || last > tt.last {
					t.Errorf("%d first polls within 20 seconds, the last of all after %v", sooner, last)
				}
			})
		})
	}
}

// The rate of requests adapts to a limit that no header reports.
func TestLimitWithoutHeaders(t *testing.T) {
	const n = 1000
	for _, way := range []string{"All", "Wait"} {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &bucket{perSecond: 100, burst: 20}
				random := rand.New(rand.NewPCG(1, 2))
				for job := range sequence(n) {
					server.finishes(job.ID, time.Now().Add(20*s+time.Duration(random.Int64N(int64(100*s)))))
				}
				known := run(t, way, pollerOf(t, server), sequence(n), func(id string, err error) {
					t.Errorf("%s: %v", id, err)
				})
				if known != n || server.refused > (server.good+server.refused)/20 {
					t.Errorf("%d known, %d responses are good, %d refused", known, server.good, server.refused)
				}
			})
		})
	}
}

// A daily limit lasts for two days of generations, one every 50 seconds. The limits are a
// fortieth of the documented ones: a poll every five seconds would spend the day's in five
// hours.
func TestDailyLimitLasts(t *testing.T) {
	const n = 2 * 24 * 60 * 60 / 50
	for _, way := range []string{"All", "Wait", "Check"} {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &limited{windows: []clocked{
					{name: "-Burst", limit: 250, length: time.Minute},
					{limit: 1000, length: time.Hour},
					{name: "-Daily", limit: 5000, length: 24 * time.Hour},
				}}
				random := rand.New(rand.NewPCG(1, 2))
				jobs := func(yield func(poller.Progress) bool) {
					for job := range sequence(n) {
						server.finishes(job.ID, time.Now().Add(time.Duration(60*math.Exp(0.668*random.NormFloat64())*float64(s))))
						if !yield(job) {
							return
						}
						time.Sleep(50 * s)
					}
				}
				lost := 0
				known := run(t, way, pollerOf(t, server), jobs, func(id string, _ error) {
					if server.done(id) {
						lost++
					}
				})
				if lost > 0 || known < n*9/10 || server.refused > 0 || server.silent > 5*time.Minute {
					t.Errorf("%d known, %d lost, %d requests refused, silent for %v", known, lost, server.refused, server.silent)
				}
			})
		})
	}
}

// run waits for jobs in one of three ways. It returns how many ended without an error,
// and calls fail for the others.
func run(t *testing.T, way string, p *poller.Poller, jobs iter.Seq[poller.Progress], fail func(id string, err error)) (known int) {
	t.Helper()
	var mu sync.Mutex
	over := func(id string, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			fail(id, err)
		} else {
			known++
		}
	}
	if way == "All" {
		for r := range p.All(t.Context(), jobs) {
			over(r.ID, r.Err)
		}
		return known
	}
	var all sync.WaitGroup
	for job := range jobs {
		all.Go(func() {
			if way == "Wait" {
				_, err := p.Wait(t.Context(), job.ID)
				over(job.ID, err)
				return
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // Check has no last poll
			defer cancel()
			for {
				_, pause, err := p.Check(ctx, &job)
				if pause == 0 {
					over(job.ID, err)
					return
				}
				sleepCtx(ctx, pause)
			}
		})
	}
	all.Wait()
	return known
}

// byKind counts the requests by the first letter of the id.
type byKind struct {
	http.RoundTripper
	mu     sync.Mutex
	counts map[byte]int
}

func (k *byKind) RoundTrip(req *http.Request) (*http.Response, error) {
	k.mu.Lock()
	k.counts[path.Base(req.URL.Path)[0]]++
	k.mu.Unlock()
	return k.RoundTripper.RoundTrip(req)
}

// All and Check share a rate limit that is too low for both.
func TestChecksBesideAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &byKind{RoundTripper: &limited{windows: []clocked{{name: "-Burst", limit: 120, length: time.Minute}}}, counts: map[byte]int{}}
		p := pollerOf(t, server)
		p.Timeout = -1
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		var checks sync.WaitGroup
		for i := range 20 {
			checks.Go(func() {
				progress := poller.Progress{ID: fmt.Sprintf("check%d", i)}
				for ctx.Err() == nil {
					_, pause, _ := p.Check(ctx, &progress)
					sleepCtx(ctx, pause)
				}
			})
		}
		for range p.All(ctx, sequence(90)) { // none of them finishes
		}
		checks.Wait()
		if all, check := server.counts['g'], server.counts['c']; all < 1500 || check < 1500 || all+check < 6500 {
			t.Errorf("%d requests of All, %d of Check", all, check)
		}
	})
}

// A job that is dropped while the rate limit delays it leaves the queue, so that it does not
// delay other waits.
func TestDroppedJobLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &limited{windows: []clocked{{limit: 100, length: time.Hour}}}
		p := pollerOf(t, server)
		p.Timeout = -1
		server.finishes("gen1", time.Now())
		for held := false; !held; { // little remains of the hour
			_, pause, _ := p.Check(t.Context(), &poller.Progress{ID: "gen1", Polls: 1})
			held = pause > 10*s
			time.Sleep(s)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ch := make(chan poller.Progress, 2)
		ch <- poller.Progress{ID: "gen2"}
		ch <- poller.Progress{ID: "gen3"}
		go func() {
			defer cancel()
			time.Sleep(4 * s)
			p.Drop("gen2")
			p.Drop("gen3")
			start := time.Now()
			for _, id := range []string{"gen4", "gen5", "gen6"} {
				server.finishes(id, start)
				if _, err := p.Wait(ctx, id); err != nil {
					t.Error(err)
				}
			}
			if d := time.Since(start); d > 5*time.Minute {
				t.Errorf("three waits were held for %v", d)
			}
		}()
		for range p.All(ctx, poller.FromChan(ctx, ch)) {
		}
	})
}

// BenchmarkAll measures what All itself costs, against a client that responds at
// once: the live memory for each waiting job after its first poll, ids of 21 bytes
// included, and the time for each poll.
func BenchmarkAll(b *testing.B) {
	for _, jobs := range []int{1000, 100000} {
		b.Run(fmt.Sprintf("jobs=%d", jobs), func(b *testing.B) {
			var bytes, polls float64
			var took time.Duration
			for b.Loop() {
				n, d, perJob := benchmarkAll(b, jobs)
				polls, took, bytes = polls+float64(n), took+d, perJob
			}
			b.ReportMetric(bytes, "B/job")
			b.ReportMetric(float64(took)/polls, "ns/poll")
			b.ReportMetric(0, "ns/op") // which would be the interval
		})
	}
}

func benchmarkAll(b *testing.B, jobs int) (polls int64, took time.Duration, bytesPerJob float64) {
	var pulled, count atomic.Int64
	header := http.Header{}
	p := poller.New(stub(func(_ context.Context, id string) (*api.GetGenerationStatusHTTPResponse, error) {
		count.Add(1)
		return &api.GetGenerationStatusHTTPResponse{
			HTTPResponse: &http.Response{StatusCode: http.StatusOK, Header: header},
			JSON200:      &api.GenerationStatusResponse{GenerationID: id, Status: api.GenerationStatusPending},
		}, nil
	}))
	p.Interval = time.Millisecond // as fast as it goes
	p.Timeout = -1
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	before := heap()
	go func() {
		defer close(done)
		for range p.All(ctx, func(yield func(poller.Progress) bool) {
			for i := range jobs {
				pulled.Add(1)
				if !yield(poller.Progress{ID: fmt.Sprintf("gen-%017d", i)}) {
					return
				}
			}
		}) {
			break // the first of the canceled ones
		}
	}()
	await := func(n *atomic.Int64, target int) {
		for n.Load() < int64(target) {
			time.Sleep(time.Millisecond)
		}
	}
	await(&pulled, jobs)
	first, start := count.Load(), time.Now()
	await(&count, int(first)+2*jobs) // so that each had one: the longest without goes first
	took = time.Since(start)
	polls = count.Load() - first
	bytesPerJob = float64(heap()-before) / float64(jobs)
	cancel()
	<-done
	return polls, took, bytesPerJob
}

// heap returns the size of the live memory.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
