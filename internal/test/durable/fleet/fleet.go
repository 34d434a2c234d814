//go:build unix

// Package fleet runs worker processes of River beside a private PostgreSQL and a fake of
// the Gamma API, for tests and demos that kill them.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/internal/test/postgres"
	"github.com/gamma-sdk/gamma-go/poller"
	"github.com/gamma-sdk/gamma-go/poller/riverwait"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"
)

// look is the pause between two looks at what is waited for.
const look = 20 * time.Millisecond

// Fleet is a PostgreSQL with River's tables and one of outcomes, a fake of the Gamma API at
// a loopback address, and worker processes. Its methods are safe for concurrent use.
type Fleet struct {
	Postgres *postgres.Server
	Gamma    *gammatest.Server
	Pool     *pgxpool.Pool
	River    *river.Client[pgx.Tx] // only inserts

	mu          sync.Mutex
	started     int
	workers     []*Worker             // those that were not killed
	generations map[string]Generation // inserted and not forgotten, by id
}

// Generation is a generation of the fake.
type Generation struct {
	ID      string
	Export  bool // wait for the export
	Steps   []gammatest.Step
	Hold    time.Duration // how long its worker keeps its transaction open
	Outcome string        // what is expected in the table of outcomes
}

// What a worker writes into the table of outcomes, except for errors, which it writes out.
const (
	Completed = "completed"
	Exported  = "completed with its export"
	Failed    = "failed"
)

// Start starts PostgreSQL with the given settings, see [postgres.Start], and the fake.
// Everything ends with the cleanups of t, and also when this process ends in any way.
func Start(t gammatest.TB, settings ...string) (*Fleet, error) {
	f := &Fleet{Gamma: gammatest.NewServer(t), generations: make(map[string]Generation)}
	var err error
	if f.Postgres, err = postgres.Start(settings...); err != nil {
		return nil, err
	}
	t.Cleanup(f.Postgres.Stop)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	if f.Pool, err = pgxpool.New(ctx, f.Postgres.URL()); err != nil {
		return nil, err
	}
	t.Cleanup(f.Pool.Close)
	driver := riverpgxv5.New(f.Pool)
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	// No unique constraint: an outcome that is written twice is to be seen.
	if _, err := f.Pool.Exec(ctx, `CREATE TABLE outcomes (
		id bigserial PRIMARY KEY, generation text NOT NULL, outcome text NOT NULL, worker text NOT NULL,
		at timestamptz NOT NULL DEFAULT clock_timestamp())`); err != nil {
		return nil, err
	}
	if f.River, err = river.NewClient(driver, &river.Config{}); err != nil {
		return nil, err
	}
	maintenance, err := river.NewClient(driver, config("maintenance", "nothing", &outcomeWorker{}))
	if err != nil {
		return nil, err
	}
	var maintaining sync.WaitGroup
	maintaining.Go(func() { maintain(ctx, maintenance) })
	t.Cleanup(func() {
		cancel()
		maintaining.Wait()
		for _, w := range f.Workers() {
			w.Kill()
		}
	})
	return f, nil
}

// config returns the settings of a River client. A job of a killed worker stays running
// until River rescues it: after an hour by default, here after three seconds. That must be
// longer than JobTimeout, which ends what runs for longer.
func config(id, queue string, worker *outcomeWorker) *river.Config {
	workers := river.NewWorkers()
	river.AddWorker(workers, worker)
	return &river.Config{
		ID:                   id,
		Queues:               map[string]river.QueueConfig{queue: {MaxWorkers: 10}},
		Workers:              workers,
		JobTimeout:           2 * time.Second,
		RescueStuckJobsAfter: 3 * time.Second,
		RetryPolicy:          soon{},
		Logger:               slog.New(slog.DiscardHandler),
		TestOnly:             true, // no random pauses at the start
	}
}

// soon is a retry policy: at once.
type soon struct{}

func (soon) NextRetry(*rivertype.JobRow) time.Time { return time.Now() }

// maintain runs River's maintenance, which the workers leave to it. River looks for jobs to
// rescue when it starts, and then every 30 seconds; so it is started again and again.
func maintain(ctx context.Context, client *river.Client[pgx.Tx]) {
	for ctx.Err() == nil {
		// An error is about PostgreSQL, which may be stopped.
		if client.Start(ctx) == nil {
			sleep(ctx, 2*time.Second)
			stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			_ = client.StopAndCancel(stop)
			cancel()
		}
		sleep(ctx, look)
	}
}

// Insert adds generations to the fake, and inserts a job for each, in one transaction.
func (f *Fleet) Insert(ctx context.Context, generations ...Generation) error {
	for _, g := range generations {
		f.Gamma.Add(g.ID, g.Steps...)
	}
	err := pgx.BeginFunc(ctx, f.Pool, func(tx pgx.Tx) error {
		for _, g := range generations {
			progress := poller.Progress{ID: g.ID, Export: g.Export}
			inserted, err := riverwait.InsertTx(ctx, f.River, tx, progress, Args{Hold: g.Hold}, nil)
			if err != nil {
				return err
			}
			if inserted.UniqueSkippedAsDuplicate {
				return fmt.Errorf("generation %s has a job already", g.ID)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, g := range generations {
		f.generations[g.ID] = g
	}
	return nil
}

// Wait waits until every job has been completed. That is later than its outcome: a job
// that is not completed may write another one. The error has what there was in the end.
func (f *Fleet) Wait(ctx context.Context) error {
	var last string
	err := until(ctx, func() (bool, error) {
		jobs, err := f.jobs(ctx)
		if err != nil {
			return false, err
		}
		last = fmt.Sprint(jobs)
		delete(jobs, "completed")
		return len(jobs) == 0, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for all jobs to be completed: %s: %w", last, err)
	}
	return nil
}

// jobs returns the number of jobs in each of River's states.
func (f *Fleet) jobs(ctx context.Context) (map[string]int, error) {
	rows, err := f.Pool.Query(ctx, "SELECT state::text, count(*) FROM river_job GROUP BY state")
	if err != nil {
		return nil, err
	}
	jobs := make(map[string]int)
	var state string
	var n int
	_, err = pgx.ForEachRow(rows, []any{&state, &n}, func() error {
		jobs[state] = n
		return nil
	})
	return jobs, err
}

// Sums is how many outcomes there are.
type Sums struct {
	Outcomes   int            // generations with an outcome
	Lost       []string       // generations without one
	Doubled    []string       // generations with several
	Wrong      []string       // generations with another outcome than expected
	ByOutcome  map[string]int // rows
	ByWorker   map[string]int // rows
	SecondTry  int            // jobs that River has started more than once
	Unexpected []string       // generations that were not inserted
}

// Err returns an error unless every generation has exactly the outcome that it should.
func (s Sums) Err() error {
	if len(s.Lost)+len(s.Doubled)+len(s.Wrong)+len(s.Unexpected) == 0 {
		return nil
	}
	return fmt.Errorf("%d lost %v, %d doubled %v, %d wrong %v, %d unexpected %v",
		len(s.Lost), s.Lost, len(s.Doubled), s.Doubled, len(s.Wrong), s.Wrong, len(s.Unexpected), s.Unexpected)
}

// Sums compares the table of outcomes with the generations that were inserted. It retries
// while PostgreSQL is not there.
func (f *Fleet) Sums(ctx context.Context) (s Sums, err error) {
	err = until(ctx, func() (bool, error) {
		s, err = f.sums(ctx)
		return err == nil, err
	})
	return s, err
}

func (f *Fleet) sums(ctx context.Context) (Sums, error) {
	s := Sums{ByOutcome: make(map[string]int), ByWorker: make(map[string]int)}
	if err := f.Pool.QueryRow(ctx, "SELECT count(*) FROM river_job WHERE attempt > 1").Scan(&s.SecondTry); err != nil {
		return s, err
	}
	rows, err := f.Pool.Query(ctx, "SELECT generation, outcome, worker FROM outcomes ORDER BY id")
	if err != nil {
		return s, err
	}
	outcomes := make(map[string][]string)
	var id, outcome, worker string
	if _, err := pgx.ForEachRow(rows, []any{&id, &outcome, &worker}, func() error {
		outcomes[id] = append(outcomes[id], outcome)
		s.ByOutcome[outcome]++
		s.ByWorker[worker]++
		return nil
	}); err != nil {
		return s, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, g := range f.generations {
		switch got := outcomes[id]; {
		case len(got) == 0:
			s.Lost = append(s.Lost, id)
		case len(got) > 1:
			s.Doubled = append(s.Doubled, id)
		case got[0] != g.Outcome:
			s.Wrong = append(s.Wrong, id+": "+got[0])
		}
	}
	for id := range outcomes {
		if _, ok := f.generations[id]; !ok {
			s.Unexpected = append(s.Unexpected, id)
		}
	}
	s.Outcomes = len(outcomes)
	for _, ids := range []*[]string{&s.Lost, &s.Doubled, &s.Wrong, &s.Unexpected} {
		slices.Sort(*ids)
	}
	return s, nil
}

// Forget removes all jobs, outcomes and generations, for the next run of a test.
func (f *Fleet) Forget(ctx context.Context) error {
	f.mu.Lock()
	clear(f.generations)
	f.mu.Unlock()
	return until(ctx, func() (bool, error) {
		_, err := f.Pool.Exec(ctx, "TRUNCATE river_job, outcomes")
		return err == nil, err
	})
}

// Watching waits until exactly one running worker watches, as PostgreSQL sees it, and
// returns it.
func (f *Fleet) Watching(ctx context.Context) (*Worker, error) {
	const prefix = "gamma since "
	w, err := f.find(ctx, "SELECT split_part(application_name, ' ', 4) FROM pg_stat_activity WHERE starts_with(application_name, $1)", prefix)
	if err != nil {
		return nil, fmt.Errorf("waiting for one worker to watch: %w", err)
	}
	return w, nil
}

// InTransaction waits until a worker keeps a transaction open, and returns it.
func (f *Fleet) InTransaction(ctx context.Context) (*Worker, error) {
	w, err := f.find(ctx, "SELECT application_name FROM pg_stat_activity WHERE state = 'idle in transaction' AND starts_with(application_name, $1) LIMIT 1", workerPrefix)
	if err != nil {
		return nil, fmt.Errorf("waiting for a worker inside its transaction: %w", err)
	}
	return w, nil
}

// find waits until query returns the name of one worker that runs.
func (f *Fleet) find(ctx context.Context, query string, args ...any) (found *Worker, err error) {
	err = until(ctx, func() (bool, error) {
		rows, err := f.Pool.Query(ctx, query, args...)
		if err != nil {
			return false, err
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil || len(names) != 1 {
			return false, err
		}
		for _, w := range f.Workers() {
			if w.Name == names[0] {
				found = w
			}
		}
		return found != nil, nil
	})
	return found, err
}

// Logs returns what all workers have written to standard error, for a test that failed.
func (f *Fleet) Logs() string {
	var b strings.Builder
	for _, w := range f.Workers() {
		fmt.Fprintf(&b, "%s:\n%s", w.Name, w.Log())
	}
	return b.String()
}

// until calls f until it returns true. Its errors are retried, since PostgreSQL may be
// stopped; the last one is part of the error when ctx ends.
func until(ctx context.Context, f func() (bool, error)) error {
	var last error
	for {
		ok, err := f()
		switch {
		case ok:
			return nil
		case err != nil && ctx.Err() == nil:
			last = err
		}
		if !sleep(ctx, look) {
			return errors.Join(context.Cause(ctx), last)
		}
	}
}

// sleep returns false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
