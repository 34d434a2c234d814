// Package poller waits until Gamma has finished a generation.
//
//	gen, err := poller.New(client).Wait(ctx, id)
//
// [Poller.Wait] blocks until the generation has finished, [Poller.WaitExport] until its
// export is there, too. [Poller.Watch] also yields every poll. [Poller.Check] polls once,
// for a program with its own scheduler. [Poller.All] waits for many generations without
// a goroutine for each.
//
// # Policy
//
// A poll follows another after the Interval plus up to a fifth at random. What its
// response means:
//
//   - Pending, or a status that the OpenAPI document does not list: poll again. With an
//     error object, an unlisted status is a failure of the generation.
//   - Completed: the end. If an export was asked for and is not there, poll for three
//     minutes more.
//   - 429: poll again after Retry-After, or after 6, 12, then 24 intervals. It is no failure.
//   - Retry-After with any other status: poll no sooner.
//   - No response, a timeout, 408, 425, 5xx except 501, 505 and 511, or a body that is not
//     the documented JSON about this generation: a failure. Poll again after 1, 2, 4, then
//     6 intervals, until the deadline; see MaxFailures. A client may retry 100 times so
//     early, and ten good responses earn one more; otherwise it takes 6 intervals.
//   - No such host, or a certificate that does not verify: such a failure if the Poller
//     has had a good response before. Otherwise the wait ends.
//   - 404: the wait ends at the second in a row.
//   - Any other status, such as 401 or a redirect, a body above the size limit, a proxy that
//     refuses to connect: the wait ends. KeepWaiting changes that.
//
// The last poll is sent just before the deadline. A wait that was suspended past it, as by
// SIGSTOP, polls once more. A canceled wait ends at once, but returns a finished
// generation whose response has arrived.
//
// # Rate limits
//
// All Pollers of a [gamma.Client] share what it learns from the responses to all of its
// requests. What remains of the hour and of the day is spread until the window resets, so
// that it lasts; what exceeds half of the hour and four fifths of the day may be
// used within a minute. If more polls are due than that allows, they come later. While
// that is so, or All has more waits than the limit lasts for, a new wait is first polled
// after four intervals, 20 seconds or a quarter of its time, the shortest: few generations
// finish sooner. A 429 that no header explains halves the rate of requests, which then
// grows slowly. After a 429 to a poll, none is sent before its Retry-After has passed. The
// last poll before a deadline need not keep the pace. A wait that may not poll before its
// deadline ends with [ErrPause].
//
// # Resuming
//
// The [Progress] of an Event, a Result or a WaitError resumes the wait in this process or
// another. Nothing is sent before its NextPoll, and the backoff continues.
package poller

import (
	"context"
	"errors"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/ratelimit"
	"github.com/gamma-sdk/gamma-go/internal/retry"
)

// operation names what a Poller sends.
const operation = "GET /v1.0/generations/{id}"

// Client is the one generated method that a Poller needs. A [gamma.Client] has it; so has
// a stub in a test.
type Client interface {
	GetGenerationStatusWithResponse(ctx context.Context, id string, reqEditors ...api.RequestEditorFn) (*api.GetGenerationStatusHTTPResponse, error)
}

// Poller waits for generations. Make one with [New] and set its fields before the first
// call; after that it is safe for concurrent use, and must not be copied. A negative
// setting is an error, except for Timeout.
type Poller struct {
	// Interval is the pause between two polls: 0 means 5 seconds, at most 24 hours.
	Interval time.Duration

	// Timeout bounds a wait, together with the context's deadline: the earlier one
	// counts. 0 means the context's deadline, or 5 minutes if it has none, and 8 for a
	// wait with Export. A negative Timeout means no bound. Check has no timeout.
	Timeout time.Duration

	// MaxFailures is the number of failures in a row that ends a wait; a resumed wait
	// starts to count again. 0 means that an outage is waited out until the deadline.
	MaxFailures int

	// KeepWaiting lets nothing end a wait except the generation's end, a second 404 in a
	// row, and the deadline or the context. What would end it otherwise, such as 401, is
	// tried again after the longest pause. MaxFailures is not used.
	KeepWaiting bool

	// FirstPoll is how long after the start of a new wait its first poll is sent. Few
	// generations finish within 20 seconds, so 20 seconds save about three requests each.
	// 0 means at once, if the rate limit allows it. Check and a resumed wait do not use it.
	FirstPoll time.Duration

	// MaxInFlight bounds the requests that one call of All has in flight: 0 means 128, at
	// most 65536.
	MaxInFlight int

	// MaxWaiting bounds the generations that one call of All waits for at once; it pulls
	// the next job when one has finished. 0 means no bound.
	MaxWaiting int

	// OnPoll, if not nil, is called after every poll, before the pause, in the goroutine
	// that polls: the caller's, except for All. Concurrent waits call it concurrently.
	OnPoll func(Event)

	client  Client
	status  *ratelimit.Operation // of the client's rate limit
	reached atomic.Bool          // there was a good response
	running sync.Map             // of *scheduler
}

// New returns a Poller with the default settings.
func New(client Client) *Poller {
	b := ratelimit.Of(client)
	if b == nil {
		b = new(ratelimit.Budget)
	}
	return &Poller{client: client, status: b.Operation(operation)}
}

// Wait polls until the generation id has finished. It returns the generation and nil if
// it completed, the generation and a [*FailedError] if it failed, and the last response,
// or nil, and a [*WaitError] if the wait ended first. Bad input is another error, given
// before any request is sent. Of a completed generation only GenerationID and Status are
// certain.
func (p *Poller) Wait(ctx context.Context, id string) (*api.GenerationStatusResponse, error) {
	return p.waitFor(ctx, Progress{ID: id})
}

// WaitExport is Wait for a generation that was created with ExportAs: it also waits for
// the ExportURL, which comes up to two minutes after the rest. If it is not there after
// three, the generation is returned with a [*WaitError] whose cause is [ErrNoExport].
func (p *Poller) WaitExport(ctx context.Context, id string) (*api.GenerationStatusResponse, error) {
	return p.waitFor(ctx, Progress{ID: id, Export: true})
}

func (p *Poller) waitFor(ctx context.Context, progress Progress) (*api.GenerationStatusResponse, error) {
	w, err := p.begin(ctx, progress)
	if err != nil {
		return nil, err
	}
	for w.next() {
	}
	return w.gen, w.err
}

// Watch waits as Wait does, and yields every poll. It resumes from progress; the Timeout
// starts again. While the wait lasts the error is nil, also for a poll that failed: see
// [Event.Err]. The last pair has what Wait would return; that of a [*WaitError] may come
// without a poll. Breaking out of the loop ends the wait.
func (p *Poller) Watch(ctx context.Context, progress Progress) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		w, err := p.begin(ctx, progress)
		if err != nil {
			yield(Event{Progress: progress}, err)
			return
		}
		for more := true; more; {
			more = w.next()
			if !yield(w.event(), w.err) {
				return
			}
		}
	}
}

// Check polls once, updates progress and never sleeps. While the generation has not
// finished it returns the pause until the next Check, which progress.NextPoll has too, and
// a nil error, also if the poll failed in a way that may pass. Before NextPoll, and while
// the rate limit does not allow a request, it sends nothing and returns the remaining
// pause. At the end the pause is 0 and the rest is as for Wait. A progress must not be
// checked twice at the same time.
func (p *Poller) Check(ctx context.Context, progress *Progress) (*api.GenerationStatusResponse, time.Duration, error) {
	if progress == nil {
		return nil, 0, errors.New("gamma: Check: nil Progress")
	}
	now := time.Now()
	w, err := p.newWait(ctx, *progress, now)
	if err != nil {
		return nil, 0, err
	}
	defer func() { *progress = w.progress }()
	if ctx.Err() != nil {
		return nil, 0, w.waitError(retry.Canceled(ctx))
	}
	pause := w.progress.NextPoll.Sub(now)
	if pause <= 0 {
		first := time.Duration(0)
		if w.progress.NextPoll.IsZero() {
			first, _ = w.firstPause(w.progress, 0, retry.Never, true, now)
		}
		pause = p.status.Try(progress.ID, now, w.interval, first)
	}
	if pause > 0 {
		w.progress.NextPoll = utc(now.Add(pause))
		return nil, pause, nil
	}
	w.poll(ctx)
	return w.polled.gen, w.polled.pause, w.err
}
