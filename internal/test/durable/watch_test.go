//go:build unix

package durable

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/poller"
	"github.com/gamma-sdk/gamma-go/poller/riverwait"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// TestTwoWatchers runs two watchers: one polls, the other takes over when the first ends.
func TestTwoWatchers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.work(w.outcome)
	first, stop := w.watch()
	w.eventually("the first watches", func() bool { return first.Status().Watching })
	second, _ := w.watch()
	w.eventually("the second knows who watches", func() bool { return second.Status().By == first.Status().By })

	w.fake.Add("slow", gammatest.Pending(1_000_000))
	w.fake.Add("quick", gammatest.Pending(1), gammatest.Completed(""))
	w.insert("slow", "quick")
	w.once(1)
	if s := second.Status(); s.Watching || s.Polls != 0 || s.Since != first.Status().Since {
		t.Errorf("the second is %+v", s)
	}
	start, before := time.Now(), w.polls("slow")
	w.eventually("polls", func() bool { return w.polls("slow") > before+10 })
	// Each polls once in an interval.
	if most := int64(time.Since(start)/interval) + 1; int64(w.polls("slow")-before) > most {
		t.Errorf("%d polls in %v, want at most %d", w.polls("slow")-before, time.Since(start), most)
	}
	stop()
	w.within(2*time.Second, "the second watches", func() bool { return second.Status().Watching })
	w.fake.Add("slow", gammatest.Completed(""))
	w.once(2)
}

// TestTwoWatchersByForce has two watchers that poll at the same time: their sets of queues
// overlap but differ, so they have different locks.
func TestTwoWatchersByForce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.work(w.outcome)
	first, _ := w.watch()
	second, _ := w.watch(func(watcher *riverwait.Watcher) { watcher.Queues = []string{river.QueueDefault} })
	w.eventually("both watch", func() bool { return first.Status().Watching && second.Status().Watching })
	const n = 200
	for _, id := range ids("g", n) {
		w.fake.Add(id, gammatest.Pending(2), gammatest.Completed(""))
	}
	w.insert(ids("g", n)...)
	w.once(n)
	if first.Status().Polls == 0 || second.Status().Polls == 0 {
		t.Error("only one polled")
	}
	if finished := first.Status().Finished + second.Status().Finished; finished != n {
		t.Errorf("%d jobs were made available, want %d", finished, n)
	}
}

// TestLateCommit inserts in a transaction that commits after 5,000 later jobs.
func TestLateCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.work(w.outcome)
	w.watch()
	ctx := context.Background()
	early, err := w.pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = early.Rollback(ctx) }()
	w.fake.Add("early", gammatest.Completed(""))
	jobs, err := w.insertTx(early, "early")
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids("pending", 5_000) {
		w.fake.Add(id, gammatest.Header("Retry-After", "3600", gammatest.Status(503))) // one poll
	}
	w.fake.Add("late", gammatest.Completed(""))
	late := w.insert("pending0")
	w.exec(`INSERT INTO river_job (args, kind, max_attempts, metadata, state)
		SELECT args, kind, max_attempts, jsonb_set(metadata, '{gamma,id}', to_jsonb('pending' || n)), state
		FROM river_job, generate_series(1, 4999) AS n WHERE id = $1`, late[0])
	w.insert("late")
	if late[0] <= jobs[0] {
		t.Fatalf("the late job %d is not later than %d", late[0], jobs[0])
	}
	w.once(1)
	if err := early.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	w.once(2)
}

// TestMoved changes a pending job while a watcher runs: the watcher leaves it alone.
func TestMoved(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		sql   string
		state rivertype.JobState // "" for deleted
	}{
		"canceled": {"UPDATE river_job SET state = 'cancelled', finalized_at = now() WHERE id = $1", rivertype.JobStateCancelled},
		"deleted":  {"DELETE FROM river_job WHERE id = $1", ""},
		"completed": {
			"UPDATE river_job SET state = 'completed', finalized_at = now() WHERE id = $1", rivertype.JobStateCompleted,
		},
		"scheduled": {
			"UPDATE river_job SET state = 'scheduled', scheduled_at = now() + interval '1 day' WHERE id = $1", rivertype.JobStateScheduled,
		},
		"running": {"UPDATE river_job SET state = 'running', attempted_at = now() WHERE id = $1", rivertype.JobStateRunning},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.work(w.outcome)
			watcher, _ := w.watch()
			w.fake.Add("g", gammatest.Pending(1_000_000))
			w.fake.Add("next", gammatest.Pending(1_000_000))
			id := w.insert("g", "next")[0]
			w.eventually("a poll", func() bool { return w.polls("g") > 0 })
			w.exec(row.sql, id)
			w.fake.Add("g", gammatest.Completed(""))
			w.eventually("the wait has ended", func() bool { return watcher.Status().Waiting == 1 })
			polls := w.polls("g")
			w.fake.Add("next", gammatest.Completed(""))
			w.once(1)
			if w.polls("g") != polls {
				t.Error("it is still polled")
			}
			if row.state == "" {
				if n := value[int](w, "SELECT count(*) FROM river_job WHERE id = $1", id); n != 0 {
					t.Error("the job is back")
				}
				return
			}
			if job := w.job(id); job.State != row.state || job.Output() != nil {
				t.Errorf("the job is %s, with the output %s, want %s and none", job.State, job.Output(), row.state)
			}
		})
	}
}

// TestRetriedByHand retries a pending job, as the UI of River can.
func TestRetriedByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.work(w.outcome)
	watcher, _ := w.watch()
	w.fake.Add("g", gammatest.Pending(1_000_000))
	id := w.insert("g")[0]
	w.eventually("a poll", func() bool { return w.polls("g") > 0 })
	if _, err := w.river.JobRetry(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	w.once(1)
	if text := value[string](w, "SELECT text FROM outcomes"); text != riverwait.ErrNoResult.Error() {
		t.Errorf("the outcome is %q, want %q", text, riverwait.ErrNoResult)
	}
	w.fake.Add("g", gammatest.Completed(""))
	w.eventually("the wait has ended", func() bool { return watcher.Status().Waiting == 0 })
	w.once(1)
	if job := w.job(id); job.State != rivertype.JobStateCompleted || job.Output() != nil {
		t.Errorf("the job is %s, with the output %s", job.State, job.Output())
	}
}

// TestRowLocks has a transaction that locks pending jobs while their generations finish.
func TestRowLocks(t *testing.T) {
	t.Parallel()
	const locked = 20
	for name, cancels := range map[string]bool{"canceled": true, "not changed": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.work(w.outcome)
			w.watch()
			ctx := context.Background()
			for _, id := range append(ids("locked", locked), ids("free", 20)...) {
				w.fake.Add(id, gammatest.Pending(1_000_000))
			}
			jobs := w.insert(append(ids("locked", locked), ids("free", 20)...)...)
			w.eventually("polls", func() bool { return w.polls("free19") > 0 })
			tx, err := w.pool.Begin(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback(ctx) }()
			for i := range locked {
				job := jobs[locked-1-i] // in another order
				if cancels {
					_, err = w.river.JobCancelTx(ctx, tx, job)
				} else { // a second insert locks the job that there is
					_, err = riverwait.InsertTx(ctx, w.river, tx, poller.Progress{ID: ids("locked", locked)[locked-1-i]}, finishArgs{}, nil)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			for _, id := range append(ids("locked", locked), ids("free", 20)...) {
				w.fake.Add(id, gammatest.Completed(""))
			}
			w.eventually("the watcher has met a lock", func() bool { return w.log.count("cannot be made available") > 0 })
			start := time.Now()
			w.eventually("the free ones have their outcome", func() bool { _, n := w.outcomes(); return n == 20 })
			if d := time.Since(start); d > 15*time.Second { // a second of each lock would be 20
				t.Errorf("the locks of %d jobs delayed 20 others by %v", locked, d)
			}
			if err := tx.Commit(ctx); err != nil {
				t.Fatal(err)
			}
			if !cancels {
				w.once(20 + locked)
				return
			}
			w.once(20)
			for _, job := range jobs[:locked] {
				if state := w.job(job).State; state != rivertype.JobStateCancelled {
					t.Errorf("a canceled job is %s", state)
				}
			}
		})
	}
}

// TestTableLock locks the table for three seconds: waits for later jobs soon start.
func TestTableLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	watcher, _ := w.watch()
	w.fake.Add("g", gammatest.Completed(""))
	w.eventually("it watches", func() bool { return watcher.Status().Watching })
	tx, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "LOCK TABLE river_job"); err != nil {
		t.Fatal(err)
	}
	w.eventually("a list has waited for three seconds", func() bool {
		return value[bool](w, `SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()
			AND application_name LIKE 'gamma since %' AND wait_event_type = 'Lock' AND query_start < clock_timestamp() - interval '3 seconds'`)
	})
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.eventually("that list has ended", func() bool {
		return value[bool](w, `SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()
			AND application_name LIKE 'gamma since %' AND state = 'idle'`)
	})
	w.insert("g")
	w.eventually("the job is available", func() bool {
		return value[int](w, "SELECT count(*) FROM river_job WHERE state = 'available'") == 1
	})
}

// TestDeadlock cancels pending jobs in transactions of many, in any order, while the
// watcher makes them available.
func TestDeadlock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.watch()
	const n = 300
	for _, id := range ids("g", n) {
		w.fake.Add(id, gammatest.Completed(""))
	}
	jobs := w.insert(ids("g", n)...)
	w.eventually("the first is available", func() bool {
		return value[int](w, "SELECT count(*) FROM river_job WHERE state = 'available'") > 0
	})
	ctx := context.Background()
	for i := range 10 {
		err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
			for j := range 30 {
				if _, err := w.river.JobCancelTx(ctx, tx, jobs[(i*7+j*13)%n]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	w.eventually("none is pending", func() bool {
		return value[int](w, "SELECT count(*) FROM river_job WHERE state IN ('available', 'cancelled')") == n
	})
	if w.log.count("40P01") > 0 {
		t.Error("the watcher was in a deadlock")
	}
}

// TestCanceled checks that waits of canceled jobs end within a minute, also if there are more
// than a page of the list.
func TestCanceled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fake.KeepRequests(10)
	watcher, _ := w.watch(func(watcher *riverwait.Watcher) { watcher.Interval = 2 * time.Second })
	canceled := ids("g", 1100)
	for _, id := range append(canceled, "other") {
		w.fake.Add(id, gammatest.Pending(1_000_000))
	}
	w.insert("other")
	jobs := w.insert(canceled...)
	w.eventually("all are waited for", func() bool { return watcher.Status().Waiting == len(jobs)+1 })
	if _, err := w.river.JobCancel(context.Background(), jobs[0]); err != nil {
		t.Fatal(err)
	}
	w.exec("UPDATE river_job SET state = 'cancelled', finalized_at = now() WHERE id = ANY ($1)", jobs[1:])
	w.within(75*time.Second, "the waits are dropped", func() bool { return watcher.Status().Waiting == 1 })
	w.eventually("only the other one is polled", func() bool { return w.polls("other") == 10 })
}

// TestInsertedAgain inserts a job for a generation whose first job was canceled or deleted
// during the wait.
func TestInsertedAgain(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"canceled": "UPDATE river_job SET state = 'cancelled', finalized_at = now() WHERE id = $1",
		"deleted":  "DELETE FROM river_job WHERE id = $1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.work(w.outcome)
			w.watch()
			w.fake.Add("g", gammatest.Pending(1_000_000))
			first := w.insert("g")[0]
			w.eventually("a poll", func() bool { return w.polls("g") > 0 })
			w.exec(sql, first)
			second := w.insert("g")[0]
			if second == first {
				t.Fatal("no second job")
			}
			w.fake.Add("g", gammatest.Completed(""))
			w.once(1)
			if job := value[int64](w, "SELECT job FROM outcomes"); job != second {
				t.Errorf("the outcome is of job %d, want %d", job, second)
			}
		})
	}
}

// TestNames has River clients with ids that PostgreSQL changes.
func TestNames(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct{ id, by string }{
		"short":               {"worker 1", "worker 1"},
		"too long":            {"worker-7d9f8b6c5d-x2x4k_2026_11_26T09_52_08_200217", "worker-7d9f8b6c5d-x2x4k_2026_1"},
		"not ASCII":           {"wörker\t1", "w?rker?1"},
		"cut inside a letter": {"w" + strings.Repeat("ö", 40), "w" + strings.Repeat("?", 29)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			named := func(watcher *riverwait.Watcher) { watcher.River = w.newRiver(&river.Config{ID: row.id}) }
			first, _ := w.watch(named)
			w.eventually("the first watches", func() bool { return first.Status().Watching })
			second, _ := w.watch(named)
			w.eventually("the second knows who watches", func() bool { return second.Status().By != "" })
			if a, b := first.Status(), second.Status(); a.By != row.by || b.By != a.By || b.Since != a.Since {
				t.Errorf("%+v\n%+v", a, b)
			}
		})
	}
}
