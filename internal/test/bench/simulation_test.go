package main

import (
	"encoding/json"
	"flag"
	"os"
	"regexp"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var (
	scenarioNames = flag.String("scenario", "", "TestScenarios runs the scenarios that match this regular `expression`, not those for the tests")
	pacingJobs    = flag.Int("jobs", 10_000, "how many generations the pacing scenarios have")
	figuresFile   = flag.String("figures", "", "TestScenarios writes the figures to this `file`, and does not compare them with the bars")
)

// play runs a scenario in virtual time.
func play(t *testing.T, s scenario) (f figures) {
	t.Helper()
	if s.way.run == nil {
		f = oracle(&s)
		f.Best = f.Last
		return f
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(&s)
		if err := w.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		f = w.result()
	})
	if s.bars.docs {
		docs := s
		docs.way, docs.bars = byDocs, bars{}
		f.Docs = play(t, docs).Mean
	}
	if s.timeout < 0 {
		f.Best = oracle(&s).Last
	}
	return f
}

// Every scenario keeps its bars. In virtual time the figures are the same on every machine.
// To print those of some scenarios, run
//
//	go test -v -run TestScenarios . -args -scenario '^days/0.5/clock/'
func TestScenarios(t *testing.T) {
	match, err := regexp.Compile(*scenarioNames)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	results := map[string]figures{}
	t.Run("all", func(t *testing.T) {
		for _, section := range sections(*pacingJobs) {
			for _, s := range section.scenarios {
				if *scenarioNames == "" && s.slow || !match.MatchString(s.name) {
					continue
				}
				t.Run(s.name, func(t *testing.T) {
					t.Parallel()
					start := time.Now()
					f := play(t, s)
					t.Logf("%v [%.1f s]", &f, time.Since(start).Seconds())
					mu.Lock()
					results[s.name] = f
					mu.Unlock()
					if *figuresFile != "" {
						return
					}
					for _, missed := range f.missed(s.bars) {
						t.Errorf("%s: %s", s.name, missed)
					}
				})
			}
		}
	})
	if *figuresFile == "" {
		return
	}
	text, err := json.Marshal(results)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(*figuresFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// The oracle knows every generation before the timeout in all scenarios in which no wait may
// be lost.
func TestOracle(t *testing.T) {
	for _, s := range leakySection().scenarios {
		if f := oracle(&s); f.Lost > 0 || f.Known != s.jobs {
			t.Errorf("%v", &f)
		}
	}
	// Without a limit none is late. With one request per ten seconds the last is late.
	world := func(limit func() limiter) scenario {
		rtt := 50 * time.Millisecond
		return scenario{jobs: 200, every: 5 * time.Millisecond, lasts: lognormal(75 * time.Second), rtt: [2]time.Duration{rtt, rtt}, limit: of(limit), timeout: -1}
	}
	s := world(func() limiter { return unlimited{} })
	if f := oracle(&s); f.Mean != 25*time.Millisecond || f.Requests != 1 || f.Refused != 0 {
		t.Errorf("%v", &f)
	}
	s = world(func() limiter { return perTenSeconds(1) })
	if f := oracle(&s); f.Requests != 1 || f.Busiest != 1 || f.Last < 1990*time.Second || f.Last > 2100*time.Second {
		t.Errorf("%v", &f)
	}
}
