package poller

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/retry"
	"github.com/gamma-sdk/gamma-go/internal/wire"
)

type status = api.GenerationStatus

const (
	statusPending   = api.GenerationStatusPending
	statusCompleted = api.GenerationStatusCompleted
	statusFailed    = api.GenerationStatusFailed
)

// Progress is how far a wait has come: plain data that a program may keep as
// JSON and hand to [Poller.Watch] or [Poller.Check] later, in this process or in
// another, to go on where it stopped. A new wait needs only the ID.
type Progress struct {
	// ID is the generation's id: 1 to 256 characters of A-Z a-z 0-9 - . _ ~,
	// not only dots.
	ID string `json:"id"`

	// Since is when the waiting began, in UTC. The zero time means now.
	Since time.Time `json:"since,omitzero"`

	// Polls counts the requests. net/http repeats one by itself when a connection
	// that it kept open turns out to be closed, so a server may count more.
	Polls int `json:"polls,omitempty"`

	// Status is the last status that the server gave, as it gave it: it may be
	// one that this version of the SDK does not know. It is empty before the
	// first.
	Status api.GenerationStatus `json:"status,omitempty"`

	// Failures counts the polls in a row that failed in a way that may pass. An
	// answer with a status resets it; 429 and a first 404 leave it alone.
	Failures int `json:"failures,omitempty"`

	// RateLimited counts the answers 429 in a row.
	RateLimited int `json:"rateLimited,omitempty"`

	// NotFound says that the last answer, but for 429, was 404. A second one
	// in a row is believed.
	NotFound bool `json:"notFound,omitempty"`
}

// maxCount is more than a wait can count, and leaves room to count on.
const maxCount = 1 << 30

func (p Progress) validate() error {
	if err := wire.CheckPathParam("the generation id", p.ID); err != nil {
		return err
	}
	for _, counter := range [...]int{p.Polls, p.Failures, p.RateLimited} {
		if counter < 0 || counter > maxCount {
			return errors.New("gamma: the Progress is not valid: a counter is out of range")
		}
	}
	return nil
}

// Event is one poll.
type Event struct {
	// Progress is how far the wait has come, this poll included.
	Progress

	// Generation is the server's answer, nil when the poll gave none.
	Generation *api.GenerationStatusResponse

	// Err is why the poll gave no usable answer, nil when it gave one. The wait
	// may go on all the same.
	Err error

	// Next is the pause until the next poll, 0 when there is none. The poll comes
	// later when another wait on the Poller meets a 429 or a budget nearly spent
	// meanwhile, and earlier when the deadline comes first.
	Next time.Duration
}

// FailedError says that the generation failed: waiting longer or again does not
// help. Whether its credits come back is not documented; Generation.Credits says
// what was deducted, where the server says it.
type FailedError struct {
	Progress

	// Message is the server's reason, made printable and cut to about 512 bytes. It is
	// empty when the server gave none.
	Message string

	// StatusCode is the status that the server gives with the reason, as in 422;
	// 0 when it gives none.
	StatusCode int

	// Generation is the whole answer. It is never nil.
	Generation *api.GenerationStatusResponse
}

func newFailedError(p Progress, gen *api.GenerationStatusResponse) *FailedError {
	e := &FailedError{Progress: p, Generation: gen}
	if gen.Error != nil {
		e.Message = wire.Printable(gen.Error.Message)
		if code := gen.Error.StatusCode; code >= 100 && code < 1000 {
			e.StatusCode = int(code)
		}
	}
	return e
}

// Error returns one printable line.
func (e *FailedError) Error() string {
	s := "gamma: generation " + e.ID + " failed"
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.StatusCode != 0 {
		s += fmt.Sprintf(" (%d", e.StatusCode)
		if text := http.StatusText(e.StatusCode); text != "" {
			s += " " + text
		}
		s += ")"
	}
	return s
}

// WaitError says that only the wait ended. The generation may still finish, and
// its result is not lost: hand Progress to [Poller.Watch] or [Poller.Check] to
// go on. It keeps its Failures, so after MaxFailures of them pause first.
type WaitError struct {
	Progress

	// Cause is why the wait ended: [context.DeadlineExceeded], the error and the
	// [context.Cause] of a context that was canceled, or the poll's error that
	// nothing can be done about, often a [*gamma.APIError]. It is never nil.
	Cause error

	// Last is the error of the last poll that failed since a good answer, nil
	// when there is none.
	Last error
}

// Error returns one printable line.
func (e *WaitError) Error() string {
	s := fmt.Sprintf("gamma: stopped waiting for generation %s after %d polls: %s", e.ID, e.Polls, retry.Inner(e.Cause))
	if e.Last != nil && !errors.Is(e.Cause, e.Last) {
		s += "; last error: " + retry.Inner(e.Last)
	}
	return s
}

// Unwrap returns Cause and Last, for [errors.Is] and [errors.As].
func (e *WaitError) Unwrap() []error {
	if e.Last == nil {
		return []error{e.Cause}
	}
	return []error{e.Cause, e.Last}
}
