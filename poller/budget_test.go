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
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/poller"
)

// limited is a RoundTripper with generations that finish at a given time, and windows by
// the clock. It responds after 100 ms.
type limited struct {
	mu       sync.Mutex
	windows  []clocked
	finished map[string]time.Time
	good     int
	refused  int
	capacity time.Time     // since when there is capacity in every window
	silent   time.Duration // the longest time that none of it was used
}

// clocked is a window by the clock.
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

// What is learned of one window must not silence All while all have capacity.
func TestAllIsNotSilent(t *testing.T) {
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

// The first polls of more waits than the rate limit has polls for come later. It allows
// two requests per second.
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

// Waits that start together do not delay each other while the limit has enough for all.
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

// A wait that has little time is not put off until its end.
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

// A program may call Check with only the id each time.
func TestCheckWithoutMemory(t *testing.T) {
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

func TestCheckWithoutMemoryBesideAnother(t *testing.T) {
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

// A program may look at all of its ids every few minutes, later than it was told.
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

// Checks that never come again delay nothing.
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

// bucket is a limit of so many requests in each second, counted as nginx does it.
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

// A limit that no header tells.
func TestLeakyBucket(t *testing.T) {
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

// Two days of generations, one every 50 seconds, with a fortieth of the limits that the
// API documents: a poll every five seconds would spend the day's in five hours.
func TestBudgetLasts(t *testing.T) {
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

// Neither All nor Checks starve when both have more to do than the rate limit allows.
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

// A job that is dropped while the rate limit holds it leaves the queue, also if All has no
// other job then and may get one.
func TestAllLeavesTheQueue(t *testing.T) {
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
