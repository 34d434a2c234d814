package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	azruntime "github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/gamma-sdk/gamma-go/internal/test/performance"
	"github.com/gamma-sdk/gamma-go/poller"
)

// holding is a task: wait for generations that never finish, and measure what that takes.
type holding struct {
	Way      string // one of ways
	Jobs     int
	Interval time.Duration
	Measure  time.Duration // how long to measure the CPU time, after each has been polled
}

// held is the result of holding.
type held struct {
	Bytes float64 // of live memory per generation
	CPU   float64 // nanoseconds per poll
	RSS   int64   // peak resident memory of the process, in bytes; 0 if the system does not report it
}

const (
	wayAll    = "All"
	wayWait   = "Wait"
	wayAzcore = "azcore"
)

// start starts the waits.
func (h holding) start(ctx context.Context, transport http.RoundTripper) error {
	if h.Way == wayAzcore {
		pipeline := azcorePipeline(transport)
		for id := range ids(h.Jobs) {
			p, err := azcorePoller(pipeline, id)
			if err != nil {
				return err
			}
			go func() { _, _ = p.PollUntilDone(ctx, &azruntime.PollUntilDoneOptions{Frequency: h.Interval}) }()
		}
		return nil
	}
	client, err := newGamma(fakeURL, transport)
	if err != nil {
		return err
	}
	p := poller.New(client)
	p.Interval, p.Timeout = h.Interval, time.Hour
	switch h.Way {
	case wayWait:
		for id := range ids(h.Jobs) {
			go func() { _, _ = p.Wait(ctx, id) }()
		}
	case wayAll:
		go func() {
			for range p.All(ctx, progress(ids(h.Jobs))) {
			}
		}()
	}
	return nil
}

// ids yields ids of 21 bytes, each allocated separately.
func ids(n int) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range n {
			if !yield(fmt.Sprintf("gen%018d", i)) {
				return
			}
		}
	}
}

// progress starts a wait for each id.
func progress(ids iter.Seq[string]) iter.Seq[poller.Progress] {
	return func(yield func(poller.Progress) bool) {
		for id := range ids {
			if !yield(poller.Progress{ID: id}) {
				return
			}
		}
	}
}

// index returns the position in ids of the id in the URL of req.
func index(req *http.Request) (int, error) { return position(strings.TrimPrefix(req.URL.Path, path)) }

// position returns the position of id in ids.
func position(id string) (int, error) { return strconv.Atoi(strings.TrimPrefix(id, "gen")) }

// endless is a transport. Its generations stay pending.
type endless struct {
	seen  []bool // needs no lock: no generation is polled twice at the same time
	first atomic.Int64
	polls atomic.Int64
	still sync.RWMutex // locked while the memory is measured
}

func (e *endless) RoundTrip(req *http.Request) (*http.Response, error) {
	i, err := index(req)
	if err != nil {
		return nil, err
	}
	e.still.RLock()
	defer e.still.RUnlock()
	e.polls.Add(1)
	if !e.seen[i] {
		e.seen[i] = true
		e.first.Add(1)
	}
	return ok(req, `{"generationId":"`+req.URL.Path[len(path):]+`","status":"pending"}`), nil
}

// measure does the task in this process. The waits end with the process.
func (h holding) measure(ctx context.Context) (held, error) {
	e := &endless{seen: make([]bool, h.Jobs)}
	before := live()
	if err := h.start(ctx, e); err != nil {
		return held{}, err
	}
	for deadline := time.Now().Add(3*time.Minute + 2*h.Interval); e.first.Load() < int64(h.Jobs); {
		if time.Now().After(deadline) {
			return held{}, fmt.Errorf("%+v: only %d have been polled", h, e.first.Load())
		}
		time.Sleep(20 * time.Millisecond)
	}
	// Then the last poll has returned, and its response is garbage.
	time.Sleep(50 * time.Millisecond)
	var r held
	// The garbage of polls during a collection would count as live. The figure
	// includes the requests that are blocked meanwhile, at most 64.
	e.still.Lock()
	r.Bytes = float64(live()-before) / float64(h.Jobs)
	e.still.Unlock()
	if h.Measure > 0 {
		used, polls := cpuTime(), e.polls.Load()
		time.Sleep(h.Measure)
		r.CPU = float64(cpuTime()-used) / float64(e.polls.Load()-polls)
	}
	r.RSS = mostResident()
	return r, nil
}

// live returns the memory in use by objects and stacks. Each collection halves the
// stacks that have become too large.
func live() int64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// mostResident returns VmHWM. The maximum of getrusage would include the parent's.
func mostResident() int64 { return kilobytes("/proc/self/status", "VmHWM") }

// kilobytes reads a line "name: 123 kB" of a file that only Linux has, in bytes.
func kilobytes(file, name string) int64 {
	text, _ := os.ReadFile(file) //nolint:gosec // a constant
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == name+":" {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			return n << 10
		}
	}
	return 0
}

// run does the task in another process.
func (h holding) run(ctx context.Context) (held, error) {
	var r held
	cmd, stderr, err := task{Hold: &h}.command(ctx)
	if err != nil {
		return r, err
	}
	log.Printf("%s, %d jobs", h.Way, h.Jobs)
	out, err := cmd.Output()
	if err != nil {
		text, _, _ := bytes.Cut(stderr.Bytes(), []byte("\n"))
		return r, fmt.Errorf("%+v: %w: %s", h, err, text)
	}
	return r, json.Unmarshal(out, &r)
}

// rate is the maximum number of polls per second.
const rate = 40_000

// pace returns the SDK's default interval, or a longer one that keeps to rate.
func pace(s scale, jobs int) time.Duration {
	return max(pick(s, 5*time.Second, time.Second), time.Duration(jobs)*time.Second/rate)
}

// errNoRoom means that the machine has too little memory for a measurement.
var errNoRoom = errors.New("too little memory")

// goroutineJob is more than a generation with a goroutine takes, in bytes, while all of
// them start.
const goroutineJob = 18_000

// liveMemory measures the memory of waiting generations.
func liveMemory(ctx context.Context, s scale, way string, jobs int) (held, error) {
	h := holding{Way: way, Jobs: jobs, Interval: pace(s, jobs)}
	if way != wayAll {
		h.Interval = time.Hour // all poll at once first, and not again during the measurement
		if free := kilobytes("/proc/meminfo", "MemAvailable"); free > 0 && free < int64(jobs)*goroutineJob {
			return held{}, errNoRoom
		}
	}
	return h.run(ctx)
}

// memory measures the memory that a waiting generation takes.
func memory(ctx context.Context, s scale) ([]performance.Table, error) {
	t := performance.Table{
		Title: performance.Memory,
		Head:  []string{"waiting", "`All`", "a goroutine per `Wait`", "ratio", "azcore's `PollUntilDone`", "ratio", "peak resident memory of the process with `All`, MB"},
		Note: "In bytes, except the ratios and the last column. Each figure is from a separate process: heap and stacks in use after garbage collection, minus those before the first generation. " +
			"It includes ids of 21 bytes. Every generation has been polled. The last column is VmHWM, which includes garbage.",
	}
	for _, jobs := range pick(s, []int{1_000, 10_000, 50_000, 100_000, 1_000_000}, []int{1_000, 2_000}) {
		all, err := liveMemory(ctx, s, wayAll, jobs)
		if err != nil {
			return nil, err
		}
		row := []string{number(float64(jobs), 0), number(all.Bytes, 0)}
		for _, way := range []string{wayWait, wayAzcore} {
			switch h, err := liveMemory(ctx, s, way, jobs); {
			case errors.Is(err, errNoRoom):
				row = append(row, "not measured: too little memory here", "")
			case err != nil:
				return nil, err
			default:
				row = append(row, number(h.Bytes, 0), times(h.Bytes/all.Bytes))
			}
		}
		t.Rows = append(t.Rows, append(row, number(float64(all.RSS)/1e6, 0)))
	}
	return []performance.Table{t}, nil
}
