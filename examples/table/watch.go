package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/gamma-sdk/gamma-go/poller"
)

// Watch waits for every deck without an outcome, until ctx is done or the session of the lock ends.
// It calls then in the transaction that writes an outcome, and tries again if that fails.
func Watch(ctx context.Context, db *sql.DB, lock *sql.Conn, p *poller.Poller, then Then) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var known sync.Map // the ids that All waits for
	for r := range p.All(ctx, func(yield func(poller.Progress) bool) {
		for ; ctx.Err() == nil; time.Sleep(pause) {
			rows, err := lock.QueryContext(ctx, "SELECT id, export, since FROM decks WHERE outcome IS NULL")
			for err == nil && rows.Next() {
				var deck poller.Progress
				err = rows.Scan(&deck.ID, &deck.Export, &deck.Since)
				if _, ok := known.LoadOrStore(deck.ID, nil); err == nil && !ok && !yield(deck) {
					return
				}
			}
			if err != nil {
				cancel(err)
			} else if err = rows.Err(); err != nil {
				cancel(err)
			}
		}
	}) {
		if err := finish(ctx, db, r, then); err != nil && ctx.Err() == nil {
			slog.WarnContext(ctx, "no outcome yet", "id", r.ID, "err", err)
		}
		known.Delete(r.ID) // without an outcome it is listed and polled again
	}
	return context.Cause(ctx)
}

func finish(ctx context.Context, db *sql.DB, r poller.Result, then Then) (err error) {
	defer func() {
		if v := recover(); v != nil { // a panic would leave the loop, which waits for the list of decks
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	tx, err := db.BeginTx(ctx, nil) // fails if r is only the end of ctx
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	const update = "UPDATE decks SET outcome = $1 WHERE id = $2 AND outcome IS NULL RETURNING id"
	err = tx.QueryRowContext(ctx, update, outcome(r.Err), r.ID).Scan(&r.ID)
	if err == nil && !errors.Is(r.Err, poller.ErrPause) { // ErrPause is not an outcome: roll back
		if err = then(ctx, tx, r); err == nil {
			err = tx.Commit()
		}
	}
	return err
}
