package poller

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/apiruntime"
	"github.com/gamma-sdk/gamma-go/internal/ratelimit"
	"github.com/gamma-sdk/gamma-go/internal/retry"
)

// wait is one wait. A goroutine that sleeps in it has a small stack and no separate context,
// so that there can be many.
type wait struct {
	*Poller
	policy
	ctx      context.Context // the caller's
	progress Progress
	ticket   ratelimit.Ticket
	deadline time.Time // zero for none
	due      time.Time // of the next poll; the deadline if there is none
	rtt      time.Duration
	last     error                         // of the last poll
	gen      *api.GenerationStatusResponse // the last one

	err error // why the wait has ended

	// Of the last poll.
	polled struct {
		gen   *api.GenerationStatusResponse
		err   error
		pause time.Duration // until the next
	}
}

// newWait returns a wait that resumes from progress at now, without a deadline.
func (p *Poller) newWait(ctx context.Context, progress Progress, now time.Time) (*wait, error) {
	c, err := p.policy()
	if err == nil {
		progress, err = progress.check(now)
	}
	return &wait{Poller: p, policy: c, ctx: ctx, progress: progress}, err
}

// startWait starts a wait.
func (p *Poller) startWait(ctx context.Context, progress Progress) (*wait, error) {
	now := time.Now()
	w, err := p.newWait(ctx, progress, now)
	if err != nil {
		return nil, err
	}
	w.deadline = p.deadline(ctx, now, progress.Export)
	pause, cause := w.firstPause(w.progress, p.FirstPoll, w.remaining(now), p.status.Stretched(1, w.interval), now)
	w.due, w.err = now.Add(pause), cause
	w.progress = w.resume(w.progress)
	return w, nil
}

// next waits until the next poll is due, and sends it. It returns false after the last.
func (w *wait) next() bool {
	if cause := w.await(); cause != nil {
		w.err = w.waitError(cause)
		w.polled.gen, w.polled.err, w.polled.pause = nil, nil, 0
		return false
	}
	return w.send(w.ctx)
}

// await waits until the next poll may be sent. It returns nil when the rate limit has
// counted that poll, else why the wait ends.
func (w *wait) await() error {
	if w.err != nil {
		return w.err
	}
	retry.Sleep(w.ctx, time.Until(w.due))
	defer w.status.Leave(&w.ticket) // unless it is admitted
	for tried := false; ; {
		now := time.Now()
		remaining := w.remaining(now)
		err := w.ctx.Err()
		switch {
		case err != nil && (!errors.Is(err, context.DeadlineExceeded) || remaining > 0):
			return retry.Canceled(w.ctx)
		case remaining <= 0 && (tried || !w.due.Before(w.deadline)):
			return w.expired(tried, time.Millisecond)
		}
		// The deadline may have passed, as after SIGSTOP; there is still one last poll.
		last := remaining != retry.Never && remaining <= w.margin(w.rtt)
		pause, why := w.status.Admit(&w.ticket, now, last)
		if pause <= 0 {
			return nil
		}
		if why != nil && pause > remaining && !w.keepWaiting {
			w.last = why
			return pauseError(why)
		}
		tried = tried || last
		if !last && remaining != retry.Never {
			pause = min(pause, remaining-w.margin(w.rtt))
		}
		ratelimit.Sleep(w.ctx, min(pause, max(remaining, time.Millisecond)), &w.ticket)
	}
}

// expired returns the cause for a wait whose deadline has passed. held reports whether the
// rate limit did not allow its last poll. It waits up to patience for the timer of the
// context, whose cause it returns.
func (w *wait) expired(held bool, patience time.Duration) error {
	err := context.DeadlineExceeded
	if d, ok := w.ctx.Deadline(); ok && !time.Now().Before(d) {
		retry.Sleep(w.ctx, patience)
	}
	if w.ctx.Err() != nil {
		err = retry.Canceled(w.ctx)
	}
	if held {
		err = pauseError(err)
	}
	return err
}

// remaining returns the time from now until the deadline.
func (w *wait) remaining(now time.Time) time.Duration {
	if w.deadline.IsZero() {
		return retry.Never
	}
	return w.deadline.Sub(now)
}

// send sends a poll that the rate limit has counted.
func (w *wait) send(ctx context.Context) bool {
	remaining := w.remaining(time.Now())
	if remaining == retry.Never {
		return w.poll(ctx)
	}
	timeout := remaining
	if remaining <= 0 { // the process was suspended past the deadline
		timeout = min(w.interval, overdueTimeout)
		if d, ok := ctx.Deadline(); ok && !time.Now().Before(d) { // it is done, or about to be
			ctx = context.WithoutCancel(ctx)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return w.poll(ctx)
}

// event returns the last poll as an Event.
func (w *wait) event() Event {
	return Event{Progress: w.progress, Generation: w.polled.gen, Err: w.polled.err, Next: w.polled.pause}
}

// poll sends one request and decides what follows. It sets polled and err. If another poll
// follows, it sets due and returns true.
func (w *wait) poll(ctx context.Context) bool {
	w.progress.Polls++
	start := time.Now()
	r, overspent, until := w.exchange(ctx)
	now := time.Now()
	remaining, margin := w.remaining(now), w.margin(w.rtt)
	d := decision{verdict: ended}
	cut := r.err != nil && ctx.Err() != nil
	if !cut || r.status != 0 { // a status may have come before the rest was cut off
		at := situation{now: now, remaining: remaining - margin, until: until, overspent: overspent, random: rand.Float64()}
		at.reached = w.reached.Load() || w.progress.Status != ""
		if r.kind == good && !at.reached {
			w.reached.Store(true)
		}
		w.progress, d = w.decide(w.progress, r, at)
		w.last = r.err
	}
	missed := cut && start.Before(w.deadline) && remaining < -minMargin // by SIGSTOP
	switch {
	case missed:
		d = decision{verdict: again}
	case cut:
		d = decision{verdict: ended, cause: w.expired(false, time.Millisecond)}
	}
	if r.gen != nil {
		w.gen = r.gen
	}
	w.polled.gen, w.polled.err, w.polled.pause = r.gen, r.err, d.pause
	switch d.verdict {
	case again:
		w.due = now.Add(retry.UntilNext(d.pause, remaining, margin))
		if missed {
			w.due = start
		}
		w.polled.pause = max(w.progress.NextPoll.Sub(now), 1) // 0 would say that there is none
	case failed:
		w.err = newFailedError(w.progress, r.gen)
	case ended:
		w.err = w.waitError(d.cause)
	case completed:
	}
	if w.OnPoll != nil {
		w.OnPoll(w.event())
	}
	return d.verdict == again
}

// waitError returns the error of a wait that ended because of cause.
func (w *wait) waitError(cause error) *WaitError {
	if until := w.status.Until(); until.After(w.progress.NextPoll) {
		w.progress.NextPoll = utc(until)
	}
	return &WaitError{Progress: w.progress, Cause: cause, Last: w.last}
}

// exchange sends one request, and reports the response to the rate limit.
func (w *wait) exchange(ctx context.Context) (r response, overspent bool, until time.Time) {
	sent := time.Now()
	defer func() { // also when the client panics
		w.rtt = retry.RTT(w.rtt, time.Since(sent))
		overspent, until = w.status.End(ratelimit.Response{
			Status:     r.status,
			RetryAfter: r.retryAfter,
			Limits:     r.limits,
			Sent:       sent,
			Err:        r.err,
			Good:       r.kind == good && r.gen != nil,
			Failed:     r.kind == transient && (r.status != 0 || ctx.Err() == nil),
		})
	}()
	r = get(w.status.Counted(ctx), w.client, w.progress.ID)
	r.kind = classify(r.err)
	return r, false, time.Time{}
}

// get sends one request. It returns the generation only if the response is about id and has
// a status.
func get(ctx context.Context, client Client, id string) (r response) {
	rsp, err := client.GetGenerationStatusWithResponse(ctx, id)
	var apiErr *gamma.APIError
	var rateLimit gamma.RateLimit
	switch {
	case errors.As(err, &apiErr):
		r.status, rateLimit = apiErr.StatusCode, apiErr.RateLimit
		r.retryAfter = min(max(apiErr.RetryAfter, 0), apiruntime.MaxRetryAfter) // a stub may set anything
	case rsp != nil && rsp.HTTPResponse != nil:
		h := rsp.HTTPResponse
		r.status, rateLimit, r.retryAfter = h.StatusCode, gamma.RateLimitOf(h.Header), apiruntime.RetryAfter(h.Header, time.Now())
		if err == nil && r.status/100 != 2 { // a client that gamma.NewClient did not make
			err = &gamma.APIError{Operation: operation, StatusCode: r.status, Message: http.StatusText(r.status), RetryAfter: r.retryAfter, RateLimit: rateLimit}
		}
	}
	r.err, r.limits = err, limits(rateLimit)
	switch {
	case err != nil:
	case rsp == nil:
		r.err = errors.New("gamma: the client returned neither a response nor an error")
	case rsp.JSON200 == nil:
		r.err = gamma.ErrUnexpectedResponse
	case rsp.JSON200.GenerationID != id:
		r.err = fmt.Errorf("%w: the response is about another generation", gamma.ErrUnexpectedResponse)
	case rsp.JSON200.Status == "":
		r.err = fmt.Errorf("%w: the response has no status", gamma.ErrUnexpectedResponse)
	default:
		r.gen, r.status = rsp.JSON200, max(r.status, http.StatusOK)
	}
	return r
}

// limits converts the rate limit of a response. A window that is zero comes from a stub that
// does not set it.
func limits(l gamma.RateLimit) (limits ratelimit.Limits) {
	for i, w := range [...]gamma.Window{l.Burst, l.Hour, l.Day} {
		if limits[i] = ratelimit.Window(w); w == (gamma.Window{}) {
			limits[i] = ratelimit.Window{Limit: -1, Remaining: -1, Reset: -1}
		}
	}
	return limits
}
