// Command river makes decks in jobs of River. It creates a generation for each of its
// arguments and waits for them until it is interrupted. Without arguments, it only works on
// the decks that are in the database. Any number of it may run at the same time.
//
//	DATABASE_URL=postgres://localhost/decks GAMMA_API_KEY=sk-... go run . "The history of coffee"
//	psql decks -c "SELECT * FROM decks"
//
// The file create.go has the worker that creates without paying twice; outcome.go is all
// that package riverwait adds to a program that uses River.
//
// # Uncertain decks
//
// If the process dies between the request that creates a generation and the commit of its
// id, nobody knows whether there is one: the API cannot find a generation without its id.
// When River runs the job again, up to an hour later, the job is canceled as uncertain, and
// nothing is sent. Look for the deck in Gamma. If it is not there, set its column sent to
// NULL and retry the job, as River's UI can. Retrying alone changes nothing.
//
// The decision rests on a column of the program's own table, not on the number of the job's
// attempt: River counts an attempt back when a stop interrupts it, also if its worker
// returned JobCancel, and runs the job again as the first attempt.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, texts []string) error {
	client, err := gamma.NewClientFromEnv()
	if err != nil {
		return err
	}
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := migrate(ctx, pool); err != nil {
		return err
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, &CreateWorker{Pool: pool, Client: client})
	river.AddWorker(workers, &FinishWorker{Pool: pool})
	riverClient, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Queues:          map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 10}},
		SoftStopTimeout: 20 * time.Second,
		Workers:         workers,
	})
	if err != nil {
		return err
	}
	for _, text := range texts {
		if err := add(ctx, pool, riverClient, text); err != nil {
			return err
		}
	}
	if err := riverClient.Start(ctx); err != nil {
		return err
	}
	if err := watch(ctx, riverClient, pool, client); err != nil { // until ctx is done
		return err
	}
	<-riverClient.Stopped()
	return nil
}
