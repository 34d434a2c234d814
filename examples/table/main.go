package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

// schema is the schema for SQLite. PostgreSQL has another type for times.
const schema = `
CREATE TABLE IF NOT EXISTS decks (
	id      text PRIMARY KEY CHECK (id <> ''),
	export  boolean NOT NULL DEFAULT false,
	since   TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
	outcome text -- null while it waits, then "completed" or an error
);
CREATE INDEX IF NOT EXISTS decks_waiting ON decks (id) WHERE outcome IS NULL;
CREATE TABLE IF NOT EXISTS notices (
	id   text NOT NULL,
	text text NOT NULL
);`

// pause is the time between two reads of the table, and between two tries to get the lock.
var pause = time.Second

// Then does in tx what follows the outcome of a deck. It is called again if it or tx fails.
type Then func(ctx context.Context, tx *sql.Tx, r poller.Result) error

func main() {
	if len(os.Args) < 2 || len(os.Args) > 3 {
		log.Fatal("usage: table postgres://... or file.db [text of a new deck]")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1], os.Args[2:]); err != nil {
		log.Fatal(err) //nolint:gocritic // the process ends
	}
}

func run(ctx context.Context, name string, texts []string) error {
	client, err := gamma.NewClientFromEnv()
	if err != nil {
		return err
	}
	db, err := open(name)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(ctx, db.schema); err != nil {
		return err
	}
	if len(texts) > 0 {
		return create(ctx, client, db, texts[0])
	}
	watch(ctx, db, newPoller(client), notify)
	return nil
}

func newPoller(client poller.Client) *poller.Poller {
	p := poller.New(client)
	p.KeepWaiting = true       // an outage or a wrong key is not an outcome
	p.Timeout = 24 * time.Hour // after the row was inserted
	p.FirstPoll = 20 * time.Second
	return p
}

// create starts a generation and inserts its row.
func create(ctx context.Context, client *gamma.Client, db *database, text string) error {
	created, err := client.CreateGeneration(ctx, api.GenerationRequest{InputText: text})
	if err != nil {
		return err
	}
	// Also after Ctrl-C, because the generation is paid for.
	if _, err := db.ExecContext(context.WithoutCancel(ctx), "INSERT INTO decks (id) VALUES ($1)", created.GenerationID); err != nil {
		return fmt.Errorf("generation %s is in no row: %w", created.GenerationID, err)
	}
	return nil
}

// watch watches, or stands by while another process does, until ctx is done.
func watch(ctx context.Context, db *database, p *poller.Poller, then Then) {
	for ; ctx.Err() == nil; time.Sleep(pause) {
		session, release, err := db.lock(ctx)
		if err == nil && session != nil {
			err = Watch(ctx, db.DB, session, p, then)
			release()
		}
		if err != nil && ctx.Err() == nil {
			slog.WarnContext(ctx, "the watch starts again", "err", err)
		}
	}
}

// notify is the Then of this program: it inserts a row for each outcome.
func notify(ctx context.Context, tx *sql.Tx, r poller.Result) error {
	text := outcome(r.Err)
	if r.Err == nil {
		text = "ready: " + r.Generation.GammaURL
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO notices (id, text) VALUES ($1, $2)", r.ID, text)
	return err
}

// outcome returns the outcome for the table. The text of an error is one line.
func outcome(err error) string {
	if err == nil || errors.Is(err, poller.ErrNoExport) {
		return "completed"
	}
	return err.Error()
}
