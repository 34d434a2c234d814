package ratelimit

import "time"

// moment is a point in time as a Budget counts it, 0 for none. It is a third of a time.Time,
// and less code where two are compared.
type moment = time.Duration

// at returns t as a moment. They are counted from so long before the first one that is
// asked for that none is 0.
func (b *Budget) at(t time.Time) moment {
	if b.start.IsZero() {
		b.start = t.Add(-2 * maxPause)
	}
	return t.Sub(b.start)
}
