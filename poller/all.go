package poller

import (
	"context"
	"errors"
	"iter"
	"runtime"
	"sync"
	"time"

	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/retry"
	"github.com/gamma-sdk/gamma-go/internal/wire"
)

const (
	// defaultMaxInFlight is where more stops to help: with answers that take 50 ms,
	// TestAllPacing without a budget is 4.7 s late on average with 32, 2.9 s with
	// 64, 2.6 s with 128 and 2.6 s with 256.
	defaultMaxInFlight = 128

	// mostInFlight is as many connections as a host has ports.
	mostInFlight = 1 << 16

	// allJitter is the part of a pause that All stretches it by. It spreads the
	// polls itself, so a little is enough to keep them apart.
	allJitter = 50

	// catchUp is how much faster than its own pace All polls when it is behind.
	catchUp = 1.5
)

// All waits for many generations, and yields each as it ends, the first to end
// first: with a nil error when it completed, and otherwise with the
// [*FailedError] or [*WaitError] that Wait would return, which says which one it
// is. An invalid id yields its error, and the rest goes on. An id that comes twice
// is waited for twice. Bad settings and a nil ids yield one error and nothing else.
//
// All polls in the background while the loop body runs. It spreads the polls over
// the Interval instead of starting all at once, so a first poll may come an
// Interval late; it never has more than MaxInFlight requests under way, and sends
// none that the x-ratelimit-remaining headers say would be refused. When more polls
// are due than the budget allows, the generation that has waited longest for a poll
// goes first, and calls of All on one Poller take turns. The Timeout is each
// generation's own and starts when its id is pulled. When ctx ends, every generation
// that is still waited for yields its WaitError; so does one whose id is being pulled.
//
// Ids are pulled as there is room, see MaxWaiting, in a goroutine of their own: they
// may come from a channel or a database cursor. Breaking out of the loop ends all
// requests and goroutines before the range statement ends; so does a panic, in the
// loop body, in ids, in the client or in OnPoll, and goes on in the caller. All
// waits for ids to return, so a sequence that blocks must end when the loop does;
// let it watch a context that the loop body cancels before it breaks.
//
// A waiting generation costs about 160 bytes with its id, and no goroutine.
func (p *Poller) All(ctx context.Context, ids iter.Seq[string]) iter.Seq2[*api.GenerationStatusResponse, error] {
	return func(yield func(*api.GenerationStatusResponse, error) bool) {
		policy, err := p.settings()
		if err == nil && ids == nil {
			err = errors.New("gamma: All: nil ids")
		}
		if err != nil {
			yield(nil, err)
			return
		}
		policy.jitter = allJitter
		s := newScheduler(ctx, p, policy)
		s.spawn(s.run)
		s.spawn(func() { s.pull(ids) })
		defer s.stop()
		for r := range s.out {
			if !yield(r.gen, r.err) {
				break
			}
		}
		s.stop()
		select {
		case f := <-s.faults:
			if f.goexit {
				runtime.Goexit()
			}
			panic(f.value)
		default:
		}
	}
}

// job is one generation that All waits for. There may be a million, so it holds no
// more than it must. Times are counted from the start of the scheduler.
type job struct {
	id       string
	status   status // the last one
	last     error  // of the last poll
	since    int64
	due      int64
	polled   int64 // the last poll; since before the first
	polls    int32
	failures int32
	limited  int32
	place    [2]int32 // in waiting or ready, and in ending
	notFound bool
}

// result is one generation that All is done with.
type result struct {
	gen *api.GenerationStatusResponse
	err error
}

// outcome is what a poll of a job gave.
type outcome struct {
	*job
	result
	over bool
	next time.Duration
	trip time.Duration
}

// scheduler is one call of All. Its fields belong to run, but for the channels and
// what does not change.
type scheduler struct {
	*Poller
	policy  policy
	caller  context.Context
	ctx     context.Context // ends when the caller's does, and at stop
	cancel  context.CancelFunc
	start   time.Time
	timeout time.Duration // of each job, 0 for none
	limit   int           // of requests in flight

	waiting queue // by the time of the next poll
	ready   queue // due; by the time of the last poll
	ending  queue // the ready ones, by the deadline

	total    int // jobs in a queue or in flight
	inFlight int
	workers  int
	added    int // ids so far
	slot     time.Time
	trip     time.Duration
	finished []result

	ids   chan string   // from pull
	room  chan struct{} // to pull: there is room for one more
	polls chan *job     // to the workers
	done  chan outcome  // from the workers
	out   chan result   // to the caller
	turn  chan struct{} // from the gate: there may be room
	quit  chan struct{} // closed by stop
	once  sync.Once

	goroutines sync.WaitGroup
	faults     chan fault    // the first one
	broken     chan struct{} // closed after the first one
}

// fault is a panic, or a call of runtime.Goexit, in a goroutine of All.
type fault struct {
	value  any
	goexit bool
}

func newScheduler(ctx context.Context, p *Poller, c policy) *scheduler {
	s := &scheduler{
		Poller:  p,
		policy:  c,
		caller:  ctx,
		start:   time.Now(),
		trip:    defaultTrip,
		slot:    time.Now(),
		timeout: p.timeout(ctx),
		limit:   min(p.MaxInFlight, mostInFlight),
		ids:     make(chan string),
		room:    make(chan struct{}),
		out:     make(chan result),
		turn:    make(chan struct{}, 1),
		quit:    make(chan struct{}),
		faults:  make(chan fault, 1),
		broken:  make(chan struct{}),
	}
	if s.limit == 0 {
		s.limit = defaultMaxInFlight
	}
	p.gate.pace(new(budget))
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.polls, s.done = make(chan *job, s.limit), make(chan outcome, s.limit)
	s.waiting.by = func(j *job) int64 { return j.due }
	s.ready.by = func(j *job) int64 { return j.polled }
	s.ending = queue{by: func(j *job) int64 { return j.since }, slot: 1}
	return s
}

// stop ends every goroutine and waits for them.
func (s *scheduler) stop() {
	s.once.Do(func() { close(s.quit) })
	s.cancel()
	s.goroutines.Wait()
}

// spawn runs f in a goroutine that stop waits for. A panic ends the scheduler.
func (s *scheduler) spawn(f func()) {
	s.goroutines.Go(func() {
		returned := false
		defer func() {
			if returned {
				return
			}
			v := recover()
			select {
			case s.faults <- fault{value: v, goexit: v == nil}:
				close(s.broken)
			default: // one is enough
			}
		}()
		f()
		returned = true
	})
}

// pull hands over the ids, one for each time that there is room.
func (s *scheduler) pull(ids iter.Seq[string]) {
	defer close(s.ids)
	wait := func() bool {
		select {
		case <-s.room:
			return true
		case <-s.ctx.Done():
			return false
		}
	}
	if !wait() {
		return
	}
	for id := range ids {
		select {
		case s.ids <- id: // also when the caller's context has ended
		case <-s.quit:
			return
		case <-s.broken:
			return
		}
		if !wait() {
			return
		}
	}
}

// work polls one job after the other.
func (s *scheduler) work() {
	for j := range s.polls {
		s.done <- s.poll(j)
	}
}

func (s *scheduler) poll(j *job) outcome {
	if s.ctx.Err() != nil {
		s.gate.end(time.Now(), 0, answer{}, true) // as if it had not been sent
		return outcome{job: j}
	}
	w := &wait{Poller: s.Poller, policy: s.policy, progress: s.progress(j), parent: s.caller, last: j.last, trip: defaultTrip, counted: true}
	ctx, left := s.ctx, noDeadline
	if s.timeout > 0 {
		deadline := s.start.Add(time.Duration(j.since)).Add(s.timeout)
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	if deadline, ok := ctx.Deadline(); ok {
		left = time.Until(deadline)
	}
	ev, over, err := w.poll(ctx, left)
	p := w.progress
	j.status, j.last = p.Status, w.last
	j.polls, j.failures, j.limited, j.notFound = int32(p.Polls), int32(p.Failures), int32(p.RateLimited), p.NotFound
	return outcome{job: j, result: result{ev.Generation, err}, over: over, next: ev.Next, trip: w.trip}
}

// progress is that of j. All of a scheduler's times are exact to the nanosecond
// from one start.
func (s *scheduler) progress(j *job) Progress {
	return Progress{
		ID:          j.id,
		Since:       wallClock(s.start.Add(time.Duration(j.since))),
		Polls:       int(j.polls),
		Status:      j.status,
		Failures:    int(j.failures),
		RateLimited: int(j.limited),
		NotFound:    j.notFound,
	}
}

// run is the one goroutine that decides what is polled when.
func (s *scheduler) run() {
	defer s.close()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	ids, done := s.ids, s.caller.Done()
	granted := false // room for an id that has not come yet
	aborted := false
	for ids != nil || s.total > 0 || len(s.finished) > 0 {
		now := time.Now()
		if wake := s.dispatch(now); wake > 0 {
			timer.Reset(wake)
		} else {
			timer.Stop()
		}
		var room chan<- struct{}
		if ids != nil && !granted && (s.MaxWaiting == 0 || s.total+len(s.finished) < s.MaxWaiting) {
			room = s.room
		}
		var out chan<- result
		var first result
		if len(s.finished) > 0 {
			out, first = s.out, s.finished[0]
		}
		select {
		case room <- struct{}{}:
			granted = true
		case id, ok := <-ids:
			if granted = false; !ok {
				ids = nil
			} else if s.add(id); aborted {
				s.abort()
			}
		case o := <-s.done:
			s.settle(o)
		case out <- first:
			s.finished[0] = result{}
			s.finished = s.finished[1:]
		case <-timer.C:
		case <-s.turn:
		case <-done:
			done, aborted = nil, true
			s.abort()
		case <-s.broken:
			return
		case <-s.quit:
			return
		}
	}
}

// close ends the requests in flight, and waits for them.
func (s *scheduler) close() {
	s.cancel()
	s.gate.pass(s.turn)
	close(s.polls)
	close(s.out)
}

// add starts a wait. The first polls are spread over the interval by the golden
// ratio, which keeps any number of them apart; that of the first id is at once, and
// none is so late that there is no time for an answer.
func (s *scheduler) add(id string) {
	if err := wire.CheckPathParam("the generation id", id); err != nil {
		s.finished = append(s.finished, result{err: err})
		return
	}
	const golden = 0.6180339887498949
	x := float64(s.added) * golden
	s.added++
	now := int64(time.Since(s.start))
	spread := int64((x - float64(int64(x))) * float64(s.policy.interval))
	s.total++
	j := &job{id: id, since: now, polled: now}
	s.pause(j, now, min(time.Duration(spread)+min(s.FirstPoll, noDeadline/2), s.left(j, now)-s.lead()))
}

// pause puts j back until its next poll, or until its deadline.
func (s *scheduler) pause(j *job, now int64, pause time.Duration) {
	w := wait{policy: s.policy, trip: s.trip}
	j.due = now + int64(w.untilNext(pause, s.left(j, now)))
	s.waiting.add(j)
}

// lead is how long before its deadline the last poll of a job starts.
func (s *scheduler) lead() time.Duration {
	return (&wait{policy: s.policy, trip: s.trip}).lead()
}

// left is the time until the deadline of j.
func (s *scheduler) left(j *job, now int64) time.Duration {
	left := noDeadline
	if deadline, ok := s.caller.Deadline(); ok {
		left = deadline.Sub(s.start) - time.Duration(now)
	}
	if s.timeout > 0 {
		left = min(left, s.timeout-time.Duration(now-j.since))
	}
	return left
}

// settle takes in what a poll gave.
func (s *scheduler) settle(o outcome) {
	s.inFlight--
	s.trip = o.trip
	if o.over {
		s.finish(o.job, o.result)
		return
	}
	if s.caller.Err() != nil {
		s.end(o.job, retry.Canceled(s.caller), o.job.last)
		return
	}
	o.polled = int64(time.Since(s.start))
	s.pause(o.job, o.polled, o.next)
}

// finish is the end of j.
func (s *scheduler) finish(j *job, r result) {
	s.total--
	if r.gen == nil && j.status != "" {
		// The last answer, as far as it is worth keeping.
		r.gen = &api.GenerationStatusResponse{GenerationID: j.id, Status: j.status}
	}
	s.finished = append(s.finished, r)
}

// end is the end of the wait for j.
func (s *scheduler) end(j *job, cause, last error) {
	s.finish(j, result{err: &WaitError{Progress: s.progress(j), Cause: cause, Last: last}})
}

// abort ends the wait for every job that is not in flight.
func (s *scheduler) abort() {
	cause := retry.Canceled(s.caller)
	for _, q := range []*queue{&s.waiting, &s.ready} {
		for _, j := range q.jobs {
			s.end(j, cause, j.last)
		}
		q.jobs = nil
	}
	s.ending.jobs = nil
}

// dispatch hands the jobs that are due to the workers, as far as the limits allow,
// and ends those whose time is up. It returns when there will be more to do, 0 if
// only an answer or the gate can tell.
func (s *scheduler) dispatch(t time.Time) (wake time.Duration) {
	now := int64(t.Sub(s.start))
	sooner := func(d time.Duration) {
		if d = max(d, 1); wake == 0 || d < wake {
			wake = d
		}
	}
	low, lead := s.gate.slow(), s.lead()
	for j := s.waiting.first(); j != nil && j.due <= now; j = s.waiting.first() {
		s.waiting.remove(j)
		if hold := j.polled + int64(lowFactor*s.policy.interval); low && j.polls > 0 && hold > now && s.left(j, now) > lead {
			s.pause(j, now, time.Duration(hold-now))
			continue
		}
		s.ready.add(j)
		if s.timeout > 0 {
			s.ending.add(j)
		}
	}
	for j := s.ending.first(); j != nil; j = s.ending.first() {
		if left := s.left(j, now); left > 0 {
			sooner(left)
			break
		}
		s.leave(j)
		s.end(j, context.DeadlineExceeded, j.last)
	}
	if j := s.waiting.first(); j != nil {
		sooner(time.Duration(j.due - now))
	}
	// Behind its own pace All catches up, but not all at once.
	spacing := time.Duration(float64(s.policy.interval) / catchUp / float64(max(s.total, 1)))
	burst := time.Duration(16+s.total/64) * spacing
	// The pace of a moment ago, with fewer jobs, must not hold up the many.
	if most := t.Add(burst + spacing); s.slot.After(most) {
		s.slot = most
	}
	for s.inFlight < s.limit {
		j := s.ready.first()
		if j == nil {
			break
		}
		if d := s.slot.Sub(t) - burst; d > 0 {
			sooner(d)
			break
		}
		ok, d, why := s.gate.reserve(t, s.policy.interval, s.turn)
		if why != nil && d > s.left(j, now) {
			s.leave(j)
			s.end(j, context.DeadlineExceeded, why)
			continue
		}
		if !ok {
			if d > 0 {
				sooner(d)
			}
			return wake
		}
		if s.slot.Before(t) {
			s.slot = t
		}
		s.slot = s.slot.Add(spacing)
		s.leave(j)
		s.inFlight++
		if s.workers < s.inFlight {
			s.workers++
			s.spawn(s.work)
		}
		s.polls <- j
	}
	s.gate.pass(s.turn) // nothing to send now
	return wake
}

// leave takes j out of the ready ones.
func (s *scheduler) leave(j *job) {
	s.ready.remove(j)
	if s.timeout > 0 {
		s.ending.remove(j)
	}
}
