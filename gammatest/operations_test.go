package gammatest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

// Every operation of the document, over real sockets, with both directions held to
// the document.
func TestEveryOperation(t *testing.T) {
	g := NewServer(t)
	client, err := gamma.NewClient(Key, gamma.WithBaseURL(g.URL))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	yes, no := true, false

	created, err := gamma.Create(ctx, client, api.Generation{
		InputText:              "A short history of tea",
		TextMode:               api.GenerationTextModeGenerate,
		Title:                  "Tea",
		Format:                 api.GenerationFormatPresentation,
		NumCards:               75,
		CardSplit:              api.GenerationCardSplitAuto,
		AdditionalInstructions: "Be brief.",
		ExportAs:               api.GenerationExportAsPdf,
		ThemeID:                "theme-oak",
		FolderIDs:              []string{"folder-tea"},
		TextOptions:            &api.TextOptions{Amount: "brief", Language: "en", Tone: "calm", Audience: "all"},
		ImageOptions:           &api.ImageOptions{Model: "a-model-of-tomorrow", Source: "aiGenerated", Style: "ink"},
		CardOptions: &api.CardOptions{Dimensions: "16x9", HeaderFooter: &api.HeaderFooter{
			TopLeft:           &api.HeaderFooterElement{Type: "image", Source: "custom", Src: "https://example.com/logo.png", Size: "sm"},
			HideFromFirstCard: &yes,
			HideFromLastCard:  &no,
		}},
		SharingOptions: &api.SharingOptions{WorkspaceAccess: "view", ExternalAccess: "noAccess", EmailOptions: &api.EmailOptions{Recipients: []string{"a@example.com"}, Access: "comment"}},
	})
	if err != nil || created.Warnings != "numCards was lowered to 60." {
		t.Fatalf("%+v %v", created, err)
	}
	p := poller.New(client)
	p.Interval = time.Millisecond
	gen, err := p.Wait(ctx, created.GenerationID)
	if err != nil {
		t.Fatal(err)
	}
	var export bytes.Buffer
	g.BreakDownloads(1, 20_000)
	if err := gamma.Download(ctx, gen.ExportURL, &export); err != nil || !bytes.Equal(export.Bytes(), g.Export(gen.GenerationID)) {
		t.Errorf("%d bytes, %v", export.Len(), err)
	}
	if n := len(g.Downloads()); n != 2 {
		t.Errorf("%d downloads", n)
	}
	g.ExpireLinks()
	if err := gamma.Download(ctx, gen.ExportURL, &export); !errors.Is(err, gamma.ErrLinkExpired) {
		t.Errorf("an expired link: %v", err)
	}
	if gen, err = p.Wait(ctx, created.GenerationID); err != nil {
		t.Fatal(err)
	}
	export.Reset()
	if err := gamma.Download(ctx, gen.ExportURL, &export); err != nil || export.Len() == 0 {
		t.Errorf("a new link: %v", err)
	}

	g.Created(Failed(422, "Failed to generate text."))
	copied, err := gamma.Create(ctx, client, api.FromTemplateGeneration{GammaID: gen.GammaID, Prompt: "For coffee", ExportAs: "pptx", ImageOptions: &api.FromTemplateImageOptions{Style: "ink"}})
	if err != nil {
		t.Fatal(err)
	}
	var failed *poller.FailedError
	if _, err := p.Wait(ctx, copied.GenerationID); !errors.As(err, &failed) || failed.StatusCode != 422 {
		t.Errorf("%v", err)
	}

	var names []string
	for theme, err := range gamma.Themes(ctx, client, &api.ListThemesParams{Limit: 1, Type: "standard", Query: "A"}) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, theme.Name)
	}
	if !slices.Equal(names, []string{"Ash", "Oak"}) {
		t.Errorf("themes %v", names)
	}
	names = nil
	for folder, err := range gamma.Folders(ctx, client, &api.ListFoldersParams{Limit: 1}) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, folder.Name)
	}
	if !slices.Equal(names, []string{"Sales", "Tea"}) {
		t.Errorf("folders %v", names)
	}
	if _, err := client.ListThemesWithResponse(ctx, &api.ListThemesParams{After: "x"}); !isStatus(err, 400) {
		t.Errorf("a cursor of no list: %v", err)
	}
	if _, err := client.ListFoldersWithResponse(ctx, &api.ListFoldersParams{After: "x"}); !isStatus(err, 400) {
		t.Errorf("a cursor of no list: %v", err)
	}

	if rsp, err := client.ArchiveGammaWithResponse(ctx, gen.GammaID); err != nil || !rsp.JSON200.Archived {
		t.Errorf("archive: %v", err)
	}
	if rsp, err := client.DeleteGammaWithResponse(ctx, gen.GammaID); err != nil || rsp.JSON200.Status != "deleted" {
		t.Errorf("delete: %v", err)
	}
	if _, err := client.ArchiveGammaWithResponse(ctx, gen.GammaID); !errors.Is(err, gamma.ErrForbidden) {
		t.Errorf("archive what was deleted: %v", err)
	}
	if _, err := client.DeleteGammaWithResponse(ctx, "my-slug"); !errors.Is(err, gamma.ErrForbidden) {
		t.Errorf("delete a slug: %v", err)
	}

	if r := g.Requests()[0]; !bytes.HasPrefix(r.Body, []byte(`{"additionalInstructions":"Be brief."`)) {
		t.Errorf("the body of the create was %q", r.Body)
	}
	seen, queries := map[string]bool{}, map[string]bool{}
	for _, r := range g.Requests() {
		queries[r.Query] = true
		request, _ := http.NewRequest(r.Method, "https://x"+r.Path, nil)
		if route, _, err := g.contract.router.FindRoute(request); err == nil {
			seen[route.Operation.OperationID] = true
		}
	}
	if !queries["query=A&limit=1&type=standard"] {
		t.Errorf("the queries were %v", queries)
	}
	var document struct {
		Paths map[string]map[string]struct{ OperationID string }
	}
	if err := json.Unmarshal(gamma.OpenAPI(), &document); err != nil {
		t.Fatal(err)
	}
	for _, operations := range document.Paths {
		for _, operation := range operations {
			if !seen[operation.OperationID] {
				t.Errorf("%s was not exercised", operation.OperationID)
			}
		}
	}
}

func isStatus(err error, status int) bool {
	var answer *gamma.APIError
	return errors.As(err, &answer) && answer.StatusCode == status
}

// In memory, an hour of creating, waiting and downloading takes no time.
func TestEveryOperationInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewTransport(t)
		transport := &http.Client{Transport: g}
		client, err := gamma.NewClient(Key, gamma.WithHTTPClient(transport))
		if err != nil {
			t.Fatal(err)
		}
		g.SetThemes(api.ThemeItem{ID: "t", Name: "T", Type: "custom"})
		g.SetFolders()
		g.Created(PendingFor(3*time.Minute), Completed(""))
		g.Next("createGeneration", RateLimited(time.Minute), Status(402))
		request := api.Generation{InputText: "tea", ExportAs: "png"}
		if _, err := poller.Generate(t.Context(), client, request); !errors.Is(err, gamma.ErrInsufficientCredits) {
			t.Errorf("%v", err)
		}
		g.Next("createGeneration", Drop())
		if _, err := gamma.Create(t.Context(), client, request); !errors.Is(err, gamma.ErrMaybeCreated) {
			t.Errorf("%v", err)
		}
		gen, err := poller.Generate(t.Context(), client, request)
		if err != nil {
			t.Fatal(err)
		}
		var export bytes.Buffer
		g.BreakDownloads(2, 1000)
		if err := gamma.Download(context.WithoutCancel(t.Context()), gen.ExportURL, &export, gamma.WithDownloadClient(transport)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(export.Bytes(), g.Export(gen.GenerationID)) || len(g.Downloads()) != 3 {
			t.Errorf("%d bytes in %d requests", export.Len(), len(g.Downloads()))
		}
		for theme, err := range gamma.Themes(t.Context(), client, nil) {
			if err != nil || theme.ID != "t" {
				t.Errorf("%+v %v", theme, err)
			}
		}
		for folder, err := range gamma.Folders(t.Context(), client, nil) {
			t.Errorf("%+v %v", folder, err)
		}
	})
}

func TestKeyAtTheHostOfExports(t *testing.T) {
	r := &recorder{}
	g := NewTransport(r)
	defer r.clean()
	request := newRequest(t, t.Context(), "GET", "https://"+filesHost+"/gen1.pdf?signature=0") // with the key
	if a := send(g, request); a.status != 403 || len(r.errors) != 1 {
		t.Errorf("%d %v", a.status, r.errors)
	}
}

func TestNextReportsMistakes(t *testing.T) {
	for name, tt := range map[string]struct {
		operation string
		step      Step
		want      string
	}{
		"status":    {"listThemes", Status(99), "listThemes: 99 is not the status of an answer"},
		"times":     {"listThemes", Times(-2, Status(503)), "listThemes: a step -2 times"},
		"time":      {"getGenerationStatus", Times(2, PendingFor(time.Second)), "getGenerationStatus: PendingFor means nothing here"},
		"operation": {"listTheme", Status(503), `the document has no operation "listTheme"`},
		"no name":   {"", Status(503), `the document has no operation ""`},
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
