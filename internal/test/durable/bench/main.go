// Command bench measures what it costs to wait by package riverwait, with a private
// PostgreSQL. Run it in the folder above:
//
//	go run ./bench                    everything, about 20 minutes on 2 cores
//	go run ./bench -only wal,plans    these parts: waiting, takeover, memory, wal, plans
//	go run ./bench -waiting 1000      with so many waiting
//
// It prints Markdown. It needs Linux: CPU time is that of /proc. Each worker is a process
// and reaches PostgreSQL through a proxy, so that it can vanish.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

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
	many        int           // for memory
	interval    time.Duration // between two polls of one
	measure     time.Duration // how long
	turns       int           // how often each figure is measured
	generations int           // of each turn of wal
	completed   int           // jobs that are in the table beside the pending ones
	settle      time.Duration // until the sessions have told PostgreSQL their figures
}

func main() {
	if child() {
		return
	}
	log.SetFlags(log.Ltime)
	log.SetPrefix("bench: ")
	s := sizes{settle: 11 * time.Second} // they tell them when idle for 10 seconds, at the latest
	only := flag.String("only", "waiting,takeover,memory,wal,plans", "the `parts`")
	flag.IntVar(&s.waiting, "waiting", 50_000, "`generations` that are waited for")
	flag.IntVar(&s.many, "many", 200_000, "the same, where only memory is measured")
	flag.DurationVar(&s.interval, "interval", 5*time.Second, "`pause` between two polls of a generation")
	flag.DurationVar(&s.measure, "measure", 30*time.Second, "how `long` a figure is measured")
	flag.IntVar(&s.turns, "turns", 3, "how many `times`")
	flag.IntVar(&s.generations, "generations", 2_000, "`generations` that finish in each turn of wal")
	flag.IntVar(&s.completed, "completed", 500_000, "completed `jobs` in the table of plans")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, strings.Split(*only, ","), s); err != nil {
		log.Fatal(err) //nolint:gocritic // nothing is lost without stop
	}
}

// run measures the parts.
func run(ctx context.Context, out io.Writer, parts []string, s sizes) error {
	for _, part := range parts {
		if !slices.Contains([]string{"waiting", "takeover", "memory", "wal", "plans"}, part) {
			return fmt.Errorf("there is no part %q", part)
		}
	}
	for i, part := range parts {
		b, err := newBench(ctx, s)
		if err != nil {
			return err
		}
		if i == 0 {
			var version string
			if err := b.pool.QueryRow(ctx, "SHOW server_version").Scan(&version); err != nil {
				return err
			}
			if _, err := fmt.Fprintln(out, machine(version)); err != nil {
				return err
			}
		}
		log.Print(part)
		var t table
		switch part {
		case "waiting":
			t, err = b.waiting(ctx)
		case "takeover":
			t, err = b.takeover(ctx)
		case "memory":
			t, err = b.memory(ctx)
		case "wal":
			t, err = b.wal(ctx)
		case "plans":
			t, err = b.plans(ctx)
		}
		b.stop()
		if err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
		if err := t.write(out); err != nil {
			return err
		}
	}
	return nil
}

// bench is one part: a database, a fake, and the workers.
type bench struct {
	sizes
	server  *postgres.Server
	pool    *pgxpool.Pool
	river   *river.Client[pgx.Tx] // only inserts
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
		"auto_explain.log_analyze=on", "auto_explain.log_timing=off") // it logs what plans asks for
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

// start starts one more worker.
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

// watcher returns the worker that watches, and the others.
func (b *bench) watcher(ctx context.Context) (watcher *process, others []*process, err error) {
	err = until(ctx, func() (bool, error) {
		watcher, others = nil, nil
		for _, p := range b.workers {
			switch r, err := p.ask("status"); {
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

// until waits until f returns true.
func until(ctx context.Context, f func() (bool, error)) error {
	const patience = 10 * time.Minute
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if ok, err := f(); ok || err != nil {
			return err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("it has not happened within %v", patience)
}

// pause is a pause that ends with ctx.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// table is a Markdown table.
type table struct {
	title string
	head  []string
	rows  [][]string
	note  string
}

func (t *table) add(cells ...any) {
	row := make([]string, len(cells))
	for i, cell := range cells {
		row[i] = fmt.Sprint(cell)
	}
	t.rows = append(t.rows, row)
}

func (t *table) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\n### %s\n\n| %s |\n|%s\n", t.title, strings.Join(t.head, " | "), strings.Repeat(" --- |", len(t.head)))
	for _, row := range t.rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
	}
	if t.note != "" {
		fmt.Fprintf(&b, "\n%s\n", t.note)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// figures are those of several turns. It prints the median, and the least and the most.
type figures struct {
	values []float64
	format string
}

func (f *figures) add(x float64) { f.values = append(f.values, x) }

func (f *figures) String() string {
	s := slices.Sorted(slices.Values(f.values))
	if len(s) == 0 {
		return ""
	}
	text := fmt.Sprintf(f.format, (s[(len(s)-1)/2]+s[len(s)/2])/2)
	if len(s) > 1 {
		text += fmt.Sprintf(" ("+f.format+" to "+f.format+")", s[0], s[len(s)-1])
	}
	return text
}
