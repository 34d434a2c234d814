package main

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var (
	pacingFile = flag.String("pacing", "", "TestPacing tries every way to wait and writes the results to this `file`")
	pacingJobs = flag.Int("jobs", 10_000, "how many generations TestPacing has")
)

// simulate lets a way to wait run in virtual time.
func simulate(t *testing.T, s strategy, p plan) (r paced) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(p)
		err := s.run(t.Context(), w)
		if err == nil {
			r, err = w.result(s.name)
		}
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
	})
	return r
}

// TestPacing makes the results of question 3 when it is asked to.
func TestPacing(t *testing.T) {
	if *pacingFile == "" {
		t.Skip("only for the program")
	}
	var results [][]paced
	for _, p := range plans(*pacingJobs) {
		best, err := oracle(p)
		if err != nil {
			t.Fatal(err)
		}
		row := []paced{best}
		for _, s := range strategies {
			row = append(row, simulate(t, s, p))
		}
		results = append(results, row)
	}
	text, err := json.Marshal(results)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(*pacingFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// The bars of All, at full size: virtual time makes them hold on every machine.
func TestAllIsPaced(t *testing.T) {
	const jobs = 10_000
	for _, s := range strategies {
		if !strings.Contains(s.name, "`All`") {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			r := simulate(t, s, plan{Jobs: jobs})
			if r.Mean > 2800*time.Millisecond || r.Busiest > jobs/3 {
				t.Errorf("without a budget: %+v", r)
			}
			if strings.Contains(s.name, "first poll") && r.Requests > 15.5 {
				t.Errorf("without a budget: %.1f requests per generation", r.Requests)
			}
			for _, aligned := range []bool{false, true} {
				p := plan{Jobs: jobs, Budget: jobs / 10, Aligned: aligned}
				best, err := oracle(p)
				if err != nil {
					t.Fatal(err)
				}
				r := simulate(t, s, p)
				if r.Refused > 20 || r.Mean > 46*time.Second || r.Known.Seconds() > 1.02*best.Known.Seconds() {
					t.Errorf("with a budget, windows aligned %v: %+v; the oracle knows all after %v", aligned, r, best.Known)
				}
			}
		})
	}
}

func TestOracle(t *testing.T) {
	// Ten a second finish at most, so that none is late, or one in ten seconds.
	free, err := oracle(plan{Jobs: 200})
	if err != nil || free.Mean != latency/2 || free.Requests != 1 || free.Refused != 0 {
		t.Errorf("%+v, %v", free, err)
	}
	scarce, err := oracle(plan{Jobs: 200, Budget: 1})
	if err != nil || scarce.Requests != 1 || scarce.Busiest != 1 || scarce.Known < 1990*time.Second || scarce.Known > 2100*time.Second {
		t.Errorf("%+v, %v", scarce, err)
	}
}
