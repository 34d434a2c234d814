package poller

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
)

// A row for every line of the policy, and for its edges.
func TestDecide(t *testing.T) {
	const (
		s    = time.Second
		none = noDeadline
	)
	api := func(status int) answer { return answer{err: &gamma.APIError{StatusCode: status}} }
	retry := func(a answer, d time.Duration) answer { a.retryAfter = d; return a }
	low := func(a answer) answer { a.low = true; return a }
	overspent := func(a answer) answer { a.overspent = true; return a }
	network := answer{err: fmt.Errorf("read: %w", io.ErrUnexpectedEOF)}
	tests := []struct {
		name     string
		progress Progress
		answer   answer
		left     time.Duration
		random   float64
		want     verdict
		pause    time.Duration
		closed   time.Duration
		after    Progress
		cause    error
	}{
		{name: "pending", answer: answer{status: "pending"}, pause: 5 * s, after: Progress{Status: "pending"}},
		{name: "pending, most jitter", answer: answer{status: "pending"}, random: 0.5, pause: 5*s + s/2, after: Progress{Status: "pending"}},
		{name: "completed", answer: answer{status: "completed"}, want: completed, after: Progress{Status: "completed"}},
		{name: "completed beside an error", answer: answer{status: "completed", hasError: true}, want: completed, after: Progress{Status: "completed"}},
		{name: "completed at the deadline", answer: answer{status: "completed"}, left: -s, want: completed, after: Progress{Status: "completed"}},
		{name: "failed", answer: answer{status: "failed", hasError: true}, want: failed, after: Progress{Status: "failed"}},
		{name: "failed without an error", answer: answer{status: "failed"}, want: failed, after: Progress{Status: "failed"}},
		{name: "unknown status", answer: answer{status: "rendering"}, pause: 5 * s, after: Progress{Status: "rendering"}},
		{name: "unknown status with an error", answer: answer{status: "exploded", hasError: true}, want: failed, after: Progress{Status: "exploded"}},
		{name: "pending beside an error", answer: answer{status: "pending", hasError: true}, pause: 5 * s, after: Progress{Status: "pending"}},
		{name: "terminal, then pending", progress: Progress{Status: "completed"}, answer: answer{status: "pending"}, pause: 5 * s, after: Progress{Status: "pending"}},
		{name: "good answer resets", progress: Progress{Failures: 4, RateLimited: 2, NotFound: true}, answer: answer{status: "pending"}, pause: 5 * s, after: Progress{Status: "pending"}},

		{name: "low budget", answer: low(answer{status: "pending"}), pause: 15 * s, after: Progress{Status: "pending"}},
		{name: "low budget, longer Retry-After", answer: retry(low(answer{status: "pending"}), 20*s), pause: 20 * s, after: Progress{Status: "pending"}},
		{name: "low budget, most jitter", answer: low(answer{status: "pending"}), random: 0.5, pause: 16*s + s/2, after: Progress{Status: "pending"}},
		{name: "low budget, 404", answer: low(api(404)), pause: 15 * s, after: Progress{NotFound: true}},
		{name: "low budget, first failure", answer: low(api(503)), pause: 15 * s, after: Progress{Failures: 1}},
		{name: "low budget, fourth failure", progress: Progress{Failures: 3}, answer: low(api(503)), pause: 30 * s, after: Progress{Failures: 4}},
		{name: "low budget, 429", answer: retry(low(api(429)), 7*s), pause: 7 * s, closed: 7 * s, after: Progress{RateLimited: 1}},
		{name: "low budget, 401", answer: low(api(401)), want: ended, cause: gamma.ErrUnauthorized},
		{name: "low budget, pause beyond the deadline", answer: low(retry(api(503), s)), left: 10 * s, pause: 15 * s, after: Progress{Failures: 1}},
		{name: "Retry-After on success", answer: retry(answer{status: "pending"}, 9*s), pause: 9 * s, after: Progress{Status: "pending"}},
		{name: "Retry-After is no way to poll faster", answer: retry(answer{status: "pending"}, s), pause: 5 * s, after: Progress{Status: "pending"}},
		{name: "Retry-After on success beyond the deadline", answer: retry(answer{status: "pending"}, 9*s), left: 8 * s, want: ended, cause: context.DeadlineExceeded, after: Progress{Status: "pending"}},
		{name: "pause beyond the deadline", answer: answer{status: "pending"}, left: s, pause: 5 * s, after: Progress{Status: "pending"}},
		{name: "no time left", answer: answer{status: "pending"}, left: -s, pause: 5 * s, after: Progress{Status: "pending"}},

		{name: "429 with Retry-After", answer: retry(api(429), 7*s), pause: 7 * s, closed: 7 * s, after: Progress{RateLimited: 1}},
		{name: "429 with Retry-After, most jitter", answer: retry(api(429), 10*s), random: 0.5, pause: 11 * s, closed: 10 * s, after: Progress{RateLimited: 1}},
		{name: "429 with a day, jitter of a minute", answer: retry(api(429), 24*time.Hour), random: 0.5, pause: 24*time.Hour + 30*s, closed: 24 * time.Hour, after: Progress{RateLimited: 1}},
		{name: "first 429", answer: api(429), pause: 30 * s, closed: 30 * s, after: Progress{RateLimited: 1}},
		{name: "second 429", progress: Progress{RateLimited: 1}, answer: api(429), pause: 60 * s, closed: 60 * s, after: Progress{RateLimited: 2}},
		{name: "third 429", progress: Progress{RateLimited: 2}, answer: api(429), pause: 120 * s, closed: 120 * s, after: Progress{RateLimited: 3}},
		{name: "hundredth 429", progress: Progress{RateLimited: 99}, answer: api(429), pause: 120 * s, closed: 120 * s, after: Progress{RateLimited: 100}},
		{name: "429 is no failure", progress: Progress{Failures: 4, NotFound: true}, answer: api(429), pause: 30 * s, closed: 30 * s, after: Progress{Failures: 4, NotFound: true, RateLimited: 1}},
		{name: "429 beyond the deadline", answer: retry(api(429), 7*s), left: 6 * s, want: ended, closed: 7 * s, cause: context.DeadlineExceeded, after: Progress{RateLimited: 1}},

		{name: "network error", answer: network, pause: 5 * s, after: Progress{Failures: 1}},
		{name: "second failure", progress: Progress{Failures: 1}, answer: network, pause: 10 * s, after: Progress{Failures: 2}},
		{name: "third failure", progress: Progress{Failures: 2}, answer: network, pause: 20 * s, after: Progress{Failures: 3}},
		{name: "fourth failure", progress: Progress{Failures: 3}, answer: network, pause: 30 * s, after: Progress{Failures: 4}},
		{name: "fifth failure", progress: Progress{Failures: 4}, answer: network, want: ended, cause: io.ErrUnexpectedEOF, after: Progress{Failures: 5}},
		{name: "resumed past the limit", progress: Progress{Failures: 9}, answer: network, want: ended, cause: io.ErrUnexpectedEOF, after: Progress{Failures: 10}},
		{name: "first failure, budget spent", answer: overspent(network), pause: 30 * s, after: Progress{Failures: 1}},
		{name: "fourth failure, budget spent", progress: Progress{Failures: 3}, answer: overspent(network), pause: 30 * s, after: Progress{Failures: 4}},
		{name: "fifth failure, budget spent", progress: Progress{Failures: 4}, answer: overspent(network), want: ended, cause: io.ErrUnexpectedEOF, after: Progress{Failures: 5}},
		{name: "503 with a long Retry-After, budget spent", answer: overspent(retry(api(503), 60*s)), pause: 60 * s, after: Progress{Failures: 1}},
		{name: "request timeout", answer: answer{err: context.DeadlineExceeded}, pause: 5 * s, after: Progress{Failures: 1}},
		{name: "408", answer: api(408), pause: 5 * s, after: Progress{Failures: 1}},
		{name: "425", answer: api(425), pause: 5 * s, after: Progress{Failures: 1}},
		{name: "500", answer: api(500), pause: 5 * s, after: Progress{Failures: 1}},
		{name: "502", answer: api(502), pause: 5 * s, after: Progress{Failures: 1}},
		{name: "599", answer: api(599), pause: 5 * s, after: Progress{Failures: 1}},
		{name: "503 with Retry-After", answer: retry(api(503), 60*s), pause: 60 * s, after: Progress{Failures: 1}},
		{name: "503 with a short Retry-After", progress: Progress{Failures: 1}, answer: retry(api(503), s), pause: 10 * s, after: Progress{Failures: 2}},
		{name: "503 with Retry-After beyond the deadline", answer: retry(api(503), 60*s), left: 59 * s, want: ended, cause: context.DeadlineExceeded, after: Progress{Failures: 1}},
		{name: "malformed answer", answer: answer{err: gamma.ErrUnexpectedResponse}, pause: 5 * s, after: Progress{Failures: 1}},
		{name: "temporary DNS error", answer: answer{err: &net.DNSError{IsTemporary: true}}, pause: 5 * s, after: Progress{Failures: 1}},

		{name: "first 404", progress: Progress{Failures: 2}, answer: api(404), pause: 5 * s, after: Progress{Failures: 2, NotFound: true}},
		{name: "second 404", progress: Progress{NotFound: true}, answer: api(404), want: ended, cause: gamma.ErrNotFound, after: Progress{NotFound: true}},
		{name: "404, then 500", progress: Progress{NotFound: true}, answer: api(500), pause: 5 * s, after: Progress{Failures: 1}},
		{name: "404 with Retry-After", answer: retry(api(404), 8*s), pause: 8 * s, after: Progress{NotFound: true}},

		{name: "400", answer: api(400), want: ended, cause: &gamma.APIError{StatusCode: 400}},
		{name: "401", answer: api(401), want: ended, cause: gamma.ErrUnauthorized},
		{name: "402", answer: api(402), want: ended, cause: gamma.ErrInsufficientCredits},
		{name: "403", answer: api(403), want: ended, cause: gamma.ErrForbidden},
		{name: "410", answer: api(410), want: ended},
		{name: "422", answer: api(422), want: ended},
		{name: "501", answer: api(501), want: ended},
		{name: "505", answer: api(505), want: ended},
		{name: "511", answer: api(511), want: ended},
		{name: "101", answer: api(101), want: ended},
		{name: "302", answer: api(302), want: ended},
		{name: "too large", answer: answer{err: gamma.ErrResponseTooLarge}, want: ended, cause: gamma.ErrResponseTooLarge},
		{name: "no such host", answer: answer{err: &net.DNSError{IsNotFound: true}}, want: ended},
		{name: "certificate", answer: answer{err: &tls.CertificateVerificationError{Err: errors.New("x")}}, want: ended},
		{name: "unknown authority", answer: answer{err: x509.UnknownAuthorityError{}}, want: ended},
		{name: "wrong name", answer: answer{err: x509.HostnameError{Certificate: &x509.Certificate{}}}, want: ended},
		{name: "expired", answer: answer{err: x509.CertificateInvalidError{}}, want: ended},
	}
	c := policy{interval: defaultInterval, maxFailures: defaultMaxFailures, jitter: 5}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.left == 0 {
				tt.left = none
			}
			after, d := c.decide(tt.progress, tt.answer, tt.left, tt.random)
			if d.verdict != tt.want || d.pause != tt.pause || d.closed != tt.closed {
				t.Errorf("decided %+v, want verdict %v, pause %v, closed %v", d, tt.want, tt.pause, tt.closed)
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
		})
	}
}

// Whatever comes, a pause is never shorter than the interval, or than a 429's
// Retry-After, and never longer than a day and a minute.
func FuzzDecide(f *testing.F) {
	f.Add(429, "pending", int64(1), 4, 2, true, int64(time.Hour), 0.3)
	f.Add(0, "completed", int64(0), 0, 0, false, int64(-1), 0.99)
	f.Add(404, "", int64(5*time.Second), 1, 1, true, int64(1), 0.0)
	c := policy{interval: defaultInterval, maxFailures: defaultMaxFailures, jitter: 5}
	f.Fuzz(func(t *testing.T, code int, status string, retryAfter int64, failures, limited int, flag bool, left int64, random float64) {
		if failures < 0 || limited < 0 || limited > 1<<30 || failures > 1<<30 || !(random >= 0 && random < 1) {
			return
		}
		a := answer{status: status, hasError: flag, low: flag, overspent: flag, retryAfter: min(max(time.Duration(retryAfter), 0), 24*time.Hour)}
		if code != 0 {
			a.err = &gamma.APIError{StatusCode: code}
		}
		p, d := c.decide(Progress{Failures: failures, RateLimited: limited, NotFound: flag}, a, time.Duration(left), random)
		if p.Failures < 0 || p.RateLimited < 0 {
			t.Fatalf("Progress = %+v", p)
		}
		switch d.verdict {
		case again:
			least := c.interval
			if code == 429 && a.retryAfter > 0 {
				least = a.retryAfter
			}
			if d.pause < least || d.pause > 24*time.Hour+time.Minute || d.cause != nil {
				t.Fatalf("decided %+v", d)
			}
		case ended:
			if d.cause == nil || d.pause != 0 {
				t.Fatalf("decided %+v", d)
			}
		default:
			if a.err != nil || d.pause != 0 || d.cause != nil {
				t.Fatalf("decided %+v", d)
			}
		}
	})
}

func TestLimits(t *testing.T) {
	unknown := gamma.Window{Limit: -1, Remaining: -1}
	for _, tt := range []struct {
		name string
		rate gamma.RateLimit
		want int64
	}{
		{"no headers", gamma.RateLimitOf(nil), -1},
		{"the tightest counts", gamma.RateLimit{Burst: gamma.Window{Limit: 10, Remaining: 7}, Hour: gamma.Window{Limit: -1, Remaining: 3}, Day: unknown}, 3},
		{"nothing left", gamma.RateLimit{Burst: gamma.Window{Limit: -1}, Hour: unknown, Day: unknown}, 0},
		{"an APIError made by hand", gamma.RateLimit{}, -1},
	} {
		var a answer
		if a.limits(tt.rate, 200); a.remaining != tt.want {
			t.Errorf("%s: %d remaining, want %d", tt.name, a.remaining, tt.want)
		}
	}
}

// A saved Progress may have been changed by anyone. It is refused, or every poll
// counts on from it.
func FuzzProgress(f *testing.F) {
	f.Add(`{"id":"gen1","since":"2026-04-24T12:00:00Z","polls":3,"status":"pending","failures":1}`)
	f.Add(`{"id":"../x","polls":-1}`)
	f.Add(`{"id":"gen1","rateLimited":9223372036854775807,"failures":9223372036854775807,"polls":9223372036854775807}`)
	f.Fuzz(func(t *testing.T, text string) {
		var saved Progress
		if json.Unmarshal([]byte(text), &saved) != nil {
			return
		}
		polls := 0
		p := New(client(func(context.Context, string) (*api.GetGenerationStatusHTTPResponse, error) {
			polls++
			return nil, io.ErrUnexpectedEOF
		}))
		progress := saved
		_, next, err := p.Check(context.Background(), &progress)
		switch {
		case polls == 0:
			if err == nil || progress != saved {
				t.Fatalf("%+v became %+v without a poll: %v", saved, progress, err)
			}
		case polls > 1, progress.Polls < saved.Polls, progress.Failures < saved.Failures, progress.ID != saved.ID, err == nil && next < defaultInterval:
			t.Fatalf("%+v became %+v after %d polls: next in %v, %v", saved, progress, polls, next, err)
		}
	})
}

type client func(context.Context, string) (*api.GetGenerationStatusHTTPResponse, error)

func (f client) GetGenerationStatusWithResponse(ctx context.Context, id string, _ ...api.RequestEditorFn) (*api.GetGenerationStatusHTTPResponse, error) {
	return f(ctx, id)
}

func TestLow(t *testing.T) {
	for _, tt := range []struct {
		window gamma.Window
		want   bool
	}{
		{gamma.Window{Limit: 10000, Remaining: 99}, true},
		{gamma.Window{Limit: 10000, Remaining: 100}, false},
		{gamma.Window{Limit: 50, Remaining: 0}, true},
		{gamma.Window{Limit: 50, Remaining: 1}, false},
		{gamma.Window{Limit: 1<<63 - 1, Remaining: 5}, true},
		{gamma.Window{Limit: -1, Remaining: 0}, false},
		{gamma.Window{Limit: 100, Remaining: -1}, false},
		{gamma.Window{}, false},
	} {
		if got := low(tt.window); got != tt.want {
			t.Errorf("low(%+v) = %v", tt.window, got)
		}
	}
}
