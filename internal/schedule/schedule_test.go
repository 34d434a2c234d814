package schedule

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/gamma-sdk/gamma-go/internal/ratelimit"
	"github.com/gamma-sdk/gamma-go/internal/retry"
)

const s = time.Second

// unlimited are the limits of a response without rate-limit headers.
var unlimited = ratelimit.Limits{
	{Limit: -1, Remaining: -1, Reset: -1}, {Limit: -1, Remaining: -1, Reset: -1}, {Limit: -1, Remaining: -1, Reset: -1},
}

// task is a job of the tests. It is over after its last poll.
type task struct {
	id       string
	first    time.Duration // until the first poll
	every    time.Duration // between two polls
	polls    int           // until it is over; 0 for never
	timeout  time.Duration // from its start; 0 for none
	takes    time.Duration // each poll
	deadline time.Time
	polled   []time.Duration
}

// result is how a task ended.
type result struct {
	id  string
	at  time.Duration
	end End // zero if a poll ended it
	*task
}

// world runs tasks.
type world struct {
	Config[*task, *task, result]
	operation *ratelimit.Operation
	scheduler *Scheduler[*task, *task, result] // of run
	start     time.Time

	mu       sync.Mutex
	order    []string
	inFlight int
	most     int
}

func newWorld(tasks ...*task) *world {
	w := &world{operation: new(ratelimit.Budget).Operation("GET /x"), start: time.Now()}
	w.Config = Config[*task, *task, result]{
		Jobs:     slices.Values(tasks),
		InFlight: 16,
		Overdue:  30 * s,
		Queue:    w.operation.Queue,
		Start: func(j *task, _ int) (*task, Step[result]) {
			if j.first < 0 {
				return nil, Step[result]{Over: true, Result: result{id: j.id, at: time.Since(w.start), task: j}}
			}
			if j.timeout != 0 {
				j.deadline = time.Now().Add(j.timeout)
			}
			return j, Step[result]{Due: time.Now().Add(j.first)}
		},
		Poll:     w.poll,
		Deadline: func(j **task) time.Time { return (*j).deadline },
		Margin:   func(rtt time.Duration) time.Duration { return max(2*rtt, s) },
		Stop: func(j **task, end End) result {
			if j == nil {
				return result{at: time.Since(w.start), end: end}
			}
			return result{id: (*j).id, at: time.Since(w.start), end: end, task: *j}
		},
	}
	return w
}

func (w *world) poll(ctx context.Context, p **task) Step[result] {
	j := *p
	w.mu.Lock()
	j.polled = append(j.polled, time.Since(w.start))
	w.order = append(w.order, j.id)
	w.inFlight++
	w.most = max(w.most, w.inFlight)
	w.mu.Unlock()
	if j.takes > 0 {
		retry.Sleep(ctx, j.takes)
	}
	w.mu.Lock()
	w.inFlight--
	w.mu.Unlock()
	w.operation.End(ratelimit.Response{Status: 200, Good: true, Sent: time.Now(), Limits: unlimited})
	if len(j.polled) == j.polls {
		return Step[result]{Over: true, Result: result{id: j.id, at: time.Since(w.start), task: j}}
	}
	now := time.Now()
	next := now.Add(j.every)
	if j.deadline.IsZero() {
		return Step[result]{Due: next, Next: next}
	}
	return Step[result]{Due: now.Add(retry.UntilNext(j.every, j.deadline.Sub(now), w.Margin(j.takes))), Next: next}
}

// runner returns a new scheduler of the world, which drop uses.
func (w *world) runner() *Scheduler[*task, *task, result] {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.scheduler = New(w.Config)
	return w.scheduler
}

func (w *world) drop(match func(**task) bool) {
	w.mu.Lock()
	s := w.scheduler
	w.mu.Unlock()
	s.Drop(match)
}

// run runs the tasks and returns the results.
func (w *world) run(ctx context.Context) (all []result) {
	w.runner().Run(ctx, func(r result) bool {
		all = append(all, r)
		return true
	})
	return all
}

func ids(all []result) (ids []string) {
	for _, r := range all {
		ids = append(ids, r.id)
	}
	return ids
}

func TestRunYieldsInOrderOfEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(
			&task{id: "three polls", every: 5 * s, polls: 3},
			&task{id: "two polls", every: 7 * s, polls: 2},
			&task{id: "late", first: 8 * s, polls: 1},
			&task{id: "invalid", first: -1},
			&task{id: "once", polls: 1},
		)
		all := w.run(t.Context())
		if got := ids(all); !slices.Equal(got, []string{"invalid", "once", "two polls", "late", "three polls"}) {
			t.Errorf("%q", got)
		}
		for i, want := range []time.Duration{0, 0, 7 * s, 8 * s, 10 * s} {
			if all[i].at != want || all[i].end != (End{}) {
				t.Errorf("%s ended after %v with %v, want %v", all[i].id, all[i].at, all[i].end, want)
			}
		}
		if got := all[4].polled; !slices.Equal(got, []time.Duration{0, 5 * s, 10 * s}) {
			t.Errorf("polled at %v", got)
		}
	})
}

// context.Background has no Done channel.
func TestRunInBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(&task{id: "a", every: s, polls: 3}, &task{id: "b", first: -1})
		if got := ids(w.run(context.Background())); !slices.Equal(got, []string{"b", "a"}) {
			t.Errorf("%q", got)
		}
		if all := newWorld().run(context.Background()); len(all) != 0 {
			t.Errorf("%+v without jobs", all)
		}
	})
}

func TestDeadline(t *testing.T) {
	for _, tt := range []struct {
		name   string
		task   task
		polled []time.Duration
		took   time.Duration
		due    time.Duration // when the job would have been polled next
		over   bool
	}{
		{"last poll before the deadline", task{every: 40 * s, timeout: 60 * s, takes: s}, []time.Duration{0, 41 * s, 58 * s}, 60 * s, 99 * s, false},
		{"over at the last poll", task{every: 40 * s, timeout: 60 * s, takes: s, polls: 3}, []time.Duration{0, 41 * s, 58 * s}, 59 * s, 0, true},
		{"no time for a last poll", task{every: 40 * s, timeout: 3 * s, takes: s}, []time.Duration{0}, 3 * s, 41 * s, false},
		{"poll in flight at the deadline", task{every: 5 * s, timeout: 3 * s, takes: 4 * s}, []time.Duration{0}, 4 * s, 9 * s, false},
		{"first poll due at the deadline", task{first: 60 * s, every: 5 * s, timeout: 60 * s}, nil, 60 * s, 60 * s, false},
		{"resumed after its deadline", task{every: 5 * s, timeout: -time.Hour, takes: s}, []time.Duration{0}, s, 6 * s, false},
		{"resumed after its deadline, over", task{every: 5 * s, timeout: -time.Hour, takes: s, polls: 1}, []time.Duration{0}, s, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(&tt.task)
				all := w.run(t.Context())
				if len(all) != 1 || !slices.Equal(tt.task.polled, tt.polled) || all[0].at != tt.took {
					t.Fatalf("%+v, polled at %v, want %v", all, tt.task.polled, tt.polled)
				}
				if end := all[0].end; tt.over != (end == End{}) || !tt.over && (end.Cause != context.DeadlineExceeded || end.Held || end.Due.Sub(w.start) != tt.due) {
					t.Errorf("ended with %+v, due after %v", end, end.Due.Sub(w.start))
				}
			})
		})
	}
}

// After the process was stopped, as by SIGSTOP, each job whose deadline has passed is polled
// once more.
func TestStoppedPastTheDeadline(t *testing.T) {
	for name, tt := range map[string]struct {
		polls   int
		context bool // it has the same deadline
	}{
		"not over":                       {0, false},
		"over":                           {2, false},
		"not over, a context's deadline": {0, true},
		"over, a context's deadline":     {2, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			late := &task{id: "late", every: 5 * s, timeout: 60 * s, polls: tt.polls}
			w := newWorld()
			w.Jobs = func(yield func(*task) bool) {
				yield(late)
				time.Sleep(2 * s)
				yield(&task{id: "stops", first: -1})
			}
			start := w.Start
			w.Start = func(j *task, waiting int) (*task, Step[result]) {
				if j.id == "stops" {
					time.Sleep(10 * time.Minute) // blocks the schedule
				}
				return start(j, waiting)
			}
			ctx := t.Context()
			if tt.context {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 60*s)
				defer cancel()
			}
			all := slices.DeleteFunc(w.run(ctx), func(r result) bool { return tt.context && r.task == nil }) // without that of Stop(nil)
			if len(all) != 2 || len(late.polled) != 2 || late.polled[1] < 10*time.Minute || late.polled[1] > 10*time.Minute+3*s {
				t.Fatalf("%s: %+v, polled at %v", name, all, late.polled)
			}
			if end := all[1].end; (end == End{}) != (tt.polls == 2) || tt.polls == 0 && end.Cause != context.DeadlineExceeded {
				t.Errorf("%s: %+v", name, end)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.InFlight, w.Waiting = 3, 10
		pulled, ended, most := 0, 0, 0
		w.Jobs = func(yield func(*task) bool) {
			for i := range 100 {
				w.mu.Lock()
				pulled++
				most = max(most, pulled-ended)
				w.mu.Unlock()
				if !yield(&task{id: fmt.Sprint(i), every: 5 * s, polls: 2, takes: 2 * s}) {
					return
				}
			}
		}
		New(w.Config).Run(t.Context(), func(result) bool {
			w.mu.Lock()
			ended++
			w.mu.Unlock()
			return true
		})
		if ended != 100 || w.most != 3 || most < 10 || most > 11 {
			t.Errorf("%d ended, %d in flight and %d waiting at most, want 100, 3 and 10", ended, w.most, most)
		}
	})
}

// Every job that was pulled ends with the context, and one result stands for the others.
func TestCanceled(t *testing.T) {
	why := errors.New("shut down")
	for name, tt := range map[string]struct {
		at   time.Duration
		jobs int  // pulled before
		more bool // Jobs has more
		poll time.Duration
	}{
		"before Run":                     {0, 0, true, 0},
		"jobs wait, Jobs has more":       {25 * s, 3, true, 0},
		"jobs wait, Jobs has ended":      {25 * s, 3, false, 0},
		"jobs in flight, Jobs has ended": {25 * s, 3, false, time.Minute},
		"jobs in flight, Jobs has more":  {25 * s, 3, true, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				if tt.at == 0 {
					cancel(why)
				}
				time.AfterFunc(tt.at, func() { cancel(why) })
				w := newWorld()
				w.Jobs = func(yield func(*task) bool) {
					for i := 0; i < 3 || tt.more; i++ {
						if !yield(&task{id: fmt.Sprint(i), every: 5 * s, takes: tt.poll}) {
							return
						}
						if i+1 == tt.jobs && tt.more {
							<-ctx.Done()
							return
						}
					}
				}
				seen := map[string]int{}
				for _, r := range w.run(ctx) {
					if seen[r.id]++; !errors.Is(r.end.Cause, context.Canceled) || !errors.Is(r.end.Cause, why) || r.at != tt.at {
						t.Errorf("%+v", r)
					}
					if r.task != nil && (r.end.Due.Sub(w.start) < tt.at || r.end.Due.Sub(w.start) > tt.at+5*s) {
						t.Errorf("%s is due after %v", r.id, r.end.Due.Sub(w.start))
					}
				}
				if rest := seen[""]; rest > 1 || (rest == 1) != tt.more || tt.at > 0 && len(seen)-rest != tt.jobs {
					t.Errorf("%v", seen)
				}
				for id, n := range seen {
					if n != 1 {
						t.Errorf("%s ended %d times", id, n)
					}
				}
			})
		})
	}
}

// No goroutine runs when Run returns; synctest checks it. A panic is propagated to the caller.
func TestRunLeavesNothing(t *testing.T) {
	boom := errors.New("boom")
	for name, tt := range map[string]struct {
		change func(*world)
		yield  func(result) bool
		panics bool
	}{
		"break":             {func(*world) {}, func(result) bool { return false }, false},
		"panic in yield":    {func(*world) {}, func(result) bool { panic(boom) }, true},
		"panic in Jobs":     {func(w *world) { w.Jobs = func(yield func(*task) bool) { yield(&task{id: "a", every: s}); panic(boom) } }, nil, true},
		"panic in Start":    {func(w *world) { w.Start = func(*task, int) (*task, Step[result]) { panic(boom) } }, nil, true},
		"panic in Poll":     {func(w *world) { w.Poll = func(context.Context, **task) Step[result] { panic(boom) } }, nil, true},
		"panic in Deadline": {func(w *world) { w.Deadline = func(**task) time.Time { panic(boom) } }, nil, true},
		"endless jobs, break": {func(w *world) {
			w.Waiting = 5
			w.Jobs = func(yield func(*task) bool) {
				for yield(&task{id: "a", polls: 1}) {
				}
			}
		}, func(result) bool { return false }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				tasks := []*task{{id: "once", first: 10 * s, polls: 1}}
				for range 100 {
					tasks = append(tasks, &task{id: "long", every: 5 * s, takes: time.Hour})
				}
				w.Jobs, w.InFlight = slices.Values(tasks), 200
				tt.change(w)
				if tt.yield == nil {
					tt.yield = func(result) bool { return true }
				}
				start := time.Now()
				defer func() {
					if v := recover(); (v != nil) != tt.panics || tt.panics && v != any(boom) {
						t.Errorf("recovered %v", v)
					}
					if w.inFlight != 0 || time.Since(start) > 10*s {
						t.Errorf("%d in flight after %v", w.inFlight, time.Since(start))
					}
					w.drop(nil) // must not block
				}()
				w.runner().Run(t.Context(), tt.yield)
			})
		})
	}
}

func TestDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(
			&task{id: "waiting", every: time.Hour},
			&task{id: "in flight", every: 30 * s, takes: 20 * s},
			&task{id: "in flight, over", every: time.Hour, takes: 20 * s, polls: 1},
			&task{id: "other", every: time.Minute, polls: 2},
		)
		time.AfterFunc(10*s, func() {
			w.drop(func(j **task) bool { return (*j).id != "other" })
			w.drop(func(**task) bool { return false })
		})
		all := w.run(t.Context())
		want := map[string]struct {
			at, due time.Duration
			dropped bool
		}{
			"waiting":         {10 * s, time.Hour, true},
			"in flight":       {20 * s, 50 * s, true},
			"in flight, over": {20 * s, 0, false},
			"other":           {60 * s, 0, false},
		}
		if len(all) != len(want) {
			t.Errorf("%q", ids(all))
		}
		for _, r := range all {
			if want := want[r.id]; r.at != want.at || (r.end.Cause == ErrDropped) != want.dropped || want.dropped && r.end.Due.Sub(w.start) != want.due {
				t.Errorf("%s after %v: %+v", r.id, r.at, r.end)
			}
		}
		w.drop(nil) // must not block
	})
}

// refuse records a 429 with the Retry-After d.
func (w *world) refuse(d time.Duration, why error) {
	if pause, _ := w.Queue.Admit(new(ratelimit.Ticket), time.Now(), false); pause > 0 {
		panic(pause)
	}
	w.operation.End(ratelimit.Response{Status: 429, RetryAfter: d, Err: why, Sent: time.Now(), Limits: unlimited})
}

// If the queue admits no request before the deadline, the job ends at once, or at its
// deadline if Patient.
func TestHeldBeyondTheDeadline(t *testing.T) {
	busy := errors.New("busy")
	for _, patient := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(
				&task{id: "short", every: 5 * s, timeout: time.Minute},
				&task{id: "long", every: 5 * s, timeout: time.Hour, polls: 1},
			)
			w.Patient = patient
			w.refuse(10*time.Minute, busy)
			all := w.run(t.Context())
			if got := ids(all); !slices.Equal(got, []string{"short", "long"}) {
				t.Fatalf("%q", got)
			}
			short, long := all[0], all[1]
			cause, at := error(nil), time.Duration(0)
			if patient {
				cause, at = context.DeadlineExceeded, time.Minute
			}
			if short.at != at || short.end.Cause != cause || short.end.Why != busy || !short.end.Held || !short.end.Due.IsZero() || len(short.polled) != 0 {
				t.Errorf("patient %v: after %v, %+v", patient, short.at, short.end)
			}
			if long.at < 10*time.Minute || long.at > 11*time.Minute || long.end != (End{}) {
				t.Errorf("patient %v: after %v, %+v", patient, long.at, long.end)
			}
		})
	}
}

// A job whose deadline has passed, as after SIGSTOP, does not wait for the queue.
func TestHeldPastTheDeadline(t *testing.T) {
	for _, patient := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.Patient = patient
			w.Jobs = func(yield func(*task) bool) {
				yield(&task{id: "late", first: 7 * s, every: 5 * s, timeout: 8 * s})
				time.Sleep(6 * s)
				yield(&task{id: "stops", first: -1})
			}
			start := w.Start
			w.Start = func(j *task, waiting int) (*task, Step[result]) {
				if j.id == "stops" {
					time.Sleep(4 * s) // blocks the schedule
					w.refuse(100*s, errors.New("busy"))
				}
				return start(j, waiting)
			}
			all := w.run(t.Context())
			if len(all) != 2 || all[1].id != "late" || all[1].at > 11*s || !all[1].end.Held {
				t.Errorf("patient %v: %+v", patient, all)
			}
			if cause := all[1].end.Cause; patient != (cause == context.DeadlineExceeded) {
				t.Errorf("patient %v: %v", patient, cause)
			}
		})
	}
}

// The job that has been due longest is polled first, but a last poll before a deadline is
// polled before all others.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(
			&task{id: "third", first: 3 * s, polls: 1},
			&task{id: "first", first: s, polls: 1},
			&task{id: "last poll", first: 4 * s, polls: 1, timeout: 60 * s, takes: s},
			&task{id: "second", first: 2 * s, polls: 1},
		)
		w.InFlight = 1
		w.refuse(60*s-500*time.Millisecond, nil)
		w.run(t.Context())
		if got := w.order; !slices.Equal(got, []string{"last poll", "first", "second", "third"}) {
			t.Errorf("polled %q", got)
		}
	})
}

// Jobs that end leave the queue.
func TestJobsLeaveTheQueue(t *testing.T) {
	for name, end := range map[string]func(w *world, cancel func()){
		"canceled": func(_ *world, cancel func()) { cancel() },
		"dropped": func(w *world, _ func()) {
			w.drop(func(**task) bool { return true })
		},
		"at the deadline": func(*world, func()) {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var tasks []*task
				for range 1000 {
					tasks = append(tasks, &task{id: "held", every: 5 * s, timeout: 30 * s})
				}
				w := newWorld(tasks...)
				w.Patient = true
				w.refuse(time.Minute, nil)
				time.AfterFunc(10*s, func() { end(w, cancel) })
				if all := w.run(ctx); len(all) != 1000 {
					t.Errorf("%d results", len(all))
				}
				time.Sleep(2 * time.Minute)
				if pause, _ := w.Queue.Admit(new(ratelimit.Ticket), time.Now(), false); pause > 0 {
					t.Errorf("the queue is not empty: %v", pause)
				}
			})
		})
	}
}

// A waiting job needs little memory.
func TestItemSize(t *testing.T) {
	if n := unsafe.Sizeof(item[[64]byte]{}) - 64; n > 32 {
		t.Errorf("an item has %d bytes in addition to its job", n)
	}
}
