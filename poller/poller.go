// Package poller waits until Gamma has finished a generation.
//
//	client, err := gamma.NewClient(key)
//	...
//	gen, err := poller.New(client).Wait(ctx, id)
//
// # Ways to wait
//
// [Poller.Wait] blocks until the generation is finished. [Poller.Watch] does the
// same and hands out every poll, for a program that shows progress or that keeps
// a [Progress] to carry on from after a crash. [Poller.Check] polls once and never
// sleeps, for a program with a scheduler of its own. [Poller.All] waits for any
// number of generations at once. All of them follow one policy and share what a
// Poller learns about the rate limit, so use one Poller for all waits with one key.
//
// # Policy
//
// The first poll is sent at once, so that a wrong key or id fails within a round
// trip. After that a poll follows every Interval, 5 seconds as Gamma's
// documentation asks, stretched by up to a fifth at random.
//
//   - A rate-limit window with less than 1 % left: at least three intervals, after
//     any answer but 429.
//   - Retry-After, on any status: at least that long. If it would leave too little
//     time for another answer, going by how long this one took, the wait ends at
//     once.
//   - 429: Retry-After, or 6, 12, then 24 intervals. It never counts as a
//     failure. No wait on the Poller polls until then.
//   - Network errors, requests that time out, 408, 425, 5xx other than 501, 505
//     and 511, and answers that are not the documented JSON or are about another
//     generation: again after 1, 2, 4, then 6 intervals. MaxFailures of them in a
//     row end the wait. So that its clients do not make an outage worse, a Poller
//     has a budget of 100 such polls, and gets one back for every ten good answers;
//     once it is spent, each comes after 6 intervals.
//   - 404: believed when it comes twice in a row.
//   - Any other status, redirects included; a certificate that does not verify; a
//     host that does not exist; an answer above the size limit: the wait ends at
//     once.
//   - A status that the document does not list: still pending, or failed when an
//     error object comes with it.
//   - The deadline: one last poll just before it.
//   - Cancellation: at once, also in the middle of a request. A finished answer
//     that has arrived is returned all the same, and a status whose body has not
//     counts: a 429 still holds the other waits back.
//
// # Errors
//
// A [*FailedError] means that the generation failed. A [*WaitError] means that
// only the wait ended; it carries the Progress to resume from. Bad input (an
// invalid id, a negative setting) is another error, given before
// any request is sent.
package poller

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/retry"
	"github.com/gamma-sdk/gamma-go/internal/wire"
)

const (
	defaultInterval    = 5 * time.Second
	maxInterval        = 24 * time.Hour // keeps every multiple of it in range
	defaultTimeout     = 5 * time.Minute
	defaultMaxFailures = 5

	// defaultTrip stands for the first round trip, which opens the connection.
	defaultTrip = 500 * time.Millisecond
)

// Client is the one generated method that a Poller needs. A client of
// [gamma.NewClient] has it; so has a stub in a test.
type Client interface {
	GetGenerationStatusWithResponse(ctx context.Context, id string, reqEditors ...api.RequestEditorFn) (*api.GetGenerationStatusHTTPResponse, error)
}

// Poller waits for generations. Make one with [New] and set its fields before
// the first call; after that it is safe for concurrent use, and must not be
// copied. Only All starts goroutines.
type Poller struct {
	// Interval is the pause between two polls. 0 means 5 seconds; more
	// than 24 hours counts as 24 hours; a negative Interval is an error.
	Interval time.Duration

	// Timeout bounds one call of Wait or Watch, together with the context's
	// deadline: the earlier one counts. 0 means the context's deadline, or 5
	// minutes if it has none. A negative Timeout means no bound but the
	// context's. Check has no timeout.
	Timeout time.Duration

	// MaxFailures is the number of failures in a row that ends a wait. 0 means
	// 5; a negative MaxFailures is an error.
	MaxFailures int

	// FirstPoll is how long after the start of a new wait its first poll is sent,
	// for generations that have just been created: Gamma finishes hardly any within
	// 20 seconds, so that 20 seconds save three polls of each and lose nothing. 0
	// means at once; a negative FirstPoll is an error. Check, and a wait that is
	// resumed after its first poll, do not use it.
	FirstPoll time.Duration

	// MaxInFlight bounds the requests that one call of All has under way at once.
	// 0 means 128; more than 65536 counts as 65536; a negative MaxInFlight is an error.
	MaxInFlight int

	// MaxWaiting bounds the generations that one call of All waits for at once. It
	// pulls the next id when one of them is finished. 0 means no bound; a negative
	// MaxWaiting is an error.
	MaxWaiting int

	// OnPoll, if not nil, is called after every poll, before the pause, in the
	// goroutine that polls: the caller's, but for All. Concurrent waits call it
	// concurrently.
	OnPoll func(Event)

	client Client
	gate   gate
}

// New returns a Poller with the default settings.
func New(client Client) *Poller { return &Poller{client: client} }

// Wait polls until the generation id is finished. It returns the generation and
// nil when it completed, the generation and a [*FailedError] when it failed, and
// the last answer, or nil, and a [*WaitError] when the wait ended first.
//
// Of a completed generation only GenerationID and Status are certain. GammaURL
// and ExportURL may be empty: the document does not promise them, and an export
// is there only if it was asked for when the generation was created.
func (p *Poller) Wait(ctx context.Context, id string) (*api.GenerationStatusResponse, error) {
	var last *api.GenerationStatusResponse
	var err error
	for ev, end := range p.Watch(ctx, Progress{ID: id}) {
		if ev.Generation != nil {
			last = ev.Generation
		}
		err = end
	}
	return last, err
}

// Watch waits as Wait does, and yields every poll. It goes on from progress, so
// a saved Progress keeps its counters; the Timeout starts anew. While the wait
// goes on the error is nil, also for a poll that failed: see [Event.Err]. The last
// pair has the finished generation and a nil error or a [*FailedError], or it has
// a [*WaitError]; the latter may come without a poll of its own. Breaking out of
// the loop ends the wait and leaves nothing behind.
func (p *Poller) Watch(ctx context.Context, progress Progress) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		w, err := p.begin(ctx, progress)
		if err != nil {
			yield(Event{Progress: progress}, err)
			return
		}
		w.run(yield)
	}
}

// Check polls once, updates progress and never sleeps. While the generation is
// not finished it returns how long to wait before the next Check, and a nil
// error, also when the poll failed in a way that may pass; progress.Failures and
// OnPoll tell. Otherwise the pause is 0 and the rest is as for Wait. When the
// Poller has been told to hold back (see the package comment on 429), Check
// returns the pause without sending a request. A progress must not be checked
// twice at the same time; a nil one is an error.
func (p *Poller) Check(ctx context.Context, progress *Progress) (*api.GenerationStatusResponse, time.Duration, error) {
	if progress == nil {
		return nil, 0, errors.New("gamma: Check: nil Progress")
	}
	w, err := p.begin(ctx, *progress)
	if err != nil {
		return nil, 0, err
	}
	defer func() { *progress = w.progress }()
	if ctx.Err() != nil {
		return nil, 0, w.end(retry.Canceled(ctx))
	}
	if hold, _ := p.gate.hold(time.Now(), time.Time{}, w.policy.interval, noDeadline, rand.Float64()); hold > 0 {
		return nil, hold, nil
	}
	w.counted = p.gate.begin()
	ev, _, err := w.poll(ctx, noDeadline)
	return ev.Generation, ev.Next, err
}

// wait is one wait under way.
type wait struct {
	*Poller
	policy   policy
	progress Progress
	parent   context.Context // the caller's
	last     error           // of the last poll, nil when it was good
	trip     time.Duration   // how long the last poll took, or the first may take
	counted  bool            // the gate counts the request in flight
	deadline time.Time       // of run, the zero time for none
}

// begin checks the settings and progress, and fills in the defaults.
func (p *Poller) begin(ctx context.Context, progress Progress) (*wait, error) {
	policy, err := p.settings()
	if err == nil {
		err = progress.validate()
	}
	if err != nil {
		return nil, err
	}
	if progress.Since.IsZero() {
		progress.Since = wallClock(time.Now())
	}
	return &wait{Poller: p, policy: policy, progress: progress, parent: ctx, trip: defaultTrip}, nil
}

// wallClock is t without the monotonic clock, which does not survive JSON.
func wallClock(t time.Time) time.Time { return t.UTC().Round(0) }

// settings checks the fields of p, and fills in the defaults.
func (p *Poller) settings() (policy, error) {
	c := policy{interval: min(p.Interval, maxInterval), maxFailures: p.MaxFailures, jitter: 5}
	why := ""
	switch {
	case p.Interval < 0:
		why = "negative Interval"
	case p.MaxFailures < 0:
		why = "negative MaxFailures"
	case p.FirstPoll < 0:
		why = "negative FirstPoll"
	case p.MaxInFlight < 0:
		why = "negative MaxInFlight"
	case p.MaxWaiting < 0:
		why = "negative MaxWaiting"
	}
	if why != "" {
		return c, errors.New("gamma: the Poller has a " + why)
	}
	if c.interval == 0 {
		c.interval = defaultInterval
	}
	if c.maxFailures == 0 {
		c.maxFailures = defaultMaxFailures
	}
	return c, nil
}

// run polls until the end, or until yield returns false.
func (w *wait) run(yield func(Event, error) bool) {
	ctx := w.parent
	if timeout := w.timeout(ctx); timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	w.deadline, _ = ctx.Deadline()
	var polled time.Time
	if w.progress.Polls == 0 {
		// Since may be another host's time, which is ahead of ours.
		retry.Sleep(ctx, min(time.Until(w.progress.Since.Add(w.FirstPoll)), w.FirstPoll, w.left()-w.lead()))
	}
	for {
		room := w.left() - w.lead()
		hold, why := w.gate.hold(time.Now(), polled, w.policy.interval, room, rand.Float64())
		if why == nil {
			hold = min(hold, room) // but not past the last poll
		}
		switch {
		case ctx.Err() != nil:
			yield(Event{Progress: w.progress}, w.end(w.cause(ctx)))
			return
		case hold > w.left():
			w.last = why
			yield(Event{Progress: w.progress}, w.end(context.DeadlineExceeded))
			return
		case hold > 0:
			retry.Sleep(ctx, hold)
			continue // it may have become longer meanwhile
		}
		polled = time.Now()
		w.counted = w.gate.begin()
		ev, over, err := w.poll(ctx, w.left())
		if !yield(ev, err) || over {
			return
		}
		if pause := w.untilNext(ev.Next, w.left()); pause < w.left() {
			retry.Sleep(ctx, pause)
		} else {
			<-ctx.Done() // no deadline is claimed that has not come
		}
	}
}

// left is the time until the deadline of run.
func (w *wait) left() time.Duration {
	if w.deadline.IsZero() {
		return noDeadline
	}
	return time.Until(w.deadline)
}

// untilNext is pause, or the time until the last poll where that comes first, or
// left where there is no time for another.
func (w *wait) untilNext(pause, left time.Duration) time.Duration {
	room := left - w.lead()
	if left == noDeadline || pause <= room {
		return pause
	}
	if room < w.lead() {
		return left
	}
	return room
}

// lead is how long before the deadline the last poll starts: long enough for its
// answer, going by the poll before.
func (w *wait) lead() time.Duration {
	return min(max(2*w.trip, 10*time.Millisecond), w.policy.interval)
}

// timeout is how long a wait with the caller's context ctx may take; 0 is as long
// as the context lets it.
func (p *Poller) timeout(ctx context.Context) time.Duration {
	if _, ok := ctx.Deadline(); p.Timeout == 0 && !ok {
		return defaultTimeout
	}
	return max(p.Timeout, 0)
}

// poll sends one request, which the gate has counted, and decides on its answer.
// over says that it was the last.
func (w *wait) poll(ctx context.Context, left time.Duration) (ev Event, over bool, err error) {
	if left <= 0 {
		// The deadline has come, and the context is about to tell.
		<-ctx.Done()
		w.gate.end(time.Now(), 0, answer{}, w.counted)
		return Event{Progress: w.progress}, true, w.end(w.cause(ctx))
	}
	w.progress.Polls++
	gen, a := w.ask(ctx)
	if left != noDeadline {
		left -= w.trip + w.lead()
	}
	var d decision
	stopped := a.err != nil && ctx.Err() != nil
	if !stopped || a.answered { // a status may have come before the rest was cut off
		a.overspent = w.gate.overspent(classify(a))
		w.progress, d = w.policy.decide(w.progress, a, left, rand.Float64())
		w.last = a.err
		w.gate.shut(time.Now(), d.closed, a.err)
	}
	if stopped {
		d = decision{verdict: ended, cause: w.cause(ctx)}
	}
	ev = Event{Progress: w.progress, Generation: gen, Err: a.err, Next: d.pause}
	switch d.verdict {
	case failed:
		err = newFailedError(w.progress, gen)
	case ended:
		err = w.end(d.cause)
	}
	if w.OnPoll != nil {
		w.OnPoll(ev)
	}
	return ev, d.verdict != again, err
}

// cause is why ctx, which is done, ended the wait.
func (w *wait) cause(ctx context.Context) error {
	if w.parent.Err() != nil {
		return retry.Canceled(w.parent)
	}
	return ctx.Err()
}

func (w *wait) end(cause error) *WaitError {
	return &WaitError{Progress: w.progress, Cause: cause, Last: w.last}
}

// ask sends one request and tells the gate of the answer.
func (w *wait) ask(ctx context.Context) (gen *api.GenerationStatusResponse, a answer) {
	start := time.Now()
	defer func() { // also when the client panics
		w.trip = time.Since(start)
		w.gate.end(start.Add(w.trip), w.trip, a, w.counted)
	}()
	return ask(ctx, w.client, w.progress.ID)
}

// ask sends one request and reads the answer as the policy needs it. It returns
// the generation only when the answer is about id and has a status.
func ask(ctx context.Context, client Client, id string) (*api.GenerationStatusResponse, answer) {
	rsp, err := client.GetGenerationStatusWithResponse(ctx, id)
	a := answer{err: err}
	var apiErr *gamma.APIError
	if errors.As(err, &apiErr) {
		a.retryAfter = min(max(apiErr.RetryAfter, 0), wire.MaxRetryAfter) // a stub may set anything
		a.limits(apiErr.RateLimit, apiErr.StatusCode)
	}
	if rsp == nil {
		if err == nil {
			a.err = errors.New("gamma: the client returned neither an answer nor an error")
		}
		return nil, a
	}
	if h := rsp.HTTPResponse; h != nil {
		limits := gamma.RateLimitOf(h.Header)
		a.limits(limits, h.StatusCode)
		a.retryAfter = wire.RetryAfter(h.Header, time.Now())
		if a.err == nil && h.StatusCode/100 != 2 {
			// Only a client that gamma.NewClient did not make gets here.
			a.err = &gamma.APIError{
				Operation:  "GET /v1.0/generations/{id}",
				StatusCode: h.StatusCode,
				Message:    http.StatusText(h.StatusCode),
				RetryAfter: a.retryAfter,
				RateLimit:  limits,
			}
		}
	}
	if a.err != nil {
		return nil, a
	}
	gen := rsp.JSON200
	switch {
	case gen == nil:
		a.err = gamma.ErrUnexpectedResponse
	case gen.GenerationID != id:
		a.err = fmt.Errorf("%w: the answer is about another generation", gamma.ErrUnexpectedResponse)
	case gen.Status == "":
		a.err = fmt.Errorf("%w: the answer has no status", gamma.ErrUnexpectedResponse)
	default:
		a.status, a.hasError = string(gen.Status), gen.Error != nil
		return gen, a
	}
	return nil, a
}
