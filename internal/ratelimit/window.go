package ratelimit

import "time"

// Window is a rate-limit window as a response tells of it. A field is -1 if it does not.
type Window struct {
	Limit     int64         // requests allowed in the window
	Remaining int64         // requests left in the window
	Reset     time.Duration // until the window renews
}

// Limits are the windows of a response: burst, hour, day.
type Limits [3]Window

// lengths of the windows; that of the burst window is not published.
var lengths = [3]time.Duration{0, time.Hour, 24 * time.Hour}

const (
	// margin is for requests that arrive sooner than others.
	margin = 20 * time.Millisecond

	// soon is how long it takes at least to spend what need not last.
	soon = time.Minute

	// few requests may be sent in a window however little remains: with windows this
	// small, waiting for the reset is cheaper than spreading.
	few = 64

	// maxShare is how many programs are believed to share a key.
	maxShare = 16
)

// window is what is known of one window. Unless a response names the reset, only what
// remains is known, and that a jump of it is a reset. Times are those of sending.
type window struct {
	known     bool
	limit     int64         // or the most that remained
	remaining int64         // by the least response since the reset
	first     int64         // what remained then
	sent      int64         // requests of this process since
	length    time.Duration // at most; 0 while a burst window has not reset twice
	start     moment        // not after this: the first request that was counted in it
	latest    moment        // the last request that was
	previous  moment        // the last request of the window before; zero if not seen
	reset     moment        // as named by a response; zero if it is not
	refused   int           // 429s since the reset
}

// hear takes in the response to a request sent at sent. Responses that overtake each
// other may differ by up to overlap. inFlight requests are still to be counted.
func (w *window) hear(said *Window, sent, now moment, overlap, inFlight int64, length time.Duration) {
	if said.Remaining < 0 || said.Limit == 0 { // a limit of no requests is none
		if w.known && now-w.latest > max(length, soon) {
			*w = window{} // the server has stopped telling
		}
		return
	}
	if w.previous > 0 && sent < w.start {
		return // it may be about the window before
	}
	rise := said.Remaining - w.remaining
	if rise <= overlap || sent <= w.latest {
		rise = min(rise, 0) // an old response
	}
	switch {
	case !w.known:
		*w = window{known: true, remaining: said.Remaining, first: said.Remaining, sent: inFlight, length: length, start: sent, latest: sent}
	case rise > 0 && (length == 0 || rise > w.limit/8), // less may be a bucket that refills
		length > 0 && sent > w.latest && sent >= w.start+length && w.limit-said.Remaining < w.limit/8: // little of it was used
		if most := sent - w.previous; length == 0 && w.previous > 0 && (w.length == 0 || most < w.length) {
			w.length = min(most, time.Hour)
		}
		w.remaining, w.first, w.sent = said.Remaining, said.Remaining, inFlight
		w.start, w.previous, w.latest, w.reset, w.refused = sent, w.latest, sent, 0, 0
	default:
		w.remaining += rise
		w.latest = max(w.latest, sent)
	}
	w.limit = max(w.limit, said.Limit, said.Remaining)
	if reset := min(said.Reset, maxPause); reset > 0 {
		w.reset = now + reset
		if length == 0 {
			w.length = max(w.length, reset)
		}
	}
}

// exhaust notes that a request was refused, and for how long.
func (w *window) exhaust(sent, now moment, retryAfter time.Duration) {
	w.remaining = 0
	w.refused++
	w.latest = max(sent, now+retryAfter-time.Second) // whole seconds, rounded up
}

// ahead returns how long what remains must last.
func (w *window) ahead(now moment) time.Duration {
	if left := w.reset - now; left > 0 {
		return left + margin
	}
	return max(w.length-(now-w.start), w.length/16)
}

// paces reports whether what remains is to be spread over a time that is known.
func (w *window) paces(now moment) bool {
	return w.known && w.length > 0 && w.limit > 0 && (w.reset == 0 || now < w.reset)
}

// even returns the time between two requests if what remains is spread over the time
// until the window has certainly been reset; 0 for any.
func (w *window) even(now moment) time.Duration {
	if !w.paces(now) {
		return 0
	}
	return min(w.ahead(now)/time.Duration(max(w.remaining, 1)), w.length/few)
}

// spacing returns how long after the last request the nth from now may be sent, so that
// the window is never spent. What remains is spread over the time until the window has
// certainly been reset; what exceeds an even use of half of the limit, or of four
// fifths of a day's, may be used within a minute.
func (w *window) spacing(n float64, now moment) time.Duration {
	if !w.paces(now) {
		return 0
	}
	next := n
	if used := float64(w.first - w.remaining); used > few { // by all who share the key
		next *= min(max(1, used/float64(w.sent+1)), maxShare)
	}
	remaining, limit, length, keep := float64(w.remaining), float64(w.limit), float64(w.length), 0.5
	if w.length > time.Hour {
		keep = 0.8
	}
	ahead := float64(w.ahead(now))
	d := ahead + (next-remaining)*length/limit
	if 0 < next && next <= remaining {
		d = next / (remaining/ahead + max(0, remaining-keep*limit*ahead/length)/float64(soon))
	}
	return time.Duration(min(d, n*length/few, float64(maxPause)))
}

// free returns how many requests may be sent now, those in flight included, and if
// there are none, when one may be sent to ask again.
func (w *window) free(heard moment) (int64, moment) {
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
		return 0, heard + w.length/few
	}
	if heard < end {
		return 0, end + margin
	}
	return 0, heard + min(time.Second<<min(w.refused, 6), time.Minute) // it is late, or not known
}
