package main

import (
	"context"
	"fmt"
	"time"

	"github.com/gamma-sdk/gamma-go/internal/test/performance"
	"github.com/gamma-sdk/gamma-go/poller"
	"github.com/gamma-sdk/gamma-go/poller/riverwait"
	"github.com/jackc/pgx/v5"
)

// jobKind is a kind of job.
type jobKind int

const (
	full  jobKind = iota // waits for a generation and its export; a text and a number as args
	small                // waits for a generation; a number as args
	plain                // an ordinary job of River, with the args of full
)

// insert inserts a job for a generation in a transaction.
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

// fill inserts jobs for the generations from (included) to until (excluded). All except the
// first are copies of it, with the args, the metadata and the unique key that InsertTx would
// give them. They are five intervals old, so their first poll is due. With the state
// completed they are finished jobs.
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

// waits inserts pending jobs, starts three workers, and returns when every generation has
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

// polled waits until every generation has been polled since the last reset.
func (b *bench) polled(ctx context.Context) error {
	return until(ctx, func() (bool, error) { return b.fake.fresh.Load() >= int64(b.sizes.waiting), nil })
}

func (b *bench) waiting(ctx context.Context) (t performance.Table, err error) {
	t = performance.Table{
		Title: performance.Polling,
		Head:  []string{"", "waiting", "interval, s", "polls/s", "cores: the process that polls", "PostgreSQL", "two on standby"},
		Note:  fmt.Sprintf("%d turns of %v; the two ways are measured in turn. The interval is the mean time between two polls of a generation. PostgreSQL includes all of its processes.", b.turns, b.measure),
	}
	type way struct{ interval, rate, own, database, others figures }
	newWay := func() way {
		return way{figures{decimals: 3}, figures{}, figures{decimals: 2}, figures{decimals: 3}, figures{decimals: 3}}
	}
	alone, watched := newWay(), newWay()
	measure := func(w *way, p *process, others []*process) error {
		// An interval counts if it ends during the measurement, so let those before it pass.
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
		start, own, database, rest := time.Now(), cpu(p.cmd.Process.Pid), family(b.server.PID()), sum()
		if err := pause(ctx, b.measure); err != nil {
			return err
		}
		d := time.Since(start).Seconds()
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
	waiting := count(b.sizes.waiting)
	t.Rows = [][]string{
		cells("`Poller.All` alone", waiting, &alone.interval, &alone.rate, &alone.own, "", ""),
		cells("riverwait", waiting, &watched.interval, &watched.rate, &watched.own, &watched.database, &watched.others),
	}
	return t, nil
}

func (b *bench) takeover(ctx context.Context) (t performance.Table, err error) {
	t = performance.Table{
		Title: performance.Takeover,
		Head:  []string{"the process that polls", "waiting", "next poll by another, s", "all polled again, s"},
		Note:  fmt.Sprintf("%d turns. A process that vanishes sends nothing more to PostgreSQL and the fake, and no connection is closed.", b.turns),
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
		next, all := figures{decimals: 1}, figures{decimals: 1}
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
			start := time.Now()
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
			next.add(time.Unix(0, first).Sub(start).Seconds())
			if err := b.polled(ctx); err != nil {
				return t, err
			}
			all.add(time.Since(start).Seconds())
			b.end(watcher)
			if _, err := b.start(ctx); err != nil {
				return t, err
			}
		}
		t.Rows = append(t.Rows, cells(way.name, count(b.sizes.waiting), &next, &all))
	}
	return t, nil
}

func (b *bench) memory(ctx context.Context) (t performance.Table, err error) {
	t = performance.Table{
		Title: "Memory of the process that polls",
		Head:  []string{"waiting", "interval, s", "live per job, B", "live, MB", "resident, MB", "all known after, s", "in PostgreSQL per job, B"},
		Note: "Live is heap and stacks after garbage collection, of a process with a River client; per job, minus those with nothing waiting. " +
			"All known: from the start of the process until its watcher knows all jobs; it polls meanwhile. In PostgreSQL: the table with its indexes.",
	}
	measure := func() (report, int64, error) {
		watcher, _, err := b.watcher(ctx)
		if err != nil {
			return report{}, 0, err
		}
		rss := resident(watcher.cmd.Process.Pid) // first, because the collection returns memory
		r, err := watcher.report("live")
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
	megabytes := func(n int64) string { return performance.Number(float64(n)/1e6, 0) }
	t.Rows = append(t.Rows, cells(0, "", "", megabytes(base.Live), megabytes(rss), "", ""))
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
		start := time.Now()
		p, err := b.start(ctx)
		if err != nil {
			return t, err
		}
		if err := until(ctx, func() (bool, error) {
			r, err := p.report("status")
			return r.Waiting >= n, err
		}); err != nil {
			return t, err
		}
		known := time.Since(start)
		if err := b.polled(ctx); err != nil {
			return t, err
		}
		if err := pause(ctx, b.measure/3); err != nil {
			return t, err
		}
		r, rss, err := measure()
		if err != nil {
			return t, err
		}
		b.end(p)
		t.Rows = append(t.Rows, cells(count(n), b.interval.Seconds(), performance.Number(float64(r.Live-base.Live)/float64(n), 0), megabytes(r.Live), megabytes(rss),
			performance.Number(known.Seconds(), 1), count(int(size)/n)))
	}
	return t, nil
}

func (b *bench) wal(ctx context.Context) (t performance.Table, err error) {
	t = performance.Table{
		Title: performance.WAL,
		Head:  []string{"", "versions of the row", "WAL, bytes", "page images", "the rest"},
		Note: fmt.Sprintf("From `InsertTx` to the completed job: %d turns of %s jobs. Each job is inserted in a transaction, and completed in another with `CompleteTx`. Each turn starts with a CHECKPOINT. "+
			"The jobs without an export have a number as args and an output of 150 bytes; the others a text and a number as args, and an output of 316 bytes. "+
			"The ordinary job has the same args as the latter; it is inserted, and its worker only returns.", b.turns, count(b.generations)),
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
		{"riverwait, no export", small, false},
		{"riverwait, export", full, false},
		{"ordinary River job", plain, false},
		{"riverwait, no export, no GIN indexes", small, true},
		{"riverwait, export, no GIN indexes", full, true},
	} {
		b.fake.exports.Store(way.kind == full)
		if way.noGIN {
			if _, err := b.pool.Exec(ctx, "DROP INDEX IF EXISTS river_job_args_index, river_job_metadata_index"); err != nil {
				return t, err
			}
		}
		rows, bytes, images, rest := figures{decimals: 2}, figures{}, figures{}, figures{}
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
			if turn > 0 { // the first turn starts with an empty table
				rows.add(float64(after-before) / float64(b.generations))
				bytes.add(float64(end-lsn) / float64(b.generations))
				images.add(size / float64(b.generations))
				rest.add((float64(end-lsn) - size) / float64(b.generations))
			}
			before = after
		}
		t.Rows = append(t.Rows, cells(way.name, &rows, &bytes, &images, &rest))
	}
	return t, nil
}
