//go:build unix

package durable

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/internal/test/durable/fleet"
	"github.com/gamma-sdk/gamma-go/internal/test/postgres"
	"github.com/gamma-sdk/gamma-go/poller"
	"github.com/gamma-sdk/gamma-go/poller/riverwait"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"
)

// server is the PostgreSQL of all tests except those that restart it.
var server struct {
	*postgres.Server
	err error
}

func TestMain(m *testing.M) {
	fleet.Main()
	flag.Parse()
	if flag.Lookup("test.parallel").Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		_ = flag.Set("test.parallel", "8") // they wait most of the time
	}
	server.Server, server.err = start()
	code := m.Run()
	if server.err == nil {
		server.Stop()
	}
	os.Exit(code)
}

// start starts a PostgreSQL that has a database with River's tables, from which each test
// gets a copy.
func start() (*postgres.Server, error) {
	s, err := postgres.Start("max_connections=200", "max_locks_per_transaction=10", "fsync=off", "timezone=Asia/Kathmandu")
	if err != nil {
		return nil, err
	}
	return s, errors.Join(
		execute(s.URL(), "CREATE DATABASE template"),
		migrate(databaseURL(s, "template")),
		execute(databaseURL(s, "template"), "CREATE TABLE outcomes (job bigint, generation text, text text)"),
	)
}

func databaseURL(s *postgres.Server, name string) string {
	return strings.Replace(s.URL(), "/postgres?", "/"+name+"?", 1)
}

func execute(url, sql string) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql)
	return errors.Join(err, conn.Close(ctx))
}

func migrate(url string) error {
	pool, err := pgxpool.New(context.Background(), url)
	if err != nil {
		return err
	}
	defer pool.Close()
	return migrations(pool, rivermigrate.DirectionUp, "")
}

func migrations(pool *pgxpool.Pool, direction rivermigrate.Direction, schema string) error {
	m, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Schema: schema, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	var opts rivermigrate.MigrateOpts
	if direction == rivermigrate.DirectionDown {
		opts.TargetVersion = -1 // all the way
	}
	_, err = m.Migrate(context.Background(), direction, &opts)
	return err
}

// interval is the Interval of the watchers. A generation is first polled after four
// intervals.
const interval = 50 * time.Millisecond

// world is a database and a fake of the Gamma API. Each test has a separate one.
type world struct {
	*testing.T
	url    string
	pool   *pgxpool.Pool
	river  *river.Client[pgx.Tx] // that inserts
	client *gamma.Client
	fake   *gammatest.API
	log    log // of watchers

	transport *gammatest.Transport
	outage    atomic.Pointer[func(*http.Request) (*http.Response, error)] // instead of the fake
}

// RoundTrip sends r to the fake, or to outage.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	if outage := w.outage.Load(); outage != nil {
		return (*outage)(r)
	}
	return w.transport.RoundTrip(r)
}

// newClient returns a client without any state, like that of a new process.
func (w *world) newClient() *gamma.Client {
	w.Helper()
	client, err := gamma.NewClient(gammatest.Key, gamma.WithHTTPClient(&http.Client{Transport: w}))
	if err != nil {
		w.Fatal(err)
	}
	return client
}

var databases atomic.Int64

func newWorld(t *testing.T) *world {
	t.Helper()
	postgres.Skip(t, server.err)
	return newWorldAt(t, server.Server)
}

func newWorldAt(t *testing.T, s *postgres.Server) *world {
	t.Helper()
	name := fmt.Sprintf("test%d", databases.Add(1))
	if err := execute(s.URL(), "CREATE DATABASE "+name+" TEMPLATE template"); err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, url: databaseURL(s, name)}
	w.transport = gammatest.NewTransport(t)
	w.fake, w.client = w.transport.API, w.newClient()
	w.pool = w.newPool()
	w.river = w.newRiver(&river.Config{})
	return w
}

// newPool returns a pool like that of a new process.
func (w *world) newPool() *pgxpool.Pool {
	w.Helper()
	config, err := pgxpool.ParseConfig(w.url)
	if err != nil {
		w.Fatal(err)
	}
	config.MaxConns = 12
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(pool.Close)
	return pool
}

func (w *world) newRiver(config *river.Config) *river.Client[pgx.Tx] {
	w.Helper()
	config.Logger = slog.New(slog.DiscardHandler)
	client, err := river.NewClient(riverpgxv5.New(w.pool), config)
	if err != nil {
		w.Fatal(err)
	}
	return client
}

// finishArgs are the args of most jobs.
type finishArgs struct {
	Deck int `json:"deck"`
}

func (finishArgs) Kind() string { return "finish" }

type handler func(context.Context, *river.Job[finishArgs]) error

// finishWorker is the worker of most jobs.
type finishWorker struct {
	river.WorkerDefaults[finishArgs]
	work handler
}

func (f finishWorker) Work(ctx context.Context, job *river.Job[finishArgs]) error {
	return f.work(ctx, job)
}

// NextRetry retries soon.
func (finishWorker) NextRetry(*river.Job[finishArgs]) time.Time {
	return time.Now().Add(100 * time.Millisecond)
}

// outcome is the usual handler: it writes the outcome once.
func (w *world) outcome(ctx context.Context, job *river.Job[finishArgs]) error {
	return w.outcomeWith(ctx, job, riverwait.CompleteTx[finishArgs])
}

func (w *world) outcomeWith(ctx context.Context, job *river.Job[finishArgs], complete func(context.Context, pgx.Tx, *river.Job[finishArgs]) error) error {
	gen, err := riverwait.Result(job)
	text := "completed"
	if err != nil {
		text = err.Error()
	}
	id := ""
	if gen != nil {
		id = gen.GenerationID
	}
	return pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO outcomes VALUES ($1, $2, $3)", job.ID, id, text); err != nil {
			return err
		}
		return complete(ctx, tx, job)
	})
}

// work starts a River client whose worker is work, until the test ends.
func (w *world) work(work handler, change ...func(*river.Config)) {
	w.Helper()
	config := &river.Config{
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 4}},
		Workers:           river.NewWorkers(),
		FetchCooldown:     10 * time.Millisecond,
		FetchPollInterval: 50 * time.Millisecond,
		TestOnly:          true,
	}
	river.AddWorker(config.Workers, &finishWorker{work: work})
	for _, change := range change {
		change(config)
	}
	client := w.newRiver(config)
	if err := client.Start(context.Background()); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = client.StopAndCancel(ctx)
	})
}

// watch starts a watcher until the test ends or stop is called. It calls change first.
func (w *world) watch(change ...func(*riverwait.Watcher)) (watcher *riverwait.Watcher, stop func()) {
	w.Helper()
	watcher = &riverwait.Watcher{
		River: w.newRiver(&river.Config{}), Pool: w.pool, Client: w.client, Interval: interval,
		Logger: slog.New(slog.NewTextHandler(&w.log, nil)),
	}
	for _, change := range change {
		change(watcher)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- watcher.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.Errorf("Run returned %v", err)
		}
	})
	w.Cleanup(stop)
	return watcher, stop
}

// insert inserts a job for each generation, all in one transaction, and returns the jobs.
func (w *world) insert(ids ...string) []int64 {
	w.Helper()
	var jobs []int64
	err := pgx.BeginFunc(context.Background(), w.pool, func(tx pgx.Tx) (err error) {
		jobs, err = w.insertTx(tx, ids...)
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	return jobs
}

func (w *world) insertTx(tx pgx.Tx, ids ...string) (jobs []int64, err error) {
	for i, id := range ids {
		inserted, err := riverwait.InsertTx(context.Background(), w.river, tx, poller.Progress{ID: id}, finishArgs{Deck: i}, nil)
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, inserted.Job.ID)
	}
	return jobs, nil
}

func (w *world) job(id int64) *rivertype.JobRow {
	w.Helper()
	row, err := w.river.JobGet(context.Background(), id)
	if err != nil {
		w.Fatal(err)
	}
	return row
}

func (w *world) exec(sql string, args ...any) {
	w.Helper()
	if _, err := w.pool.Exec(context.Background(), sql, args...); err != nil {
		w.Fatal(err)
	}
}

// value returns the value of a query, or the zero value if the query fails.
func value[T any](w *world, sql string, args ...any) (v T) {
	_ = w.pool.QueryRow(context.Background(), sql, args...).Scan(&v)
	return v
}

// outcomes returns the number of outcomes, and of jobs that have one.
func (w *world) outcomes() (rows, jobs int) {
	_ = w.pool.QueryRow(context.Background(), "SELECT count(*), count(DISTINCT job) FROM outcomes").Scan(&rows, &jobs)
	return rows, jobs
}

// once waits until n jobs have an outcome. It fails the test if one has two.
func (w *world) once(n int) {
	w.Helper()
	w.eventually(fmt.Sprintf("%d jobs have an outcome", n), func() bool {
		_, jobs := w.outcomes()
		return jobs >= n
	})
	if rows, jobs := w.outcomes(); rows != n || jobs != n {
		w.Errorf("%d outcomes of %d jobs, want %d of each", rows, jobs, n)
	}
}

// eventually waits until what returns true.
func (w *world) eventually(text string, what func() bool) {
	w.Helper()
	w.within(30*time.Second, text, what)
}

func (w *world) within(d time.Duration, text string, what func() bool) {
	w.Helper()
	for deadline := time.Now().Add(d); !what(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatalf("after %v still not: %s; the watcher's log:\n%s", d, text, w.log.String())
		}
	}
}

// polls returns the number of polls of a generation that the fake received, or of all if id
// is empty.
func (w *world) polls(id string) (n int) {
	for _, r := range w.fake.Requests() {
		if id == "" || strings.HasSuffix(r.Path, "/"+url.PathEscape(id)) {
			n++
		}
	}
	return n
}

// log is a buffer that is safe for concurrent use.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

var _ io.Writer = (*log)(nil)

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// count returns the number of lines that contain text.
func (l *log) count(text string) (n int) {
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func ids(prefix string, n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("%s%d", prefix, i))
	}
	return ids
}
