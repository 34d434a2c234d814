package main

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/test/bench/peers/oapi"
	"github.com/gamma-sdk/gamma-go/poller"
)

// candidate is a column of the comparison: a way to use the API, each with its own
// defaults and a poll every 5 seconds.
type candidate struct {
	name     string
	packages []string // that a program imports for it; none means net/http
	connect  func(base string, transport http.RoundTripper) (program, error)
}

// program is what a program does with a candidate.
type program interface {
	create(ctx context.Context) (id string, err error)
	wait(ctx context.Context, id string) (status string, err error)
	download(ctx context.Context, url, file string) error
}

// many is a program with its own way to wait for many generations.
type many interface {
	waitAll(ctx context.Context, ids iter.Seq[string], ended func(id string, err error))
}

// waitAll waits for many generations, in a goroutine for each unless p has another way.
func waitAll(ctx context.Context, p program, ids iter.Seq[string], ended func(id string, err error)) {
	if p, ok := p.(many); ok {
		p.waitAll(ctx, ids, ended)
		return
	}
	var all sync.WaitGroup
	for id := range ids {
		all.Go(func() {
			_, err := p.wait(ctx, id)
			ended(id, err)
		})
	}
	all.Wait()
}

// candidates are in the order of the columns.
var candidates = []candidate{
	{
		"gamma-go",
		[]string{"github.com/gamma-sdk/gamma-go", "github.com/gamma-sdk/gamma-go/poller"},
		func(base string, transport http.RoundTripper) (program, error) {
			client, err := newGamma(base, transport)
			return gammaProgram{client, poller.New(client)}, err
		},
	},
	{"vendor's samples", nil, func(base string, transport http.RoundTripper) (program, error) {
		return docsSamples{netHTTP{httpClient(transport), base}}, nil
	}},
	{
		"oapi-codegen's client",
		[]string{"github.com/gamma-sdk/gamma-go/internal/test/bench/peers/oapi"},
		func(base string, transport http.RoundTripper) (program, error) {
			client, err := oapi.NewClientWithResponses(base, oapi.WithHTTPClient(httpClient(transport)), oapi.WithRequestEditorFn(func(_ context.Context, req *http.Request) error {
				req.Header.Set("X-API-KEY", key)
				return nil
			}))
			// Its download is net/http's: the document has no operation for it.
			return oapiProgram{client, netHTTP{httpClient(transport), base}}, err
		},
	},
	{"a goroutine per wait", nil, func(base string, transport http.RoundTripper) (program, error) {
		return ticking{netHTTP{httpClient(transport), base}}, nil
	}},
	{
		"azcore's poller",
		[]string{"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"},
		func(base string, transport http.RoundTripper) (program, error) {
			return azcoreProgram{azcorePipeline(transport), base}, nil
		},
	},
}

type gammaProgram struct {
	client *gamma.Client
	poller *poller.Poller
}

func (p gammaProgram) create(ctx context.Context) (string, error) {
	created, err := p.client.CreateGeneration(ctx, validRequest())
	return created.GenerationID, err
}

func (p gammaProgram) wait(ctx context.Context, id string) (status string, err error) {
	gen, err := p.poller.Wait(ctx, id)
	if gen != nil {
		status = string(gen.Status)
	}
	return status, err
}

func (p gammaProgram) waitAll(ctx context.Context, ids iter.Seq[string], ended func(id string, err error)) {
	for r := range p.poller.All(ctx, progress(ids)) {
		ended(r.ID, r.Err)
	}
}

func (p gammaProgram) download(ctx context.Context, url, file string) error {
	return p.client.DownloadFile(ctx, url, file)
}

// oapiProgram is the obvious loop around the generated client: any response without the
// documented model ends it.
type oapiProgram struct {
	client *oapi.ClientWithResponses
	netHTTP
}

func (p oapiProgram) create(ctx context.Context) (string, error) {
	rsp, err := p.client.CreateGenerationWithResponse(ctx, oapi.Generation{InputText: "x"})
	switch {
	case err != nil:
		return "", err
	case rsp.JSON200 != nil:
		return rsp.JSON200.GenerationId, nil
	case rsp.JSON201 != nil:
		return rsp.JSON201.GenerationId, nil
	}
	return "", errors.New(rsp.Status())
}

func (p oapiProgram) wait(ctx context.Context, id string) (status string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for {
		rsp, err := p.client.GetGenerationStatusWithResponse(ctx, id)
		switch {
		case err != nil:
			return "", err
		case rsp.JSON200 == nil:
			return "", errors.New(rsp.Status())
		case rsp.JSON200.Status == oapi.Completed || rsp.JSON200.Status == oapi.Failed:
			return string(rsp.JSON200.Status), nil
		}
		if err := pause(ctx, 5*time.Second); err != nil {
			return "", err
		}
	}
}

// azcoreProgram uses azcore's pipeline with its default retries, and PollUntilDone.
type azcoreProgram struct {
	pipeline runtime.Pipeline
	base     string
}

// azcoreState is a wait as azcore's Poller wants it.
type azcoreState struct {
	program azcoreProgram
	ID      string
	Status  string
}

func (w *azcoreState) Done() bool { return w.Status == "completed" || w.Status == "failed" }

func (w *azcoreState) Poll(ctx context.Context) (*http.Response, error) {
	rsp, status, err := azcoreGet(ctx, w.program.pipeline, w.program.base, w.ID)
	if err != nil {
		return nil, err
	}
	w.Status = status
	return rsp, nil
}

func (w *azcoreState) Result(_ context.Context, out *string) error {
	*out = w.Status
	return nil
}

func (p azcoreProgram) create(ctx context.Context) (string, error) {
	req, err := runtime.NewRequest(ctx, http.MethodPost, runtime.JoinPaths(p.base, strings.TrimSuffix(path, "/")))
	if err != nil {
		return "", err
	}
	if err := runtime.MarshalAsJSON(req, validRequest()); err != nil {
		return "", err
	}
	rsp, err := p.pipeline.Do(req)
	if err != nil {
		return "", err
	}
	if !runtime.HasStatusCode(rsp, http.StatusOK, http.StatusCreated) {
		return "", runtime.NewResponseError(rsp)
	}
	var created api.CreateGenerationResponse
	err = runtime.UnmarshalAsJSON(rsp, &created)
	return created.GenerationID, err
}

func (p azcoreProgram) wait(ctx context.Context, id string) (status string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	w, err := runtime.NewPoller(nil, p.pipeline, &runtime.NewPollerOptions[string]{Handler: &azcoreState{program: p, ID: id}})
	if err != nil {
		return "", err
	}
	return w.PollUntilDone(ctx, &runtime.PollUntilDoneOptions{Frequency: 5 * time.Second})
}

func (p azcoreProgram) download(ctx context.Context, url, file string) error {
	req, err := runtime.NewRequest(ctx, http.MethodGet, url)
	if err != nil {
		return err
	}
	rsp, err := p.pipeline.Do(req)
	if err != nil {
		return err
	}
	if !runtime.HasStatusCode(rsp, http.StatusOK) {
		return runtime.NewResponseError(rsp)
	}
	body, err := runtime.Payload(rsp)
	if err != nil {
		return err
	}
	return os.WriteFile(file, body, 0o600)
}
