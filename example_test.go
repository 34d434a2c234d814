package gamma_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/test/fake"
)

// GAMMA_API_KEY and GAMMA_BASE_URL are those of a fake server.
func TestMain(m *testing.M) { fake.Main(m) }

func ExampleNewClient() {
	client, err := gamma.NewClient(os.Getenv("GAMMA_API_KEY"),
		gamma.WithBaseURL(os.Getenv("GAMMA_BASE_URL")), // leave it out for the real API
		gamma.WithRequestTimeout(5*time.Second))
	if err != nil {
		fmt.Println(err)
		return
	}
	gen, err := client.GetGenerationStatus(context.Background(), "deck-example")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(gen.Status)
	// Output: pending
}

func ExampleNewClientFromEnv() {
	client, err := gamma.NewClientFromEnv() // GAMMA_API_KEY
	if err != nil {
		fmt.Println(err)
		return
	}
	// With the suffix WithResponse the result has the headers.
	rsp, err := client.GetGenerationStatusWithResponse(context.Background(), "deck-headers")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(rsp.JSON200.Status, gamma.RateLimitOf(rsp.HTTPResponse.Header).Burst.Remaining)
	// Output: pending 9994
}

func ExampleAPIError() {
	client, err := gamma.NewClient("sk-gamma-old", gamma.WithBaseURL(os.Getenv("GAMMA_BASE_URL")))
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = client.GetGenerationStatus(context.Background(), "deck-error")
	fmt.Println(err)

	var apiErr *gamma.APIError
	if errors.As(err, &apiErr) {
		fmt.Println(apiErr.StatusCode, errors.Is(err, gamma.ErrUnauthorized))
	}
	// Output:
	// gamma: GET /v1.0/generations/{id}: 401 Unauthorized: Invalid API key.
	// 401 true
}

func ExampleNewTransport() {
	transport := gamma.NewTransport()
	transport.Proxy = nil // or http.ProxyURL(...)

	client, err := gamma.NewClientFromEnv(gamma.WithHTTPClient(&http.Client{Transport: transport}))
	fmt.Println(client != nil, err)
	// Output: true <nil>
}

func ExampleClient_CreateGeneration() {
	client, err := gamma.NewClientFromEnv()
	if err != nil {
		fmt.Println(err)
		return
	}
	request := generation(api.GenerationRequest{ // generation adds what newer documents may require
		InputText: "A short history of tea",
		Format:    "presentation",
		NumCards:  75,
	})
	created, err := client.CreateGeneration(context.Background(), request)
	var invalid *gamma.InvalidRequestError
	switch {
	case errors.Is(err, gamma.ErrMaybeCreated):
		fmt.Println("check the credits before creating it again:", err)
	case errors.As(err, &invalid):
		fmt.Println("not sent:", invalid.Field, invalid.Reason)
	case err != nil:
		fmt.Println("not created:", err)
	default:
		fmt.Println(created.GenerationID, "with a warning:", created.Warnings)
	}
	// Output: deck1 with a warning: numCards was lowered to 60
}

func ExampleClient_Themes() {
	client, err := gamma.NewClientFromEnv()
	if err != nil {
		fmt.Println(err)
		return
	}
	for theme, err := range client.Themes(context.Background(), nil) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(theme.ID, gamma.Printable(theme.Name))
	}
	// Output:
	// t1 Ash
	// t2 Oak
}

func ExampleClient_DownloadFile() {
	client, err := gamma.NewClientFromEnv()
	if err != nil {
		fmt.Println(err)
		return
	}
	exportURL := os.Getenv("GAMMA_BASE_URL") + "/files/deck1.pdf" // from a completed generation
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	err = client.DownloadFile(context.Background(), exportURL, filepath.Join(dir, "deck.pdf"),
		gamma.WithProgress(func(written, total int64) { fmt.Println(written, "of", total, "bytes") }))
	if errors.Is(err, gamma.ErrLinkExpired) {
		fmt.Println("poll the generation again for a new link")
	} else if err != nil {
		fmt.Println(err)
	}
	// Output: 12 of 12 bytes
}

func ExampleValidate() {
	err := gamma.Validate(api.GenerationRequest{ExportAs: "pdf"}) // without a text

	var invalid *gamma.InvalidRequestError
	if errors.As(err, &invalid) {
		fmt.Println("the API would refuse", invalid.Operation)
	}
	// Output: the API would refuse POST /v1.0/generations
}

func ExampleWithOnRetry() {
	client, err := gamma.NewClientFromEnv(gamma.WithOnRetry(func(r gamma.Retry) {
		fmt.Printf("%s: attempt %d failed, retrying in %v: %v\n", r.Operation, r.Attempt, r.Pause, r.Err)
	}))
	fmt.Println(client != nil, err)
	// Output: true <nil>
}
