package decks

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/mock"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/internal/test/sample"
	"github.com/gamma-sdk/gamma-go/poller"
)

var quiet = log.NewStructuredLogger(slog.New(slog.DiscardHandler))

// request returns r with what the document requires beside what is set.
func request(r api.GenerationRequest) api.GenerationRequest {
	r.InputText = "tea"
	return sample.Request(sample.New(gamma.OpenAPI()), "createGeneration", r)
}

func newClient(t *testing.T, fake *gammatest.Transport) *gamma.Client {
	t.Helper()
	client, err := gamma.NewClient(gammatest.Key, gamma.WithHTTPClient(&http.Client{Transport: fake}))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// count returns how many requests with the method the fake has received.
func count(fake *gammatest.Transport, method string) int {
	n := 0
	for _, r := range fake.Requests() {
		if r.Method == method {
			n++
		}
	}
	return n
}

// clock makes the clock of the bubble follow that of the test suite: polls go by the
// former, timers and retries by the latter.
type clock struct {
	interceptor.WorkerInterceptorBase
	interceptor.ActivityInboundInterceptorBase
	env *testsuite.TestWorkflowEnvironment
}

func (c *clock) follow() { time.Sleep(time.Until(c.env.Now())) }

func (c *clock) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	return &clock{env: c.env, ActivityInboundInterceptorBase: interceptor.ActivityInboundInterceptorBase{Next: next}}
}

func (c *clock) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	c.follow()
	return c.Next.ExecuteActivity(ctx, in)
}

func newEnvironment() *testsuite.TestWorkflowEnvironment {
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet)
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(1000 * time.Hour) // of the bubble
	c := &clock{env: env}
	env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{c}})
	env.SetOnTimerFiredListener(func(string) { c.follow() })
	return env
}

func TestGenerateDeck(t *testing.T) {
	deck := request(api.GenerationRequest{})
	export := request(api.GenerationRequest{ExportAs: "pdf"})
	for _, test := range []struct {
		name    string
		request api.GenerationRequest
		creates []gammatest.Step // responses to the first creates
		steps   []gammatest.Step // the life of the generation
		errors  int              // of Deliver, before it works

		wantCreates int           // requests
		wantAtLeast time.Duration // the time that it takes, and 5 minutes more at most
		wantErr     string        // the type
		wantText    string        // in the error
		wantFailure string        // in the outcome
		wantExport  bool          // in the outcome
	}{
		{name: "completed", request: deck, wantCreates: 1, wantAtLeast: 10 * time.Second},
		{
			name: "failed", request: deck, steps: []gammatest.Step{gammatest.Pending(1), gammatest.Failed(422, "Failed to generate text.")},
			wantCreates: 1, wantFailure: "Failed to generate text.",
		},
		{
			name: "the export comes 15 seconds late", request: export,
			steps:       []gammatest.Step{gammatest.Pending(1), gammatest.ExportPendingFor(15 * time.Second), gammatest.Completed("")},
			wantCreates: 1, wantAtLeast: 15 * time.Second, wantExport: true,
		},
		{
			name: "a create with status 500 is not sent again", request: deck, creates: []gammatest.Step{gammatest.Status(500)},
			wantCreates: 1, wantErr: MaybeCreated, wantText: "gamma: the generation may have been created: POST /v1.0/generations",
		},
		{
			name: "a create whose connection breaks is not sent again", request: deck, creates: []gammatest.Step{gammatest.Drop()},
			wantCreates: 1, wantErr: MaybeCreated, wantText: "gamma: the generation may have been created: POST /v1.0/generations",
		},
		{
			name: "a create without a response is not sent again", request: deck, creates: []gammatest.Step{gammatest.Hang()},
			wantCreates: 1, wantErr: MaybeCreated, wantText: "gamma: the generation may have been created: POST /v1.0/generations", wantAtLeast: 4 * time.Minute,
		},
		{
			name: "a response that is cut off after the id", request: deck,
			creates:     []gammatest.Step{gammatest.CutAfter(len(`{"generationId":"gen000001",`), gammatest.Usual())},
			wantCreates: 1,
		},
		{
			name: "a create is sent again until there are credits", request: deck,
			creates:     []gammatest.Step{gammatest.Times(3, gammatest.Status(402))},
			wantCreates: 4, wantAtLeast: 7 * time.Minute,
		},
		{
			name: "a create is sent again when Retry-After says", request: deck,
			creates:     []gammatest.Step{gammatest.RateLimited(140 * time.Minute)},
			wantCreates: 2, wantAtLeast: 140 * time.Minute,
		},
		{
			name: "a key that is refused for a day", request: deck,
			creates:     []gammatest.Step{gammatest.Times(100, gammatest.Status(401))},
			wantCreates: 29, wantAtLeast: 23 * time.Hour, wantErr: Refused, wantText: "401",
		},
		{
			name: "a create with status 400 is not sent again", request: deck, creates: []gammatest.Step{gammatest.Status(400)},
			wantCreates: 1, wantErr: Refused, wantText: "400",
		},
		{
			name: "a request that is not valid is not sent", request: api.GenerationRequest{},
			wantErr: Refused,
		},
		{
			name: "no generation has the id", request: deck, steps: []gammatest.Step{gammatest.Status(404)},
			wantCreates: 1, wantErr: WaitEnded, wantText: "gen000001",
		},
		{
			name: "no poll is allowed before the deadline", request: deck,
			steps:       []gammatest.Step{gammatest.RateLimited(24 * time.Hour), gammatest.Completed("")},
			wantCreates: 1, wantErr: WaitEnded, wantText: "gen000001 has not finished",
		},
		{name: "the receiver fails twice", request: deck, errors: 2, wantCreates: 1},
		{name: "the receiver refuses it", request: deck, errors: math.MaxInt, wantCreates: 1, wantErr: NotDelivered, wantText: "no such order"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := gammatest.NewTransport(t, test.steps...)
				fake.Next("createGeneration", test.creates...)
				var delivered []Outcome
				env := newEnvironment()
				env.RegisterActivity(New(newClient(t, fake), func(_ context.Context, key string, outcome Outcome) error {
					if key != "default-test-workflow-id" {
						t.Errorf("delivered under the key %q, want the id of the workflow", key)
					}
					switch test.errors--; {
					case test.errors < 0:
						delivered = append(delivered, outcome)
						return nil
					case test.errors > 1000:
						return temporal.NewNonRetryableApplicationError("no such order", "Order", nil)
					}
					return errors.New("try again")
				}))
				start := time.Now()
				env.ExecuteWorkflow(GenerateDeck, test.request)
				// The clock of the suite stands still during an activity, the other one after it.
				if took := max(env.Now().Sub(start), time.Since(start)); took < test.wantAtLeast || took > test.wantAtLeast+5*time.Minute {
					t.Errorf("took %v, want %v", took, test.wantAtLeast)
				}
				if n := count(fake, "POST"); n != test.wantCreates {
					t.Errorf("%d creates, want %d", n, test.wantCreates)
				}
				err := env.GetWorkflowError()
				if test.wantErr != "" {
					if len(delivered) > 0 {
						t.Errorf("delivered %+v, want nothing", delivered)
					}
					check(t, err, test.wantErr, test.wantText)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if len(delivered) != 1 {
					t.Fatalf("delivered %d outcomes, want 1", len(delivered))
				}
				got := delivered[0]
				if got.Generation.GenerationID != "gen000001" || (got.Generation.ExportURL != "") != test.wantExport {
					t.Errorf("delivered %+v, want export: %t", got.Generation, test.wantExport)
				}
				if (got.Failure != "") != (test.wantFailure != "") || !strings.Contains(got.Failure, test.wantFailure) {
					t.Errorf("delivered the failure %q, want %q", got.Failure, test.wantFailure)
				}
			})
		})
	}
}

// check checks that err says that the workflow ended for good, with a type and a text.
func check(t *testing.T, err error, wantType, wantText string) {
	t.Helper()
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.Type() != wantType || !app.NonRetryable() || !strings.Contains(err.Error(), wantText) {
		t.Errorf("got the error %v, want a non-retryable %s with %q", err, wantType, wantText)
	}
}

func TestLostActivity(t *testing.T) {
	for _, test := range []struct {
		name         string
		create, wait error
		wantErr      string
		wantText     string
	}{
		{name: "the worker dies during the create", create: temporal.NewTimeoutError(enums.TIMEOUT_TYPE_START_TO_CLOSE, nil), wantErr: MaybeCreated},
		{name: "the create panics", create: errors.New("panic"), wantErr: MaybeCreated},
		{name: "no worker until the deadline of the wait", wait: temporal.NewTimeoutError(enums.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE, nil), wantErr: WaitEnded, wantText: "gen1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			env := newEnvironment()
			env.RegisterActivity(&Activities{})
			env.OnActivity("CreateGeneration", mock.Anything, mock.Anything).Return("gen1", test.create).Once()
			if test.wait != nil {
				env.OnActivity("WaitForGeneration", mock.Anything, mock.Anything).Return(Outcome{}, test.wait)
			}
			env.ExecuteWorkflow(GenerateDeck, request(api.GenerationRequest{}))
			check(t, env.GetWorkflowError(), test.wantErr, test.wantText)
			env.AssertExpectations(t)
		})
	}
}

// TestWaitForGeneration runs every attempt on a new worker, which knows only what the
// heartbeat of the last one had.
func TestWaitForGeneration(t *testing.T) {
	for _, test := range []struct {
		name  string
		id    string // "gen1" if empty
		steps []gammatest.Step

		wantPolls   int
		wantAtLeast time.Duration // the time that it takes, and a fifth more and a minute at most
		wantErr     string        // in the error
		wantFailure string
	}{
		{name: "completed", steps: []gammatest.Step{gammatest.Pending(3), gammatest.Completed("https://files.example/deck.pdf")}, wantPolls: 4, wantAtLeast: 15 * time.Second},
		{name: "failed", steps: []gammatest.Step{gammatest.Failed(422, "Too long.")}, wantPolls: 1, wantFailure: "Too long."},
		{
			name:      "the key is refused for an hour",
			steps:     []gammatest.Step{gammatest.Times(120, gammatest.Status(401)), gammatest.Completed("https://files.example/deck.pdf")},
			wantPolls: 121, wantAtLeast: time.Hour,
		},
		{
			name:      "an outage of 10 hours",
			steps:     []gammatest.Step{gammatest.Times(1200, gammatest.Status(503)), gammatest.Completed("https://files.example/deck.pdf")},
			wantPolls: 1201, wantAtLeast: 1197*30*time.Second + 35*time.Second,
		},
		{
			name:      "the backoff continues on the next worker",
			steps:     []gammatest.Step{gammatest.Times(4, gammatest.Drop()), gammatest.Completed("https://files.example/deck.pdf")},
			wantPolls: 5, wantAtLeast: (5 + 10 + 20 + 30) * time.Second,
		},
		{
			name:      "Retry-After of 6 hours",
			steps:     []gammatest.Step{gammatest.RateLimited(6 * time.Hour), gammatest.Completed("https://files.example/deck.pdf")},
			wantPolls: 2, wantAtLeast: 6 * time.Hour,
		},
		{
			name:        "no export after three minutes",
			steps:       []gammatest.Step{gammatest.ExportPendingFor(time.Hour)},
			wantAtLeast: 3 * time.Minute, wantErr: "has no export",
		},
		{
			name:      "one 404",
			steps:     []gammatest.Step{gammatest.Status(404), gammatest.Completed("https://files.example/deck.pdf")},
			wantPolls: 2, wantAtLeast: 5 * time.Second,
		},
		{name: "two 404 in a row", steps: []gammatest.Step{gammatest.Status(404)}, wantPolls: 2, wantErr: "404"},
		{name: "an id that is not valid", id: "../themes", wantErr: "generation id"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := gammatest.NewTransport(t)
				fake.Add("gen1", test.steps...)
				progress := poller.Progress{ID: "gen1", Export: true}
				if test.id != "" {
					progress.ID = test.id
				}
				start := time.Now()
				outcome, heard, err := attempt(t, fake, progress, nil)
				for n := 1; ; n++ {
					var app *temporal.ApplicationError
					if !errors.As(err, &app) || app.Type() != pending {
						break
					}
					if n > 2000 || app.NonRetryable() || app.NextRetryDelay() <= 0 {
						t.Fatalf("attempt %d: %v, next after %v", n, err, app.NextRetryDelay())
					}
					time.Sleep(app.NextRetryDelay())
					outcome, heard, err = attempt(t, fake, progress, heard)
				}
				if took := time.Since(start); took < test.wantAtLeast || took > test.wantAtLeast*6/5+time.Minute {
					t.Errorf("took %v, want %v", took, test.wantAtLeast)
				}
				if n := count(fake, "GET"); test.wantPolls > 0 && n != test.wantPolls {
					t.Errorf("%d polls, want %d", n, test.wantPolls)
				}
				if heard == nil || heard.Polls != count(fake, "GET") {
					t.Errorf("the heartbeat has %+v, want %d polls", heard, count(fake, "GET"))
				}
				if test.wantErr != "" {
					check(t, err, WaitEnded, test.wantErr)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if outcome.Generation == nil || (outcome.Failure != "") != (test.wantFailure != "") || !strings.Contains(outcome.Failure, test.wantFailure) {
					t.Errorf("got %+v, want the failure %q", outcome, test.wantFailure)
				}
			})
		})
	}
}

// attempt runs one attempt to wait on a new worker, with the details of the last
// heartbeat. It returns those of the next one.
func attempt(t *testing.T, fake *gammatest.Transport, progress poller.Progress, last *poller.Progress) (Outcome, *poller.Progress, error) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet)
	env := suite.NewTestActivityEnvironment()
	if last != nil {
		env.SetHeartbeatDetails(*last)
	}
	var next poller.Progress
	env.SetOnActivityHeartbeatListener(func(_ *activity.Info, details converter.EncodedValues) {
		if err := details.Get(&next); err != nil {
			t.Error(err)
		}
	})
	a := New(newClient(t, fake), nil)
	env.RegisterActivity(a)
	var outcome Outcome
	value, err := env.ExecuteActivity(a.WaitForGeneration, progress)
	if err == nil {
		err = value.Get(&outcome)
	}
	synctest.Wait() // for the heartbeat
	return outcome, &next, err
}

func TestWorkerStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := gammatest.NewTransport(t)
		fake.Add("gen1", gammatest.Hang())
		var suite testsuite.WorkflowTestSuite
		suite.SetLogger(quiet)
		env := suite.NewTestActivityEnvironment()
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, stop)
		env.SetWorkerOptions(worker.Options{BackgroundActivityContext: ctx})
		a := New(newClient(t, fake), nil)
		env.RegisterActivity(a)
		_, err := env.ExecuteActivity(a.WaitForGeneration, poller.Progress{ID: "gen1"})
		var app *temporal.ApplicationError
		if errors.As(err, &app) && app.NonRetryable() || err == nil {
			t.Errorf("got the error %v, want one that lets another worker continue", err)
		}
	})
}
