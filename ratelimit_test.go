package gamma_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

func TestRateLimitOf(t *testing.T) {
	absent := gamma.Window{Limit: -1, Remaining: -1, Reset: -1}
	resets := func(burst, hour, day time.Duration) gamma.RateLimit {
		l := gamma.RateLimit{Burst: absent, Hour: absent, Day: absent}
		l.Burst.Reset, l.Hour.Reset, l.Day.Reset = burst, hour, day
		return l
	}
	for _, tt := range []struct {
		headers []string
		want    gamma.RateLimit
	}{
		{nil, gamma.RateLimit{Burst: absent, Hour: absent, Day: absent}},
		{[]string{"x-ratelimit-remaining-burst", "0"}, gamma.RateLimit{Burst: gamma.Window{Limit: -1, Remaining: 0, Reset: -1}, Hour: absent, Day: absent}},
		{[]string{"x-ratelimit-limit", "40000", "x-ratelimit-remaining", " 39988 "}, gamma.RateLimit{Burst: absent, Hour: gamma.Window{Limit: 40000, Remaining: 39988, Reset: -1}, Day: absent}},
		{[]string{"x-ratelimit-reset-burst", "5", "x-ratelimit-reset", "0", "x-ratelimit-reset-daily", "86400"}, resets(5*time.Second, 0, 24*time.Hour)},
		{[]string{"x-ratelimit-reset-burst", "-5", "x-ratelimit-reset", "soon", "x-ratelimit-reset-daily", "86401"}, resets(-1, -1, -1)},
		{[]string{"x-ratelimit-reset-burst", "99999999999999999999", "x-ratelimit-reset", "1777032000", "x-ratelimit-reset-daily", "1e3"}, resets(-1, -1, -1)},
		{[]string{"x-ratelimit-limit-daily", "-5", "x-ratelimit-remaining-daily", "99999999999999999999", "x-ratelimit-limit", "+3", "x-ratelimit-remaining", "1e3", "x-ratelimit-limit-burst", ""}, gamma.RateLimit{Burst: absent, Hour: absent, Day: absent}},
	} {
		h := http.Header{}
		for i := 0; i < len(tt.headers); i += 2 {
			h.Set(tt.headers[i], tt.headers[i+1])
		}
		if got := gamma.RateLimitOf(h); got != tt.want {
			t.Errorf("RateLimitOf(%v) = %+v, want %+v", h, got, tt.want)
		}
	}
	if got := gamma.RateLimitOf(nil); got.Burst != absent {
		t.Errorf("RateLimitOf(nil) = %+v", got)
	}
	h := http.Header{"X-Ratelimit-Reset-Burst": {"5"}, "X-Ratelimit-Remaining": {"7"}}
	if n := testing.AllocsPerRun(100, func() { gamma.RateLimitOf(h) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzRateLimitOf(f *testing.F) {
	f.Add("10000", "9994", "60")
	f.Add("-1", "99999999999999999999", "1777032000")
	f.Add("1e3", " 7 ", "-1")
	f.Fuzz(func(t *testing.T, limit, remaining, reset string) {
		l := gamma.RateLimitOf(http.Header{"X-Ratelimit-Limit-Burst": {limit}, "X-Ratelimit-Remaining-Burst": {remaining}, "X-Ratelimit-Reset-Burst": {reset}})
		if w := l.Burst; w.Limit < -1 || w.Remaining < -1 {
			t.Fatalf("%q of %q is %+v", remaining, limit, w)
		}
		if r := l.Burst.Reset; r != -1 && (r < 0 || r > 24*time.Hour || r%time.Second != 0) {
			t.Fatalf("%q is %v", reset, r)
		}
	})
}

// minutely is a transport that allows five requests a minute. It responds after 100 ms.
type minutely struct {
	start time.Time

	mu   sync.Mutex
	used int
	sent []string // as in "POST in minute 1: 200"
}

const perMinute = 5

func (m *minutely) RoundTrip(req *http.Request) (*http.Response, error) {
	select {
	case <-time.After(100 * time.Millisecond):
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Since(m.start)
	if n := int(now / time.Minute); n*perMinute > m.used {
		m.used = n * perMinute
	}
	status, body := 200, `{"generationId":"gen1","status":"completed","data":[],"hasMore":false}`
	remaining := (int(now/time.Minute)+1)*perMinute - m.used
	if remaining == 0 {
		status, body = 429, ""
	} else {
		m.used++
		remaining--
	}
	m.sent = append(m.sent, fmt.Sprintf("%s in minute %d: %d", req.Method, now/time.Minute, status))
	reset := (now/time.Minute+1)*time.Minute - now
	return reply(status, "application/json", body,
		"X-Ratelimit-Limit-Burst", fmt.Sprint(perMinute),
		"X-Ratelimit-Remaining-Burst", fmt.Sprint(remaining),
		"X-Ratelimit-Reset-Burst", fmt.Sprint(int((reset+time.Second-1)/time.Second))), nil
}

// requests returns the requests after the first n.
func (m *minutely) requests(n int) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.sent[n:])
}

// All requests of a client share its rate limit.
func TestSharedRateLimit(t *testing.T) {
	create := func(ctx context.Context, c *gamma.Client) error {
		_, err := c.CreateGeneration(ctx, generation(api.GenerationRequest{InputText: "x"}))
		return err
	}
	list := func(ctx context.Context, c *gamma.Client) (err error) {
		for _, failed := range c.Folders(ctx, nil) {
			err = errors.Join(err, failed)
		}
		return err
	}
	raw := func(ctx context.Context, c *gamma.Client) error {
		_, err := c.GetGenerationStatus(ctx, "gen1")
		return err
	}
	wait := func(ctx context.Context, c *gamma.Client) error {
		_, err := poller.New(c).Wait(ctx, "gen1")
		return err
	}
	for _, tt := range []struct {
		name  string
		spend func(context.Context, *gamma.Client) error // five times
		then  func(context.Context, *gamma.Client) error
		sent  string // then
		err   error
	}{
		{"a create waits for the reset", create, create, "POST in minute 1: 200", nil},
		{"Folders waits for the reset", list, list, "GET in minute 1: 200", nil},
		{"a wait waits for the reset after single requests", raw, wait, "GET in minute 1: 200", nil},
		{"a wait waits for the reset after those of other Pollers", wait, wait, "GET in minute 1: 200", nil},
		{"a single request does not wait after single requests", raw, raw, "GET in minute 0: 429", gamma.ErrRateLimited},
		{"a single request does not wait after waits", wait, raw, "GET in minute 0: 429", gamma.ErrRateLimited},
		// It is not known whether operations have separate limits, so one request is sent.
		{"Folders finds out that it shares the limit of creates", create, list, "GET in minute 0: 429", gamma.ErrRateLimited},
		{"a wait finds out that it shares the limit of creates", create, wait, "GET in minute 0: 429, GET in minute 1: 200", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &minutely{start: time.Now()}
				client := newFakeClient(t, server.RoundTrip)
				for range perMinute {
					if err := tt.spend(t.Context(), client); err != nil {
						t.Fatal(err)
					}
				}
				if err := tt.then(t.Context(), client); !errors.Is(err, tt.err) {
					t.Error(err)
				}
				if got := strings.Join(server.requests(perMinute), ", "); got != tt.sent {
					t.Errorf("sent %q, want %q", got, tt.sent)
				}
			})
		})
	}
	t.Run("another client does not share what is known", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			server := &minutely{start: time.Now()}
			for range perMinute {
				if err := wait(t.Context(), newFakeClient(t, server.RoundTrip)); err != nil {
					t.Fatal(err)
				}
			}
			if err := wait(t.Context(), newFakeClient(t, server.RoundTrip)); err != nil {
				t.Error(err)
			}
			if got := server.requests(perMinute); got[0] != "GET in minute 0: 429" {
				t.Errorf("sent %q", got)
			}
		})
	})
	for name, end := range map[string]struct {
		context func(context.Context) (context.Context, context.CancelFunc)
		err     error
	}{
		"a create ends at its deadline": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 20*time.Second)
		}, context.DeadlineExceeded},
		"a create ends when it is canceled": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(20*time.Second, cancel)
			return ctx, cancel
		}, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &minutely{start: time.Now()}
				client := newFakeClient(t, server.RoundTrip)
				for range perMinute {
					if err := create(t.Context(), client); err != nil {
						t.Fatal(err)
					}
				}
				ctx, cancel := end.context(t.Context())
				defer cancel()
				start := time.Now()
				err := create(ctx, client)
				if !errors.Is(err, end.err) || errors.Is(err, gamma.ErrMaybeCreated) || time.Since(start) != 20*time.Second {
					t.Errorf("%v after %v", err, time.Since(start))
				}
				checkText(t, err)
				if got := server.requests(perMinute); len(got) > 0 {
					t.Errorf("sent %q", got)
				}
			})
		})
	}
}

func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &minutely{start: time.Now()}
		client := newFakeClient(t, server.RoundTrip)
		absent := gamma.Window{Limit: -1, Remaining: -1, Reset: -1}
		check := func(when string, burst gamma.Window) {
			t.Helper()
			if got := client.RateLimit(); got != (gamma.RateLimit{Burst: burst, Hour: absent, Day: absent}) {
				t.Errorf("%s: %+v", when, got)
			}
		}
		check("before a response", absent)
		if _, err := get(t, client); err != nil {
			t.Fatal(err)
		}
		check("after one response", gamma.Window{Limit: 5, Remaining: 4, Reset: 60 * time.Second})
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() { _, _ = get(t, client) })
		}
		time.Sleep(50 * time.Millisecond)
		check("with three in flight", gamma.Window{Limit: 5, Remaining: 1, Reset: 60*time.Second - 50*time.Millisecond})
		all.Wait()
		check("after four responses", gamma.Window{Limit: 5, Remaining: 1, Reset: 60 * time.Second})
	})
}

// A request whose transport panics does not stay in flight.
func TestRateLimitAfterAPanic(t *testing.T) {
	panics := false
	client := newFakeClient(t, func(*http.Request) (*http.Response, error) {
		if panics {
			panic("transport")
		}
		return reply(200, "application/json", `{"generationId":"gen1","status":"pending"}`, "X-Ratelimit-Remaining", "9"), nil
	})
	for _, panics = range []bool{false, true} {
		func() {
			defer func() { _ = recover() }()
			_, _ = get(t, client)
		}()
		if got := client.RateLimit().Hour.Remaining; got != 9 {
			t.Errorf("panics %v: %d remaining", panics, got)
		}
	}
}
