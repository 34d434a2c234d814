package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
)

// CreateWorker creates the generation of a deck, which costs credits, at most once. The
// column sent is set before the request is sent, and cleared only if nothing was created. A
// job that finds it set, and no generation, is canceled as uncertain.
type CreateWorker struct {
	river.WorkerDefaults[CreateArgs]
	Pool   *pgxpool.Pool
	Client *gamma.Client
}

// Timeout is longer than River's minute: CreateGeneration pauses after status 429.
func (*CreateWorker) Timeout(*river.Job[CreateArgs]) time.Duration { return 5 * time.Minute }

func (w *CreateWorker) Work(ctx context.Context, job *river.Job[CreateArgs]) error {
	deck, text, recorded := job.Args.Deck, "", false
	err := w.Pool.QueryRow(ctx, `UPDATE decks SET sent = now() WHERE id = $1 AND sent IS NULL RETURNING text`, deck).Scan(&text)
	if errors.Is(err, pgx.ErrNoRows) { // an earlier attempt has set it
		err = w.Pool.QueryRow(ctx, `SELECT generation IS NOT NULL FROM decks WHERE id = $1`, deck).Scan(&recorded)
		if err == nil && !recorded {
			err = river.JobCancel(errors.New("uncertain: an earlier attempt may have created the generation"))
		}
	}
	if err != nil || recorded {
		return err
	}
	created, err := w.Client.CreateGeneration(ctx, api.GenerationRequest{InputText: text})
	saving := context.WithoutCancel(ctx) // the id is recorded even if ctx is done
	switch id := created.GenerationID; {
	case id != "": // there may be an error: the response was cut off after the id
		_ = river.RecordOutput(ctx, created) // for an operator, also if the job fails
		for try := range 5 {
			time.Sleep(time.Duration(try) * time.Second)
			if err = pgx.BeginFunc(saving, w.Pool, func(tx pgx.Tx) error { return record(saving, tx, deck, id) }); err == nil {
				return nil
			}
		}
		slog.ErrorContext(ctx, "a generation is not recorded", "generation", id, "deck", deck, "error", err)
		return river.JobCancel(fmt.Errorf("generation %s is created, but not recorded: %w", id, err))
	case errors.Is(err, gamma.ErrMaybeCreated):
		return river.JobCancel(errors.New("uncertain: " + err.Error())) // not wrapped: River would retry a context error during a stop
	}
	if _, e := w.Pool.Exec(saving, `UPDATE decks SET sent = NULL WHERE id = $1`, deck); e != nil {
		return fmt.Errorf("not created: %w; the next attempt will end as uncertain: %w", err, e)
	}
	if refused, ok := errors.AsType[*gamma.APIError](err); ok && refused.StatusCode == http.StatusBadRequest || errors.As(err, new(*gamma.InvalidRequestError)) {
		return river.JobCancel(err) // a retry does not help
	}
	return err // River retries it
}
