package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/retry"
	"github.com/gamma-sdk/gamma-go/internal/test/sample"
	"github.com/gamma-sdk/gamma-go/poller"
)

// scenario is a load on one API key, a way to wait for the generations, and the bars for
// the result.
type scenario struct {
	name string
	slow bool // too slow for the tests

	jobs  int                             // generations
	batch int                             // created at once; 0 means 1
	every time.Duration                   // between the batches
	lasts func(*rand.Rand) time.Duration  // nil means usual
	rtt   [2]time.Duration                // the shortest and the longest round trip; 0 means usualRTT
	limit func() (polls, creates limiter) // the same one if the operations share it

	way     way
	calls   int           // among which the generations are divided; 0 means 1
	shared  string        // what the calls have in common, or empty
	creates bool          // the generations are created through the client
	refused time.Duration // when to send a create that gets a 429; 0 means never
	timeout time.Duration // of the Poller, and of check
	first   time.Duration // FirstPoll

	rate float64 // what the limiter accepts per second, to compute how much of it is used
	bars bars
}

const (
	onePoller = "a Poller"
	oneClient = "a client"
)

// bars are limits for the figures of a run. A zero value is no limit.
type bars struct {
	lost     bool          // no generation is lost
	mean     time.Duration // lateness
	requests float64       // per generation
	busiest  int           // requests in one second
	refused  int           // responses 429
	part     float64       // of the requests that get a 429
	perGood  float64       // responses 429 for each good one
	silence  time.Duration
	used     float64 // of the rate, at least
	pauses   int
	docs     bool    // not later than the documentation's loop
	oracle   float64 // time until all are known, divided by the oracle's
	created  bool    // all are created
	turns    bool    // each of two calls has 40 to 60 % of the polls
}

// figures are the results of a run.
type figures struct {
	Name     string
	Jobs     int
	Known    int
	Lost     int           // finished at least two seconds before the timeout, but not known
	LostBy   string        // the error of the first that was lost
	Natural  int           // finished after the timeout
	Unended  int           // waits without a result
	Wrong    []string      // results that are impossible
	Mean     time.Duration // lateness, from the completion until the program knows
	P95      time.Duration
	Last     time.Duration // when the last one was known
	Requests float64       // per generation
	Busiest  int           // requests in the busiest second, at any offset
	Good     int           // polls
	Refused  int
	Silence  time.Duration // the longest time without a good poll while something is waiting
	SilentAt time.Duration // when that started
	Spent    string        // which windows had nothing remaining, and since when
	Used     float64       // part of the rate, while there are enough generations to use it
	Pauses   int           // after a 429, in ten minutes
	Created  int
	Slowest  time.Duration // create
	Share    float64       // of the polls that the first of two calls had
	Docs     time.Duration // mean lateness of the documentation's loop
	Best     time.Duration // when the oracle knows the last one
}

// world is a fake of the API in virtual time. Its times are since the start of the run.
type world struct {
	*scenario
	polls, posts limiter
	start        time.Time

	mu          sync.Mutex
	rtts        *rand.Rand
	lengths     *rand.Rand // of the generations: the same in every run
	generations []generation
	late        []time.Duration
	requests    int
	recent      []time.Duration // requests of the last second
	refusals    []time.Duration
	polled      [2]int        // even and odd generations
	waiting     int           // waits
	quiet       time.Duration // time of the last good response
	pressed     time.Duration // since when the demand is above the rate; negative if it is not
	pressedFor  time.Duration
	pressedGood int
	figures     figures
}

type generation struct {
	finished time.Duration
	deadline time.Duration // of the wait
	ended    bool          // the wait
}

var usualRTT = [2]time.Duration{50 * time.Millisecond, 200 * time.Millisecond}

// usual returns a duration of a generation: lognormal with median 60 s and 95th percentile
// 180 s, and at least 15 s.
func usual(r *rand.Rand) time.Duration {
	return max(lognormal(60*time.Second)(r), 15*time.Second)
}

// lognormal returns a distribution with its 95th percentile at 180 s.
func lognormal(median time.Duration) func(*rand.Rand) time.Duration {
	const z95 = 1.6448536269514722
	sigma := math.Log(float64(180*time.Second)/float64(median)) / z95
	return func(r *rand.Rand) time.Duration {
		return time.Duration(float64(median) * math.Exp(sigma*r.NormFloat64()))
	}
}

func uniform(least, most time.Duration) func(*rand.Rand) time.Duration {
	return func(r *rand.Rand) time.Duration {
		return least + time.Duration(r.Float64()*float64(most-least))
	}
}

func newWorld(s *scenario) *world {
	w := &world{
		scenario: s,
		start:    time.Now(),
		rtts:     rand.New(rand.NewPCG(1, 10_000)),
		lengths:  rand.New(rand.NewPCG(3, 10_000)),
		pressed:  -1,
	}
	w.polls, w.posts = s.limit()
	if !s.creates {
		for i := range s.jobs {
			w.create(s.creation(i))
		}
	}
	return w
}

// creation returns when generation i is created.
func (s *scenario) creation(i int) time.Duration {
	return time.Duration(i/max(s.batch, 1)) * s.every
}

// maxWait returns the timeout of each wait.
func (s *scenario) maxWait() time.Duration {
	if s.timeout < 0 {
		return math.MaxInt64 / 2
	}
	return cmp.Or(s.timeout, 5*time.Minute)
}

func (w *world) now() time.Duration { return time.Since(w.start) }

// create adds a generation, and returns its position in [ids].
func (w *world) create(now time.Duration) int {
	lasts := w.lasts
	if lasts == nil {
		lasts = usual
	}
	w.generations = append(w.generations, generation{finished: now + lasts(w.lengths), deadline: now + w.maxWait()})
	return len(w.generations) - 1
}

// ids yields the ids of a call's generations as they are created.
func (w *world) ids(call int) iter.Seq[string] {
	return func(yield func(string) bool) {
		i := -1
		for id := range ids(w.jobs) {
			if i++; i%max(w.calls, 1) != call {
				continue
			}
			time.Sleep(time.Until(w.start.Add(w.creation(i))))
			w.mu.Lock()
			w.wait(1)
			w.mu.Unlock()
			if !yield(id) {
				return
			}
		}
	}
}

// createdIDs creates the generations through the client, each in a goroutine, and
// yields their ids.
func (w *world) createdIDs(ctx context.Context, client *gamma.Client) iter.Seq[string] {
	created := make(chan string)
	create := func() {
		start := time.Now()
		c, err := client.CreateGeneration(ctx, validRequest())
		w.mu.Lock()
		w.figures.Slowest = max(w.figures.Slowest, time.Since(start))
		if err == nil {
			w.figures.Created++
			w.wait(1)
		}
		w.mu.Unlock()
		if err == nil {
			created <- c.GenerationID
		}
	}
	go func() {
		var all sync.WaitGroup
		for i := range w.jobs {
			time.Sleep(time.Until(w.start.Add(w.creation(i))))
			all.Go(create)
		}
		all.Wait()
		close(created)
	}()
	return func(yield func(string) bool) {
		for id := range created {
			if !yield(id) {
				return
			}
		}
	}
}

var validRequest = sync.OnceValue(func() api.GenerationRequest {
	return sample.Request(sample.New(gamma.OpenAPI()), "createGeneration", api.GenerationRequest{InputText: "x"})
})

// wait adds n to the number of waits.
func (w *world) wait(n int) {
	now := w.now()
	if w.waiting == 0 {
		w.quiet = now
	}
	if w.waiting += n; w.waiting == 0 {
		w.hear(now)
	}
	// Each would be polled every 5 to 6 seconds if it could.
	switch pressed := w.rate > 0 && float64(w.waiting)/6 >= w.rate; {
	case pressed && w.pressed < 0:
		w.pressed = now
	case !pressed && w.pressed >= 0:
		w.pressedFor += now - w.pressed
		w.pressed = -1
	}
}

// hear ends a silence.
func (w *world) hear(now time.Duration) {
	if silence := now - w.quiet; silence > w.figures.Silence {
		w.figures.Silence, w.figures.SilentAt = silence, w.quiet
	}
	w.quiet = now
}

// ended records the result of a wait.
func (w *world) ended(id string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i, bad := position(id)
	if bad != nil || i >= len(w.generations) || w.generations[i].ended {
		w.figures.Wrong = append(w.figures.Wrong, fmt.Sprintf("an unexpected result: %s, %v", id, err))
		return
	}
	g, now := &w.generations[i], w.now()
	g.ended = true
	w.wait(-1)
	switch {
	case g.finished > g.deadline-2*time.Second: // the last poll is a little before the deadline
		w.figures.Natural++ // even if it is known, from a last Check
	case err != nil:
		if w.figures.Lost++; w.figures.Lost == 1 {
			w.figures.LostBy = err.Error()
		}
	case now < g.finished:
		w.figures.Wrong = append(w.figures.Wrong, id+" is known before it has finished")
	default:
		w.known(now, g.finished)
	}
}

func (w *world) known(now, finished time.Duration) {
	w.figures.Known++
	w.figures.Last = now
	w.late = append(w.late, now-finished)
}

// RoundTrip responds as Gamma does. Clients know the limits from the headers only.
func (w *world) RoundTrip(req *http.Request) (*http.Response, error) {
	rtt := w.rtt
	if rtt[1] == 0 {
		rtt = usualRTT
	}
	w.mu.Lock()
	half := uniform(rtt[0], rtt[1])(w.rtts) / 2
	w.mu.Unlock()
	if !retry.Sleep(req.Context(), half) {
		return nil, req.Context().Err()
	}
	rsp, err := w.respond(req)
	if err == nil && !retry.Sleep(req.Context(), half) {
		return nil, req.Context().Err()
	}
	return rsp, err
}

func (w *world) respond(req *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	w.count(now)
	rsp := ok(req, "")
	if req.Method == http.MethodPost {
		if w.posts.take(now, rsp.Header) > 0 {
			return w.refuse(rsp, now), nil
		}
		return response(req, fmt.Sprintf(`{"generationId":"gen%018d"}`, w.create(now)), rsp.Header), nil
	}
	i, err := index(req)
	if err != nil || i >= len(w.generations) {
		return nil, fmt.Errorf("there is no %s: %w", req.URL.Path, err)
	}
	if w.polls.take(now, rsp.Header) > 0 {
		return w.refuse(rsp, now), nil
	}
	w.figures.Good++
	w.polled[i%2]++
	if w.pressed >= 0 {
		w.pressedGood++
	}
	if w.waiting > 0 {
		w.hear(now)
	}
	status := "pending"
	if now >= w.generations[i].finished {
		status = "completed"
	}
	return response(req, `{"generationId":"`+req.URL.Path[len(path):]+`","status":"`+status+`"}`, rsp.Header), nil
}

// count counts a request.
func (w *world) count(now time.Duration) {
	w.requests++
	w.recent = append(w.recent, now)
	for now-w.recent[0] >= time.Second {
		w.recent = w.recent[1:]
	}
	w.figures.Busiest = max(w.figures.Busiest, len(w.recent))
}

// refuse makes rsp a 429.
func (w *world) refuse(rsp *http.Response, now time.Duration) *http.Response {
	w.refusals = append(w.refusals, now)
	body := `{"message":"Too many requests","statusCode":429}`
	if rsp.Header.Get("Content-Type") == "text/html" {
		body = "<html><head><title>429 Too Many Requests</title></head></html>"
	}
	rsp = response(rsp.Request, body, rsp.Header)
	rsp.StatusCode, rsp.Status = http.StatusTooManyRequests, "429 Too Many Requests"
	return rsp
}

// way waits for the generations of a call, and records how each wait ended.
type way struct {
	name string
	run  func(ctx context.Context, w *world, p *poller.Poller, ids iter.Seq[string])
}

var (
	byAll = way{"All", func(ctx context.Context, w *world, p *poller.Poller, ids iter.Seq[string]) {
		for r := range p.All(ctx, progress(ids)) {
			w.ended(r.ID, r.Err)
		}
	}}
	byWait = way{"Wait", each(func(ctx context.Context, _ *world, p *poller.Poller, id string) error {
		_, err := p.Wait(ctx, id)
		return err
	})}
	byCheck = way{"Check", each(check)}

	// byDocs starts its loops at random times: loops that start together, with round trips
	// of the same length, would get a 429 together again and again.
	byDocs = way{"the docs' loop", each(func(ctx context.Context, w *world, _ *poller.Poller, id string) error {
		w.mu.Lock()
		d := uniform(0, 5*time.Second)(w.rtts)
		w.mu.Unlock()
		time.Sleep(d)
		return docsLoop(ctx, w, id)
	})}
)

// each starts a goroutine for each generation.
func each(wait func(ctx context.Context, w *world, p *poller.Poller, id string) error) func(context.Context, *world, *poller.Poller, iter.Seq[string]) {
	return func(ctx context.Context, w *world, p *poller.Poller, ids iter.Seq[string]) {
		var all sync.WaitGroup
		for id := range ids {
			all.Go(func() { w.ended(id, wait(ctx, w, p, id)) })
		}
		all.Wait()
	}
}

// check is a program with a scheduler: it calls Check for a generation when its NextPoll
// has passed, and gives up after the first poll after the timeout.
func check(ctx context.Context, w *world, p *poller.Poller, id string) error {
	progress := poller.Progress{ID: id}
	for start := time.Now(); ; {
		last := time.Since(start) >= w.maxWait()
		gen, pause, err := p.Check(ctx, &progress)
		switch {
		case err != nil:
			return err
		case gen != nil && pause == 0:
			return nil
		case last && gen != nil:
			return errors.New("timed out")
		}
		time.Sleep(max(pause, time.Until(progress.NextPoll)))
	}
}

// run runs the scenario.
func (w *world) run(ctx context.Context) error {
	var client *gamma.Client
	var p *poller.Poller
	var all sync.WaitGroup
	for call := range max(w.calls, 1) {
		if client == nil || w.shared == "" {
			var err error
			if client, err = newGamma(fakeURL, w); err != nil {
				return err
			}
		}
		if p == nil || w.shared != onePoller {
			p = poller.New(client)
			p.Timeout, p.FirstPoll = w.timeout, w.first
		}
		ids := w.ids(call)
		if w.creates {
			ids = w.createdIDs(ctx, client)
		}
		mine := p
		all.Go(func() { w.way.run(ctx, w, mine, ids) })
	}
	if w.refused > 0 {
		time.Sleep(w.refused)
		if _, err := client.CreateGeneration(ctx, validRequest()); !errors.Is(err, gamma.ErrRateLimited) {
			w.figures.Wrong = append(w.figures.Wrong, fmt.Sprintf("the create did not get a 429: %v", err))
		}
	}
	all.Wait()
	return nil
}

// oracle polls each generation once, when it has finished or as soon after that as the
// limits allow.
func oracle(s *scenario) figures {
	w := newWorld(s)
	slices.SortFunc(w.generations, func(a, b generation) int { return cmp.Compare(a.finished, b.finished) })
	var now time.Duration
	for i := range w.generations {
		g := &w.generations[i]
		now = max(now, g.finished)
		for wait := w.polls.take(now, http.Header{}); wait > 0; wait = w.polls.take(now, http.Header{}) {
			now += wait
		}
		w.count(now)
		g.ended = true
		if known := now + w.rtt[1]/2; known > g.deadline {
			w.figures.Lost++
		} else {
			w.known(known, g.finished)
		}
	}
	return w.result()
}

// result returns the figures after a run.
func (w *world) result() figures {
	f := w.figures
	f.Name, f.Jobs = w.name, w.jobs
	for _, g := range w.generations {
		if !g.ended {
			f.Unended++
		}
	}
	if n := len(w.late); n > 0 {
		slices.Sort(w.late)
		f.P95 = w.late[n*95/100]
		for _, d := range w.late {
			f.Mean += d / time.Duration(n)
		}
	}
	f.Requests = float64(w.requests) / float64(w.jobs)
	f.Refused = len(w.refusals)
	if w.pressedFor > 0 {
		f.Used = float64(w.pressedGood) / w.pressedFor.Seconds() / w.rate
	}
	if w.calls == 2 {
		f.Share = float64(w.polled[0]) / float64(w.polled[0]+w.polled[1])
	}
	var pauses []time.Duration
	for i, at := range w.refusals {
		if i == 0 || at-w.refusals[i-1] > 30*time.Second {
			pauses = append(pauses, at)
			old, _ := slices.BinarySearch(pauses, at-10*time.Minute)
			f.Pauses = max(f.Pauses, len(pauses)-old)
		}
	}
	if limits, ok := w.polls.(*quotas); ok {
		var spent []string
		for _, q := range limits.all {
			if q.exhausted > 0 {
				name := map[string]string{"-Burst": "burst", "": "hour", "-Daily": "day"}[q.suffix]
				spent = append(spent, name+" "+short(q.exhausted))
			}
		}
		f.Spent = strings.Join(spent, ", ")
	}
	return f
}

// short formats d in its largest unit.
func short(d time.Duration) string {
	switch {
	case d >= time.Hour:
		return number(d.Hours(), 1) + " h"
	case d >= time.Minute:
		return number(d.Minutes(), 1) + " min"
	}
	return number(d.Seconds(), 1) + " s"
}

// missed returns the bars that a run missed.
func (f *figures) missed(b bars) []string {
	missed := slices.Clone(f.Wrong)
	check := func(missedIt bool, what string, bar any) {
		if missedIt {
			missed = append(missed, fmt.Sprintf("%s %v", what, bar))
		}
	}
	sent := float64(f.Good + f.Refused)
	check(f.Unended > 0, "waits without a result:", f.Unended)
	check(b.lost && f.Lost > 0, "lost:", f.Lost)
	check(b.mean > 0 && f.Mean > b.mean, "mean lateness above", b.mean)
	check(b.requests > 0 && f.Requests > b.requests, "requests per generation above", b.requests)
	check(b.busiest > 0 && f.Busiest > b.busiest, "requests in a second above", b.busiest)
	check(b.refused > 0 && f.Refused > b.refused, "responses 429 above", b.refused)
	check(b.part > 0 && float64(f.Refused) > b.part*sent, "part of the requests that is refused above", b.part)
	check(b.perGood > 0 && float64(f.Refused) > b.perGood*float64(f.Good), "responses 429 for each good one above", b.perGood)
	check(b.silence > 0 && f.Silence > b.silence, "silent for more than", b.silence)
	check(b.used > 0 && f.Used > 0 && f.Used < b.used, "part of the rate that is used below", b.used)
	check(b.pauses > 0 && f.Pauses > b.pauses, "pauses in ten minutes above", b.pauses)
	// The SDK polls every 5 to 6 seconds, the loop every 5.
	check(b.docs && f.Mean > f.Docs+time.Second, "mean lateness above the docs' loop's,", f.Docs)
	check(b.oracle > 0 && f.Last.Seconds() > b.oracle*f.Best.Seconds(), "time until all are known, in terms of the oracle's, above", b.oracle)
	check(b.created && f.Created < f.Jobs, "created only", f.Created)
	check(b.turns && (f.Share < 0.4 || f.Share > 0.6), "part of the polls of the first call", f.Share)
	return missed
}

// String returns the figures in one line.
func (f *figures) String() string {
	var b strings.Builder
	add := func(yes bool, format string, args ...any) {
		if yes {
			fmt.Fprintf(&b, format, args...)
		}
	}
	add(true, "%s: known %d, lost %d (natural %d), mean %.2f s, 95 %% %.1f s, last %s, %.2f requests each, busiest %d, good %d, 429 %d, silent %s from %s",
		f.Name, f.Known, f.Lost, f.Natural, f.Mean.Seconds(), f.P95.Seconds(), short(f.Last), f.Requests, f.Busiest, f.Good, f.Refused, short(f.Silence), short(f.SilentAt))
	add(f.Spent != "", "; spent: %s", f.Spent)
	add(f.Used > 0, "; used %.0f %%", 100*f.Used)
	add(f.Pauses > 1, "; %d pauses", f.Pauses)
	add(f.Docs > 0, "; the docs' loop %.1f s", f.Docs.Seconds())
	add(f.Best > 0, "; %.3f of the oracle", f.Last.Seconds()/f.Best.Seconds())
	add(f.Created > 0, "; created %d, slowest %s", f.Created, short(f.Slowest))
	add(f.Share > 0, "; the first call has %.0f %% of the polls", 100*f.Share)
	add(f.Lost > 0, "; first lost by %q", f.LostBy)
	return b.String()
}
