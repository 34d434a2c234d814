package poller

import "time"

const (
	// resetMargin is for requests that arrive sooner once than another time.
	resetMargin = 20 * time.Millisecond

	// resetSlack is how closely the moment of a reset is worth knowing: closer
	// costs more answers 429 than it saves time.
	resetSlack = 200 * time.Millisecond

	// resetVague is how uncertain a reset may be to learn the period from it.
	resetVague = 2 * time.Second
)

// budget keeps many waits within a rate limit of which they see no more than what
// is left in the window, and Retry-After once that is spent. It never sends what
// the last answer says is gone, counting what is still on its way. Then it asks
// with one request whether the window has begun anew: when Retry-After is over, and
// once it has seen two windows, when the next is due.
type budget struct {
	known     bool  // the server says what is left
	remaining int64 // by the least answer since the window began
	inFlight  int64
	peak      int64 // the most in flight at once since the window began

	gone   bool // nothing was left at goneAt, and no request sent since says otherwise
	goneAt time.Time
	sent   time.Time // of the latest request that was answered
	heard  time.Time // when the last answer came

	// Resets of the window, by the time of sending requests. The zero span and the
	// zero period are not known.
	first, last, next span
	windows           int64         // from first to last
	least, most       time.Duration // the period lies between
	opened            time.Time     // the first request after last that was not refused
	slack             time.Duration // how uncertain next may be without asking early
	early             int           // requests that came too early
	byClock           bool          // a window does not begin with its first request
}

// span is where a moment lies: after early and not after late.
type span struct{ early, late time.Time }

// begin counts a request that is about to be sent.
func (b *budget) begin() {
	b.inFlight++
	b.peak = max(b.peak, b.inFlight)
}

// end takes in the answer to a request that was sent trip ago.
func (b *budget) end(now time.Time, trip time.Duration, a answer) {
	b.inFlight--
	sent := now.Add(-trip)
	switch {
	case !a.answered:
		return
	case a.limited:
		b.refuse(sent, now, a.retryAfter)
		return
	case a.remaining < 0:
		*b = budget{inFlight: b.inFlight}
		return
	case b.gone:
		if !sent.After(b.goneAt) {
			return // it left before the last answer came
		}
		b.gone = false
		reset := span{b.goneAt, sent}
		if !b.next.late.IsZero() {
			reset = span{b.next.early, earlier(b.next.late, sent)}
		}
		b.renew(reset, sent)
		b.remaining, b.peak = a.remaining, b.inFlight
	case b.known && a.remaining > b.remaining+b.peak:
		b.renew(span{earlier(b.sent, sent), sent}, sent)
		b.remaining, b.peak = a.remaining, b.inFlight
	case !b.known, sent.After(b.heard):
		b.remaining, b.peak = a.remaining, b.inFlight
	default:
		// Answers may overtake each other, so the least counts.
		b.remaining = min(b.remaining, a.remaining)
	}
	b.known, b.sent, b.heard = true, later(b.sent, sent), now
	if b.remaining <= 0 {
		b.exhaust(now)
	}
}

// refuse takes in a 429.
func (b *budget) refuse(sent, now time.Time, retryAfter time.Duration) {
	if b.gone && sent.After(b.goneAt) && !b.next.late.IsZero() {
		b.early++
		b.slack = resetSlack << max(1, min(b.early, 4)-1) // asking early does not pay
		if !sent.Before(b.next.late) {
			b.forget() // what was learned is wrong
		}
	}
	b.known, b.remaining = true, 0
	b.exhaust(now)
	switch {
	case retryAfter > 0:
		// Whole seconds, rounded up.
		said := span{later(sent, sent.Add(retryAfter-time.Second)), now.Add(retryAfter)}
		if !b.next.late.IsZero() && said.early.Before(b.next.late) && b.next.early.Before(said.late) {
			said = span{later(said.early, b.next.early), earlier(said.late, b.next.late)}
		}
		b.next = said
	case !b.next.late.IsZero():
		b.next.early = later(b.next.early, sent)
	}
}

// exhaust notes that nothing is left, and works out when that will change.
func (b *budget) exhaust(now time.Time) {
	gone := b.gone
	b.gone, b.goneAt = true, now
	if gone {
		return
	}
	if b.next = (span{}); b.most == 0 {
		return
	}
	for b.next = b.last; !b.next.late.After(now); {
		b.next = span{b.next.early.Add(b.least), b.next.late.Add(b.most + resetMargin)}
	}
}

// forget starts to learn anew.
func (b *budget) forget() {
	b.first, b.last, b.next, b.least, b.most = span{}, span{}, span{}, 0, 0
}

// renew notes a reset, and that the request sent was the first after it.
func (b *budget) renew(reset span, sent time.Time) {
	b.byClock = b.byClock || b.least > 0 && sent.Before(b.opened.Add(b.least))
	b.opened = sent
	if reset.late.Sub(reset.early) > resetVague {
		b.forget()
		return
	}
	if !b.last.late.IsZero() {
		n := int64(1)
		if b.most > 0 {
			n = max(1, int64((reset.late.Sub(b.last.late)+b.most/2)/b.most))
		}
		b.windows += n
		b.learn(b.last, reset, n)
		if b.byClock {
			b.learn(b.first, reset, b.windows)
		}
	}
	if !b.byClock && b.early > 1 {
		reset = span{sent, sent} // the window begins with its first request
	}
	if b.last.late.IsZero() || !b.byClock {
		b.first, b.windows = reset, 0
	}
	b.last, b.next = reset, span{}
}

// learn narrows the period down by n windows from one reset to another.
func (b *budget) learn(from, to span, n int64) {
	least, most := max(0, to.early.Sub(from.late)/time.Duration(n)), to.late.Sub(from.early)/time.Duration(n)
	if b.most == 0 || least > b.most || most < b.least {
		b.least, b.most = least, most
		return
	}
	b.least, b.most = max(b.least, least), min(b.most, most)
}

// room reports whether one more request may be sent. If not, it says when to ask
// again, 0 for after the next answer. interval is how long to wait where nothing
// is known.
func (b *budget) room(now time.Time, interval time.Duration) (bool, time.Duration) {
	if !b.known || !b.gone && b.remaining > b.inFlight {
		return true, 0
	}
	if b.inFlight > 0 {
		return false, 0
	}
	at := b.goneAt.Add(interval)
	if !b.next.late.IsZero() {
		at = b.next.late
		if slack := at.Sub(b.next.early); slack > max(b.slack, resetSlack) {
			at = b.next.early.Add(slack / 2)
		}
	}
	return !at.After(now), max(at.Sub(now), 0)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
