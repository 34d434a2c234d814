package riverwait

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

type finishArgs struct {
	Deck int `json:"deck"`
}

func (finishArgs) Kind() string { return "finish" }

// job returns a job whose wait ended with r.
func job(t *testing.T, m metadata, r poller.Result) *river.Job[finishArgs] {
	t.Helper()
	encoded, err := encode(r)
	if err != nil {
		t.Fatal(err)
	}
	object, err := with(nil, metadataKey, m)
	if err != nil {
		t.Fatal(err)
	}
	if object, err = with(object, "output", encoded); err != nil {
		t.Fatal(err)
	}
	return &river.Job[finishArgs]{JobRow: &rivertype.JobRow{Metadata: object}}
}

func TestResult(t *testing.T) {
	completed := &api.GenerationStatusResponse{GenerationID: "g1", Status: api.GenerationStatusCompleted, GammaURL: "https://gamma.app/docs/g1"}
	exported := &api.GenerationStatusResponse{GenerationID: "g1", Status: api.GenerationStatusCompleted, ExportURL: "https://export.example/g1"}
	failed := &api.GenerationStatusResponse{GenerationID: "g1", Status: api.GenerationStatusFailed, Error: &api.ErrorResponse{Message: "no\x00good", StatusCode: 422}}
	progress := poller.Progress{ID: "g1", Polls: 7, Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	waitError := func(cause, last error) error {
		return &poller.WaitError{Progress: progress, Cause: cause, Last: last}
	}
	for name, row := range map[string]struct {
		export bool
		result poller.Result
		is     []error
		status int
		text   string
	}{
		"completed":                 {result: poller.Result{Generation: completed}},
		"completed with its export": {export: true, result: poller.Result{Generation: exported}},
		"failed":                    {result: poller.Result{Generation: failed, Err: &poller.FailedError{}}, text: "gamma: generation g1 failed: no\ufffdgood (422 Unprocessable Entity)"},
		"not found":                 {result: poller.Result{Err: waitError(&gamma.APIError{Operation: "GET /v1.0/generations/{id}", StatusCode: 404, Message: "gone"}, &gamma.APIError{Operation: "GET /v1.0/generations/{id}", StatusCode: 404, Message: "gone"})}, status: 404, text: "gamma: stopped waiting for generation g1 after 7 polls: GET /v1.0/generations/{id}: 404 Not Found: gone"},
		"no export":                 {export: true, result: poller.Result{Generation: completed, Err: waitError(poller.ErrNoExport, nil)}, is: []error{poller.ErrNoExport}},
		"deadline":                  {result: poller.Result{Err: waitError(context.DeadlineExceeded, errors.New("gamma: no connection"))}, is: []error{context.DeadlineExceeded}, text: "gamma: stopped waiting for generation g1 after 7 polls: context deadline exceeded; last error: no connection"},
		"deadline during a pause":   {result: poller.Result{Err: waitError(errors.Join(poller.ErrPause, context.DeadlineExceeded), nil)}, is: []error{poller.ErrPause, context.DeadlineExceeded}},
		"an unknown error":          {result: poller.Result{Err: errors.New("gamma: the generation id is not valid")}, text: "gamma: stopped waiting for generation g1 after 0 polls: the generation id is not valid"},
	} {
		t.Run(name, func(t *testing.T) {
			if row.result.ID == "" {
				row.result.Progress = poller.Progress{ID: "g1"}
			}
			gen, err := Result(job(t, metadata{ID: "g1", Export: row.export}, row.result))
			want := row.result.Generation
			switch {
			case (gen == nil) != (want == nil):
				t.Fatalf("generation %v, want %v", gen, want)
			case gen != nil && (gen.GenerationID != "g1" || gen.Status != want.Status || gen.ExportURL != want.ExportURL || gen.GammaURL != want.GammaURL):
				t.Errorf("generation %+v, want %+v", gen, want)
			}
			if (err == nil) != (row.result.Err == nil) {
				t.Fatalf("error %v, want %v", err, row.result.Err)
			}
			for _, target := range row.is {
				if !errors.Is(err, target) {
					t.Errorf("error %v does not match %v", err, target)
				}
			}
			if row.text != "" && err.Error() != row.text {
				t.Errorf("error %q, want %q", err, row.text)
			}
			var apiErr *gamma.APIError
			if row.status != 0 && (!errors.As(err, &apiErr) || apiErr.StatusCode != http.StatusNotFound) {
				t.Errorf("error %v is no APIError with status %d", err, row.status)
			}
			var failedError *poller.FailedError
			if errors.As(row.result.Err, &failedError) && (!errors.As(err, &failedError) || failedError.Generation == nil || failedError.ID != "g1") {
				t.Errorf("error %#v is no complete FailedError", err)
			}
		})
	}
}

func TestNoResult(t *testing.T) {
	for name, metadata := range map[string]string{
		"not inserted by InsertTx":        `{}`,
		"made available by hand":          `{"gamma": {"id": "g1"}}`,
		"output of the worker, a string":  `{"gamma": {"id": "g1"}, "output": "done"}`,
		"output with another id":          `{"gamma": {"id": "g1"}, "output": {"generationId": "g2", "status": "completed"}}`,
		"output of the worker, an object": `{"gamma": {"id": "g1"}, "output": {"slides": 3}}`,
	} {
		t.Run(name, func(t *testing.T) {
			gen, err := Result(&river.Job[finishArgs]{JobRow: &rivertype.JobRow{Metadata: []byte(metadata)}})
			if gen != nil || !errors.Is(err, ErrNoResult) {
				t.Errorf("got %v and %v, want ErrNoResult", gen, err)
			}
		})
	}
	if _, err := Result[finishArgs](nil); err == nil {
		t.Error("a nil job is no error")
	}
}
