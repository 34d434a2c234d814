package ratelimit

import (
	"net/http"
	"time"
)

const (
	tooManyRequests = http.StatusTooManyRequests

	// initialRequests is how many requests may be sent before the first response. Each
	// accepted request allows one more, and so does every 10 ms.
	initialRequests = 16

	// recheckDelay is how long to wait, at most, for a response that may allow a request.
	recheckDelay = 20 * time.Millisecond

	// slowResponse is how long requests wait for the response to the last one. A poll has
	// ended by then, a create may not.
	slowResponse = 15 * time.Second

	// minRate is the lowest rate that is learned from 429s, in requests per second.
	minRate = 0.1
)

// account is what is known of one limit.
type account struct {
	windows      [3]window
	inFlight     int64
	peakInFlight int64  // the highest inFlight since a request did not overlap with the one before
	pacedAt      moment // when the last request was due by the pace of the windows
	firstRequest moment
	lastRequest  moment
	lastResponse moment
	responses    int64
	refusals     int64 // responses that do not allow one more request

	// From the last 429 that asks for a pause.
	until     moment
	why       error
	blockedAt moment

	// The rate learned from 429s, in requests per second; 0 for no limit.
	rate        float64
	ratedAt     moment        // when the last request was due by the rate
	pause       time.Duration // of the last 429
	rateLowered moment        // when the rate was last lowered
	since       moment        // the start of the count of accepted
	accepted    float64
}

// count counts a request that will be sent now. late is the number of postponed requests,
// which may be sent later than they are due.
func (a *account) count(now moment, late int64) {
	if a.firstRequest == 0 {
		a.firstRequest, a.since = now, now
	}
	a.pacedAt = max(a.pacedAt+a.spacing(1, now), now-a.spacing(late, now))
	if a.rate > 0 {
		a.ratedAt = max(a.ratedAt+seconds(1/a.rate), now)
	}
	for i := range a.windows {
		a.windows[i].sent++
	}
	a.lastRequest = now
	a.inFlight++
	a.peakInFlight = max(a.peakInFlight, a.inFlight)
}

// spacing returns how long after the last request the nth next one may be sent.
func (a *account) spacing(n int64, now moment) (d time.Duration) {
	for i := range a.windows {
		d = max(d, a.windows[i].spacing(float64(n), now))
	}
	return d
}

// evenSpacing returns the time between requests at which every window lasts until its
// reset; 0 if there is no limit.
func (a *account) evenSpacing(now moment) (d time.Duration) {
	for i := range a.windows {
		d = max(d, a.windows[i].evenSpacing(now))
	}
	return d
}

// pace returns how long the nth next request must wait to keep the pace.
func (a *account) pace(n int64, now moment) time.Duration {
	d := a.pacedAt + a.spacing(n, now) - now
	if a.rate > 0 {
		d = max(d, a.ratedAt+seconds(float64(n)/a.rate)-now)
	}
	return min(max(d, 0), maxPause)
}

// limit returns how long no request may be sent, ignoring the pace, and the error of the
// 429 that is the reason, if any.
func (a *account) limit(now moment) (time.Duration, error) {
	if d := a.until - now; d > 0 {
		return d, a.why
	}
	n, at := a.available(now)
	switch {
	case a.inFlight < n:
	case a.inFlight > 0 && now-a.lastRequest < slowResponse:
		return recheckDelay, nil
	case n <= 0:
		return min(max(at-now, 0), maxPause), nil
	}
	return 0, nil
}

// available returns how many requests may be in flight. If none may, at is when one may be
// sent to check the limit.
func (a *account) available(now moment) (n int64, at moment) {
	n = initialRequests + a.responses - a.refusals
	if a.firstRequest > 0 {
		n += int64((now - a.firstRequest) / (10 * time.Millisecond))
	}
	for i := range a.windows {
		m, t := a.windows[i].available(a.lastResponse)
		n, at = min(n, m), max(at, t)
	}
	return n, at
}

// blocked reports whether no request may be sent now, ignoring the pace.
func (a *account) blocked(now moment) bool {
	n, at := a.available(now)
	return a.until > now || n <= 0 && at > now
}

// next returns when a request may be sent, ignoring the pace. It may be in the past.
func (a *account) next(now moment) moment {
	if n, at := a.available(now); n <= 0 {
		return max(a.until, min(at, now+maxPause))
	}
	return a.until
}

// end records the response to a counted request that was sent at sent.
func (a *account) end(r *Response, sent, now moment, waiting bool) {
	a.inFlight--
	if r.Status != 0 {
		a.observe(r, sent, now, waiting)
	}
	// A request that was sent too early, or before a reset, delays others by one spacing.
	if a.pacedAt > now {
		a.pacedAt = min(a.pacedAt, now+a.spacing(1, now))
	}
	if a.rate > 0 {
		a.ratedAt = min(a.ratedAt, max(a.until, now+seconds(1/a.rate)))
	}
}

// observe records a response.
func (a *account) observe(r *Response, sent, now moment, waiting bool) {
	a.responses++
	if sent > a.lastResponse {
		a.peakInFlight = a.inFlight
	}
	overlap := a.peakInFlight
	a.lastResponse = now
	blocked := a.blocked(now)
	for i := range a.windows {
		a.windows[i].observe(&r.Limits[i], sent, now, overlap, a.inFlight, lengths[i])
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

// refuse records a 429. If a window is exhausted, that is the reason. So it is if the pause
// is long and the server has windows: another program may have exhausted one. Otherwise the
// server allows a lower rate than that of the last seconds.
func (a *account) refuse(r *Response, sent, now moment, overlap int64) {
	a.refusals++
	explained := false
	for i := range a.windows {
		switch w := &a.windows[i]; {
		case !w.known:
		case w.remaining <= overlap:
			w.exhaust(sent, now, r.RetryAfter)
			explained = true
		case r.RetryAfter > surplusTime:
			explained = true
		}
	}
	pause := r.RetryAfter
	switch {
	case explained || sent <= a.rateLowered:
	case pause > 0 && a.rate == 0 && a.accepted == 0: // nothing is known of the rate: one request follows
		a.firstRequest, a.refusals = now+pause, a.responses+initialRequests-1
		a.rateLowered, a.since = now, a.firstRequest
	default:
		if pause == 0 {
			pause = time.Second
			if a.accepted == 0 {
				pause = min(max(pause, 2*a.pause), 2*time.Minute)
			}
		}
		if a.rate == 0 {
			shortest := min(pause/4, time.Second) // the rate of a shorter burst is not meaningful
			a.rate = a.accepted * float64(time.Second) / float64(max(shortest, now-a.since))
		}
		if a.accepted > 0 || a.pause == 0 { // else the pause was too short, whatever the rate
			a.rate = max(a.rate/2, minRate)
		}
		a.pause, a.rateLowered, a.since, a.accepted = pause, now, now+pause, 0
		a.ratedAt = now + pause - seconds(1/a.rate) // the next may be sent at the end of the pause
	}
	if until := now + pause; pause > 0 && until > a.until {
		a.until, a.why = until, r.Err
	}
}

// accept records any other response. While requests wait, the learned rate grows: it
// doubles in ten times the last pause.
func (a *account) accept(now moment, waiting bool) {
	if d := now - a.since; d > 10*time.Second { // average over the last seconds
		a.since, a.accepted = a.since+d/2, a.accepted/2
	}
	a.accepted++
	if a.rate > 0 && waiting {
		a.rate += 0.07 * float64(time.Second) / float64(a.pause)
	}
}

// limits returns the windows at now.
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
