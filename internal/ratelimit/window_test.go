package ratelimit

import (
	"testing"
	"time"
)

// at is the moment that many seconds after the start of a test.
func at(seconds float64) moment {
	return new(Budget).at(time.Now()) + time.Duration(seconds*float64(time.Second))
}

// told is a window of which a response tells what remains.
func told(remaining int64) Window { return Window{-1, remaining, -1} }

func TestWindowHear(t *testing.T) {
	const hour = time.Hour
	silent := Window{-1, -1, -1}
	type response struct {
		sent, now float64 // seconds
		said      Window
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
		{"without a limit it is the most that remained", hour, 0, []response{{1, 2, told(90)}, {3, 4, told(80)}},
			window{known: true, limit: 90, remaining: 80, first: 90, length: hour, start: at(1)}},
		{"a jump of what remains is a renewal", hour, 0, []response{{1, 2, Window{100, 60, -1}}, {3, 4, Window{100, 99, -1}}},
			window{known: true, limit: 100, remaining: 99, first: 99, length: hour, start: at(3)}},
		{"a small rise is a bucket that refills", hour, 0, []response{{1, 2, Window{100, 60, -1}}, {3, 4, Window{100, 72, -1}}},
			window{known: true, limit: 100, remaining: 72, first: 60, length: hour, start: at(1)}},
		{"a small rise renews the burst window", 0, 0, []response{{1, 2, Window{100, 60, -1}}, {3, 4, Window{100, 61, -1}}},
			window{known: true, limit: 100, remaining: 61, first: 61, start: at(3)}},
		{"a response that was overtaken does not raise what remains", hour, 5, []response{{2, 3, Window{20, 10, -1}}, {4, 5, Window{20, 15, -1}}},
			window{known: true, limit: 20, remaining: 10, first: 10, length: hour, start: at(2)}},
		{"nor does one that was sent before", hour, 0, []response{{2, 3, Window{20, 10, -1}}, {1, 4, Window{20, 19, -1}}},
			window{known: true, limit: 20, remaining: 10, first: 10, length: hour, start: at(2)}},
		{"one that was sent before may lower it", hour, 0, []response{{2, 3, Window{20, 10, -1}}, {1, 4, Window{20, 4, -1}}},
			window{known: true, limit: 20, remaining: 4, first: 10, length: hour, start: at(2)}},
		{"one that was sent before the renewal is of the window before", 0, 0, []response{{2, 3, Window{20, 3, -1}}, {10, 11, Window{20, 19, -1}}, {9, 12, Window{20, 2, -1}}, {13, 14, Window{20, 18, -1}}},
			window{known: true, limit: 20, remaining: 18, first: 19, start: at(10)}},
		{"the length of the burst window is not known after one renewal", 0, 0, []response{{0, 1, told(5)}, {10, 11, told(9)}},
			window{known: true, limit: 9, remaining: 9, first: 9, start: at(10)}},
		{"after two it is the time between them at most", 0, 0, []response{{0, 1, told(5)}, {10, 11, told(9)}, {15, 16, told(4)}, {22, 23, told(9)}},
			window{known: true, limit: 9, remaining: 9, first: 9, length: 22 * time.Second, start: at(22)}},
		{"a shorter time is better", 0, 0, []response{{0, 1, told(5)}, {10, 11, told(9)}, {15, 16, told(4)}, {22, 23, told(9)}, {29, 30, told(3)}, {30, 31, told(9)}},
			window{known: true, limit: 9, remaining: 9, first: 9, length: 15 * time.Second, start: at(30)}},
		{"a longer time is not", 0, 0, []response{{0, 1, told(5)}, {10, 11, told(9)}, {15, 16, told(4)}, {22, 23, told(9)}, {60, 61, told(3)}, {99, 99, told(9)}},
			window{known: true, limit: 9, remaining: 9, first: 9, length: 22 * time.Second, start: at(99)}},
		{"the reset is named", hour, 0, []response{{1, 2, Window{100, 90, 30 * time.Second}}},
			window{known: true, limit: 100, remaining: 90, first: 90, length: hour, start: at(1), reset: at(32)}},
		{"the reset of the burst window tells its length", 0, 0, []response{{1, 2, Window{100, 90, 30 * time.Second}}, {3, 4, Window{100, 89, 28 * time.Second}}},
			window{known: true, limit: 100, remaining: 89, first: 90, length: 30 * time.Second, start: at(1), reset: at(32)}},
		{"a burst window whose reset was not noticed is not taken for a shorter one", 0, 1, []response{
			{100, 100, Window{40, 20, -1}}, {111, 111, Window{40, 39, -1}}, {115, 115, Window{40, 20, -1}}, {131, 131, Window{40, 39, -1}}, {142, 142, Window{40, 39, -1}},
			{153, 153, Window{40, 39, -1}}, {161.8, 161.8, Window{40, 38, -1}}, {162.2, 162.2, Window{40, 37, -1}}, {163.5, 163.5, Window{40, 39, -1}},
		}, window{known: true, limit: 40, remaining: 39, first: 39, length: 31 * time.Second, start: at(163.5)}},
		{"an hour's burst window is no longer", 0, 0, []response{{0, 1, told(5)}, {10, 11, told(9)}, {15, 16, told(4)}, {9999, 9999, told(9)}},
			window{known: true, limit: 9, remaining: 9, first: 9, length: hour, start: at(9999)}},
		{"the next reset is not the same", hour, 0, []response{{1, 2, Window{100, 60, 30 * time.Second}}, {40, 41, Window{100, 99, -1}}},
			window{known: true, limit: 100, remaining: 99, first: 99, length: hour, start: at(40)}},
		{"a rise of less, but an hour has passed and the window is nearly full", hour, 0, []response{{1, 2, told(96)}, {3602, 3603, told(99)}},
			window{known: true, limit: 99, remaining: 99, first: 99, length: hour, start: at(3602)}},
		{"a window that was not used for an hour", hour, 0, []response{{1, 2, told(99)}, {3602, 3603, told(99)}},
			window{known: true, limit: 99, remaining: 99, first: 99, length: hour, start: at(3602)}},
		{"an hour has passed and the window is not nearly full: it slides", hour, 0, []response{{1, 2, told(99)}, {100, 101, told(50)}, {3602, 3603, told(53)}},
			window{known: true, limit: 99, remaining: 53, first: 99, length: hour, start: at(1)}},
		{"a response that tells nothing", hour, 0, []response{{1, 2, told(90)}, {3, 4, silent}},
			window{known: true, limit: 90, remaining: 90, first: 90, length: hour, start: at(1)}},
		{"an hour of them", hour, 0, []response{{1, 2, told(90)}, {3600, 3602, silent}}, window{}},
		{"a minute of them is enough for the burst window", 0, 0, []response{{1, 2, told(90)}, {60, 62, silent}}, window{}},
		{"but not less", 0, 0, []response{{1, 2, told(90)}, {60, 61, silent}}, window{known: true, limit: 90, remaining: 90, first: 90, start: at(1)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w window
			for _, r := range tt.responses {
				w.hear(&r.said, at(r.sent), at(r.now), tt.overlap, 0, tt.length)
			}
			w.latest, w.previous = 0, 0
			if w != tt.want {
				t.Errorf("got  %+v\nwant %+v", w, tt.want)
			}
		})
	}
}

func TestWindowCountsItsOwn(t *testing.T) {
	var w window
	w.hear(&Window{-1, 50, -1}, at(1), at(2), 0, 3, time.Hour)
	if w.sent != 3 {
		t.Errorf("%d requests after the first response, want the 3 in flight", w.sent)
	}
	w.sent = 40
	w.hear(&Window{-1, 99, -1}, at(3), at(4), 0, 2, time.Hour)
	if w.sent != 2 {
		t.Errorf("%d requests after a renewal, want the 2 in flight", w.sent)
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
		{"not known", window{}, 0, 1, 0},
		{"a burst window of unknown length", with(full, func(w *window) { w.length = 0 }), 0, 1, 0},
		{"a limit of nothing", with(of(0), func(w *window) { w.limit = 0 }), 0, 1, 0},
		{"full: half of it within a minute", full, 0, 1, 1 / (1 + 30.)},
		{"the tenth is ten times as late", full, 0, 10, 10 / (1 + 30.)},
		{"half spent at the start: what remains lasts", of(1800), 0, 1, 2},
		{"half spent half way: half of that within a minute", of(1800), 1800, 1, 1 / (1 + 15.)},
		{"a quarter remains half way: an even pace", of(900), 1800, 1, 2},
		{"a reset that is late comes within a sixteenth", of(900), 9999, 1, 1 / (4 + (900-112.5)/60)},
		{"few: one each sixty-fourth of the window", of(10), 0, 1, 3600 / 64.},
		{"more than remain come after the reset", of(10), 9999, 20, 225 + 10},
		{"nothing remains, and the next need not wait", of(0), 0, 0, 0},
		{"a day: a fifth of it within a minute", daily(86400), 0, 1, 1 / (1 + 288.)},
		{"a day: four fifths remain at the start", daily(69120), 0, 1, 1.25},
		{"a reset in half an hour", with(of(900), func(w *window) { w.reset = at(1800) }), 0, 1, 1800.02 / 900},
		{"the reset has passed", with(of(900), func(w *window) { w.reset = at(1800) }), 1800, 1, 0},
		{"others use as much", shared(200, 99), 0, 1, 4},
		{"others use ten times as much", shared(1000, 99), 0, 1, 20},
		{"no more than 16 programs share a key", shared(10000, 99), 0, 1, 32},
		{"what others use is not told by a few requests", shared(64, 0), 0, 1, 2},
		{"responses are late, others use nothing", shared(100, 400), 0, 1, 2},
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

func TestWindowFree(t *testing.T) {
	heard := at(100)
	for _, tt := range []struct {
		name string
		w    window
		free int64
		at   moment // zero for any
	}{
		{"not known", window{}, 1 << 30, 0},
		{"some remain", window{known: true, remaining: 5, length: time.Hour}, 5, 0},
		{"none until the reset", window{known: true, length: time.Hour, reset: at(200)}, 0, at(200.02)},
		{"the reset was told and did not come", window{known: true, length: time.Hour, reset: at(90), refused: 2}, 0, at(104)},
		{"none until the burst window ends", window{known: true, length: time.Minute, start: at(70)}, 0, at(130.02)},
		{"the burst window may end at any time", window{known: true}, 0, at(101)},
		{"it has not ended yet", window{known: true, refused: 3}, 0, at(108)},
		{"it does not end", window{known: true, refused: 1000}, 0, at(160)},
		{"the hour", window{known: true, length: time.Hour, start: at(0)}, 0, at(156.25)},
		{"the day", window{known: true, length: 24 * time.Hour, start: at(0)}, 0, at(1450)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if free, next := tt.w.free(heard); free != tt.free || next != tt.at {
				t.Errorf("%d, %v, want %d, %v", free, next, tt.free, tt.at)
			}
		})
	}
}

func TestWindowExhaust(t *testing.T) {
	for _, tt := range []struct {
		name       string
		retryAfter time.Duration
		renews     float64 // responses to requests from then on show a renewal
	}{
		{"without Retry-After", 0, 2},
		{"Retry-After is rounded up", time.Second, 3},
		{"Retry-After", 10 * time.Second, 12},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w window
			w.hear(&Window{100, 7, -1}, at(0), at(1), 0, 0, time.Hour)
			w.exhaust(at(2), at(3), tt.retryAfter)
			if w.remaining != 0 || w.refused != 1 {
				t.Fatalf("%d remain after %d refusals", w.remaining, w.refused)
			}
			w.hear(&Window{100, 50, -1}, at(tt.renews), at(99), 0, 0, time.Hour)
			if w.remaining != 0 {
				t.Error("a request that came before the reset shows one")
			}
			w.hear(&Window{100, 50, -1}, at(tt.renews+0.001), at(99), 0, 0, time.Hour)
			if w.remaining != 50 || w.refused != 0 {
				t.Error("no renewal")
			}
		})
	}
}
