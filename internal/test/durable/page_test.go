//go:build unix

package durable

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/poller/riverwait"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// rows records the number of rows of each statement that lists pending jobs.
type rows struct {
	mu sync.Mutex
	n  []int
}

type listing struct{}

func (*rows) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if strings.Contains(data.SQL, "gamma_after") || strings.Contains(data.SQL, "unnest") {
		return context.WithValue(ctx, listing{}, true)
	}
	return ctx
}

func (r *rows) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	if n := int(data.CommandTag.RowsAffected()); n > 0 && ctx.Value(listing{}) != nil {
		r.mu.Lock()
		r.n = append(r.n, n)
		r.mu.Unlock()
	}
}

// TestPages lists many jobs in few pages, none of which is large.
func TestPages(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		args  int // bytes of a job
		pages int // at most
	}{
		"jobs with small args": {args: 10, pages: 8},
		"jobs with large args": {args: 20_000, pages: 24},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			const n, most = 3000, 10_000_000
			for _, id := range ids("g", n) {
				w.fake.Add(id, gammatest.Pending(1_000_000))
			}
			w.insert(ids("g", n)...)
			w.exec("UPDATE river_job SET args = args || jsonb_build_object('text', repeat('x', $1))", row.args)
			var listed rows
			config := w.pool.Config()
			config.ConnConfig.Tracer = &listed
			pool, err := pgxpool.NewWithConfig(context.Background(), config)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(pool.Close)
			watcher, stop := w.watch(func(r *riverwait.Watcher) { r.Pool, r.Interval = pool, time.Minute })
			w.eventually("all are waited for", func() bool { return watcher.Status().Waiting == n })
			stop()
			listed.mu.Lock()
			defer listed.mu.Unlock()
			sum := 0
			for _, rows := range listed.n {
				if sum += rows; rows*row.args > most {
					t.Errorf("a page of %d jobs has %d bytes of args, want at most %d", rows, rows*row.args, most)
				}
			}
			if len(listed.n) > row.pages || sum != n {
				t.Errorf("%d pages with %d jobs, want %d and at most %d pages: %d", len(listed.n), sum, n, row.pages, listed.n)
			}
		})
	}
}
