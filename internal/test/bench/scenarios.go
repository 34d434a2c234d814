package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gamma-sdk/gamma-go/internal/test/performance"
)

// section is a table of scenarios. A row has the name of its scenario without the parts
// that the title tells.
type section struct {
	title, note string
	titled      int  // parts of the names, separated by slashes, that the title tells
	merged      bool // a row has the worst figures of the scenarios that differ only in the last part
	columns     []column
	scenarios   []scenario
}

type column struct {
	head string
	cell func(figures) string
}

var (
	knownColumn    = column{"known", func(f figures) string { return number(float64(f.Known), 0) }}
	lostColumn     = column{"lost", func(f figures) string { return number(float64(f.Lost), 0) }}
	meanColumn     = column{"mean lateness, s", func(f figures) string { return number(f.Mean.Seconds(), 1) }}
	p95Column      = column{"95 %, s", func(f figures) string { return number(f.P95.Seconds(), 1) }}
	requestsColumn = column{"requests per generation", func(f figures) string { return number(f.Requests, 1) }}
	busiestColumn  = column{"busiest second", func(f figures) string { return number(float64(f.Busiest), 0) }}
	refusedColumn  = column{"429", func(f figures) string { return number(float64(f.Refused), 0) }}
	lastColumn     = column{"all known after, s", func(f figures) string { return number(f.Last.Seconds(), 0) }}
	bestColumn     = column{"ratio to the oracle", func(f figures) string { return number(f.Last.Seconds()/f.Best.Seconds(), 3) }}
	silenceColumn  = column{"longest silence", func(f figures) string { return short(f.Silence) }}
	spentColumn    = column{"first spent", func(f figures) string { return f.Spent }}
	pausesColumn   = column{"pauses in 10 min", func(f figures) string { return number(float64(f.Pauses), 0) }}
	slowestColumn  = column{"slowest create", func(f figures) string { return short(f.Slowest) }}
	shareColumn    = column{"polls of the first call", func(f figures) string { return number(100*f.Share, 0) + " %" }}
	usedColumn     = column{"rate used", func(f figures) string {
		if f.Used == 0 {
			return "" // there were too few generations to use it
		}
		return number(100*f.Used, 0) + " %"
	}}
	usualColumns = []column{knownColumn, lostColumn, meanColumn, p95Column, requestsColumn, refusedColumn, silenceColumn}
)

// sections are the tables of pacing. The first ones compare ways to wait for that many
// generations.
func sections(jobs int) []section {
	return slices.Concat(pacingSections(jobs), []section{daysSection(), atOnceSection(), leakySection(), sharedSection(), createsSection()})
}

// of returns one limiter for all operations.
func of(limit func() limiter) func() (polls, creates limiter) {
	return func() (limiter, limiter) {
		l := limit()
		return l, l
	}
}

// ofEach returns a limiter for each operation.
func ofEach(limit func() limiter) func() (polls, creates limiter) {
	return func() (limiter, limiter) { return limit(), limit() }
}

// pacingSections compare ways to wait for many generations, without and with a rate limit.
func pacingSections(jobs int) []section {
	const theOracle = "an oracle that knows when each finishes"
	var all []section
	for _, rateLimit := range []string{"no limit", "limit", "limit by the clock"} {
		s := section{
			title:   fmt.Sprintf("Pacing %s generations, no rate limit", number(float64(jobs), 0)),
			titled:  2,
			columns: []column{meanColumn, p95Column, requestsColumn, busiestColumn, refusedColumn, lastColumn, bestColumn},
			note: "In virtual time. The generations are created within a second. Their durations have a lognormal distribution with median 75 s and 95th percentile 180 s; a response takes 50 ms. " +
				"Lateness is the time from the completion of a generation until the program knows of it.",
		}
		limit := func() limiter { return unlimited{} }
		if rateLimit != "no limit" {
			s.title = fmt.Sprintf("Pacing %s generations, %s requests per 10 s", number(float64(jobs), 0), number(float64(jobs/10), 0))
			s.note = "As above, with a fixed window that starts with its first request. Clients see only `x-ratelimit-remaining-burst` and, with a 429, `Retry-After` in whole seconds."
			limit = func() limiter {
				l := perTenSeconds(jobs / 10)
				l.all[0].onlyRest = true
				if rateLimit == "limit by the clock" {
					l.all[0].kind = byClock
				}
				return l
			}
		}
		if rateLimit == "limit by the clock" {
			s.title += ", by the clock"
			s.note = "As above, with a fixed window by the clock."
		}
		for _, way := range slices.Concat([]strategy{{way: way{name: theOracle}}}, strategies) {
			c := scenario{
				name: "pacing/" + rateLimit + "/" + way.name,
				jobs: jobs, every: time.Second / time.Duration(jobs), lasts: lognormal(75 * time.Second), rtt: [2]time.Duration{50 * time.Millisecond, 50 * time.Millisecond},
				limit: of(limit), way: way.way, timeout: -1, first: way.first,
			}
			switch {
			case !strings.Contains(way.name, "`All`"):
				c.slow = true
			case rateLimit == "no limit":
				c.bars = bars{lost: true, mean: 2800 * time.Millisecond, busiest: jobs / 3}
				if way.first > 0 {
					c.bars.requests = 15.5
				}
			default:
				c.bars = bars{lost: true, mean: 46 * time.Second, refused: 20, oracle: 1.02}
			}
			s.scenarios = append(s.scenarios, c)
		}
		all = append(all, s)
	}
	return all
}

// daysSection has two days at the documented limits.
func daysSection() section {
	s := section{
		title:   performance.TwoDays,
		titled:  1,
		merged:  true,
		columns: append(slices.Clone(usualColumns), spentColumn),
		note: "In virtual time, with limits of 10,000 requests per burst window of 60 s, 40,000 per hour and 200,000 per day. A row is named by the generations created per second, evenly, " +
			"by how the server counts its windows, and by the way to wait. Durations have a lognormal distribution with median 60 s and 95th percentile 180 s, and are at least 15 s; a round trip takes 50 to 200 ms. " +
			"The timeout is the default, 5 minutes. Lost: finished within the timeout, but the wait ended with an error. " +
			"Each row has the worst figures of three runs: without Retry-After, with an exact one, and with one of 60 s. With windows by the clock, a run starts in the middle of an hour and of a day. " +
			"Check is called by a scheduler when NextPoll has passed, until its first poll after the timeout. The documentation's loops have no timeout, and a single run without Retry-After.",
	}
	// The tests run only these, to save time.
	quick := []string{
		"0.05/first request/Check/Retry-After: 60",
		"0.2/clock/All/no Retry-After",
		"0.5/sliding/Check/Retry-After exact",
		"0.5/clock/Wait/no Retry-After",
		"0.5/clock/All/x-ratelimit-reset",
		"0.5/token bucket/Wait/Retry-After exact",
		"0.5/clock, ten processes/All/no Retry-After",
		"0.5/clock, separate limit for creates/All/no Retry-After",
		"1/clock/All/Retry-After exact",
		"1/first request/Wait/no Retry-After",
		"1/token bucket/All/Retry-After: 60",
		"2/clock/All/no Retry-After",
	}
	means := map[float64]time.Duration{0.2: 4 * time.Second, 0.5: 12500 * time.Millisecond, 1: 32 * time.Second}
	add := func(rate float64, kind kind, said says, way way, what string, change func(*scenario)) {
		name := fmt.Sprintf("%v/%s%s/%s/%s", rate, kind, what, way.name, said)
		c := scenario{
			name: "days/" + name, slow: !slices.Contains(quick, name),
			jobs: int(rate * 48 * 3600), every: time.Duration(float64(time.Second) / rate),
			limit: of(func() limiter { return documented(kind, said, time.Minute) }), way: way,
		}
		if rate < 2 {
			c.bars = bars{lost: true, refused: 20, silence: 30 * time.Second, mean: means[rate]}
		}
		if change != nil {
			change(&c)
		}
		s.scenarios = append(s.scenarios, c)
	}
	ways := []way{byAll, byWait, byCheck}
	for _, rate := range []float64{0.05, 0.2, 0.5, 1, 2} {
		for _, kind := range []kind{byClock, fromFirst, sliding, bucket} {
			for _, way := range ways {
				for _, said := range []says{nothing, exactly, always60} {
					add(rate, kind, said, way, "", nil)
				}
			}
		}
	}
	for _, rate := range []float64{0.05, 0.2, 0.5} { // with more, too many loops are waiting to simulate them
		add(rate, byClock, nothing, byDocs, "", func(c *scenario) { c.slow, c.bars = true, bars{} })
	}
	for _, way := range ways {
		for _, kind := range []kind{byClock, fromFirst} {
			add(0.5, kind, theResets, way, ", reset in the headers", nil)
		}
		add(0.5, byClock, nothing, way, ", ten processes", func(c *scenario) {
			c.calls, c.bars = 10, bars{lost: true, mean: 14 * time.Second}
		})
	}
	add(0.5, byClock, nothing, byAll, ", separate limit for creates", func(c *scenario) {
		c.creates, c.bars.created = true, true
		c.limit = ofEach(func() limiter { return documented(byClock, nothing, time.Minute) })
	})
	return s
}

// atOnceSection has many generations that are created at the same moment.
func atOnceSection() section {
	s := section{
		title:   "Many generations at once, at the documented limits",
		titled:  1,
		columns: append(slices.Clone(usualColumns), spentColumn),
		note:    "As above, windows by the clock, without Retry-After.",
	}
	add := func(name string, jobs, batch int, every, first, burst, mean time.Duration, ways ...way) {
		for _, way := range ways {
			s.scenarios = append(s.scenarios, scenario{
				name: "at once/" + name + "/" + way.name,
				jobs: jobs, batch: batch, every: every, first: first, way: way,
				limit: of(func() limiter { return documented(byClock, nothing, burst) }),
				bars:  bars{lost: true, mean: mean},
			})
		}
	}
	const minute = time.Minute
	add("1,000", 1_000, 1_000, 0, 0, minute, 3*time.Second, byAll)
	add("1,000", 1_000, 1_000, 0, 0, minute, 3200*time.Millisecond, byWait, byCheck) // 5 to 6 s between polls make 2.9 at best
	add("1,000 every hour for a day", 24_000, 1_000, time.Hour, 0, minute, 4*time.Second, byAll)
	add("1,000 every hour for a day, FirstPoll 20 s", 24_000, 1_000, time.Hour, 20*time.Second, minute, 4*time.Second, byAll, byWait)
	add("10,000, FirstPoll 20 s, burst window of 60 s", 10_000, 10_000, 0, 20*time.Second, minute, 35*time.Second, byAll)
	add("10,000, FirstPoll 20 s, burst window of 10 s", 10_000, 10_000, 0, 20*time.Second, 10*time.Second, 35*time.Second, byAll)
	add("10,000, FirstPoll 20 s, burst window of 60 s", 10_000, 10_000, 0, 20*time.Second, minute, 35*time.Second, byWait)
	add("10,000, FirstPoll 20 s, burst window of 10 s", 10_000, 10_000, 0, 20*time.Second, 10*time.Second, 35*time.Second, byWait)
	return s
}

// leakySection has limits that are not in the headers.
func leakySection() section {
	s := section{
		title:   "Limits that are not in the headers",
		titled:  1,
		columns: []column{knownColumn, lostColumn, meanColumn, p95Column, requestsColumn, refusedColumn, usedColumn, pausesColumn},
		note: "In virtual time: `limit_req` of nginx with a burst of 20 and `nodelay`, whose 429 is HTML. The generations are created at once and take 20 to 120 s; a response takes 30 ms. " +
			"The timeout is 5 minutes, and 15 with Retry-After. The rate used is measured while a sixth of the waiting generations is more than the server accepts per second. " +
			"A pause is more than 30 s between two responses 429. The documentation's loops have no timeout, and start within 5 s. An oracle knows all before the timeout.",
	}
	ends, rtt := uniform(20*time.Second, 2*time.Minute), [2]time.Duration{30 * time.Millisecond, 30 * time.Millisecond}
	for _, retryAfter := range []string{"", "60"} {
		for _, rate := range []float64{10, 50, 100} {
			for _, jobs := range []int{200, 500, 1_000} {
				for _, way := range []way{byAll, byWait, byDocs} {
					c := scenario{
						name: fmt.Sprintf("leaky/%v per second, %s generations/%s", rate, number(float64(jobs), 0), way.name),
						jobs: jobs, batch: jobs, lasts: ends, rtt: rtt, rate: rate, way: way,
						limit: of(func() limiter { return newLeaky(rate, retryAfter) }),
						bars:  bars{lost: true, used: 0.7, part: 0.05, docs: true},
					}
					if retryAfter != "" {
						if way.name == byDocs.name {
							continue // it ignores the header
						}
						c.name = strings.Replace(c.name, "/", "/Retry-After: 60, ", 1)
						c.timeout = 15 * time.Minute
						c.bars = bars{lost: true, pauses: 3}
					}
					if way.name == byDocs.name {
						c.slow, c.bars = true, bars{}
					}
					s.scenarios = append(s.scenarios, c)
				}
			}
		}
	}
	for _, way := range []way{byAll, byWait} {
		s.scenarios = append(s.scenarios, scenario{
			name: "leaky/nothing but 429 for 3 s, 1,000 generations/" + way.name,
			jobs: 1_000, batch: 1_000, lasts: ends, rtt: rtt, way: way,
			limit: of(func() limiter { return unlimited{except: [2]time.Duration{30 * time.Second, 33 * time.Second}} }),
			bars:  bars{lost: true},
		})
	}
	return s
}

// sharedSection has many waits in one process that share a low limit.
func sharedSection() section {
	s := section{
		title:   "Many waits at a low limit",
		titled:  1,
		columns: append(slices.Clone(usualColumns), shareColumn),
		note: "In virtual time: 300 calls of Wait for an hour, at a token bucket that gains 2 requests per second; 1,000 generations with Check at 1,000 requests per 10 s; " +
			"200 generations in each of two calls of All for 10 minutes, at 60 requests per 10 s. The generations of the first row and of the last two do not finish.",
	}
	hours := uniform(2*time.Hour, 2*time.Hour)
	add := func(c scenario) {
		c.batch = c.jobs
		s.scenarios = append(s.scenarios, c)
	}
	add(scenario{
		name: "shared/a token bucket/Wait", jobs: 300, lasts: hours, way: byWait, timeout: time.Hour, bars: bars{perGood: 0.01},
		limit: of(func() limiter {
			return &quotas{exactly, []*quota{{kind: bucket, limit: 7_200, length: time.Hour, level: 6_200}}}
		}),
	})
	add(scenario{
		name: "shared/1,000 requests per 10 s/Check", jobs: 1_000, way: byCheck, bars: bars{refused: 20},
		limit: of(func() limiter { return perTenSeconds(1_000) }),
	})
	for _, shared := range []string{onePoller, oneClient} {
		add(scenario{
			name: "shared/two calls with " + shared + "/All", jobs: 400, lasts: hours, way: byAll, timeout: 10 * time.Minute, calls: 2, shared: shared, bars: bars{turns: true},
			limit: of(func() limiter { return perTenSeconds(60) }),
		})
	}
	return s
}

// createsSection has creates during polls.
func createsSection() section {
	s := section{
		title:   "Creates during `All`",
		titled:  1,
		columns: append([]column{{"created", func(f figures) string { return number(float64(f.Created), 0) }}, slowestColumn}, usualColumns...),
		note: "In virtual time: 200 concurrent calls of CreateGeneration, whose generations All waits for, at 30 requests per 10 s with Retry-After; " +
			"and one create that gets a 429 with `Retry-After: 600`, a minute after All has started to wait for 20 generations. The timeout is 30 minutes.",
	}
	thirty := func() limiter { return perTenSeconds(30) }
	add := func(c scenario) {
		c.batch, c.way, c.timeout = c.jobs, byAll, 30*time.Minute
		s.scenarios = append(s.scenarios, c)
	}
	few := bars{lost: true, refused: 20, created: true}
	add(scenario{name: "creates/one limit for the key", jobs: 200, creates: true, limit: of(thirty), bars: few})
	add(scenario{name: "creates/a limit for each operation", jobs: 200, creates: true, limit: ofEach(thirty), bars: few})
	add(scenario{
		name: "creates/a create is refused", jobs: 20, lasts: uniform(2*time.Minute, 4*time.Minute), refused: time.Minute,
		limit: func() (polls, creates limiter) { return perTenSeconds(1_000), shut{} },
		bars:  bars{lost: true, silence: 10 * time.Second},
	})
	return s
}

// table returns the results of the section's scenarios.
func (s section) table(results map[string]figures) performance.Table {
	t := performance.Table{Title: s.title, Note: s.note, Head: []string{""}}
	for _, c := range s.columns {
		t.Head = append(t.Head, c.head)
	}
	var names []string
	rows := map[string]figures{}
	for _, c := range s.scenarios {
		f, ok := results[c.name]
		if !ok {
			continue
		}
		parts := strings.Split(c.name, "/")[s.titled:]
		if s.merged {
			parts = parts[:len(parts)-1]
		}
		name := strings.Join(parts, ", ")
		if before, ok := rows[name]; ok {
			f = worst(before, f)
		} else {
			names = append(names, name)
		}
		rows[name] = f
	}
	for _, name := range names {
		row := []string{name}
		for _, c := range s.columns {
			row = append(row, c.cell(rows[name]))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func worst(a, b figures) figures {
	a.Known, a.Lost = min(a.Known, b.Known), max(a.Lost, b.Lost)
	a.Mean, a.P95, a.Silence = max(a.Mean, b.Mean), max(a.P95, b.P95), max(a.Silence, b.Silence)
	a.Requests, a.Refused = max(a.Requests, b.Requests), max(a.Refused, b.Refused)
	if a.Spent == "" {
		a.Spent = b.Spent
	}
	return a
}
