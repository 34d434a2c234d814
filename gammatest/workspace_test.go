package gammatest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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
	// OnCreate is not called for requests that create nothing.
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

// A life without steps for polls is the default life.
func TestLifeWithoutPolls(t *testing.T) {
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

func TestNextReportsMistakes(t *testing.T) {
	for name, tt := range map[string]struct {
		operation string
		step      Step
		want      string
	}{
		"status":    {"listThemes", Status(99), "listThemes: 99 is not a response status"},
		"times":     {"listThemes", Times(-2, Status(503)), "listThemes: Times(-2): the number must not be negative"},
		"time":      {"getGenerationStatus", Times(2, PendingFor(time.Second)), "getGenerationStatus: a step with a time is only for the life of a generation"},
		"state":     {"listThemes", Cut(Completed("")), "listThemes: a state of a generation is only for getGenerationStatus"},
		"operation": {"noSuchOperation", Status(503), `the OpenAPI document has no operation "noSuchOperation"`},
		"no name":   {"", Status(503), `the OpenAPI document has no operation ""`},
	} {
		t.Run(name, func(t *testing.T) {
			r := &recorder{}
			g := NewTransport(r)
			defer r.clean()
			if g.Next(tt.operation, tt.step); len(r.errors) != 1 || r.errors[0] != "gammatest: "+tt.want {
				t.Errorf("reported %q, want %q", r.errors, tt.want)
			}
			if a := send(g, newRequest(t, t.Context(), "GET", "https://x/v1.0/themes")); a.status != 200 {
				t.Errorf("status %d", a.status)
			}
		})
	}
}
