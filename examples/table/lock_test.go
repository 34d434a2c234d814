package main

import (
	"path/filepath"
	"testing"
)

func TestLock(t *testing.T) {
	inBoth(t, func(t *testing.T, name string, db *database) {
		other := prepared(t, name)
		for _, turn := range []struct{ first, second *database }{{db, other}, {other, db}, {db, db}} {
			var release func()
			wait(t, "a free lock", func() bool { // PostgreSQL ends a session a moment later
				session, end, err := turn.first.lock(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				release = end
				return session != nil
			})
			for range 2 {
				if session, _, err := turn.second.lock(t.Context()); err != nil || session != nil {
					t.Errorf("a second lock: %v, error %v", session, err)
				}
			}
			release()
		}
	})
}

// What cannot be locked is an error, not the lock of another process.
func TestNoLock(t *testing.T) {
	db, err := open(filepath.Join(t.TempDir(), "no", "decks.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if session, _, err := db.lock(t.Context()); err == nil {
		t.Errorf("no error, session %v", session)
	}
}
