package screen

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// batchOf returns a batch of 200 at noon, 3m20s after its start.
func batchOf() *state {
	s := &state{
		total:   200,
		started: noon.Add(-200 * time.Second),
		counts:  [steps]int{2, 4, 1},
		done:    100,
		failed:  4,
	}
	for i, name := range []string{"a.md", "b.md", "notes/quarterly-review.md", "d.md", "e.md", "f.md", "g.md"} {
		s.open = append(s.open, &job{
			name: name, step: waiting, since: noon.Add(-time.Duration(180-20*i) * time.Second),
			polls: 34 - 4*i, next: noon.Add(time.Duration(i) * 1500 * time.Millisecond),
		})
	}
	s.open[1].step = saving
	s.open[4].polls, s.open[4].next = 1, time.Time{}
	return s
}

func pausing(s *state, why string, d time.Duration) *state {
	s.why, s.until = why, noon.Add(d)
	return s
}

func TestLines(t *testing.T) {
	for _, test := range []struct {
		name          string
		state         *state
		width, height int
		look          look
		want          string
	}{
		{"80x24", batchOf(), 80, 24, look{}, `
████████████████████░░░░░░░░░░░░░░░░░░░░  104/200  52%  3m20s
creating 2, waiting 4, saving 1, done 100, failed 4
a.md                       3m00s, 34 polls, next now
b.md                       2m40s, saving
notes/quarterly-review.md  2m20s, 26 polls, next in 3s
d.md                       2m00s, 22 polls, next in 5s
e.md                       1m40s, 1 poll
and 2 more`},
		{"a pause makes nine lines", pausing(batchOf(), "rate limit", 12*time.Second), 80, 24, look{}, `
████████████████████░░░░░░░░░░░░░░░░░░░░  104/200  52%  3m20s
creating 2, waiting 4, saving 1, done 100, failed 4
pausing until 12:00:12 (12s): rate limit
a.md                       3m00s, 34 polls, next in 12s
b.md                       2m40s, saving
notes/quarterly-review.md  2m20s, 26 polls, next in 12s
d.md                       2m00s, 22 polls, next in 12s
e.md                       1m40s, 1 poll
and 2 more`},
		{"a pause that is over is not shown", pausing(batchOf(), "rate limit", 0), 80, 4, look{}, `
████████████████████░░░░░░░░░░░░░░░░░░░░  104/200  52%  3m20s
creating 2, waiting 4, saving 1, done 100, failed 4
a.md  3m00s, 34 polls, next now`},
		{"50x12", pausing(batchOf(), "the rate limit of the key allows no request", 12*time.Second), 50, 12, look{}, `
███████████████░░░░░░░░░░░░░░  104/200  52%  3m20s
creating 2 waiting 4 saving 1 done 100 failed 4
pausing 12s: the rate limit of the key allows no …
a.md                  3m00s, 34 polls, next in 12s
b.md                  2m40s, saving
notes/qua…-review.md  2m20s, 26 polls, next in 12s
d.md                  2m00s, 22 polls, next in 12s
e.md                  1m40s, 1 poll
and 2 more`},
		{"ASCII", batchOf(), 80, 3, look{ascii: true}, `
####################....................  104/200  52%  3m20s
creating 2, waiting 4, saving 1, done 100, failed 4`},
		{"colors", pausing(batchOf(), "", time.Second), 60, 4, look{color: true}, "\n" +
			green + "████████████████████" + reset + "░░░░░░░░░░░░░░░░░░░  104/200  52%  3m20s\n" +
			"creating 2, waiting 4, saving 1, done 100, failed 4\n" +
			yellow + "pausing until 12:00:01 (1s)" + reset},
		{"20 columns and 3 rows", batchOf(), 20, 3, look{}, `
104/200  52%  3m20s
4 failed, 7 open`},
		{"20 columns", pausing(batchOf(), "rate limit", 12*time.Second), 20, 24, look{}, `
104/200  52%  3m20s
4 failed, 7 open
pausing 12s: rate l…
a.md           3m00s
b.md           2m40s
notes/…iew.md  2m20s
d.md           2m00s
e.md           1m40s
and 2 more`},
		{"nothing has started", &state{total: -1, started: noon}, 80, 24, look{}, `
░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░  0/0+  0s
creating 0, waiting 0, saving 0, done 0, failed 0`},
		{"the total is not known", &state{total: -1, started: noon, done: 3}, 80, 24, look{}, `
████████████████████████████████████████  3/3+  0s
creating 0, waiting 0, saving 0, done 3, failed 0`},
		{"all have ended", &state{total: 3, started: noon, done: 3}, 80, 24, look{}, `
████████████████████████████████████████  3/3  100%  0s
creating 0, waiting 0, saving 0, done 3, failed 0`},
		{"more than the total", &state{total: 1, started: noon, done: 2, failed: 1}, 80, 24, look{}, `
████████████████████████████████████████  3/3  100%  0s
creating 0, waiting 0, saving 0, done 2, failed 1`},
		{"ambiguous characters are wide", &state{total: 2, started: noon, done: 1}, 80, 24, look{wide: true}, `
██████████░░░░░░░░░░  1/2  50%  0s
creating 0, waiting 0, saving 0, done 1, failed 0`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := "\n" + strings.Join(lines(test.state, noon, test.width, test.height, test.look), "\n")
			if got != test.want {
				t.Errorf("got:%s\nwant:%s", got, test.want)
			}
		})
	}
}

// plainText returns a line without its colors.
func plainText(s string) string {
	return strings.NewReplacer(green, "", yellow, "", reset, "").Replace(s)
}

func TestLinesFitEveryTerminal(t *testing.T) {
	names := []string{
		"a.md",
		strings.Repeat("long/", 60) + "name.md",
		"発表資料/" + strings.Repeat("漢字", 40) + ".md",
		"emoji ❤️ 👩‍👩‍👧 🇩🇪.md",
		"\x1b[31mred\x1b[0m\r\n\x07",
		"\xff\xfe broken",
		"",
	}
	for _, l := range []look{{}, {color: true}, {ascii: true}, {wide: true, color: true}} {
		for _, open := range []int{0, 1, 7, 2000} {
			s := &state{total: 5000, started: noon.Add(-30 * time.Hour), done: 1000, failed: 999}
			for i := range open {
				at := step(i % int(steps))
				s.counts[at]++
				s.open = append(s.open, &job{
					name: names[(i+3)%len(names)], step: at, since: s.started.Add(time.Duration(i)),
					polls: 1e6, next: noon.Add(time.Hour),
				})
			}
			pausing(s, strings.Repeat("発表 why ", 30), 20*time.Hour)
			for width := 1; width <= 100; width += 1 + width/20 {
				for _, height := range []int{1, 2, 3, 4, 7, 12} {
					got := lines(s, noon, width, height, l)
					if n := len(got); n < 1 || n > 9 || n > max(height-1, 1) {
						t.Fatalf("%+v, %d open, %dx%d: %d lines", l, open, width, height, n)
					}
					for _, line := range got {
						text := plainText(line)
						if n := l.columns(text); n > width {
							t.Errorf("%+v, %d open, %dx%d: %d columns: %q", l, open, width, height, n, line)
						}
						if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == '\x7f' || r == '\ufffd' || l.ascii && r > '~' }) {
							t.Errorf("%+v, %dx%d: not printable: %q", l, width, height, line)
						}
						if strings.Count(line, "\x1b") != 2*strings.Count(line, reset) {
							t.Errorf("%+v, %dx%d: an escape sequence was cut: %q", l, width, height, line)
						}
					}
				}
			}
		}
	}
}

func TestFitName(t *testing.T) {
	for _, test := range []struct {
		text  string
		width int
		look  look
		want  string
	}{
		{"short.md", 8, look{}, "short.md"},
		{"decks/2026/march.md", 12, look{}, "decks…rch.md"},
		{"decks/2026/march.md", 12, look{ascii: true}, "decks~rch.md"},
		{"漢字漢字漢字", 7, look{}, "漢…漢字"},
		{"decks", 4, look{}, "dec…"},
		{"decks", 1, look{}, "…"},
		{"decks", 1, look{wide: true}, "d"},
		{"漢字", 1, look{}, "…"},
		{"decks", 0, look{}, ""},
	} {
		if got := test.look.fitName(test.text, test.width); got != test.want {
			t.Errorf("fitName(%q, %d) = %q, want %q", test.text, test.width, got, test.want)
		}
	}
}

func TestDuration(t *testing.T) {
	for _, test := range []struct {
		d    time.Duration
		want string
	}{
		{-time.Second, "0s"},
		{0, "0s"},
		{time.Millisecond, "1s"},
		{59 * time.Second, "59s"},
		{time.Minute, "1m00s"},
		{61 * time.Second, "1m01s"},
		{time.Hour + 5*time.Minute, "1h05m"},
		{100 * time.Hour, "100h00m"},
	} {
		if got := Duration(test.d); got != test.want {
			t.Errorf("Duration(%v) = %q, want %q", test.d, got, test.want)
		}
	}
}

func TestSummary(t *testing.T) {
	for _, test := range []struct {
		name  string
		state *state
		want  string
	}{
		{"a batch", batchOf(), "3m20s: 104/200: creating 2, waiting 4, saving 1, done 100, failed 4; slowest a.md, 3m00s, 34 polls, next now"},
		{"a pause", pausing(batchOf(), "rate limit", time.Minute), "3m20s: 104/200: creating 2, waiting 4, saving 1, done 100, failed 4; pausing until 12:01:00 (1m00s): rate limit; slowest a.md, 3m00s, 34 polls, next in 1m00s"},
		{"nothing has started", &state{total: -1, started: noon}, "0s: 0/0+: creating 0, waiting 0, saving 0, done 0, failed 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.state.summary(noon, look{}); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func BenchmarkLines(b *testing.B) {
	for _, n := range []int{200, 100_000} {
		b.Run(fmt.Sprintf("open=%d", n), func(b *testing.B) {
			s := batchOf()
			s.open = slices.Repeat(s.open, n/len(s.open)+1)[:n]
			b.ReportAllocs()
			for b.Loop() {
				lines(s, noon, 80, 24, look{color: true})
			}
		})
	}
}
