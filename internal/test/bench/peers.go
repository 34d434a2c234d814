package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/test/bench/peers/oapi"
	"github.com/gamma-sdk/gamma-go/internal/test/bench/peers/ogen"
	"resty.dev/v3"
)

const (
	key     = "sk-gamma-bench" // every client sends it
	path    = "/v1.0/generations/"
	fakeURL = "https://public-api.gamma.app" // of fakes in memory
)

// poll polls the generation id once and returns its status.
type poll func(ctx context.Context, id string) (string, error)

// peer is a client that is compared.
type peer struct {
	name string
	// connect returns a poll by a new client of the API at base. A nil transport means
	// the client's default.
	connect func(base string, transport http.RoundTripper) (poll, error)
}

// peers are all clients. The first is the one that the others are compared with.
var peers = []peer{
	{"bare `net/http`", connectBare},
	{"gamma-go", connectGamma},
	{"oapi-codegen's default", connectOapi},
	{"ogen", connectOgen},
	{"resty v3", connectResty},
	{"azcore pipeline", connectAzcore},
}

// httpClient returns a client with the transport, or nil if that is nil: most peers then use
// their default.
func httpClient(transport http.RoundTripper) *http.Client {
	if transport == nil {
		return nil
	}
	return &http.Client{Transport: transport}
}

func connectBare(base string, transport http.RoundTripper) (poll, error) {
	client := &http.Client{Transport: transport}
	return func(ctx context.Context, id string) (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path+id, nil)
		if err != nil {
			return "", err
		}
		req.Header.Set("X-API-KEY", key)
		rsp, err := client.Do(req)
		if err != nil {
			return "", err
		}
		defer func() { _ = rsp.Body.Close() }()
		if rsp.StatusCode != http.StatusOK {
			return "", errors.New(rsp.Status)
		}
		body, err := io.ReadAll(rsp.Body)
		if err != nil {
			return "", err
		}
		var gen api.GenerationStatusResponse
		err = json.Unmarshal(body, &gen)
		return string(gen.Status), err
	}, nil
}

// newGamma returns a client of this SDK.
func newGamma(base string, transport http.RoundTripper) (*gamma.Client, error) {
	opts := []gamma.Option{gamma.WithBaseURL(base)}
	if transport != nil {
		opts = append(opts, gamma.WithHTTPClient(httpClient(transport)))
	}
	return gamma.NewClient(key, opts...)
}

func connectGamma(base string, transport http.RoundTripper) (poll, error) {
	client, err := newGamma(base, transport)
	return func(ctx context.Context, id string) (string, error) {
		rsp, err := client.GetGenerationStatusWithResponse(ctx, id)
		if err != nil {
			return "", err
		}
		return string(rsp.JSON200.Status), nil
	}, err
}

func connectOapi(base string, transport http.RoundTripper) (poll, error) {
	opts := []oapi.ClientOption{oapi.WithRequestEditorFn(func(_ context.Context, req *http.Request) error {
		req.Header.Set("X-API-KEY", key)
		return nil
	})}
	if transport != nil {
		opts = append(opts, oapi.WithHTTPClient(httpClient(transport)))
	}
	client, err := oapi.NewClientWithResponses(base, opts...)
	return func(ctx context.Context, id string) (string, error) {
		rsp, err := client.GetGenerationStatusWithResponse(ctx, id)
		if err != nil {
			return "", err
		}
		if rsp.JSON200 == nil {
			return "", errors.New(rsp.Status())
		}
		return string(rsp.JSON200.Status), nil
	}, err
}

type ogenKey struct{}

func (ogenKey) APIKey(context.Context, ogen.OperationName) (ogen.APIKey, error) {
	return ogen.APIKey{APIKey: key}, nil
}

func connectOgen(base string, transport http.RoundTripper) (poll, error) {
	var opts []ogen.ClientOption
	if transport != nil {
		opts = append(opts, ogen.WithClient(httpClient(transport)))
	}
	client, err := ogen.NewClient(base, ogenKey{}, opts...)
	return func(ctx context.Context, id string) (string, error) {
		rsp, err := client.GetGenerationStatus(ctx, ogen.GetGenerationStatusParams{ID: id})
		if err != nil {
			return "", err
		}
		gen, ok := rsp.(*ogen.GenerationStatusResponse)
		if !ok {
			return "", fmt.Errorf("%T", rsp)
		}
		return string(gen.Status), nil
	}, err
}

func connectResty(base string, transport http.RoundTripper) (poll, error) {
	client := resty.New().SetBaseURL(base).SetHeader("X-API-KEY", key)
	if transport != nil {
		client.SetTransport(transport)
	}
	return func(ctx context.Context, id string) (string, error) {
		var gen api.GenerationStatusResponse
		rsp, err := client.R().SetContext(ctx).SetPathParam("id", id).SetResult(&gen).Get(path + "{id}")
		if err != nil {
			return "", err
		}
		if rsp.StatusCode() != http.StatusOK {
			return "", errors.New(rsp.Status())
		}
		return string(gen.Status), nil
	}, nil
}

// azcorePipeline returns a pipeline with azcore's own policies.
func azcorePipeline(transport http.RoundTripper) runtime.Pipeline {
	auth := runtime.NewKeyCredentialPolicy(azcore.NewKeyCredential(key), "X-API-KEY", &runtime.KeyCredentialPolicyOptions{
		InsecureAllowCredentialWithHTTP: true, // the loopback server
	})
	var options policy.ClientOptions
	if client := httpClient(transport); client != nil {
		options.Transport = client
	}
	return runtime.NewPipeline("bench", "v0.0.0", runtime.PipelineOptions{PerRetry: []policy.Policy{auth}}, &options)
}

// azcoreGet sends one request. It returns the response too, as pollers of azcore need it.
func azcoreGet(ctx context.Context, pipeline runtime.Pipeline, base, id string) (*http.Response, string, error) {
	req, err := runtime.NewRequest(ctx, http.MethodGet, runtime.JoinPaths(base, path+url.PathEscape(id)))
	if err != nil {
		return nil, "", err
	}
	rsp, err := pipeline.Do(req)
	if err != nil {
		return nil, "", err
	}
	if !runtime.HasStatusCode(rsp, http.StatusOK) {
		return nil, "", runtime.NewResponseError(rsp)
	}
	var gen api.GenerationStatusResponse
	err = runtime.UnmarshalAsJSON(rsp, &gen)
	return rsp, string(gen.Status), err
}

func connectAzcore(base string, transport http.RoundTripper) (poll, error) {
	pipeline := azcorePipeline(transport)
	return func(ctx context.Context, id string) (string, error) {
		_, status, err := azcoreGet(ctx, pipeline, base, id)
		return status, err
	}, nil
}

// azcoreJob is the handler of an azcore Poller.
type azcoreJob struct {
	pipeline runtime.Pipeline
	id       string
	status   string
}

// azcorePoller returns a Poller that polls id.
func azcorePoller(pipeline runtime.Pipeline, id string) (*runtime.Poller[string], error) {
	return runtime.NewPoller(nil, pipeline, &runtime.NewPollerOptions[string]{Handler: &azcoreJob{pipeline: pipeline, id: id}})
}

func (j *azcoreJob) Done() bool { return j.status == "completed" || j.status == "failed" }

func (j *azcoreJob) Poll(ctx context.Context) (*http.Response, error) {
	rsp, status, err := azcoreGet(ctx, j.pipeline, fakeURL, j.id)
	if err != nil {
		return nil, err
	}
	j.status = status
	return rsp, nil
}

func (j *azcoreJob) Result(_ context.Context, out *string) error {
	*out = j.status
	return nil
}
