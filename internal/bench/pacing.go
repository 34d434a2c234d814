package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/aws/smithy-go/waiter"
	"github.com/cenkalti/backoff/v5"

	"github.com/gamma-sdk/gamma-go/poller"
)

// plan is what happens in the world: how many generations are created within the
// first second, and what the key may spend.
type plan struct {
	Jobs   int
	Budget int // requests per 10 seconds, 0 for no limit

	// Aligned has the windows of the budget follow the clock. Otherwise each
	// opens with its first request.
	Aligned bool
}

const (
	// latency is the way to the server and back.
	latency = 50 * time.Millisecond

	budgetWindow = 10 * time.Second
)

// world is the API in virtual time.
type world struct {
	plan
	start    time.Time
	created  []time.Duration // like all that follow, since the start
	finished []time.Duration

	mu       sync.Mutex
	window   window
	requests []time.Duration
	refused  int
	late     []time.Duration
	known    time.Duration
}

func newWorld(p plan) *world {
	w := &world{plan: p, start: time.Now(), window: window{limit: p.Budget, aligned: p.Aligned}}
	// Lognormal: the median is 75 s, the 95th percentile 180 s.
	const z95 = 1.6448536269514722
	sigma := math.Log(180.0/75) / z95
	random := rand.New(rand.NewPCG(3, 10_000)) //nolint:gosec // the same durations in every run
	for i := range p.Jobs {
		created := time.Duration(i) * time.Second / time.Duration(p.Jobs)
		lasts := time.Duration(75 * math.Exp(sigma*random.NormFloat64()) * float64(time.Second))
		w.created, w.finished = append(w.created, created), append(w.finished, created+lasts)
	}
	return w
}

// window is a fixed window of requests.
type window struct {
	limit, used int
	aligned     bool
	end         time.Duration
}

// take spends one request, or says when there will be more.
func (w *window) take(now time.Duration) (ok bool, wait time.Duration) {
	if w.limit == 0 {
		return true, 0
	}
	if now >= w.end {
		w.used, w.end = 0, now+budgetWindow
		if w.aligned {
			w.end = now.Truncate(budgetWindow) + budgetWindow
		}
	}
	if w.used == w.limit {
		return false, w.end - now
	}
	w.used++
	return true, 0
}

// RoundTrip answers a poll. Of the budget, clients see what the issue allows them
// to: what is left of it, and when to come back, in whole seconds.
func (w *world) RoundTrip(req *http.Request) (*http.Response, error) {
	i, err := index(req)
	if err != nil {
		return nil, err
	}
	time.Sleep(latency / 2)
	now := time.Since(w.start)
	status := "pending"
	if now >= w.finished[i] {
		status = "completed"
	}
	rsp := ok(req, `{"generationId":"`+req.URL.Path[len(path):]+`","status":"`+status+`"}`)
	w.mu.Lock()
	w.requests = append(w.requests, now)
	granted, wait := w.window.take(now)
	if w.Budget > 0 {
		rsp.Header.Set("X-Ratelimit-Remaining-Burst", strconv.Itoa(w.Budget-w.window.used))
	}
	if !granted {
		w.refused++
		rsp.StatusCode, rsp.Status = http.StatusTooManyRequests, "429 Too Many Requests"
		rsp.Header.Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	}
	w.mu.Unlock()
	time.Sleep(latency / 2)
	return rsp, nil
}

// ids yields the ids as they are created.
func (w *world) ids(yield func(string) bool) {
	i := 0
	for id := range ids(w.Jobs) {
		time.Sleep(time.Until(w.start.Add(w.created[i])))
		i++
		if !yield(id) {
			return
		}
	}
}

// learned notes that the program knows by now that a generation has finished.
func (w *world) learned(id string) error {
	i, err := strconv.Atoi(id[len("gen"):])
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known = time.Since(w.start)
	if w.known < w.finished[i] {
		return errors.New(id + " is known too early")
	}
	w.late = append(w.late, w.known-w.finished[i])
	return nil
}

// strategy is a way to wait for all of a world's generations.
type strategy struct {
	name string
	run  func(context.Context, *world) error
}

// strategies are the ways to wait, but for the oracle's.
var strategies = []strategy{
	{"vendor docs' loop, 5 s", each(docsSample)},
	{"the same, with the docs' advice on 429", each(docsLoop)},
	{"5 s flat, headers not read", each(flatLoop)},
	{"AWS waiter, 5 s to 120 s", each(awsWaiter)},
	{"azcore, 30 s", each(azcoreWait)},
	{"exponential 1.5×, 5 s to 60 s", each(exponential)},
	{"gamma-go, a `Wait` for each", waitForEach},
	{"gamma-go `All`", waitForAll(0)},
	{"gamma-go `All`, first poll after 20 s", waitForAll(20 * time.Second)},
}

// each waits in a goroutine for each generation, from its creation on.
func each(wait func(context.Context, http.RoundTripper, string) error) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		errs := make(chan error, w.Jobs)
		var all sync.WaitGroup
		for id := range w.ids {
			all.Go(func() {
				err := wait(ctx, w, id)
				if err == nil {
					err = w.learned(id)
				}
				errs <- err
			})
		}
		all.Wait()
		close(errs)
		var err error
		for e := range errs {
			err = errors.Join(err, e)
		}
		return err
	}
}

// seen is what the hand-written loops see of an answer.
type seen struct {
	code       int
	status     string
	remaining  int // -1 when the answer does not say
	retryAfter time.Duration
}

func (s seen) done() bool { return s.status == "completed" || s.status == "failed" }

func look(ctx context.Context, transport http.RoundTripper, id string) (seen, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, imagined+path+id, nil)
	if err != nil {
		return seen{}, err
	}
	rsp, err := transport.RoundTrip(req)
	if err != nil {
		return seen{}, err
	}
	defer func() { _ = rsp.Body.Close() }()
	s := seen{code: rsp.StatusCode, remaining: -1}
	if n, err := strconv.Atoi(rsp.Header.Get("X-Ratelimit-Remaining-Burst")); err == nil {
		s.remaining = n
	}
	if n, err := strconv.Atoi(rsp.Header.Get("Retry-After")); err == nil {
		s.retryAfter = time.Duration(n) * time.Second
	}
	if s.code != http.StatusOK {
		return s, nil
	}
	text, err := io.ReadAll(rsp.Body)
	if err != nil {
		return s, err
	}
	var gen struct{ Status string }
	err = json.Unmarshal(text, &gen)
	s.status = gen.Status
	return s, err
}

// docsLoop is the loop of the vendor's documentation with all of its advice: 15 s
// between polls while fewer than 100 requests are left; after a 429 a pause of 30 s,
// then exponential backoff if it repeats, here up to two minutes.
func docsLoop(ctx context.Context, transport http.RoundTripper, id string) error {
	pause, limited := 5*time.Second, 30*time.Second
	for {
		time.Sleep(pause)
		s, err := look(ctx, transport, id)
		if err != nil || s.done() {
			return err
		}
		if s.code == http.StatusTooManyRequests {
			pause, limited = limited, min(2*limited, 2*time.Minute)
			continue
		}
		pause, limited = docsPause(s), 30*time.Second
	}
}

// docsSample is docsLoop as the documentation's code has it: of the 429 only the
// text beside it speaks.
func docsSample(ctx context.Context, transport http.RoundTripper, id string) error {
	pause := 5 * time.Second
	for {
		time.Sleep(pause)
		s, err := look(ctx, transport, id)
		if err != nil || s.done() {
			return err
		}
		pause = docsPause(s)
	}
}

// flatLoop polls every 5 s, whatever the answers say.
func flatLoop(ctx context.Context, transport http.RoundTripper, id string) error {
	for {
		time.Sleep(5 * time.Second)
		if s, err := look(ctx, transport, id); err != nil || s.done() {
			return err
		}
	}
}

func docsPause(s seen) time.Duration {
	if s.remaining >= 0 && s.remaining < 100 {
		return 15 * time.Second
	}
	return 5 * time.Second
}

// awsWaiter is the loop that the AWS SDK for Go v2 generates for each of its
// waiters, with the SDK's own delays. A 429 counts as not there yet.
func awsWaiter(ctx context.Context, transport http.RoundTripper, id string) error {
	const least, most, remaining = 5 * time.Second, 120 * time.Second, time.Hour
	for attempt := int64(1); ; attempt++ {
		if s, err := look(ctx, transport, id); err != nil || s.done() {
			return err
		}
		delay, err := waiter.ComputeDelay(attempt, least, most, remaining)
		if err != nil {
			return err
		}
		time.Sleep(delay)
	}
}

// azcoreWait is azcore's own Poller and retries. When it gives up on a 429, the
// program begins again after the same pause.
func azcoreWait(ctx context.Context, transport http.RoundTripper, id string) error {
	pipeline := azcorePipeline(transport)
	for {
		p, err := azcorePoller(pipeline, id)
		if err != nil {
			return err
		}
		if _, err = p.PollUntilDone(ctx, nil); err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		time.Sleep(30 * time.Second)
	}
}

// exponential is cenkalti/backoff, which grows by 1.5 by default, and obeys
// Retry-After.
func exponential(ctx context.Context, transport http.RoundTripper, id string) error {
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.MaxInterval = 5*time.Second, 60*time.Second
	_, err := backoff.Retry(ctx, func() (string, error) {
		s, err := look(ctx, transport, id)
		switch {
		case err != nil:
			return "", backoff.Permanent(err)
		case s.done():
			return s.status, nil
		case s.retryAfter > 0:
			return "", backoff.RetryAfter(int(s.retryAfter / time.Second))
		}
		return "", errors.New(s.status)
	}, backoff.WithBackOff(pauses), backoff.WithMaxElapsedTime(0))
	return err
}

// newPoller returns a Poller without a limit of time, as no other way has one.
func newPoller(w *world) (*poller.Poller, error) {
	client, err := newGamma(imagined, w)
	p := poller.New(client)
	p.Timeout = -1
	return p, err
}

func waitForEach(ctx context.Context, w *world) error {
	p, err := newPoller(w)
	if err != nil {
		return err
	}
	return each(func(ctx context.Context, _ http.RoundTripper, id string) error {
		_, err := p.Wait(ctx, id)
		return err
	})(ctx, w)
}

func waitForAll(first time.Duration) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		p, err := newPoller(w)
		if err != nil {
			return err
		}
		p.FirstPoll = first
		for gen, err := range p.All(ctx, w.ids) {
			if err != nil {
				return err
			}
			if err := w.learned(gen.GenerationID); err != nil {
				return err
			}
		}
		return nil
	}
}

// paced is how a way to wait did in a world.
type paced struct {
	Name     string
	Mean     time.Duration // from completion until the program knows
	P95      time.Duration
	Requests float64 // per generation
	Busiest  int     // requests in the busiest second, wherever it begins
	Refused  int
	Known    time.Duration // when the last one was known
}

// result sums up the world after a run.
func (w *world) result(name string) (paced, error) {
	if len(w.late) != w.Jobs {
		return paced{}, fmt.Errorf("%s: %d of %d generations are known", name, len(w.late), w.Jobs)
	}
	r := paced{Name: name, Requests: float64(len(w.requests)) / float64(w.Jobs), Refused: w.refused, Known: w.known}
	slices.Sort(w.late)
	r.P95 = w.late[len(w.late)*95/100]
	for _, d := range w.late {
		r.Mean += d / time.Duration(len(w.late))
	}
	slices.Sort(w.requests)
	first := 0
	for i, at := range w.requests {
		for at-w.requests[first] >= time.Second {
			first++
		}
		r.Busiest = max(r.Busiest, i-first+1)
	}
	return r, nil
}

// oracle polls each generation once, when it has finished, or as soon after that
// as the budget allows.
func oracle(p plan) (paced, error) {
	w := newWorld(p)
	finished := slices.Sorted(slices.Values(w.finished))
	var arrival time.Duration
	for _, at := range finished {
		arrival = max(arrival, at)
		if granted, wait := w.window.take(arrival); !granted {
			arrival += wait
			w.window.take(arrival)
		}
		w.requests = append(w.requests, arrival)
		w.known = arrival + latency/2
		w.late = append(w.late, w.known-at)
	}
	return w.result("an oracle that knows when each finishes")
}

// plans are the worlds of the question, without and with a budget.
func plans(jobs int) []plan { return []plan{{Jobs: jobs}, {Jobs: jobs, Budget: jobs / 10}} }

// pacing answers how late the ways to wait are, and what they ask of the API. The
// figures are made by TestPacing: virtual time is there in tests only.
func pacing(ctx context.Context, s scale) ([]table, error) {
	jobs := pick(s, 10_000, 500)
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "pacing.json")
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^TestPacing$", "-count", "1", "-timeout", "20m", ".", "-args", "-pacing", file, "-jobs", strconv.Itoa(jobs)) //nolint:gosec // no input
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	text, err := os.ReadFile(file) //nolint:gosec // just made
	if err != nil {
		return nil, err
	}
	var results [][]paced
	if err := json.Unmarshal(text, &results); err != nil {
		return nil, err
	}
	var tables []table
	for i, p := range plans(jobs) {
		tables = append(tables, pacingTable(p, results[i]))
	}
	return tables, nil
}

// pacingTable has the oracle's result first.
func pacingTable(p plan, results []paced) table {
	t := table{
		title: fmt.Sprintf("Pacing %s generations, no budget", number(float64(p.Jobs), 0)),
		head:  []string{"", "mean lateness, s", "95 %, s", "requests per generation", "busiest second", "429", "all known after, s", "ratio to the oracle"},
		note: "In virtual time: created within a second, they last as long as a lognormal distribution says with median 75 s and 95th percentile 180 s; an answer takes 50 ms. " +
			"Lateness is from the completion until the program knows.",
	}
	if p.Budget > 0 {
		t.title = fmt.Sprintf("Pacing %s generations, a budget of %s requests per 10 s", number(float64(p.Jobs), 0), number(float64(p.Budget), 0))
		t.note = "As above, with a fixed window that opens with its first request. Clients see only `x-ratelimit-remaining-burst` and, with a 429, `Retry-After` in whole seconds."
	}
	for _, r := range results {
		t.rows = append(t.rows, []string{
			r.Name,
			number(r.Mean.Seconds(), 1),
			number(r.P95.Seconds(), 1),
			number(r.Requests, 1),
			number(float64(r.Busiest), 0),
			number(float64(r.Refused), 0),
			number(r.Known.Seconds(), 0),
			number(r.Known.Seconds()/results[0].Known.Seconds(), 3),
		})
	}
	return t
}
