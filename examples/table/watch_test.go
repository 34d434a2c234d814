package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/internal/test/postgres"
	"github.com/gamma-sdk/gamma-go/poller"
)

// watched is the name of a database that this test binary watches instead of its tests.
const watched = "GAMMA_TEST_TABLE"

func TestMain(m *testing.M) {
	pause = 20 * time.Millisecond
	if name := os.Getenv(watched); name != "" {
		client, err := gamma.NewClientFromEnv()
		if err != nil {
			panic(err)
		}
		db, err := open(name)
		if err != nil {
			panic(err)
		}
		watch(context.Background(), db, quick(client), notify)
	}
	slog.SetDefault(slog.New(slog.DiscardHandler))
	code := m.Run()
	if s, err := server(); err == nil {
		s.Stop()
	}
	os.Exit(code)
}

// server is one for all tests. It does not sync, because the machine does not crash.
var server = sync.OnceValues(func() (*postgres.Server, error) { return postgres.Start("fsync=off") })

var databases atomic.Int64

// inBoth runs a test with an empty SQLite database, and with an empty PostgreSQL database
// where there is PostgreSQL.
func inBoth(t *testing.T, f func(t *testing.T, name string, db *database)) {
	t.Helper()
	t.Run("SQLite", func(t *testing.T) {
		name := filepath.Join(t.TempDir(), "decks.db")
		f(t, name, prepared(t, name))
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		name := postgresURL(t)
		f(t, name, prepared(t, name))
	})
}

// postgresURL returns the URL of an empty database.
func postgresURL(t testing.TB) string {
	t.Helper()
	s, err := server()
	postgres.Skip(t, err)
	db, err := sql.Open("pgx", s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	name := fmt.Sprint("test", databases.Add(1))
	if _, err := db.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	return strings.Replace(s.URL(), "/postgres?", "/"+name+"?", 1)
}

func prepared(t testing.TB, name string) *database {
	t.Helper()
	db, err := open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if _, err := db.ExecContext(t.Context(), db.schema); err != nil {
		t.Fatal(err)
	}
	return db
}

// quick is the Poller of main, at a quicker pace.
func quick(client poller.Client) *poller.Poller {
	p := newPoller(client)
	p.Interval, p.FirstPoll = 30*time.Millisecond, 0
	return p
}

// start watches until the test ends or end is called.
func start(t *testing.T, db *database, p *poller.Poller, then Then) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		watch(ctx, db, p, then)
	}()
	end = func() {
		cancel()
		<-done
	}
	t.Cleanup(end)
	return end
}

func insert(t *testing.T, db interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if _, err := db.ExecContext(t.Context(), "INSERT INTO decks (id) VALUES ($1)", id); err != nil {
			t.Fatal(err)
		}
	}
}

func ids(prefix string, n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprint(prefix, i)
	}
	return ids
}

// wait waits until what is true.
func wait(t testing.TB, text string, what func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !what(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after 30 seconds still not: %s", text)
		}
	}
}

// count returns the number that a query gives.
func count(t testing.TB, db *database, query string) int {
	t.Helper()
	var n int
	if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func waitForAll(t *testing.T, db *database) {
	t.Helper()
	wait(t, "an outcome for each", func() bool {
		return count(t, db, "SELECT count(*) FROM decks WHERE outcome IS NULL") == 0
	})
}

// pairs returns the rows of two columns, joined.
func pairs(t *testing.T, db *database, query string) map[string][]string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	all := map[string][]string{}
	for rows.Next() {
		var id, text string
		if err := rows.Scan(&id, &text); err != nil {
			t.Fatal(err)
		}
		all[id] = append(all[id], text)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// once checks that each deck has one outcome that want accepts, and one notice.
func once(t *testing.T, db *database, want func(id, outcome string) bool) {
	t.Helper()
	notices := pairs(t, db, "SELECT id, text FROM notices")
	outcomes := pairs(t, db, "SELECT id, outcome FROM decks")
	for id, outcome := range outcomes {
		if !want(id, outcome[0]) {
			t.Errorf("the outcome of %s is %q", id, outcome[0])
		}
		if len(notices[id]) != 1 {
			t.Errorf("%d notices of %s", len(notices[id]), id)
		}
	}
	if len(notices) != len(outcomes) {
		t.Errorf("notices of %d decks, and %d decks", len(notices), len(outcomes))
	}
}

func completed(_, outcome string) bool { return outcome == "completed" }

func TestSixtyLines(t *testing.T) {
	source, err := os.ReadFile("watch.go")
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for line := range bytes.Lines(source) {
		if len(bytes.TrimSpace(line)) > 0 {
			lines++
		}
	}
	if lines > 60 {
		t.Errorf("watch.go has %d lines", lines)
	}
}

func TestEnds(t *testing.T) {
	for _, test := range []struct {
		name  string
		steps []gammatest.Step
		since string // SQL
		want  string
	}{
		{name: "completed", steps: []gammatest.Step{gammatest.Pending(2), gammatest.Completed("")}, want: "completed"},
		{name: "failed", steps: []gammatest.Step{gammatest.Pending(1), gammatest.Failed(422, "too long")}, want: "too long"},
		{name: "unknown once", steps: []gammatest.Step{gammatest.Status(404), gammatest.Completed("")}, want: "completed"},
		{name: "unknown", steps: []gammatest.Step{gammatest.Status(404)}, want: "404"},
		{name: "a wrong key for a while", steps: []gammatest.Step{gammatest.Times(3, gammatest.Status(401)), gammatest.Completed("")}, want: "completed"},
		{name: "an outage", steps: []gammatest.Step{gammatest.Times(3, gammatest.Status(503)), gammatest.Drop(), gammatest.Completed("")}, want: "completed"},
		{name: "past the deadline, pending", since: "'2001-01-01 00:00:00'", want: "deadline exceeded"},
		{name: "past the deadline, completed while nobody watched", since: "'2001-01-01 00:00:00'", steps: []gammatest.Step{gammatest.Completed("")}, want: "completed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBoth(t, func(t *testing.T, _ string, db *database) {
				client, g := gammatest.NewClient(t)
				g.Add("deck", test.steps...)
				since := test.since
				if since == "" {
					since = "CURRENT_TIMESTAMP"
				}
				if _, err := db.ExecContext(t.Context(), "INSERT INTO decks (id, since) VALUES ('deck', "+since+")"); err != nil {
					t.Fatal(err)
				}
				start(t, db, quick(client), notify)
				waitForAll(t, db)
				once(t, db, func(_, outcome string) bool { return strings.Contains(outcome, test.want) })
			})
		})
	}
}

// A deck past its deadline may have finished while nobody watched. If the rate limit allows
// no poll of it at first, it is polled later.
func TestPastTheDeadlineAndNoPollAllowed(t *testing.T) {
	inBoth(t, func(t *testing.T, _ string, db *database) {
		client, g := gammatest.NewClient(t)
		g.Add("first", gammatest.Header("x-ratelimit-remaining-burst", "0", gammatest.RateLimited(time.Second)), gammatest.Completed(""))
		g.Add("late", gammatest.Completed(""))
		insert(t, db, "first")
		start(t, db, quick(client), notify)
		wait(t, "the response 429", func() bool { return len(g.Requests()) > 0 })
		if _, err := db.ExecContext(t.Context(), "INSERT INTO decks (id, since) VALUES ('late', '2001-01-01 00:00:00')"); err != nil {
			t.Fatal(err)
		}
		waitForAll(t, db)
		once(t, db, completed)
	})
}

// A watcher that is stopped has not learned anything about the decks.
func TestStopped(t *testing.T) {
	inBoth(t, func(t *testing.T, _ string, db *database) {
		client, g := gammatest.NewClient(t)
		for _, id := range ids("deck", 10) {
			g.Add(id)
		}
		insert(t, db, ids("deck", 10)...)
		end := start(t, db, quick(client), notify)
		wait(t, "polls", func() bool { return len(g.Requests()) >= 20 })
		end()
		if n := count(t, db, "SELECT count(*) FROM decks WHERE outcome IS NULL"); n != 10 {
			t.Errorf("%d decks without an outcome, want 10", n)
		}
		if n := count(t, db, "SELECT count(*) FROM notices"); n != 0 {
			t.Errorf("%d notices", n)
		}
	})
}

func TestWhatFollowsFails(t *testing.T) {
	inBoth(t, func(t *testing.T, _ string, db *database) {
		client, g := gammatest.NewClient(t)
		for _, id := range ids("deck", 20) {
			g.Add(id, gammatest.Completed(""))
		}
		insert(t, db, ids("deck", 20)...)
		calls := map[string]int{} // one call at a time
		start(t, db, quick(client), func(ctx context.Context, tx *sql.Tx, r poller.Result) error {
			if err := notify(ctx, tx, r); err != nil {
				return err
			}
			switch calls[r.ID]++; calls[r.ID] {
			case 1:
				return errors.New("no room")
			case 2:
				panic("no room")
			case 3:
				_, err := tx.ExecContext(ctx, "no SQL")
				return err
			}
			return nil
		})
		waitForAll(t, db)
		once(t, db, completed)
		for id, n := range calls {
			if n != 4 {
				t.Errorf("%d calls for %s, want 4", n, id)
			}
		}
	})
}

// Two watch the same table: one of them polls, and then the other, when the first ends.
func TestTwoWatchers(t *testing.T) {
	inBoth(t, func(t *testing.T, name string, db *database) {
		transport := gammatest.NewTransport(t)
		ends := map[string]func(){}
		for _, watcher := range []string{"one", "two"} {
			client, err := gamma.NewClient(gammatest.Key, gamma.WithUserAgent(watcher), gamma.WithHTTPClient(&http.Client{Transport: transport}))
			if err != nil {
				t.Fatal(err)
			}
			ends[watcher] = start(t, prepared(t, name), quick(client), notify)
		}
		last := ""
		for range 2 {
			before := len(transport.Requests())
			all := ids("deck"+last, 20)
			for _, id := range all {
				transport.Add(id, gammatest.Pending(3), gammatest.Completed(""))
			}
			insert(t, db, all...)
			waitForAll(t, db)
			watchers := map[string]bool{}
			for _, r := range transport.Requests()[before:] {
				watcher, _, _ := strings.Cut(r.Header.Get("User-Agent"), " ")
				watchers[watcher] = true
			}
			if len(watchers) != 1 || watchers[last] {
				t.Fatalf("%v have polled, before it was %q", watchers, last)
			}
			for last = range watchers {
				ends[last]()
			}
		}
		once(t, db, completed)
	})
}

// Two watch without the lock, as for a moment after one was stopped and continued.
func TestTwoWatchersWithoutTheLock(t *testing.T) {
	inBoth(t, func(t *testing.T, _ string, db *database) {
		client, g := gammatest.NewClient(t)
		all := ids("deck", 100)
		for _, id := range all {
			g.Add(id, gammatest.Times(5, gammatest.Delay(10*time.Millisecond, gammatest.Completed(""))))
		}
		insert(t, db, all...)
		unlocked := &database{db.DB, db.schema, func(ctx context.Context) (*sql.Conn, func(), error) {
			session, err := db.Conn(ctx)
			return session, func() { _ = session.Close() }, err
		}}
		for range 2 {
			start(t, unlocked, quick(client), notify)
		}
		waitForAll(t, db)
		once(t, db, completed)
		if n := len(g.Requests()); n <= 100 {
			t.Errorf("%d polls, want more than 100", n)
		}
	})
}

// A row is found whose transaction began before and committed after those of later rows.
func TestLateCommit(t *testing.T) {
	db := prepared(t, postgresURL(t)) // SQLite has one transaction at a time
	client, g := gammatest.NewClient(t)
	for _, id := range append(ids("deck", 50), "a", "z") {
		g.Add(id, gammatest.Completed(""))
	}
	start(t, db, quick(client), notify)
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	insert(t, tx, "a", "z")
	insert(t, db, ids("deck", 50)...)
	waitForAll(t, db)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	waitForAll(t, db)
	once(t, db, completed)
	if n := count(t, db, "SELECT count(*) FROM decks"); n != 52 {
		t.Errorf("%d decks", n)
	}
}

// The watcher loses its connections, and its lock, and starts again.
func TestRestartOfPostgreSQL(t *testing.T) {
	for _, mode := range []string{"fast", "immediate"} {
		t.Run(mode, func(t *testing.T) {
			db := prepared(t, postgresURL(t))
			client, g := gammatest.NewClient(t)
			all := ids("deck", 50)
			for i, id := range all {
				g.Add(id, gammatest.PendingFor(time.Duration(i)*10*time.Millisecond), gammatest.Completed(""))
			}
			insert(t, db, all...)
			start(t, db, quick(client), notify)
			wait(t, "the first outcomes", func() bool { return count(t, db, "SELECT count(*) FROM notices") > 5 })
			s, _ := server()
			if err := s.Restart(mode); err != nil {
				t.Fatal(err)
			}
			wait(t, "a connection", func() bool { return db.PingContext(t.Context()) == nil })
			waitForAll(t, db)
			once(t, db, completed)
		})
	}
}

// The process that watches 200 decks is killed at random moments, and started again,
// while rows are inserted.
func TestKill(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	inBoth(t, func(t *testing.T, name string, db *database) {
		random := rand.New(rand.NewPCG(seed, 0))
		s := gammatest.NewServer(t)
		all := ids("deck", 200)
		for i, id := range all {
			end := gammatest.Completed("")
			if i%10 == 0 {
				end = gammatest.Failed(422, "Failed to generate text.")
			}
			s.Add(id, gammatest.Pending(random.IntN(10)), end)
		}
		insert(t, db, all[:100]...)
		var child *exec.Cmd
		kill := func() {
			_ = child.Process.Kill()
			_ = child.Wait()
		}
		run := func() {
			child = exec.CommandContext(t.Context(), os.Args[0])
			child.Env = append(os.Environ(), watched+"="+name, "GAMMA_API_KEY="+gammatest.Key, "GAMMA_BASE_URL="+s.URL)
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
		}
		const kills = 8
		for n := range kills {
			run()
			inserted := 100 + n*100/kills
			outcomes := min(count(t, db, "SELECT count(outcome) FROM decks")+random.IntN(25), inserted)
			wait(t, "outcomes", func() bool { return count(t, db, "SELECT count(outcome) FROM decks") >= outcomes })
			time.Sleep(time.Duration(random.IntN(10_000)) * time.Microsecond) // a moment of the transaction
			kill()
			insert(t, db, all[inserted:100+(n+1)*100/kills]...)
		}
		t.Logf("after %d kills %d of 200 decks have an outcome", kills, count(t, db, "SELECT count(outcome) FROM decks"))
		run()
		defer kill()
		waitForAll(t, db)
		once(t, db, func(id, outcome string) bool {
			return strings.HasSuffix(id, "0") == strings.Contains(outcome, "Failed to generate text.") && (outcome == "completed" || strings.HasSuffix(id, "0"))
		})
	})
}
