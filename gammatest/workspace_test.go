package gammatest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/test/sample"
	"github.com/gamma-sdk/gamma-go/poller"
)

func TestOnCreate(t *testing.T) {
	client, g := NewClient(t, Completed(""))
	var seen []string
	g.OnCreate(func(request api.GenerationRequest) []Step {
		seen = append(seen, request.InputText+" "+string(request.ExportAs))
		switch {
		case request.InputText == "coffee":
			return []Step{Failed(422, "No coffee.")}
		case len(seen) == 4 && len(g.Requests()) > 0: // it may use the API
			return []Step{Failed(500, "The fourth.")}
		}
		return nil
	})
	create := func(input string) (string, error) {
		c, err := client.CreateGeneration(t.Context(), text(api.GenerationRequest{InputText: input, ExportAs: "pdf"}))
		return c.GenerationID, err
	}
	template := func(prompt string) (string, error) {
		request := api.TemplateGenerationRequest{GammaID: "g_template", Prompt: prompt, ExportAs: "pptx"}
		c, err := client.CreateFromTemplateGeneration(t.Context(), sample.Request(document, "createFromTemplateGeneration", request))
		return c.GenerationID, err
	}
	for i, tt := range []struct {
		create func(string) (string, error)
		text   string
		code   int // of the failure
	}{{create, "tea", 0}, {create, "coffee", 422}, {template, "coffee", 422}, {template, "tea", 500}, {create, "tea", 0}} {
		id, err := tt.create(tt.text)
		if err != nil {
			t.Fatal(err)
		}
		_, err = poller.New(client).Wait(t.Context(), id)
		var failed *poller.FailedError
		if errors.As(err, &failed); (err == nil) != (tt.code == 0) || failed != nil && failed.StatusCode != tt.code {
			t.Errorf("generation %d: %v, want %d", i+1, err, tt.code)
		}
	}
	// What creates nothing is not asked for.
	g.Next("createGeneration", Status(402))
	if _, err := create("tea"); err == nil {
		t.Error("created")
	}
	g.SetKey("another")
	if _, err := create("tea"); err == nil {
		t.Error("created")
	}
	g.SetKey(Key)
	if want := []string{"tea pdf", "coffee pdf", "coffee pptx", "tea pptx", "tea pdf"}; !slices.Equal(seen, want) {
		t.Errorf("called with %q, want %q", seen, want)
	}
	g.OnCreate(nil)
	if _, err := create("tea"); err != nil || len(seen) != 5 {
		t.Errorf("%v after %d calls", err, len(seen))
	}
}

func TestOnCreateIsCalledForOneRequestAtATime(t *testing.T) {
	client, g := NewClient(t)
	n := 0 // the race detector looks at it
	g.OnCreate(func(api.GenerationRequest) []Step {
		n++
		return nil
	})
	var creates sync.WaitGroup
	for i := range 20 {
		creates.Go(func() {
			if _, err := client.CreateGeneration(t.Context(), text(api.GenerationRequest{InputText: fmt.Sprint("tea ", i)})); err != nil {
				t.Error(err)
			}
		})
	}
	creates.Wait()
	if n != 20 {
		t.Errorf("called %d times", n)
	}
}

// A life of steps that respond to no poll is none.
func TestLifeOfNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		life, onCreate []Step
		want           api.GenerationStatus
	}{
		"of every generation": {life: []Step{Pending(0)}, want: api.GenerationStatusCompleted},
		"of one":              {life: []Step{Failed(422, "x")}, onCreate: []Step{Pending(0), {}}, want: api.GenerationStatusFailed},
		"of neither":          {life: []Step{{}}, onCreate: []Step{Times(0, Drop())}, want: api.GenerationStatusCompleted},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, g := NewClient(t, tt.life...)
				g.OnCreate(func(api.GenerationRequest) []Step { return tt.onCreate })
				created, err := client.CreateGeneration(t.Context(), text(api.GenerationRequest{InputText: "tea"}))
				if err != nil {
					t.Fatal(err)
				}
				gen, err := poller.New(client).Wait(t.Context(), created.GenerationID)
				var failed *poller.FailedError
				if errors.As(err, &failed) {
					gen, err = failed.Generation, nil
				}
				if err != nil || gen.Status != tt.want {
					t.Errorf("%+v, %v, want %s", gen, err, tt.want)
				}
			})
		})
	}
}
