package ratelimit

import (
	"errors"
	"math"
	"testing"
	"time"
)

var noLimits = Limits{{-1, -1, -1}, {-1, -1, -1}, {-1, -1, -1}}

// hour returns the Limits of a response that reports only the hour.
func hour(limit, remaining int64, reset time.Duration) Limits {
	l := noLimits
	l[1] = Window{limit, remaining, reset}
	return l
}

// exchange records a request and its response.
func (a *account) exchange(sent, now float64, r Response) {
	a.count(at(sent), 0)
	a.end(&r, at(sent), at(now), true)
}

var (
	accepted = Response{Status: 200, Limits: noLimits}
	refused  = Response{Status: tooManyRequests, Limits: noLimits}
)

func TestSlowStart(t *testing.T) {
	var a account
	send := func(now float64) (n int) {
		for ; ; n++ {
			if wait, _ := a.limit(at(now)); wait > 0 {
				if wait != recheckDelay {
					t.Errorf("the next must wait for %v", wait)
				}
				return n
			}
			a.count(at(now), 0)
		}
	}
	if n := send(0); n != initialRequests {
		t.Errorf("%d requests before the first response", n)
	}
	if n := send(0.05); n != 5 {
		t.Errorf("%d requests after 50 ms", n)
	}
	a.end(&Response{Status: 200, Limits: noLimits}, at(0), at(0.05), true)
	if n := send(0.05); n != 2 {
		t.Errorf("%d requests after a response, want 2", n)
	}
	a.end(&Response{}, at(0), at(0.05), true)
	if n := send(0.05); n != 1 {
		t.Errorf("%d requests after a failure, want 1", n)
	}
}

func TestAvailable(t *testing.T) {
	var a account
	for range 4 { // the last is in flight
		a.count(at(0), 0)
	}
	for remaining := range 3 {
		a.end(&Response{Status: 200, Limits: hour(100, int64(3-remaining), -1)}, at(0), at(1), true)
	}
	if wait, _ := a.limit(at(1)); wait != recheckDelay {
		t.Errorf("one remaining and one in flight: %v", wait)
	}
	a.end(&Response{Status: 200, Limits: hour(100, 0, -1)}, at(0), at(1), true)
	if wait, _ := a.limit(at(1)); wait != time.Hour/minPerWindow {
		t.Errorf("none remaining: %v", wait)
	}
	if wait, _ := a.limit(at(57.25)); wait != 0 {
		t.Errorf("none remaining, time to check the limit: %v", wait)
	}
	a.count(at(57.25), 0)
	if wait, _ := a.limit(at(57.25)); wait != recheckDelay {
		t.Errorf("while one checks the limit: %v", wait)
	}
}

func TestRefused(t *testing.T) {
	why := errors.New("429")
	for _, tt := range []struct {
		name     string
		accepted int // within two seconds before
		limits   Limits
		r        Response
		wait     time.Duration
		rate     float64
		why      error
	}{
		{"no Retry-After: a second, and half the rate", 40, noLimits, refused, time.Second, 10, why},
		{"Retry-After 60: a minute, and half the rate", 40, noLimits, Response{Status: 429, Limits: noLimits, RetryAfter: time.Minute}, time.Minute, 10, why},
		{"first response: a second, and the minimum rate", 0, noLimits, refused, time.Second, minRate, why},
		{"first response, Retry-After 60: no rate, a minute", 0, noLimits, Response{Status: 429, Limits: noLimits, RetryAfter: time.Minute}, time.Minute, 0, why},
		{"hour with requests remaining, Retry-After 3600: no rate, an hour", 40, hour(100, 50, -1), Response{Status: 429, Limits: noLimits, RetryAfter: time.Hour}, time.Hour, 0, why},
		{"exhausted hour: no rate", 40, noLimits, Response{Status: 429, Limits: hour(100, 0, -1)}, time.Hour / minPerWindow, 0, nil},
		{"exhausted hour, Retry-After 60: no rate, a minute", 40, noLimits, Response{Status: 429, Limits: hour(100, 0, -1), RetryAfter: time.Minute}, time.Minute, 0, why},
		{"hour known to be exhausted: no rate", 40, hour(100, 0, -1), refused, time.Hour / minPerWindow, 0, nil},
		{"hour with requests remaining: a second, and half the rate", 40, hour(100, 50, -1), refused, time.Second, 10, why},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var a account
			for i := range tt.accepted {
				a.exchange(float64(i)*2/float64(tt.accepted), float64(i)*2/float64(tt.accepted), Response{Status: 200, Limits: tt.limits})
			}
			tt.r.Err = why
			a.exchange(1.999, 2, tt.r)
			if wait, err := a.limit(at(2)); wait != tt.wait || !errors.Is(err, tt.why) {
				t.Errorf("a pause of %v because of %v, want %v because of %v", wait, err, tt.wait, tt.why)
			}
			if math.Abs(a.rate-tt.rate) > 0.01 {
				t.Errorf("a rate of %v, want %v", a.rate, tt.rate)
			}
		})
	}
}

// More requests in flight than the limit allows do not hide that the window was reset.
func TestResetOfASmallWindow(t *testing.T) {
	var a account
	burst := func(remaining int64) (l Limits) {
		l = noLimits
		l[0] = Window{10, remaining, 2 * time.Second}
		return l
	}
	for range 17 {
		a.count(at(0), 0)
	}
	for i := range 17 {
		r := Response{Status: 429, Limits: noLimits, RetryAfter: 2 * time.Second}
		if i < 10 {
			r = Response{Status: 200, Limits: burst(int64(9 - i))}
		}
		a.end(&r, at(0), at(0.1), true)
	}
	a.exchange(2.2, 2.3, Response{Status: 200, Limits: burst(9)})
	if wait, _ := a.limit(at(2.3)); wait != 0 {
		t.Errorf("with 9 requests remaining, the next one waits for %v", wait)
	}
}

// After first requests that were refused with Retry-After, one request follows.
func TestFirstRequestsRefused(t *testing.T) {
	var a account
	for range 3 {
		a.count(at(0), 0)
	}
	limited := Response{Status: 429, Limits: noLimits, RetryAfter: time.Minute}
	for range 3 {
		a.end(&limited, at(0), at(0), true)
	}
	if wait, _ := a.limit(at(60)); wait != 0 {
		t.Errorf("the first after the pause waits for %v", wait)
	}
	a.count(at(60), 0)
	if wait, _ := a.limit(at(60)); wait != recheckDelay {
		t.Errorf("while it is in flight, the second waits for %v", wait)
	}
	a.end(&Response{Status: 200, Limits: hour(1000, 900, -1)}, at(60), at(60.1), true)
	if wait := a.pace(1, at(60.1)); wait > time.Second/10 {
		t.Errorf("with 900 requests for an hour, the next one waits for %v", wait)
	}
}

func TestRefusedAgain(t *testing.T) {
	learned := func() *account { // a rate of 10 requests per second
		a := &account{}
		for i := range 40 {
			a.exchange(float64(i)/20, float64(i)/20, accepted)
		}
		a.count(at(1.9), 0) // in flight
		a.exchange(2, 2, refused)
		return a
	}
	a := learned()
	a.end(&Response{Status: 429, Limits: noLimits}, at(1.9), at(2.1), true)
	if a.rate > 10.1 || a.rate < 9.9 || a.until != at(3) {
		t.Errorf("429 to a request sent before the first 429: rate %v, until %v", a.rate, a.until)
	}
	if d := a.pace(1, at(3)); d > time.Microsecond {
		t.Errorf("the first request after the pause waits for %v", d)
	}
	a.count(at(3), 0)
	if d := a.pace(1, at(3)); d.Round(time.Millisecond) != 100*time.Millisecond {
		t.Errorf("the second request waits for %v", d)
	}
	if d := a.pace(5, at(3)); d.Round(time.Millisecond) != 500*time.Millisecond {
		t.Errorf("the sixth request waits for %v", d)
	}

	a = learned()
	a.exchange(3, 3, accepted)
	a.exchange(4, 4, refused)
	if a.rate > 5.1 || a.rate < 4.9 || a.until != at(5) {
		t.Errorf("200, then 429: rate %v, until %v", a.rate, a.until)
	}

	a = learned()
	now, pauses := 3.0, []float64{2, 4, 8, 16, 32, 64, 120, 120}
	for _, pause := range pauses {
		a.exchange(now, now, refused)
		if a.until != at(now+pause) {
			t.Fatalf("at %v a pause until %v, want %v s", now, a.until, pause)
		}
		now += pause
	}
	if a.rate < 9.9 {
		t.Errorf("an outage lowers the rate to %v", a.rate)
	}
}

func TestRateGrows(t *testing.T) {
	for _, tt := range []struct {
		name    string
		pause   time.Duration
		waiting bool
		within  float64 // seconds
		rate    float64 // of 10 at first
	}{
		{"doubles in ten times the pause", time.Second, true, 10, 20},
		{"longer pause, slower growth", time.Minute, true, 600, 20},
		{"no growth if no request waits", time.Second, false, 10, 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := account{rate: 10, pause: tt.pause, firstRequest: at(0), since: at(0)}
			for now := 0.0; now < tt.within; now += 1 / a.rate {
				a.count(at(now), 0)
				a.end(&Response{Status: 200, Limits: noLimits}, at(now), at(now), tt.waiting)
			}
			if math.Abs(a.rate-tt.rate) > tt.rate/20 {
				t.Errorf("a rate of %v, want %v", a.rate, tt.rate)
			}
		})
	}
}

// Requests that do not keep the pace delay others by at most one spacing.
func TestRequestsWithoutPace(t *testing.T) {
	for _, tt := range []struct {
		name     string
		response Response
		want     time.Duration
	}{
		{"few remaining", Response{Status: 200, Limits: hour(1000, 10, -1)}, 2 * time.Hour / minPerWindow},
		{"none remaining", Response{Status: 429, Limits: hour(1000, 0, -1)}, 2 * time.Hour / minPerWindow},
		{"no response", Response{}, 2 * time.Hour / minPerWindow},
		{"window was reset", Response{Status: 200, Limits: hour(1000, 1000, -1)}, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var a account
			a.exchange(0, 1, Response{Status: 200, Limits: hour(1000, 50, -1)})
			for range 50 {
				a.count(at(2), 0)
			}
			for range 50 {
				a.end(&tt.response, at(2), at(3), true)
			}
			if d := a.pace(1, at(3)); d > tt.want {
				t.Errorf("the next request waits for %v, want at most %v", d, tt.want)
			}
		})
	}
	a := account{rate: 0.5, pause: time.Second}
	for range 50 {
		a.count(at(0), 0)
	}
	a.end(&Response{Status: 200, Limits: noLimits}, at(0), at(1), false)
	if d := a.pace(1, at(1)); d != 4*time.Second {
		t.Errorf("with a learned rate the next request waits for %v", d)
	}
}

// The rate is learned from the last seconds.
func TestRateIsRecent(t *testing.T) {
	var a account
	for i := range 600 {
		a.exchange(float64(i), float64(i), accepted)
	}
	for i := range 1000 {
		now := 600 + float64(i)/50
		a.exchange(now, now, accepted)
	}
	a.exchange(620, 620, refused)
	if a.rate < 20 || a.rate > 27 {
		t.Errorf("rate %v after 50 per second, want half", a.rate)
	}
}

func TestLimitsOf(t *testing.T) {
	var a account
	if got := a.limits(at(0)); got != noLimits {
		t.Errorf("before a response: %v", got)
	}
	a.exchange(0, 1, Response{Status: 200, Limits: hour(100, 7, 10*time.Second)})
	a.count(at(2), 0)
	for _, tt := range []struct {
		name     string
		inFlight int64
		now      float64
		want     Limits
	}{
		{"one in flight", 1, 2, hour(100, 6, 9*time.Second)},
		{"more in flight than remaining", 9, 2, hour(100, 0, 9*time.Second)},
		{"after the reset", 0, 11, hour(100, 7, -1)},
	} {
		a.inFlight = tt.inFlight
		if got := a.limits(at(tt.now)); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
