package poller_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/poller"
)

// A WaitError matches only its Cause: the error of a canceled wait does not match
// ErrNotFound because of an earlier 404.
func TestWaitErrorMatchesItsCauseAlone(t *testing.T) {
	for way, resume := range resumptions {
		synctest.Test(t, func(t *testing.T) {
			p, _ := newPoller(t, reply(404, ""), hangs)
			p.Timeout = -1
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			time.AfterFunc(7*s, cancel)
			r := resume(ctx, p, poller.Progress{ID: "gen1"})
			var ended *poller.WaitError
			if !errors.As(r.Err, &ended) || !errors.Is(r.Err, context.Canceled) || errors.Is(r.Err, gamma.ErrNotFound) || errors.Unwrap(ended) != ended.Cause || (ended.Last == nil) != (way == "Check") {
				t.Errorf("%s: %v", way, r.Err)
			}
		})
	}
	last := &gamma.APIError{StatusCode: 404}
	err := &poller.WaitError{Cause: context.Canceled, Last: last}
	if errors.Is(err, gamma.ErrNotFound) || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestWaitErrorText(t *testing.T) {
	api := &gamma.APIError{Operation: "GET /x", StatusCode: 503, Message: "busy"}
	for _, tt := range []struct {
		name string
		err  *poller.WaitError
		want string
	}{
		{"no poll", &poller.WaitError{Progress: poller.Progress{ID: "gen1"}, Cause: context.Canceled}, "gamma: stopped waiting for generation gen1 after 0 polls: context canceled"},
		{"one poll", &poller.WaitError{Progress: poller.Progress{ID: "gen1", Polls: 1}, Cause: poller.ErrDropped}, "gamma: stopped waiting for generation gen1 after 1 poll: the wait was dropped"},
		{"the last error is the cause", &poller.WaitError{Progress: poller.Progress{ID: "gen1", Polls: 2}, Cause: api, Last: api}, "gamma: stopped waiting for generation gen1 after 2 polls: GET /x: 503 Service Unavailable: busy"},
		{"another last error", &poller.WaitError{Progress: poller.Progress{ID: "gen1", Polls: 2}, Cause: context.DeadlineExceeded, Last: api}, "gamma: stopped waiting for generation gen1 after 2 polls: context deadline exceeded; last error: GET /x: 503 Service Unavailable: busy"},
		{"a cause of two lines", &poller.WaitError{Progress: poller.Progress{ID: "gen1", Polls: 2}, Cause: errors.New("a\nb")}, `gamma: stopped waiting for generation gen1 after 2 polls: a\nb`},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}

func TestFailedErrorText(t *testing.T) {
	for _, tt := range []struct {
		err  *poller.FailedError
		want string
	}{
		{&poller.FailedError{Progress: poller.Progress{ID: "gen1"}}, "gamma: generation gen1 failed"},
		{&poller.FailedError{Progress: poller.Progress{ID: "gen1"}, Message: "no luck", StatusCode: 422}, "gamma: generation gen1 failed: no luck (422 Unprocessable Entity)"},
		{&poller.FailedError{Progress: poller.Progress{ID: "gen1"}, StatusCode: 799}, "gamma: generation gen1 failed (799)"},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("%s, want %s", got, tt.want)
		}
	}
}
