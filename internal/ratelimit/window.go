package ratelimit

import "time"

// Window is a rate-limit window as a response reports it. A field is -1 if it is not
// reported.
type Window struct {
	Limit     int64         // requests allowed in the window
	Remaining int64         // requests remaining in the window
	Reset     time.Duration // until the window resets
}

// Limits are the windows of a response: burst, hour, day.
type Limits [3]Window

// lengths of the windows. The length of the burst window is not documented.
var lengths = [3]time.Duration{0, time.Hour, 24 * time.Hour}

const (
	// resetMargin is added to a reset, since requests may take different times to arrive.
	resetMargin = 20 * time.Millisecond

	// surplusTime is the time over which the surplus of requests is spread, see spacing.
	surplusTime = time.Minute

	// minPerWindow requests are sent per window even if fewer remain: for so few, waiting
	// for the reset is better than spreading them.
	minPerWindow = 64

	// maxPrograms is the assumed maximum of programs that share a key.
	maxPrograms = 16
)

// window is what is known of one window. If responses do not report the reset, a jump of
// remaining is a reset. Times are those of sending a request.
type window struct {
	known     bool
	limit     int64         // the highest remaining if the limit is not reported
	remaining int64         // the lowest since the reset
	first     int64         // remaining after the reset
	sent      int64         // requests of this process since the reset
	length    time.Duration // maximum; 0 until a burst window has reset twice
	start     moment        // latest possible start: the first request counted in it
	latest    moment        // the last request counted in it
	previous  moment        // the last request of the previous window; 0 if none was seen
	reset     moment        // as reported; 0 if it is not
	refused   int           // 429s since the reset
}

// observe records the response to a request that was sent at sent. Responses that are
// received out of order may differ by up to overlap. inFlight requests have no response
// yet.
func (w *window) observe(reported *Window, sent, now moment, overlap, inFlight int64, length time.Duration) {
	if reported.Remaining < 0 || reported.Limit == 0 { // a limit of 0 means no limit
		if w.known && now-w.latest > max(length, surplusTime) {
			*w = window{} // the server no longer reports it
		}
		return
	}
	if w.previous > 0 && sent < w.start {
		return // it may be of the previous window
	}
	rise := reported.Remaining - w.remaining
	if rise <= overlap || sent <= w.latest {
		rise = min(rise, 0) // an old response
	}
	switch {
	case !w.known:
		*w = window{known: true, remaining: reported.Remaining, first: reported.Remaining, sent: inFlight, length: length, start: sent, latest: sent}
	case rise > 0 && (length == 0 || rise > w.limit/8), // less may be a token bucket that refills
		length > 0 && sent > w.latest && sent >= w.start+length && w.limit-reported.Remaining < w.limit/8: // little of it was used
		if longest := sent - w.previous; length == 0 && w.previous > 0 && (w.length == 0 || longest < w.length) {
			w.length = min(longest, time.Hour)
		}
		w.remaining, w.first, w.sent = reported.Remaining, reported.Remaining, inFlight
		w.start, w.previous, w.latest, w.reset, w.refused = sent, w.latest, sent, 0, 0
	default:
		w.remaining += rise
		w.latest = max(w.latest, sent)
	}
	w.limit = max(w.limit, reported.Limit, reported.Remaining)
	if reset := min(reported.Reset, maxPause); reset > 0 {
		w.reset = now + reset
		if length == 0 {
			w.length = max(w.length, reset)
		}
	}
}

// exhaust records that a request was refused, and the Retry-After.
func (w *window) exhaust(sent, now moment, retryAfter time.Duration) {
	w.remaining = 0
	w.refused++
	w.latest = max(sent, now+retryAfter-time.Second) // whole seconds, rounded up
}

// timeRemaining returns how long the remaining requests must last.
func (w *window) timeRemaining(now moment) time.Duration {
	if d := w.reset - now; d > 0 {
		return d + resetMargin
	}
	return max(w.length-(now-w.start), w.length/16)
}

// paces reports whether the remaining requests are spread over time.
func (w *window) paces(now moment) bool {
	return w.known && w.length > 0 && w.limit > 0 && (w.reset == 0 || now < w.reset)
}

// evenSpacing returns the time between requests if the remaining ones are spread evenly
// until the latest possible reset; 0 if there is no limit.
func (w *window) evenSpacing(now moment) time.Duration {
	if !w.paces(now) {
		return 0
	}
	return min(w.timeRemaining(now)/time.Duration(max(w.remaining, 1)), w.length/minPerWindow)
}

// spacing returns how long after the last request the nth next one may be sent, so that
// the window is never exhausted. Remaining requests are spread until the latest possible
// reset. The surplus over an even use of half of the limit, or of four fifths for a day,
// may be used within a minute.
func (w *window) spacing(n float64, now moment) time.Duration {
	if !w.paces(now) {
		return 0
	}
	next := n
	if used := float64(w.first - w.remaining); used > minPerWindow { // by all programs with the key
		next *= min(max(1, used/float64(w.sent+1)), maxPrograms)
	}
	remaining, limit, length, keep := float64(w.remaining), float64(w.limit), float64(w.length), 0.5
	if w.length > time.Hour {
		keep = 0.8
	}
	ahead := float64(w.timeRemaining(now))
	d := ahead + (next-remaining)*length/limit
	if 0 < next && next <= remaining {
		d = next / (remaining/ahead + max(0, remaining-keep*limit*ahead/length)/float64(surplusTime))
	}
	return time.Duration(min(d, n*length/minPerWindow, float64(maxPause)))
}

// available returns how many requests may be in flight. If none may, it returns when one may
// be sent to check the limit.
func (w *window) available(lastResponse moment) (int64, moment) {
	if !w.known {
		return 1 << 30, 0
	}
	if w.remaining > 0 {
		return w.remaining, 0
	}
	end := w.start + w.length
	switch {
	case w.reset > 0:
		end = w.reset
	case w.length >= time.Hour:
		return 0, lastResponse + w.length/minPerWindow
	}
	if lastResponse < end {
		return 0, end + resetMargin
	}
	return 0, lastResponse + min(time.Second<<min(w.refused, 6), time.Minute) // the reset is late or unknown
}
