package main

import (
	"context"
	"errors"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/poller"
	"github.com/gamma-sdk/gamma-go/poller/riverwait"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
)

// insert inserts the job of a FinishWorker, which starts when the generation has finished.
func insert(ctx context.Context, tx pgx.Tx, generation string, args FinishArgs) error {
	client := river.ClientFromContext[pgx.Tx](ctx)
	_, err := riverwait.InsertTx(ctx, client, tx, poller.Progress{ID: generation}, args, nil)
	return err
}

// watch waits for the generations of all processes, or stands by, until ctx is done.
func watch(ctx context.Context, client *river.Client[pgx.Tx], pool *pgxpool.Pool, gammaClient *gamma.Client) error {
	return (&riverwait.Watcher{River: client, Pool: pool, Client: gammaClient}).Run(ctx)
}

// FinishWorker saves the outcome of the generation of a deck.
type FinishWorker struct {
	river.WorkerDefaults[FinishArgs]
	Pool *pgxpool.Pool
}

func (w *FinishWorker) Work(ctx context.Context, job *river.Job[FinishArgs]) error {
	gen, problem := riverwait.Result(job)
	if errors.Is(problem, riverwait.ErrNoResult) {
		return river.JobCancel(problem) // the job was retried by hand; after a cancel it can be inserted again
	}
	return pgx.BeginFunc(ctx, w.Pool, func(tx pgx.Tx) error {
		if err := save(ctx, tx, job.Args.Deck, gen, problem); err != nil {
			return err
		}
		return riverwait.CompleteTx(ctx, tx, job) // so that save takes effect once
	})
}
