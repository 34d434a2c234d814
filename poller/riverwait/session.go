package riverwait

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gamma-sdk/gamma-go/poller"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

const (
	// statementTimeout is the timeout of a statement. PostgreSQL releases the lock when it has
	// received nothing for that time: the machine may have vanished, or the process may be
	// suspended.
	statementTimeout = 10 * time.Second

	// rowLockTimeout is how long to wait for a job that a transaction of the caller has
	// locked. All other jobs wait for that time, too. The job is saved later then.
	rowLockTimeout = 20 * time.Millisecond

	// The first page is small. Pages grow while the args of jobs, which are read, too, are
	// small: they must fit into memory, and arrive within statementTimeout.
	firstPage = 50
	maxPage   = 1000
	smallPage = 4 << 20 // bytes
)

// session is the connection of a watcher. Its locks are released when it ends.
type session struct {
	*Watcher
	conn  *pgx.Conn
	lock  int64
	page  int // jobs in the next page
	ended chan struct{}
}

// idleSetting is sent with the startup message. A pooler refuses or ignores it, and so is
// detected before a setting or a lock is left on a connection that others use.
const idleSetting = "idle_session_timeout"

var errPooler = errors.New("gamma: the watcher's Pool goes through a pooler: give the Watcher one that connects to PostgreSQL itself")

// connect opens a connection outside the Pool, which may close its connections at any time,
// or have none.
func connect(ctx context.Context, w *Watcher) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	config := w.Pool.Config()
	config.MinConns, config.MinIdleConns = 0, 0
	config.ConnConfig.RuntimeParams[idleSetting] = statementTimeout.String()
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("gamma: the watcher cannot connect: %w", err)
	}
	defer pool.Close()
	pooled, err := pool.Acquire(ctx)
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &refused) && refused.Code == "08P01": // PgBouncer does not know the setting
		return nil, fmt.Errorf("%w: %w", errPooler, err)
	case err != nil:
		return nil, fmt.Errorf("gamma: the watcher cannot connect: %w", err)
	}
	s := &session{Watcher: w, conn: pooled.Hijack(), page: firstPage, ended: make(chan struct{})}
	var idle string
	if err := s.conn.QueryRow(ctx, "SELECT current_setting($1)", idleSetting).Scan(&idle); err != nil {
		s.close()
		return nil, fmt.Errorf("gamma: the watcher cannot set up its session: %w", err)
	}
	if idle != statementTimeout.String() {
		s.close()
		return nil, errPooler
	}
	var schema *string
	var readOnly bool
	err = s.conn.QueryRow(ctx, `SELECT current_schema(), current_setting('transaction_read_only')::bool,
		set_config('idle_in_transaction_session_timeout', $1, false),
		set_config('statement_timeout', $1, false),
		set_config('lock_timeout', $2, false),
		set_config('default_transaction_isolation', 'read committed', false),
		set_config('application_name', 'gamma standby ' || $3, false)`, statementTimeout.String(), rowLockTimeout.String(), w.River.ID(),
	).Scan(&schema, &readOnly, nil, nil, nil, nil, nil)
	if err != nil {
		s.close()
		return nil, fmt.Errorf("gamma: the watcher cannot set up its session: %w", err)
	}
	if readOnly { // a standby server
		s.close()
		return nil, errors.New("gamma: the watcher's database is read-only")
	}
	// Without it PostgreSQL would wait longer for a machine that vanished while it received a
	// response. Not every system has the setting.
	_, _ = s.conn.Exec(ctx, "SET tcp_user_timeout = '10s'")
	current := ""
	if schema != nil {
		current = *schema
	}
	s.lock = lockID(cmp.Or(w.River.Schema(), current), w.Queues)
	return s, nil
}

// lockID returns the id of the lock of the watchers for some queues in a schema.
func lockID(schema string, queues []string) int64 {
	queues = slices.Compact(slices.Sorted(slices.Values(queues)))
	sum := sha256.Sum256([]byte("gamma riverwait\x00" + schema + "\x00" + strings.Join(queues, "\x00")))
	return int64(binary.BigEndian.Uint64(sum[:]))
}

func (s *session) close() {
	close(s.ended)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.conn.Close(ctx) // on an error PostgreSQL releases the lock after statementTimeout
}

// tryLock tries to get the lock, and returns who has it and since when. It does not wait for
// the lock, because a statement that waits keeps VACUUM from removing dead rows.
func (s *session) tryLock(ctx context.Context) (got bool, by string, since time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var holder *string
	err = s.conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1), (
		SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)
		WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
			AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
			AND l.classid::bigint << 32 | l.objid::bigint = $1 AND a.pid <> pg_backend_pid() LIMIT 1)`, s.lock,
	).Scan(&got, &holder)
	switch {
	case err != nil:
		return false, "", since, fmt.Errorf("gamma: the watcher cannot ask for its lock: %w", err)
	case !got:
		if holder != nil {
			by, since = parseName(*holder)
		}
		return false, by, since, nil
	}
	named := name(s.River.ID(), time.Now().UTC())
	if _, err := s.conn.Exec(ctx, "SELECT set_config('application_name', $1, false)", named); err != nil {
		return false, "", since, fmt.Errorf("gamma: the watcher cannot name its session: %w", err)
	}
	by, since = parseName(named)
	return true, by, since, nil
}

const namePrefix = "gamma since "

// name returns the application_name of the session that watches: at most 63 bytes of ASCII,
// because PostgreSQL cuts off longer names and replaces other characters.
func name(by string, since time.Time) string {
	const maxLength = 63
	by = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, by)
	s := namePrefix + since.Format(time.RFC3339) + " " + by
	return s[:min(len(s), maxLength)]
}

func parseName(s string) (by string, since time.Time) {
	s, ok := strings.CutPrefix(s, namePrefix)
	if !ok {
		return "", since // it has not set its name yet
	}
	at, by, _ := strings.Cut(s, " ")
	since, _ = time.Parse(time.RFC3339, at)
	return by, since
}

// ping keeps the session from being idle.
func (s *session) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	if err := s.conn.Ping(ctx); err != nil {
		return fmt.Errorf("gamma: the watcher has lost its connection: %w", err)
	}
	return nil
}

// waiting is a pending job.
type waiting struct {
	job      int64
	progress poller.Progress
}

type page struct {
	pending []waiting
	last    int64   // the id after which the next page starts; 0 if this is the last page
	gone    []int64 // known jobs that are no longer pending
	more    bool    // gone may have more
}

var errLock = errors.New("gamma: the watcher's session has not kept its lock, as behind a transaction pooler: give the Watcher a Pool that connects directly")

// listSettings keep PostgreSQL from comparing every job with every known one, from reading
// all jobs in the order of their ids to avoid a sort, and from using more than one process,
// whatever its statistics are. A list waits for a table that is locked, as for a migration.
const listSettings = `SET LOCAL enable_nestloop = off; SET LOCAL enable_mergejoin = off;
	SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL lock_timeout = 0`

// list returns pending jobs with an id above after that are not known. Jobs with lower ids
// may appear later, because a transaction may commit long after another that started later.
func (s *session) list(ctx context.Context, known []int64, after int64, checking bool) (p page, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	err = pgx.BeginFunc(ctx, s.conn, func(tx pgx.Tx) error {
		var now time.Time
		var locked bool
		if _, err := tx.Exec(ctx, listSettings); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, `SELECT clock_timestamp(), EXISTS (
				SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted
				AND pid = pg_backend_pid() AND classid::bigint << 32 | objid::bigint = $1)`, s.lock,
		).Scan(&now, &locked)
		if err != nil {
			return err
		}
		if !locked {
			return errLock
		}
		params := river.NewJobListParams().States(rivertype.JobStatePending).
			OrderBy(river.JobListOrderByID, river.SortOrderAsc).First(s.page).
			// With the operator ? the planner may read the index over the metadata of all
			// jobs.
			Where("metadata -> '"+metadataKey+"' ->> 'id' <> '' AND id > @gamma_after AND NOT EXISTS (SELECT FROM unnest(@gamma_known::bigint[]) AS known (job) WHERE known.job = id)",
				river.NamedArgs{"gamma_after": after, "gamma_known": known})
		if s.Queues != nil {
			params = params.Queues(s.Queues...)
		}
		listed, err := s.River.JobListTx(ctx, tx, params)
		if err != nil {
			return err
		}
		full := s.resize(listed.Jobs)
		for _, row := range listed.Jobs {
			if full {
				p.last = row.ID
			}
			var m struct {
				Wait metadata `json:"gamma"`
			}
			if json.Unmarshal(row.Metadata, &m) != nil {
				continue // not of this package
			}
			p.pending = append(p.pending, waiting{row.ID, poller.Progress{
				ID:     m.Wait.ID,
				Export: m.Wait.Export,
				Since:  time.Now().Add(-max(now.Sub(row.ScheduledAt), 0)), // by the clock of the database
			}})
		}
		if !checking || len(known) == 0 {
			return nil
		}
		gone, err := s.River.JobListTx(ctx, tx, river.NewJobListParams().
			States(rivertype.JobStateAvailable, rivertype.JobStateCancelled, rivertype.JobStateCompleted, rivertype.JobStateDiscarded,
				rivertype.JobStateRetryable, rivertype.JobStateRunning, rivertype.JobStateScheduled).
			OrderBy(river.JobListOrderByID, river.SortOrderAsc).First(s.page).
			Where("id = ANY (@gamma_known::bigint[])", river.NamedArgs{"gamma_known": known}))
		if err != nil {
			return err
		}
		p.more = s.resize(gone.Jobs)
		for _, row := range gone.Jobs {
			p.gone = append(p.gone, row.ID)
		}
		return nil
	})
	if err != nil && !errors.Is(err, errLock) {
		err = fmt.Errorf("gamma: the watcher cannot list the pending jobs: %w", err)
	}
	return p, err
}

// resize sets the size of the next page by the jobs of the last one, and reports whether that
// was full.
func (s *session) resize(jobs []*rivertype.JobRow) (full bool) {
	full = len(jobs) == s.page
	size := 0
	for _, row := range jobs {
		size += len(row.EncodedArgs) + len(row.Metadata)
	}
	switch {
	case size > smallPage:
		s.page = firstPage
	case full:
		s.page = min(2*s.page, maxPage)
	}
	return full
}

// save makes job available with the response as its output, if it is still pending. It
// changes one job per transaction, so that it cannot cause a deadlock with a transaction of
// the caller. With repeatable read it fails if another transaction changes the job after it
// was found to be pending.
func (s *session) save(ctx context.Context, job int64, r poller.Result) (saved bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	encoded, err := encode(r)
	if err != nil {
		return false, fmt.Errorf("gamma: the response cannot be encoded: %w", err)
	}
	err = pgx.BeginTxFunc(ctx, s.conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		row, err := s.River.JobGetTx(ctx, tx, job)
		switch {
		case err != nil:
			return err
		case row.State != rivertype.JobStatePending:
			return rivertype.ErrNotFound
		}
		// In this order one version fewer of the row contains the output.
		if _, err := s.River.JobRetryTx(ctx, tx, job); err != nil {
			return err
		}
		_, err = s.River.JobUpdateTx(ctx, tx, job, &river.JobUpdateParams{Output: encoded})
		return err
	})
	switch {
	case errors.Is(err, rivertype.ErrNotFound):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("gamma: the job cannot be made available: %w", err)
	}
	return true, nil
}
