package poller

import (
	"errors"
	"time"

	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/apiruntime"
)

// Progress is the state of a wait. A program may save it as JSON, and pass it to
// [Poller.Watch], [Poller.Check] or [Poller.All] later, in this process or another, to
// resume the wait. A new wait needs only the ID.
type Progress struct {
	ID          string               `json:"id"`                    // 1 to 256 characters of A-Z a-z 0-9 - . _ ~, not only dots
	Export      bool                 `json:"export,omitempty"`      // an export was requested: wait for its URL, too, for up to three minutes
	Since       time.Time            `json:"since,omitzero"`        // start of the wait, in UTC; zero means now
	NextPoll    time.Time            `json:"nextPoll,omitzero"`     // time of the next poll, in UTC; zero means now; at most 24 hours ahead
	Polls       int                  `json:"polls,omitempty"`       // number of polls
	Status      api.GenerationStatus `json:"status,omitempty"`      // the last status from the server, documented or not
	Completed   time.Time            `json:"completed,omitzero"`    // when it was first seen completed without its export, in UTC; zero if it was not
	Failures    int                  `json:"failures,omitempty"`    // failures in a row; a good response resets it, 429 and a first 404 do not
	RateLimited int                  `json:"rateLimited,omitempty"` // 429 responses in a row
	NotFound    bool                 `json:"notFound,omitempty"`    // the last response, ignoring 429s, was a 404
}

// maxCount is more than a wait can count, so that counters do not overflow.
const maxCount = 1 << 30

// check validates p and sets missing fields as of now.
func (p Progress) check(now time.Time) (Progress, error) {
	if err := apiruntime.CheckPathParam("the generation id", p.ID); err != nil {
		return p, err
	}
	for _, counter := range [...]int{p.Polls, p.Failures, p.RateLimited} {
		if counter < 0 || counter > maxCount {
			return p, errors.New("gamma: the Progress is invalid: a counter is out of range")
		}
	}
	if p.Since.IsZero() {
		p.Since = now
	}
	p.Since, p.Completed = clamp(p.Since, now), clamp(p.Completed, now)
	if latest := now.Add(maxInterval); p.NextPoll.After(latest) {
		p.NextPoll = utc(latest)
	}
	return p, nil
}

// clamp returns t in UTC, limited to the time from 1970 to now, because the clock of
// another machine may be wrong. It returns the zero time unchanged.
func clamp(t, now time.Time) time.Time {
	switch epoch := time.Unix(1, 0); { // in a job of All 0 means the zero time
	case t.IsZero():
		return t
	case t.Before(epoch):
		return utc(epoch)
	case t.After(now):
		return utc(now)
	}
	return utc(t)
}

// Event reports one poll.
type Event struct {
	Progress                                 // includes this poll
	Generation *api.GenerationStatusResponse // nil if the poll failed
	Err        error                         // why the poll failed; the wait may continue

	// Next is the pause until the next poll, 0 if there is none. The poll comes later if
	// the rate limit requires it then, and earlier if the deadline comes first.
	Next time.Duration
}

// Result is the result of one wait of [Poller.All].
type Result struct {
	// Progress is the final state. Its ID is empty only if Err is not about one generation:
	// bad settings, or a context that was done before all jobs were pulled.
	Progress

	// Generation is the last response, nil if there was none. Unless the generation has
	// finished, it may have only the id and the status.
	Generation *api.GenerationStatusResponse

	// Err is what [Poller.Wait] would return, or the error of an invalid Progress.
	Err error
}
