package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// table is a Markdown table with a title above and a note below.
type table struct {
	title string
	head  []string
	rows  [][]string
	note  string
}

func (t table) write(w io.Writer) {
	fmt.Fprintf(w, "\n### %s\n\n", t.title)
	line := func(cells []string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }
	line(t.head)
	rule := slices.Repeat([]string{"--:"}, len(t.head))
	rule[0] = ":--"
	line(rule)
	for _, row := range t.rows {
		line(row)
	}
	if t.note != "" {
		fmt.Fprintf(w, "\n%s\n", t.note)
	}
}

// number formats x with that many decimals and with commas between thousands.
func number(x float64, decimals int) string {
	s := fmt.Sprintf("%.*f", decimals, x)
	whole, fraction, _ := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction == "" {
		return whole
	}
	return whole + "." + fraction
}

// times formats a ratio.
func times(x float64) string {
	if x >= 10 {
		return number(x, 0)
	}
	return number(x, 2)
}

// rounds are the figures of one contestant, one for each turn.
type rounds []float64

func (r rounds) median() float64 {
	s := slices.Sorted(slices.Values(r))
	if len(s) == 0 {
		return math.NaN()
	}
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// of is the median over the turns of r's figure by base's.
func (r rounds) of(base rounds) float64 {
	ratios := make(rounds, len(r))
	for i := range r {
		ratios[i] = r[i] / base[i]
	}
	return ratios.median()
}
