package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gonum.org/v1/plot/plotter"
)

func TestMain(m *testing.M) {
	if child() {
		return
	}
	os.Exit(m.Run())
}

// A quick run of everything gives tables that a page can show.
func TestQuickRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out, []string{"4", "1", "2", "3"}, scale{quick: true}); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if n := strings.Count(text, "\n### "); n != 13 {
		t.Errorf("%d tables", n)
	}
	if bad := regexp.MustCompile(`NaN|Inf|\| -\d`).FindString(text); bad != "" {
		t.Errorf("the figures have %q", bad)
	}
	cells, tables := 0, 0
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "|") {
			cells = 0
			continue
		}
		n := strings.Count(line, "|")
		if cells == 0 {
			cells = n
			tables++
		}
		if n != cells {
			t.Errorf("%d bars, the head has %d: %s", n, cells, line)
		}
	}
	if tables != 13 {
		t.Errorf("%d heads", tables)
	}
	for _, p := range peers {
		if strings.Count(text, "| "+p.name+" |") != 5 {
			t.Errorf("%s is missing", p.name)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestUnknownQuestion(t *testing.T) {
	if err := run(t.Context(), io.Discard, []string{"1", "5"}, scale{quick: true}); err == nil {
		t.Error("no error")
	}
}

// Every client reads both answers.
func TestPeers(t *testing.T) {
	for _, p := range peers {
		for want, body := range map[string]string{"pending": pendingBody, "completed": completedBody} {
			poll, err := p.connect(imagined, newCanned(body))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := poll(t.Context(), "gen1"); got != want || err != nil {
				t.Errorf("%s: %q, %v; want %q", p.name, got, err, want)
			}
		}
	}
}

// One poll takes at most 1.3 of the allocations that it does without any of the
// hardening.
func TestAllocations(t *testing.T) {
	for status, body := range map[string]string{"pending": pendingBody, "completed": completedBody} {
		allocs := func(p peer) float64 {
			poll, err := p.connect(imagined, newCanned(body))
			if err != nil {
				t.Fatal(err)
			}
			return testing.AllocsPerRun(1000, func() {
				if _, err := poll(t.Context(), "gen1"); err != nil {
					t.Fatal(err)
				}
			})
		}
		if bare, ours := allocs(peers[0]), allocs(peers[1]); ours > 1.3*bare {
			t.Errorf("%s: %v allocations, more than 1.3 of %v", status, ours, bare)
		}
	}
}

// What a generation costs that is waited for, after its first poll. Raise a number only
// with the reason in the commit.
func TestLiveMemory(t *testing.T) {
	for _, tt := range []struct {
		holding
		most float64 // bytes
	}{
		{holding{Way: wayAll, Jobs: 100_000, Interval: 5 * time.Second}, 160},
		{holding{Way: wayWait, Jobs: 20_000, Interval: time.Hour}, 5_600},
	} {
		r, err := tt.run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s, %d jobs: %.0f bytes each", tt.Way, tt.Jobs, r.Bytes)
		if r.Bytes > tt.most {
			t.Errorf("%s, %d jobs: %.0f bytes each, more than %.0f", tt.Way, tt.Jobs, r.Bytes, tt.most)
		}
	}
}

func TestNumbers(t *testing.T) {
	for want, got := range map[string]string{
		"0":         number(0, 0),
		"999":       number(999, 0),
		"1,000":     number(1000, 0),
		"1,234,568": number(1234567.8, 0),
		"-12,345.7": number(-12345.67, 1),
		"-123":      number(-123, 0),
		"0.95":      times(0.951),
		"12":        times(12.3),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if r := (rounds{4, 1, 3, 2}); r.median() != 2.5 || !slices.Equal(r, rounds{4, 1, 3, 2}) {
		t.Error(r.median(), r)
	}
	if r := (rounds{2, 4, 90}).of(rounds{1, 2, 3}); r != 2 {
		t.Error(r)
	}
}

func TestPlot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "growth.svg")
	curve := plotter.XYs{{X: 1_000, Y: 21}, {X: 30_000, Y: 25}, {X: 1_000_000, Y: 20}}
	if err := drawGrowth(file, [2]plotter.XYs{curve, curve}); err != nil {
		t.Fatal(err)
	}
	svg, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, label := range []string{"<svg", ">1,000<", ">1,000,000<", ">20<", ">CPU per poll, µs<", ">jobs<", "sans-serif"} {
		if !bytes.Contains(svg, []byte(label)) {
			t.Errorf("%s is missing", label)
		}
	}
}
