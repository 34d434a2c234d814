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

// generationKey is the member of the args that makes a job unique for its generation.
const generationKey = "gammaGeneration"

// metadataKey is the member of the metadata that tells a watcher what to wait for.
const metadataKey = "gamma"

var (
	// ErrNoResult is the error of [Result] for a job that was not made available by a
	// [Watcher], but by hand, or not inserted by [InsertTx].
	ErrNoResult = errors.New("gamma: the job has no result of a generation")

	// ErrLostAttempt is the error of [CompleteTx] for an attempt that is not the job's
	// present one. Roll back.
	ErrLostAttempt = errors.New("gamma: River has ended this attempt of the job, or given the job to another")
)

// metadata is the member metadataKey of a job's metadata. Members may be added, never
// changed: jobs of earlier versions are still waiting.
type metadata struct {
	ID     string `json:"id"`
	Export bool   `json:"export,omitempty"`
}

// InsertTx inserts a job that becomes available when the generation of progress has
// finished. It uses only the ID and Export of progress: set Export if the create asked for
// an export, or its link may be missing. The wait starts when tx commits.
//
// A generation has one job: if there is one already, of any kind, that was neither
// canceled nor discarded, it is returned, with UniqueSkippedAsDuplicate true, and nothing is
// inserted. A concurrent transaction that inserts for the same generation is waited for.
//
// The args must encode to a JSON object. They get one more member, gammaGeneration: the
// id, which the args type may have as a field. The opts, which may be nil, and those of the
// args type must not have UniqueOpts or ScheduledAt. Bad input is an error before anything
// is inserted. It is safe for concurrent use, if tx is.
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
	// The wait begins now, by the clock of the database, which River does not ask for it.
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

// wrapped is the caller's args with the generation's id.
type wrapped struct {
	args    river.JobArgs
	encoded json.RawMessage

	// Generation is for River, which reads its tags and then looks into encoded.
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

// InsertOpts, Hooks and Plugins are those of the caller's args. River keeps the hooks that
// it sees first for a kind.
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

// with returns the JSON object with one member more. An empty object may be no bytes.
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

// Result returns what [poller.Poller.Wait] would have returned for the generation of job:
// the generation and nil if it completed; the generation and a [*poller.FailedError] if it
// failed; the last response, or nil, and a [*poller.WaitError] if the wait ended first. Of
// the Progress in an error, the counters are certain only in a WaitError. Another error,
// such as [ErrNoResult], is about the job: an attempt that calls river.RecordOutput replaces
// the result, also for later attempts. It sends nothing.
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

// CompleteTx completes job in tx, as [river.JobCompleteTx] does, so that what else is in tx
// happens once. It returns an error that matches [ErrLostAttempt] when River has ended this
// attempt meanwhile, or given the job to another worker, where JobCompleteTx returns nil:
// roll tx back then, and return the error. Use it in a worker, as the last statement of
// tx, and return nil after the commit. It works for any job of River.
func CompleteTx[T river.JobArgs](ctx context.Context, tx pgx.Tx, job *river.Job[T]) error {
	if job == nil || job.JobRow == nil || tx == nil {
		return errors.New("gamma: CompleteTx: nil job or transaction")
	}
	start := time.Now().Truncate(time.Microsecond) // PostgreSQL keeps no less
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
