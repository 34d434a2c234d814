package poller_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/sample"
	"github.com/gamma-sdk/gamma-go/poller"
)

// Requests of each kind, with what the document requires.
var (
	published = sample.New(gamma.OpenAPI())
	text      = sample.Request(published, "createGeneration", api.GenerationRequest{InputText: "x"})
	template  = sample.Request(published, "createFromTemplateGeneration", api.TemplateGenerationRequest{Prompt: "x", GammaID: "g_1"})
)

// maker creates the generation gen1, which takes 30 seconds.
type maker struct {
	t       *testing.T
	start   time.Time
	paths   []string
	polled  []time.Duration
	answer  string // to the create
	created bool   // was reported
}

func (m *maker) RoundTrip(req *http.Request) (*http.Response, error) {
	m.paths = append(m.paths, req.Method+" "+req.URL.Path)
	body := m.answer
	if req.Method == http.MethodGet {
		if !m.created {
			m.t.Error("a poll came before the id was reported")
		}
		m.polled = append(m.polled, time.Since(m.start))
		body = `{"generationId":"gen1","status":"pending"}`
		if time.Since(m.start) > 30*time.Second {
			body = `{"generationId":"gen1","status":"completed"}`
		}
	}
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}, nil
}

func TestGenerate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &maker{t: t, start: time.Now(), answer: `{"generationId":"gen1","warnings":"no such theme"}`}
		client, err := gamma.NewClient("sk-gamma-test", gamma.WithHTTPClient(&http.Client{Transport: m}))
		if err != nil {
			t.Fatal(err)
		}
		report := func(c gamma.Created) {
			m.created = c == gamma.Created{GenerationID: "gen1", Warnings: "no such theme"}
		}
		gen, err := poller.Generate(t.Context(), client, text, report, nil)
		if err != nil || gen.Status != api.GenerationStatusCompleted || m.polled[0] != 20*time.Second || len(m.polled) > 4 {
			t.Errorf("%+v, %v, polled at %v", gen, err, m.polled)
		}

		m.start, m.paths = time.Now(), nil
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		_, err = poller.Generate(ctx, client, template)
		var stopped *poller.WaitError
		if !errors.As(err, &stopped) || stopped.ID != "gen1" || m.paths[0] != "POST /v1.0/generations/from-template" {
			t.Errorf("%v, sent %q", err, m.paths)
		}

		m.paths, m.answer = nil, `{}`
		if _, err := poller.Generate(t.Context(), client, text); !errors.Is(err, gamma.ErrMaybeCreated) || len(m.paths) != 1 {
			t.Errorf("%v, sent %q", err, m.paths)
		}
		m.paths, m.answer, m.created = nil, `{"generationId":"gen1"} and more`, false
		if _, err := poller.Generate(t.Context(), client, text, func(c gamma.Created) { m.created = c.GenerationID == "gen1" }); !errors.Is(err, gamma.ErrMaybeCreated) || len(m.paths) != 1 || !m.created {
			t.Errorf("%v, sent %q, reported: %v", err, m.paths, m.created)
		}
		var none *api.ClientWithResponses
		if _, err := poller.Generate(t.Context(), none, text); err == nil {
			t.Error("took a nil client")
		}
	})
}
