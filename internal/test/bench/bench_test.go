package main

import (
	"bytes"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if child() {
		return
	}
	os.Exit(m.Run())
}

// A quick run of everything prints well-formed tables.
func TestQuickRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out, slices.Sorted(maps.Keys(measurements)), scale{quick: true}, ""); err != nil {
		t.Fatal(err)
	}
	text := out.String()
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
			t.Errorf("%d cells, the head has %d: %s", n-1, cells-1, line)
		}
	}
	if tables != 14 {
		t.Errorf("%d tables, want 14", tables)
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

func TestUnknownMeasurement(t *testing.T) {
	if err := run(t.Context(), io.Discard, []string{"1", "6"}, scale{quick: true}, ""); err == nil {
		t.Error("no error")
	}
}

// Every client reads both responses.
func TestPeers(t *testing.T) {
	for _, p := range peers {
		for want, body := range map[string]string{"pending": pendingBody, "completed": completedBody} {
			poll, err := p.connect(fakeURL, newCanned(body))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := poll(t.Context(), "gen1"); got != want || err != nil {
				t.Errorf("%s: %q, %v; want %q", p.name, got, err, want)
			}
		}
	}
}

// One poll makes at most 1.3 times the allocations of bare net/http.
func TestAllocations(t *testing.T) {
	for status, body := range map[string]string{"pending": pendingBody, "completed": completedBody} {
		allocs := func(p peer) float64 {
			poll, err := p.connect(fakeURL, newCanned(body))
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
			t.Errorf("%s: %v allocations, more than 1.3 times %v", status, ours, bare)
		}
	}
}

// The memory of a waiting generation after its first poll. Raise a number only with the
// reason in the commit.
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
		"0.95":  times(0.951),
		"12":    times(12.3),
		"1,234": times(1234.4),
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
