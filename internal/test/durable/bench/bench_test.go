package main

import (
	"os"
	"runtime"
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

// TestBench tries every part with little to do. It tells whether the program works, and
// that no plan compares every job with every known one, follows the order of ids, or
// takes more than one process of PostgreSQL; figures need more.
func TestBench(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("it reads /proc")
	}
	var out strings.Builder
	parts := []string{"waiting", "takeover", "memory", "wal", "plans"}
	err := run(t.Context(), &out, parts, sizes{
		waiting: 500, many: 1000, interval: 200 * time.Millisecond, measure: 2 * time.Second,
		turns: 1, generations: 50, completed: 2000, settle: 10 * time.Millisecond,
	})
	postgres.Skip(t, err)
	t.Log(out.String())
	if got := strings.Count(out.String(), "\n### "); got != len(parts) {
		t.Errorf("%d tables, want %d", got, len(parts))
	}
	for _, bad := range []string{"Nested Loop", "Merge", "Gather", "NaN", "Inf"} {
		if strings.Contains(out.String(), bad) {
			t.Errorf("the tables have %q", bad)
		}
	}
	if !strings.Contains(out.String(), "Anti Join") {
		t.Error("the plan of the list is not in the tables")
	}
}
