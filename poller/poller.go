// Package poller waits until Gamma has finished a generation.
//
//	gen, err := poller.New(client).Wait(ctx, id)
//
// [Poller.Wait] blocks until the generation has finished. [Poller.WaitExport] also waits for
// its export. [Poller.Watch] yields every poll. [Poller.Check] polls once, for a program with
// its own scheduler. [Poller.All] waits for many generations without a goroutine for each.
//
// # Policy
//
// The pause between two polls is the Interval. Up to a fifth of it, at most a minute, is
// added at random, as to every pause. The response to a poll decides what follows:
//
//   - Pending, or a status that the OpenAPI document does not list: poll again. An unlisted
//     status with an error object means that the generation failed.
//   - Completed: the wait ends. If an export was requested and is missing, poll for up to
//     three more minutes.
//   - Failed: the wait ends.
//   - 429: poll again after Retry-After, or without it after 6, 12, then 24 intervals. This
//     is not a failure.
//   - Retry-After with any other status: poll no earlier.
//   - No response, a timeout, 408, 425, 5xx except 501, 505 and 511, or a body that is not
//     the documented JSON about this generation: a failure. Poll again after 1, 2, 4, then
//     6 intervals, until the deadline; see MaxFailures. A client has a budget of 100 such
//     retries, and ten good responses add one; without it, each comes after 6 intervals.
//   - Unknown host, or invalid certificate: a failure if the Poller had a good response
//     before. Otherwise the wait ends.
//   - 404: the second in a row ends the wait.
//   - Any other status, such as 401 or a redirect, a body above the size limit, a proxy that
//     refuses to connect: the wait ends, unless KeepWaiting is set.
//
// The last poll is sent just before the deadline. If the process was suspended past the
// deadline, as by SIGSTOP, the wait polls once more. A canceled wait ends at once, but returns
// a finished generation whose response has arrived.
//
// # Rate limits
//
// All Pollers of a [gamma.Client] share its rate limit, which it learns from the responses
// to all of its requests. The requests that remain in the hour and in the day are spread
// over the time until the window resets. Those above half of the hour's limit and four
// fifths of the day's may be used within a minute. Polls in excess of that are delayed.
// While polls are delayed, or All has more waits than the limit lasts for, a new wait is
// first polled after four intervals, 20 seconds or a quarter of its time, whichever is
// shortest, because few generations finish sooner.
//
// A 429 halves the rate of requests, which then increases slowly, if the headers report
// remaining requests or are missing. It does not if no request was accepted before and it has
// a Retry-After, or if that is longer than a minute and the server sends the headers. After
// a 429 to a poll, no poll is sent until its Retry-After has passed. The last poll before a
// deadline is not spread. A wait that may not poll before its deadline ends with [ErrPause].
//
// # Resuming
//
// An Event, a Result and a WaitError have a [Progress], with which this process or another
// can resume the wait. Nothing is sent before its NextPoll, and the backoff continues.
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

// operation is the operation that a Poller calls.
const operation = "GET /v1.0/generations/{id}"

// Client is the method of [gamma.Client] that a Poller calls. A test can use a stub.
type Client interface {
	GetGenerationStatusWithResponse(ctx context.Context, id string, reqEditors ...api.RequestEditorFn) (*api.GetGenerationStatusHTTPResponse, error)
}

// Poller waits for generations. Create one with [New], and set its fields before the first
// call. After that it is safe for concurrent use; it must not be copied. A negative setting
// is an error, except for Timeout.
type Poller struct {
	// Interval is the pause between two polls. 0 means 5 seconds; the maximum is 24 hours.
	Interval time.Duration

	// Timeout limits a wait, as does the context's deadline, whichever is earlier. 0 means
	// the context's deadline or, if it has none, 5 minutes, and 8 minutes for a wait with
	// Export. A negative Timeout means no limit. Check has no timeout.
	Timeout time.Duration

	// MaxFailures is the number of failures in a row that ends a wait. A resumed wait
	// counts from 0 again. 0 means no limit: failed polls are retried until the deadline.
	MaxFailures int

	// KeepWaiting retries a poll whose error would end a wait otherwise, such as a 401, after
	// the longest pause. The wait then ends only with the generation, with a second 404 in a
	// row, with ErrNoExport or ErrDropped, at the deadline, or when the context is done.
	// MaxFailures is not used.
	KeepWaiting bool

	// FirstPoll is the time from the start of a new wait to its first poll. 0 means at
	// once, if the rate limit allows it. Few generations finish within 20 seconds, so 20
	// seconds save about three requests each. Check and a resumed wait do not use it.
	FirstPoll time.Duration

	// MaxInFlight is the maximum number of requests that a call of All has in flight. 0
	// means 128; the maximum is 65536.
	MaxInFlight int

	// MaxWaiting is the maximum number of generations that a call of All waits for at once.
	// It pulls the next job when a wait ends. 0 means no limit.
	MaxWaiting int

	// OnPoll, if not nil, is called after every poll, before the pause, in the goroutine
	// that polls: the caller's, except for All. Concurrent waits call it concurrently.
	OnPoll func(Event)

	client  Client
	status  *ratelimit.Operation // polls, in the rate limit of the client
	reached atomic.Bool          // there was a good response
	running sync.Map             // the *scheduler of each running call of All
}

// New returns a Poller with the default settings.
func New(client Client) *Poller {
	b := ratelimit.Of(client)
	if b == nil {
		b = new(ratelimit.Budget)
	}
	return &Poller{client: client, status: b.Operation(operation)}
}

// Wait polls until the generation id has finished. It returns the generation and a nil
// error if it completed, the generation and a [*FailedError] if it failed, and the last
// response, or nil, and a [*WaitError] if the wait ended first. Invalid input is another
// error, returned before any request is sent. A completed generation always has a
// GenerationID and a Status; other fields may be missing.
func (p *Poller) Wait(ctx context.Context, id string) (*api.GenerationStatusResponse, error) {
	return p.waitFor(ctx, Progress{ID: id})
}

// WaitExport is Wait for a generation that was created with ExportAs. It also waits for the
// ExportURL, which comes up to two minutes after the rest. If that is missing after three
// minutes, it returns the generation and a [*WaitError] whose Cause is [ErrNoExport].
func (p *Poller) WaitExport(ctx context.Context, id string) (*api.GenerationStatusResponse, error) {
	return p.waitFor(ctx, Progress{ID: id, Export: true})
}

func (p *Poller) waitFor(ctx context.Context, progress Progress) (*api.GenerationStatusResponse, error) {
	w, err := p.startWait(ctx, progress)
	if err != nil {
		return nil, err
	}
	for w.next() {
	}
	return w.gen, w.err
}

// Watch waits as Wait does, and yields every poll. It resumes from progress, with a new
// Timeout. Until the wait ends the error is nil, also for a poll that failed: see
// [Event.Err]. The last pair has the results of Wait; if its error is a [*WaitError], there
// may be no poll for it. Breaking out of the loop ends the wait.
func (p *Poller) Watch(ctx context.Context, progress Progress) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		w, err := p.startWait(ctx, progress)
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

// Check polls once, updates progress and never sleeps. If the generation has not finished,
// it returns the pause until the next Check, which is also in progress.NextPoll, and a nil
// error, also after a failed poll that is to be retried. Before NextPoll, and while the rate
// limit does not allow a request, it sends nothing and returns the remaining pause. At the
// end the pause is 0 and the other results are those of Wait. Concurrent calls must not
// share a progress.
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
