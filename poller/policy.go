package poller

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/internal/retry"
)

// answer is what one poll gave, whatever kind of job it asked about.
type answer struct {
	status     string        // as the server wrote it; not read when err is set
	hasError   bool          // an error object came with the status
	err        error         // why there is no usable status
	retryAfter time.Duration // of any answer
	overspent  bool          // it failed, and the Poller has no retry budget left

	// For the gate, not for the verdict on this answer, except that it is slower
	// to follow when low.
	answered  bool  // an answer came, whatever its status
	limited   bool  // it was 429
	low       bool  // less than 1 % of a rate-limit window is left
	remaining int64 // requests left in the tightest window; -1 when not known
}

// verdict is what a wait does after an answer.
type verdict int

const (
	again     verdict = iota // poll once more after the pause
	completed                // the job is done
	failed                   // the job is done for
	ended                    // only the wait is over
)

// decision is the verdict on one answer, and what follows from it.
type decision struct {
	verdict verdict
	pause   time.Duration // again: until the next poll, jitter included
	closed  time.Duration // how long no wait on the Poller may poll
	cause   error         // ended: why
}

// policy holds the settings that decisions depend on.
type policy struct {
	interval    time.Duration
	maxFailures int
	jitter      time.Duration // the part of a pause that it is stretched by, as 5 for a fifth
}

// lowFactor is how many intervals a pause has at least while the budget is nearly
// spent.
const lowFactor = 3

// maxBackoff is the most intervals that a failed poll waits for its repetition.
const maxBackoff = 6

// noDeadline is the time left of a wait without a deadline.
const noDeadline = time.Duration(1<<63 - 1)

// decide is the whole policy: what an answer means to a wait that is at p, with
// left until its deadline. It returns p with its counters moved on. random, in
// [0, 1), is the jitter. Nothing else goes in and nothing is done.
func (c policy) decide(p Progress, a answer, left time.Duration, random float64) (Progress, decision) {
	kind := classify(a)
	if kind != rateLimited {
		p.RateLimited = 0
		p.NotFound = p.NotFound && kind == notFound
	}
	// A pause that the server asked for must not be cut short by the deadline.
	var pause, asked time.Duration
	switch kind {
	case good:
		p.Failures = 0
		switch p.Status = status(a.status); {
		case p.Status == statusCompleted:
			return p, decision{verdict: completed}
		case p.Status == statusFailed, p.Status != statusPending && a.hasError:
			return p, decision{verdict: failed}
		}
		pause, asked = max(c.interval, a.retryAfter), a.retryAfter
	case rateLimited:
		p.RateLimited++
		if asked = a.retryAfter; asked == 0 {
			asked = c.interval * time.Duration(6<<min(p.RateLimited-1, 2)) // 6, 12, 24
		}
		pause = asked
	case notFound:
		if p.NotFound {
			return p, decision{verdict: ended, cause: a.err}
		}
		p.NotFound = true
		pause, asked = max(c.interval, a.retryAfter), a.retryAfter
	case transient:
		p.Failures++
		if p.Failures >= c.maxFailures {
			return p, decision{verdict: ended, cause: a.err}
		}
		pause = c.interval * maxBackoff
		if !a.overspent {
			pause = min(c.interval<<min(p.Failures-1, 3), pause) // 1, 2, 4, 6
		}
		pause, asked = max(pause, a.retryAfter), a.retryAfter
	case final:
		return p, decision{verdict: ended, cause: a.err}
	}
	if a.low && kind != rateLimited { // which says itself when to come back
		pause = max(pause, lowFactor*c.interval)
	}
	d := decision{verdict: again, pause: pause + retry.Jitter(pause/c.jitter, random)}
	if asked > 0 && asked > left {
		d = decision{verdict: ended, cause: context.DeadlineExceeded}
	}
	if kind == rateLimited {
		d.closed = pause
	}
	return p, d
}

// limits notes what the headers of an answer say.
func (a *answer) limits(l gamma.RateLimit, status int) {
	a.answered, a.limited = true, status == http.StatusTooManyRequests
	a.low = low(l.Burst) || low(l.Hour) || low(l.Day)
	a.remaining = -1
	for _, w := range [...]gamma.Window{l.Burst, l.Hour, l.Day} {
		if w == (gamma.Window{}) {
			continue // not said, by a stub that made the error itself
		}
		if w.Remaining >= 0 && (a.remaining < 0 || w.Remaining < a.remaining) {
			a.remaining = w.Remaining
		}
	}
}

// low reports whether less than 1 % of w is left. It is false for a window whose limit
// or remainder is not known.
func low(w gamma.Window) bool {
	return w.Limit > 0 && w.Remaining >= 0 && w.Remaining <= (w.Limit-1)/100
}

// kind sorts answers by what can be done about them.
type kind int

const (
	good        kind = iota
	rateLimited      // the server is busy with us
	notFound         // perhaps not yet
	transient        // perhaps better next time
	final            // the same next time
)

func classify(a answer) kind {
	if a.err == nil {
		return good
	}
	var apiErr *gamma.APIError
	switch {
	case errors.As(a.err, &apiErr):
		return classifyStatus(apiErr.StatusCode)
	case errors.Is(a.err, gamma.ErrResponseTooLarge), retry.Permanent(a.err):
		return final
	}
	return transient
}

func classifyStatus(code int) kind {
	switch {
	case code == http.StatusTooManyRequests:
		return rateLimited
	case code == http.StatusNotFound:
		return notFound
	case retry.TransientStatus(code):
		return transient
	}
	return final
}
