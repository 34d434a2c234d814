// Package schedule runs any number of jobs. Each job is polled until it is over, when a poll
// is due and the queue of a rate limit admits it.
//
// One goroutine decides which job is polled next, workers poll, and one goroutine pulls the
// jobs from the caller's sequence, which may block.
package schedule

import (
	"context"
	"errors"
	"iter"
	"math"
	"sync"
	"time"

	"github.com/gamma-sdk/gamma-go/internal/ratelimit"
	"github.com/gamma-sdk/gamma-go/internal/retry"
)

// Step is what follows after a job was started or polled: a poll at Due, or its Result.
type Step[R any] struct {
	Due    time.Time // the deadline if no poll is due before it
	Next   time.Time // what Due would be without a deadline
	Over   bool
	Result R
}

// Config is the configuration of a schedule. The functions must be set. Start, Deadline and
// Stop are called by one goroutine, which they must not block.
type Config[I, J, R any] struct {
	Jobs     iter.Seq[I]
	InFlight int           // maximum number of polls in flight
	Waiting  int           // maximum number of jobs; 0 for no limit
	Overdue  time.Duration // how long after its deadline a job that missed its last poll may still be polled
	Queue    *ratelimit.Queue

	// Start makes a job of an input. waiting is the number of other jobs.
	Start func(input I, waiting int) (J, Step[R])

	// Poll polls a job. Queue has admitted the request.
	Poll func(ctx context.Context, job *J) Step[R]

	// Deadline returns the deadline of a job, the zero time for none. A job is polled once
	// more before it. Margin returns how long before, given the round-trip time of a poll.
	Deadline func(job *J) time.Time
	Margin   func(rtt time.Duration) time.Duration

	// Patient means that a job waits until its deadline even if the queue will not admit a
	// poll before.
	Patient bool

	// Stop returns the result of a job that ends without a poll. A nil job stands for all
	// that were not pulled.
	Stop func(job *J, end End) R
}

// End is why and how a job ends without a poll.
type End struct {
	Cause error     // that of the context, context.DeadlineExceeded or ErrDropped; nil if Held before the deadline
	Held  bool      // the queue did not admit it in time
	Why   error     // the error of the response that is the reason of Held, if any
	Due   time.Time // when its next poll would be due, also after its deadline; zero if that has passed
}

// ErrDropped is the Cause for a job that was dropped.
var ErrDropped = errors.New("dropped")

// New returns a scheduler for c.
func New[I, J, R any](c Config[I, J, R]) *Scheduler[I, J, R] {
	s := &Scheduler[I, J, R]{
		Config:   c,
		inFlight: map[*item[J]]bool{},
		jobs:     make(chan I),
		pull:     make(chan struct{}),
		polls:    make(chan *item[J], c.InFlight),
		done:     make(chan outcome[J, R], c.InFlight),
		out:      make(chan R),
		drops:    make(chan func(*J) bool),
		over:     make(chan struct{}),
		quit:     make(chan struct{}),
		crashed:  make(chan any, 1),
	}
	s.waiting.less = func(a, b *item[J]) bool { return a.at < b.at }
	s.ready = queue[J]{less: func(a, b *item[J]) bool { return a.order < b.order }, id: 1}
	return s
}

// Run runs the jobs and yields their results in the order in which they end, until all are
// over, ctx is done or yield returns false. It ends all goroutines before it returns. If ctx
// is canceled, it yields a result for every job, and that of Stop(nil) if Jobs may have more.
// A panic in a goroutine of the schedule is propagated to the caller. Run can be called once.
func (s *Scheduler[I, J, R]) Run(ctx context.Context, yield func(R) bool) {
	s.caller, s.start = ctx, time.Now()
	s.ctx, s.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	defer context.AfterFunc(ctx, func() {
		if s.canceled() {
			s.cancel(context.Cause(ctx))
		}
	})()
	s.spawn(s.run)
	s.spawn(s.pullJobs)
	defer s.stop()
	for r := range s.out {
		if !yield(r) {
			break
		}
	}
	s.stop()
	select {
	case v := <-s.crashed:
		panic(v)
	default:
	}
}

// Drop stops the jobs that match, with ErrDropped. It may be called during Run, also by the
// functions that Run calls, except Start and Stop. match may be called during a poll of the
// job.
func (s *Scheduler[I, J, R]) Drop(match func(*J) bool) {
	select {
	case s.drops <- match:
	case <-s.over:
	}
}

// item is a job of the schedule. It is small, since there may be a million. Times are
// relative to the start.
type item[J any] struct {
	job    J
	at     int64    // the time of its next event: its poll, last poll or deadline
	order  int64    // among those that are due; 0 for an urgent one
	index  [2]int32 // in waiting and ready
	ready  bool     // it is due
	urgent bool     // it is due for its last poll
	drop   bool     // it was dropped in flight
	ending bool     // no poll follows before its deadline
	early  uint32   // how much earlier than Next at is, in milliseconds
}

// outcome is the result of a poll.
type outcome[J, R any] struct {
	*item[J]
	Step[R]
	rtt time.Duration
}

// Scheduler runs jobs. Create it with [New]. Its fields are used only by run, except for the
// channels and fields that do not change.
type Scheduler[I, J, R any] struct {
	Config[I, J, R]
	caller context.Context
	ctx    context.Context // canceled when the caller's is canceled, and by stop
	cancel context.CancelCauseFunc
	start  time.Time

	waiting  queue[J] // all jobs that are not in flight, by at
	ready    queue[J] // those that are due, the urgent ones first
	inFlight map[*item[J]]bool
	order    int64 // of the last job that became due
	ticket   ratelimit.Ticket
	workers  int
	rtt      time.Duration
	held     bool  // the queue did not admit the first ready job
	why      error // the error of the response that is the reason, if any
	finished []R

	jobs  chan I        // pulled
	pull  chan struct{} // to pullJobs: there is capacity for another job
	polls chan *item[J] // to the workers
	done  chan outcome[J, R]
	out   chan R // to the caller
	drops chan func(*J) bool
	over  chan struct{} // closed when drops are no longer received
	quit  chan struct{} // closed by stop
	once  sync.Once

	goroutines sync.WaitGroup
	crashed    chan any // the first panic
}

// stop ends every goroutine and waits for them.
func (s *Scheduler[I, J, R]) stop() {
	s.once.Do(func() { close(s.quit) })
	s.cancel(nil)
	s.goroutines.Wait()
}

// canceled reports whether the caller's context was done before its deadline. At its
// deadline, the jobs end by their deadlines, which are not later: a last poll that was
// missed, as after SIGSTOP, is made up for.
func (s *Scheduler[I, J, R]) canceled() bool {
	err := s.caller.Err()
	return err != nil && (!errors.Is(err, context.DeadlineExceeded) || !s.expired())
}

// expired reports whether the deadline of the caller's context has passed.
func (s *Scheduler[I, J, R]) expired() bool {
	d, ok := s.caller.Deadline()
	return ok && !time.Now().Before(d)
}

// spawn runs f in a goroutine that stop waits for. A panic ends the schedule.
func (s *Scheduler[I, J, R]) spawn(f func()) {
	s.goroutines.Go(func() {
		returned := false
		defer func() {
			if returned {
				return
			}
			select {
			case s.crashed <- recover():
				s.once.Do(func() { close(s.quit) })
			default: // another panic was first
			}
		}()
		f()
		returned = true
	})
}

// pullJobs sends the jobs to run, one each time that there is capacity.
func (s *Scheduler[I, J, R]) pullJobs() {
	defer close(s.jobs)
	capacity := func() bool {
		select {
		case <-s.pull:
			return true
		case <-s.caller.Done():
			return false
		case <-s.quit:
			return false
		}
	}
	if !capacity() {
		return
	}
	for job := range s.Jobs {
		select {
		case s.jobs <- job: // also if the caller's context is done
		case <-s.quit:
			return
		}
		if !capacity() {
			return
		}
	}
}

// work polls the jobs that it receives.
func (s *Scheduler[I, J, R]) work() {
	for j := range s.polls {
		start := time.Now()
		step := s.Poll(s.ctx, &j.job)
		s.done <- outcome[J, R]{j, step, time.Since(start)}
	}
}

// run decides which job is polled next.
func (s *Scheduler[I, J, R]) run() {
	defer close(s.over)
	defer close(s.out)
	defer close(s.polls)
	defer s.cancel(nil)
	defer s.Queue.Leave(&s.ticket)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	jobs, ended := s.jobs, s.caller.Done()
	pulling := false // a job has been requested from pullJobs
	for jobs != nil || s.total() > 0 || len(s.finished) > 0 {
		if wake := s.dispatch(time.Now()); wake > 0 {
			timer.Reset(wake)
		} else {
			timer.Stop()
		}
		var pull chan<- struct{}
		if jobs != nil && !pulling && (s.Waiting == 0 || s.total()+len(s.finished) < s.Waiting) {
			pull = s.pull
		}
		var out chan<- R
		var first R
		if len(s.finished) > 0 {
			out, first = s.out, s.finished[0]
		}
		select {
		case pull <- struct{}{}:
			pulling = true
		case job, ok := <-jobs:
			if pulling = false; ok {
				s.add(job)
			} else if jobs = nil; s.caller.Err() != nil {
				s.finished = append(s.finished, s.Stop(nil, End{Cause: retry.Canceled(s.caller)}))
			}
			if s.canceled() {
				s.abort()
			}
		case o := <-s.done:
			s.settle(o)
		case out <- first:
			var none R
			s.finished[0] = none
			s.finished = s.finished[1:]
		case match := <-s.drops:
			s.drop(match)
		case <-timer.C:
		case <-s.ticket.Wake():
		case <-ended:
			if ended = nil; s.canceled() {
				s.abort()
			}
		case <-s.quit:
			return
		}
	}
}

// total returns the number of jobs that are not over.
func (s *Scheduler[I, J, R]) total() int { return len(s.waiting.items) + len(s.inFlight) }

// add starts a job.
func (s *Scheduler[I, J, R]) add(input I) {
	job, step := s.Start(input, s.total())
	if step.Over {
		s.finished = append(s.finished, step.Result)
		return
	}
	j := &item[J]{job: job}
	s.set(j, step)
	if s.expired() {
		s.finish(j, context.DeadlineExceeded)
		return
	}
	j.ending = j.ending && s.remaining(j, time.Now()) > 0 // a job is polled once also after its deadline
	s.waiting.add(j)
}

// set sets the next event of j by step.
func (s *Scheduler[I, J, R]) set(j *item[J], step Step[R]) {
	j.at = int64(step.Due.Sub(s.start))
	j.early = uint32(min(max(step.Next.Sub(step.Due), 0), 48*time.Hour) / time.Millisecond)
	deadline := s.Deadline(&j.job)
	j.ending = !deadline.IsZero() && !step.Due.Before(deadline)
}

// remaining returns the time from now until the deadline of j.
func (s *Scheduler[I, J, R]) remaining(j *item[J], now time.Time) time.Duration {
	if d := s.Deadline(&j.job); !d.IsZero() {
		return d.Sub(now)
	}
	return retry.Never
}

// settle records the outcome of a poll.
func (s *Scheduler[I, J, R]) settle(o outcome[J, R]) {
	delete(s.inFlight, o.item)
	s.rtt = retry.RTT(s.rtt, o.rtt)
	if o.Over {
		s.finished = append(s.finished, o.Result)
		return
	}
	s.set(o.item, o.Step)
	switch {
	case s.canceled():
		s.finish(o.item, retry.Canceled(s.caller))
	case o.drop:
		s.finish(o.item, ErrDropped)
	default:
		s.waiting.add(o.item)
	}
}

// finish ends a job without a poll.
func (s *Scheduler[I, J, R]) finish(j *item[J], cause error) {
	end := End{Cause: cause, Held: j.ready && s.held, Why: s.why}
	if !j.ready {
		end.Due = s.start.Add(time.Duration(j.at) + time.Duration(j.early)*time.Millisecond)
	}
	s.finished = append(s.finished, s.Stop(&j.job, end))
}

// abort ends every job that is not in flight, because the caller's context was canceled.
func (s *Scheduler[I, J, R]) abort() {
	for _, j := range s.waiting.items {
		s.finish(j, retry.Canceled(s.caller))
	}
	s.waiting.items, s.ready.items = nil, nil
}

// drop ends the jobs that match.
func (s *Scheduler[I, J, R]) drop(match func(*J) bool) {
	for j := range s.inFlight {
		j.drop = j.drop || match(&j.job)
	}
	var matches []*item[J]
	for _, j := range s.waiting.items {
		if match(&j.job) {
			matches = append(matches, j)
		}
	}
	for _, j := range matches {
		s.finish(j, ErrDropped)
		s.remove(j)
	}
}

// remove takes a job out of every queue.
func (s *Scheduler[I, J, R]) remove(j *item[J]) {
	s.waiting.remove(j)
	if j.ready {
		s.ready.remove(j)
	}
	j.ready, j.urgent = false, false
}

// dispatch sends the jobs that are due to the workers, as far as the limits allow, and ends
// those whose deadline has passed. It returns when to call it again, 0 for after the next
// event.
func (s *Scheduler[I, J, R]) dispatch(now time.Time) (wake time.Duration) {
	for {
		j := s.waiting.first()
		if j == nil {
			s.Queue.Leave(&s.ticket)
			return 0
		}
		if d := time.Duration(j.at) - now.Sub(s.start); d > 0 {
			wake = d
			break
		}
		s.due(j, now)
	}
	s.held, s.why = false, nil
	for len(s.inFlight) < s.InFlight {
		j := s.ready.first()
		if j == nil {
			break
		}
		wait, why := s.Queue.Admit(&s.ticket, now, j.urgent)
		if wait > 0 {
			s.held, s.why = true, why
			remaining := s.remaining(j, now)
			if why == nil || wait <= remaining || s.Patient && remaining > 0 {
				return min(wake, wait)
			}
			var cause error
			if s.Patient { // its deadline has passed
				cause = context.DeadlineExceeded
			}
			s.finish(j, cause)
			s.remove(j)
			continue
		}
		s.remove(j)
		s.inFlight[j] = true
		if s.workers < len(s.inFlight) {
			s.workers++
			s.spawn(s.work)
		}
		s.polls <- j
	}
	if len(s.ready.items) == 0 {
		s.Queue.Leave(&s.ticket)
	}
	return wake
}

// due handles the event of j that is due.
func (s *Scheduler[I, J, R]) due(j *item[J], now time.Time) {
	remaining := s.remaining(j, now)
	switch {
	case remaining <= 0 && (j.urgent || j.ending):
		// It had its last poll, had no time for one, or was not admitted.
		s.finish(j, context.DeadlineExceeded)
		s.remove(j)
		return
	case !j.ready:
		s.order++
		j.ready, j.order = true, s.order
		s.ready.add(j)
	}
	last := remaining - s.Margin(s.rtt)
	switch {
	case remaining == retry.Never:
		j.at = math.MaxInt64
	case last > 0:
		j.at = int64(now.Sub(s.start) + last)
	default: // its last poll is due, also after its deadline, as after SIGSTOP
		j.urgent, j.order = true, 0
		s.ready.fix(j)
		if remaining <= 0 {
			remaining = s.Overdue
		}
		j.at = int64(now.Sub(s.start) + remaining)
	}
	s.waiting.fix(j)
}
