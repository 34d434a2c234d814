// Package decks is an example of a Temporal workflow that creates a generation, waits for it
// and delivers its outcome, with any number of workers, each of which may die at any time.
// Copy it.
//
// # Use
//
// A worker and a start, with the packages of go.temporal.io:
//
//	w := worker.New(temporalClient, "gamma", worker.Options{
//		WorkerStopTimeout: 5 * time.Minute, // otherwise a restart may cut a create off, see MaybeCreated
//	})
//	w.RegisterWorkflow(decks.GenerateDeck)
//	w.RegisterActivity(decks.New(gammaClient, deliver))
//	err := w.Run(worker.InterruptCh())
//
//	run, err := temporalClient.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
//		ID:        "deck-for-order-4711", // Deliver gets it, too
//		TaskQueue: "gamma",               // one for each API key
//		// A second start must not pay again, as long as Temporal keeps the first one.
//		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
//	}, decks.GenerateDeck, request)
//
// Only the workers have the API key. The history of the workflow has the
// request and the finished generation, with the link to the export: whoever has that can
// read the export for about a week. A PayloadCodec in the clients' DataConverter encrypts
// both.
//
// # When
//
// Use Temporal if you run it anyway, or if the deck is one step of a longer workflow. Every
// poll is an attempt of an activity, which is three requests to the Temporal server. With
// package riverwait one process polls for all, and a wait is one row in PostgreSQL, written
// in your own transaction: use that if PostgreSQL is what you have. Workers do not tell
// each other about the rate limit of their key: each knows only the headers of the responses
// that it received. TaskQueueActivitiesPerSecond of the workers limits all of them together.
//
// # Cost
//
// Measured with server v1.32.1 on SQLite in memory, 20 workflows, two workers and a poll
// each second, by the program in the folder server, which "make demo-temporal" runs:
//
//   - The history of a workflow has 23 events and 3 kB, after 26 polls as after 47.
//   - A poll takes 10 ms of CPU in the server, with the fake of Gamma, and 3 ms in the worker.
//   - After SIGKILL of a worker, waits continued on the other when their next poll was due,
//     with their counters; one whose poll was in flight, after 25 s.
package decks

import (
	"context"
	"errors"
	"math"
	"net/http"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

// The types of the application errors that end the workflow. None is retryable, so that a
// RetryPolicy of the workflow cannot make it pay again.
const (
	Refused      = "Refused"      // Gamma has created nothing
	MaybeCreated = "MaybeCreated" // there may be a generation whose id is lost: look in Gamma before the next start
	WaitEnded    = "WaitEnded"    // the generation may still finish; its id is in the text
	NotDelivered = "NotDelivered" // Deliver returned an error that is not retryable
)

// pending is the type of the error that makes Temporal poll again.
const pending = "Pending"

// Outcome is the end of a generation.
type Outcome struct {
	Generation *api.GenerationStatusResponse `json:"generation"`
	Failure    string                        `json:"failure,omitempty"` // why it failed; empty if it completed
}

// patience is how long a workflow tries to create, and then how long it waits.
const patience = 24 * time.Hour

// GenerateDeck is the workflow. It ends when the outcome is delivered, also that of a failed
// generation. Its error is an application error of one of the types above, or a cancellation.
// Polls add no events to its history.
func GenerateDeck(ctx workflow.Context, request api.GenerationRequest) error {
	var a *Activities
	var id string
	creating := workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: 5 * time.Minute,
		WaitForCancellation: true,                                      // so that the id of a create in flight is not lost
		RetryPolicy:         &temporal.RetryPolicy{MaximumAttempts: 1}, // a create costs credits
	})
	// This loop retries only a create that Gamma refused. A RetryPolicy would also retry one
	// whose worker died before it reported.
	pause, deadline := time.Minute, workflow.Now(ctx).Add(patience)
	for {
		err := workflow.ExecuteActivity(creating, a.CreateGeneration, request).Get(ctx, &id)
		if err == nil {
			break
		}
		var refused *temporal.ApplicationError
		if !errors.As(err, &refused) || refused.Type() != Refused {
			return end(MaybeCreated, "a generation may have been created", err) // also after a timeout or a panic
		}
		pause = max(pause, refused.NextRetryDelay())
		if refused.NonRetryable() || workflow.Now(ctx).Add(pause).After(deadline) {
			return end(Refused, "no generation was created", err)
		}
		if err := workflow.Sleep(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, time.Hour)
	}

	var outcome Outcome
	waiting := workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		ScheduleToCloseTimeout: patience,
		StartToCloseTimeout:    20 * time.Second, // of one poll, which takes at most 15
		// For an attempt whose worker died; after a poll its NextRetryDelay counts. Every poll
		// is an attempt, so their number is not limited and the interval does not grow.
		RetryPolicy: &temporal.RetryPolicy{InitialInterval: 5 * time.Second, BackoffCoefficient: 1, MaximumAttempts: math.MaxInt32},
	})
	progress := poller.Progress{ID: id, Export: request.ExportAs != ""}
	if err := workflow.ExecuteActivity(waiting, a.WaitForGeneration, progress).Get(ctx, &outcome); err != nil {
		return end(WaitEnded, "the wait for generation "+id+" ended", err)
	}

	delivering := workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
	if err := workflow.ExecuteActivity(delivering, a.HandOver, outcome).Get(ctx, nil); err != nil {
		return end(NotDelivered, "generation "+id+" was not delivered", err)
	}
	return nil
}

// end returns an error that ends the workflow for good.
func end(kind, text string, err error) error {
	if temporal.IsCanceledError(err) {
		return err
	}
	return temporal.NewNonRetryableApplicationError(text, kind, err)
}

// Activities are the activities of the workers. Create them with [New]. All fields are
// required, and must not change after the registration.
type Activities struct {
	Client  *gamma.Client                                                // creates
	Poller  *poller.Poller                                               // polls
	Deliver func(ctx context.Context, key string, outcome Outcome) error // see New
}

// New returns the Activities for the API key of client. Deliver must be safe for
// concurrent use, and do nothing for a key that it has seen: it may be called again if a
// worker dies.
func New(client *gamma.Client, deliver func(ctx context.Context, key string, outcome Outcome) error) *Activities {
	p := poller.New(client)
	p.KeepWaiting = true // a wrong key or an outage is not the end of the generation
	return &Activities{client, p, deliver}
}

// CreateGeneration creates a generation and returns its id. Its errors are Refused, which
// is not retryable if the request must change first, and MaybeCreated.
func (a *Activities) CreateGeneration(ctx context.Context, request api.GenerationRequest) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute) // leaves time to report what happened
	defer cancel()
	created, err := a.Client.CreateGeneration(ctx, request)
	if created.GenerationID != "" {
		return created.GenerationID, nil // also if the response was cut off after it
	}
	if errors.Is(err, gamma.ErrMaybeCreated) {
		return "", temporal.NewNonRetryableApplicationError("create generation", MaybeCreated, err)
	}
	var invalid *gamma.InvalidRequestError
	var rsp *gamma.APIError
	options := temporal.ApplicationErrorOptions{Cause: err, NonRetryable: errors.As(err, &invalid)}
	if errors.As(err, &rsp) {
		options.NextRetryDelay = rsp.RetryAfter
		switch rsp.StatusCode {
		case http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusTooManyRequests:
			// The key, its credits and its plan may be in order later.
		default:
			options.NonRetryable = true
		}
	}
	return "", temporal.NewApplicationErrorWithOptions("create generation", Refused, options)
}

// WaitForGeneration polls once. If the generation has not finished, it returns an error that
// makes Temporal run it again when the next poll is due, on any worker. The heartbeat has the
// progress, from which it resumes.
func (a *Activities) WaitForGeneration(ctx context.Context, progress poller.Progress) (Outcome, error) {
	if activity.HasHeartbeatDetails(ctx) {
		if err := activity.GetHeartbeatDetails(ctx, &progress); err != nil {
			return Outcome{}, err
		}
	}
	generation, pause, err := a.Poller.Check(ctx, &progress)
	activity.RecordHeartbeat(ctx, progress)
	var failed *poller.FailedError
	switch {
	case pause > 0:
		return Outcome{}, temporal.NewApplicationErrorWithOptions("generation "+progress.ID+" has not finished", pending,
			temporal.ApplicationErrorOptions{NextRetryDelay: pause, Category: temporal.ApplicationErrorCategoryBenign})
	case err == nil:
		return Outcome{Generation: generation}, nil
	case errors.As(err, &failed):
		return Outcome{Generation: generation, Failure: failed.Error()}, nil
	case ctx.Err() != nil:
		return Outcome{}, err // this worker stops; another one continues
	}
	return Outcome{}, temporal.NewNonRetryableApplicationError("wait for generation", WaitEnded, err, progress)
}

// HandOver delivers the outcome, under the id of the workflow as the key.
func (a *Activities) HandOver(ctx context.Context, outcome Outcome) error {
	return a.Deliver(ctx, activity.GetInfo(ctx).WorkflowExecution.ID, outcome)
}
