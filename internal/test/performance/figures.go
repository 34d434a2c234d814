package performance

import (
	"fmt"
	"strings"
)

// The rows of TwoDays are named by the generations created per second, the way in which the
// server counts its windows, and the way to wait. The documentation's loop is measured with
// the first three rates and the first way to count.
var (
	rates   = []float64{0.05, 0.2, 0.5, 1, 2}
	windows = []string{"clock", "first request", "sliding", "token bucket"}
)

// lateness returns the mean lateness in a row of TwoDays.
func (r *reader) lateness(rate float64, window, way string) string {
	return r.cell(TwoDays, fmt.Sprintf("%v, %s, %s", rate, window, way), "mean lateness, s")
}

// docsLateness returns the mean lateness of the documentation's loop, or nothing.
func (r *reader) docsLateness(rate float64) string {
	if rate > rates[2] {
		return ""
	}
	return r.lateness(rate, windows[0], "the docs' loop")
}

// summary has the main figures, with links to their sections.
func (r *reader) summary() []Table {
	poll := Table{Head: []string{"[One poll](#cost-of-a-poll)", "pending, in memory: ns", "allocations", "completed: ns", "allocations", "CPU over HTTP/1.1, 64 pollers: µs", "1,000 pollers: µs"}}
	for _, client := range []string{"gamma-go", "bare `net/http`", "oapi-codegen's default"} {
		poll.Rows = append(poll.Rows, []string{
			client,
			r.cell(InMemory, client, "pending: ns"), r.cell(InMemory, client, "pending: allocations"),
			r.cell(InMemory, client, "completed: ns"), r.cell(InMemory, client, "completed: allocations"),
			r.cell(Loopback, client, "64 pollers: CPU µs"), r.cell(Loopback, client, "1,000 pollers: CPU µs"),
		})
	}
	pacing := Table{Head: []string{"[10,000 generations at once](#rate-limits-and-pacing)", "mean lateness, s", "requests for each", "429", "with 1,000 requests per 10 s: mean lateness, s", "requests for each", "429"}}
	for _, way := range []string{"gamma-go `All`, first poll after 20 s", "vendor docs' loop, 5 s"} {
		row := []string{way}
		for _, title := range []string{NoBudget, Budget} {
			row = append(row, r.cell(title, way, "mean lateness, s"), r.cell(title, way, "requests per generation"), r.cell(title, way, "429"))
		}
		pacing.Rows = append(pacing.Rows, row)
	}
	load := Table{Head: []string{"[Created per second with one key](#rate-limits-and-pacing)", "per day", "gamma-go `All`: mean lateness, s", "waits ended by the rate limit", "vendor docs' loop, with its advice on 429: mean lateness, s"}}
	for _, rate := range rates {
		late, lost := "", 0.0
		for _, w := range windows {
			row := fmt.Sprintf("%v, %s, All", rate, w)
			if mean := r.lateness(rate, w, "All"); late == "" || r.number(mean) > r.number(late) {
				late = mean
			}
			n := r.number(r.cell(TwoDays, row, "lost"))
			lost = max(lost, n/max(1, n+r.number(r.cell(TwoDays, row, "known"))))
		}
		ended := "none"
		if lost > 0 {
			ended = Number(100*lost, 1) + " %"
		}
		load.Rows = append(load.Rows, []string{Number(rate, -1), Number(86_400*rate, 0), late, ended, r.docsLateness(rate)})
	}
	kib := func(row string) string { return Number(r.number(r.cell(Size, row, "measured"))/1024, 0) + " KiB" }
	median := func(title, row, column string) string {
		text, _, _ := strings.Cut(r.cell(title, row, column), " (")
		return text
	}
	others := Table{Head: []string{"Other figures", ""}, Rows: [][]string{
		{"[memory](#memory) of a waiting generation, 100,000 in `All`", r.cell(Memory, "100,000", "`All`") + " B"},
		{"the same with a goroutine per `Wait`", r.cell(Memory, "100,000", "a goroutine per `Wait`") + " B"},
		{"[riverwait](#riverwait) with " + r.cell(Polling, "riverwait", "waiting") + " waiting: cores of the process that polls", median(Polling, "riverwait", "cores: the process that polls")},
		{"the same: cores of PostgreSQL", median(Polling, "riverwait", "PostgreSQL")},
		{"the same: next poll by another process after SIGKILL", median(Takeover, "is killed (SIGKILL)", "next poll by another, s") + " s"},
		{"[a program](#size-of-a-program) that waits gains", kib("bytes of a program that only waits, beyond the bare program's")},
		{"a program that creates, waits and downloads gains", kib("bytes of the binary beyond the bare program's")},
	}}
	return []Table{poll, pacing, load, others}
}

func (r *reader) costPicture() string {
	c := chart{title: "CPU time of one poll over loopback, HTTP/1.1", unit: "µs of the client's process, each client with its own transport", series: []string{"64 concurrent pollers", "1,000 concurrent pollers"}}
	return c.barChart(r.groups(Loopback, "64 pollers: CPU µs", "1,000 pollers: CPU µs"))
}

func (r *reader) memoryPicture() string {
	c := chart{title: "Live memory per waiting generation", unit: "bytes, by the number of generations", series: []string{"All", "a goroutine per Wait", "azcore's PollUntilDone"}}
	return c.barChart(r.groups(Memory, "`All`", "a goroutine per `Wait`", "azcore's `PollUntilDone`"))
}

func (r *reader) walPicture() string {
	c := chart{title: "What a generation writes to PostgreSQL's write-ahead log", unit: "bytes", series: []string{"without page images", "page images"}}
	return c.barChart(r.groups(WAL, "the rest", "page images"))
}

func (r *reader) budgetPicture() string {
	c := chart{title: "Mean lateness of 10,000 generations at 1,000 requests per 10 s", unit: "seconds, and the responses 429"}
	groups := r.groups(Budget, "mean lateness, s")[1:] // without the oracle
	for i, g := range groups {
		groups[i].bars[0].text += " s, " + r.cell(Budget, g.name, "429") + " × 429"
	}
	return c.barChart(groups)
}

func (r *reader) growthPicture() string {
	c := chart{title: "CPU time of a poll by All, by the number of waiting generations", unit: "µs"}
	var l line
	for _, row := range r.table(Growth).Rows {
		l = append(l, [2]float64{r.number(row[0]), r.number(r.cell(Growth, row[0], "CPU per poll, µs"))})
	}
	return c.lineChart("waiting generations", false, []line{l})
}

func (r *reader) latenessPicture() string {
	c := chart{title: "Mean lateness over two days at the documented limits", unit: "seconds, by how the server counts its windows"}
	var lines []line
	for _, w := range windows {
		var l line
		for _, rate := range rates {
			l = append(l, [2]float64{rate, r.number(r.lateness(rate, w, "All"))})
		}
		c.series, lines = append(c.series, "All, "+w), append(lines, l)
	}
	var l line
	for _, rate := range rates[:3] {
		l = append(l, [2]float64{rate, r.number(r.docsLateness(rate))})
	}
	c.series, lines = append(c.series, "vendor docs' loop, "+windows[0]), append(lines, l)
	return c.lineChart("generations created per second", true, lines)
}

// groups returns the bars of some columns of a table, by its rows. Of rows with the same
// name it takes the first.
func (r *reader) groups(title string, columns ...string) []group {
	var groups []group
	for _, row := range r.table(title).Rows {
		if len(groups) > 0 && row[0] == groups[0].name {
			break // the rows start again
		}
		g := group{name: row[0]}
		for _, column := range columns {
			g.bars = append(g.bars, r.bar(title, row[0], column))
		}
		groups = append(groups, g)
	}
	return groups
}
