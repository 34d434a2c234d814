package batch_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/batch"
	"github.com/gamma-sdk/gamma-go/internal/test/fake"
	"github.com/gamma-sdk/gamma-go/poller"
)

// The examples use the fake server that fake.Main puts into the environment.
func TestMain(m *testing.M) { fake.Main(m) }

// A deck for each text of a folder. Running it again creates nothing twice.
func Example() {
	client, err := gamma.NewClientFromEnv()
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	dir := folder("coffee.md", "milk.md", "tea.md")
	defer func() { _ = os.RemoveAll(dir) }()

	inputs := func(yield func(batch.Input) bool) {
		files, _ := filepath.Glob(filepath.Join(dir, "*.md"))
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				log.Print(err)
				continue
			}
			name := strings.TrimSuffix(filepath.Base(file), ".md")
			request := api.GenerationRequest{InputText: string(text), ExportAs: "pdf"}
			if !yield(batch.Input{Key: name, Request: request}) {
				return
			}
		}
	}
	b := &batch.Batch{Client: client, Dir: filepath.Join(dir, "decks"), Poller: poller.New(client)}
	b.Poller.Interval = time.Millisecond // for the fake server of the examples
	for r := range b.Run(ctx, inputs) {
		if r.Err != nil {
			fmt.Println(r.Key, r.GenerationID, r.Err) // the same run again resumes it
			continue
		}
		fmt.Println(r.Key, "saved as", filepath.Base(r.Saved))
	}
	// Unordered output:
	// coffee saved as coffee.pdf
	// milk saved as milk.pdf
	// tea saved as tea.pdf
}

// What a run would do, before anything is paid for.
func ExampleBatch_Plan() {
	inputs := func(yield func(batch.Input) bool) {
		_ = yield(batch.Input{Key: "tea", Request: api.GenerationRequest{InputText: "A short history of tea", ExportAs: "pdf"}}) &&
			yield(batch.Input{Key: "empty", Request: api.GenerationRequest{}})
	}
	b := &batch.Batch{Dir: "decks"}
	for p := range b.Plan(inputs) {
		fmt.Println(p.Key, p.Action, p.Err)
	}
	// Output:
	// tea create <nil>
	// empty refuse gamma: POST /v1.0/generations: inputText is missing
}

func folder(names ...string) string {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("A short history of "+name), 0o600); err != nil {
			panic(err)
		}
	}
	return dir
}
