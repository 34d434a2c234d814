package batch

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/retry"
	"github.com/gamma-sdk/gamma-go/poller"
)

const (
	defaultCreates = 4
	maxCreates     = 64
	downloads      = 4
	freshLinks     = 3               // downloads that are tried, each with another link
	firstAlone     = 2 * time.Second // how long the others wait for the first response to a create
	maxUseless     = 3               // creates in a row without a usable response

	defaultFirstPoll = 20 * time.Second
	defaultTimeout   = time.Hour
)

func (b *Batch) journalPath() string {
	if b.Journal != "" {
		return b.Journal
	}
	return filepath.Join(b.Dir, "gamma.jsonl")
}

// server returns what the client sends requests to.
func (b *Batch) server() string {
	if b.Client == nil || b.Client.ClientWithResponses == nil {
		return ""
	}
	if client, ok := b.Client.ClientInterface.(*api.Client); ok {
		return strings.TrimSuffix(client.Server, "/")
	}
	return ""
}

func (b *Batch) check(inputs iter.Seq[Input]) error {
	switch {
	case inputs == nil:
		return errors.New("gamma: batch: nil inputs")
	case b.Creates < 0 || b.Creates > maxCreates:
		return fmt.Errorf("gamma: batch: Creates is not 0 to %d", maxCreates)
	}
	return nil
}

// run is one call of Run. Inputs go from pull to make, wait and save, which have separate
// goroutines; any of them may yield the result.
type run struct {
	*Batch
	journal *journal
	poller  *poller.Poller
	inputs  iter.Seq[Input]

	ctx     context.Context // ends everything
	end     context.CancelFunc
	pulling context.Context // ends what starts anything: pulling, pauses, polls
	stop    context.CancelCauseFunc
	making  context.Context // ends creates that are not in flight
	enough  context.CancelCauseFunc

	heard   chan struct{} // closed after the first response to a create
	hear    func()
	creates chan *job
	waits   chan poller.Progress
	saves   chan *job
	results chan Result

	useless atomic.Int64 // creates in a row without a usable response

	mu       sync.Mutex
	waited   map[string][]*job // by id
	panicked any
	last     error // of the run itself
}

// start opens the journal for a run.
func (b *Batch) start(ctx context.Context, inputs iter.Seq[Input]) (*run, error) {
	err := b.check(inputs)
	if err == nil && b.Client == nil {
		err = errors.New("gamma: batch: nil Client")
	}
	if err != nil {
		return nil, err
	}
	r := &run{
		Batch: b, poller: b.Poller, inputs: inputs, waited: map[string][]*job{},
		creates: make(chan *job), waits: make(chan poller.Progress), saves: make(chan *job), results: make(chan Result),
	}
	if r.poller == nil {
		r.poller = poller.New(b.Client)
		r.poller.FirstPoll, r.poller.Timeout = defaultFirstPoll, defaultTimeout
	}
	for result := range r.poller.All(ctx, poller.IDs()) {
		if ctx.Err() == nil {
			return nil, result.Err // of its settings, before anything is created
		}
	}
	if r.journal, err = openJournal(b.journalPath(), b.server()); err != nil {
		return nil, err
	}
	r.heard = make(chan struct{})
	r.hear = sync.OnceFunc(func() { close(r.heard) })
	r.ctx, r.end = context.WithCancel(ctx)
	r.pulling, r.stop = context.WithCancelCause(r.ctx)
	r.making, r.enough = context.WithCancelCause(r.pulling)
	select {
	case <-b.stopped():
		r.stop(bare{ErrStopped})
	default:
	}
	return r, nil
}

// loop starts the goroutines, and yields until they have ended.
func (r *run) loop(yield func(Result) bool) {
	var making, saving, all sync.WaitGroup
	making.Go(func() { r.guard(r.pull) })
	for i := range cmp.Or(r.Creates, defaultCreates) {
		making.Go(func() {
			if i > 0 { // the first response tells the rate limit
				select {
				case <-r.heard:
				case <-time.After(firstAlone):
				}
			}
			defer r.hear()
			r.guard(r.make)
		})
	}
	for range downloads {
		saving.Go(func() {
			for j := range r.saves {
				r.guard(func() { r.save(j) }) // and take the next one after a panic: wait sends them all
			}
		})
	}
	all.Go(func() { making.Wait(); close(r.waits) })
	all.Go(func() { r.guard(r.wait); close(r.saves); saving.Wait() })
	go func() { all.Wait(); close(r.results) }()
	go func() {
		select {
		case <-r.stopped():
			r.stop(bare{ErrStopped})
		case <-r.ctx.Done():
		}
	}()
	defer r.journal.close()
	defer func() {
		r.end()
		for range r.results { // also when the loop body panics
		}
		if r.panicked != nil {
			panic(r.panicked)
		}
	}()
	for result := range r.results {
		if !yield(result) {
			return
		}
	}
	if r.last != nil && r.panicked == nil {
		yield(Result{Err: r.last})
	}
}

// guard runs f, and keeps a panic for the caller of Run.
func (r *run) guard(f func()) {
	defer func() {
		if p := recover(); p != nil {
			r.mu.Lock()
			r.panicked = p
			r.mu.Unlock()
			r.end()
		}
	}()
	f()
}

// tell calls OnEvent. A panic must not leave the request that waits in the rate limit.
func (r *run) tell(e Event) {
	if r.OnEvent != nil {
		r.guard(func() { r.OnEvent(e) })
	}
}

// yield ends j.
func (r *run) yield(j *job, err error) {
	r.results <- Result{Key: j.key, GenerationID: j.id, Warnings: j.warnings, Generation: j.gen, Earlier: j.action == Leave, Err: err}
}

// pull hands each input to where it has to go.
func (r *run) pull() {
	defer close(r.creates)
	if r.pulling.Err() == nil {
		r.pullAll(r.keeper(r.journal))
	}
	if r.pulling.Err() != nil {
		r.last = &becauseError{"ended before all inputs were pulled", retry.Canceled(r.pulling)}
	}
}

// pullAll ends early when pulling has ended.
func (r *run) pullAll(k *keeper) {
	for in := range r.inputs {
		switch j := k.decide(in); {
		case j.action == Refuse || j.action == Leave:
			r.yield(j, j.err)
		case j.action == Skip, j.action == Wait && r.NoWait:
			result := Result{Key: j.key, GenerationID: j.id, Warnings: j.warnings, Generation: j.gen, Earlier: true}
			if j.action == Skip {
				result.Saved = j.path(r.Dir)
			}
			r.results <- result
		case j.action == Wait:
			// A first poll after the timeout would end the wait without one; a time ahead of the
			// clock is wrong.
			if p := r.poller; j.nextPoll.IsZero() && j.since.Before(time.Now()) && (p.Timeout <= 0 || p.FirstPoll < p.Timeout) {
				j.nextPoll = j.since.Add(r.poller.FirstPoll)
			}
			r.waitFor(j)
		default:
			select {
			case r.creates <- j:
			case <-r.making.Done():
				r.yield(j, r.notCreated())
			}
		}
		if r.pulling.Err() != nil {
			return
		}
	}
}

// notCreated is why no more creates are sent.
func (r *run) notCreated() error {
	cause := context.Cause(r.making)
	if r.ctx.Err() != nil {
		cause = retry.Canceled(r.making)
	}
	return &becauseError{"not created", cause}
}

// make creates generations.
func (r *run) make() {
	for j := range r.creates {
		if r.making.Err() != nil {
			r.yield(j, r.notCreated())
			continue
		}
		if err := r.create(j); err != nil {
			r.yield(j, err)
			continue
		}
		if r.NoWait {
			r.yield(j, nil)
			continue
		}
		r.waitFor(j)
	}
}

// create creates j, and returns once its id is in the journal, or an error.
func (r *run) create(j *job) error {
	defer r.hear()
	inFlight := false
	pauses := &retry.Pauses{
		Context: r.making,
		Send: func() error {
			r.tell(Event{Key: j.key, Step: Creating})
			if err := r.making.Err(); err != nil {
				return err
			}
			err := r.add(line{Key: j.key, State: sent, Request: j.hash})
			inFlight = err == nil
			return err
		},
		Tell: func(err error, pause time.Duration) {
			if inFlight {
				r.hear()
				inFlight = false
				_ = r.add(line{Key: j.key, State: refused})
			}
			if r.making.Err() == nil {
				r.tell(Event{Key: j.key, Step: Pausing, Pause: pause, Err: err})
			}
		},
	}
	ctx := pauses.With(r.ctx)
	var made gamma.Created
	var err error
	if j.template != nil {
		made, err = r.Client.CreateFromTemplateGeneration(ctx, *j.template)
	} else {
		made, err = r.Client.CreateGeneration(ctx, *j.text)
	}
	j.id, j.warnings = made.GenerationID, made.Warnings
	outcome := line{Key: j.key, State: refused}
	if err != nil {
		outcome.Message = retry.Inner(err)
	}
	var response *gamma.APIError
	switch {
	case !inFlight && r.making.Err() != nil:
		return r.notCreated()
	case j.id != "": // also with an error: the response was cut off after it
		outcome = line{Key: j.key, State: created, ID: j.id, Warnings: j.warnings}
		err = nil
		r.useless.Store(0)
	case errors.Is(err, gamma.ErrMaybeCreated):
		outcome.State = uncertain
		r.noUse()
	case errors.Is(err, gamma.ErrUnauthorized), errors.Is(err, gamma.ErrInsufficientCredits):
		r.enough(bare{err})
	case errors.As(err, &response):
		r.useless.Store(0)
	default: // it was not sent
		r.noUse()
	}
	if !inFlight {
		return err
	}
	if lost := r.add(outcome); lost != nil && j.id != "" {
		return &becauseError{"the generation " + j.id + " was created, but its id could not be saved", lost}
	}
	if err == nil {
		r.tell(Event{Key: j.key, GenerationID: j.id, Step: Created})
	}
	return err
}

// noUse ends the creates when several in a row had no usable response.
func (r *run) noUse() {
	if r.useless.Add(1) == maxUseless {
		r.enough(errOutage)
	}
}

// add adds a line to the journal. When that fails, nothing more is created.
func (r *run) add(l line) error {
	err := r.journal.add(l)
	if err != nil {
		r.enough(bare{err})
	}
	return err
}

// waitFor hands j to wait.
func (r *run) waitFor(j *job) {
	j.text, j.template = nil, nil // of a hundred thousand they would fill the memory
	r.mu.Lock()
	r.waited[j.id] = append(r.waited[j.id], j)
	r.mu.Unlock()
	r.tell(Event{Key: j.key, GenerationID: j.id, Step: Waiting})
	select {
	case r.waits <- poller.Progress{ID: j.id, Export: j.file != "", NextPoll: j.nextPoll}:
	case <-r.pulling.Done():
		if r.take(j.id) != nil {
			r.yield(j, r.notWaitedFor())
		}
	}
}

// take returns a job that waits for id, nil if there is none any more.
func (r *run) take(id string) *job {
	r.mu.Lock()
	defer r.mu.Unlock()
	jobs := r.waited[id]
	if len(jobs) == 0 {
		return nil
	}
	if r.waited[id] = jobs[:len(jobs)-1]; len(jobs) == 1 {
		delete(r.waited, id)
	}
	return jobs[len(jobs)-1]
}

func (r *run) notWaitedFor() error {
	return &becauseError{"not waited for", retry.Canceled(r.pulling)}
}

// wait waits for generations.
func (r *run) wait() {
	for result := range r.poller.All(r.pulling, poller.FromChan(r.pulling, r.waits)) {
		if j := r.take(result.ID); j != nil { // nil: waits may have had more
			r.ended(j, result)
		}
	}
	r.mu.Lock()
	ids := slices.Collect(maps.Keys(r.waited))
	r.mu.Unlock()
	for _, id := range ids { // sent to the poller, which ended before it took them
		for j := r.take(id); j != nil; j = r.take(id) {
			r.yield(j, r.notWaitedFor())
		}
	}
}

// ended records the end of the wait for j, and yields j or hands it to save.
func (r *run) ended(j *job, result poller.Result) {
	var unfinished *poller.WaitError
	if !errors.As(result.Err, &unfinished) || errors.Is(result.Err, poller.ErrNoExport) {
		j.gen = result.Generation
	}
	l, err := outcome(j, result), result.Err
	if err == nil {
		err = j.inTheWay(r.Dir) // it may have come since the start
	}
	if err == nil {
		l.File = j.file
	}
	if e := r.add(l); err == nil {
		err = e
	}
	if err != nil || j.file == "" {
		r.yield(j, err)
		return
	}
	r.saves <- j
}

// outcome is the line for the end of a wait.
func outcome(j *job, result poller.Result) line {
	l := line{Key: j.key, State: completed}
	var failure *poller.FailedError
	switch err := result.Err; {
	case err == nil:
		l.Generation = withoutLink(result.Generation)
	case errors.As(err, &failure):
		l.State, l.Message, l.StatusCode = failed, failure.Message, failure.StatusCode
		l.Generation = withoutLink(result.Generation)
	case errors.Is(err, gamma.ErrNotFound):
		l.State = lost
	default:
		l.State, l.NextPoll = waiting, result.NextPoll
	}
	return l
}

// withoutLink returns gen as JSON without the link to its export, which opens the file to
// anyone.
func withoutLink(gen *api.GenerationStatusResponse) json.RawMessage {
	c := *gen
	c.ExportURL = ""
	data, err := json.Marshal(c)
	if err != nil {
		return nil // not of a type that came as JSON
	}
	return data
}

// save saves the export of j.
func (r *run) save(j *job) {
	path := j.path(r.Dir)
	if err := r.download(j, path); err != nil {
		r.yield(j, err)
		return
	}
	err := r.add(line{Key: j.key, State: saved})
	r.results <- Result{Key: j.key, GenerationID: j.id, Warnings: j.warnings, Generation: j.gen, Saved: path, Err: err}
}

func (r *run) download(j *job, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil { //nolint:gosec // the umask is the user's
		return &becauseError{"not saved", err}
	}
	ctx, cancel := context.WithCancelCause(r.ctx)
	defer cancel(nil)
	pauses := &retry.Pauses{
		Context: ctx,
		Tell: func(err error, pause time.Duration) {
			if r.pulling.Err() != nil {
				cancel(context.Cause(r.pulling)) // no further request
			} else if pause >= time.Second {
				r.tell(Event{Key: j.key, GenerationID: j.id, Step: Pausing, Pause: pause, Err: err})
			}
		},
	}
	for try := 1; ; try++ {
		if r.pulling.Err() != nil {
			return &becauseError{"not saved", retry.Canceled(r.pulling)}
		}
		r.tell(Event{Key: j.key, GenerationID: j.id, Step: Saving})
		err := r.Client.DownloadFile(pauses.With(ctx), j.gen.ExportURL, path)
		if !errors.Is(err, gamma.ErrLinkExpired) || try == freshLinks {
			return err
		}
		gen, err := r.poller.WaitExport(r.pulling, j.id)
		if err != nil {
			return err
		}
		j.gen = gen
	}
}

// becauseError is what did not happen, and why.
type becauseError struct {
	what string
	err  error
}

func (e *becauseError) Error() string { return "gamma: batch: " + e.what + ": " + retry.Inner(e.err) }

func (e *becauseError) Unwrap() error { return e.err }

var errOutage = fmt.Errorf("%d creates in a row had no usable response", maxUseless)

// bare is an error for the middle of a text.
type bare struct{ error }

func (e bare) Error() string { return retry.Inner(e.error) }

func (e bare) Unwrap() error { return e.error }
