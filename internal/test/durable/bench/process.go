package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/poller"
	"github.com/gamma-sdk/gamma-go/poller/riverwait"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

// childVariable holds the task of a child of this program.
const childVariable = "GAMMA_DURABLE_BENCH"

// task is what a child does.
type task struct {
	Fake     string        // address
	Interval time.Duration // between polls
	All      int           // generations to wait for with Poller.All, without a database
	Database string        // otherwise, run a River client and a Watcher on it
}

// report is the state of a child.
type report struct {
	Watching bool
	Waiting  int
	Finished int64
	Live     int64 // bytes of heap and stacks after garbage collection, if requested
}

// child does the task in childVariable, and reports whether there is one.
func child() bool {
	value := os.Getenv(childVariable)
	if value == "" {
		return false
	}
	var t task
	err := json.Unmarshal([]byte(value), &t)
	if err == nil {
		err = t.run(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

// run does the task until the standard input is closed.
func (t task) run(ctx context.Context) error {
	client, err := gamma.NewClient("sk-gamma-bench", gamma.WithBaseURL(t.Fake), gamma.WithInsecureHTTP())
	if err != nil {
		return err
	}
	status := func() report { return report{} }
	if t.All > 0 {
		go func() {
			p := poller.New(client)
			p.Interval, p.Timeout, p.KeepWaiting = t.Interval, -1, true
			for range p.All(ctx, func(yield func(poller.Progress) bool) {
				for n := range t.All {
					if !yield(poller.Progress{ID: generationID(n)}) {
						return
					}
				}
			}) {
			}
		}()
	} else if status, err = t.work(ctx, client); err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		r := status()
		if in.Text() == "live" {
			for range 3 {
				runtime.GC()
			}
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			r.Live = int64(m.HeapAlloc + m.StackInuse)
		}
		if err := out.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// work starts what a user's process has: a River client and a watcher.
func (t task) work(ctx context.Context, client *gamma.Client) (func() report, error) {
	pool, err := pgxpool.New(ctx, t.Database)
	if err != nil {
		return nil, err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	workers := river.NewWorkers()
	river.AddWorker(workers, &finisher{pool: pool})
	r, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Queues:  map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 20}},
		Workers: workers, Logger: logger,
	})
	if err != nil {
		return nil, err
	}
	if err := r.Start(ctx); err != nil {
		return nil, err
	}
	w := &riverwait.Watcher{River: r, Pool: pool, Client: client, Interval: t.Interval, Logger: logger}
	go func() { _ = w.Run(ctx) }()
	return func() report {
		s := w.Status()
		return report{Watching: s.Watching, Waiting: s.Waiting, Finished: s.Finished}
	}, nil
}

// finish is the args of a job as a user may have it.
type finish struct {
	Deck     string `json:"deck,omitempty"`
	Customer int    `json:"customer"`
	Plain    bool   `json:"plain,omitempty"` // an ordinary job of River
}

func (finish) Kind() string { return "finish" }

type finisher struct {
	river.WorkerDefaults[finish]
	pool *pgxpool.Pool
}

func (f *finisher) Work(ctx context.Context, job *river.Job[finish]) error {
	if job.Args.Plain {
		return nil
	}
	if _, err := riverwait.Result(job); err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, f.pool, func(tx pgx.Tx) error { return riverwait.CompleteTx(ctx, tx, job) })
}

// process is a child.
type process struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *json.Decoder
	door  *door
	proxy *proxy // nil without a database
	ended sync.Once
}

// start starts a child. It reaches PostgreSQL at the address database through a proxy, or
// has no database if that is empty.
func start(ctx context.Context, f *fake, database string, t task) (*process, error) {
	p := new(process)
	var err error
	if p.door, err = f.open(ctx); err != nil {
		return nil, err
	}
	t.Fake = p.door.url()
	if database != "" {
		if p.proxy, t.Database, err = newProxy(ctx, database); err != nil {
			return nil, err
		}
	}
	value, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p.cmd = exec.CommandContext(ctx, program) //nolint:gosec // it is this program
	p.cmd.Env = append(os.Environ(), childVariable+"="+string(value))
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = json.NewDecoder(out)
	return p, p.cmd.Start()
}

// report requests a report: "status", or "live" for one with the memory.
func (p *process) report(what string) (r report, err error) {
	if _, err = io.WriteString(p.in, what+"\n"); err == nil {
		err = p.out.Decode(&r)
	}
	return r, err
}

// kill kills the process with SIGKILL.
func (p *process) kill() {
	p.ended.Do(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		_ = p.door.l.Close()
		if p.proxy != nil {
			_ = p.proxy.l.Close()
		}
	})
}

// vanish disconnects the process as if its machine had lost power: nothing it sends
// arrives, and no connection is closed.
func (p *process) vanish() {
	p.proxy.gate.Lock()
	p.door.vanish()
}

// proxy forwards connections of a child to PostgreSQL.
type proxy struct {
	l    net.Listener
	gate sync.RWMutex // locked after vanish
}

// newProxy returns a proxy to database, and the address of the database through it.
func newProxy(ctx context.Context, database string) (*proxy, string, error) {
	config, err := pgx.ParseConfig(database)
	if err != nil {
		return nil, "", err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	p := &proxy{l: l}
	to := net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := new(net.Dialer).DialContext(ctx, "tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			go p.copy(near, far)
			go p.copy(far, near)
		}
	}()
	return p, strings.Replace(database, to, l.Addr().String(), 1), nil
}

func (p *proxy) copy(to, from net.Conn) {
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		p.gate.RLock()
		if err == nil {
			_, err = to.Write(buffer[:n])
		}
		if err != nil {
			_, _ = to.Close(), from.Close()
		}
		p.gate.RUnlock()
		if err != nil {
			return
		}
	}
}

// stat returns the parent of a process, its CPU time, and the CPU time of its children that
// have ended.
func stat(pid int) (parent int, own, children time.Duration) {
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every platform of Go
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 15 {
		return 0, 0, 0
	}
	number := func(i int) time.Duration {
		n, _ := strconv.Atoi(fields[i])
		return time.Duration(n)
	}
	return int(number(1)), (number(11) + number(12)) * tick, (number(13) + number(14)) * tick
}

// cpu returns the CPU time of a process.
func cpu(pid int) time.Duration {
	_, own, _ := stat(pid)
	return own
}

// family returns the CPU time of a process and of all its children, ended ones too.
func family(pid int) time.Duration {
	_, own, ended := stat(pid)
	sum := own + ended
	entries, _ := filepath.Glob("/proc/[0-9]*")
	for _, entry := range entries {
		child, _ := strconv.Atoi(filepath.Base(entry))
		if parent, own, _ := stat(child); parent == pid {
			sum += own
		}
	}
	return sum
}

// resident returns the resident memory of a process, in bytes.
func resident(pid int) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmRSS:" {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			return n << 10
		}
	}
	return 0
}
