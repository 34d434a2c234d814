package main

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river/rivertest"
)

func TestRecord(t *testing.T) {
	w := newWorld(t)
	ctx := rivertest.WorkContext(t.Context(), w.client)
	for _, row := range []struct {
		name       string
		deck       int64
		generation string
		want       error
	}{
		{"the first time", 1, "gen1", nil},
		{"again, as if the commit had returned an error", 1, "gen1", nil},
		{"another generation of the deck", 1, "gen2", pgx.ErrNoRows},
		{"a deck that is deleted", 2, "gen3", pgx.ErrNoRows},
	} {
		err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error { return record(ctx, tx, row.deck, row.generation) })
		if !errors.Is(err, row.want) {
			t.Errorf("%s: got %v, want %v", row.name, err, row.want)
		}
	}
	if !w.is(`SELECT count(*) = 1 FROM river_job WHERE kind = 'finish_deck'`) {
		t.Error("there is not one job that waits")
	}
}
