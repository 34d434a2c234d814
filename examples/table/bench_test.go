package main

import (
	"context"
	"net/http"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go/api"
)

// stub responds to all polls, as a poller.Client.
type stub func(id string) api.GenerationStatus

func (s stub) GetGenerationStatusWithResponse(_ context.Context, id string, _ ...api.RequestEditorFn) (*api.GetGenerationStatusHTTPResponse, error) {
	return &api.GetGenerationStatusHTTPResponse{
		HTTPResponse: &http.Response{StatusCode: http.StatusOK, Header: http.Header{}},
		JSON200:      &api.GenerationStatusResponse{GenerationID: id, Status: s(id)},
	}, nil
}

// inEach runs a benchmark with an empty database of each kind, and n rows.
func inEach(b *testing.B, f func(b *testing.B, db *database, fill func(n int))) {
	for kind, name := range map[string]func(b *testing.B) string{
		"SQLite":     func(b *testing.B) string { return filepath.Join(b.TempDir(), "decks.db") },
		"PostgreSQL": func(b *testing.B) string { return postgresURL(b) },
	} {
		b.Run(kind, func(b *testing.B) {
			db := prepared(b, name(b))
			if kind == "PostgreSQL" {
				for _, query := range []string{"ALTER SYSTEM SET fsync = on", "SELECT pg_reload_conf()"} {
					if _, err := db.ExecContext(b.Context(), query); err != nil {
						b.Fatal(err)
					}
				}
				wait(b, "fsync", func() bool {
					return count(b, db, "SELECT count(*) FROM pg_settings WHERE name = 'fsync' AND setting = 'on'") == 1
				})
			}
			f(b, db, func(n int) {
				const query = `
					WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < $1)
					INSERT INTO decks (id) SELECT 'a-generation-id-of-usual-length-' || i FROM numbers`
				if _, err := db.ExecContext(b.Context(), query, n); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}

// BenchmarkFinish measures outcomes, each with its notice in a transaction, on a disk that
// the database syncs.
func BenchmarkFinish(b *testing.B) {
	inEach(b, func(b *testing.B, db *database, fill func(int)) {
		fill(b.N)
		p := quick(stub(func(string) api.GenerationStatus { return api.GenerationStatusCompleted }))
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		wal := func() int {
			if db.schema == schema { // SQLite
				return 0
			}
			return count(b, db, "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint")
		}
		before := wal()
		b.ResetTimer()
		go watch(ctx, db, p, notify)
		wait(b, "an outcome for each", func() bool {
			return count(b, db, "SELECT count(*) FROM decks WHERE outcome IS NULL") == 0
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "outcomes/s")
		if before > 0 {
			b.ReportMetric(float64(wal()-before)/float64(b.N), "WAL-B/op")
		}
	})
}

// BenchmarkWaiting measures 50,000 rows that wait, looked at every second and polled every
// 5 seconds, without HTTP.
func BenchmarkWaiting(b *testing.B) {
	pause = time.Second
	defer func() { pause = 20 * time.Millisecond }()
	inEach(b, func(b *testing.B, db *database, fill func(int)) {
		fill(50_000)
		var polls atomic.Int64
		p := newPoller(stub(func(string) api.GenerationStatus { polls.Add(1); return api.GenerationStatusPending }))
		p.Interval, p.FirstPoll = 5*time.Second, 0
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan struct{})
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		go func() {
			defer close(done)
			watch(ctx, db, p, notify)
		}()
		defer func() {
			cancel()
			<-done
		}()
		wait(b, "a poll of each", func() bool { return polls.Load() >= 50_000 })
		b.ResetTimer()
		polls.Store(0)
		start, cpu := time.Now(), processTime()
		for range b.N {
			time.Sleep(10 * time.Second)
		}
		elapsed := time.Since(start).Seconds()
		b.ReportMetric(float64(polls.Load())/elapsed, "polls/s")
		b.ReportMetric((processTime()-cpu).Seconds()/elapsed, "cores")
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/50_000, "B/row")
	})
}
