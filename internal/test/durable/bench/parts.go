package main

import (
	"context"
	"fmt"
	"time"

	"github.com/gamma-sdk/gamma-go/poller"
	"github.com/gamma-sdk/gamma-go/poller/riverwait"
	"github.com/jackc/pgx/v5"
)

// jobKind is what a job is like.
type jobKind int

const (
	full  jobKind = iota // of a generation with an export, and with a text in its args
	small                // of a generation without, and with a number in its args
	plain                // an ordinary job of River, with the args of full
)

// insert inserts the job of a generation in a transaction.
func (b *bench) insert(ctx context.Context, n int, kind jobKind) error {
	args := finish{Customer: n, Plain: kind == plain}
	if kind != small {
		args.Deck = fmt.Sprintf("A short history of tea, part %d", n)
	}
	return pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) (err error) {
		if kind == plain {
			_, err = b.river.InsertTx(ctx, tx, args, nil)
		} else {
			_, err = riverwait.InsertTx(ctx, b.river, tx, poller.Progress{ID: generationID(n), Export: kind == full}, args, nil)
		}
		return err
	})
}

// fill inserts the jobs of the generations from to until. All but the first are copies of
// it, each with the args, the metadata and the unique key that InsertTx would give it. They
// are five intervals old, so that their first poll is due. With state completed they are
// finished jobs.
func (b *bench) fill(ctx context.Context, from, until int, state string) error {
	if err := b.insert(ctx, from, full); err != nil {
		return err
	}
	_, err := b.pool.Exec(ctx, `
		INSERT INTO river_job (state, max_attempts, created_at, scheduled_at, finalized_at, priority, args, kind, metadata, queue, tags, unique_key, unique_states)
		SELECT $4::river_job_state, max_attempts, now(), now() - $5::interval, CASE $4 WHEN 'completed' THEN now() END, priority,
			args || jsonb_build_object('gammaGeneration', id2, 'customer', n),
			kind, CASE $4 WHEN 'completed' THEN jsonb_build_object('output', jsonb_build_object('generationId', id2, 'status', 'completed', 'gammaUrl', 'https://gamma.app/docs/' || id2)) ELSE '{}' END
				|| jsonb_set(metadata, '{gamma,id}', to_jsonb(id2)),
			queue, tags, sha256(('gammaGeneration' || id2)::bytea), unique_states
		FROM river_job, generate_series($2::bigint, $3::bigint) AS n, lateral (SELECT 'gen' || lpad(n::text, 18, '0') AS id2) AS i
		WHERE metadata -> 'gamma' ->> 'id' = $1`,
		generationID(from), from+1, until-1, state, 5*b.interval)
	return err
}

// waits starts three workers with all jobs pending, and returns once every generation has
// been polled.
func (b *bench) waits(ctx context.Context) error {
	if err := b.fill(ctx, 0, b.sizes.waiting, "pending"); err != nil {
		return err
	}
	if _, err := b.pool.Exec(ctx, "ANALYZE river_job"); err != nil {
		return err
	}
	b.fake.forget()
	for range 3 {
		if _, err := b.start(ctx); err != nil {
			return err
		}
	}
	return b.polled(ctx)
}

// polled waits until every generation has been polled since the last mark.
func (b *bench) polled(ctx context.Context) error {
	return until(ctx, func() (bool, error) { return b.fake.fresh.Load() >= int64(b.sizes.waiting), nil })
}

func (b *bench) waiting(ctx context.Context) (t table, err error) {
	t = table{
		title: fmt.Sprintf("%d waiting, %v, three workers", b.sizes.waiting, b.interval),
		head:  []string{"", "interval, s", "polls/s", "cores: the process that polls", "PostgreSQL", "the two that stand by"},
		note:  fmt.Sprintf("Median of %d turns of %v, least and most in parentheses; the two ways take turns. Interval: mean time between two polls of a generation. CPU time of PostgreSQL is that of all of its processes.", b.turns, b.measure),
	}
	type way struct{ interval, rate, own, database, others figures }
	newWay := func() way {
		return way{figures{format: "%.3f"}, figures{format: "%.0f"}, figures{format: "%.2f"}, figures{format: "%.3f"}, figures{format: "%.3f"}}
	}
	alone, watched := newWay(), newWay()
	measure := func(w *way, p *process, others []*process) error {
		// Intervals that end in it count, whenever they began.
		if err := pause(ctx, 2*b.interval); err != nil {
			return err
		}
		b.fake.reset()
		sum := func() (d time.Duration) {
			for _, p := range others {
				d += cpu(p.cmd.Process.Pid)
			}
			return d
		}
		begin, own, database, rest := time.Now(), cpu(p.cmd.Process.Pid), family(b.server.PID()), sum()
		if err := pause(ctx, b.measure); err != nil {
			return err
		}
		d := time.Since(begin).Seconds()
		w.interval.add(b.fake.interval().Seconds())
		w.rate.add(float64(b.fake.polls.Load()) / d)
		w.own.add((cpu(p.cmd.Process.Pid) - own).Seconds() / d)
		w.database.add((family(b.server.PID()) - database).Seconds() / d)
		w.others.add((sum() - rest).Seconds() / d)
		return nil
	}
	if err := b.fill(ctx, 0, b.sizes.waiting, "pending"); err != nil {
		return t, err
	}
	if _, err := b.pool.Exec(ctx, "ANALYZE river_job"); err != nil {
		return t, err
	}
	for range b.turns {
		b.fake.forget()
		p, err := start(ctx, b.fake, "", task{Interval: b.interval, All: b.sizes.waiting})
		if err != nil {
			return t, err
		}
		if err = b.polled(ctx); err == nil {
			err = measure(&alone, p, nil)
		}
		p.kill()
		if err != nil {
			return t, err
		}
		b.fake.forget()
		for range 3 {
			if _, err := b.start(ctx); err != nil {
				return t, err
			}
		}
		if err := b.polled(ctx); err != nil {
			return t, err
		}
		watcher, others, err := b.watcher(ctx)
		if err == nil {
			err = measure(&watched, watcher, others)
		}
		if err != nil {
			return t, err
		}
		for len(b.workers) > 0 {
			b.end(b.workers[0])
		}
	}
	t.add("`Poller.All` alone", &alone.interval, &alone.rate, &alone.own, "", "")
	t.add("riverwait", &watched.interval, &watched.rate, &watched.own, &watched.database, &watched.others)
	return t, nil
}

func (b *bench) takeover(ctx context.Context) (t table, err error) {
	t = table{
		title: fmt.Sprintf("Takeover with %d waiting", b.sizes.waiting),
		head:  []string{"the process that watches", "next poll by another, s", "all polled again, s"},
		note:  fmt.Sprintf("Median of %d, least and most in parentheses. Vanished: neither PostgreSQL nor the fake hears from it, and no connection is closed.", b.turns),
	}
	if err := b.waits(ctx); err != nil {
		return t, err
	}
	for _, way := range []struct {
		name string
		end  func(*process)
	}{
		{"is killed (SIGKILL)", (*process).kill},
		{"vanishes with its machine", (*process).vanish},
	} {
		next, all := figures{format: "%.1f"}, figures{format: "%.1f"}
		for range b.turns {
			watcher, others, err := b.watcher(ctx)
			if err != nil {
				return t, err
			}
			if err := pause(ctx, time.Second); err != nil {
				return t, err
			}
			for _, p := range others {
				p.door.first.Store(0)
			}
			begin := time.Now()
			way.end(watcher)
			b.fake.reset()
			var first int64
			if err := until(ctx, func() (bool, error) {
				for _, p := range others {
					first = max(first, p.door.first.Load())
				}
				return first != 0, nil
			}); err != nil {
				return t, err
			}
			next.add(time.Unix(0, first).Sub(begin).Seconds())
			if err := b.polled(ctx); err != nil {
				return t, err
			}
			all.add(time.Since(begin).Seconds())
			b.end(watcher)
			if _, err := b.start(ctx); err != nil {
				return t, err
			}
		}
		t.add(way.name, &next, &all)
	}
	return t, nil
}

func (b *bench) memory(ctx context.Context) (t table, err error) {
	t = table{
		title: "Memory of the process that watches",
		head:  []string{"waiting", "live per job, B", "live, MB", "resident, MB", "all known after, s", "all polled after, s", "table and indexes per job, B"},
		note:  "Live: heap and stacks after garbage collection, per job less those with none waiting; it is a whole process with River's client. The times are from the start of the process.",
	}
	measure := func() (report, int64, error) {
		watcher, _, err := b.watcher(ctx)
		if err != nil {
			return report{}, 0, err
		}
		rss := resident(watcher.cmd.Process.Pid) // first: the collection returns memory
		r, err := watcher.ask("live")
		return r, rss, err
	}
	if _, err := b.start(ctx); err != nil {
		return t, err
	}
	base, rss, err := measure()
	if err != nil {
		return t, err
	}
	b.end(b.workers[0])
	t.add(0, "", fmt.Sprintf("%.1f", float64(base.Live)/1e6), fmt.Sprintf("%.0f", float64(rss)/1e6), "", "", "")
	counts := []int{b.sizes.waiting}
	if b.many > b.sizes.waiting {
		counts = append(counts, b.many)
	}
	const mostPolls = 10_000 // a second
	from := 0
	for _, n := range counts {
		b.interval = max(b.interval, time.Duration(n)*time.Second/mostPolls)
		if err := b.fill(ctx, from, n, "pending"); err != nil {
			return t, err
		}
		if _, err := b.pool.Exec(ctx, "ANALYZE river_job"); err != nil {
			return t, err
		}
		var size int64
		if err := b.pool.QueryRow(ctx, "SELECT pg_total_relation_size('river_job')").Scan(&size); err != nil {
			return t, err
		}
		from = n
		b.sizes.waiting = n
		b.fake.forget()
		begin := time.Now()
		p, err := b.start(ctx)
		if err != nil {
			return t, err
		}
		if err := until(ctx, func() (bool, error) {
			r, err := p.ask("status")
			return r.Waiting >= n, err
		}); err != nil {
			return t, err
		}
		known := time.Since(begin)
		if err := b.polled(ctx); err != nil {
			return t, err
		}
		polled := time.Since(begin)
		if err := pause(ctx, b.measure/3); err != nil {
			return t, err
		}
		r, rss, err := measure()
		if err != nil {
			return t, err
		}
		b.end(p)
		t.add(n, fmt.Sprintf("%.0f", float64(r.Live-base.Live)/float64(n)), fmt.Sprintf("%.1f", float64(r.Live)/1e6),
			fmt.Sprintf("%.0f", float64(rss)/1e6), fmt.Sprintf("%.1f", known.Seconds()), fmt.Sprintf("%.1f", polled.Seconds()), size/int64(n))
	}
	return t, nil
}

func (b *bench) wal(ctx context.Context) (t table, err error) {
	t = table{
		title: "What a generation writes, from InsertTx to its completed job",
		head:  []string{"", "versions of its row", "WAL, bytes", "of them images of pages"},
		note: fmt.Sprintf("Median of %d turns of %d jobs, least and most in parentheses. Each job is inserted in a transaction, and CompleteTx is in another. "+
			"Each turn starts with a CHECKPOINT, after which PostgreSQL writes an image of each page that it changes for the first time: the fewer jobs between two checkpoints, the more of them for each. "+
			"Ordinary jobs are those of River with the same args, whose worker only returns. River has a GIN index over the args and one over the metadata of all jobs.", b.turns, b.generations),
	}
	b.interval = 100 * time.Millisecond
	for range 3 {
		if _, err := b.start(ctx); err != nil {
			return t, err
		}
	}
	if _, _, err := b.watcher(ctx); err != nil {
		return t, err
	}
	versions := func() (n int64, err error) {
		for last := int64(-1); n != last; {
			if err := pause(ctx, b.settle); err != nil {
				return 0, err
			}
			last = n
			if err := b.pool.QueryRow(ctx, "SELECT n_tup_ins + n_tup_upd FROM pg_stat_user_tables WHERE relname = 'river_job'").Scan(&n); err != nil {
				return 0, err
			}
		}
		return n, nil
	}
	first := 0
	if _, err := b.pool.Exec(ctx, "CREATE EXTENSION pg_walinspect"); err != nil { // since PostgreSQL 15
		return t, err
	}
	for _, way := range []struct {
		name  string
		kind  jobKind
		noGIN bool
	}{
		{"riverwait, a number as args, no export", small, false},
		{"riverwait, two args, an export", full, false},
		{"ordinary job of River, two args", plain, false},
		{"riverwait, a number as args, no export, without the GIN indexes", small, true},
		{"riverwait, two args, an export, without them", full, true},
	} {
		b.fake.exports.Store(way.kind == full)
		if way.noGIN {
			if _, err := b.pool.Exec(ctx, "DROP INDEX IF EXISTS river_job_args_index, river_job_metadata_index"); err != nil {
				return t, err
			}
		}
		rows, bytes, images := figures{format: "%.2f"}, figures{format: "%.0f"}, figures{format: "%.0f"}
		before, err := versions()
		if err != nil {
			return t, err
		}
		for turn := range b.turns + 1 {
			var lsn, done int64
			if _, err := b.pool.Exec(ctx, "CHECKPOINT"); err != nil {
				return t, err
			}
			if err := b.pool.QueryRow(ctx, "SELECT pg_current_wal_flush_lsn() - '0/0', (SELECT count(*) FROM river_job WHERE state = 'completed')").Scan(&lsn, &done); err != nil {
				return t, err
			}
			for n := range b.generations {
				if err := b.insert(ctx, first+n, way.kind); err != nil {
					return t, err
				}
			}
			if way.kind != plain {
				first += b.generations
				b.fake.finished.Store(int64(first))
			}
			var end int64
			if err := until(ctx, func() (bool, error) {
				var now int64
				err := b.pool.QueryRow(ctx, "SELECT pg_current_wal_flush_lsn() - '0/0', (SELECT count(*) FROM river_job WHERE state = 'completed')").Scan(&end, &now)
				return now-done >= int64(b.generations), err
			}); err != nil {
				return t, err
			}
			var size float64
			if err := b.pool.QueryRow(ctx, "SELECT sum(fpi_size)::float8 FROM pg_get_wal_stats('0/0'::pg_lsn + $1::numeric, '0/0'::pg_lsn + $2::numeric, false)", lsn, end).Scan(&size); err != nil {
				return t, err
			}
			after, err := versions()
			if err != nil {
				return t, err
			}
			if turn > 0 { // the first is for an empty table
				rows.add(float64(after-before) / float64(b.generations))
				bytes.add(float64(end-lsn) / float64(b.generations))
				images.add(size / float64(b.generations))
			}
			before = after
		}
		t.add(way.name, &rows, &bytes, &images)
	}
	return t, nil
}
