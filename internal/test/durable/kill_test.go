//go:build unix

package durable

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/internal/test/durable/fleet"
	"github.com/gamma-sdk/gamma-go/internal/test/postgres"
)

var seed = flag.Uint64("seed", 0, "of TestKills; 0: another one each time")

// TestKills kills and replaces a worker process and restarts PostgreSQL, at random times in
// each of 20 runs. Each generation has exactly one outcome.
func TestKills(t *testing.T) {
	t.Parallel()
	f, err := fleet.Start(t)
	postgres.Skip(t, err)
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("-seed %d", *seed)
	random := rand.New(rand.NewPCG(*seed, 0))
	outcomes, secondTry := 0, 0
	for run := range 20 {
		sums := kill(t, f, random, run)
		outcomes += sums.Outcomes
		secondTry += sums.SecondTry
	}
	t.Logf("%d outcomes, %d jobs were started again", outcomes, secondTry)
	if secondTry == 0 {
		t.Error("no job was started again: the kills had no effect")
	}
}

// kill is one run.
func kill(t *testing.T, f *fleet.Fleet, random *rand.Rand, run int) fleet.Sums {
	const interval = 200 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("run %d: %v\n%s", run, err, f.Logs())
		}
	}
	start := time.Now()
	generations := make([]fleet.Generation, 50+random.IntN(51))
	for i := range generations {
		generations[i] = generation(random, fmt.Sprintf("run%dgeneration%d", run, i))
	}
	for range 2 + random.IntN(2) {
		_, err := f.StartWorker(interval)
		check(err)
	}
	_, err := f.Watching(ctx)
	check(err)
	check(f.Insert(ctx, generations...))

	// The first outcome comes after about a second, the last after about three.
	killAfter, restartAfter := time.Duration(random.IntN(3000))*time.Millisecond, time.Duration(random.IntN(3000))*time.Millisecond
	replaceAfter := time.Duration(random.IntN(500)) * time.Millisecond
	killed, find := "the watching process", f.Watching
	if random.IntN(2) == 0 {
		killed, find = "a process inside its transaction", f.InTransaction
	}
	mode := []string{"fast", "immediate"}[random.IntN(2)]
	var killing, restarting error
	var both sync.WaitGroup
	both.Go(func() {
		time.Sleep(killAfter)
		finding, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		worker, err := find(finding)
		if err != nil {
			killed = "the watching process, since no transaction is open,"
			worker, err = f.Watching(ctx)
		}
		if killing = err; err != nil {
			return
		}
		worker.Kill()
		time.Sleep(replaceAfter)
		_, killing = f.StartWorker(interval)
	})
	both.Go(func() {
		time.Sleep(restartAfter)
		restarting = f.Postgres.Restart(mode)
	})
	both.Wait()
	check(killing)
	check(restarting)
	check(f.Wait(ctx))
	sums, err := f.Sums(ctx)
	check(err)
	check(sums.Err())
	t.Logf("run %d: %d generations, %s killed after %v and replaced after %v, PostgreSQL restarted (%s) after %v: %d jobs were started again, all done after %v",
		run, len(generations), killed, killAfter, replaceAfter, mode, restartAfter, sums.SecondTry, time.Since(start).Round(100*time.Millisecond))
	for _, w := range f.Workers() {
		w.Kill()
	}
	check(f.Forget(ctx))
	return sums
}

// generation returns a generation with a random outcome and a random duration of the
// transaction of its job.
func generation(random *rand.Rand, id string) fleet.Generation {
	pending := gammatest.PendingFor(time.Duration(random.IntN(2000)) * time.Millisecond)
	hold := time.Duration(random.IntN(400)) * time.Millisecond
	switch random.IntN(5) {
	case 0:
		return fleet.Generation{ID: id, Hold: hold, Outcome: fleet.Failed,
			Steps: []gammatest.Step{pending, gammatest.Failed(422, "Failed to generate text.")}}
	case 1:
		late := gammatest.ExportPendingFor(time.Duration(random.IntN(1000)) * time.Millisecond)
		return fleet.Generation{ID: id, Hold: hold, Export: true, Outcome: fleet.Exported,
			Steps: []gammatest.Step{pending, late, gammatest.Completed("https://export.example/" + id + ".pdf")}}
	}
	return fleet.Generation{ID: id, Hold: hold, Outcome: fleet.Completed,
		Steps: []gammatest.Step{pending, gammatest.Completed("")}}
}
