package poller

import (
	"errors"
	"time"

	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/apiruntime"
)

// Progress is the state of a wait: plain data that a program may keep as JSON and pass
// to [Poller.Watch], [Poller.Check] or [Poller.All] later, in this process or another,
// to resume it. A new wait needs only the ID.
type Progress struct {
	ID          string               `json:"id"`                    // 1 to 256 characters of A-Z a-z 0-9 - . _ ~, not only dots
	Export      bool                 `json:"export,omitempty"`      // an export was asked for: wait for its URL, too, at most three minutes
	Since       time.Time            `json:"since,omitzero"`        // start of the wait, in UTC; zero means now
	NextPoll    time.Time            `json:"nextPoll,omitzero"`     // nothing is sent before, in UTC; zero means at once, at most 24 hours ahead
	Polls       int                  `json:"polls,omitempty"`       // requests
	Status      api.GenerationStatus `json:"status,omitempty"`      // the last from the server, perhaps one that is not documented
	Completed   time.Time            `json:"completed,omitzero"`    // when it was first seen completed without the export; zero if it was not
	Failures    int                  `json:"failures,omitempty"`    // in a row; a response with a status resets it, 429 and a first 404 do not
	RateLimited int                  `json:"rateLimited,omitempty"` // responses 429 in a row
	NotFound    bool                 `json:"notFound,omitempty"`    // the last response, ignoring 429s, was a 404
}

// maxCount is more than a wait can count, and leaves capacity to count on.
const maxCount = 1 << 30

// check validates p, and fills in what is missing at now.
func (p Progress) check(now time.Time) (Progress, error) {
	if err := apiruntime.CheckPathParam("the generation id", p.ID); err != nil {
		return p, err
	}
	for _, counter := range [...]int{p.Polls, p.Failures, p.RateLimited} {
		if counter < 0 || counter > maxCount {
			return p, errors.New("gamma: the Progress is not valid: a counter is out of range")
		}
	}
	if p.Since.IsZero() {
		p.Since = now
	}
	p.Since, p.Completed = clamp(p.Since, now), clamp(p.Completed, now)
	if most := now.Add(maxInterval); p.NextPoll.After(most) {
		p.NextPoll = utc(most)
	}
	return p, nil
}

// clamp returns t in UTC, the zero time as it is, and no other before 1970 or after now:
// another machine's clock may be ahead.
func clamp(t, now time.Time) time.Time {
	switch epoch := time.Unix(1, 0); { // 0 is no time in a job of All
	case t.IsZero():
		return t
	case t.Before(epoch):
		return utc(epoch)
	case t.After(now):
		return utc(now)
	}
	return utc(t)
}

// Event is one poll.
type Event struct {
	Progress                                 // this poll included
	Generation *api.GenerationStatusResponse // nil if the poll failed
	Err        error                         // why it failed; the wait may continue all the same

	// Next is the pause until the next poll, 0 if there is none. The poll comes later when
	// the rate limit asks for it meanwhile, and earlier when the deadline comes first.
	Next time.Duration
}

// Result is how one wait of [Poller.All] ended.
type Result struct {
	// Progress is the final state. Its ID is empty only if Err is not about one generation:
	// bad settings, or a context that ended before all jobs were known.
	Progress

	// Generation is the last response, nil if there was none. Unless the generation has
	// finished it may be no more than the id and the status.
	Generation *api.GenerationStatusResponse

	// Err is what [Poller.Wait] would return, or the error of an invalid Progress.
	Err error
}
