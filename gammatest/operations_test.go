package gammatest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/test/sample"
	"github.com/gamma-sdk/gamma-go/poller"
)

// document is that of the SDK.
var document = sample.New(gamma.OpenAPI())

// text is a request with what the document requires beside what is set.
func text(request api.GenerationRequest) api.GenerationRequest {
	return sample.Request(document, "createGeneration", request)
}

// Every operation of the document, over real sockets, with both directions validated.
func TestEveryOperation(t *testing.T) {
	g := NewServer(t)
	client, err := gamma.NewClient(Key, gamma.WithBaseURL(g.URL))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()

	created, err := client.CreateGeneration(ctx, fullGeneration())
	if err != nil || created.Warnings != "numCards was lowered to 40." {
		t.Fatalf("%+v %v", created, err)
	}
	p := poller.New(client)
	p.Interval = time.Millisecond
	gen, err := p.Wait(ctx, created.GenerationID)
	if err != nil {
		t.Fatal(err)
	}
	var export bytes.Buffer
	g.NextDownload(CutAfter(20_000, Usual()))
	if err := client.Download(ctx, gen.ExportURL, &export); err != nil || !bytes.Equal(export.Bytes(), g.Export(gen.GenerationID)) {
		t.Errorf("%d bytes, %v", export.Len(), err)
	}
	if n := len(g.Downloads()); n != 2 {
		t.Errorf("%d downloads", n)
	}
	g.ExpireLinks()
	if err := client.Download(ctx, gen.ExportURL, &export); !errors.Is(err, gamma.ErrLinkExpired) {
		t.Errorf("an expired link: %v", err)
	}
	if gen, err = p.Wait(ctx, created.GenerationID); err != nil {
		t.Fatal(err)
	}
	export.Reset()
	if err := client.Download(ctx, gen.ExportURL, &export); err != nil || export.Len() == 0 {
		t.Errorf("a new link: %v", err)
	}

	g.OnCreate(func(api.GenerationRequest) []Step { return []Step{Failed(422, "Failed to generate text.")} })
	template := api.TemplateGenerationRequest{GammaID: gen.GammaID, Prompt: "For coffee", ExportAs: "pdf"}
	copied, err := client.CreateFromTemplateGeneration(ctx, sample.Request(document, "createFromTemplateGeneration", template))
	if err != nil || copied.Warnings != "" {
		t.Fatalf("%+v %v", copied, err)
	}
	var failed *poller.FailedError
	if _, err := p.Wait(ctx, copied.GenerationID); !errors.As(err, &failed) || failed.StatusCode != 422 {
		t.Errorf("%v", err)
	}

	var names []string
	for theme, err := range client.Themes(ctx, sample.As[*api.ListThemesParams](map[string]any{"limit": 1, "query": "A"})) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, theme.Name)
	}
	if !slices.Equal(names, []string{"Ash", "Oak"}) {
		t.Errorf("themes %v", names)
	}
	names = nil
	for folder, err := range client.Folders(ctx, sample.As[*api.ListFoldersParams](map[string]any{"limit": 1})) {
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

	// The document may lack these two.
	archive, archives := document.Operation("archiveGamma")
	remove, removes := document.Operation("deleteGamma")
	for _, step := range []struct {
		possible bool
		o        sample.Operation
		id, want string
	}{
		{archives, archive, gen.GammaID, `"archived":true`},
		{removes, remove, gen.GammaID, `"status":"deleted"`},
		{archives && removes, archive, gen.GammaID, "403"},
		{removes, remove, "my-slug", "403"},
	} {
		if !step.possible {
			continue
		}
		rsp, err := document.Call(ctx, client, step.o, sample.Mode{}, map[string]any{step.o.Parameters[0].Name: step.id})
		body, _ := rsp.(interface{ GetBody() []byte })
		switch {
		case step.want == "403" && errors.Is(err, gamma.ErrForbidden):
		case err != nil || body == nil || !bytes.Contains(body.GetBody(), []byte(step.want)):
			t.Errorf("%s of %s: %v %v, want %s", step.o.ID, step.id, rsp, err, step.want)
		}
	}

	if r := g.Requests()[0]; !bytes.Contains(r.Body, []byte(`"inputText":"A short history of tea"`)) {
		t.Errorf("the body of the create was %q", r.Body)
	}
	seen, queries := map[string]bool{}, map[string]bool{}
	for _, r := range g.Requests() {
		query, _ := url.ParseQuery(r.Query) // the order is that of the document
		queries[query.Encode()] = true
		request, _ := http.NewRequest(r.Method, "https://x"+r.Path, nil)
		if route, _, err := g.contract.router.FindRoute(request); err == nil {
			seen[route.Operation.OperationID] = true
		}
	}
	if !queries["limit=1&query=A"] {
		t.Errorf("the queries were %v", queries)
	}
	for _, o := range document.Operations {
		if seen[o.ID] {
			continue
		}
		for _, m := range []sample.Mode{{}, {Full: true}} {
			if rsp, err := document.Call(ctx, client, o, m, nil); err != nil || rsp == nil {
				t.Errorf("%s, %+v: %v %v", o.ID, m, rsp, err)
			}
		}
	}
}

// fullGeneration has every property that the document has.
func fullGeneration() api.GenerationRequest {
	o, _ := document.Operation("createGeneration")
	body, _ := document.Value(o.Body, sample.Mode{Full: true}).(map[string]any)
	for name, v := range map[string]any{
		"inputText": "A short history of tea",
		"numCards":  50,
		"exportAs":  "pdf",
		"themeId":   "theme-oak",
		"folderIds": []string{"folder-tea"},
	} {
		body[name] = v
	}
	if images, ok := body["imageOptions"].(map[string]any); ok {
		images["model"] = "a-model-of-tomorrow"
	}
	return sample.As[api.GenerationRequest](body)
}

func isStatus(err error, status int) bool {
	var apiErr *gamma.APIError
	return errors.As(err, &apiErr) && apiErr.StatusCode == status
}

// An operation that has no script here gets a response from the document, and its
// requests are validated like any other.
func TestOperationsWithoutAScript(t *testing.T) {
	unknown := []byte(`{"openapi":"3.0.0","info":{"title":"T","version":"1"},"paths":{
		"/images":{
			"post":{"operationId":"createImage","requestBody":{"required":true,"content":{"application/json":{"schema":{"type":"object","required":["prompt","size","id"],"properties":{
				"prompt":{"type":"string","minLength":3},"size":{"$ref":"#/components/schemas/Size"},"model":{"type":"string","enum":["one"]},"id":{"type":"string","readOnly":true}}}}}},
				"responses":{"202":{"description":"Later","content":{"application/json":{"schema":{"$ref":"#/components/schemas/Image"}}}}}},
			"get":{"operationId":"listImages","parameters":[{"name":"ids","in":"query","required":true,"schema":{"type":"array","minItems":2,"items":{"type":"string"}}}],
				"responses":{"200":{"description":"OK","content":{"application/json":{"schema":{"type":"array","items":{"$ref":"#/components/schemas/Image"}}}}}}}},
		"/images/{id}":{
			"parameters":[{"name":"id","in":"path","required":true,"schema":{"type":"string","pattern":"^(?!x)[a-z]+$","example":"cat"}}],
			"get":{"operationId":"getImage","parameters":[{"name":"X-Size","in":"header","required":true,"schema":{"$ref":"#/components/schemas/Size"}}],
				"responses":{"200":{"description":"OK","content":{"image/png":{"schema":{"type":"string","format":"binary"}}}}}},
			"delete":{"operationId":"deleteImage","responses":{"204":{"description":"Gone"}}},
			"put":{"operationId":"keepImage","responses":{"201":{"description":"Kept"}}}}
	},"components":{"schemas":{
		"Size":{"type":"string","enum":["small",null],"nullable":true},
		"Image":{"type":"object","required":["id","size","at","tags","by"],"properties":{
			"id":{"type":"string","readOnly":true,"pattern":"^img_[0-9]{3}$"},
			"size":{"allOf":[{"$ref":"#/components/schemas/Size"}]},
			"at":{"type":"string","format":"date-time"},
			"tags":{"type":"array","minItems":2,"uniqueItems":true,"items":{"type":"string","maxLength":7}},
			"by":{"oneOf":[{"type":"object","required":["name"],"properties":{"name":{"type":"string"}}},{"type":"integer"}]},
			"parent":{"$ref":"#/components/schemas/Image"}}}
	}}}`)
	const image = `{"at":"2026-01-02T03:04:05Z","by":{"name":"string"},"id":"img_000","size":"small","tags":["string","string1"]}`
	c, err := parse(unknown)
	if err != nil {
		t.Fatal(err)
	}
	responses := map[string]string{
		"createImage": "202 application/json " + image,
		"listImages":  "200 application/json [" + image + "]",
		"getImage":    "200 image/png string",
		"deleteImage": "204  ",
		"keepImage":   "201  ",
	}
	for _, o := range c.sample.Operations {
		t.Run(o.ID, func(t *testing.T) {
			r := &recorder{}
			g := NewTransport(r)
			defer r.clean()
			g.contract = c
			for _, m := range []sample.Mode{{}, {Full: true}} {
				request, err := c.sample.NewRequest(t.Context(), "https://x", o, m, nil)
				if err != nil {
					t.Fatal(err)
				}
				request.Header.Set("X-Api-Key", Key)
				a := send(g, request)
				if got := fmt.Sprint(a.status, " ", a.header.Get("Content-Type"), " ", a.body); got != responses[o.ID] || len(r.errors) > 0 {
					t.Errorf("%+v: %s, reported %q", m, got, r.errors)
				}
			}
			g.Next(o.ID, Status(503))
			request, _ := c.sample.NewRequest(t.Context(), "https://x", o, sample.Mode{}, nil)
			request.Header.Set("X-Api-Key", Key)
			if a := send(g, request); a.status != 503 {
				t.Errorf("status %d, want that of Next", a.status)
			}
		})
	}
	for name, tt := range map[string]struct{ method, target, body, want string }{
		"no prompt":     {"POST", "/images", `{"size":"small"}`, "field prompt is missing"},
		"a sent id":     {"POST", "/images", `{"prompt":"tea","size":null,"id":"x"}`, `readOnly property "id" in request`},
		"too few ids":   {"GET", "/images?ids=a", "", "minimum number of items is 2"},
		"no ids":        {"GET", "/images", "", `query parameter "ids" is missing`},
		"no header":     {"GET", "/images/cat", "", "header X-Size is missing"},
		"another query": {"DELETE", "/images/cat?all=1", "", `query parameter "all" is not documented`},
	} {
		t.Run(name, func(t *testing.T) {
			r := &recorder{}
			g := NewTransport(r)
			defer r.clean()
			g.contract = c
			request := newRequest(t, t.Context(), tt.method, "https://x"+tt.target)
			if tt.body != "" {
				request.Header.Set("Content-Type", "application/json")
				request.Body = io.NopCloser(strings.NewReader(tt.body))
			}
			if a := send(g, request); a.status != 400 || len(r.errors) != 1 || !strings.Contains(r.errors[0], tt.want) {
				t.Errorf("%d, reported %q, want %s", a.status, r.errors, tt.want)
			}
		})
	}
}

// In memory, an hour of creating, waiting and downloading takes no time.
func TestEveryOperationInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, g := NewClient(t, PendingFor(3*time.Minute), Completed(""))
		g.SetThemes(api.ThemeItem{ID: "t", Name: "T", Type: "custom"})
		g.SetFolders()
		g.Next("createGeneration", RateLimited(time.Minute), Status(402))
		request := text(api.GenerationRequest{InputText: "tea", ExportAs: "pdf"})
		if _, err := client.CreateGeneration(t.Context(), request); !errors.Is(err, gamma.ErrInsufficientCredits) {
			t.Errorf("%v", err)
		}
		g.Next("createGeneration", Drop())
		if _, err := client.CreateGeneration(t.Context(), request); !errors.Is(err, gamma.ErrMaybeCreated) {
			t.Errorf("%v", err)
		}
		created, err := client.CreateGeneration(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		gen, err := poller.New(client).Wait(t.Context(), created.GenerationID)
		if err != nil {
			t.Fatal(err)
		}
		var export bytes.Buffer
		g.NextDownload(Times(2, CutAfter(1000, Usual())))
		if err := client.Download(context.WithoutCancel(t.Context()), gen.ExportURL, &export); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(export.Bytes(), g.Export(gen.GenerationID)) || len(g.Downloads()) != 3 {
			t.Errorf("%d bytes in %d requests", export.Len(), len(g.Downloads()))
		}
		for theme, err := range client.Themes(t.Context(), nil) {
			if err != nil || theme.ID != "t" {
				t.Errorf("%+v %v", theme, err)
			}
		}
		for folder, err := range client.Folders(t.Context(), nil) {
			t.Errorf("%+v %v", folder, err)
		}
	})
}

func TestKeyAtTheHostOfExports(t *testing.T) {
	r := &recorder{}
	g := NewTransport(r)
	defer r.clean()
	request := newRequest(t, t.Context(), "GET", "https://"+filesHost+"/exports/gen1.pdf?signature=0") // with the key
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
		"status":    {"listThemes", Status(99), "listThemes: 99 is not a response status"},
		"times":     {"listThemes", Times(-2, Status(503)), "listThemes: a step -2 times"},
		"time":      {"getGenerationStatus", Times(2, PendingFor(time.Second)), "getGenerationStatus: a step that lasts for a time is for the life of a generation"},
		"state":     {"listThemes", Cut(Completed("")), "listThemes: a state of a generation is for getGenerationStatus"},
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
