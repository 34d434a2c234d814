package main

import (
	"math"
	"slices"

	"github.com/gamma-sdk/gamma-go/internal/test/performance"
)

// number formats x with that many decimals and with commas between thousands.
func number(x float64, decimals int) string { return performance.Number(x, decimals) }

// times formats a ratio.
func times(x float64) string {
	if x >= 10 {
		return number(x, 0)
	}
	return number(x, 2)
}

// rounds are the figures of one client, one for each turn.
type rounds []float64

func (r rounds) median() float64 {
	s := slices.Sorted(slices.Values(r))
	if len(s) == 0 {
		return math.NaN()
	}
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// of is the median over the turns of r's figure divided by base's.
func (r rounds) of(base rounds) float64 {
	ratios := make(rounds, len(r))
	for i := range r {
		ratios[i] = r[i] / base[i]
	}
	return ratios.median()
}
