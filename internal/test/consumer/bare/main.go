// Command bare waits for a generation with net/http alone and without retries. The size of
// programs with the SDK is compared with its size.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"time"
)

type generation struct {
	Status    string `json:"status"`
	GammaURL  string `json:"gammaUrl"`
	ExportURL string `json:"exportUrl"`
	Credits   *struct {
		Deducted  float64 `json:"deducted"`
		Remaining float64 `json:"remaining"`
	} `json:"credits"`
	Error *struct {
		Message string `json:"message"`
	} `json:"error"`
}

type failedError struct{ message string }

func (e *failedError) Error() string { return "the generation failed: " + e.message }

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: bare GENERATION_ID")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	gen, err := wait(ctx, os.Args[1])
	cancel()
	var failed *failedError
	if errors.As(err, &failed) {
		log.Fatalf("Gamma could not make it: %s", failed.message)
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("Gamma: ", gen.GammaURL)
	fmt.Println("Export:", gen.ExportURL)
	if gen.Credits != nil {
		fmt.Printf("Credits: %.0f used, %.0f left\n", gen.Credits.Deducted, gen.Credits.Remaining)
	}
}

func wait(ctx context.Context, id string) (*generation, error) {
	for {
		gen, err := get(ctx, id)
		switch {
		case err != nil:
			return nil, err
		case gen.Status == "completed":
			return gen, nil
		case gen.Error != nil:
			return nil, &failedError{gen.Error.Message}
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(5 * time.Second):
		}
	}
}

func get(ctx context.Context, id string) (*generation, error) {
	u := os.Getenv("GAMMA_BASE_URL") + "/v1.0/generations/" + url.PathEscape(id)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil) //nolint:gosec // the address is the user's own
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-API-KEY", os.Getenv("GAMMA_API_KEY"))
	rsp, err := http.DefaultClient.Do(req) //nolint:gosec // the address is the user's own
	if err != nil {
		return nil, err
	}
	defer func() { _ = rsp.Body.Close() }()
	if rsp.StatusCode != http.StatusOK {
		return nil, errors.New("unexpected status " + rsp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(rsp.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	gen := new(generation)
	return gen, json.Unmarshal(body, gen)
}
