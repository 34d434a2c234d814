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

// Input is a generation to create.
type Input struct {
	// Key identifies the input in the journal, such as the name of a file: 1 to 1,024 bytes
	// of UTF-8. It must be unique in a run.
	Key string

	// Request is an [api.GenerationRequest] or an [api.TemplateGenerationRequest], or a
	// pointer to one. If it asks for an export, Run saves that.
	Request any

	// File is the path of the export in Dir, with slashes and without the extension. Empty
	// means a name made from Key. The extension is pdf, pptx, or zip for png. An existing
	// file is replaced only if the journal has it for Key, and for no other key since;
	// otherwise it is an error.
	File string
}

// Result is the result of one input.
type Result struct {
	// Key is the key of the input. It is empty only if Err is not about one input: bad
	// settings, a journal that cannot be used, or a run that ended before all inputs were
	// pulled.
	Key string

	GenerationID string // empty if it is not known; may be set with an error
	Warnings     string // what Gamma ignored or changed in the request, as in [gamma.Created]

	// Generation is nil unless it has finished. It has no ExportURL if an earlier run
	// waited for it.
	Generation *api.GenerationStatusResponse

	Saved   string // the path of the export, including Dir; empty if none was saved
	Earlier bool   // nothing was sent: an earlier run finished it, or with NoWait created it

	// Err is nil if the generation completed and its export, if any, is saved. Otherwise it
	// is an error of [gamma.Client.CreateGeneration], [poller.Poller.Wait],
	// [gamma.Client.DownloadFile] or the file system, or it matches [ErrStopped].
	Err error
}

// Retry selects what Run creates again, at the risk of paying twice. The zero value selects
// nothing. Values can be combined with |.
type Retry uint8

const (
	// Uncertain creates again what an earlier run may have created. Look for it at Gamma
	// first.
	Uncertain Retry = 1 << iota

	// Failed creates again what has failed, and what Gamma no longer finds.
	Failed
)

// Batch creates a generation for each of many inputs. Its fields must not change during a
// run. It is safe for concurrent use, and must not be copied after the first use.
type Batch struct {
	Client  *gamma.Client // required
	Dir     string        // where exports are saved; created if missing; empty means the working directory
	Journal string        // the path of the journal; for one Dir only; empty means gamma.jsonl in Dir
	Retry   Retry         // what to create again; the default is nothing
	Creates int           // maximum number of creates in flight, up to 64; 0 means 4
	NoWait  bool          // only create; a later run without NoWait waits and saves

	// Poller waits for the generations. Its OnPoll sees every poll. It must use Client.
	// Nil means one with a FirstPoll of 20 seconds and a Timeout of an hour.
	Poller *poller.Poller

	// OnEvent, if not nil, is called for every Event, by several goroutines at once. While
	// it blocks, the input of the Event does not proceed and Run does not return.
	OnEvent func(Event)

	mu       sync.Mutex
	stopping chan struct{} // closed by Stop
}

// Step is a step of an input.
type Step string

// The steps of an [Event].
const (
	Creating Step = "creating" // a create is about to be sent
	Created  Step = "created"  // the generation id is in the journal
	Waiting  Step = "waiting"  // it is polled from now on, also if an earlier run created it
	Saving   Step = "saving"   // its export is about to be downloaded
	Pausing  Step = "pausing"  // its next request is sent after Pause, because of Err
)

// Event reports a step of an input.
type Event struct {
	Key          string
	GenerationID string // empty before it is known
	Step         Step

	// Pause is how long a create or a download waits before its next request, at least a
	// second. Err is the reason: nil means the rate-limit headers. Both are zero for other
	// steps. Pauses between polls are reported to Poller.OnPoll.
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

// Run creates the generations of inputs, waits for them and saves their exports. It yields
// a [Result] for each input as it ends. The package comment says what it does for an input
// that an earlier run has in the journal.
//
// A separate goroutine pulls inputs as they can be created. An invalid input yields its
// error, such as a [*gamma.InvalidRequestError], and costs nothing. Bad settings and a
// journal that cannot be used yield one error. After ctx is done or Stop is called, every
// input that was pulled yields its error. If inputs may have had more, a last Result
// without a Key has an error that matches that of ctx or ErrStopped.
//
// Breaking out of the loop ends the run as a canceled ctx does. It waits for the goroutines
// of the batch and for inputs to return: a sequence that blocks must end when ctx is done
// or the loop ends. A panic in inputs, OnEvent or OnPoll is propagated to the caller.
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
// downloads in flight finish, and the loops over the results end. Stop does not wait for
// that. A run that starts later stops at once. A second call does nothing.
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
	Leave  Action = "leave"  // nothing: it failed or is uncertain, see Err; Retry would create it again
	Refuse Action = "refuse" // nothing: it is invalid, see Err
)

// Plan is what a run would do for one input.
type Plan struct {
	Key          string
	Action       Action
	GenerationID string // of an earlier run; for Create, the generation that is replaced
	File         string // the path of the export, including Dir; empty if there is none
	Err          error  // for Leave and Refuse, what Run would yield
}

// Plan yields what Run would do for each input. It sends nothing and writes nothing. If
// Client is nil, it does not check which server the journal belongs to. Bad settings and a
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
			if !yield(Plan{Key: in.Key, Action: job.action, GenerationID: cmp.Or(job.id, job.replaced), File: job.path(b.Dir), Err: job.err}) {
				return
			}
		}
	}
}
