package main

import (
	"context"
	"time"

	"github.com/gamma-sdk/gamma-go/internal/test/performance"
)

// growth measures how the CPU time of a poll grows with the number of generations.
func growth(ctx context.Context, s scale) ([]performance.Table, error) {
	jobs := pick(s, []int{1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000}, []int{1_000, 3_000})
	cpu := make([]rounds, len(jobs))
	for range pick(s, 3, 1) {
		for i, n := range jobs {
			// As many polls per second whatever the number of generations: a processor
			// that sleeps in between takes longer for each.
			h := holding{Way: wayAll, Jobs: n, Interval: time.Duration(n) * time.Second / rate, Measure: pick(s, 2*time.Second, 200*time.Millisecond)}
			r, err := h.run(ctx)
			if err != nil {
				return nil, err
			}
			cpu[i] = append(cpu[i], r.CPU/1e3)
		}
	}
	t := performance.Table{
		Title: performance.Growth,
		Head:  []string{"waiting", "CPU per poll, µs", "ratio"},
		Note: "CPU time of the process, all cores, garbage collection included, at " + number(rate, 0) + " polls per second to a fake in memory. " +
			"Median of three turns; the ratio is the median of the ratios to the first row.",
	}
	for i, n := range jobs {
		t.Rows = append(t.Rows, []string{number(float64(n), 0), number(cpu[i].median(), 1), times(cpu[i].of(cpu[0]))})
	}
	return []performance.Table{t}, nil
}
