//go:build unix

package durable

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/internal/test/durable/fleet"
	"github.com/gamma-sdk/gamma-go/internal/test/postgres"
)

// startFleet starts processes that can be killed.
func startFleet(t *testing.T, workers int) (*fleet.Fleet, context.Context) {
	t.Helper()
	postgres.Skip(t, server.err)
	f, err := fleet.Start(t, "fsync=off")
	if err != nil {
		t.Fatal(err)
	}
	for range workers {
		if _, err := f.StartWorker(200 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return f, ctx
}

func watching(ctx context.Context, t *testing.T, f *fleet.Fleet) *fleet.Worker {
	t.Helper()
	w, err := f.Watching(ctx)
	if err != nil {
		t.Fatalf("%v\n%s", err, f.Logs())
	}
	return w
}

func insert(ctx context.Context, t *testing.T, f *fleet.Fleet, prefix string, n int, steps ...gammatest.Step) {
	t.Helper()
	generations := make([]fleet.Generation, n)
	for i := range generations {
		generations[i] = fleet.Generation{ID: fmt.Sprint(prefix, i), Steps: steps, Outcome: fleet.Completed}
	}
	if err := f.Insert(ctx, generations...); err != nil {
		t.Fatal(err)
	}
}

// sums waits for all outcomes, and fails the test unless each generation has one.
func sums(ctx context.Context, t *testing.T, f *fleet.Fleet) fleet.Sums {
	t.Helper()
	if err := f.Wait(ctx); err != nil {
		t.Fatalf("%v\n%s", err, f.Logs())
	}
	s, err := f.Sums(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Err(); err != nil {
		t.Error(err)
	}
	return s
}

// eventually waits until what returns true.
func eventually(ctx context.Context, t *testing.T, text string, what func() bool) {
	t.Helper()
	for !what() {
		if ctx.Err() != nil {
			t.Fatalf("still not: %s", text)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestKilledWatcher kills the process that watches, with 50 waits.
func TestKilledWatcher(t *testing.T) {
	t.Parallel()
	f, ctx := startFleet(t, 2)
	first := watching(ctx, t, f)
	insert(ctx, t, f, "g", 50, gammatest.PendingFor(3*time.Second), gammatest.Completed(""))
	eventually(ctx, t, "50 generations are waited for", func() bool { return first.Status().Waiting == 50 })
	start := time.Now()
	first.Kill()
	second := watching(ctx, t, f)
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("another process took over after %v, want 2s", d)
	}
	sums(ctx, t, f)
	eventually(ctx, t, "the successor has made 50 jobs available", func() bool { return second.Status().Finished == 50 })
}

// TestKilledWorker kills a worker in its transaction, and one that has written its outcome and
// completed its job, but has not committed.
func TestKilledWorker(t *testing.T) {
	t.Parallel()
	f, ctx := startFleet(t, 2)
	for _, pause := range []time.Duration{0, 700 * time.Millisecond} {
		id := fmt.Sprint("held", pause)
		if err := f.Insert(ctx, fleet.Generation{ID: id, Steps: []gammatest.Step{gammatest.Completed("")}, Hold: time.Second, Outcome: fleet.Completed}); err != nil {
			t.Fatal(err)
		}
		w, err := f.InTransaction(ctx)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(pause) // CompleteTx comes after half of the Hold
		w.Kill()
		if _, err := f.StartWorker(200 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	if s := sums(ctx, t, f); s.SecondTry != 2 {
		t.Errorf("%d jobs had a second attempt, want 2", s.SecondTry)
	}
}

// TestStoppedWatcher suspends the process that watches for 35 seconds, like a laptop that
// sleeps or a virtual machine that is moved. Then another one watches already.
func TestStoppedWatcher(t *testing.T) {
	t.Parallel()
	f, ctx := startFleet(t, 2)
	first := watching(ctx, t, f)
	insert(ctx, t, f, "before", 20, gammatest.PendingFor(5*time.Second), gammatest.Completed(""))
	insert(ctx, t, f, "after", 20, gammatest.PendingFor(45*time.Second), gammatest.Completed(""))
	eventually(ctx, t, "40 generations are waited for", func() bool { return first.Status().Waiting == 40 })
	start := time.Now()
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	var second *fleet.Worker
	for second = first; second == first; second = watching(ctx, t, f) {
		time.Sleep(10 * time.Millisecond)
	}
	if d := time.Since(start); d > 15*time.Second {
		t.Errorf("another process took over after %v, want 15s", d)
	}
	eventually(ctx, t, "20 generations have finished", func() bool { return second.Status().Waiting == 20 })
	time.Sleep(35*time.Second - time.Since(start))
	if err := first.Continue(); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, "the first knows who watches", func() bool { return first.Status().By == second.Name })
	if s := first.Status(); s.Watching || s.Waiting != 0 {
		t.Errorf("the first does not stand by: %+v", s)
	}
	sums(ctx, t, f)
	if w := watching(ctx, t, f); w != second {
		t.Error("the successor has lost the lock")
	}
}
