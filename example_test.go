package gamma_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
)

// stand-in for the API: it knows one key and one generation.
func exampleServer() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-RateLimit-Remaining-Burst", "9994")
		switch {
		case r.Header.Get("X-API-KEY") != "sk-gamma-example":
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, `{"message":"Invalid API key.","statusCode":401}`)
		case r.URL.Path != "/v1.0/generations/gen1":
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, `{"message":"Generation ID not found.","statusCode":404}`)
		default:
			io.WriteString(w, `{"generationId":"gen1","status":"pending"}`)
		}
	}))
}

func ExampleNewClient() {
	server := exampleServer()
	defer server.Close()

	client, err := gamma.NewClient("sk-gamma-example",
		gamma.WithBaseURL(server.URL), // leave it out for the real API
		gamma.WithRequestTimeout(5*time.Second))
	if err != nil {
		fmt.Println(err)
		return
	}
	rsp, err := client.GetGenerationStatusWithResponse(context.Background(), "gen1")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(rsp.JSON200.Status, gamma.RateLimitOf(rsp.HTTPResponse.Header).Burst.Remaining)
	// Output: pending 9994
}

func ExampleNewClientFromEnv() {
	server := exampleServer()
	defer server.Close()
	os.Setenv("GAMMA_API_KEY", "sk-gamma-example")
	os.Setenv("GAMMA_BASE_URL", server.URL)
	defer os.Unsetenv("GAMMA_API_KEY")
	defer os.Unsetenv("GAMMA_BASE_URL")

	client, err := gamma.NewClientFromEnv()
	if err != nil {
		fmt.Println(err)
		return
	}
	rsp, err := client.GetGenerationStatusWithResponse(context.Background(), "gen1")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(rsp.JSON200.Status)
	// Output: pending
}

func ExampleAPIError() {
	server := exampleServer()
	defer server.Close()

	client, err := gamma.NewClient("sk-gamma-old", gamma.WithBaseURL(server.URL))
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = client.GetGenerationStatusWithResponse(context.Background(), "gen1")
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

	client, err := gamma.NewClient("sk-gamma-example",
		gamma.WithHTTPClient(&http.Client{Transport: transport}))
	fmt.Println(client != nil, err)
	// Output: true <nil>
}

func ExampleClient_CreateGeneration() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"generationId":"gen1","warnings":"numCards was lowered to 60"}`)
	}))
	defer server.Close()
	client, err := gamma.NewClient("sk-gamma-example", gamma.WithBaseURL(server.URL))
	if err != nil {
		fmt.Println(err)
		return
	}
	created, err := client.CreateGeneration(context.Background(), api.GenerationRequest{
		InputText: "A short history of tea",
		Format:    "presentation",
		NumCards:  75,
	})
	var invalid *gamma.InvalidRequestError
	switch {
	case errors.Is(err, gamma.ErrMaybeCreated):
		fmt.Println("do not create it again without a look at the credits:", err)
	case errors.As(err, &invalid):
		fmt.Println("not sent:", invalid.Field, invalid.Reason)
	case err != nil:
		fmt.Println("not created:", err)
	default:
		fmt.Println(created.GenerationID, "with a warning:", created.Warnings)
	}
	// Output: gen1 with a warning: numCards was lowered to 60
}

func ExampleClient_Themes() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Query().Get("after") == "" {
			io.WriteString(w, `{"data":[{"id":"t1","name":"Ash","type":"standard"}],"hasMore":true,"nextCursor":"c1"}`)
		} else {
			io.WriteString(w, `{"data":[{"id":"t2","name":"Oak","type":"custom"}],"hasMore":false,"nextCursor":null}`)
		}
	}))
	defer server.Close()
	client, err := gamma.NewClient("sk-gamma-example", gamma.WithBaseURL(server.URL))
	if err != nil {
		fmt.Println(err)
		return
	}
	for theme, err := range client.Themes(context.Background(), nil) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(theme.ID, theme.Name)
	}
	// Output:
	// t1 Ash
	// t2 Oak
}

func ExampleClient_DownloadFile() {
	files := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/pdf")
		io.WriteString(w, "%PDF-1.7 ...")
	}))
	defer files.Close()
	client, err := gamma.NewClient("sk-gamma-example")
	if err != nil {
		fmt.Println(err)
		return
	}
	gen := &api.GenerationStatusResponse{ExportURL: files.URL + "/deck.pdf"} // from a Poller
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	path := filepath.Join(dir, "deck.pdf")
	err = client.DownloadFile(context.Background(), gen.ExportURL, path,
		gamma.WithProgress(func(written, total int64) { fmt.Println(written, "of", total, "bytes") }))
	if errors.Is(err, gamma.ErrLinkExpired) {
		fmt.Println("poll the status again for another link")
	} else if err != nil {
		fmt.Println(err)
	}
	// Output: 12 of 12 bytes
}
