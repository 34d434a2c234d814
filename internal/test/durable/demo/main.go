//go:build unix

// Command demo is behind make demo-durable: 500 generations are waited for by two worker
// processes on a private PostgreSQL. It kills the one that watches and restarts PostgreSQL,
// and checks that every outcome is there, once. It needs no key and costs nothing.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/internal/test/durable/fleet"
)

const (
	generations = 500
	interval    = time.Second // between two polls of a generation; 5 seconds by default
)

func main() {
	fleet.Main() // in a worker process
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	program := new(gammatest.Program)
	d := &demo{start: time.Now()}
	err := d.run(ctx, program)
	interrupted := ctx.Err() != nil
	err = errors.Join(err, program.Close())
	switch {
	case interrupted:
		fmt.Fprintln(os.Stderr, "demo-durable: interrupted")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo-durable:", err)
		os.Exit(1)
	}
}

type demo struct {
	*fleet.Fleet
	start time.Time
}

// say prints a line with the time since the start.
func (d *demo) say(format string, args ...any) {
	fmt.Printf("%5.1fs  %s\n", time.Since(d.start).Seconds(), fmt.Sprintf(format, args...))
}

func (d *demo) run(ctx context.Context, program *gammatest.Program) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	d.say("a private PostgreSQL starts; the Gamma API is a fake inside this program")
	if d.Fleet, err = fleet.Start(program); err != nil {
		return err
	}
	defer func() {
		if err != nil && !errors.Is(err, context.Canceled) {
			fmt.Fprint(os.Stderr, d.Logs())
		}
	}()
	watching, err := d.startTwo(ctx)
	if err != nil {
		return err
	}
	if err := d.Insert(ctx, lives()...); err != nil {
		return err
	}
	d.say("%d generations are created and waiting, each with a pending River job; a generation takes 5 to 15 seconds", generations)

	if err := d.outcomes(ctx, 100); err != nil {
		return err
	}
	killed := watching.Name
	if err := d.kill(ctx, watching); err != nil {
		return err
	}
	start := time.Now()
	if watching, err = d.Watching(ctx); err != nil {
		return err
	}
	took := time.Since(start)
	replacement, err := d.StartWorker(interval)
	if err != nil {
		return err
	}
	d.say("%s watches, %.1f seconds after the kill; %s starts in place of %s", watching.Name, took.Seconds(), replacement.Name, killed)
	if err := d.outcomes(ctx, 250); err != nil {
		return err
	}
	if err := d.restart(ctx); err != nil {
		return err
	}

	if err := d.outcomes(ctx, generations); err != nil {
		return err
	}
	d.say("the last of %d outcomes is there", generations)
	if err := d.Wait(ctx); err != nil {
		return err
	}
	sums, err := d.Sums(ctx)
	if err != nil {
		return err
	}
	d.say("no job is left; River has started %d jobs again: those of %s, and those that the restart ended", sums.SecondTry, killed)
	return d.result(sums, killed)
}

// startTwo starts two workers, and returns the one that watches.
func (d *demo) startTwo(ctx context.Context) (*fleet.Worker, error) {
	for range 2 {
		if _, err := d.StartWorker(interval); err != nil {
			return nil, err
		}
	}
	watching, err := d.Watching(ctx)
	if err != nil {
		return nil, err
	}
	for _, w := range d.Workers() {
		if w != watching {
			d.say("two worker processes run: %s watches, which means that it polls for both; %s stands by", watching.Name, w.Name)
		}
	}
	return watching, nil
}

// lives are the generations: one in ten fails, and one in ten has an export that comes
// three seconds after its end.
func lives() []fleet.Generation {
	all := make([]fleet.Generation, generations)
	for i := range all {
		g := fleet.Generation{
			ID:   fmt.Sprint("generation", i),
			Hold: time.Duration(i%7) * 50 * time.Millisecond, // what the worker does with the outcome takes a while
		}
		pending := gammatest.PendingFor(5*time.Second + time.Duration(i)*10*time.Second/generations)
		switch i % 10 {
		case 3:
			g.Outcome = fleet.Failed
			g.Steps = []gammatest.Step{pending, gammatest.Failed(422, "Failed to generate text.")}
		case 6:
			g.Export, g.Outcome = true, fleet.Exported
			g.Steps = []gammatest.Step{pending, gammatest.ExportPendingFor(3 * time.Second), gammatest.Completed("https://export.example/" + g.ID + ".pdf")}
		default:
			g.Outcome = fleet.Completed
			g.Steps = []gammatest.Step{pending, gammatest.Completed("")}
		}
		all[i] = g
	}
	return all
}

// outcomes waits until n generations have an outcome.
func (d *demo) outcomes(ctx context.Context, n int) error {
	for {
		sums, err := d.Sums(ctx)
		if err != nil {
			return fmt.Errorf("%d of %d outcomes: %w", sums.Outcomes, n, err)
		}
		if sums.Outcomes >= n {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d outcomes: %w", sums.Outcomes, n, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// kill kills the worker that watches, while it also runs jobs.
func (d *demo) kill(ctx context.Context, watching *fleet.Worker) error {
	sums, err := d.Sums(ctx)
	if err != nil {
		return err
	}
	for running := 0; running == 0; {
		if err := d.Pool.QueryRow(ctx, "SELECT count(*) FROM river_job WHERE state = 'running' AND attempted_by[array_upper(attempted_by, 1)] = $1",
			watching.Name).Scan(&running); err != nil {
			return err
		}
	}
	watching.Kill()
	d.say("%d outcomes are there: SIGKILL of %s, which watches and also runs jobs", sums.Outcomes, watching.Name)
	return nil
}

// restart restarts PostgreSQL.
func (d *demo) restart(ctx context.Context) error {
	sums, err := d.Sums(ctx)
	if err != nil {
		return err
	}
	d.say("%d outcomes are there: PostgreSQL restarts (pg_ctl -m fast), all connections end", sums.Outcomes)
	if err := d.Postgres.Restart("fast"); err != nil {
		return err
	}
	d.say("PostgreSQL accepts connections again")
	watching, err := d.Watching(ctx)
	if err != nil {
		return err
	}
	d.say("%s watches now", watching.Name)
	return nil
}

// result prints the sums, and returns an error if a claim fails.
func (d *demo) result(sums fleet.Sums, killed string) error {
	if err := sums.Err(); err != nil {
		return err
	}
	if sums.ByWorker[killed] == 0 || len(sums.ByWorker) < 3 {
		return fmt.Errorf("the outcomes come from these workers: %v", sums.ByWorker)
	}
	var workers []string
	for i := range 3 {
		name := fmt.Sprint("worker-", i+1)
		workers = append(workers, fmt.Sprintf("%s wrote %d", name, sums.ByWorker[name]))
	}
	d.say("%s; the fake got %d polls", strings.Join(workers, ", "), len(d.Gamma.Requests()))
	d.say("%d generations: %d outcomes, %d lost, %d doubled (%d completed, %d with an export that came late, %d failed)",
		generations, sums.Outcomes, len(sums.Lost), len(sums.Doubled),
		sums.ByOutcome[fleet.Completed], sums.ByOutcome[fleet.Exported], sums.ByOutcome[fleet.Failed])
	return nil
}
