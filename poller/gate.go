package poller

import (
	"slices"
	"sync"
	"time"

	"github.com/gamma-sdk/gamma-go/internal/retry"
)

// gate is what all waits on a Poller know about the budget that they share: it is
// the key's, so what one of them learns goes for all.
type gate struct {
	mu     sync.Mutex
	until  time.Time     // no wait polls before
	closed time.Duration // how long that was when it was said
	err    error         // the answer that said it
	low    bool          // the last answer, not a 429, had less than 1 % of a window left
	spent  int           // of the retry budget, in tenths of a retry
	pacer  pacer         // nil until All needs one

	line []chan struct{} // the calls of All that found no room, the longest without first
}

// retryBudget is how many failed polls may be repeated sooner than by the longest
// pause. A good answer gives a tenth of a retry back, so that while the API is down
// its clients send hardly anything.
const retryBudget = 100

// pacer keeps many waits within the budget. It is an interface so that a program
// that does not call All does not link it.
type pacer interface {
	begin()
	end(now time.Time, trip time.Duration, a answer)
	room(now time.Time, interval time.Duration) (bool, time.Duration)
}

// pace makes p keep the budget, if nothing does yet.
func (g *gate) pace(p pacer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pacer == nil {
		g.pacer = p
	}
}

// begin counts a request that is about to be sent, and reports whether it did.
func (g *gate) begin() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pacer == nil {
		return false
	}
	g.pacer.begin()
	return true
}

// end takes in the answer to a request that was sent trip ago, and that begin has
// counted or not.
func (g *gate) end(now time.Time, trip time.Duration, a answer, counted bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if a.answered {
		g.low = a.low && !a.limited
	}
	if counted {
		g.pacer.end(now, trip, a)
		g.wake()
	}
}

// overspent takes what kind an answer is of out of the retry budget, or gives it
// back, and reports whether the budget was spent before.
func (g *gate) overspent(k kind) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch k {
	case good:
		g.spent = max(g.spent-1, 0)
	case transient:
		if g.spent+10 > 10*retryBudget {
			return true
		}
		g.spent += 10
	}
	return false
}

// shut lets no wait poll for d from now, because of err. d may be 0.
func (g *gate) shut(now time.Time, d time.Duration, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if until := now.Add(d); d > 0 && until.After(g.until) {
		g.until, g.closed, g.err = until, d, err
	}
}

// hold returns how long a wait must not poll, and why if an answer forbids it.
// polled is its last poll, the zero time if there was none. random is its jitter,
// so that not all come back in one moment; it does not take the wait past room.
func (g *gate) hold(now, polled time.Time, interval, room time.Duration, random float64) (time.Duration, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if d := g.until.Sub(now); d > 0 {
		return max(d, min(d+retry.Jitter(g.closed/5, random), room)), g.err
	}
	if g.low && !polled.IsZero() {
		return max(polled.Add(lowFactor*interval).Sub(now), 0), nil
	}
	return 0, nil
}

// reserve counts one more request, for many waits that have no jitter of their
// own, if it may be sent. If not, it says when to ask again, 0 for when turn says
// so, and why if an answer forbids it. Who was refused goes before all others,
// which would otherwise take every bit of room as their own answers make it.
func (g *gate) reserve(now time.Time, interval time.Duration, turn chan struct{}) (ok bool, wait time.Duration, why error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if d := g.until.Sub(now); d > 0 {
		return false, d, g.err
	}
	if len(g.line) == 0 || g.line[0] == turn {
		ok, wait = g.pacer.room(now, interval)
	}
	switch {
	case ok:
		g.pacer.begin()
		g.leave(turn)
	case wait == 0 && !slices.Contains(g.line, turn):
		g.line = append(g.line, turn)
	}
	return ok, wait, nil
}

// pass gives up the place in the line.
func (g *gate) pass(turn chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leave(turn)
}

func (g *gate) leave(turn chan struct{}) {
	if i := slices.Index(g.line, turn); i >= 0 {
		g.line = slices.Delete(g.line, i, i+1)
	}
	g.wake()
}

// wake tells the first in the line to ask again.
func (g *gate) wake() {
	if len(g.line) == 0 {
		return
	}
	select {
	case g.line[0] <- struct{}{}:
	default: // it has not yet heard the last time
	}
}

// slow reports whether the last answer, not a 429, had less than 1 % of a window
// left.
func (g *gate) slow() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.low
}
