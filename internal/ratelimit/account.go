package ratelimit

import (
	"net/http"
	"time"
)

const (
	tooManyRequests = http.StatusTooManyRequests

	// start is how many requests are sent before the first response. Each response
	// allows one more, and so does each hundredth of a second.
	start = 16

	// again is how long to wait for a response that may tell more, at most.
	again = 20 * time.Millisecond

	// slow is how long a response may take that others wait for. A poll has ended by then,
	// a create may not.
	slow = 15 * time.Second

	// minRate is the least rate that is learned from 429, in requests per second.
	minRate = 0.1
)

// account is what is known of one limit.
type account struct {
	windows   [3]window
	inFlight  int64
	peak      int64  // the most in flight since a response came alone
	paced     moment // of the last request, by the pace of the windows
	last      moment // the last request
	heard     moment // the last response
	responses int64
	began     moment // the first request

	// Since the last 429 that asks to wait.
	until     moment
	why       error
	blockedAt moment

	// The rate learned from 429, requests per second; 0 for no limit.
	rate     float64
	rated    moment
	pause    time.Duration // of the last 429
	cut      moment        // when the rate was last lowered
	since    moment        // accepted is counted since
	accepted float64
}

// count counts a request that is about to be sent. So many others were put off, and may
// have let their time pass.
func (a *account) count(now moment, late int64) {
	if a.began == 0 {
		a.began, a.since = now, now
	}
	a.paced = max(a.paced+a.spacing(1, now), now-a.spacing(late, now))
	if a.rate > 0 {
		a.rated = max(a.rated+seconds(1/a.rate), now)
	}
	for i := range a.windows {
		a.windows[i].sent++
	}
	a.last = now
	a.inFlight++
	a.peak = max(a.peak, a.inFlight)
}

// spacing returns how long after the last request the nth from now may be sent.
func (a *account) spacing(n int64, now moment) (d time.Duration) {
	for i := range a.windows {
		d = max(d, a.windows[i].spacing(float64(n), now))
	}
	return d
}

// even returns the time between requests that every window lasts for; 0 for any.
func (a *account) even(now moment) (d time.Duration) {
	for i := range a.windows {
		d = max(d, a.windows[i].even(now))
	}
	return d
}

// pace returns how long the nth request from now must wait for the pace.
func (a *account) pace(n int64, now moment) time.Duration {
	d := a.paced + a.spacing(n, now) - now
	if a.rate > 0 {
		d = max(d, a.rated+seconds(float64(n)/a.rate)-now)
	}
	return min(max(d, 0), maxPause)
}

// limit returns how long no request may be sent, whatever the pace, and the error of the
// 429 that says so.
func (a *account) limit(now moment) (time.Duration, error) {
	if d := a.until - now; d > 0 {
		return d, a.why
	}
	free, at := a.free(now)
	switch {
	case a.inFlight < free:
	case a.inFlight > 0 && now-a.last < slow:
		return again, nil
	case free <= 0:
		return min(max(at-now, 0), maxPause), nil
	}
	return 0, nil
}

// free returns how many requests may be in flight, and if there are none, when one may
// be sent to ask again.
func (a *account) free(now moment) (free int64, at moment) {
	free = start + a.responses
	if a.began > 0 {
		free += int64((now - a.began) / (10 * time.Millisecond))
	}
	for i := range a.windows {
		n, t := a.windows[i].free(a.heard)
		free, at = min(free, n), max(at, t)
	}
	return free, at
}

// blocked reports whether nothing may be sent now, whatever the pace.
func (a *account) blocked(now moment) bool {
	free, at := a.free(now)
	return a.until > now || free <= 0 && at > now
}

// next returns when a request may be sent, whatever the pace; it may have passed.
func (a *account) next(now moment) moment {
	if free, at := a.free(now); free <= 0 {
		return max(a.until, min(at, now+maxPause))
	}
	return a.until
}

// end takes in the response to a request that count has counted, and that was sent at sent.
func (a *account) end(r *Response, sent, now moment, waiting bool) {
	a.inFlight--
	if r.Status != 0 {
		a.hear(r, sent, now, waiting)
	}
	// Who sent too soon, or before a reset, holds back others for one request's time.
	if a.paced > now {
		a.paced = min(a.paced, now+a.spacing(1, now))
	}
	if a.rate > 0 {
		a.rated = min(a.rated, max(a.until, now+seconds(1/a.rate)))
	}
}

// hear takes in a response.
func (a *account) hear(r *Response, sent, now moment, waiting bool) {
	a.responses++
	overlap := a.peak
	if sent > a.heard {
		a.peak = a.inFlight
	}
	a.heard = now
	blocked := a.blocked(now)
	for i := range a.windows {
		a.windows[i].hear(&r.Limits[i], sent, now, overlap, a.inFlight, lengths[i])
	}
	if r.Status == tooManyRequests {
		a.refuse(r, sent, now, overlap)
	} else {
		a.accept(now, waiting)
	}
	if !blocked && a.blocked(now) {
		a.blockedAt = now
	}
}

// refuse takes in a 429. If a window is spent, that explains it; otherwise the server
// accepts a lower rate than that of the last seconds.
func (a *account) refuse(r *Response, sent, now moment, overlap int64) {
	explained := false
	for i := range a.windows {
		if w := &a.windows[i]; w.known && w.remaining <= overlap {
			w.exhaust(sent, now, r.RetryAfter)
			explained = true
		}
	}
	pause := r.RetryAfter
	if !explained && sent > a.cut {
		if pause == 0 {
			pause = time.Second
			if a.accepted == 0 {
				pause = min(max(pause, 2*a.pause), 2*time.Minute)
			}
		}
		if a.rate == 0 {
			least := min(pause/4, time.Second) // a burst says little
			a.rate = a.accepted * float64(time.Second) / float64(max(least, now-a.since))
		}
		if a.accepted > 0 || a.pause == 0 { // else the pause was too short, which says nothing of the rate
			a.rate = max(a.rate/2, minRate)
		}
		a.pause, a.cut, a.since, a.accepted = pause, now, now+pause, 0
		a.rated = now + pause - seconds(1/a.rate) // the first may come at its end
	}
	if until := now + pause; pause > 0 && until > a.until {
		a.until, a.why = until, r.Err
	}
}

// accept takes in any other response. While requests wait the learned rate grows: it
// doubles in ten times the pause that going too far cost.
func (a *account) accept(now moment, waiting bool) {
	if d := now - a.since; d > 10*time.Second { // an average of the last seconds
		a.since, a.accepted = a.since+d/2, a.accepted/2
	}
	a.accepted++
	if a.rate > 0 && waiting {
		a.rate += 0.07 * float64(time.Second) / float64(a.pause)
	}
}

// limits returns the windows as they are at now.
func (a *account) limits(now moment) (limits Limits) {
	for i := range a.windows {
		limits[i] = Window{-1, -1, -1}
		w := &a.windows[i]
		if !w.known {
			continue
		}
		limits[i].Limit, limits[i].Remaining = w.limit, max(w.remaining-a.inFlight, 0)
		if d := w.reset - now; d > 0 {
			limits[i].Reset = d
		}
	}
	return limits
}

func seconds(s float64) time.Duration {
	return time.Duration(min(s*float64(time.Second), float64(maxPause)))
}
