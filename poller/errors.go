package poller

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/apiruntime"
	"github.com/gamma-sdk/gamma-go/internal/retry"
)

// Causes of a [WaitError]; use [errors.Is].
var (
	// ErrPause means that Retry-After or the rate limit allows no poll before the deadline.
	// Resume after NextPoll.
	ErrPause = errors.New("gamma: no poll may be sent before the deadline")

	// ErrNoExport means that the generation had no export three minutes after it completed.
	// The generation is returned, too. Resume to poll again.
	ErrNoExport = errors.New("gamma: the generation has completed, but has no export")

	// ErrDropped means that [Poller.Drop] ended the wait.
	ErrDropped = errors.New("gamma: the wait was dropped")
)

// pauseError returns an error that matches ErrPause and err, which may be nil.
func pauseError(err error) error {
	if err == nil {
		return ErrPause
	}
	return &explainedError{err}
}

// explainedError is ErrPause and the reason for it.
type explainedError struct{ why error }

func (e *explainedError) Error() string   { return ErrPause.Error() + ": " + retry.Inner(e.why) }
func (e *explainedError) Unwrap() []error { return []error{ErrPause, e.why} }

// FailedError reports that the generation failed. Waiting longer does not help. Gamma does
// not document whether credits are refunded; Generation.Credits has what was deducted, if
// the server reports it.
type FailedError struct {
	Progress
	Message    string                        // the server's reason, escaped and cut to about 512 bytes; empty if it gave none
	StatusCode int                           // the status code of the reason, such as 422; 0 if there is none
	Generation *api.GenerationStatusResponse // the whole response; never nil
}

func newFailedError(p Progress, gen *api.GenerationStatusResponse) *FailedError {
	e := &FailedError{Progress: p, Generation: gen}
	if gen.Error != nil {
		e.Message = apiruntime.Printable(gen.Error.Message)
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

// WaitError reports that a wait ended before its generation did. The generation may still
// finish. To resume the wait after NextPoll, pass Progress to [Poller.Watch], [Poller.Check]
// or [Poller.All].
type WaitError struct {
	Progress

	// Cause is why the wait ended: [context.DeadlineExceeded], the error and the
	// [context.Cause] of a context that is done, [ErrPause], [ErrNoExport], [ErrDropped],
	// or the error of a poll that is not retried, often a [*gamma.APIError]. It is never
	// nil.
	Cause error

	// Last is the error of the last poll. It is nil if that succeeded or there was none.
	Last error
}

// Error returns one printable line.
func (e *WaitError) Error() string {
	polls := "polls"
	if e.Polls == 1 {
		polls = "poll"
	}
	s := fmt.Sprintf("gamma: stopped waiting for generation %s after %d %s: %s", e.ID, e.Polls, polls, retry.Inner(e.Cause))
	if e.Last != nil && !errors.Is(e.Cause, e.Last) {
		s += "; last error: " + retry.Inner(e.Last)
	}
	return s
}

// Unwrap returns Cause.
func (e *WaitError) Unwrap() error { return e.Cause }
