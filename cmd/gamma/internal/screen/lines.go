package screen

import (
	"iter"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gamma-sdk/gamma-go"
)

// step is the current step of a generation that has not ended.
type step uint8

const (
	creating step = iota
	waiting
	saving
	steps // the number of steps
)

var stepNames = [steps]string{"creating", "waiting", "saving"}

// job is a generation that has not ended.
type job struct {
	name, id string
	step     step
	since    time.Time
	index    int // order of arrival
	polls    int
	next     time.Time
}

// state is what the display shows.
type state struct {
	total        int // of inputs, -1 if unknown
	started      time.Time
	open         []*job // the oldest first
	counts       [steps]int
	done, failed int
	why          string // of the pause
	until        time.Time
}

const (
	maxLines = 9
	slowest  = 5
	maxBar   = 40
)

// lines returns the lines for a terminal of width columns and height rows at now: at least one,
// at most nine and at most height-1, none longer than width.
func lines(s *state, now time.Time, width, height int, l look) []string {
	rows := max(min(maxLines, height-1), 1)
	width = max(width, 1)
	all := []string{s.bar(now, width, l), s.count(width, l)}
	if s.pausing(now) {
		all = append(all, l.paint(yellow, s.pause(now, width, l)))
	}
	if n := min(slowest, rows-len(all), len(s.open)); n > 0 {
		all = append(all, slowestLines(s.open[:n], now, s.until, width, l)...)
		if more := len(s.open) - n; more > 0 && len(all) < rows {
			all = append(all, l.fit("and "+strconv.Itoa(more)+" more", width))
		}
	}
	return all[:min(rows, len(all))]
}

// bar returns the bar, with the number of generations that have ended and the time.
func (s *state) bar(now time.Time, width int, l look) string {
	ended := s.done + s.failed
	total := max(s.total, ended+len(s.open))
	elapsed := Duration(now.Sub(s.started))
	text := s.ended()
	if s.total >= 0 && total > 0 {
		text += "  " + strconv.Itoa(ended*100/total) + "%"
	}
	if full := text + "  " + elapsed; l.columns(full) <= width {
		text = full
	}
	text = l.fit(text, width)

	full, empty := "█", "░"
	if l.ascii {
		full, empty = "#", "."
	}
	size := min(width-l.columns(text)-2, maxBar) / l.columns(full)
	if size < 3 {
		return text
	}
	filled := 0
	if total > 0 {
		filled = size * ended / total
	}
	return l.paint(green, strings.Repeat(full, filled)) + strings.Repeat(empty, size-filled) + "  " + text
}

// ended returns the number of generations that have ended, and the total.
func (s *state) ended() string {
	ended := s.done + s.failed
	text := strconv.Itoa(ended) + "/" + strconv.Itoa(max(s.total, ended+len(s.open)))
	if s.total < 0 {
		text += "+" // there may be more
	}
	return text
}

// count returns the counts in the longest form that fits.
func (s *state) count(width int, l look) string {
	for _, form := range []func() string{
		func() string { return s.counted(", ") },
		func() string { return s.counted(" ") },
		func() string {
			return strconv.Itoa(len(s.open)) + " open, " + strconv.Itoa(s.done) + " done, " + strconv.Itoa(s.failed) + " failed"
		},
	} {
		if text := form(); l.columns(text) <= width {
			return text
		}
	}
	return l.fit(strconv.Itoa(s.failed)+" failed, "+strconv.Itoa(len(s.open))+" open", width)
}

// counted returns all counts.
func (s *state) counted(separator string) string {
	var b strings.Builder
	for i, name := range stepNames {
		b.WriteString(name + " " + strconv.Itoa(s.counts[i]) + separator)
	}
	return b.String() + "done " + strconv.Itoa(s.done) + separator + "failed " + strconv.Itoa(s.failed)
}

func (s *state) pausing(now time.Time) bool { return now.Before(s.until) }

// pause returns why nothing is sent and until when, in at most width columns.
func (s *state) pause(now time.Time, width int, l look) string {
	why, remaining := "", Duration(s.until.Sub(now))
	if s.why != "" {
		why = ": " + l.printable(s.why)
	}
	text := "pausing until " + s.until.In(now.Location()).Format("15:04:05") + " (" + remaining + ")" + why
	if l.columns(text) <= width {
		return text
	}
	return l.fit("pausing "+remaining+why, width)
}

// slowestLines returns a line for each of jobs: the name and as many details as leave
// room for it. until is the end of the pause of all.
func slowestLines(jobs []*job, now, until time.Time, width int, l look) []string {
	names, longest := make([]string, len(jobs)), 0
	for i, j := range jobs {
		names[i] = l.printable(j.name)
		longest = max(longest, l.columns(names[i]))
	}
	const gap, shortest = 2, 10 // columns: between name and details, of a name that was cut
	details, room := make([]string, len(jobs)), 0
	for level := 3; level > 0; level-- {
		most := 0
		for i, j := range jobs {
			details[i] = j.details(now, until, level)
			most = max(most, len(details[i]))
		}
		room = width - gap - most
		if room >= min(longest, shortest) {
			break
		}
	}
	if room < 1 {
		room = width
		clear(details)
	}
	column := min(longest, room)
	for i, detail := range details {
		names[i] = l.fitName(names[i], column)
		if detail != "" {
			names[i] += strings.Repeat(" ", column-l.columns(names[i])+gap) + detail
		}
	}
	return names
}

// details returns the elapsed time, from level 2 on also the polls or the step, and at level 3
// also the time of the next poll.
func (j *job) details(now, until time.Time, level int) string {
	text := Duration(now.Sub(j.since))
	switch {
	case level < 2:
	case j.step != waiting:
		text += ", " + stepNames[j.step]
	case j.polls == 1:
		text += ", 1 poll"
	default:
		text += ", " + strconv.Itoa(j.polls) + " polls"
	}
	if level == 3 && j.step == waiting && !j.next.IsZero() {
		next := j.next
		if next.Before(until) {
			next = until
		}
		if now.Before(next) {
			text += ", next in " + Duration(next.Sub(now))
		} else {
			text += ", next now"
		}
	}
	return text
}

// summary returns the state in one line of any length.
func (s *state) summary(now time.Time, l look) string {
	text := Duration(now.Sub(s.started)) + ": " + s.ended() + ": " + s.counted(", ")
	if s.pausing(now) {
		text += "; " + s.pause(now, math.MaxInt, l)
	}
	if len(s.open) > 0 {
		j := s.open[0]
		text += "; slowest " + l.printable(j.name) + ", " + j.details(now, s.until, 3)
	}
	return text
}

// Duration returns d rounded up to seconds, and to minutes from an hour on.
func Duration(d time.Duration) string {
	seconds := int64((max(d, 0) + time.Second - 1) / time.Second)
	minutes, hours := seconds/60, seconds/3600
	switch {
	case minutes == 0:
		return strconv.FormatInt(seconds, 10) + "s"
	case hours == 0:
		return strconv.FormatInt(minutes, 10) + "m" + two(seconds%60) + "s"
	}
	return strconv.FormatInt(hours, 10) + "h" + two(minutes%60) + "m"
}

func two(n int64) string {
	text := strconv.FormatInt(n, 10)
	if n < 10 {
		return "0" + text
	}
	return text
}

// printable returns text for one line, in ASCII where the locale wants it.
func (l look) printable(text string) string {
	text = gamma.Printable(text)
	if !l.ascii {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if r < utf8.RuneSelf {
			b.WriteByte(byte(r))
			continue
		}
		quoted := strconv.QuoteRuneToASCII(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

// Escape sequences of colors.
const (
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	reset  = "\x1b[0m"
)

// paint returns text in a color. Its width must have been fitted before.
func (l look) paint(color, text string) string {
	if !l.color || text == "" {
		return text
	}
	return color + text + reset
}

// backward yields the characters of s from the last to the first, with their indices.
func backward(s string) iter.Seq2[int, rune] {
	return func(yield func(int, rune) bool) {
		for end := len(s); end > 0; {
			r, size := utf8.DecodeLastRuneInString(s[:end])
			end -= size
			if !yield(end, r) {
				return
			}
		}
	}
}
