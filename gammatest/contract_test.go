package gammatest

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gamma-sdk/gamma-go/api"
)

// create is a document of one operation, with these properties of its body and of its
// response.
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

// A warning is a text or a list of them, as the document has it.
func TestWarningsAreAsTheDocumentHasThem(t *testing.T) {
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

// jsonText is JSON as it is.
type jsonText string

func (j jsonText) MarshalJSON() ([]byte, error) { return []byte(j), nil }

// What a later document requires of a response is there, and null only where it may be.
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
	// Nothing is added to what a test has written.
	if get("/g/gen1"); len(r.errors) != 1 || !strings.Contains(r.errors[0], "field owner is missing") {
		t.Errorf("reported %q", r.errors)
	}
}
