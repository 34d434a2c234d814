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
	// ErrPause: Retry-After or the rate limit allows no poll before the deadline. Resume
	// after NextPoll.
	ErrPause = errors.New("gamma: no poll may be sent before the deadline")

	// ErrNoExport: three minutes after the generation completed it still had no export.
	// It is returned too. Resume to ask again.
	ErrNoExport = errors.New("gamma: the generation has completed, but has no export")

	// ErrDropped: [Poller.Drop] ended the wait.
	ErrDropped = errors.New("gamma: the wait was dropped")
)

// pauseError returns ErrPause because of err, which may be nil.
func pauseError(err error) error {
	if err == nil {
		return ErrPause
	}
	return &explainedError{err}
}

// explainedError is ErrPause and what it is because of.
type explainedError struct{ why error }

func (e *explainedError) Error() string   { return ErrPause.Error() + ": " + retry.Inner(e.why) }
func (e *explainedError) Unwrap() []error { return []error{ErrPause, e.why} }

// FailedError reports that the generation failed: waiting longer does not help. Whether
// its credits come back is not documented; Generation.Credits has what was deducted,
// if the server says so.
type FailedError struct {
	Progress
	Message    string                        // the server's reason, escaped and cut to about 512 bytes; empty if it gave none
	StatusCode int                           // that comes with the reason, such as 422; 0 if none does
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

// WaitError reports that only the wait ended. The generation may still finish, and its
// result is not lost: pass Progress to [Poller.Watch], [Poller.Check] or [Poller.All] to
// resume, after NextPoll.
type WaitError struct {
	Progress

	// Cause is why the wait ended: [context.DeadlineExceeded], the error and the
	// [context.Cause] of a context that has ended, [ErrPause], [ErrNoExport],
	// [ErrDropped], or the error of a poll that cannot succeed later, often a
	// [*gamma.APIError]. It is never nil.
	Cause error

	// Last is the error of the last poll, nil if that succeeded or there was none.
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
