package poller

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/ratelimit"
	"github.com/gamma-sdk/gamma-go/internal/retry"
)

// The rows follow the policy in the package comment.
func TestDecide(t *testing.T) {
	const (
		s     = time.Second
		Never = retry.Never
	)
	start := time.Date(2026, 4, 24, 12, 0, 0, 0, time.UTC)
	code := func(status int) response { return response{err: &gamma.APIError{StatusCode: status}} }
	gen := func(status string) response {
		return response{gen: &api.GenerationStatusResponse{Status: api.GenerationStatus(status)}}
	}
	broken := func(status string) response {
		r := gen(status)
		r.gen.Error = new(api.ErrorResponse)
		return r
	}
	export := gen("completed")
	export.gen.ExportURL = "x"
	asks := func(r response, d time.Duration) response { r.retryAfter = d; return r }
	network := response{err: fmt.Errorf("read: %w", io.ErrUnexpectedEOF)}
	five := policy{interval: defaultInterval, jitter: 0.2, maxFailures: 5}
	patient := policy{interval: defaultInterval, jitter: 0.2, maxFailures: 5, keepWaiting: true}
	tests := []struct {
		name      string
		policy    policy // the default one if it is zero
		progress  Progress
		response  response
		remaining time.Duration // 0 for no deadline
		until     time.Duration // how long a 429 to another wait forbids polls
		overspent bool
		reached   bool
		random    float64
		want      verdict
		pause     time.Duration
		next      time.Duration // until NextPoll; 0 for the pause, 30 s if the wait ended
		after     Progress      // without NextPoll
		cause     error
	}{
		{name: "pending", response: gen("pending"), pause: 5 * s, after: Progress{Status: "pending"}},
		{name: "pending, most jitter", response: gen("pending"), random: 0.5, pause: 5*s + s/2, after: Progress{Status: "pending"}},
		{name: "completed", response: gen("completed"), want: completed, after: Progress{Status: "completed"}},
		{name: "completed beside an error", response: broken("completed"), want: completed, after: Progress{Status: "completed"}},
		{name: "completed at the deadline", response: gen("completed"), remaining: -s, want: completed, after: Progress{Status: "completed"}},
		{name: "failed", response: broken("failed"), want: failed, after: Progress{Status: "failed"}},
		{name: "failed without an error", response: gen("failed"), want: failed, after: Progress{Status: "failed"}},
		{name: "unknown status", response: gen("rendering"), pause: 5 * s, after: Progress{Status: "rendering"}},
		{name: "unknown status with an error", response: broken("exploded"), want: failed, after: Progress{Status: "exploded"}},
		{name: "pending beside an error", response: broken("pending"), pause: 5 * s, after: Progress{Status: "pending"}},
		{name: "completed, then pending", progress: Progress{Status: "completed", Completed: start}, response: gen("pending"), pause: 5 * s, after: Progress{Status: "pending"}},
		{name: "a good response resets every count", progress: Progress{Failures: 4, RateLimited: 2, NotFound: true}, response: gen("pending"), pause: 5 * s, after: Progress{Status: "pending"}},

		{name: "Retry-After on success", response: asks(gen("pending"), 9*s), pause: 9 * s, after: Progress{Status: "pending"}},
		{name: "Retry-After shorter than the interval", response: asks(gen("pending"), s), pause: 5 * s, after: Progress{Status: "pending"}},
		{name: "Retry-After on success beyond the deadline", response: asks(gen("pending"), 9*s), remaining: 8 * s, want: ended, next: 9 * s, cause: ErrPause, after: Progress{Status: "pending"}},
		{name: "pause beyond the deadline", response: gen("pending"), remaining: s, pause: 5 * s, after: Progress{Status: "pending"}},
		{name: "no time remaining", response: gen("pending"), remaining: -s, pause: 5 * s, after: Progress{Status: "pending"}},

		{name: "429 with Retry-After", response: asks(code(429), 7*s), pause: 7 * s, after: Progress{RateLimited: 1}},
		{name: "429 with Retry-After, most jitter", response: asks(code(429), 10*s), random: 0.5, pause: 11 * s, after: Progress{RateLimited: 1}},
		{name: "429 with a day, jitter of a minute", response: asks(code(429), 24*time.Hour), random: 0.5, pause: 24*time.Hour + 30*s, after: Progress{RateLimited: 1}},
		{name: "first 429", response: code(429), pause: 30 * s, after: Progress{RateLimited: 1}},
		{name: "second 429", progress: Progress{RateLimited: 1}, response: code(429), pause: 60 * s, after: Progress{RateLimited: 2}},
		{name: "third 429", progress: Progress{RateLimited: 2}, response: code(429), pause: 120 * s, after: Progress{RateLimited: 3}},
		{name: "hundredth 429", progress: Progress{RateLimited: 99}, response: code(429), pause: 120 * s, after: Progress{RateLimited: 100}},
		{name: "429 does not change the failures", progress: Progress{Failures: 4, NotFound: true}, response: code(429), pause: 30 * s, after: Progress{Failures: 4, NotFound: true, RateLimited: 1}},
		{name: "429 beyond the deadline", response: asks(code(429), 7*s), remaining: 6 * s, want: ended, next: 7 * s, cause: ErrPause, after: Progress{RateLimited: 1}},

		{name: "network error", response: network, pause: 5 * s, after: Progress{Failures: 1}},
		{name: "second failure", progress: Progress{Failures: 1}, response: network, pause: 10 * s, after: Progress{Failures: 2}},
		{name: "third failure", progress: Progress{Failures: 2}, response: network, pause: 20 * s, after: Progress{Failures: 3}},
		{name: "fourth failure", progress: Progress{Failures: 3}, response: network, pause: 30 * s, after: Progress{Failures: 4}},
		{name: "fifth failure of five", policy: five, progress: Progress{Failures: 4}, response: network, want: ended, cause: io.ErrUnexpectedEOF, after: Progress{Failures: 5}},
		{name: "a hundred failures, no MaxFailures", progress: Progress{Failures: 99}, response: network, pause: 30 * s, after: Progress{Failures: 100}},
		{name: "fifth failure, no MaxFailures", progress: Progress{Failures: 4}, response: network, pause: 30 * s, after: Progress{Failures: 5}},
		{name: "first failure of a wait resumed after five of five", policy: five, progress: Progress{Failures: 5}, response: network, pause: 30 * s, after: Progress{Failures: 6}},
		{name: "fifth failure of a wait resumed after five of five", policy: five, progress: Progress{Failures: 9}, response: network, want: ended, cause: io.ErrUnexpectedEOF, after: Progress{Failures: 10}},
		{name: "first failure, retry budget spent", response: network, overspent: true, pause: 30 * s, after: Progress{Failures: 1}},
		{name: "fourth failure, retry budget spent", progress: Progress{Failures: 3}, response: network, overspent: true, pause: 30 * s, after: Progress{Failures: 4}},
		{name: "fifth failure of five, retry budget spent", policy: five, progress: Progress{Failures: 4}, response: network, overspent: true, want: ended, cause: io.ErrUnexpectedEOF, after: Progress{Failures: 5}},
		{name: "503 with a long Retry-After, retry budget spent", response: asks(code(503), 60*s), overspent: true, pause: 60 * s, after: Progress{Failures: 1}},
		{name: "request timeout", response: response{err: context.DeadlineExceeded}, pause: 5 * s, after: Progress{Failures: 1}},
		{name: "408", response: code(408), pause: 5 * s, after: Progress{Failures: 1}},
		{name: "425", response: code(425), pause: 5 * s, after: Progress{Failures: 1}},
		{name: "500", response: code(500), pause: 5 * s, after: Progress{Failures: 1}},
		{name: "502", response: code(502), pause: 5 * s, after: Progress{Failures: 1}},
		{name: "599", response: code(599), pause: 5 * s, after: Progress{Failures: 1}},
		{name: "503 with Retry-After", response: asks(code(503), 60*s), pause: 60 * s, after: Progress{Failures: 1}},
		{name: "503 with a short Retry-After", progress: Progress{Failures: 1}, response: asks(code(503), s), pause: 10 * s, after: Progress{Failures: 2}},
		{name: "503 with Retry-After beyond the deadline", response: asks(code(503), 60*s), remaining: 59 * s, want: ended, next: 60 * s, cause: ErrPause, after: Progress{Failures: 1}},
		{name: "malformed response", response: response{err: gamma.ErrUnexpectedResponse}, pause: 5 * s, after: Progress{Failures: 1}},
		{name: "temporary DNS error", response: response{err: &net.DNSError{IsTemporary: true}}, pause: 5 * s, after: Progress{Failures: 1}},

		{name: "first 404", progress: Progress{Failures: 2}, response: code(404), pause: 5 * s, after: Progress{Failures: 2, NotFound: true}},
		{name: "second 404", progress: Progress{NotFound: true}, response: code(404), want: ended, next: 5 * s, cause: gamma.ErrNotFound, after: Progress{NotFound: true}},
		{name: "404, then 500", progress: Progress{NotFound: true}, response: code(500), pause: 5 * s, after: Progress{Failures: 1}},
		{name: "404 with Retry-After", response: asks(code(404), 8*s), pause: 8 * s, after: Progress{NotFound: true}},

		{name: "400", response: code(400), want: ended, cause: &gamma.APIError{StatusCode: 400}},
		{name: "401", response: code(401), want: ended, cause: gamma.ErrUnauthorized},
		{name: "402", response: code(402), want: ended, cause: gamma.ErrInsufficientCredits},
		{name: "403", response: code(403), want: ended, cause: gamma.ErrForbidden},
		{name: "410", response: code(410), want: ended},
		{name: "422", response: code(422), want: ended},
		{name: "501", response: code(501), want: ended},
		{name: "505", response: code(505), want: ended},
		{name: "511", response: code(511), want: ended},
		{name: "101", response: code(101), want: ended},
		{name: "302", response: code(302), want: ended},
		{name: "too large", response: response{err: gamma.ErrResponseTooLarge}, want: ended, cause: gamma.ErrResponseTooLarge},
		{name: "no such host", response: response{err: &net.DNSError{IsNotFound: true}}, want: ended},
		{name: "a certificate that does not verify", response: response{err: &tls.CertificateVerificationError{Err: errors.New("x")}}, want: ended},
		{name: "a certificate of an unknown authority", response: response{err: x509.UnknownAuthorityError{}}, want: ended},
		{name: "another host's certificate", response: response{err: x509.HostnameError{Certificate: &x509.Certificate{}}}, want: ended},
		{name: "an expired certificate", response: response{err: x509.CertificateInvalidError{}}, want: ended},
		{name: "a refused CONNECT", response: response{err: retry.NewProxyError("proxy:1", 403)}, want: ended},

		{name: "no such host, reached before", reached: true, response: response{err: &net.DNSError{IsNotFound: true}}, pause: 5 * s, after: Progress{Failures: 1}},
		{name: "an expired certificate, reached before", reached: true, response: response{err: x509.CertificateInvalidError{}}, pause: 5 * s, after: Progress{Failures: 1}},
		{name: "no such host, reached before, fifth failure of five", policy: five, reached: true, progress: Progress{Failures: 4}, response: response{err: &net.DNSError{IsNotFound: true}}, want: ended, after: Progress{Failures: 5}},
		{name: "401, reached before", reached: true, response: code(401), want: ended, cause: gamma.ErrUnauthorized},
		{name: "a refused CONNECT, reached before", reached: true, response: response{err: retry.NewProxyError("proxy:1", 403)}, want: ended},

		{name: "KeepWaiting, 401", policy: patient, response: code(401), pause: 30 * s, after: Progress{Failures: 1}},
		{name: "KeepWaiting, 401 with Retry-After", policy: patient, response: asks(code(401), 40*s), pause: 40 * s, after: Progress{Failures: 1}},
		{name: "KeepWaiting, no such host", policy: patient, response: response{err: &net.DNSError{IsNotFound: true}}, pause: 30 * s, after: Progress{Failures: 1}},
		{name: "KeepWaiting, too large", policy: patient, response: response{err: gamma.ErrResponseTooLarge}, pause: 30 * s, after: Progress{Failures: 1}},
		{name: "KeepWaiting, first failure", policy: patient, response: network, pause: 5 * s, after: Progress{Failures: 1}},
		{name: "KeepWaiting, MaxFailures is not used", policy: patient, progress: Progress{Failures: 4}, response: network, pause: 30 * s, after: Progress{Failures: 5}},
		{name: "KeepWaiting, first 404", policy: patient, response: code(404), pause: 5 * s, after: Progress{NotFound: true}},
		{name: "KeepWaiting, second 404", policy: patient, progress: Progress{NotFound: true}, response: code(404), want: ended, next: 5 * s, cause: gamma.ErrNotFound, after: Progress{NotFound: true}},
		{name: "KeepWaiting, failed", policy: patient, response: broken("failed"), want: failed, after: Progress{Status: "failed"}},
		{name: "KeepWaiting, Retry-After beyond the deadline", policy: patient, response: asks(code(429), 60*s), remaining: 59 * s, pause: Never, next: 60 * s, after: Progress{RateLimited: 1}},

		{name: "another's 429 forbids polls for longer", until: 40 * s, response: gen("pending"), pause: 5 * s, next: 40 * s, after: Progress{Status: "pending"}},
		{name: "another's 429 forbids polls for less", until: 3 * s, response: gen("pending"), pause: 5 * s, after: Progress{Status: "pending"}},
		{name: "another's 429 and 401", until: 40 * s, response: code(401), want: ended, next: 40 * s, cause: gamma.ErrUnauthorized},

		{name: "completed without an export that was not asked for", response: gen("completed"), want: completed, after: Progress{Status: "completed"}},
		{name: "completed with its export", progress: Progress{Export: true}, response: export, want: completed, after: Progress{Export: true, Status: "completed"}},
		{name: "completed, the export is missing", progress: Progress{Export: true}, response: gen("completed"), pause: 5 * s, after: Progress{Export: true, Status: "completed", Completed: start}},
		{name: "the export is missing for a second less than three minutes", progress: Progress{Export: true, Completed: start.Add(-179 * s)}, response: gen("completed"), pause: 5 * s, after: Progress{Export: true, Status: "completed", Completed: start.Add(-179 * s)}},
		{name: "the export is missing for three minutes", progress: Progress{Export: true, Completed: start.Add(-180 * s)}, response: gen("completed"), want: ended, next: 5 * s, cause: ErrNoExport, after: Progress{Export: true, Status: "completed", Completed: start.Add(-180 * s)}},
		{name: "the export came after three minutes", progress: Progress{Export: true, Completed: start.Add(-180 * s)}, response: export, want: completed, after: Progress{Export: true, Status: "completed", Completed: start.Add(-180 * s)}},
		{name: "completed in the future of this clock", progress: Progress{Export: true, Completed: start.Add(s)}, response: gen("completed"), pause: 5 * s, after: Progress{Export: true, Status: "completed", Completed: start}},
		{name: "pending again before the export came", progress: Progress{Export: true, Completed: start.Add(-100 * s)}, response: gen("pending"), pause: 5 * s, after: Progress{Export: true, Status: "pending"}},
		{name: "a failure while the export is missing", progress: Progress{Export: true, Status: "completed", Completed: start.Add(-100 * s)}, response: network, pause: 5 * s, after: Progress{Export: true, Status: "completed", Completed: start.Add(-100 * s), Failures: 1}},
		{name: "failed with an export asked for", progress: Progress{Export: true}, response: gen("failed"), want: failed, after: Progress{Export: true, Status: "failed"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.remaining == 0 {
				tt.remaining = retry.Never
			}
			if tt.policy == (policy{}) {
				tt.policy = policy{interval: defaultInterval, jitter: 0.2}
			}
			switch {
			case tt.next != 0:
			case tt.want == again:
				tt.next = tt.pause
			case tt.want == ended:
				tt.next = 30 * s
			}
			if tt.next != 0 {
				tt.after.NextPoll = start.Add(tt.next)
			}
			tt.response.kind = classify(tt.response.err)
			after, d := tt.policy.decide(tt.progress, tt.response, situation{
				now: start, remaining: tt.remaining, until: start.Add(tt.until), overspent: tt.overspent, reached: tt.reached, random: tt.random,
			})
			if d.verdict != tt.want || d.pause != tt.pause {
				t.Errorf("decided %+v, want verdict %v, pause %v", d, tt.want, tt.pause)
			}
			if after != tt.after {
				t.Errorf("Progress = %+v, want %+v", after, tt.after)
			}
			if (d.cause != nil) != (tt.want == ended) {
				t.Errorf("cause = %v", d.cause)
			}
			if apiErr, ok := tt.cause.(*gamma.APIError); ok {
				var got *gamma.APIError
				if !errors.As(d.cause, &got) || got.StatusCode != apiErr.StatusCode {
					t.Errorf("cause = %v, want %v", d.cause, tt.cause)
				}
			} else if tt.cause != nil && !errors.Is(d.cause, tt.cause) {
				t.Errorf("cause = %v, want %v", d.cause, tt.cause)
			}
			if errors.Is(d.cause, context.DeadlineExceeded) {
				t.Errorf("cause = %v, before the deadline", d.cause)
			}
		})
	}
}

// A pause is never shorter than the interval or Retry-After, and never longer than a day and
// a minute.
func FuzzDecide(f *testing.F) {
	f.Add(429, "pending", int64(1), 4, 2, true, int64(time.Hour), 0.3)
	f.Add(0, "completed", int64(0), 0, 0, false, int64(-1), 0.99)
	f.Add(404, "", int64(5*time.Second), 1, 1, true, int64(1), 0.0)
	f.Fuzz(func(t *testing.T, code int, status string, retryAfter int64, failures, limited int, flag bool, remaining int64, random float64) {
		if failures < 0 || limited < 0 || limited > maxCount || failures > maxCount || !(random >= 0 && random < 1) {
			return
		}
		r := response{retryAfter: min(max(time.Duration(retryAfter), 0), 24*time.Hour)}
		if code != 0 {
			r.err = &gamma.APIError{StatusCode: code}
		} else {
			r.gen = &api.GenerationStatusResponse{Status: api.GenerationStatus(status)}
		}
		r.kind = classify(r.err)
		c := policy{interval: defaultInterval, jitter: 0.2, keepWaiting: flag}
		start := time.Date(2026, 4, 24, 12, 0, 0, 0, time.UTC)
		p, d := c.decide(Progress{Failures: failures, RateLimited: limited, NotFound: flag, Export: !flag}, r,
			situation{now: start, remaining: time.Duration(remaining), overspent: flag, random: random})
		if p.Failures < 0 || p.RateLimited < 0 {
			t.Fatalf("Progress = %+v", p)
		}
		least := c.interval
		if r.retryAfter > least || code == 429 && r.retryAfter > 0 {
			least = r.retryAfter
		}
		most := 24*time.Hour + time.Minute
		next := p.NextPoll.Sub(start)
		switch d.verdict {
		case again:
			if d.pause < least || d.pause > most && (d.pause != retry.Never || !c.keepWaiting) || d.cause != nil || next < least || next > most {
				t.Fatalf("decided %+v, next poll in %v", d, next)
			}
		case ended:
			if d.cause == nil || d.pause != 0 || next < least || next > most {
				t.Fatalf("decided %+v, next poll in %v", d, next)
			}
		default:
			if r.err != nil || d.pause != 0 || d.cause != nil || !p.NextPoll.IsZero() {
				t.Fatalf("decided %+v, next poll at %v", d, p.NextPoll)
			}
		}
	})
}

func TestLimits(t *testing.T) {
	unknown := ratelimit.Window{Limit: -1, Remaining: -1, Reset: -1}
	for _, tt := range []struct {
		name string
		rate gamma.RateLimit
		want ratelimit.Limits
	}{
		{"no headers", gamma.RateLimitOf(nil), ratelimit.Limits{unknown, unknown, unknown}},
		{"an APIError made by hand", gamma.RateLimit{}, ratelimit.Limits{unknown, unknown, unknown}},
		{"a spent burst window", gamma.RateLimit{Burst: gamma.Window{Limit: -1, Reset: 5}}, ratelimit.Limits{{Limit: -1, Reset: 5}, unknown, unknown}},
		{"a window of each kind", gamma.RateLimit{Burst: gamma.Window{Limit: 3, Remaining: 2, Reset: 1}, Hour: gamma.Window{Limit: 6, Remaining: 5, Reset: 4}, Day: gamma.Window{Limit: 9, Remaining: 8, Reset: 7}}, ratelimit.Limits{{Limit: 3, Remaining: 2, Reset: 1}, {Limit: 6, Remaining: 5, Reset: 4}, {Limit: 9, Remaining: 8, Reset: 7}}},
	} {
		if got := limits(tt.rate); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestFirstPause(t *testing.T) {
	const s = time.Second
	start := time.Date(2026, 4, 24, 12, 0, 0, 0, time.UTC)
	at := start.Add
	for _, tt := range []struct {
		name      string
		patient   bool
		progress  Progress
		remaining time.Duration
		firstPoll time.Duration // 0 for 20 seconds
		stretched bool
		want      time.Duration
		cause     error
	}{
		{name: "a new wait, polls come late because of the rate limit", firstPoll: s, stretched: true, progress: Progress{Since: start}, remaining: retry.Never, want: 20 * s},
		{name: "a new wait, polls come late, FirstPoll is longer", firstPoll: 30 * s, stretched: true, progress: Progress{Since: start}, remaining: retry.Never, want: 30 * s},
		{name: "a new wait, polls come late, created 15 seconds before", firstPoll: s, stretched: true, progress: Progress{Since: at(-15 * s)}, remaining: retry.Never, want: 5 * s},
		{name: "a new wait, polls come late, 9 seconds remain", firstPoll: s, stretched: true, progress: Progress{Since: start}, remaining: 9 * s, want: 2 * s},
		{name: "a resumed wait, polls come late", firstPoll: s, stretched: true, progress: Progress{Since: start, Polls: 1}, remaining: retry.Never},
		{name: "a new wait", progress: Progress{Since: start}, remaining: retry.Never, want: 20 * s},
		{name: "a new wait whose generation was created before", progress: Progress{Since: at(-15 * s)}, remaining: retry.Never, want: 5 * s},
		{name: "a new wait whose generation was created long before", progress: Progress{Since: at(-time.Hour)}, remaining: retry.Never},
		{name: "a new wait with a deadline before FirstPoll", progress: Progress{Since: start}, remaining: 10 * s, want: 9 * s},
		{name: "a new wait past its deadline", progress: Progress{Since: start}, remaining: -s},
		{name: "resumed", progress: Progress{Since: start, Polls: 1}, remaining: retry.Never},
		{name: "resumed before NextPoll", progress: Progress{Since: start, Polls: 1, NextPoll: at(7 * s)}, remaining: retry.Never, want: 7 * s},
		{name: "resumed after NextPoll", progress: Progress{Since: start, Polls: 1, NextPoll: at(-s)}, remaining: retry.Never},
		{name: "NextPoll before the deadline", progress: Progress{Since: start, Polls: 1, NextPoll: at(7 * s)}, remaining: 9 * s, want: 7 * s},
		{name: "NextPoll beyond the deadline", progress: Progress{Since: start, Polls: 1, NextPoll: at(7 * s)}, remaining: 6 * s, cause: ErrPause},
		{name: "NextPoll so near the deadline that no response would come", progress: Progress{Since: start, Polls: 1, NextPoll: at(7 * s)}, remaining: 7 * s, cause: ErrPause},
		{name: "NextPoll beyond the deadline, KeepWaiting", patient: true, progress: Progress{Since: start, Polls: 1, NextPoll: at(7 * s)}, remaining: 6 * s, want: 6 * s},
		{name: "past the deadline and before NextPoll, KeepWaiting", patient: true, progress: Progress{Since: start, Polls: 1, NextPoll: at(7 * s)}, remaining: -s, cause: ErrPause},
		{name: "past NextPoll and the deadline", progress: Progress{Since: start, Polls: 1, NextPoll: at(-s)}, remaining: -s},
	} {
		c := policy{interval: defaultInterval, keepWaiting: tt.patient}
		if got, err := c.firstPause(tt.progress, cmp.Or(tt.firstPoll, 20*s), tt.remaining, tt.stretched, start); got != tt.want || err != tt.cause {
			t.Errorf("%s: %v, %v, want %v, %v", tt.name, got, err, tt.want, tt.cause)
		}
	}
}

func TestResume(t *testing.T) {
	for _, tt := range []struct{ most, failures, want int }{
		{0, 7, 7}, {5, 0, 0}, {5, 1, 5}, {5, 5, 5}, {5, 6, 10}, {1, 3, 3},
	} {
		if got := (policy{maxFailures: tt.most}).resume(Progress{Failures: tt.failures}).Failures; got != tt.want {
			t.Errorf("%d failures of %d count as %d, want %d", tt.failures, tt.most, got, tt.want)
		}
	}
}
