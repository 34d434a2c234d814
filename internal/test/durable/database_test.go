//go:build unix

package durable

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/internal/test/postgres"
	"github.com/gamma-sdk/gamma-go/poller"
	"github.com/gamma-sdk/gamma-go/poller/riverwait"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// TestRestart restarts PostgreSQL while generations are waited for and finish.
func TestRestart(t *testing.T) {
	t.Parallel()
	postgres.Skip(t, server.err)
	for _, mode := range []string{"fast", "immediate"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s, err := start()
			postgres.Skip(t, err)
			t.Cleanup(s.Stop)
			w := newWorldAt(t, s)
			w.work(w.outcome, func(c *river.Config) { // a job of a broken connection stays running
				c.JobTimeout, c.RescueStuckJobsAfter = 500*time.Millisecond, time.Second
			})
			first, _ := w.watch()
			second, _ := w.watch()
			const n = 100
			for i, id := range ids("g", n) {
				w.fake.Add(id, gammatest.PendingFor(time.Duration(i)*50*time.Millisecond), gammatest.Completed(""))
			}
			w.insert(ids("g", n)...)
			for _, least := range []int{n / 10, n / 2} {
				w.eventually("some have finished", func() bool { _, jobs := w.outcomes(); return jobs >= least })
				if err := s.Restart(mode); err != nil {
					t.Fatal(err)
				}
			}
			w.eventually("one watches again", func() bool { return first.Status().Watching != second.Status().Watching })
			w.eventually("the one that stands by has no error", func() bool {
				for _, watcher := range []*riverwait.Watcher{first, second} {
					if s := watcher.Status(); !s.Watching {
						return s.LastError == nil
					}
				}
				return false
			})
			w.eventually("none is pending", func() bool {
				rows, err := w.pool.Query(context.Background(), "SELECT id FROM river_job WHERE state = 'pending'")
				if err != nil {
					return false
				}
				pending, err := pgx.CollectRows(rows, pgx.RowTo[int64])
				return err == nil && len(pending) == 0
			})
			// River rescues what its worker could not report, when a client starts.
			w.eventually("none is running", func() bool {
				for _, job := range value[[]int64](w, "SELECT coalesce(array_agg(id), '{}') FROM river_job WHERE state = 'running' AND attempted_at < now() - interval '2 seconds'") {
					w.rescue(job)
				}
				_, jobs := w.outcomes()
				return jobs == n
			})
			w.once(n)
			if lines := w.log.count("connects to the database again"); lines < 1 || lines > 2 {
				t.Errorf("%d lines of the log tell of it, want 1 of each watcher:\n%s", lines, w.log.String())
			}
		})
	}
}

// TestMigration removes all tables of River and creates them again while a watcher runs.
func TestMigration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	watcher, _ := w.watch()
	w.fake.Add("before", gammatest.Pending(1_000_000))
	w.fake.Add("after", gammatest.Pending(2), gammatest.Completed(""))
	w.insert("before")
	w.eventually("a poll", func() bool { return w.polls("before") > 0 })
	if err := migrations(w.pool, rivermigrate.DirectionDown, ""); err != nil {
		t.Fatal(err)
	}
	w.eventually("the status tells of it", func() bool { return watcher.Status().LastError != nil && !watcher.Status().Watching })
	start := time.Now()
	w.eventually("it has tried again", func() bool { return time.Since(start) > 3*time.Second })
	if n := w.log.count(""); n > 2 {
		t.Errorf("%d lines of the log, want one that it watches and one that it does not:\n%s", n, w.log.String())
	}
	if err := migrations(w.pool, rivermigrate.DirectionUp, ""); err != nil {
		t.Fatal(err)
	}
	w.pool.Reset() // it has prepared statements
	w.work(w.outcome)
	w.insert("after")
	w.once(1)
	if n := w.log.count("level=WARN"); n > 1 {
		t.Errorf("%d warnings, want 1:\n%s", n, w.log.String())
	}
}

// TestSchemas has River's tables in two schemas of a database, each with its watchers.
func TestSchemas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := context.Background()
	schemas := []string{"one", "Two"}
	var watchers []*riverwait.Watcher
	for i, schema := range schemas {
		w.exec("CREATE SCHEMA " + pgx.Identifier{schema}.Sanitize())
		if err := migrations(w.pool, rivermigrate.DirectionUp, schema); err != nil {
			t.Fatal(err)
		}
		client := w.newRiver(&river.Config{Schema: schema})
		w.work(w.outcome, func(c *river.Config) { c.Schema = schema })
		for range 2 {
			watcher, _ := w.watch(func(watcher *riverwait.Watcher) { watcher.River = client })
			watchers = append(watchers, watcher)
		}
		id := fmt.Sprint("g", i)
		w.fake.Add(id, gammatest.Pending(2), gammatest.Completed(""))
		err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
			_, err := riverwait.InsertTx(ctx, client, tx, poller.Progress{ID: id}, finishArgs{}, nil)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	w.eventually("each schema has a watcher", func() bool {
		return watchers[0].Status().Watching != watchers[1].Status().Watching && watchers[2].Status().Watching != watchers[3].Status().Watching
	})
	w.eventually("two outcomes", func() bool { rows, _ := w.outcomes(); return rows == 2 })
}

// TestSearchPath has the schema in the search path of one watcher, and in the River client of
// another: both are for the same jobs.
func TestSearchPath(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, _ := w.watch(func(watcher *riverwait.Watcher) { watcher.River = w.newRiver(&river.Config{Schema: "public"}) })
	w.eventually("the first watches", func() bool { return first.Status().Watching })
	second, _ := w.watch()
	w.eventually("the second stands by", func() bool { return second.Status().By != "" })
	if second.Status().Watching {
		t.Error("both watch")
	}
}

// TestTwoKeys has a queue for each of two API keys.
func TestTwoKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.work(w.outcome, func(c *river.Config) {
		c.Queues = map[string]river.QueueConfig{"first": {MaxWorkers: 2}, "second": {MaxWorkers: 2}}
	})
	ctx := context.Background()
	var watchers []*riverwait.Watcher
	for _, queue := range []string{"first", "second"} {
		transport := gammatest.NewTransport(t)
		transport.SetKey(gammatest.Key + queue)
		transport.Add(queue, gammatest.Pending(2), gammatest.Completed(""))
		client, err := gamma.NewClient(gammatest.Key+queue, gamma.WithHTTPClient(&http.Client{Transport: transport}))
		if err != nil {
			t.Fatal(err)
		}
		watcher, _ := w.watch(func(watcher *riverwait.Watcher) { watcher.Client, watcher.Queues = client, []string{queue} })
		watchers = append(watchers, watcher)
		err = pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
			_, err := riverwait.InsertTx(ctx, w.river, tx, poller.Progress{ID: queue}, finishArgs{}, &river.InsertOpts{Queue: queue})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	w.once(2)
	if n := value[int](w, "SELECT count(*) FROM outcomes WHERE text = 'completed'"); n != 2 {
		t.Errorf("%d good outcomes, want 2", n)
	}
	for _, watcher := range watchers {
		if s := watcher.Status(); !s.Watching || s.Finished != 1 || s.Failed != 0 {
			t.Errorf("a watcher is %+v", s)
		}
	}
}

// TestSettings has databases and pools with unusual settings.
func TestSettings(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		sql  string // of the database
		mode pgx.QueryExecMode
	}{
		"repeatable read transactions": {sql: "SET default_transaction_isolation = 'repeatable read'"},
		"short statement timeout":      {sql: "SET statement_timeout = '300ms'"},
		"German dates":                 {sql: "SET datestyle = 'German, DMY'"},
		"statements are not prepared":  {mode: pgx.QueryExecModeExec},
		"statements are described":     {mode: pgx.QueryExecModeDescribeExec},
		"descriptions are cached":      {mode: pgx.QueryExecModeCacheDescribe},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if row.sql != "" {
				w.exec("ALTER DATABASE " + w.pool.Config().ConnConfig.Database + " " + row.sql)
			}
			config, err := pgxpool.ParseConfig(w.url)
			if err != nil {
				t.Fatal(err)
			}
			if row.mode != 0 {
				config.ConnConfig.DefaultQueryExecMode = row.mode
			}
			if w.pool, err = pgxpool.NewWithConfig(context.Background(), config); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(w.pool.Close)
			if w.river, err = river.NewClient(riverpgxv5.New(w.pool), &river.Config{}); err != nil {
				t.Fatal(err)
			}
			watcher, _ := w.watch()
			const n = 100
			for _, id := range ids("g", n) {
				w.fake.Add(id, gammatest.Pending(2), gammatest.Completed(""))
			}
			failed := 0
			for _, id := range ids("g", n) {
				err := pgx.BeginFunc(context.Background(), w.pool, func(tx pgx.Tx) error {
					_, err := w.insertTx(tx, id)
					return err
				})
				if err != nil {
					failed++
					t.Log(err)
				}
			}
			w.eventually("all are available", func() bool {
				return value[int](w, "SELECT count(*) FROM river_job WHERE state = 'available'") == n-failed
			})
			if s := watcher.Status(); failed > 0 || w.log.count("level=WARN") > 0 {
				t.Errorf("%d inserts failed, the watcher is %+v, its log:\n%s", failed, s, w.log.String())
			}
		})
	}
}

// TestBadWatchers has watchers with invalid settings.
func TestBadWatchers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, change := range map[string]func(*riverwait.Watcher){
		"no River":            func(watcher *riverwait.Watcher) { watcher.River = nil },
		"no Pool":             func(watcher *riverwait.Watcher) { watcher.Pool = nil },
		"no Client":           func(watcher *riverwait.Watcher) { watcher.Client = nil },
		"a negative Interval": func(watcher *riverwait.Watcher) { watcher.Interval = -1 },
		"a negative Timeout":  func(watcher *riverwait.Watcher) { watcher.Timeout = -1 },
		"no queues":           func(watcher *riverwait.Watcher) { watcher.Queues = []string{} },
	} {
		watcher := &riverwait.Watcher{River: w.river, Pool: w.pool, Client: w.client}
		change(watcher)
		if err := watcher.Run(context.Background()); err == nil || !strings.HasPrefix(err.Error(), "gamma: the Watcher ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	watcher, stop := w.watch()
	w.eventually("it watches", func() bool { return watcher.Status().Watching })
	if err := watcher.Run(context.Background()); err == nil {
		t.Error("a second Run returns no error")
	}
	stop()
	if s := watcher.Status(); s.Watching || s.By != "" {
		t.Errorf("after its end it is %+v", s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := watcher.Run(ctx); err != nil { // again
		t.Error(err)
	}
}

// TestReadOnly has read-only sessions when a watcher connects, as with a standby. Later
// sessions are not read-only.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fake.Add("g", gammatest.Completed(""))
	w.insert("g")
	readOnly := func(value string) {
		database := w.pool.Config().ConnConfig.Database
		if err := execute(server.URL(), "ALTER DATABASE "+database+" SET default_transaction_read_only = "+value); err != nil {
			t.Fatal(err)
		}
	}
	readOnly("on")
	watcher, _ := w.watch(func(watcher *riverwait.Watcher) { watcher.Pool = w.newPool() })
	w.eventually("the status tells of it", func() bool { return watcher.Status().LastError != nil })
	readOnly("off")
	w.pool.Reset()
	w.work(w.outcome)
	w.once(1)
}

// TestSerializable has a database whose transactions are serializable by default: the watcher
// and other clients must not make each other's transactions fail.
func TestSerializable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec("ALTER DATABASE " + w.pool.Config().ConnConfig.Database + " SET default_transaction_isolation = 'serializable'")
	w.pool = w.newPool()
	w.river = w.newRiver(&river.Config{})
	w.watch()
	ctx := context.Background()
	w.fake.Add("g", gammatest.Pending(1_000_000))
	w.fake.Add("h", gammatest.Completed(""))
	w.insert("g")
	w.eventually("a poll", func() bool { return w.polls("g") > 0 })
	err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT count(*) FROM river_job WHERE state = 'pending'"); err != nil {
			return err
		}
		if _, err := w.insertTx(tx, "h"); err != nil {
			return err
		}
		w.fake.Add("g", gammatest.Completed(""))
		start := time.Now()
		w.eventually("the watcher has listed again", func() bool { return time.Since(start) > 3*time.Second })
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	w.eventually("both are available", func() bool { return value[int](w, "SELECT count(*) FROM river_job WHERE state = 'available'") == 2 })
	if w.log.count("level=WARN") > 0 {
		t.Error(w.log.String())
	}
}
