//go:build unix

package durable

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/poller/riverwait"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
)

// completePlain is the function of River, which does not notice a lost attempt.
func completePlain(ctx context.Context, tx pgx.Tx, job *river.Job[finishArgs]) error {
	_, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
	return err
}

// TestHandlerFails has a handler that fails once: it runs again, with the same result.
func TestHandlerFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fail := map[int]func(context.Context, *river.Job[finishArgs]) error{
		0: func(context.Context, *river.Job[finishArgs]) error { panic("a bug of the user") },
		1: func(context.Context, *river.Job[finishArgs]) error { return errors.New("a failure") },
		2: func(ctx context.Context, job *river.Job[finishArgs]) error { // after CompleteTx
			return w.outcomeWith(ctx, job, func(ctx context.Context, tx pgx.Tx, job *river.Job[finishArgs]) error {
				return errors.Join(riverwait.CompleteTx(ctx, tx, job), errors.New("a failure in the transaction"))
			})
		},
		3: func(ctx context.Context, job *river.Job[finishArgs]) error { // the connection breaks
			return w.outcomeWith(ctx, job, func(ctx context.Context, tx pgx.Tx, job *river.Job[finishArgs]) error {
				return errors.Join(riverwait.CompleteTx(ctx, tx, job), tx.Conn().Close(ctx))
			})
		},
		4: func(context.Context, *river.Job[finishArgs]) error { return river.JobSnooze(0) },
	}
	var attempts [5]atomic.Int64
	w.work(func(ctx context.Context, job *river.Job[finishArgs]) error {
		if attempts[job.Args.Deck].Add(1) == 1 {
			return fail[job.Args.Deck](ctx, job)
		}
		return w.outcome(ctx, job)
	})
	w.watch()
	for _, id := range ids("g", len(fail)) {
		w.fake.Add(id, gammatest.Completed(""))
	}
	w.insert(ids("g", len(fail))...)
	w.once(len(fail))
	if n := value[int](w, "SELECT count(*) FROM outcomes WHERE text = 'completed' AND generation <> ''"); n != len(fail) {
		t.Errorf("%d good outcomes, want %d", n, len(fail))
	}
	for i := range attempts {
		if n := attempts[i].Load(); n != 2 {
			t.Errorf("handler %d ran %d times, want 2", i, n)
		}
	}
}

// rescue makes River rescue a running job, which it does when a client starts.
func (w *world) rescue(job int64) {
	w.Helper()
	w.eventually("the job is rescued", func() bool {
		config := &river.Config{
			Queues: map[string]river.QueueConfig{"nothing": {MaxWorkers: 1}}, Workers: river.NewWorkers(),
			JobTimeout: 10 * time.Millisecond, RescueStuckJobsAfter: 10 * time.Millisecond, TestOnly: true,
		}
		river.AddWorker(config.Workers, &finishWorker{})
		client := w.newRiver(config)
		if err := client.Start(context.Background()); err != nil {
			w.Fatal(err)
		}
		defer func() { _ = client.StopAndCancel(context.Background()) }()
		for range 300 {
			if len(w.job(job).Errors) > 0 {
				return true
			}
			time.Sleep(10 * time.Millisecond)
		}
		return false
	})
}

// TestLostAttempt has a handler that still runs when River rescues its job and gives it to
// another worker.
func TestLostAttempt(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		for _, when := range []string{"before the second attempt", "during the second attempt", "after the second attempt"} {
			name := "CompleteTx " + when
			if plain {
				name = "JobCompleteTx " + when
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				complete, outcomes, lost := riverwait.CompleteTx[finishArgs], 1, riverwait.ErrLostAttempt
				if plain { // why there is CompleteTx
					complete, outcomes, lost = completePlain, 2, nil
				}
				first, second, err := make(chan struct{}), make(chan struct{}), make(chan error, 1)
				var attempts atomic.Int64
				work := func(ctx context.Context, job *river.Job[finishArgs]) error {
					switch attempts.Add(1) {
					case 1:
						<-first // it ignores ctx
						e := w.outcomeWith(ctx, job, complete)
						err <- e
						return e
					case 2:
						<-second
					}
					return w.outcomeWith(ctx, job, complete)
				}
				w.work(work, func(c *river.Config) {
					c.JobTimeout, c.RescueStuckJobsAfter, c.LeaderElectionDisabled = -1, time.Hour, true
				})
				w.watch()
				w.fake.Add("g", gammatest.Completed(""))
				job := w.insert("g")[0]
				w.eventually("the first attempt", func() bool { return attempts.Load() == 1 })
				w.rescue(job)
				if when == "before the second attempt" {
					w.exec("UPDATE river_job SET state = 'retryable', scheduled_at = now() + interval '1 day' WHERE id = $1", job)
					close(first)
				} else {
					w.eventually("the second attempt", func() bool {
						w.exec("UPDATE river_job SET state = 'available' WHERE id = $1 AND state = 'retryable'", job)
						return attempts.Load() == 2
					})
				}
				switch when {
				case "during the second attempt":
					close(first)
				case "after the second attempt":
					close(second)
					w.once(1)
					w.eventually("it is completed", func() bool { return w.job(job).State == rivertype.JobStateCompleted })
					close(first)
				}
				if e := <-err; !errors.Is(e, lost) {
					t.Errorf("the first attempt ended with %v, want %v", e, lost)
				}
				if when != "after the second attempt" {
					close(second)
					w.exec("UPDATE river_job SET state = 'available', scheduled_at = now() WHERE id = $1 AND state = 'retryable'", job)
				}
				w.eventually("all attempts have ended", func() bool {
					rows, _ := w.outcomes()
					return rows >= outcomes && w.job(job).State == rivertype.JobStateCompleted
				})
				// Without CompleteTx each attempt that a busy machine adds writes one more.
				if rows, _ := w.outcomes(); rows < outcomes || rows > outcomes && !plain {
					t.Errorf("%d outcomes, want %d", rows, outcomes)
				}
			})
		}
	}
}

// TestCompleteTx calls CompleteTx in unusual ways.
func TestCompleteTx(t *testing.T) {
	t.Parallel()
	var first atomic.Pointer[river.Job[finishArgs]]
	for name, row := range map[string]struct {
		work  func(*world, context.Context, *river.Job[finishArgs]) error
		lost  int // errors matching ErrLostAttempt
		state rivertype.JobState
	}{
		"again, because the response to the commit was lost": {
			work: func(w *world, ctx context.Context, job *river.Job[finishArgs]) error {
				return errors.Join(w.outcome(ctx, job), w.outcome(ctx, job))
			},
			lost: 1, state: rivertype.JobStateCompleted,
		},
		"twice in a transaction": {
			work: func(w *world, ctx context.Context, job *river.Job[finishArgs]) error {
				return w.outcomeWith(ctx, job, func(ctx context.Context, tx pgx.Tx, job *river.Job[finishArgs]) error {
					if err := riverwait.CompleteTx(ctx, tx, job); err != nil {
						return err
					}
					if err := riverwait.CompleteTx(ctx, tx, job); !errors.Is(err, riverwait.ErrLostAttempt) {
						return fmt.Errorf("the second call: %w", err)
					}
					return nil
				})
			},
			state: rivertype.JobStateCompleted,
		},
		"for a snoozed attempt, which has the same number": {
			work: func(w *world, ctx context.Context, job *river.Job[finishArgs]) error {
				if first.CompareAndSwap(nil, job) {
					return river.JobSnooze(time.Millisecond)
				}
				if stale := first.Load(); stale.Attempt != job.Attempt {
					return fmt.Errorf("attempt %d is not %d", job.Attempt, stale.Attempt)
				}
				return errors.Join(w.outcome(ctx, first.Load()), w.outcome(ctx, job))
			},
			lost: 1, state: rivertype.JobStateCompleted,
		},
		"for a deleted job": {
			work: func(w *world, ctx context.Context, job *river.Job[finishArgs]) error {
				err := w.outcomeWith(ctx, job, func(ctx context.Context, tx pgx.Tx, job *river.Job[finishArgs]) error {
					w.exec("DELETE FROM river_job WHERE id = $1", job.ID)
					return riverwait.CompleteTx(ctx, tx, job)
				})
				w.exec("INSERT INTO outcomes VALUES ($1, '', 'deleted')", job.ID)
				return err
			},
			lost: 1,
		},
		"with an output": {
			work: func(w *world, ctx context.Context, job *river.Job[finishArgs]) error {
				return errors.Join(river.RecordOutput(ctx, "an output of the user"), w.outcome(ctx, job))
			},
			state: rivertype.JobStateCompleted,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			lost := make(chan int, 10)
			w.work(func(ctx context.Context, job *river.Job[finishArgs]) error {
				err := row.work(w, ctx, job)
				switch snooze := (*river.JobSnoozeError)(nil); {
				case errors.As(err, &snooze):
					return err
				case errors.Is(err, riverwait.ErrLostAttempt):
					lost <- 1
				default:
					lost <- 0
					if err != nil {
						t.Error(err)
					}
				}
				return err
			})
			w.watch()
			w.fake.Add("g", gammatest.Completed(""))
			job := w.insert("g")[0]
			if n := <-lost; n != row.lost {
				t.Errorf("%d lost attempts, want %d", n, row.lost)
			}
			w.once(1)
			if row.state != "" {
				w.eventually("the job is "+string(row.state), func() bool { return w.job(job).State == row.state })
			}
		})
	}
}

// TestOutputReplaced has a handler that records an output and fails: the next attempt has no
// result, as the documentation of Result says.
func TestOutputReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	results := make(chan error, 10)
	w.work(func(ctx context.Context, job *river.Job[finishArgs]) error {
		_, err := riverwait.Result(job)
		results <- err
		if job.Attempt > 1 {
			return w.outcome(ctx, job)
		}
		return errors.Join(river.RecordOutput(ctx, "an output of the user"), errors.New("a failure"))
	})
	w.watch()
	w.fake.Add("g", gammatest.Completed(""))
	w.insert("g")
	if err := <-results; err != nil {
		t.Errorf("the first attempt: %v", err)
	}
	if err := <-results; !errors.Is(err, riverwait.ErrNoResult) {
		t.Errorf("the second attempt: %v, want ErrNoResult", err)
	}
	w.once(1)
}
