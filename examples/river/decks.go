package main

import (
	"context"

	"github.com/gamma-sdk/gamma-go/api"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// decks is the program's own table.
const decks = `CREATE TABLE IF NOT EXISTS decks (
	id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	text       text NOT NULL,
	sent       timestamptz, -- when its generation was created, or may have been
	generation text,        -- the id
	url        text,        -- of the finished deck
	problem    text         -- why it has no url, or what is wrong with it
)`

// CreateArgs are the args of the job that creates the generation of a deck.
type CreateArgs struct {
	Deck int64 `json:"deck"`
}

func (CreateArgs) Kind() string { return "create_deck" }

// FinishArgs are the args of the job that starts when the generation has finished.
type FinishArgs struct {
	Deck int64 `json:"deck"`
}

func (FinishArgs) Kind() string { return "finish_deck" }

// migrate creates the tables of the program and of River.
func migrate(ctx context.Context, pool *pgxpool.Pool) error {
	if _, err := pool.Exec(ctx, decks); err != nil {
		return err
	}
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	if err != nil {
		return err
	}
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

// add inserts a deck and the job that creates its generation.
func add(ctx context.Context, pool *pgxpool.Pool, client *river.Client[pgx.Tx], text string) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		var args CreateArgs
		if err := tx.QueryRow(ctx, `INSERT INTO decks (text) VALUES ($1) RETURNING id`, text).Scan(&args.Deck); err != nil {
			return err
		}
		_, err := client.InsertTx(ctx, tx, args, nil)
		return err
	})
}

// record records the generation of a deck, and inserts the job that waits for it. It may
// run again with the same generation, since a transaction may commit and return an error.
// It returns pgx.ErrNoRows for another generation, and for a deck that was deleted.
func record(ctx context.Context, tx pgx.Tx, deck int64, generation string) error {
	err := tx.QueryRow(ctx, `UPDATE decks SET generation = $2 WHERE id = $1 AND coalesce(generation, $2) = $2 RETURNING id`,
		deck, generation).Scan(&deck)
	if err != nil {
		return err
	}
	return insert(ctx, tx, generation, FinishArgs{deck})
}

// save saves the outcome of the generation of a deck; problem is nil if it completed.
func save(ctx context.Context, tx pgx.Tx, deck int64, gen *api.GenerationStatusResponse, problem error) error {
	var url, text *string
	if gen != nil && gen.GammaURL != "" {
		url = &gen.GammaURL
	}
	if problem != nil {
		text = new(problem.Error())
	}
	_, err := tx.Exec(ctx, `UPDATE decks SET url = $2, problem = $3 WHERE id = $1`, deck, url, text)
	return err
}
