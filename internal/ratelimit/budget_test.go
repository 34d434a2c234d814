package ratelimit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// pause records a 429 with the Retry-After d.
func pause(o *Operation, d time.Duration, err error) {
	o.Start()
	o.End(Response{Status: tooManyRequests, RetryAfter: d, Limits: noLimits, Sent: time.Now(), Err: err})
}

// report records a response to o that reports the hour.
func report(o *Operation, limit, remaining int64) {
	o.Start()
	o.End(Response{Status: 200, Limits: hour(limit, remaining, -1), Sent: time.Now()})
}

// withOneLimit makes b assume that operations share a limit.
func withOneLimit(b *Budget) *Budget {
	b.shared = maxProbes
	return b
}

func TestOperation(t *testing.T) {
	var b Budget
	if first := b.Operation("a"); first != b.Operation("a") || first == b.Operation("b") {
		t.Error("want one Operation for each name")
	}
}

func TestQueuesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := withOneLimit(new(Budget))
		polls, creates := b.Operation("polls"), b.Operation("creates")
		queues := map[string]*Queue{"All": polls.NewQueue(), "Wait": polls.Queue, "create": creates.Queue}
		pause(polls, time.Second, nil)
		var mu sync.Mutex
		var order []string
		var all sync.WaitGroup
		for name, n := range map[string]int{"All": 20, "Wait": 6, "create": 3} {
			for range n {
				all.Go(func() {
					var ticket Ticket
					for {
						wait, _ := queues[name].Admit(&ticket, time.Now(), false)
						if wait <= 0 {
							break
						}
						Sleep(t.Context(), wait, &ticket)
					}
					mu.Lock()
					order = append(order, name)
					mu.Unlock()
					queues[name].operation.End(Response{Status: 200, Limits: noLimits, Sent: time.Now()})
				})
			}
		}
		all.Wait()
		for first := range 7 { // while all three have requests
			if three := order[first : first+3]; three[0] == three[1] || three[1] == three[2] || three[0] == three[2] {
				t.Fatalf("from index %d: %v", first, three)
			}
		}
	})
}

// A request that is queued later may be sent first if its queue had its last turn earlier.
func TestLaterRequestOfAnotherQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := withOneLimit(new(Budget))
		one, other := b.Operation("polls"), b.Operation("creates")
		for _, o := range []*Operation{other, one} {
			if err := o.Acquire(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			o.End(Response{Status: 200, Limits: hour(100, 50, -1), Sent: time.Now()})
		}
		start := time.Now()
		var all sync.WaitGroup
		for _, o := range []*Operation{one, other} {
			all.Go(func() {
				if err := o.Acquire(t.Context(), nil); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		all.Wait()
		if d := time.Since(start); d > 3*time.Hour/minPerWindow {
			t.Errorf("they waited for %v", d)
		}
	})
}

// A queue admits requests in order.
func TestQueueOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Budget
		o := b.Operation("polls")
		pause(o, time.Second, nil)
		var order []int
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				if o.Acquire(t.Context(), nil) == nil {
					order = append(order, i) // no race: they are admitted seconds apart
					o.End(Response{Status: 200, Limits: noLimits, Sent: time.Now()})
				}
			})
			synctest.Wait()
		}
		all.Wait()
		for i := range order {
			if order[i] != i {
				t.Fatalf("%v", order)
			}
		}
		if len(order) != 50 {
			t.Errorf("%d of 50", len(order))
		}
	})
}

func TestTicket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Budget
		o := b.Operation("polls")
		report(o, 100, 50)
		var first, second, last Ticket
		woken := func(t *Ticket) bool {
			select {
			case <-t.Wake():
				return true
			default:
				return false
			}
		}
		admit := func(ticket *Ticket, last bool) time.Duration {
			wait, _ := o.Admit(ticket, time.Now(), last)
			return wait
		}
		if last.Wake() != nil {
			t.Error("Wake is not nil before the ticket waits")
		}
		wait := admit(&first, false)
		if wait <= 0 || wait > time.Hour/minPerWindow {
			t.Errorf("the first waits for %v", wait)
		}
		if wait := admit(&second, false); wait != maxPause {
			t.Errorf("the second waits for %v, want maxPause", wait)
		}
		if wait := admit(&last, true); wait != 0 {
			t.Errorf("the last request before a deadline waits for %v", wait)
		}
		if !woken(&first) || woken(&first) || woken(&second) {
			t.Error("after an admission, want only the first woken, once")
		}
		o.Leave(&last)
		o.End(Response{Status: 200, Limits: hour(100, 49, -1), Sent: time.Now()})
		if !woken(&first) {
			t.Error("the first is not woken by a response")
		}
		o.Leave(&first)
		o.Leave(&first)
		if !woken(&second) {
			t.Error("the second is not woken when the first leaves")
		}
		time.Sleep(2 * time.Hour / minPerWindow)
		if wait := admit(&second, false); wait != 0 {
			t.Errorf("the second waits for %v", wait)
		}
	})
}

// The last request before a deadline waits for Retry-After too.
func TestLastRequestWaitsForRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Budget
		o, why := b.Operation("polls"), errors.New("429")
		pause(o, time.Minute, why)
		var ticket Ticket
		if wait, err := o.Admit(&ticket, time.Now(), true); wait != time.Minute || !errors.Is(err, why) {
			t.Errorf("%v because of %v", wait, err)
		}
		if until := o.Until(); !until.Equal(time.Now().Add(time.Minute)) {
			t.Errorf("until %v", until)
		}
	})
}

// With random arrivals and departures, every ticket is admitted or leaves.
func TestNoTicketIsStuck(t *testing.T) {
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			var b Budget
			var admitted, left atomic.Int64
			var all sync.WaitGroup
			var server hourly
			server.limit = 500
			for i := range uint64(200) {
				random := rand.New(rand.NewPCG(seed, i))
				o := b.Operation(fmt.Sprint("operation ", i%3))
				q := o.Queue
				if i%5 == 0 {
					q = o.NewQueue()
				}
				all.Go(func() {
					if q != o.Queue {
						defer q.Close()
					}
					for range 10 {
						time.Sleep(time.Duration(random.IntN(int(time.Minute))))
						var ticket Ticket
						sent := false
						for n := random.IntN(1000); n > 0 && !sent; n-- {
							wait, _ := q.Admit(&ticket, time.Now(), random.IntN(100) == 0)
							if sent = wait <= 0; !sent {
								Sleep(t.Context(), wait, &ticket)
							}
						}
						if !sent {
							q.Leave(&ticket)
							left.Add(1)
							continue
						}
						admitted.Add(1)
						now := time.Now()
						time.Sleep(time.Duration(random.IntN(int(time.Second))))
						if random.IntN(10) == 0 {
							o.End(Response{})
						} else {
							o.End(server.respond(now))
						}
					}
				})
			}
			start := time.Now()
			all.Wait()
			if admitted.Load()+left.Load() != 2000 || admitted.Load() < 1500 || time.Since(start) > 12*time.Hour {
				t.Errorf("%d admitted, %d left, in %v", admitted.Load(), left.Load(), time.Since(start))
			}
			for _, q := range b.queues {
				if q.tickets.Len() > 0 {
					t.Errorf("%d tickets are still in a queue", q.tickets.Len())
				}
			}
			if len(b.queues) != 3 || b.key.inFlight != 0 {
				t.Errorf("%d queues, %d in flight", len(b.queues), b.key.inFlight)
			}
		})
	}
}

// hourly is a server with a limit per hour.
type hourly struct {
	mu          sync.Mutex
	limit, used int64
	end         time.Time
	refused     int64
}

func (s *hourly) respond(sent time.Time) Response {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); !now.Before(s.end) {
		s.used, s.end = 0, now.Add(time.Hour)
	}
	if s.used == s.limit {
		s.refused++
		return Response{Status: tooManyRequests, Limits: hour(s.limit, 0, -1), Sent: sent}
	}
	s.used++
	return Response{Status: 200, Limits: hour(s.limit, s.limit-s.used, -1), Sent: sent}
}

// The budget finds out whether operations share a limit.
func TestSharedOrSeparate(t *testing.T) {
	tight := func() (a, b *hourly) { return &hourly{limit: 100}, &hourly{limit: 1000} }
	one := func() (a, b *hourly) { a, _ = tight(); return a, a }
	for _, tt := range []struct {
		name     string
		limits   func() (a, b *hourly)
		polls    int // before the creates
		separate bool
		refusals int64 // of creates
	}{
		{"one limit, from remaining", one, 40, false, 0},
		{"one limit, from 429s", one, 100, false, maxProbes + 2}, // two check whether the hour is over
		{"separate limits, from remaining", tight, 40, true, 0},
		{"separate limits, from a 200", tight, 100, true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var b Budget
				polls, creates := b.Operation("polls"), b.Operation("creates")
				forPolls, forCreates := tt.limits()
				send := func(o *Operation, s *hourly) {
					now := time.Now()
					time.Sleep(100 * time.Millisecond)
					o.End(s.respond(now))
				}
				for range tt.polls {
					polls.Start() // ignoring the pace
					send(polls, forPolls)
				}
				for start := time.Now(); time.Since(start) < 10*time.Minute && !b.separate && b.shared < maxProbes; {
					time.Sleep(time.Millisecond)
					if creates.Acquire(t.Context(), nil) == nil {
						send(creates, forCreates)
					}
					if polls.Try("a", time.Now(), 0, 0) == 0 {
						send(polls, forPolls)
					}
				}
				if b.separate != tt.separate || tt.separate == (b.shared >= maxProbes) {
					t.Errorf("separate %v, shared %d", b.separate, b.shared)
				}
				if forCreates.refused > tt.refusals {
					t.Errorf("%d creates were refused, want at most %d", forCreates.refused, tt.refusals)
				}
			})
		})
	}
}

// Retry-After and reset are whole seconds: when a pause is about to end, a request that is
// accepted does not show that operations have separate limits.
func TestSharedAtTheEndOfAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Budget
		polls, creates := b.Operation("polls"), b.Operation("creates")
		burst := func(remaining int64) Limits {
			l := noLimits
			l[0] = Window{10, remaining, 2 * time.Second}
			return l
		}
		creates.Start()
		creates.End(Response{Status: 200, Limits: burst(0), Sent: time.Now()})
		pause(polls, 2*time.Second, nil)
		time.Sleep(10 * time.Millisecond)
		pause(creates, 2*time.Second, nil)
		time.Sleep(1995 * time.Millisecond)
		for range 2 {
			if err := polls.Acquire(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			polls.End(Response{Status: 200, Limits: burst(9), Sent: time.Now()})
		}
		if b.separate {
			t.Error("separate limits")
		}
	})
}

// Responses to creates after others to polls, with one limit for both.
func TestSharedByWhatRemains(t *testing.T) {
	for _, tt := range []struct {
		name    string
		refused int   // creates, which are not counted by the server
		spent   int64 // by polls
		remains int64 // after another create
	}{
		{"refused requests do not count", 10, 10, 987},
		{"a sliding window lets one more through before its reset", 0, 998, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var b Budget
				polls, creates := b.Operation("polls"), b.Operation("creates")
				send := func(o *Operation, remaining int64) {
					o.Start()
					time.Sleep(10 * time.Millisecond)
					o.End(Response{Status: 200, Limits: hour(1000, remaining, time.Hour), Sent: time.Now().Add(-10 * time.Millisecond)})
				}
				send(creates, 999)
				for range tt.refused {
					pause(creates, 0, nil)
				}
				time.Sleep(2 * time.Second)
				send(creates, 998)
				for i := range tt.spent {
					send(polls, 998-1-i)
				}
				time.Sleep(time.Minute)
				send(creates, tt.remains)
				if b.separate {
					t.Error("separate limits")
				}
			})
		})
	}
}

// Another operation sends one probe at a time.
func TestProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Budget
		polls, creates := b.Operation("polls"), b.Operation("creates")
		pause(polls, time.Hour, nil)
		time.Sleep(time.Second)
		probe := func(want bool) {
			t.Helper()
			var tickets [3]Ticket
			sent := 0
			for i := range tickets {
				if wait, _ := creates.Admit(&tickets[i], time.Now(), false); wait <= 0 {
					sent++
				}
			}
			if sent != 0 != want || sent > 1 {
				t.Fatalf("%d probes, want some: %v", sent, want)
			}
			for i := range tickets {
				creates.Leave(&tickets[i])
			}
			if want {
				time.Sleep(time.Second)
				creates.End(Response{Status: tooManyRequests, Limits: noLimits, Sent: time.Now().Add(-time.Second)})
			}
		}
		probe(true)
		probe(false) // it must pause itself
		time.Sleep(10 * time.Second)
		probe(true)
		time.Sleep(10 * time.Minute)
		probe(false) // one limit is assumed
		time.Sleep(time.Hour)
		probe(true)
	})
}

func TestAcquire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("429")
		for _, tt := range []struct {
			name    string
			cancel  time.Duration // 0 for never
			timeout time.Duration
			err     error
			after   time.Duration
		}{
			{"no deadline", 0, 0, nil, time.Minute},
			{"canceled during the pause", 20 * time.Second, 0, context.Canceled, 20 * time.Second},
			{"deadline after the pause", 0, 2 * time.Minute, nil, time.Minute},
			{"deadline before the end of the pause", 0, 59 * time.Second, why, 0},
		} {
			var b Budget
			o := b.Operation("polls")
			pause(o, time.Minute, why)
			ctx, cancel := context.WithCancel(t.Context())
			if tt.cancel > 0 {
				time.AfterFunc(tt.cancel, cancel)
			}
			if tt.timeout > 0 {
				ctx, cancel = context.WithTimeout(ctx, tt.timeout)
			}
			start, told := time.Now(), 0
			if err := o.Acquire(ctx, func(err error, d time.Duration) {
				if told++; err != why || d != time.Minute {
					t.Errorf("%s: told of %v for %v", tt.name, d, err)
				}
			}); !errors.Is(err, tt.err) || time.Since(start) != tt.after {
				t.Errorf("%s: %v after %v, want %v after %v", tt.name, err, time.Since(start), tt.err, tt.after)
			}
			if want := min(int(tt.after), 1); told != want {
				t.Errorf("%s: told %d times, want %d", tt.name, told, want)
			}
			if o.tickets.Len() > 0 {
				t.Errorf("%s: it is still in the queue", tt.name)
			}
			cancel()
		}
		// The pace is no reason to return early: it may become faster.
		var b Budget
		o := b.Operation("polls")
		report(o, 100, 50)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := o.Acquire(ctx, nil); !errors.Is(err, context.DeadlineExceeded) || ctx.Err() == nil {
			t.Errorf("waiting for the pace: %v", err)
		}
		if err := b.Operation("creates").Acquire(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("context is done: %v", err)
		}
	})
}

// paced returns an operation that may send a request every 3.6 seconds.
func paced() *Operation {
	b := new(Budget)
	o := b.Operation("polls")
	b.key.rate, b.key.pause = 1/3.6, 10000*time.Hour // so it does not grow
	return o
}

func TestStretched(t *testing.T) {
	for _, tt := range []struct {
		name      string
		remaining int64 // of 3600 per hour, or more; -1 if it is not known
		queued    int
		n         int
		want      bool
	}{
		{"unknown limit", -1, 0, 1000, false},
		{"unknown limit, five requests wait", -1, 5, 1, false},
		{"one wait, a request per 4 s", 900, 0, 1, false},
		{"one wait, one request waits", 3600, 1, 1, false},
		{"one wait, 50 requests wait", 3600, 50, 1, true},
		{"two waits, a request per 2 s", 1800, 0, 2, false},
		{"two waits, a request per 4 s", 900, 0, 2, true},
		{"50 waits, enough for a poll of each per two intervals", 18000, 0, 50, false},
		{"50 waits, too few for a poll of each per two intervals", 14400, 0, 50, true},
		{"16 waits, too few for a poll of each per two intervals", 3600, 0, 16, false},
		{"one wait, a request per 6 s", 600, 0, 1, true},
		{"one wait, 60 remaining", 60, 0, 1, true},
		{"one wait, none remaining", 0, 0, 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := new(Budget).Operation("polls")
				if tt.remaining >= 0 {
					report(o, max(3600, tt.remaining), tt.remaining)
				}
				for range tt.queued {
					o.join(new(Ticket))
				}
				for range 100 { // those of another operation do not count, since queues take turns
					o.budget.Operation("creates").join(new(Ticket))
				}
				if got := o.Stretched(tt.n, 5*time.Second); got != tt.want {
					t.Errorf("%v, want %v", got, tt.want)
				}
			})
		})
	}
}

func TestTryKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := paced()
		ids := [5]string{"a", "b", "c", "d", "e"}
		due := map[string]time.Time{}
		order := ""
		for start := time.Now(); len(order) < len(ids) && time.Since(start) < time.Hour; time.Sleep(time.Second) {
			for i := range ids { // the last id calls first
				id := ids[len(ids)-1-i]
				if len(due) < len(ids) {
					id = ids[i]
				} else if time.Now().Before(due[id]) {
					continue
				}
				wait := o.Try(id, time.Now(), 0, 0)
				if due[id] = time.Now().Add(wait); wait == 0 {
					order += id
					due[id] = time.Now().Add(time.Hour)
				}
			}
		}
		if order != "abcde" {
			t.Errorf("%q", order)
		}
	})
}

// Ids that are not tried again lose their places.
func TestTryForgetsIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := paced()
		o.Try("first", time.Now(), 0, 0)
		for i := range 200 {
			o.Try(fmt.Sprint("gone ", i), time.Now(), 0, 0)
		}
		start := time.Now()
		for wait := o.Try("mine", start, 0, 0); wait > 0; wait = o.Try("mine", time.Now(), 0, 0) {
			time.Sleep(wait)
		}
		// The 200 would take twelve minutes.
		if d := time.Since(start); d > 10*time.Minute {
			t.Errorf("it waited for %v", d)
		}
		time.Sleep(time.Hour)
		for _, id := range []string{"sent", "put off"} {
			o.Try(id, time.Now(), 0, 0)
		}
		if n := len(o.deferred.visits); n != 1 {
			t.Errorf("%d ids are remembered", n)
		}
	})
}

// Requests by Try and requests in a queue get equal shares.
func TestTryAndAcquire(t *testing.T) {
	for _, tt := range []struct{ checks, acquires int }{{1, 100}, {100, 1}, {50, 50}} {
		t.Run(fmt.Sprint(tt.checks, " checks, ", tt.acquires, " in the queue"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := paced()
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				var checked, acquired atomic.Int64
				var all sync.WaitGroup
				for i := range tt.checks {
					all.Go(func() {
						for ctx.Err() == nil {
							if wait := o.Try(fmt.Sprint(i), time.Now(), 0, 0); wait > 0 {
								time.Sleep(wait)
								continue
							}
							checked.Add(1)
							o.End(Response{Status: 200, Limits: noLimits, Sent: time.Now()})
							time.Sleep(time.Second)
						}
					})
				}
				for range tt.acquires {
					all.Go(func() {
						for o.Acquire(ctx, nil) == nil {
							acquired.Add(1)
							o.End(Response{Status: 200, Limits: noLimits, Sent: time.Now()})
							time.Sleep(time.Second)
						}
					})
				}
				all.Wait()
				c, a := checked.Load(), acquired.Load()
				t.Logf("%d checked, %d acquired", c, a)
				if c < 100 || a < 100 || c+a < 900 || c+a > 1010 {
					t.Errorf("%d checked, %d acquired, of 1,000", c, a)
				}
			})
		})
	}
}

func TestRetryBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Budget
		o := b.Operation("polls")
		end := func(r Response) bool {
			o.Start()
			overspent, _ := o.End(r)
			return overspent
		}
		failed := Response{Failed: true}
		for i := range retryBudget {
			if end(failed) {
				t.Fatalf("spent after %d", i)
			}
		}
		if !end(failed) {
			t.Error("not spent")
		}
		for range 9 {
			end(Response{Status: 200, Limits: noLimits, Sent: time.Now(), Good: true})
		}
		if !end(failed) {
			t.Error("nine good responses earned a retry")
		}
		end(Response{Status: 200, Limits: noLimits, Sent: time.Now(), Good: true})
		if end(failed) {
			t.Error("ten good responses did not earn a retry")
		}
		if !end(failed) {
			t.Error("ten good responses earned two retries")
		}
	})
}

func TestBudgetLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Budget
		if got := b.Limits(time.Now()); got != noLimits {
			t.Errorf("before a response: %v", got)
		}
		polls, creates := b.Operation("polls"), b.Operation("creates")
		report(polls, 100, 50)
		report(creates, 10, 9)
		creates.Start()
		if got := b.Limits(time.Now()); got != hour(100, 8, -1) {
			t.Errorf("one limit: %v", got)
		}
		b.separate = true
		if got := b.Limits(time.Now()); got != hour(10, 8, -1) {
			t.Errorf("the least of two: %v", got)
		}
		report(polls, 100, 7)
		if got := b.Limits(time.Now()); got != hour(100, 7, -1) {
			t.Errorf("the least of two: %v", got)
		}
	})
}

func TestMode(t *testing.T) {
	var a, b Budget
	ctx := t.Context()
	if a.Mode(ctx) != Immediate {
		t.Error("the default is not Immediate")
	}
	for _, mode := range []Mode{Immediate, Waits, Counted} {
		inner := a.With(b.With(ctx, Waits), mode)
		if got := a.Mode(inner); got != mode {
			t.Errorf("%v, want %v", got, mode)
		}
		if got := b.Mode(a.With(ctx, mode)); got != Immediate {
			t.Errorf("another budget: %v", got)
		}
	}
	if a.Mode(a.Operation("polls").Counted(ctx)) != Counted {
		t.Error("not counted")
	}
}

// While no request may be sent before a response, only the first in the queue checks again
// and again.
func TestOnlyTheFirstRechecks(t *testing.T) {
	now := time.Now()
	o := new(Budget).Operation("GET /x")
	for range initialRequests { // all that may be sent before the first response
		o.Start()
	}
	var first, second Ticket
	if wait, _ := o.Admit(&first, now, false); wait != recheckDelay {
		t.Errorf("the first checks again after %v", wait)
	}
	for range 2 {
		if wait, _ := o.Admit(&second, now, false); wait != maxPause {
			t.Errorf("the second checks again after %v", wait)
		}
	}
	o.Leave(&first)
	select {
	case <-second.Wake():
	default:
		t.Error("the second is not woken when it becomes the first")
	}
}

// FuzzBudget records any responses in any order. It checks that no wait is negative or
// longer than a day, that nothing overflows, and that requests are sent again once the
// responses are good.
func FuzzBudget(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("begin, wait, end: 429 and 200 with limits of all kinds, in any order"))
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32})
	raw := make([]byte, 0, 400) // requests that do not wait
	for range 100 {
		raw = append(raw, 0, 2, 0, 0)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			return
		}
		synctest.Test(t, func(t *testing.T) { fuzzBudget(t, data) })
	})
}

func fuzzBudget(t *testing.T, data []byte) {
	next := func() (b byte) {
		if len(data) > 0 {
			b, data = data[0], data[1:]
		}
		return b
	}
	number := func() int64 {
		switch b := next(); b % 8 {
		case 0:
			return 0
		case 1:
			return -1
		case 2:
			return math.MaxInt64 - int64(b/8)
		case 3:
			return math.MinInt64 + int64(b/8)
		case 4:
			var all [8]byte
			for i := range all {
				all[i] = next()
			}
			return int64(binary.LittleEndian.Uint64(all[:]))
		default:
			return int64(b) << (b % 8) / 4
		}
	}
	var b Budget
	operations := []*Operation{b.Operation("a"), b.Operation("b")}
	var sent [2][]time.Time
	var tickets [2]Ticket
	check := func(wait time.Duration) time.Duration {
		if wait < 0 || wait > maxPause {
			t.Fatalf("a wait of %v", wait)
		}
		return wait
	}
	end := func(i, j int, r Response) {
		r.Sent = sent[i][j]
		sent[i] = append(sent[i][:j], sent[i][j+1:]...)
		_, until := operations[i].End(r)
		check(max(time.Until(until), 0))
		for _, w := range b.Limits(time.Now()) {
			if w.Limit < -1 || w.Remaining < -1 || w.Reset < -1 || w.Reset > maxPause {
				t.Fatalf("limits %+v", w)
			}
		}
	}
	for len(data) > 0 {
		i := int(next() % 2)
		o, now := operations[i], time.Now()
		switch what := next(); what % 6 {
		case 0:
			o.Start()
			sent[i] = append(sent[i], now)
		case 1:
			if wait, _ := o.Admit(&tickets[i], now, what >= 128); check(wait) == 0 {
				sent[i] = append(sent[i], now)
			}
		case 2:
			if check(o.Try(string('a'+next()%4), now, 0, 0)) == 0 {
				sent[i] = append(sent[i], now)
			}
		case 3:
			d := time.Duration(next()) * time.Millisecond
			time.Sleep(d * d / time.Millisecond * time.Duration(what/4))
		default:
			if len(sent[i]) == 0 {
				continue
			}
			r := Response{Status: []int{0, 200, 404, 429, 429, 503}[next()%6], Good: what > 200, Failed: what < 100}
			if r.Status != 0 {
				for w := range r.Limits {
					r.Limits[w] = Window{number(), number(), time.Duration(number())}
				}
				r.RetryAfter = time.Duration(min(uint64(number()), uint64(maxPause)))
			}
			end(i, int(next())%len(sent[i]), r)
		}
	}
	// From now on the responses are good and report high limits.
	good := Response{Status: 200, Good: true}
	for w := range good.Limits {
		good.Limits[w] = Window{math.MaxInt64, math.MaxInt64, -1}
	}
	for i, o := range operations {
		o.Leave(&tickets[i])
		for len(sent[i]) > 0 {
			end(i, 0, good)
		}
	}
	start := time.Now()
	for i, o := range operations {
		for range 20 {
			for n := 0; ; n++ {
				wait, _ := o.Admit(&tickets[i], time.Now(), false)
				if check(wait) == 0 {
					break
				}
				if n == 5000 {
					t.Fatalf("%d calls of Admit in %v, the last returned %v", n, time.Since(start), wait)
				}
				Sleep(t.Context(), wait, &tickets[i])
			}
			sent[i] = append(sent[i], time.Now())
			time.Sleep(time.Second)
			end(i, 0, good)
		}
	}
	if d := time.Since(start); d > 2*maxPause {
		t.Fatalf("40 requests took %v", d)
	}
}
