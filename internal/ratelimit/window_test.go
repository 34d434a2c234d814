package ratelimit

import (
	"testing"
	"time"
)

// at returns the moment that many seconds after the start of a test.
func at(seconds float64) moment {
	return new(Budget).at(time.Now()) + time.Duration(seconds*float64(time.Second))
}

// onlyRemaining is a Window of a response without a limit and a reset.
func onlyRemaining(remaining int64) Window { return Window{-1, remaining, -1} }

func TestWindowObserve(t *testing.T) {
	const hour = time.Hour
	silent := Window{-1, -1, -1}
	type response struct {
		sent, now float64 // seconds
		reported  Window
	}
	for _, tt := range []struct {
		name      string
		length    time.Duration // 0 for the burst window
		overlap   int64
		responses []response
		want      window // without latest, previous and what the test does not set
	}{
		{"the first response", hour, 0, []response{{1, 2, Window{100, 90, -1}}},
			window{known: true, limit: 100, remaining: 90, first: 90, length: hour, start: at(1)}},
		{"without a reported limit, it is the highest remaining", hour, 0, []response{{1, 2, onlyRemaining(90)}, {3, 4, onlyRemaining(80)}},
			window{known: true, limit: 90, remaining: 80, first: 90, length: hour, start: at(1)}},
		{"a jump of remaining is a reset", hour, 0, []response{{1, 2, Window{100, 60, -1}}, {3, 4, Window{100, 99, -1}}},
			window{known: true, limit: 100, remaining: 99, first: 99, length: hour, start: at(3)}},
		{"a small rise is a token bucket that refills", hour, 0, []response{{1, 2, Window{100, 60, -1}}, {3, 4, Window{100, 72, -1}}},
			window{known: true, limit: 100, remaining: 72, first: 60, length: hour, start: at(1)}},
		{"a small rise is a reset of the burst window", 0, 0, []response{{1, 2, Window{100, 60, -1}}, {3, 4, Window{100, 61, -1}}},
			window{known: true, limit: 100, remaining: 61, first: 61, start: at(3)}},
		{"a response received out of order does not raise remaining", hour, 5, []response{{2, 3, Window{20, 10, -1}}, {4, 5, Window{20, 15, -1}}},
			window{known: true, limit: 20, remaining: 10, first: 10, length: hour, start: at(2)}},
		{"the response to an earlier request does not raise remaining", hour, 0, []response{{2, 3, Window{20, 10, -1}}, {1, 4, Window{20, 19, -1}}},
			window{known: true, limit: 20, remaining: 10, first: 10, length: hour, start: at(2)}},
		{"the response to an earlier request may lower remaining", hour, 0, []response{{2, 3, Window{20, 10, -1}}, {1, 4, Window{20, 4, -1}}},
			window{known: true, limit: 20, remaining: 4, first: 10, length: hour, start: at(2)}},
		{"the response to a request before the reset is ignored", 0, 0, []response{{2, 3, Window{20, 3, -1}}, {10, 11, Window{20, 19, -1}}, {9, 12, Window{20, 2, -1}}, {13, 14, Window{20, 18, -1}}},
			window{known: true, limit: 20, remaining: 18, first: 19, start: at(10)}},
		{"the length of the burst window is unknown after one reset", 0, 0, []response{{0, 1, onlyRemaining(5)}, {10, 11, onlyRemaining(9)}},
			window{known: true, limit: 9, remaining: 9, first: 9, start: at(10)}},
		{"the length of the burst window is at most the time between two resets", 0, 0, []response{{0, 1, onlyRemaining(5)}, {10, 11, onlyRemaining(9)}, {15, 16, onlyRemaining(4)}, {22, 23, onlyRemaining(9)}},
			window{known: true, limit: 9, remaining: 9, first: 9, length: 22 * time.Second, start: at(22)}},
		{"a shorter time between resets replaces a longer one", 0, 0, []response{{0, 1, onlyRemaining(5)}, {10, 11, onlyRemaining(9)}, {15, 16, onlyRemaining(4)}, {22, 23, onlyRemaining(9)}, {29, 30, onlyRemaining(3)}, {30, 31, onlyRemaining(9)}},
			window{known: true, limit: 9, remaining: 9, first: 9, length: 15 * time.Second, start: at(30)}},
		{"a longer time between resets is ignored", 0, 0, []response{{0, 1, onlyRemaining(5)}, {10, 11, onlyRemaining(9)}, {15, 16, onlyRemaining(4)}, {22, 23, onlyRemaining(9)}, {60, 61, onlyRemaining(3)}, {99, 99, onlyRemaining(9)}},
			window{known: true, limit: 9, remaining: 9, first: 9, length: 22 * time.Second, start: at(99)}},
		{"the reset is reported", hour, 0, []response{{1, 2, Window{100, 90, 30 * time.Second}}},
			window{known: true, limit: 100, remaining: 90, first: 90, length: hour, start: at(1), reset: at(32)}},
		{"the reported reset of the burst window is its length", 0, 0, []response{{1, 2, Window{100, 90, 30 * time.Second}}, {3, 4, Window{100, 89, 28 * time.Second}}},
			window{known: true, limit: 100, remaining: 89, first: 90, length: 30 * time.Second, start: at(1), reset: at(32)}},
		{"a reset of the burst window that was not noticed does not make it shorter", 0, 1, []response{
			{100, 100, Window{40, 20, -1}}, {111, 111, Window{40, 39, -1}}, {115, 115, Window{40, 20, -1}}, {131, 131, Window{40, 39, -1}}, {142, 142, Window{40, 39, -1}},
			{153, 153, Window{40, 39, -1}}, {161.8, 161.8, Window{40, 38, -1}}, {162.2, 162.2, Window{40, 37, -1}}, {163.5, 163.5, Window{40, 39, -1}},
		}, window{known: true, limit: 40, remaining: 39, first: 39, length: 31 * time.Second, start: at(163.5)}},
		{"the length of the burst window is at most an hour", 0, 0, []response{{0, 1, onlyRemaining(5)}, {10, 11, onlyRemaining(9)}, {15, 16, onlyRemaining(4)}, {9999, 9999, onlyRemaining(9)}},
			window{known: true, limit: 9, remaining: 9, first: 9, length: hour, start: at(9999)}},
		{"a reported reset does not count for the next window", hour, 0, []response{{1, 2, Window{100, 60, 30 * time.Second}}, {40, 41, Window{100, 99, -1}}},
			window{known: true, limit: 100, remaining: 99, first: 99, length: hour, start: at(40)}},
		{"a small rise after an hour, nearly full: a reset", hour, 0, []response{{1, 2, onlyRemaining(96)}, {3602, 3603, onlyRemaining(99)}},
			window{known: true, limit: 99, remaining: 99, first: 99, length: hour, start: at(3602)}},
		{"no rise after an hour without requests, nearly full: a reset", hour, 0, []response{{1, 2, onlyRemaining(99)}, {3602, 3603, onlyRemaining(99)}},
			window{known: true, limit: 99, remaining: 99, first: 99, length: hour, start: at(3602)}},
		{"a small rise after an hour, half full: a sliding window", hour, 0, []response{{1, 2, onlyRemaining(99)}, {100, 101, onlyRemaining(50)}, {3602, 3603, onlyRemaining(53)}},
			window{known: true, limit: 99, remaining: 53, first: 99, length: hour, start: at(1)}},
		{"a response without headers", hour, 0, []response{{1, 2, onlyRemaining(90)}, {3, 4, silent}},
			window{known: true, limit: 90, remaining: 90, first: 90, length: hour, start: at(1)}},
		{"an hour without headers", hour, 0, []response{{1, 2, onlyRemaining(90)}, {3600, 3602, silent}}, window{}},
		{"more than a minute without headers, burst window", 0, 0, []response{{1, 2, onlyRemaining(90)}, {60, 62, silent}}, window{}},
		{"a minute without headers, burst window", 0, 0, []response{{1, 2, onlyRemaining(90)}, {60, 61, silent}}, window{known: true, limit: 90, remaining: 90, first: 90, start: at(1)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w window
			for _, r := range tt.responses {
				w.observe(&r.reported, at(r.sent), at(r.now), tt.overlap, 0, tt.length)
			}
			w.latest, w.previous = 0, 0
			if w != tt.want {
				t.Errorf("got  %+v\nwant %+v", w, tt.want)
			}
		})
	}
}

func TestWindowSent(t *testing.T) {
	var w window
	w.observe(&Window{-1, 50, -1}, at(1), at(2), 0, 3, time.Hour)
	if w.sent != 3 {
		t.Errorf("%d requests after the first response, want the 3 in flight", w.sent)
	}
	w.sent = 40
	w.observe(&Window{-1, 99, -1}, at(3), at(4), 0, 2, time.Hour)
	if w.sent != 2 {
		t.Errorf("%d requests after a reset, want the 2 in flight", w.sent)
	}
}

func TestWindowSpacing(t *testing.T) {
	const hour, day = time.Hour, 24 * time.Hour
	full := window{known: true, limit: 3600, remaining: 3600, first: 3600, length: hour, start: at(0)}
	with := func(w window, change func(w *window)) window {
		change(&w)
		return w
	}
	of := func(remaining int64) window {
		return with(full, func(w *window) { w.remaining, w.first = remaining, remaining })
	}
	shared := func(used, sent int64) window {
		return with(full, func(w *window) { w.remaining, w.first, w.sent = 1800, 1800+used, sent })
	}
	daily := func(remaining int64) window {
		return window{known: true, limit: 86400, remaining: remaining, first: remaining, length: day, start: at(0)}
	}
	for _, tt := range []struct {
		name string
		w    window
		now  float64
		n    float64
		want float64 // seconds
	}{
		{"unknown", window{}, 0, 1, 0},
		{"burst window of unknown length", with(full, func(w *window) { w.length = 0 }), 0, 1, 0},
		{"limit 0", with(of(0), func(w *window) { w.limit = 0 }), 0, 1, 0},
		{"full: half may be used within a minute", full, 0, 1, 1 / (1 + 30.)},
		{"full, tenth request: ten times the spacing", full, 0, 10, 10 / (1 + 30.)},
		{"half used at the start: an even pace", of(1800), 0, 1, 2},
		{"half used after half of the time: a quarter may be used within a minute", of(1800), 1800, 1, 1 / (1 + 15.)},
		{"a quarter remaining after half of the time: an even pace", of(900), 1800, 1, 2},
		{"late reset: within a sixteenth of the window", of(900), 9999, 1, 1 / (4 + (900-112.5)/60)},
		{"few remaining: one per sixty-fourth of the window", of(10), 0, 1, 3600 / 64.},
		{"more than remaining: after the reset", of(10), 9999, 20, 225 + 10},
		{"none remaining, n is 0", of(0), 0, 0, 0},
		{"full day: a fifth may be used within a minute", daily(86400), 0, 1, 1 / (1 + 288.)},
		{"day, four fifths remaining at the start: an even pace", daily(69120), 0, 1, 1.25},
		{"reported reset in half an hour", with(of(900), func(w *window) { w.reset = at(1800) }), 0, 1, 1800.02 / 900},
		{"after the reported reset", with(of(900), func(w *window) { w.reset = at(1800) }), 1800, 1, 0},
		{"other programs use as much", shared(200, 99), 0, 1, 4},
		{"other programs use ten times as much", shared(1000, 99), 0, 1, 20},
		{"other programs use a hundred times as much: at most 16 programs", shared(10000, 99), 0, 1, 32},
		{"too few requests to tell what other programs use", shared(64, 0), 0, 1, 2},
		{"more sent than used: no other programs", shared(100, 400), 0, 1, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.w.spacing(tt.n, at(tt.now))
			want := time.Duration(tt.want * float64(time.Second))
			if (got - want).Abs() > time.Microsecond {
				t.Errorf("%v, want %v", got, want)
			}
		})
	}
}

func TestWindowAvailable(t *testing.T) {
	lastResponse := at(100)
	for _, tt := range []struct {
		name string
		w    window
		n    int64
		at   moment // if n is 0
	}{
		{"unknown", window{}, 1 << 30, 0},
		{"five remaining", window{known: true, remaining: 5, length: time.Hour}, 5, 0},
		{"none remaining, before the reported reset", window{known: true, length: time.Hour, reset: at(200)}, 0, at(200.02)},
		{"none remaining, after the reported reset, two 429s", window{known: true, length: time.Hour, reset: at(90), refused: 2}, 0, at(104)},
		{"none remaining, burst window of known length", window{known: true, length: time.Minute, start: at(70)}, 0, at(130.02)},
		{"none remaining, burst window of unknown length", window{known: true}, 0, at(101)},
		{"none remaining, burst window of unknown length, three 429s", window{known: true, refused: 3}, 0, at(108)},
		{"none remaining, burst window of unknown length, 1000 429s", window{known: true, refused: 1000}, 0, at(160)},
		{"none remaining, hour", window{known: true, length: time.Hour, start: at(0)}, 0, at(156.25)},
		{"none remaining, day", window{known: true, length: 24 * time.Hour, start: at(0)}, 0, at(1450)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if n, next := tt.w.available(lastResponse); n != tt.n || next != tt.at {
				t.Errorf("%d, %v, want %d, %v", n, next, tt.n, tt.at)
			}
		})
	}
}

func TestWindowExhaust(t *testing.T) {
	for _, tt := range []struct {
		name       string
		retryAfter time.Duration
		after      float64 // responses to requests sent after it show a reset
	}{
		{"no Retry-After", 0, 2},
		{"Retry-After 1, which is rounded up", time.Second, 3},
		{"Retry-After 10", 10 * time.Second, 12},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w window
			w.observe(&Window{100, 7, -1}, at(0), at(1), 0, 0, time.Hour)
			w.exhaust(at(2), at(3), tt.retryAfter)
			if w.remaining != 0 || w.refused != 1 {
				t.Fatalf("%d remaining after %d 429s", w.remaining, w.refused)
			}
			w.observe(&Window{100, 50, -1}, at(tt.after), at(99), 0, 0, time.Hour)
			if w.remaining != 0 {
				t.Error("reset by a request sent before it")
			}
			w.observe(&Window{100, 50, -1}, at(tt.after+0.001), at(99), 0, 0, time.Hour)
			if w.remaining != 50 || w.refused != 0 {
				t.Error("no reset")
			}
		})
	}
}
