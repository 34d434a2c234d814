package gammatest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/test/sample"
	"github.com/gamma-sdk/gamma-go/poller"
	"github.com/getkin/kin-openapi/openapi3"
)

// create returns the contract of a document with one operation, whose body and response have
// these properties.
func create(t *testing.T, request, response, schemas string) *contract {
	t.Helper()
	c, err := parse([]byte(`{"openapi":"3.0.0","info":{"title":"T","version":"1"},"paths":{"/g":{"post":{"operationId":"createGeneration",
		"requestBody":{"content":{"application/json":{"schema":{"type":"object","properties":{` + request + `}}}}},
		"responses":{"200":{"description":"OK","content":{"application/json":{"schema":{"type":"object",` + response + `}}}}}}}},
		"components":{"schemas":{` + schemas + `}}}`))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func post(t *testing.T, g http.RoundTripper, body string) got {
	t.Helper()
	request := newRequest(t, t.Context(), "POST", "https://x/g")
	request.Header.Set("Content-Type", "application/json")
	request.Body = io.NopCloser(strings.NewReader(body))
	return send(g, request)
}

func TestRequestsWhereTheDocumentIsTooStrict(t *testing.T) {
	c := create(t, `
		"named":{"type":"object","properties":{"model":{"$ref":"#/components/schemas/Painter"}}},
		"inline":{"type":"object","properties":{"model":{"type":"string","enum":["one"]}}},
		"parts":{"type":"object","properties":{"model":{"allOf":[{"$ref":"#/components/schemas/Alias"}]}}},
		"circle":{"type":"object","properties":{"model":{"$ref":"#/components/schemas/Circle"}}},
		"size":{"type":"string","enum":["small"],"maxLength":5},
		"tint":{"type":"string","enum":["light",null]},
		"shade":{"nullable":true,"allOf":[{"$ref":"#/components/schemas/Shade"}]},
		"slug":{"type":"string","pattern":"^(?!x)"},
		"code":{"type":"string","pattern":"^[0-9]+$"}`, `"properties":{}`, `
		"Painter":{"type":"string","enum":["one"]},
		"Alias":{"$ref":"#/components/schemas/Painter"},
		"Circle":{"allOf":[{"$ref":"#/components/schemas/Circle"}]},
		"Shade":{"type":"string","enum":["dark"]}`)
	for body, violated := range map[string]bool{
		`{"named":{"model":"of tomorrow"}}`:  false,
		`{"inline":{"model":"of tomorrow"}}`: false,
		`{"parts":{"model":"of tomorrow"}}`:  false,
		`{"circle":{"model":"of tomorrow"}}`: false,
		`{"named":{"model":7}}`:              true,
		`{"size":"small"}`:                   false,
		`{"size":"huge"}`:                    false,
		`{"size":"enormous"}`:                true,
		`{"size":7}`:                         true,
		`{"size":null}`:                      true,
		`{"tint":null}`:                      false,
		`{"tint":"dark"}`:                    false,
		`{"shade":null}`:                     false,
		`{"shade":"light"}`:                  false,
		`{"slug":"x"}`:                       false, // not a pattern of Go
		`{"code":"x"}`:                       true,
	} {
		r := &recorder{}
		g := NewTransport(r)
		g.contract = c
		if a := post(t, g, body); (a.status == 400) != violated || (len(r.errors) > 0) != violated {
			t.Errorf("%s: status %d, reported %q", body, a.status, r.errors)
		}
		r.clean()
	}
}

// The API sends null for warnings when there are none.
func TestWarningsMayBeNull(t *testing.T) {
	const warnings = `"properties":{"warnings":{"$ref":"#/components/schemas/Text"},"note":{"type":"string"}}`
	for _, tt := range []struct {
		response, body string
		violated       bool
	}{
		{warnings, `{"warnings":null}`, false},
		{warnings, `{"warnings":"the theme is gone"}`, false},
		{warnings, `{"warnings":7}`, true},
		{warnings, `{"note":null}`, true},
		{warnings + `,"required":["warnings"]`, `{"warnings":null}`, true},
	} {
		r := &recorder{}
		g := NewTransport(r)
		g.contract = create(t, "", tt.response, `"Text":{"type":"string"}`)
		g.Next("createGeneration", JSON(jsonText(tt.body)))
		if a := post(t, g, "{}"); (a.status == 500) != tt.violated || (len(r.errors) > 0) != tt.violated {
			t.Errorf("%s: status %d, reported %q", tt.body, a.status, r.errors)
		}
		r.clean()
	}
}

// A warning is a string or a list of strings, as in the document.
func TestWarningsHaveTheTypeOfTheDocument(t *testing.T) {
	for schema, want := range map[string]string{
		`{"type":"string"}`:                          `"numCards was lowered to 40."`,
		`{"type":"array","items":{"type":"string"}}`: `["numCards was lowered to 40."]`,
	} {
		r := &recorder{}
		g := NewTransport(r)
		g.contract = create(t, `"numCards":{"type":"number"}`, `"properties":{"warnings":`+schema+`}`, "")
		if a := post(t, g, `{"numCards":50}`); a.status != 200 || !strings.Contains(a.body, `"warnings":`+want) {
			t.Errorf("%s: status %d, %s, reported %q", schema, a.status, a.body, r.errors)
		}
		r.clean()
	}
}

// jsonText is encoded JSON.
type jsonText string

func (j jsonText) MarshalJSON() ([]byte, error) { return []byte(j), nil }

// A response has what the document requires, and null only where it is allowed.
func TestResponsesHaveWhatTheDocumentRequires(t *testing.T) {
	r := &recorder{}
	g := NewTransport(r)
	defer r.clean()
	c, err := parse([]byte(`{"openapi":"3.0.0","info":{"title":"T","version":"1"},"paths":{
		"/g":{"post":{"operationId":"createGeneration","requestBody":{"content":{"application/json":{}}},
			"responses":{"201":{"description":"OK","content":{"application/json":{"schema":{"type":"object","required":["generationId","place"],"properties":{"place":{"type":"integer"},"warnings":{"type":"string"}}}}}}}}},
		"/g/{id}":{"get":{"operationId":"getGenerationStatus","parameters":[{"name":"id","in":"path","required":true,"schema":{"type":"string"}}],
			"responses":{"200":{"description":"OK","content":{"application/json":{"schema":{"type":"object","required":["owner"],"properties":{"owner":{"type":"object","required":["name"],"properties":{"name":{"type":"string"}}}}}}}}}}},
		"/t":{"get":{"operationId":"listThemes",
			"responses":{"200":{"description":"OK","content":{"application/json":{"schema":{"type":"object","properties":{"nextCursor":{"type":"string"},"data":{"type":"array","items":{"type":"object","required":["size"],"properties":{"size":{"type":"integer"}}}}}}}}}}}}
	}}`))
	if err != nil {
		t.Fatal(err)
	}
	g.contract = c
	theme := api.ThemeItem{ID: "t", Name: "T", Type: "custom"}
	g.SetThemes(theme)
	var item map[string]any // with what the SDK's own document requires
	data, _ := json.Marshal(theme)
	if err := json.Unmarshal(data, &item); err != nil {
		t.Fatal(err)
	}
	item["size"] = 1
	sized, _ := json.Marshal(item)
	g.Add("gen1", Pending(1), JSON(map[string]any{"status": "pending"}))
	get := func(path string) string { return send(g, newRequest(t, t.Context(), "GET", "https://x"+path)).body }
	for got, want := range map[string]string{
		post(t, g, "{}").body: `{"generationId":"gen000001","place":1,"warnings":null}`,
		get("/g/gen1"):        `{"generationId":"gen1","owner":{"name":"string"},"status":"pending"}`,
		get("/t"):             `{"data":[` + string(sized) + `],"hasMore":false}`,
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if len(r.errors) > 0 {
		t.Errorf("reported %q", r.errors)
	}
	// Nothing is added to a response that a test gives.
	if get("/g/gen1"); len(r.errors) != 1 || !strings.Contains(r.errors[0], "field owner is missing") {
		t.Errorf("reported %q", r.errors)
	}
}

// document is the OpenAPI document of the SDK.
var document = sample.New(gamma.OpenAPI())

// text returns request with what the document requires.
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

// fullGeneration returns a request with every property of the document.
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

// An operation that the fake does not know has a response made up from the document. Its
// requests are validated.
func TestUnknownOperations(t *testing.T) {
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
		"read-only id":  {"POST", "/images", `{"prompt":"tea","size":null,"id":"x"}`, `readOnly property "id" in request`},
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

// internal/ci/document.sh runs this test by name.
func TestDocumentIsValidOpenAPI(t *testing.T) {
	document, err := openapi3.NewLoader().LoadFromData(gamma.OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	// Some examples of the vendor contradict their schemas, and nothing is generated from an
	// example. The syntax of a pattern is not Go's.
	if err := document.Validate(t.Context(), openapi3.DisableExamplesValidation(), openapi3.DisableSchemaPatternValidation()); err != nil {
		t.Error(err)
	}
}
