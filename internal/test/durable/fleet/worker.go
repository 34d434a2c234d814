//go:build unix

package fleet

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/poller"
	"github.com/gamma-sdk/gamma-go/poller/riverwait"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

const (
	variable     = "GAMMA_FLEET_WORKER" // settings, as JSON
	workerPrefix = "worker-"            // of the names of workers
)

// settings are those of a worker process.
type settings struct {
	Name     string
	Postgres string // URL
	Gamma    string // URL
	Interval time.Duration
}

// Worker is a worker process. It ends when the process that started it does.
type Worker struct {
	Name string // also the ID of its River client, and its application_name in PostgreSQL

	fleet   *Fleet
	cmd     *exec.Cmd
	stdin   io.Closer
	reading sync.WaitGroup
	kill    sync.Once

	mu     sync.Mutex
	status Status
	log    bytes.Buffer
}

// Status is a [riverwait.Status] as a worker process has reported it, a tenth of a second
// ago or less.
type Status struct {
	Watching                bool
	By                      string
	Waiting                 int
	Polls, Failed, Finished int64
	LastError               string
}

// StartWorker starts a process that runs a River client and a [riverwait.Watcher] with the
// given Interval. It is this program again, which must call [Main] first.
func (f *Fleet) StartWorker(interval time.Duration) (*Worker, error) {
	f.mu.Lock()
	f.started++
	w := &Worker{Name: fmt.Sprint(workerPrefix, f.started), fleet: f}
	f.mu.Unlock()
	encoded, err := json.Marshal(settings{w.Name, f.Postgres.URL(), f.Gamma.URL, interval})
	if err != nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w.cmd = exec.Command(program) //nolint:gosec,noctx // it is this program, which Kill ends
	w.cmd.Env = append(os.Environ(), variable+"="+string(encoded))
	// In its own process group it does not get the Ctrl-C of this process. If it is stopped when
	// this process ends, the system wakes it with SIGHUP.
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if w.stdin, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := w.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := w.cmd.Start(); err != nil {
		return nil, err
	}
	w.reading.Go(func() {
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			var s Status
			if json.Unmarshal(lines.Bytes(), &s) == nil {
				w.mu.Lock()
				w.status = s
				w.mu.Unlock()
			}
		}
	})
	w.reading.Go(func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			w.mu.Lock()
			w.log.Write(append(lines.Bytes(), '\n'))
			w.mu.Unlock()
		}
	})
	f.mu.Lock()
	f.workers = append(f.workers, w)
	f.mu.Unlock()
	return w, nil
}

// Workers returns the workers that were not killed.
func (f *Fleet) Workers() []*Worker {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.workers)
}

// Kill ends the process with SIGKILL, and waits for its end. A second call does nothing.
func (w *Worker) Kill() {
	w.kill.Do(func() {
		_ = w.cmd.Process.Kill()
		w.reading.Wait()
		_ = w.cmd.Wait()
		_ = w.stdin.Close()
		w.fleet.mu.Lock()
		defer w.fleet.mu.Unlock()
		w.fleet.workers = slices.DeleteFunc(w.fleet.workers, func(other *Worker) bool { return other == w })
	})
}

// Stop stops the process with SIGSTOP, until Continue.
func (w *Worker) Stop() error { return w.cmd.Process.Signal(syscall.SIGSTOP) }

// Continue continues the process with SIGCONT.
func (w *Worker) Continue() error { return w.cmd.Process.Signal(syscall.SIGCONT) }

// Status returns what the process has reported last.
func (w *Worker) Status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status
}

// Log returns what the process has written to standard error.
func (w *Worker) Log() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}

// Args are those of the job that writes an outcome.
type Args struct {
	Hold time.Duration `json:"hold,omitempty"`

	Generation string `json:"gammaGeneration,omitempty"` // filled in by InsertTx
}

// Kind is the kind of the job.
func (Args) Kind() string { return "outcome" }

// Main runs this process as a worker and ends it, if [Fleet.StartWorker] has started it;
// otherwise it returns at once. Call it first in TestMain or main.
func Main() {
	value := os.Getenv(variable)
	if value == "" {
		return
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with the process that has started this one
		os.Exit(0)
	}()
	var s settings
	err := json.Unmarshal([]byte(value), &s)
	if err == nil {
		err = s.run(context.Background())
	}
	fmt.Fprintln(os.Stderr, s.Name, err)
	os.Exit(1)
}

// run runs the worker until the process ends, except for an error.
func (s settings) run(ctx context.Context) error {
	client, err := gamma.NewClient(gammatest.Key, gamma.WithBaseURL(s.Gamma))
	if err != nil {
		return err
	}
	c, err := pgxpool.ParseConfig(s.Postgres)
	if err != nil {
		return err
	}
	c.MaxConns = 15 // a job each, River's own, the watcher's
	c.ConnConfig.RuntimeParams["application_name"] = s.Name
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	riverConfig := config(s.Name, river.QueueDefault, &outcomeWorker{pool: pool})
	riverConfig.LeaderElectionDisabled = true // see maintain
	riverConfig.Logger = logger
	riverClient, err := river.NewClient(riverpgxv5.New(pool), riverConfig)
	if err != nil {
		return err
	}
	watcher := &riverwait.Watcher{River: riverClient, Pool: pool, Client: client, Interval: s.Interval, Logger: logger}
	go func() {
		// PostgreSQL may be restarting.
		for err := riverClient.Start(ctx); err != nil; err = riverClient.Start(ctx) {
			logger.Warn("River does not start", "error", err)
			sleep(ctx, 100*time.Millisecond)
		}
	}()
	go report(watcher)
	return watcher.Run(ctx)
}

// report prints the status of the watcher for the process that has started this one.
func report(watcher *riverwait.Watcher) {
	lines := json.NewEncoder(os.Stdout)
	for {
		s := watcher.Status()
		status := Status{Watching: s.Watching, By: s.By, Waiting: s.Waiting, Polls: s.Polls, Failed: s.Failed, Finished: s.Finished}
		if s.LastError != nil {
			status.LastError = s.LastError.Error()
		}
		if lines.Encode(status) != nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// outcomeWorker writes the outcome of a generation and completes its job in one
// transaction.
type outcomeWorker struct {
	river.WorkerDefaults[Args]
	pool *pgxpool.Pool
}

// Work writes the outcome of the generation of job.
func (w *outcomeWorker) Work(ctx context.Context, job *river.Job[Args]) error {
	gen, err := riverwait.Result(job)
	var failed *poller.FailedError
	outcome := Completed
	switch {
	case errors.As(err, &failed):
		outcome = Failed
	case err != nil:
		outcome = err.Error()
	case gen.ExportURL != "":
		outcome = Exported
	}
	return pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		worker := job.AttemptedBy[len(job.AttemptedBy)-1]
		if _, err := tx.Exec(ctx, "INSERT INTO outcomes (generation, outcome, worker) VALUES ($1, $2, $3)", job.Args.Generation, outcome, worker); err != nil {
			return err
		}
		// Half of it before the job is locked.
		sleep(ctx, job.Args.Hold/2)
		if err := riverwait.CompleteTx(ctx, tx, job); err != nil {
			return err
		}
		sleep(ctx, job.Args.Hold/2)
		return nil
	})
}
