package poller

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/ratelimit"
	"github.com/gamma-sdk/gamma-go/internal/retry"
	"github.com/gamma-sdk/gamma-go/internal/schedule"
)

const (
	// defaultMaxInFlight: more does not make TestAllPacing faster, with responses that take
	// 50 ms.
	defaultMaxInFlight = 128

	// maxInFlight is the number of ports of a host, and so of its connections.
	maxInFlight = 1 << 16

	// allJitter is the jitter of All, as a part of the pause. All spreads the first polls,
	// so a little is enough to keep them apart.
	allJitter = 0.02
)

// All waits for many generations, and yields a [Result] for each when its wait ends. An
// invalid Progress yields its error. An id that occurs twice is waited for twice. Bad
// settings and nil jobs yield one error.
//
// All polls in the background while the loop body runs. First polls are spread over one
// Interval. Of the polls that the rate limit delays, the one that has been due longest is
// sent first, and calls of All take turns. The Timeout counts from Since; a job that is
// resumed after it is polled once more.
//
// When ctx is done, every job that is still waited for yields a [*WaitError]. If jobs may
// have had more, a Result without an ID has an error matching that of ctx; it need not be the
// last. Without such a Result, every job has had its own.
//
// A separate goroutine pulls jobs, as MaxWaiting allows. Breaking out of the loop cancels
// all requests, and waits for All's goroutines and for jobs to return: a sequence that
// blocks must end when ctx is done or the loop ends. A panic in jobs, the client or OnPoll
// is propagated to the caller.
func (p *Poller) All(ctx context.Context, jobs iter.Seq[Progress]) iter.Seq[Result] {
	return func(yield func(Result) bool) {
		c, err := p.policy()
		if err == nil && jobs == nil {
			err = errors.New("gamma: All: nil jobs")
		}
		if err != nil {
			yield(Result{Err: err})
			return
		}
		c.jitter = allJitter
		a := &all{Poller: p, policy: c, ctx: ctx, patience: time.Millisecond}
		inFlight := min(p.MaxInFlight, maxInFlight)
		if inFlight == 0 {
			inFlight = defaultMaxInFlight
		}
		queue := p.status.NewQueue()
		defer queue.Close()
		s := schedule.New(schedule.Config[Progress, job, Result]{
			Jobs:     jobs,
			InFlight: inFlight,
			Waiting:  p.MaxWaiting,
			Overdue:  min(maxBackoff*c.interval, overdueTimeout),
			Queue:    queue,
			Start:    a.start,
			Poll:     a.poll,
			Deadline: func(j *job) time.Time { return a.waitOf(j).deadline },
			Margin:   c.margin,
			Patient:  c.keepWaiting,
			Stop:     a.stop,
		})
		p.running.Store(s, nil)
		defer p.running.Delete(s)
		s.Run(ctx, yield)
	}
}

type scheduler = schedule.Scheduler[Progress, job, Result]

// Drop ends the waits for id in every running call of [Poller.All]. They yield a
// [*WaitError] whose Cause is [ErrDropped], unless a poll in flight ends the wait
// differently. Drop may be called from the loop body.
func (p *Poller) Drop(id string) {
	for s := range p.running.Range {
		s.(*scheduler).Drop(func(j *job) bool { return j.id == id }) //nolint:forcetypeassert // nothing else is stored
	}
}

// IDs returns a new wait for each id, for [Poller.All].
func IDs(ids ...string) iter.Seq[Progress] {
	return func(yield func(Progress) bool) {
		for _, id := range ids {
			if !yield(Progress{ID: id}) {
				return
			}
		}
	}
}

// FromChan returns the values received from ch, for [Poller.All], until ch is closed or ctx
// is done.
func FromChan(ctx context.Context, ch <-chan Progress) iter.Seq[Progress] {
	return func(yield func(Progress) bool) {
		for ctx.Err() == nil {
			select {
			case p, ok := <-ch:
				if !ok || !yield(p) {
					return
				}
			case <-ctx.Done():
			}
		}
	}
}

// job is a Progress that takes little memory: there may be a million.
type job struct {
	id        string
	gen       *api.GenerationStatusResponse // the last one; see keep
	last      error                         // of the last poll
	since     int64                         // nanoseconds since 1970
	completed uint32                        // seconds since 1970, rounded up; 0 for not completed
	polls     int32
	failures  int32
	limited   uint16
	notFound  bool
	export    bool
}

// set sets j to p, except for its ID, NextPoll and Status.
func (j *job) set(p Progress) {
	j.since, j.export, j.notFound = p.Since.UnixNano(), p.Export, p.NotFound
	j.polls, j.failures, j.limited = int32(p.Polls), int32(p.Failures), uint16(min(p.RateLimited, math.MaxUint16))
	if j.completed = 0; !p.Completed.IsZero() {
		j.completed = uint32(p.Completed.Add(time.Second - 1).Unix())
	}
}

// progress returns j as a Progress, except for its NextPoll.
func (j *job) progress() Progress {
	p := Progress{
		ID:          j.id,
		Export:      j.export,
		Since:       time.Unix(0, j.since).UTC(),
		Polls:       int(j.polls),
		Failures:    int(j.failures),
		RateLimited: int(j.limited),
		NotFound:    j.notFound,
	}
	if j.gen != nil {
		p.Status = j.gen.Status
	}
	if j.completed != 0 {
		p.Completed = time.Unix(int64(j.completed), 0).UTC()
	}
	return p
}

// pending is shared by all jobs whose last status was pending.
var pending = &api.GenerationStatusResponse{Status: api.GenerationStatusPending}

// keep keeps the status of gen and, if it is completed, all of gen.
func (j *job) keep(gen *api.GenerationStatusResponse) {
	switch {
	case gen == nil || j.gen != nil && j.gen.Status == gen.Status && gen.Status != api.GenerationStatusCompleted:
	case gen.Status == pending.Status:
		j.gen = pending
	case gen.Status == api.GenerationStatusCompleted:
		j.gen = gen // its export may be missing
	default:
		j.gen = &api.GenerationStatusResponse{Status: gen.Status}
	}
}

// all is one call of All.
type all struct {
	*Poller
	policy
	ctx      context.Context // the caller's
	started  int
	patience time.Duration // how late the timer of ctx may be
}

// waitOf returns the wait for a job.
func (a *all) waitOf(j *job) wait {
	p := j.progress()
	return wait{Poller: a.Poller, policy: a.policy, ctx: a.ctx, progress: p, last: j.last, deadline: a.Poller.deadline(a.ctx, p.Since, p.Export)}
}

// over returns the last step of a job.
func (j *job) over(p Progress, err error) schedule.Step[Result] {
	r := Result{Progress: p, Generation: j.gen, Err: err}
	if j.gen != nil && j.gen.GenerationID == "" {
		gen := *j.gen
		gen.GenerationID = p.ID
		r.Generation = &gen
	}
	return schedule.Step[Result]{Over: true, Result: r}
}

// start starts a wait. First polls are spread over the interval, or over less if a
// response would come after the deadline. Multiples of the golden ratio keep any number of
// them apart; the first is sent at once.
func (a *all) start(p Progress, waiting int) (j job, step schedule.Step[Result]) {
	now := time.Now()
	p, err := p.check(now)
	if err != nil {
		return j, j.over(p, err)
	}
	p = a.resume(p)
	j.id = p.ID // Drop reads only this field, also while j is polled
	j.set(p)
	if p.Status != "" {
		j.keep(&api.GenerationStatusResponse{GenerationID: p.ID, Status: p.Status})
	}
	w := a.waitOf(&j)
	remaining := w.remaining(now)
	pause, cause := a.firstPause(p, a.FirstPoll, remaining, a.status.Stretched(waiting+1, a.interval), now)
	if cause != nil {
		return j, j.over(p, &WaitError{Progress: p, Cause: cause})
	}
	const golden = 0.6180339887498949
	_, part := math.Modf(float64(a.started) * golden)
	a.started++
	spread := a.interval
	if remaining != retry.Never {
		spread = min(spread, max(remaining-a.margin(0)-pause, 0))
	}
	return j, schedule.Step[Result]{Due: now.Add(pause + time.Duration(part*float64(spread))), Next: p.NextPoll}
}

// poll polls a job.
func (a *all) poll(ctx context.Context, j *job) schedule.Step[Result] {
	if ctx.Err() != nil {
		a.status.End(ratelimit.Response{}) // it was not sent
		return schedule.Step[Result]{Due: time.Now()}
	}
	w := a.waitOf(j)
	more := w.send(ctx)
	j.set(w.progress)
	j.last = w.last
	j.keep(w.gen)
	if more {
		return schedule.Step[Result]{Due: w.due, Next: w.progress.NextPoll}
	}
	if w.gen != nil {
		j.gen = w.gen
	}
	return j.over(w.progress, w.err)
}

// stop ends a wait without a poll.
func (a *all) stop(j *job, end schedule.End) Result {
	if j == nil {
		return Result{Err: fmt.Errorf("gamma: All: stopped before all jobs were pulled: %w", end.Cause)}
	}
	w := a.waitOf(j)
	if !end.Due.IsZero() {
		w.progress.NextPoll = utc(end.Due)
	}
	switch {
	case errors.Is(end.Cause, schedule.ErrDropped):
		end.Cause = ErrDropped
	case end.Cause == nil:
		end.Cause, w.last = pauseError(end.Why), end.Why
	case end.Cause == context.DeadlineExceeded: //nolint:errorlint // as the schedule gives it
		end.Cause = w.expired(end.Held, a.patience)
		a.patience = 0 // once is enough
	}
	err := w.waitError(end.Cause)
	return j.over(err.Progress, err).Result
}
