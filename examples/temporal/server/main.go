// Command server runs the workflow of examples/temporal on a real Temporal server, which
// it starts in its own process on a database in memory. It runs 20 workflows against a fake
// of the Gamma API, kills one of two workers with SIGKILL while they wait, and checks
// what must hold: nothing is created twice, every wait continues where it was, and every
// outcome is delivered once. It exits with status 1 if one of them does not. It takes 80
// seconds, and the first build some minutes. Everything is on 127.0.0.1.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	tlog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/server/temporaltest"
	"google.golang.org/protobuf/proto"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	decks "github.com/gamma-sdk/gamma-go/examples/temporal"
	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/internal/test/sample"
	"github.com/gamma-sdk/gamma-go/poller"
)

const (
	workflows = 20
	taskQueue = "gamma"
	interval  = time.Second      // of polls, so that there are many
	lasts     = 60 * time.Second // a generation
	killAfter = 15 * time.Second
)

var quiet = tlog.NewStructuredLogger(slog.New(slog.DiscardHandler))

func main() {
	log.SetFlags(0)
	run := demo
	if len(os.Args) == 5 {
		run = work // a child process
	}
	if err := run(context.Background()); err != nil {
		log.Fatal("FAILED: ", err)
	}
}

// work is a worker. Its arguments are the address and the namespace of the Temporal
// server, the URL that takes the outcomes, and its name. It ends with its standard input.
func work(ctx context.Context) error {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	c, err := client.Dial(client.Options{HostPort: os.Args[1], Namespace: os.Args[2], Logger: quiet})
	if err != nil {
		return err
	}
	gammaClient, err := gamma.NewClientFromEnv(gamma.WithUserAgent(os.Args[4]))
	if err != nil {
		return err
	}
	activities := decks.New(gammaClient, func(ctx context.Context, key string, outcome decks.Outcome) error {
		return deliver(ctx, os.Args[3], delivery{key, outcome.Generation.GenerationID, outcome.Failure})
	})
	activities.Poller.Interval = interval
	w := worker.New(c, taskQueue, worker.Options{WorkerStopTimeout: 5 * time.Minute})
	w.RegisterWorkflow(decks.GenerateDeck)
	w.RegisterActivity(activities)
	if err := w.Start(); err != nil {
		return err
	}
	<-ctx.Done() // never
	return nil
}

// delivery is what the receiver of the outcomes is told.
type delivery struct{ Key, ID, Failure string }

func deliver(ctx context.Context, url string, d delivery) error {
	body, err := json.Marshal(d)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body)) //nolint:gosec // G704: the URL is from this program, too
	if err != nil {
		return err
	}
	rsp, err := http.DefaultClient.Do(req) //nolint:gosec // G704: the same
	if err != nil {
		return err
	}
	defer func() { _ = rsp.Body.Close() }()
	if rsp.StatusCode != http.StatusOK {
		return errors.New("the receiver responded " + rsp.Status)
	}
	return nil
}

// receiver takes the outcomes. A key that it has is not taken again.
type receiver struct {
	mu         sync.Mutex
	deliveries []delivery // also repeated ones
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var d delivery
	if err := json.NewDecoder(req.Body).Decode(&d); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deliveries = append(r.deliveries, d)
}

// requests has what the fake received.
type requests struct {
	mu       sync.Mutex
	creates  int
	polls    map[string][]time.Time // by generation id
	inFlight map[string]int         // polls, by the worker's name
}

func (q *requests) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id, ok := strings.CutPrefix(r.URL.Path, "/v1.0/generations/"); ok && r.Method == http.MethodGet {
			q.mu.Lock()
			q.polls[id] = append(q.polls[id], time.Now())
			q.inFlight[r.UserAgent()]++
			q.mu.Unlock()
			defer func() {
				q.mu.Lock()
				q.inFlight[r.UserAgent()]--
				q.mu.Unlock()
			}()
		}
		if r.Method == http.MethodPost {
			q.mu.Lock()
			q.creates++
			q.mu.Unlock()
		}
		next.ServeHTTP(w, r)
	})
}

func (q *requests) of(id string) []time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.polls[id])
}

func (q *requests) created() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.creates
}

// busy returns how many polls of a worker are in flight.
func (q *requests) busy(name string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.inFlight[name]
}

func (q *requests) total() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for _, times := range q.polls {
		n += len(times)
	}
	return n
}

// failures are the claims that did not hold.
type failures []error

func (f *failures) claim(ok bool, format string, args ...any) {
	verdict := "ok    "
	if !ok {
		verdict = "FAILED"
		*f = append(*f, fmt.Errorf(format, args...))
	}
	fmt.Printf("%s %s\n", verdict, fmt.Sprintf(format, args...))
}

func demo(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()

	var program gammatest.Program
	defer func() { err = errors.Join(err, program.Close()) }()
	handler := gammatest.NewHandler(&program, gammatest.Delay(200*time.Millisecond, gammatest.PendingFor(lasts)), gammatest.Completed(""))
	handler.OnCreate(func(request api.GenerationRequest) []gammatest.Step {
		if request.InputText == "slow" {
			return []gammatest.Step{gammatest.ForCreate(gammatest.Delay(3*time.Second, gammatest.Usual()))}
		}
		return nil
	})
	seen := &requests{polls: make(map[string][]time.Time), inFlight: make(map[string]int)}
	fake := httptest.NewServer(seen.wrap(handler))
	defer fake.Close()
	received := &receiver{}
	outcomes := httptest.NewServer(received)
	defer outcomes.Close()

	start := time.Now()
	server := temporaltest.NewServer(temporaltest.WithBaseClientOptions(client.Options{Logger: quiet}))
	c := server.GetDefaultClient()
	fmt.Printf("Temporal server at %s after %.1f s\n", server.GetFrontendHostPort(), time.Since(start).Seconds())

	var workers []*exec.Cmd
	for _, name := range []string{"worker-1", "worker-2"} {
		w, err := startWorker(ctx, name, server.GetFrontendHostPort(), server.GetDefaultNamespace(), fake.URL, outcomes.URL)
		if err != nil {
			return err
		}
		defer func() { _ = w.Process.Kill() }()
		workers = append(workers, w)
	}

	var failed failures
	if err := cancelDuringCreate(ctx, c, seen, &failed); err != nil {
		return err
	}
	created := seen.created()
	cpu := cpuTime()
	time.Sleep(5 * time.Second)
	idle := 1000 * (cpuTime() - cpu).Seconds() / 5

	var runs []client.WorkflowRun
	start = time.Now()
	for n := range workflows {
		run, err := startWorkflow(ctx, c, fmt.Sprintf("deck-for-order-%d", n+1), fmt.Sprintf("Tea, part %d", n+1))
		if err != nil {
			return err
		}
		runs = append(runs, run)
	}
	time.Sleep(killAfter / 3)
	cpu = cpuTime()
	sent := seen.total()
	time.Sleep(killAfter * 2 / 3)
	cpu, sent = cpuTime()-cpu, seen.total()-sent
	busy := 1000 * cpu.Seconds() / (killAfter * 2 / 3).Seconds()
	fmt.Printf("CPU of Temporal, SQLite and the fakes in this process: %.1f ms per poll (%d polls in %v), without workflows %.0f ms/s\n",
		(busy-idle)*(killAfter*2/3).Seconds()/float64(max(sent, 1)), sent, killAfter*2/3, idle)

	before, err := waits(ctx, c, runs)
	if err != nil {
		return err
	}
	failed.claim(len(before) == workflows, "%d workflows wait: polls so far %s", len(before), polled(before))
	for seen.busy("worker-1") == 0 && ctx.Err() == nil { // so that a poll dies with it
		time.Sleep(time.Millisecond)
	}
	killed := time.Now()
	if err := workers[0].Process.Kill(); err != nil {
		return err
	}
	_ = workers[0].Wait()
	fmt.Printf("SIGKILL of a worker after %.1f s\n", killed.Sub(start).Seconds())

	// What each wait resumes with: the first heartbeat after the kill.
	after := make(map[string]poller.Progress)
	resumed := 0
	for len(after) < workflows && time.Since(killed) < lasts {
		time.Sleep(200 * time.Millisecond)
		now, err := waits(ctx, c, runs)
		if err != nil {
			return err
		}
		for id, p := range now {
			if _, ok := after[id]; !ok && p.Polls > before[id].Polls {
				after[id] = p
				if p.Since.Equal(before[id].Since) {
					resumed++
				}
			}
		}
	}
	failed.claim(resumed == workflows, "%d of %d waits resumed with their counters: polls then %s", resumed, workflows, polled(after))
	var gaps []time.Duration
	died := 0
	for id := range before {
		times := seen.of(id)
		next := slices.IndexFunc(times, killed.Before)
		if next < 0 {
			failed.claim(false, "%s was not polled after the kill", id)
			continue
		}
		gap := times[next].Sub(killed)
		gaps = append(gaps, gap)
		if gap > 10*interval {
			died++ // it continued when its timeout had passed
		}
	}
	slices.Sort(gaps)
	if n := len(gaps); n > 0 {
		fmt.Printf("next poll after the kill: median %.1f s, slowest %.1f s, for %d whose poll died with the worker\n",
			gaps[n/2].Seconds(), gaps[n-1].Seconds(), died)
		failed.claim(gaps[n/2] < 5*time.Second && gaps[n-1] < 30*time.Second, "every wait resumed within 30 s, half of them within 5 s")
	}

	for _, run := range runs {
		if err := run.Get(ctx, nil); err != nil {
			failed.claim(false, "%s: %v", run.GetID(), err)
		}
	}
	fmt.Printf("all workflows ended after %.1f s\n", time.Since(start).Seconds())

	var used time.Duration
	for _, w := range workers {
		_ = w.Process.Kill()
		_ = w.Wait()
		used += w.ProcessState.UserTime() + w.ProcessState.SystemTime()
	}
	fmt.Printf("CPU of the two workers: %.1f ms per poll (%d polls), all included\n", 1000*used.Seconds()/float64(seen.total()), seen.total())

	n := seen.created() - created
	failed.claim(n == workflows, "%d creates for %d workflows", n, workflows)
	keys, ids := make(map[string]bool), make(map[string]bool)
	for _, d := range received.deliveries {
		keys[d.Key], ids[d.ID] = true, true
	}
	failed.claim(len(keys) == workflows && len(ids) == workflows && len(received.deliveries) == workflows,
		"%d deliveries, of %d workflows and %d generations", len(received.deliveries), len(keys), len(ids))

	if err := histories(ctx, c, runs, seen, &failed); err != nil {
		return err
	}
	return errors.Join(failed...)
}

func startWorker(ctx context.Context, name, address, namespace, gammaURL, outcomesURL string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w := exec.CommandContext(ctx, self, address, namespace, outcomesURL, name) //nolint:gosec // G204: this program
	w.Env = append(os.Environ(), "GAMMA_BASE_URL="+gammaURL, "GAMMA_API_KEY="+gammatest.Key)
	w.Stderr = os.Stderr
	if _, err := w.StdinPipe(); err != nil { // its end tells the worker that this process has ended
		return nil, err
	}
	return w, w.Start()
}

// document says what a request needs beside what this program sets.
var document = sample.New(gamma.OpenAPI())

func startWorkflow(ctx context.Context, c client.Client, id, text string) (client.WorkflowRun, error) {
	return c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                    id,
		TaskQueue:             taskQueue,
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
	}, decks.GenerateDeck, sample.Request(document, "createGeneration", api.GenerationRequest{InputText: text, ExportAs: "pdf"}))
}

// cancelDuringCreate cancels a workflow while its create is in flight.
func cancelDuringCreate(ctx context.Context, c client.Client, seen *requests, failed *failures) error {
	run, err := startWorkflow(ctx, c, "deck-that-is-canceled", "slow")
	if err != nil {
		return err
	}
	for seen.created() == 0 {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := c.CancelWorkflow(ctx, run.GetID(), ""); err != nil {
		return err
	}
	err = run.Get(ctx, nil)
	results := 0
	history := c.GetWorkflowHistory(ctx, run.GetID(), "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for history.HasNext() {
		event, err := history.Next()
		if err != nil {
			return err
		}
		if event.GetEventType() == enums.EVENT_TYPE_ACTIVITY_TASK_COMPLETED {
			results++
		}
	}
	failed.claim(temporal.IsCanceledError(err) && results == 1, "a workflow that is canceled while its create is in flight has the id in its history")
	return nil
}

// waits returns the progress of the generations that are waited for, by their ids: the
// details of the last heartbeats.
func waits(ctx context.Context, c client.Client, runs []client.WorkflowRun) (map[string]poller.Progress, error) {
	all := make(map[string]poller.Progress)
	for _, run := range runs {
		rsp, err := c.DescribeWorkflowExecution(ctx, run.GetID(), "")
		if err != nil {
			return nil, err
		}
		for _, a := range rsp.GetPendingActivities() {
			var p poller.Progress
			if a.GetHeartbeatDetails() != nil {
				if err := converter.GetDefaultDataConverter().FromPayloads(a.GetHeartbeatDetails(), &p); err != nil {
					return nil, err
				}
				all[p.ID] = p
			}
		}
	}
	return all, nil
}

// polled returns the range of the numbers of polls.
func polled(all map[string]poller.Progress) string {
	least, most := -1, 0
	for _, p := range all {
		if least < 0 || p.Polls < least {
			least = p.Polls
		}
		most = max(most, p.Polls)
	}
	return fmt.Sprintf("%d to %d", least, most)
}

// histories reads the histories: how long they are, and where the secrets are.
func histories(ctx context.Context, c client.Client, runs []client.WorkflowRun, seen *requests, failed *failures) error {
	lengths, links := make(map[int]int), make(map[string]int)
	var size int64
	keys := 0
	for _, run := range runs {
		n := 0
		history := c.GetWorkflowHistory(ctx, run.GetID(), "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for history.HasNext() {
			event, err := history.Next()
			if err != nil {
				return err
			}
			n++
			raw, err := proto.Marshal(event)
			if err != nil {
				return err
			}
			if bytes.Contains(raw, []byte(gammatest.Key)) {
				keys++
			}
			if bytes.Contains(raw, []byte("/exports/")) {
				links[event.GetEventType().String()]++
			}
		}
		lengths[n]++
		rsp, err := c.DescribeWorkflowExecution(ctx, run.GetID(), "")
		if err != nil {
			return err
		}
		size += rsp.GetWorkflowExecutionInfo().GetHistorySizeBytes()
	}
	fewest, most := 1<<30, 0
	for _, times := range seen.polls {
		fewest, most = min(fewest, len(times)), max(most, len(times))
	}
	longest := 0
	for n := range lengths {
		longest = max(longest, n)
	}
	failed.claim(longest <= 23, "histories of at most %d events (events: workflows %v) after %d to %d polls, %d bytes on average",
		longest, lengths, fewest, most, size/int64(len(runs)))
	failed.claim(keys == 0, "the API key is in %d events", keys)
	failed.claim(len(links) == 2 && links["ActivityTaskCompleted"] == workflows && links["ActivityTaskScheduled"] == workflows,
		"the link to the export is in these events: %v", links)
	return nil
}

// cpuTime returns the CPU time of this process.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
