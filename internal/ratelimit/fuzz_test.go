package ratelimit

import (
	"encoding/binary"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// FuzzBudget lets any responses come in any order. No wait is negative or longer than a
// day, nothing overflows, and once responses are good again requests are sent again.
func FuzzBudget(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("begin, wait, end: 429 and 200 with limits of all kinds, in any order"))
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32})
	raw := make([]byte, 0, 400) // requests that do not wait, of a day that is spent
	for range 100 {
		raw = append(raw, 0, 2, 0, 0)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			return
		}
		synctest.Test(t, func(t *testing.T) { fuzzBudget(t, data) })
	})
}

func fuzzBudget(t *testing.T, data []byte) {
	next := func() (b byte) {
		if len(data) > 0 {
			b, data = data[0], data[1:]
		}
		return b
	}
	number := func() int64 {
		switch b := next(); b % 8 {
		case 0:
			return 0
		case 1:
			return -1
		case 2:
			return math.MaxInt64 - int64(b/8)
		case 3:
			return math.MinInt64 + int64(b/8)
		case 4:
			var all [8]byte
			for i := range all {
				all[i] = next()
			}
			return int64(binary.LittleEndian.Uint64(all[:]))
		default:
			return int64(b) << (b % 8) / 4
		}
	}
	var b Budget
	operations := []*Operation{b.Operation("a"), b.Operation("b")}
	var sent [2][]time.Time
	var tickets [2]Ticket
	check := func(wait time.Duration) time.Duration {
		if wait < 0 || wait > maxPause {
			t.Fatalf("a wait of %v", wait)
		}
		return wait
	}
	end := func(i, j int, r Response) {
		r.Sent = sent[i][j]
		sent[i] = append(sent[i][:j], sent[i][j+1:]...)
		_, until := operations[i].End(r)
		check(max(time.Until(until), 0))
		for _, w := range b.Limits(time.Now()) {
			if w.Limit < -1 || w.Remaining < -1 || w.Reset < -1 || w.Reset > maxPause {
				t.Fatalf("limits %+v", w)
			}
		}
	}
	for len(data) > 0 {
		i := int(next() % 2)
		o, now := operations[i], time.Now()
		switch what := next(); what % 6 {
		case 0:
			o.Begin()
			sent[i] = append(sent[i], now)
		case 1:
			if wait, _ := o.Admit(&tickets[i], now, what >= 128); check(wait) == 0 {
				sent[i] = append(sent[i], now)
			}
		case 2:
			if check(o.Try(string('a'+next()%4), now, 0, 0)) == 0 {
				sent[i] = append(sent[i], now)
			}
		case 3:
			d := time.Duration(next()) * time.Millisecond
			time.Sleep(d * d / time.Millisecond * time.Duration(what/4))
		default:
			if len(sent[i]) == 0 {
				continue
			}
			r := Response{Status: []int{0, 200, 404, 429, 429, 503}[next()%6], Good: what > 200, Failed: what < 100}
			if r.Status != 0 {
				for w := range r.Limits {
					r.Limits[w] = Window{number(), number(), time.Duration(number())}
				}
				r.RetryAfter = time.Duration(min(uint64(number()), uint64(maxPause)))
			}
			end(i, int(next())%len(sent[i]), r)
		}
	}
	// From now on the server responds well, and tells that there is enough.
	good := Response{Status: 200, Good: true}
	for w := range good.Limits {
		good.Limits[w] = Window{math.MaxInt64, math.MaxInt64, -1}
	}
	for i, o := range operations {
		o.Leave(&tickets[i])
		for len(sent[i]) > 0 {
			end(i, 0, good)
		}
	}
	start := time.Now()
	for i, o := range operations {
		for range 20 {
			for n := 0; ; n++ {
				wait, _ := o.Admit(&tickets[i], time.Now(), false)
				if check(wait) == 0 {
					break
				}
				if n == 5000 {
					t.Fatalf("asked %d times in %v; the last is to wait for %v", n, time.Since(start), wait)
				}
				Sleep(t.Context(), wait, &tickets[i])
			}
			sent[i] = append(sent[i], time.Now())
			time.Sleep(time.Second)
			end(i, 0, good)
		}
	}
	if d := time.Since(start); d > 2*maxPause {
		t.Fatalf("40 requests took %v", d)
	}
}
