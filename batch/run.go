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
	maxLinks       = 3               // export links of an input that are tried
	firstAlone     = 2 * time.Second // how long other creates wait for the response to the first
	maxUnusable    = 3               // creates in a row without a usable response

	defaultFirstPoll = 20 * time.Second
	defaultTimeout   = time.Hour
)

func (b *Batch) journalPath() string {
	if b.Journal != "" {
		return b.Journal
	}
	return filepath.Join(b.Dir, "gamma.jsonl")
}

// server returns the base URL of the client.
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
		return fmt.Errorf("gamma: batch: Creates must be 0 to %d", maxCreates)
	}
	return nil
}

// run is one call of Run. Inputs pass from pull to make, wait and save, which have separate
// goroutines. Any of them may yield the result.
type run struct {
	*Batch
	journal *journal
	poller  *poller.Poller
	inputs  iter.Seq[Input]

	ctx         context.Context // of everything
	end         context.CancelFunc
	pullCtx     context.Context // of what starts requests: pulling, pauses, polls
	stopPulls   context.CancelCauseFunc
	createCtx   context.Context // of creates that are not in flight
	stopCreates context.CancelCauseFunc

	firstResponse chan struct{} // closed after the first response to a create
	markResponse  func()        // closes it

	creates chan *job
	waits   chan poller.Progress
	saves   chan *job
	results chan Result

	unusable atomic.Int64 // creates in a row without a usable response

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
			return nil, result.Err // bad settings of the Poller
		}
	}
	if r.journal, err = openJournal(b.journalPath(), b.server()); err != nil {
		return nil, err
	}
	r.firstResponse = make(chan struct{})
	r.markResponse = sync.OnceFunc(func() { close(r.firstResponse) })
	r.ctx, r.end = context.WithCancel(ctx)
	r.pullCtx, r.stopPulls = context.WithCancelCause(r.ctx)
	r.createCtx, r.stopCreates = context.WithCancelCause(r.pullCtx)
	select {
	case <-b.stopped():
		r.stopPulls(inline{ErrStopped})
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
			if i > 0 { // the first response reports the rate limit
				select {
				case <-r.firstResponse:
				case <-time.After(firstAlone):
				}
			}
			defer r.markResponse()
			r.guard(r.make)
		})
	}
	for range downloads {
		saving.Go(func() {
			for j := range r.saves {
				r.guard(func() { r.save(j) }) // after a panic the next is received, so that wait does not block
			}
		})
	}
	all.Go(func() { making.Wait(); close(r.waits) })
	all.Go(func() { r.guard(r.wait); close(r.saves); saving.Wait() })
	go func() { all.Wait(); close(r.results) }()
	go func() {
		select {
		case <-r.stopped():
			r.stopPulls(inline{ErrStopped})
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

// guard runs f, and keeps a panic for the caller of Run, which is ended.
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

// emit calls OnEvent. It keeps a panic, which must not reach a request that is being counted
// against the rate limit.
func (r *run) emit(e Event) {
	if r.OnEvent != nil {
		r.guard(func() { r.OnEvent(e) })
	}
}

// yield yields the result of j, which has no export.
func (r *run) yield(j *job, err error) {
	r.results <- Result{Key: j.key, GenerationID: j.id, Warnings: j.warnings, Generation: j.gen, Earlier: j.action == Leave, Err: err}
}

// pull passes each input on to its first step.
func (r *run) pull() {
	defer close(r.creates)
	if r.pullCtx.Err() == nil {
		r.pullAll(r.keeper(r.journal))
	}
	if r.pullCtx.Err() != nil {
		r.last = &becauseError{"ended before all inputs were pulled", retry.Canceled(r.pullCtx)}
	}
}

// pullAll returns early when pullCtx is done.
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
			// A first poll after the timeout would end the wait without a poll. A time in the
			// future is wrong.
			if p := r.poller; j.nextPoll.IsZero() && j.since.Before(time.Now()) && (p.Timeout <= 0 || p.FirstPoll < p.Timeout) {
				j.nextPoll = j.since.Add(r.poller.FirstPoll)
			}
			r.waitFor(j)
		default:
			select {
			case r.creates <- j:
			case <-r.createCtx.Done():
				r.yield(j, r.notCreated())
			}
		}
		if r.pullCtx.Err() != nil {
			return
		}
	}
}

// notCreated returns why no more creates are sent.
func (r *run) notCreated() error {
	cause := context.Cause(r.createCtx)
	if r.ctx.Err() != nil {
		cause = retry.Canceled(r.createCtx)
	}
	return &becauseError{"not created", cause}
}

// make creates generations.
func (r *run) make() {
	for j := range r.creates {
		if r.createCtx.Err() != nil {
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
	defer r.markResponse()
	inFlight := false
	pauses := &retry.Pauses{
		Context: r.createCtx,
		Send: func() error {
			r.emit(Event{Key: j.key, Step: Creating})
			if err := r.createCtx.Err(); err != nil {
				return err
			}
			err := r.add(line{Key: j.key, State: sent, Request: j.hash})
			inFlight = err == nil
			return err
		},
		Tell: func(err error, pause time.Duration) {
			if inFlight {
				r.markResponse()
				inFlight = false
				_ = r.add(line{Key: j.key, State: refused})
			}
			if r.createCtx.Err() == nil {
				r.emit(Event{Key: j.key, Step: Pausing, Pause: pause, Err: err})
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
	case !inFlight && r.createCtx.Err() != nil:
		return r.notCreated()
	case j.id != "": // there may be an error: the response was cut off after the id
		outcome = line{Key: j.key, State: created, ID: j.id, Warnings: j.warnings}
		err = nil
		r.unusable.Store(0)
	case errors.Is(err, gamma.ErrMaybeCreated):
		outcome.State = uncertain
		r.countUnusable()
	case errors.Is(err, gamma.ErrUnauthorized), errors.Is(err, gamma.ErrInsufficientCredits):
		r.stopCreates(inline{err})
	case errors.As(err, &response):
		r.unusable.Store(0)
	default: // it was not sent
		r.countUnusable()
	}
	if !inFlight {
		return err
	}
	if lost := r.add(outcome); lost != nil && j.id != "" {
		return &becauseError{"the generation " + j.id + " was created, but its id could not be saved", lost}
	}
	if err == nil {
		r.emit(Event{Key: j.key, GenerationID: j.id, Step: Created})
	}
	return err
}

// countUnusable stops the creates when several in a row had no usable response.
func (r *run) countUnusable() {
	if r.unusable.Add(1) == maxUnusable {
		r.stopCreates(errOutage)
	}
}

// add adds a line to the journal. When that fails, nothing more is created.
func (r *run) add(l line) error {
	err := r.journal.add(l)
	if err != nil {
		r.stopCreates(inline{err})
	}
	return err
}

// waitFor passes j on to wait.
func (r *run) waitFor(j *job) {
	j.text, j.template = nil, nil // no longer needed: a hundred thousand would fill the memory
	r.mu.Lock()
	r.waited[j.id] = append(r.waited[j.id], j)
	r.mu.Unlock()
	r.emit(Event{Key: j.key, GenerationID: j.id, Step: Waiting})
	select {
	case r.waits <- poller.Progress{ID: j.id, Export: j.file != "", NextPoll: j.nextPoll}:
	case <-r.pullCtx.Done():
		if r.take(j.id) != nil {
			r.yield(j, r.notWaitedFor())
		}
	}
}

// take removes and returns a job that waits for id. It returns nil if there is none.
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
	return &becauseError{"not waited for", retry.Canceled(r.pullCtx)}
}

// wait waits for generations.
func (r *run) wait() {
	for result := range r.poller.All(r.pullCtx, poller.FromChan(r.pullCtx, r.waits)) {
		if j := r.take(result.ID); j != nil { // nil for the error of All itself
			r.ended(j, result)
		}
	}
	r.mu.Lock()
	ids := slices.Collect(maps.Keys(r.waited))
	r.mu.Unlock()
	for _, id := range ids { // All ended before it received them
		for j := r.take(id); j != nil; j = r.take(id) {
			r.yield(j, r.notWaitedFor())
		}
	}
}

// ended records the end of the wait for j. It yields the result or passes j on to save.
func (r *run) ended(j *job, result poller.Result) {
	var unfinished *poller.WaitError
	if !errors.As(result.Err, &unfinished) || errors.Is(result.Err, poller.ErrNoExport) {
		j.gen = result.Generation
	}
	l, err := outcome(j, result), result.Err
	if err == nil {
		err = j.inTheWay(r.Dir) // a file may have appeared since the start
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

// outcome returns the journal line for the end of a wait.
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

// withoutLink returns gen as JSON without the link to its export, with which anyone can
// download it.
func withoutLink(gen *api.GenerationStatusResponse) json.RawMessage {
	c := *gen
	c.ExportURL = ""
	data, err := json.Marshal(c)
	if err != nil {
		return nil // cannot happen: gen was JSON
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
			if r.pullCtx.Err() != nil {
				cancel(context.Cause(r.pullCtx)) // no further request
			} else if pause >= time.Second {
				r.emit(Event{Key: j.key, GenerationID: j.id, Step: Pausing, Pause: pause, Err: err})
			}
		},
	}
	for try := 1; ; try++ {
		if r.pullCtx.Err() != nil {
			return &becauseError{"not saved", retry.Canceled(r.pullCtx)}
		}
		r.emit(Event{Key: j.key, GenerationID: j.id, Step: Saving})
		err := r.Client.DownloadFile(pauses.With(ctx), j.gen.ExportURL, path)
		if !errors.Is(err, gamma.ErrLinkExpired) || try == maxLinks {
			return err
		}
		gen, err := r.poller.WaitExport(r.pullCtx, j.id)
		if err != nil {
			return err
		}
		j.gen = gen
	}
}

// becauseError says what did not happen, and why.
type becauseError struct {
	what string
	err  error
}

func (e *becauseError) Error() string { return "gamma: batch: " + e.what + ": " + retry.Inner(e.err) }

func (e *becauseError) Unwrap() error { return e.err }

var errOutage = fmt.Errorf("%d creates in a row had no usable response", maxUnusable)

// inline is an error whose text is used within another text.
type inline struct{ error }

func (e inline) Error() string { return retry.Inner(e.error) }

func (e inline) Unwrap() error { return e.error }
