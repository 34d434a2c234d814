package ratelimit

import (
	"errors"
	"math"
	"testing"
	"time"
)

var silence = Limits{{-1, -1, -1}, {-1, -1, -1}, {-1, -1, -1}}

// hour is what a response tells of the hour alone.
func hour(limit, remaining int64, reset time.Duration) Limits {
	l := silence
	l[1] = Window{limit, remaining, reset}
	return l
}

// exchange lets a request be sent, and its response come.
func (a *account) exchange(sent, now float64, r Response) {
	a.count(at(sent), 0)
	a.end(&r, at(sent), at(now), true)
}

var (
	accepted = Response{Status: 200, Limits: silence}
	refused  = Response{Status: tooManyRequests, Limits: silence}
)

func TestSlowStart(t *testing.T) {
	var a account
	send := func(now float64) (n int) {
		for ; ; n++ {
			if wait, _ := a.limit(at(now)); wait > 0 {
				if wait != again {
					t.Errorf("the next asks again after %v", wait)
				}
				return n
			}
			a.count(at(now), 0)
		}
	}
	if n := send(0); n != start {
		t.Errorf("%d requests before the first response", n)
	}
	if n := send(0.05); n != 5 {
		t.Errorf("%d more after 50 ms", n)
	}
	a.end(&Response{Status: 200, Limits: silence}, at(0), at(0.05), true)
	if n := send(0.05); n != 2 {
		t.Errorf("%d more after a response, want the one that it frees and another", n)
	}
	a.end(&Response{}, at(0), at(0.05), true)
	if n := send(0.05); n != 1 {
		t.Errorf("%d more after a failure, want the one that it frees", n)
	}
}

func TestFree(t *testing.T) {
	var a account
	for range 4 { // the last is in flight
		a.count(at(0), 0)
	}
	for remaining := range 3 {
		a.end(&Response{Status: 200, Limits: hour(100, int64(3-remaining), -1)}, at(0), at(1), true)
	}
	if wait, _ := a.limit(at(1)); wait != again {
		t.Errorf("one remains and one is in flight: %v", wait)
	}
	a.end(&Response{Status: 200, Limits: hour(100, 0, -1)}, at(0), at(1), true)
	if wait, _ := a.limit(at(1)); wait != time.Hour/few {
		t.Errorf("none remains: %v", wait)
	}
	if wait, _ := a.limit(at(57.25)); wait != 0 {
		t.Errorf("when it is time to ask again: %v", wait)
	}
	a.count(at(57.25), 0)
	if wait, _ := a.limit(at(57.25)); wait != again {
		t.Errorf("while one asks: %v", wait)
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
		{"without Retry-After: a second, and half the rate", 40, silence, refused, time.Second, 10, why},
		{"with Retry-After", 40, silence, Response{Status: 429, Limits: silence, RetryAfter: time.Minute}, time.Minute, 10, why},
		{"the first of all: the least rate", 0, silence, refused, time.Second, minRate, why},
		{"a spent window explains it", 40, silence, Response{Status: 429, Limits: hour(100, 0, -1)}, time.Hour / few, 0, nil},
		{"and Retry-After counts", 40, silence, Response{Status: 429, Limits: hour(100, 0, -1), RetryAfter: time.Minute}, time.Minute, 0, why},
		{"a window that was known to be spent explains it", 40, hour(100, 0, -1), refused, time.Hour / few, 0, nil},
		{"a window with requests left does not", 40, hour(100, 50, -1), refused, time.Second, 10, why},
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

func TestRefusedAgain(t *testing.T) {
	begun := func() *account { // 10 requests per second are learned
		a := &account{}
		for i := range 40 {
			a.exchange(float64(i)/20, float64(i)/20, accepted)
		}
		a.count(at(1.9), 0) // its response comes later
		a.exchange(2, 2, refused)
		return a
	}
	a := begun()
	a.end(&Response{Status: 429, Limits: silence}, at(1.9), at(2.1), true)
	if a.rate > 10.1 || a.rate < 9.9 || a.until != at(3) {
		t.Errorf("one that was sent before the cut: rate %v, until %v", a.rate, a.until)
	}
	if d := a.pace(1, at(3)); d > time.Microsecond {
		t.Errorf("the first after the pause waits for %v", d)
	}
	a.count(at(3), 0)
	if d := a.pace(1, at(3)); d.Round(time.Millisecond) != 100*time.Millisecond {
		t.Errorf("the second follows after %v", d)
	}
	if d := a.pace(5, at(3)); d.Round(time.Millisecond) != 500*time.Millisecond {
		t.Errorf("the sixth follows after %v", d)
	}

	a = begun()
	a.exchange(3, 3, accepted)
	a.exchange(4, 4, refused)
	if a.rate > 5.1 || a.rate < 4.9 || a.until != at(5) {
		t.Errorf("one that was accepted, and another that was not: rate %v, until %v", a.rate, a.until)
	}

	a = begun()
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
		{"doubled in ten times the pause", time.Second, true, 10, 20},
		{"a longer pause, a slower growth", time.Minute, true, 600, 20},
		{"not while nobody waits", time.Second, false, 10, 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := account{rate: 10, pause: tt.pause, began: at(0), since: at(0)}
			for now := 0.0; now < tt.within; now += 1 / a.rate {
				a.count(at(now), 0)
				a.end(&Response{Status: 200, Limits: silence}, at(now), at(now), tt.waiting)
			}
			if math.Abs(a.rate-tt.rate) > tt.rate/20 {
				t.Errorf("a rate of %v, want %v", a.rate, tt.rate)
			}
		})
	}
}

// Requests that do not keep the pace hold back others for one request's time at most.
func TestRequestsWithoutPace(t *testing.T) {
	for _, tt := range []struct {
		name     string
		response Response
		want     time.Duration
	}{
		{"while little remains", Response{Status: 200, Limits: hour(1000, 10, -1)}, 2 * time.Hour / few},
		{"while nothing remains", Response{Status: 429, Limits: hour(1000, 0, -1)}, 2 * time.Hour / few},
		{"without a response", Response{}, 2 * time.Hour / few},
		{"until the window was renewed", Response{Status: 200, Limits: hour(1000, 1000, -1)}, time.Second},
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
				t.Errorf("the next waits for %v, want at most %v", d, tt.want)
			}
		})
	}
	a := account{rate: 0.5, pause: time.Second}
	for range 50 {
		a.count(at(0), 0)
	}
	a.end(&Response{Status: 200, Limits: silence}, at(0), at(1), false)
	if d := a.pace(1, at(1)); d != 4*time.Second {
		t.Errorf("by a learned rate the next waits for %v", d)
	}
}

// The rate is learned from the last seconds, not from the whole past.
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
		t.Errorf("half of 50 per second is %v", a.rate)
	}
}

func TestLimitsOf(t *testing.T) {
	var a account
	if got := a.limits(at(0)); got != silence {
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
		{"less what is in flight", 1, 2, hour(100, 6, 9*time.Second)},
		{"not less than nothing", 9, 2, hour(100, 0, 9*time.Second)},
		{"the reset has passed", 0, 11, hour(100, 7, -1)},
	} {
		a.inFlight = tt.inFlight
		if got := a.limits(at(tt.now)); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
