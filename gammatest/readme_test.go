package gammatest_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/internal/sample"
	"github.com/gamma-sdk/gamma-go/poller"
)

func TestSlowDeck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // in which minutes take milliseconds
		g := gammatest.NewTransport(t, gammatest.PendingFor(4*time.Minute), gammatest.Drop(), gammatest.Completed(""))
		client, err := gamma.NewClient(gammatest.Key, gamma.WithHTTPClient(&http.Client{Transport: g}))
		if err != nil {
			t.Fatal(err)
		}
		if err := makeDeck(t.Context(), client); err != nil { // your program
			t.Error(err)
		}
	})
}

// makeDeck is what a user may have written. The sample is for what later documents
// require.
func makeDeck(ctx context.Context, client *gamma.Client) error {
	created, err := client.CreateGeneration(ctx, sample.Request(sample.New(gamma.OpenAPI()), "createGeneration", api.GenerationRequest{InputText: "tea", ExportAs: "pdf"}))
	if err != nil {
		return err
	}
	gen, err := poller.New(client).Wait(ctx, created.GenerationID)
	if err == nil && gen.ExportURL == "" {
		err = errors.New("no export")
	}
	return err
}

// The lines in README.md are those of TestSlowDeck.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	this, err := os.ReadFile("readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "## Testing your program")
	_, rest, _ = strings.Cut(rest, "```go\n")
	lines, _, found := strings.Cut(rest, "```")
	indented := "\t" + strings.ReplaceAll(strings.TrimSuffix(lines, "\n"), "\n", "\n\t") + "\n"
	if !found || !strings.Contains(string(this), indented) {
		t.Errorf("readme_test.go has no such lines as README.md:\n%s", indented)
	}
}
