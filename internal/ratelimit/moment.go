package ratelimit

import "time"

// moment is a point in time, as the duration since Budget.start; 0 for none. It takes a
// third of the memory of a time.Time.
type moment = time.Duration

// at returns t as a moment. The first call sets b.start so far in the past that no moment
// is 0.
func (b *Budget) at(t time.Time) moment {
	if b.start.IsZero() {
		b.start = t.Add(-2 * maxPause)
	}
	return t.Sub(b.start)
}
