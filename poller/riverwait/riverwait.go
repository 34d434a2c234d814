package riverwait

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
)

// generationKey is the member of the args for which River makes the job unique.
const generationKey = "gammaGeneration"

// metadataKey is the member of the metadata that tells a watcher what to wait for.
const metadataKey = "gamma"

var (
	// ErrNoResult is the error of [Result] for a job that was made available by hand instead
	// of by a [Watcher], or was not inserted by [InsertTx].
	ErrNoResult = errors.New("gamma: the job has no result of a generation")

	// ErrLostAttempt is the error of [CompleteTx] for an attempt that is no longer the
	// current one of the job. Roll the transaction back.
	ErrLostAttempt = errors.New("gamma: River has ended this attempt of the job, or given the job to another")
)

// metadata is the member metadataKey of a job's metadata. Members may be added, never
// changed: there may be pending jobs of earlier versions.
type metadata struct {
	ID     string `json:"id"`
	Export bool   `json:"export,omitempty"`
}

// InsertTx inserts a job that becomes available when the generation of progress has
// finished. It uses only the ID and Export of progress. Set Export if the create requested
// an export; otherwise the link may be missing. The wait starts when tx commits.
//
// A generation has one job. If there is a job of any kind that was neither canceled nor
// discarded, InsertTx returns that, with UniqueSkippedAsDuplicate true, and inserts nothing.
// It waits for a concurrent transaction that inserts a job for the same generation.
//
// The args must encode to a JSON object. InsertTx adds the member gammaGeneration, with the
// id; the args type may have it as a field. The opts, which may be nil, and those of the args
// type must not have UniqueOpts or ScheduledAt. Invalid input is an error before anything is
// inserted. InsertTx is safe for concurrent use if tx is.
func InsertTx(ctx context.Context, client *river.Client[pgx.Tx], tx pgx.Tx, progress poller.Progress, args river.JobArgs, opts *river.InsertOpts) (*rivertype.JobInsertResult, error) {
	switch {
	case client == nil:
		return nil, errors.New("gamma: InsertTx: nil client")
	case tx == nil:
		return nil, errors.New("gamma: InsertTx: nil transaction")
	case args == nil:
		return nil, errors.New("gamma: InsertTx: nil args")
	}
	if _, err := replay(ctx, metadata{ID: progress.ID}, nil); err != nil && !errors.Is(err, errNothing) {
		return nil, err
	}
	var o, own river.InsertOpts
	if opts != nil {
		o = *opts
	}
	if a, ok := args.(river.JobArgsWithInsertOpts); ok {
		own = a.InsertOpts()
	}
	for _, o := range []river.InsertOpts{o, own} {
		if u := o.UniqueOpts; u.ByArgs || u.ByPeriod != 0 || u.ByQueue || u.ByState != nil || u.ExcludeKind {
			return nil, errors.New("gamma: InsertTx: UniqueOpts must not be set: the job is unique for its generation")
		}
		if !o.ScheduledAt.IsZero() {
			return nil, errors.New("gamma: InsertTx: ScheduledAt must not be set: the job starts when its generation has finished")
		}
	}
	wrapped, err := wrap(args, progress.ID)
	if err != nil {
		return nil, err
	}
	if o.Metadata, err = with(o.Metadata, metadataKey, metadata{ID: progress.ID, Export: progress.Export}); err != nil {
		return nil, fmt.Errorf("gamma: InsertTx: the metadata %w", err)
	}
	// The wait starts now, by the clock of the database. River would use that of the process.
	if err := tx.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&o.ScheduledAt); err != nil {
		return nil, fmt.Errorf("gamma: InsertTx: %w", err)
	}
	o.Pending = true
	o.UniqueOpts = river.UniqueOpts{ByArgs: true, ExcludeKind: true}
	inserted, err := client.InsertTx(ctx, tx, wrapped, &o)
	if err != nil {
		return nil, fmt.Errorf("gamma: InsertTx: %w", err)
	}
	return inserted, nil
}

// wrapped is the args of the caller with the id of the generation.
type wrapped struct {
	args    river.JobArgs
	encoded json.RawMessage

	// Generation is for River, which reads its tags, and the value from encoded.
	Generation string `json:"gammaGeneration" river:"unique"`
}

func wrap(args river.JobArgs, id string) (wrapped, error) {
	encoded, err := json.Marshal(args)
	if err != nil {
		return wrapped{}, fmt.Errorf("gamma: InsertTx: the args cannot be encoded: %w", err)
	}
	if encoded, err = with(encoded, generationKey, id); err != nil {
		return wrapped{}, fmt.Errorf("gamma: InsertTx: the args %w", err)
	}
	return wrapped{args: args, encoded: encoded}, nil
}

func (w wrapped) Kind() string                 { return w.args.Kind() }
func (w wrapped) MarshalJSON() ([]byte, error) { return w.encoded, nil }

// InsertOpts returns those of the caller's args, as Hooks and Plugins do. River keeps the
// first hooks that it sees for a kind.
func (w wrapped) InsertOpts() river.InsertOpts {
	if a, ok := w.args.(river.JobArgsWithInsertOpts); ok {
		return a.InsertOpts()
	}
	return river.InsertOpts{}
}

func (w wrapped) Hooks() []rivertype.Hook {
	if a, ok := w.args.(river.JobArgsWithHooks); ok {
		return a.Hooks()
	}
	return nil
}

func (w wrapped) Plugins() []rivertype.Plugin {
	if a, ok := w.args.(river.JobArgsWithPlugins); ok {
		return a.Plugins()
	}
	return nil
}

// with returns the JSON object with one more member. An empty object may have no bytes.
func with(object []byte, key string, value any) ([]byte, error) {
	members := map[string]json.RawMessage{}
	if len(object) > 0 {
		if err := json.Unmarshal(object, &members); err != nil || members == nil {
			return nil, errors.New("must encode to a JSON object")
		}
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	if old, ok := members[key]; ok && string(old) != string(encoded) && string(old) != `""` {
		return nil, fmt.Errorf("must not have the member %q", key)
	}
	members[key] = encoded
	return json.Marshal(members)
}

// Result returns the results of [poller.Poller.Wait] for the generation of job: the
// generation and a nil error if it completed, the generation and a [*poller.FailedError] if
// it failed, and the last response, or nil, and a [*poller.WaitError] if the wait ended
// first. Only in a WaitError does the Progress have the counters of the wait. Another error,
// such as [ErrNoResult], is about the job: for example, an attempt that calls
// river.RecordOutput replaces the result, also for later attempts. Result sends nothing.
func Result[T river.JobArgs](job *river.Job[T]) (*api.GenerationStatusResponse, error) {
	if job == nil || job.JobRow == nil {
		return nil, errors.New("gamma: Result: nil job")
	}
	return result(job.JobRow)
}

func result(row *rivertype.JobRow) (*api.GenerationStatusResponse, error) {
	var m struct {
		Wait   *metadata       `json:"gamma"`
		Output json.RawMessage `json:"output"`
	}
	if err := json.Unmarshal(row.Metadata, &m); err != nil {
		return nil, fmt.Errorf("gamma: the job's metadata cannot be read: %w", err)
	}
	if m.Wait == nil || m.Output == nil {
		return nil, ErrNoResult
	}
	var o output
	if err := json.Unmarshal(m.Output, &o); err != nil {
		return nil, fmt.Errorf("%w: its output is not what the watcher wrote", ErrNoResult)
	}
	var gen *api.GenerationStatusResponse
	if o.ID != "" {
		if err := json.Unmarshal(m.Output, &gen); err != nil {
			return nil, fmt.Errorf("%w: its output is not what the watcher wrote", ErrNoResult)
		}
	}
	switch {
	case gen == nil && o.Wait == nil, gen != nil && gen.GenerationID != m.Wait.ID:
		return nil, fmt.Errorf("%w: its output is not what the watcher wrote", ErrNoResult)
	case o.Wait != nil:
		return gen, o.Wait.err()
	}
	return replay(context.Background(), *m.Wait, gen)
}

// CompleteTx completes job in tx, as [river.JobCompleteTx] does, so that everything in tx
// takes effect once. If River has ended this attempt, or given the job to another worker, it
// returns an error matching [ErrLostAttempt], where JobCompleteTx returns nil: roll tx back
// then, and return the error. Use it in a worker as the last statement of tx, and return nil
// after the commit. It works for any job of River.
func CompleteTx[T river.JobArgs](ctx context.Context, tx pgx.Tx, job *river.Job[T]) error {
	if job == nil || job.JobRow == nil || tx == nil {
		return errors.New("gamma: CompleteTx: nil job or transaction")
	}
	start := time.Now().Truncate(time.Microsecond) // the precision of PostgreSQL
	done, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
	switch {
	case errors.Is(err, rivertype.ErrNotFound):
		return fmt.Errorf("%w: the job is deleted", ErrLostAttempt)
	case err != nil:
		return fmt.Errorf("gamma: CompleteTx: %w", err)
	case done.State != rivertype.JobStateCompleted,
		done.AttemptedAt == nil || job.AttemptedAt == nil || !done.AttemptedAt.Equal(*job.AttemptedAt),
		done.FinalizedAt == nil || done.FinalizedAt.Before(start): // an earlier call has completed it
		return ErrLostAttempt
	}
	return nil
}
