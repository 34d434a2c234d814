package poller

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/ratelimit"
	"github.com/gamma-sdk/gamma-go/internal/retry"
)

const (
	defaultInterval = 5 * time.Second
	maxInterval     = 24 * time.Hour // so that multiples do not overflow
	defaultTimeout  = 5 * time.Minute

	// maxBackoff is the longest pause after a failure, in intervals.
	maxBackoff = 6

	// exportPatience is how long a completed generation is polled for its export.
	// Users of the API report 30 to 120 seconds.
	exportPatience = 3 * time.Minute

	// maxFirstDelay is the longest delay of the first poll of a new wait while the rate
	// limit delays polls. Few generations finish sooner.
	maxFirstDelay = 20 * time.Second

	// overdueTimeout is the timeout of the last poll of a wait that was suspended past its
	// deadline.
	overdueTimeout = 30 * time.Second

	// minMargin is the smallest margin. It is longer than most round trips.
	minMargin = 500 * time.Millisecond
)

// policy has the settings of a Poller that decisions depend on, with defaults.
type policy struct {
	interval    time.Duration
	maxFailures int // 0 for no limit
	keepWaiting bool
	jitter      float64 // the maximum that is added to a pause, as a part of it
}

// policy validates the fields of p, and applies the defaults.
func (p *Poller) policy() (policy, error) {
	c := policy{interval: min(p.Interval, maxInterval), maxFailures: p.MaxFailures, keepWaiting: p.KeepWaiting, jitter: 0.2}
	for _, setting := range [...]struct {
		name  string
		value int64
	}{
		{"Interval", int64(p.Interval)}, {"MaxFailures", int64(p.MaxFailures)}, {"FirstPoll", int64(p.FirstPoll)},
		{"MaxInFlight", int64(p.MaxInFlight)}, {"MaxWaiting", int64(p.MaxWaiting)},
	} {
		if setting.value < 0 {
			return c, errors.New("gamma: the Poller has a negative " + setting.name)
		}
	}
	if c.interval == 0 {
		c.interval = defaultInterval
	}
	if c.maxFailures > maxCount/1000 { // no wait has as many, and it must divide some valid counts
		c.maxFailures = 0
	}
	return c, nil
}

// deadline returns the deadline of a wait with ctx whose Timeout counts from start, the
// zero time for none.
func (p *Poller) deadline(ctx context.Context, start time.Time, export bool) time.Time {
	deadline, ok := ctx.Deadline()
	timeout := p.Timeout
	if timeout == 0 && !ok {
		if timeout = defaultTimeout; export {
			timeout += exportPatience
		}
	}
	if d := start.Add(timeout); timeout > 0 && (!ok || d.Before(deadline)) {
		return d
	}
	return deadline
}

// response is the outcome of one poll.
type response struct {
	gen        *api.GenerationStatusResponse // nil if err is not
	err        error
	kind       kind
	retryAfter time.Duration
	status     int // 0 if there was no response
	limits     ratelimit.Limits
}

// kind is the kind of a response, by what the policy does about it.
type kind int

const (
	good      kind = iota
	limited        // 429
	notFound       // 404
	transient      // a retry may succeed
	unknown        // unknown host or invalid certificate
	final          // a retry would fail, too
)

func classify(err error) kind {
	var apiErr *gamma.APIError
	switch {
	case err == nil:
		return good
	case errors.As(err, &apiErr):
		switch code := apiErr.StatusCode; {
		case code == http.StatusTooManyRequests:
			return limited
		case code == http.StatusNotFound:
			return notFound
		case !retry.TransientStatus(code):
			return final
		}
	case retry.Unknown(err):
		return unknown
	case errors.Is(err, gamma.ErrResponseTooLarge), retry.Permanent(err):
		return final
	}
	return transient
}

// situation is what a decision depends on, in addition to the response.
type situation struct {
	now       time.Time
	remaining time.Duration // until the last poll before the deadline
	until     time.Time     // no poll is allowed before, because of a 429
	overspent bool          // the retry budget is spent
	reached   bool          // the server has given a good response before
	random    float64       // the jitter, in [0, 1)
}

// verdict is what a wait does after a response.
type verdict int

const (
	again     verdict = iota // poll once more after the pause
	completed                // the generation has completed
	failed                   // the generation has failed
	ended                    // only the wait is over
)

// decision is what follows from a response.
type decision struct {
	verdict verdict
	pause   time.Duration // again: until the next poll, jitter included
	cause   error         // ended: why
}

// decide is the policy: it returns what follows from response r for a wait with progress p,
// and p with its counters and NextPoll updated. It has no other effect.
func (c policy) decide(p Progress, r response, at situation) (Progress, decision) {
	kind, pause := r.kind, c.interval
	if kind == unknown {
		if kind = final; at.reached {
			kind = transient
		}
	}
	if kind == final && c.keepWaiting {
		kind = transient
		at.overspent = true // the longest pause
	}
	if kind != limited {
		p.RateLimited = 0
		p.NotFound = p.NotFound && kind == notFound
	}
	d := decision{}
	switch kind {
	case good:
		p.Failures = 0
		d = c.decideStatus(&p, r.gen, at.now)
	case limited:
		pause = c.interval * time.Duration(6<<min(p.RateLimited, 2)) // 6, 12, 24
		if r.retryAfter > 0 {
			pause = r.retryAfter
		}
		p.RateLimited++
	case notFound:
		if p.NotFound {
			d = decision{verdict: ended, cause: r.err}
		}
		p.NotFound = true
	case transient:
		if pause *= maxBackoff; !at.overspent {
			pause = min(c.interval<<min(p.Failures, 3), pause) // 1, 2, 4, 6
		}
		p.Failures++
		if c.maxFailures > 0 && !c.keepWaiting && p.Failures%c.maxFailures == 0 {
			d = decision{verdict: ended, cause: r.err}
		}
	default:
		pause *= maxBackoff
		d = decision{verdict: ended, cause: r.err}
	}
	if d.verdict == completed || d.verdict == failed {
		p.NextPoll = time.Time{}
		return p, d
	}
	pause = max(pause, r.retryAfter)
	d.pause = pause + retry.Jitter(time.Duration(c.jitter*float64(pause)), at.random)
	p.NextPoll = utc(at.now.Add(d.pause))
	if at.until.After(p.NextPoll) {
		p.NextPoll = utc(at.until)
	}
	// The last poll before the deadline must not come before Retry-After has passed.
	if r.retryAfter > max(at.remaining, 0) && d.verdict == again {
		if d.pause = retry.Never; !c.keepWaiting {
			d = decision{verdict: ended, cause: pauseError(r.err)}
		}
	}
	if d.verdict == ended {
		d.pause = 0
	}
	return p, d
}

// decideStatus decides on a good response.
func (c policy) decideStatus(p *Progress, gen *api.GenerationStatusResponse, now time.Time) decision {
	switch p.Status = gen.Status; {
	case p.Status == api.GenerationStatusFailed, p.Status != api.GenerationStatusPending && p.Status != api.GenerationStatusCompleted && gen.Error != nil:
		return decision{verdict: failed}
	case p.Status != api.GenerationStatusCompleted:
		p.Completed = time.Time{}
		return decision{}
	case !p.Export || gen.ExportURL != "":
		return decision{verdict: completed}
	}
	if p.Completed.IsZero() || p.Completed.After(now) {
		p.Completed = utc(now)
	}
	if now.Sub(p.Completed) >= exportPatience {
		return decision{verdict: ended, cause: ErrNoExport}
	}
	return decision{}
}

// resume returns p for a wait that starts: earlier failures count for the backoff, but not
// for MaxFailures.
func (c policy) resume(p Progress) Progress {
	if n := c.maxFailures; n > 0 {
		p.Failures = (p.Failures + n - 1) / n * n
	}
	return p
}

// firstPause returns the pause before the first poll of a wait that starts at now, or why
// there is none. stretched reports whether the rate limit delays polls.
func (c policy) firstPause(p Progress, firstPoll, remaining time.Duration, stretched bool, now time.Time) (time.Duration, error) {
	pause, last := time.Duration(0), remaining
	if remaining != retry.Never {
		last -= c.margin(0)
	}
	switch {
	case !p.NextPoll.IsZero():
		if pause = p.NextPoll.Sub(now); pause > 0 && pause > last {
			if pause = remaining; !c.keepWaiting || remaining <= 0 {
				return 0, ErrPause
			}
		}
	case p.Polls == 0:
		if stretched {
			firstPoll = max(firstPoll, min(4*c.interval, maxFirstDelay, last/4))
		}
		pause = min(p.Since.Add(firstPoll).Sub(now), last)
	}
	return max(pause, 0), nil
}

// margin returns how long before the deadline the last poll starts: at least twice rtt, the
// longest round trip so far, 0 if there was none.
func (c policy) margin(rtt time.Duration) time.Duration {
	if rtt == 0 {
		rtt = minMargin
	}
	return min(max(2*rtt, minMargin), c.interval)
}

// utc returns t without its monotonic clock reading, which JSON does not have.
func utc(t time.Time) time.Time { return t.UTC().Round(0) }
