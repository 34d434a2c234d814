package gamma_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go"
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
