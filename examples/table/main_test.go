package main

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/poller"
)

func TestCreate(t *testing.T) {
	s := gammatest.NewServer(t, gammatest.Completed(""))
	t.Setenv("GAMMA_API_KEY", gammatest.Key)
	t.Setenv("GAMMA_BASE_URL", s.URL)
	name := filepath.Join(t.TempDir(), "decks.db")
	for _, text := range []string{"A short history of tea", "Coffee"} {
		if err := run(t.Context(), name, []string{text}); err != nil {
			t.Fatal(err)
		}
	}
	db := prepared(t, name)
	if n := count(t, db, "SELECT count(*) FROM decks WHERE outcome IS NULL"); n != 2 {
		t.Fatalf("%d decks wait, want 2", n)
	}
	client, err := gamma.NewClientFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	start(t, db, quick(client), notify)
	waitForAll(t, db)
	once(t, db, completed)
	for id, text := range pairs(t, db, "SELECT id, text FROM notices") {
		if !strings.HasPrefix(text[0], "ready: https://") {
			t.Errorf("the notice of %s is %q", id, text[0])
		}
	}
}

func TestOutcome(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error
		want string
	}{
		{"completed", nil, "completed"},
		{"no export after three minutes", &poller.WaitError{Cause: poller.ErrNoExport}, "completed"},
		{"failed", errors.New("failed"), "failed"},
	} {
		if got := outcome(test.err); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
