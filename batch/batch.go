package batch

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

// Input is one generation to make.
type Input struct {
	// Key is the caller's name for it, such as that of a file: 1 to 1,024 bytes of UTF-8.
	// It identifies the input in the journal, and must be unique in a run.
	Key string

	// Request is an [api.GenerationRequest] or an [api.TemplateGenerationRequest], or a
	// pointer to one. Its export is saved if it asks for one.
	Request any

	// File is the path of the export in Dir without its extension, with slashes. Empty
	// means a name made from Key. The extension is pdf, pptx, or zip for png. A file that
	// is there and that the journal does not have for Key, or has for another key since, is
	// an error.
	File string
}

// Result is how one input ended.
type Result struct {
	// Key is that of the input. It is empty only if Err is not about one: bad settings, a
	// journal that cannot be used, or a run that ended before all inputs were pulled.
	Key string

	GenerationID string // whenever it is known, also with an error
	Warnings     string // what Gamma ignored or changed in the request, as in [gamma.Created]

	// Generation is nil unless it has finished. It has no ExportURL if an earlier run
	// has waited for it.
	Generation *api.GenerationStatusResponse

	Saved   string // the path of the export, with Dir; empty if none was saved
	Earlier bool   // nothing was sent: an earlier run had finished it, or with NoWait created it

	// Err is nil if the generation has completed, and is saved if it asked for an export.
	// Otherwise it is one of the errors of [gamma.Client.CreateGeneration],
	// [poller.Poller.Wait] and [gamma.Client.DownloadFile], of the file system, or matches
	// [ErrStopped].
	Err error
}

// Retry says what Run creates again, at the risk of paying twice. The zero value is
// nothing; the values can be combined with |.
type Retry uint8

const (
	// Uncertain creates again what an earlier run may have created: look at Gamma first.
	Uncertain Retry = 1 << iota

	// Failed creates again what has failed, and what Gamma does not find any more.
	Failed
)

// Batch makes one generation for each of many inputs. Its fields must not change during a
// run. It is safe for concurrent use, and must not be copied after the first use.
type Batch struct {
	Client  *gamma.Client // required
	Dir     string        // where exports are saved, made if missing; empty means the working directory
	Journal string        // the path of the journal, for one Dir only; empty means gamma.jsonl in Dir
	Retry   Retry         // what to create again; the default is nothing
	Creates int           // how many creates are in flight at most; 0 means 4, at most 64
	NoWait  bool          // only create; a later run without it waits and saves

	// Poller waits for the generations. Its OnPoll sees every poll. It must use Client.
	// Nil means one with a FirstPoll of 20 seconds and a Timeout of an hour.
	Poller *poller.Poller

	// OnEvent, if not nil, is called with what the batch does, by several goroutines at
	// once. While it blocks, the input of its Event does not proceed, nor does Run return.
	OnEvent func(Event)

	mu       sync.Mutex
	stopping chan struct{} // closed by Stop
}

// Step is what a batch does for an input.
type Step string

// The steps of an [Event].
const (
	Creating Step = "creating" // a create is about to be sent
	Created  Step = "created"  // its id is in the journal
	Waiting  Step = "waiting"  // it is polled from now on, also if an earlier run created it
	Saving   Step = "saving"   // its export is downloaded
	Pausing  Step = "pausing"  // nothing is sent for Pause, because of Err
)

// Event is a step of an input.
type Event struct {
	Key          string
	GenerationID string // empty before it is known
	Step         Step

	// Pause is how long a create or a download waits before its next request, at least a
	// second; Err is why, nil for the rate limit as the headers tell it. Both are zero for
	// other steps. Pauses between polls are reported to the OnPoll of Poller.
	Pause time.Duration
	Err   error
}

var (
	// ErrStopped is the error of an input that did not finish because [Batch.Stop] was
	// called.
	ErrStopped = errors.New("gamma: the batch was stopped")

	// ErrLocked is the error of a run whose journal another run uses.
	ErrLocked = errors.New("gamma: another run uses the journal")
)

// Run makes the generations of inputs, and yields a [Result] for each input as it ends,
// the first to end first. See the package comment for what it does for which input.
//
// The inputs are pulled as they can be created, in a separate goroutine. An invalid input
// yields its error, such as a [*gamma.InvalidRequestError], and costs nothing. Bad settings
// and a journal that cannot be used yield one error. When ctx ends, or Stop was called,
// every input that was pulled yields its error. If inputs may have had more, a last Result
// without a Key has an error that matches that of ctx or ErrStopped.
//
// Breaking out of the loop stops the run as the end of ctx does. It waits for the goroutines
// of the batch, and for inputs to return: a sequence that blocks must end when ctx or the
// loop does. A
// panic in inputs, OnEvent or OnPoll is propagated to the caller.
func (b *Batch) Run(ctx context.Context, inputs iter.Seq[Input]) iter.Seq[Result] {
	return func(yield func(Result) bool) {
		r, err := b.start(ctx, inputs)
		if err != nil {
			yield(Result{Err: err})
			return
		}
		r.loop(yield)
	}
}

// Stop stops the runs of b gracefully: nothing more is created or polled, creates and
// downloads in flight finish, and the loops over the results end. It does not wait for that.
// A run that starts later stops at once. A second call does nothing.
func (b *Batch) Stop() {
	stopping := b.stopped()
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-stopping:
	default:
		close(stopping)
	}
}

// stopped returns the channel that Stop closes.
func (b *Batch) stopped() chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopping == nil {
		b.stopping = make(chan struct{})
	}
	return b.stopping
}

// Action is what a run would do for an input.
type Action string

// The actions of a [Plan].
const (
	Create Action = "create" // create it, and wait for it
	Wait   Action = "wait"   // an earlier run created it: wait for it, or only save its export
	Skip   Action = "skip"   // an earlier run finished it
	Leave  Action = "leave"  // it has failed or is uncertain, see Err: Retry would create it again
	Refuse Action = "refuse" // Err: it is invalid
)

// Plan is what a run would do for one input.
type Plan struct {
	Key          string
	Action       Action
	GenerationID string // of an earlier run; with Create, that of the generation that it replaces
	File         string // the path of the export, with Dir; empty if it asks for none
	Err          error  // for Leave and Refuse, what Run would yield
}

// Plan yields what Run would do for each input. It sends nothing and writes nothing. With a
// nil Client it does not check which server the journal belongs to. Bad settings and a
// journal that cannot be used yield one Plan without a Key and with an error.
func (b *Batch) Plan(inputs iter.Seq[Input]) iter.Seq[Plan] {
	return func(yield func(Plan) bool) {
		err := b.check(inputs)
		var j *journal
		if err == nil {
			j, err = readJournal(b.journalPath(), b.server())
		}
		if err != nil {
			yield(Plan{Action: Refuse, Err: err})
			return
		}
		k := b.keeper(j)
		for in := range inputs {
			job := k.decide(in)
			if !yield(Plan{Key: in.Key, Action: job.action, GenerationID: cmp.Or(job.id, job.before), File: job.path(b.Dir), Err: job.err}) {
				return
			}
		}
	}
}
