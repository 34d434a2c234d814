package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/internal/test/postgres"
	"github.com/gamma-sdk/gamma-go/poller/riverwait"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
)

// asProgram makes the test binary be the program, in a process that can be killed.
const asProgram = "GAMMA_EXAMPLE_PROGRAM"

var (
	server   *postgres.Server
	errStart error
	database struct { // PostgreSQL copies one at a time
		sync.Mutex
		n int // the first is the one that the others are copied from
	}
)

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	flag.Parse()
	_ = flag.Set("test.parallel", "16") // they wait most of the time
	server, errStart = postgres.Start("max_connections=500", "fsync=off")
	code := m.Run()
	if errStart == nil {
		server.Stop()
	}
	os.Exit(code)
}

// world is the database and the fake server of one test.
type world struct {
	*testing.T
	url     string
	pool    *pgxpool.Pool
	client  *river.Client[pgx.Tx] // it only inserts
	fake    *gammatest.Server
	created atomic.Int32 // generations that the fake has created
}

// newWorld has one deck, and the job that creates its generation, which lives by steps.
func newWorld(t *testing.T, steps ...gammatest.Step) *world {
	t.Helper()
	t.Parallel()
	postgres.Skip(t, errStart)
	if len(steps) == 0 {
		steps = []gammatest.Step{gammatest.Pending(1), gammatest.Completed("")}
	}
	w := &world{T: t, fake: gammatest.NewServer(t)}
	w.fake.OnCreate(func(api.GenerationRequest) []gammatest.Step {
		w.created.Add(1)
		return steps
	})
	w.url = newDatabase(t)
	pool, err := pgxpool.New(t.Context(), w.url)
	w.check(err)
	t.Cleanup(pool.Close)
	w.pool = pool
	w.client, err = river.NewClient(riverpgxv5.New(pool), &river.Config{})
	w.check(err)
	w.check(add(t.Context(), pool, w.client, "The history of coffee"))
	return w
}

func newDatabase(t *testing.T) string {
	t.Helper()
	database.Lock()
	defer database.Unlock()
	conn, err := pgx.Connect(t.Context(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	if database.n == 0 {
		pool, err := pgxpool.New(t.Context(), createDatabase(t, conn, "template1"))
		if err != nil {
			t.Fatal(err)
		}
		err = migrate(t.Context(), pool)
		pool.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	return createDatabase(t, conn, "test1")
}

func createDatabase(t *testing.T, conn *pgx.Conn, template string) string {
	t.Helper()
	database.n++
	name := fmt.Sprint("test", database.n)
	if _, err := conn.Exec(t.Context(), "CREATE DATABASE "+name+" TEMPLATE "+template); err != nil {
		t.Fatal(err)
	}
	return strings.Replace(server.URL(), "/postgres?", "/"+name+"?", 1)
}

func (w *world) check(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) exec(sql string, args ...any) {
	w.Helper()
	_, err := w.pool.Exec(w.Context(), sql, args...)
	w.check(err)
}

// is returns what the query returns: one row with one boolean.
func (w *world) is(sql string, args ...any) (yes bool) {
	w.Helper()
	w.check(w.pool.QueryRow(w.Context(), sql, args...).Scan(&yes))
	return yes
}

// until waits for a condition.
func (w *world) until(what string, condition func() bool) {
	w.Helper()
	for end := time.Now().Add(time.Minute); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			job := w.job(CreateArgs{}.Kind())
			w.Fatalf("waited too long until %s; the create job is %s after attempt %d, errors %q", what, job.State, job.Attempt, texts(job))
		}
	}
}

// untilTrue waits until the query returns true.
func (w *world) untilTrue(what, sql string, args ...any) {
	w.Helper()
	w.until(what, func() bool { return w.is(sql, args...) })
}

// untilState waits until the job that creates is in a state, and returns it.
func (w *world) untilState(state rivertype.JobState) *rivertype.JobRow {
	w.Helper()
	w.until("the create job is "+string(state), func() bool { return w.job(CreateArgs{}.Kind()).State == state })
	return w.job(CreateArgs{}.Kind())
}

// job returns the first job of a kind.
func (w *world) job(kind string) *rivertype.JobRow {
	w.Helper()
	list, err := w.client.JobList(w.Context(), river.NewJobListParams().Kinds(kind).First(1))
	w.check(err)
	if len(list.Jobs) == 0 {
		return &rivertype.JobRow{}
	}
	return list.Jobs[0]
}

func texts(job *rivertype.JobRow) string {
	var all []string
	for _, e := range job.Errors {
		all = append(all, e.Error)
	}
	return strings.Join(all, "\n")
}

// want checks the deck of the world and how many generations the fake created.
func (w *world) want(sent, generation bool, created int32) {
	w.Helper()
	if !w.is(`SELECT (sent IS NOT NULL) = $1 AND (generation IS NOT NULL) = $2 FROM decks`, sent, generation) {
		w.Errorf("the deck is not with sent %v, generation %v", sent, generation)
	}
	if n := w.created.Load(); n != created {
		w.Errorf("%d generations created, want %d", n, created)
	}
}

// finished waits until the deck has what package riverwait waits for.
func (w *world) finished() {
	w.Helper()
	w.untilTrue("the deck has its url", `SELECT url IS NOT NULL AND problem IS NULL FROM decks`)
	if n := w.created.Load(); n != 1 {
		w.Errorf("%d generations created, want 1", n)
	}
}

// program is the program in a separate process.
type program struct {
	*exec.Cmd
	output bytes.Buffer
}

// start starts the program, whose sessions of PostgreSQL have the given name.
func (w *world) start(name string, args ...string) *program {
	w.Helper()
	exe, err := os.Executable()
	w.check(err)
	p := &program{Cmd: exec.CommandContext(w.Context(), exe, args...)}
	p.Env = append(os.Environ(), asProgram+"=1", "DATABASE_URL="+w.url+"&application_name="+name,
		"GAMMA_API_KEY="+gammatest.Key, "GAMMA_BASE_URL="+w.fake.URL)
	p.Stdout, p.Stderr = &p.output, &p.output
	w.check(p.Start())
	w.Cleanup(func() {
		_ = p.Process.Kill()
		_ = p.Wait()
		if w.Failed() {
			w.Logf("output of %s:\n%s", name, p.output.String())
		}
	})
	return p
}

// worker is the program in this process, with short pauses.
type worker struct {
	gamma   *gamma.Client
	timeout time.Duration // of the worker that creates; 0: its own
	river   river.Config
}

// quickWorker is a CreateWorker with another timeout.
type quickWorker struct {
	*CreateWorker
	timeout time.Duration
}

func (q *quickWorker) Timeout(job *river.Job[CreateArgs]) time.Duration {
	if q.timeout != 0 {
		return q.timeout
	}
	return q.CreateWorker.Timeout(job)
}

// work starts a worker, and returns its client and what stops it.
func (w *world) work(worker worker) (*river.Client[pgx.Tx], func()) {
	w.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.Context()))
	pool, err := pgxpool.New(ctx, w.url)
	w.check(err)
	client := worker.gamma
	if client == nil {
		client = w.newClient(w.fake.URL, nil)
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, &quickWorker{&CreateWorker{Pool: pool, Client: client}, worker.timeout})
	river.AddWorker(workers, &FinishWorker{Pool: pool})
	config := worker.river
	config.Queues = map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 10}}
	config.Workers = workers
	config.FetchPollInterval = 100 * time.Millisecond
	config.TestOnly = true // no pause before it starts
	config.Logger = slog.New(slog.DiscardHandler)
	if config.SoftStopTimeout == 0 {
		config.SoftStopTimeout = 10 * time.Second
	}
	riverClient, err := river.NewClient(riverpgxv5.New(pool), &config)
	w.check(err)
	w.check(riverClient.Start(ctx))
	watcher := &riverwait.Watcher{River: riverClient, Pool: pool, Client: client, Interval: 50 * time.Millisecond, Logger: config.Logger}
	var watching sync.WaitGroup
	watching.Go(func() {
		if err := watcher.Run(ctx); err != nil {
			w.Error(err)
		}
	})
	stop := sync.OnceFunc(func() {
		cancel()
		<-riverClient.Stopped()
		watching.Wait()
		pool.Close()
	})
	w.Cleanup(stop)
	return riverClient, stop
}

func (w *world) newClient(base string, transport http.RoundTripper) *gamma.Client {
	w.Helper()
	options := []gamma.Option{gamma.WithBaseURL(base)}
	if transport != nil {
		options = append(options, gamma.WithHTTPClient(&http.Client{Transport: transport}))
	}
	client, err := gamma.NewClient(gammatest.Key, options...)
	w.check(err)
	return client
}

// rescue makes the running job one that River rescues when the next worker starts: an
// hour, in which River takes it for alive, has passed, and so has the time of the leader
// that was killed.
func (w *world) rescue() {
	w.Helper()
	w.exec(`UPDATE river_job SET attempted_at = attempted_at - interval '2 hours' WHERE state = 'running'`)
	w.exec(`DELETE FROM river_leader`)
}

// The program as a user runs it, with the pauses that users have.
func TestProgram(t *testing.T) {
	w := newWorld(t, gammatest.Completed(""))
	p := w.start("program", "The history of tea")
	w.untilTrue("both decks have their urls", `SELECT count(url) = 2 AND count(problem) = 0 FROM decks`)
	if n := w.created.Load(); n != 2 {
		t.Errorf("%d generations created, want 2", n)
	}
	w.untilTrue("River has noted the end of all jobs", `SELECT count(*) = 4 FROM river_job WHERE state = 'completed'`)
	w.check(p.Process.Signal(syscall.SIGTERM))
	if err := p.Wait(); err != nil {
		t.Errorf("the program ended with %v", err)
	}
	w.untilTrue("the sessions of the program have ended", `SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'program')`)
}

func TestBadSettings(t *testing.T) {
	postgres.Skip(t, errStart)
	for name, row := range map[string]struct{ key, database string }{
		"no key":           {"", server.URL()},
		"no such database": {gammatest.Key, strings.Replace(server.URL(), "/postgres?", "/missing?", 1)},
		"no URL":           {gammatest.Key, "postgres://["},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GAMMA_API_KEY", row.key)
			t.Setenv("DATABASE_URL", row.database)
			err := run(t.Context(), nil)
			if parsed := (*url.Error)(nil); err == nil || errors.As(err, &parsed) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// What the documentation says about the length of the example.
func TestLines(t *testing.T) {
	for file, most := range map[string]int{"create.go": 60, "outcome.go": 40} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for line := range strings.Lines(string(source)) {
			if strings.TrimSpace(line) != "" {
				n++
			}
		}
		if n > most {
			t.Errorf("%s has %d lines that are not blank, want at most %d", file, n, most)
		}
	}
}
