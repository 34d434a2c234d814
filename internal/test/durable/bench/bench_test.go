package main

import (
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go/internal/test/postgres"
)

func TestMain(m *testing.M) {
	if child() {
		return
	}
	os.Exit(m.Run())
}

// TestBench runs every part with few generations.
func TestBench(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	var out strings.Builder
	err := run(t.Context(), &out, slices.Sorted(maps.Keys(parts)), sizes{
		waiting: 500, many: 1000, interval: 200 * time.Millisecond, measure: 2 * time.Second,
		turns: 1, generations: 50, completed: 2000, settle: 10 * time.Millisecond,
	}, "")
	postgres.Skip(t, err)
	t.Log(out.String())
	if got := strings.Count(out.String(), "### "); got != len(parts) {
		t.Errorf("%d tables, want %d", got, len(parts))
	}
	for _, bad := range []string{"NaN", "Inf"} {
		if strings.Contains(out.String(), bad) {
			t.Errorf("the tables have %q", bad)
		}
	}
}
