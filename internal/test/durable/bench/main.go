// Command bench measures what waiting with package riverwait costs, with a private
// PostgreSQL. Run it in the directory above:
//
//	go run ./bench                            measures everything, in about 20 minutes on 2 cores
//	go run ./bench -only wal,plans            measures these parts: waiting, takeover, memory, wal, plans
//	go run ./bench -waiting 1000 -docs ''     measures with 1000 generations, and only prints
//
// It prints Markdown tables and writes them to docs/performance.md. It does nothing if
// PostgreSQL is not installed. It needs Linux, because it reads CPU time from /proc. Each
// worker is a process that reaches PostgreSQL through a proxy, so that it can vanish.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/gamma-sdk/gamma-go/internal/test/performance"
	"github.com/gamma-sdk/gamma-go/internal/test/postgres"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// sizes is how much is measured.
type sizes struct {
	waiting     int           // generations
	many        int           // generations, in the last row of memory
	interval    time.Duration // between two polls of one
	measure     time.Duration // how long to measure a figure
	turns       int           // how often each figure is measured
	generations int           // of each turn of wal
	completed   int           // jobs in the table, besides the pending ones
	settle      time.Duration // until the sessions have reported their statistics
}

func main() {
	if child() {
		return
	}
	log.SetFlags(log.Ltime)
	log.SetPrefix("bench: ")
	s := sizes{settle: 11 * time.Second} // an idle session reports them after 10 seconds at the latest
	only := flag.String("only", strings.Join(slices.Sorted(maps.Keys(parts)), ","), "the `parts` to measure")
	docs := flag.String("docs", "../../../docs", "the `directory` with performance.md; only print if empty")
	flag.IntVar(&s.waiting, "waiting", 50_000, "the waiting `generations`")
	flag.IntVar(&s.many, "many", 200_000, "the waiting `generations` of the last row of memory")
	flag.DurationVar(&s.interval, "interval", 5*time.Second, "the `time` between two polls of a generation")
	flag.DurationVar(&s.measure, "measure", 30*time.Second, "how `long` a figure is measured")
	flag.IntVar(&s.turns, "turns", 3, "how many `times` each figure is measured")
	flag.IntVar(&s.generations, "generations", 2_000, "the `generations` that finish in each turn of wal")
	flag.IntVar(&s.completed, "completed", 500_000, "the completed `jobs` in the table of plans")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	switch err := run(ctx, os.Stdout, strings.Split(*only, ","), s, *docs); {
	case errors.Is(err, postgres.ErrNotInstalled):
		log.Print("skipped: ", err)
	case err != nil:
		log.Fatal(err) //nolint:gocritic // nothing is lost without stop
	}
}

// parts are what can be measured, by their names.
var parts = map[string]func(*bench, context.Context) (performance.Table, error){
	"waiting":  (*bench).waiting,
	"takeover": (*bench).takeover,
	"memory":   (*bench).memory,
	"wal":      (*bench).wal,
	"plans":    (*bench).plans,
}

// run measures parts, and writes the table of each as soon as it is there: to out, and to
// the page in docs unless that is empty.
func run(ctx context.Context, out io.Writer, only []string, s sizes, docs string) error {
	for _, part := range only {
		if parts[part] == nil {
			return fmt.Errorf("there is no part %q", part)
		}
	}
	for _, part := range only {
		b, err := newBench(ctx, s)
		if err != nil {
			return err
		}
		log.Print(part)
		start := time.Now()
		var version string
		var t performance.Table
		if err = b.pool.QueryRow(ctx, "SHOW server_version").Scan(&version); err == nil {
			t, err = parts[part](b, ctx)
		}
		b.stop()
		if err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
		if _, err := fmt.Fprintln(out, t); err != nil {
			return err
		}
		if docs == "" {
			continue
		}
		if err := performance.Write(docs, "riverwait-"+part, performance.Machine(start)+", PostgreSQL "+version, []performance.Table{t}); err != nil {
			return err
		}
	}
	return nil
}

// bench is what a part needs: a database, a fake of the API, and the workers.
type bench struct {
	sizes
	server  *postgres.Server
	pool    *pgxpool.Pool
	river   *river.Client[pgx.Tx] // for inserts only
	fake    *fake
	workers []*process
}

func newBench(ctx context.Context, s sizes) (b *bench, err error) {
	b = &bench{sizes: s, fake: newFake(max(s.waiting, s.many, (s.turns+1)*s.generations))}
	defer func() {
		if err != nil {
			b.stop()
		}
	}()
	b.server, err = postgres.Start("max_connections=200", "session_preload_libraries=auto_explain",
		"auto_explain.log_analyze=on", "auto_explain.log_timing=off") // for plans
	if err != nil {
		return b, err
	}
	if b.pool, err = pgxpool.New(ctx, b.server.URL()); err != nil {
		return b, err
	}
	driver := riverpgxv5.New(b.pool)
	migrator, err := rivermigrate.New(driver, nil)
	if err != nil {
		return b, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return b, err
	}
	b.river, err = river.NewClient(driver, &river.Config{})
	return b, err
}

func (b *bench) stop() {
	for _, p := range b.workers {
		p.kill()
	}
	if b.pool != nil {
		b.pool.Close()
	}
	if b.server != nil {
		b.server.Stop()
	}
}

// start starts another worker.
func (b *bench) start(ctx context.Context) (*process, error) {
	p, err := start(ctx, b.fake, b.server.URL(), task{Interval: b.interval})
	if err == nil {
		b.workers = append(b.workers, p)
	}
	return p, err
}

// end kills a worker.
func (b *bench) end(p *process) {
	p.kill()
	b.workers = slices.DeleteFunc(b.workers, func(w *process) bool { return w == p })
}

// watcher waits until a worker polls, and returns it and the others.
func (b *bench) watcher(ctx context.Context) (watcher *process, others []*process, err error) {
	err = until(ctx, func() (bool, error) {
		watcher, others = nil, nil
		for _, p := range b.workers {
			switch r, err := p.report("status"); {
			case err != nil:
				return false, err
			case r.Watching:
				watcher = p
			default:
				others = append(others, p)
			}
		}
		return watcher != nil, nil
	})
	return watcher, others, err
}

// until calls f until it returns true.
func until(ctx context.Context, f func() (bool, error)) error {
	const timeout = 10 * time.Minute
	for deadline := time.Now().Add(timeout); time.Now().Before(deadline); {
		if ok, err := f(); ok || err != nil {
			return err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("timed out after %v", timeout)
}

// pause sleeps for d, or until ctx is done.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// figures are those of several turns. They print as the median, with the lowest and the
// highest in parentheses.
type figures struct {
	values   []float64
	decimals int
}

func (f *figures) add(x float64) { f.values = append(f.values, x) }

func (f *figures) String() string {
	s := slices.Sorted(slices.Values(f.values))
	if len(s) == 0 {
		return ""
	}
	text := performance.Number((s[(len(s)-1)/2]+s[len(s)/2])/2, f.decimals)
	if low, high := performance.Number(s[0], f.decimals), performance.Number(s[len(s)-1], f.decimals); low != high {
		text += " (" + low + " to " + high + ")"
	}
	return text
}

// cells are a row of a table.
func cells(values ...any) []string {
	row := make([]string, len(values))
	for i, value := range values {
		row[i] = fmt.Sprint(value)
	}
	return row
}

// count formats a number of something.
func count(n int) string { return performance.Number(float64(n), 0) }
