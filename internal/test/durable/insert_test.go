//go:build unix

package durable

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/poller"
	"github.com/gamma-sdk/gamma-go/poller/riverwait"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

type (
	mapArgs   map[string]any
	sliceArgs []int
	textArgs  string
	deck      struct {
		Deck  int    `json:"deck"`
		Title string `json:"title"`
	}
	embeddedArgs struct {
		deck
		Title string `json:"title"`
	}
	fieldArgs struct {
		Generation string `json:"gammaGeneration"`
	}
	optArgs struct {
		opts river.InsertOpts
	}
	badArgs struct{ C chan int }
	numArgs struct {
		N json.Number `json:"n"`
	}
)

func (mapArgs) Kind() string                   { return "map" }
func (sliceArgs) Kind() string                 { return "slice" }
func (textArgs) Kind() string                  { return "text" }
func (embeddedArgs) Kind() string              { return "embedded" }
func (fieldArgs) Kind() string                 { return "field" }
func (optArgs) Kind() string                   { return "opts" }
func (a optArgs) InsertOpts() river.InsertOpts { return a.opts }
func (badArgs) Kind() string                   { return "bad" }
func (numArgs) Kind() string                   { return "number" }

// TestInsertTx inserts all kinds of args.
func TestInsertTx(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, row := range map[string]struct {
		id   string
		args river.JobArgs
		opts *river.InsertOpts
		want string                      // args in the database, without gammaGeneration
		row  func(*rivertype.JobRow) any // compared to is
		is   any
		err  string
	}{
		"a struct":                      {args: finishArgs{7}, want: `{"deck": 7}`},
		"a pointer":                     {args: &finishArgs{7}, want: `{"deck": 7}`},
		"a map":                         {args: mapArgs{"a": 1, "b": []int{2}}, want: `{"a": 1, "b": [2]}`},
		"a nil map":                     {args: mapArgs(nil), err: "must encode to a JSON object"},
		"an embedded struct":            {args: embeddedArgs{deck{7, "hidden"}, "shown"}, want: `{"deck": 7, "title": "shown"}`},
		"a number with 30 digits":       {args: numArgs{"123456789012345678901234567890"}, want: `{"n": 123456789012345678901234567890}`},
		"a slice":                       {args: sliceArgs{1}, err: "must encode to a JSON object"},
		"a string":                      {args: textArgs("x"), err: "must encode to a JSON object"},
		"a nil pointer":                 {args: (*finishArgs)(nil), err: ""},
		"args that do not encode":       {args: badArgs{}, err: "the args cannot be encoded"},
		"empty gammaGeneration":         {args: fieldArgs{}, want: `{}`},
		"the id in gammaGeneration":     {args: fieldArgs{"this"}, id: "this", want: `{}`},
		"another id in gammaGeneration": {args: fieldArgs{"other"}, err: `must not have the member "gammaGeneration"`},
		"InsertOpts of the args": {
			args: optArgs{river.InsertOpts{Queue: "other", Priority: 3, MaxAttempts: 2, Tags: []string{"abc"}}}, want: `{}`,
			row: func(r *rivertype.JobRow) any { return []any{r.Queue, r.Priority, r.MaxAttempts, r.Tags} }, is: []any{"other", 3, 2, []string{"abc"}},
		},
		"InsertOpts of the call and of the args": {
			args: optArgs{river.InsertOpts{Queue: "other", Priority: 3}}, opts: &river.InsertOpts{Queue: "third"}, want: `{}`,
			row: func(r *rivertype.JobRow) any { return []any{r.Queue, r.Priority} }, is: []any{"third", 3},
		},
		"metadata": {
			args: finishArgs{}, opts: &river.InsertOpts{Metadata: []byte(`{"trace": "t1", "n": 12345678901234567890}`)}, want: `{"deck": 0}`,
			row: func(r *rivertype.JobRow) any {
				return strings.Contains(string(r.Metadata), `"trace": "t1"`) && strings.Contains(string(r.Metadata), `12345678901234567890`)
			}, is: true,
		},
		"metadata that are no object":    {args: finishArgs{}, opts: &river.InsertOpts{Metadata: []byte(`[]`)}, err: "the metadata must encode to a JSON object"},
		"metadata that is no JSON":       {args: finishArgs{}, opts: &river.InsertOpts{Metadata: []byte(`{`)}, err: "the metadata must encode to a JSON object"},
		"metadata with the member gamma": {args: finishArgs{}, opts: &river.InsertOpts{Metadata: []byte(`{"gamma": 1}`)}, err: `the metadata must not have the member "gamma"`},
		"UniqueOpts":                     {args: finishArgs{}, opts: &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByQueue: true}}, err: "UniqueOpts must not be set"},
		"UniqueOpts of the args":         {args: optArgs{river.InsertOpts{UniqueOpts: river.UniqueOpts{ByPeriod: time.Hour}}}, err: "UniqueOpts must not be set"},
		"ScheduledAt":                    {args: finishArgs{}, opts: &river.InsertOpts{ScheduledAt: time.Now().Add(time.Hour)}, err: "ScheduledAt must not be set"},
		"ScheduledAt of the args":        {args: optArgs{river.InsertOpts{ScheduledAt: time.Now()}}, err: "ScheduledAt must not be set"},
		"a tag that River refuses":       {args: finishArgs{}, opts: &river.InsertOpts{Tags: []string{" "}}, err: "tags should match"},
		"an id with a slash":             {id: "a/b", args: finishArgs{}, err: "the generation id"},
		"no id":                          {id: "-", args: finishArgs{}, err: "the generation id"},
		"no args":                        {err: "nil args"},
	} {
		t.Run(name, func(t *testing.T) {
			id := row.id
			switch id {
			case "":
				id = strings.Map(func(r rune) rune {
					if r == ' ' || r == ',' {
						return '-'
					}
					return r
				}, name)
			case "-":
				id = ""
			}
			ctx := context.Background()
			before := value[int](w, "SELECT count(*) FROM river_job")
			var inserted *rivertype.JobInsertResult
			err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) (err error) {
				inserted, err = riverwait.InsertTx(ctx, w.river, tx, poller.Progress{ID: id, Export: true}, row.args, row.opts)
				if err != nil { // the transaction is still usable
					_, e := tx.Exec(ctx, "SELECT 1")
					return errors.Join(err, e)
				}
				return nil
			})
			if row.want == "" {
				if err == nil || !strings.HasPrefix(err.Error(), "gamma: ") || !strings.Contains(err.Error(), row.err) || strings.Contains(err.Error(), "\n") {
					t.Errorf("the error is %v, want %q", err, row.err)
				}
				if n := value[int](w, "SELECT count(*) FROM river_job"); n != before {
					t.Errorf("%d jobs were inserted", n-before)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			job := w.job(inserted.Job.ID)
			if job.State != rivertype.JobStatePending || inserted.Job.State != rivertype.JobStatePending || inserted.UniqueSkippedAsDuplicate {
				t.Errorf("the job is %s", job.State)
			}
			if got := value[bool](w, "SELECT args - 'gammaGeneration' = $1::jsonb AND args ->> 'gammaGeneration' = $2 FROM river_job WHERE id = $3", row.want, id, job.ID); !got {
				t.Errorf("the args are %s, want %s and the id", job.EncodedArgs, row.want)
			}
			if got := value[bool](w, "SELECT metadata -> 'gamma' ->> 'id' = $1 AND metadata -> 'gamma' ->> 'export' = 'true' FROM river_job WHERE id = $2", id, job.ID); !got {
				t.Errorf("the metadata are %s", job.Metadata)
			}
			if row.row != nil {
				if got := row.row(job); !reflect.DeepEqual(got, row.is) {
					t.Errorf("the job has %v, want %v", got, row.is)
				}
			}
		})
	}
}

// hook counts the calls of River.
type hook struct {
	river.HookDefaults
	inserts, works *atomic.Int64
}

func (h *hook) InsertBegin(context.Context, *rivertype.JobInsertParams) error {
	h.inserts.Add(1)
	return nil
}

func (h *hook) WorkBegin(context.Context, *rivertype.JobRow) error {
	h.works.Add(1)
	return nil
}

type plugin struct {
	river.PluginDefaults
	hook *hook
}

func (p *plugin) InsertBegin(ctx context.Context, params *rivertype.JobInsertParams) error {
	return p.hook.InsertBegin(ctx, params)
}

func (p *plugin) WorkBegin(ctx context.Context, job *rivertype.JobRow) error {
	return p.hook.WorkBegin(ctx, job)
}

type hookArgs struct {
	N       int `json:"n"`
	hooks   []rivertype.Hook
	plugins []rivertype.Plugin
}

func (hookArgs) Kind() string                  { return "hooks" }
func (a hookArgs) Hooks() []rivertype.Hook     { return a.hooks }
func (a hookArgs) Plugins() []rivertype.Plugin { return a.plugins }

// TestHooks inserts jobs of a kind with InsertTx and with River itself. River keeps the hooks
// that it sees first for a kind: they must be those of the args in both orders.
func TestHooks(t *testing.T) {
	t.Parallel()
	for name, plainly := range map[string]bool{"InsertTx first": false, "River first": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var hooked, plugged, works atomic.Int64
			args := hookArgs{
				hooks:   []rivertype.Hook{&hook{inserts: &hooked, works: &works}},
				plugins: []rivertype.Plugin{&plugin{hook: &hook{inserts: &plugged, works: &works}}},
			}
			ctx := context.Background()
			for n := range 2 {
				err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) (err error) {
					if plainly == (n == 0) {
						_, err = w.river.InsertTx(ctx, tx, args, nil)
					} else {
						_, err = riverwait.InsertTx(ctx, w.river, tx, poller.Progress{ID: "g"}, args, nil)
					}
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				if int64(n+1) != hooked.Load() || int64(n+1) != plugged.Load() {
					t.Errorf("after %d inserts the hook was called %d times, the plugin %d times", n+1, hooked.Load(), plugged.Load())
				}
			}
		})
	}
}

// TestOneJob inserts for one generation in ten concurrent transactions.
func TestOneJob(t *testing.T) {
	t.Parallel()
	for _, level := range []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable} {
		t.Run(string(level), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.work(w.outcome)
			w.watch()
			ctx := context.Background()
			w.fake.Add("g", gammatest.Completed(""))
			var wg sync.WaitGroup
			var inserted, skipped, refused atomic.Int64
			begun := make(chan struct{})
			for n := range 10 {
				wg.Go(func() {
					err := pgx.BeginTxFunc(ctx, w.pool, pgx.TxOptions{IsoLevel: level}, func(tx pgx.Tx) error {
						if _, err := tx.Exec(ctx, "SELECT count(*) FROM river_job"); err != nil { // a snapshot
							return err
						}
						if n == 9 {
							close(begun)
						}
						<-begun
						r, err := riverwait.InsertTx(ctx, w.river, tx, poller.Progress{ID: "g"}, finishArgs{n}, nil)
						switch {
						case err != nil:
							return err
						case r.UniqueSkippedAsDuplicate:
							skipped.Add(1)
						default:
							inserted.Add(1)
						}
						return nil
					})
					var pgErr *pgconn.PgError
					switch {
					case errors.As(err, &pgErr) && pgErr.Code == "40001" && level != pgx.ReadCommitted:
						refused.Add(1) // the caller has to repeat it
					case err != nil:
						t.Error(err)
					}
				})
			}
			wg.Wait()
			t.Logf("%d inserted, %d skipped, %d refused", inserted.Load(), skipped.Load(), refused.Load())
			if n := value[int](w, "SELECT count(*) FROM river_job"); n != 1 {
				t.Errorf("%d jobs, want 1", n)
			}
			w.once(1)
		})
	}
}

// TestOneJobForever inserts again for a generation in each state of its job.
func TestOneJobForever(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for state, again := range map[rivertype.JobState]bool{
		rivertype.JobStateAvailable: false, rivertype.JobStateCompleted: false, rivertype.JobStatePending: false,
		rivertype.JobStateRetryable: false, rivertype.JobStateRunning: false, rivertype.JobStateScheduled: false,
		rivertype.JobStateCancelled: true, rivertype.JobStateDiscarded: true,
	} {
		first := w.insert("g-" + string(state))[0]
		w.exec("UPDATE river_job SET state = $1::text::river_job_state, finalized_at = CASE WHEN $1::text IN ('cancelled', 'completed', 'discarded') THEN now() END WHERE id = $2", state, first)
		if second := w.insert("g-" + string(state))[0]; (second != first) != again {
			t.Errorf("the first job is %s: another was inserted: %v, want %v", state, second != first, again)
		}
	}
}

// TestManyInserts inserts more jobs in a transaction than PostgreSQL has locks.
func TestManyInserts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 4_000
	locks := value[int](w, "SELECT current_setting('max_locks_per_transaction')::int * current_setting('max_connections')::int")
	if locks >= n {
		t.Fatalf("there are %d locks", locks)
	}
	all := ids("g", n)
	for _, id := range all {
		w.fake.Add(id)
	}
	w.insert(all...)
	watcher, _ := w.watch(func(watcher *riverwait.Watcher) { watcher.Interval = 0 })
	w.eventually("all are waited for", func() bool { return watcher.Status().Waiting == n })
}
