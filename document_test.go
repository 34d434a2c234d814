package gamma_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/internal/test/sample"
)

// The vendor's page about the status operation is the most reliable source. Every update of
// openapi.json must keep what the poller needs of it.
func TestStatusOperation(t *testing.T) {
	for _, fact := range missing(statusOperation(statusPage(t)), gamma.OpenAPI()) {
		t.Errorf("openapi.json lacks: %s", fact)
	}
}

func statusPage(t *testing.T) []byte {
	t.Helper()
	page, err := os.ReadFile("testdata/get-generation-status.openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if facts := statusOperation(page); len(facts) != 18 {
		t.Fatalf("the page has the facts %q", facts)
	}
	return page
}

// Only what the poller needs must stay as it is.
func TestStatusOperationChanges(t *testing.T) {
	page := statusPage(t)
	const number = `"type": "number"`
	for _, tt := range []struct {
		name, old, new string
		missing        string // empty if nothing is
	}{
		{"another description", `"Generation not found"`, `"No such generation"`, ""},
		{"a new status", `"failed"`, `"failed", "canceled"`, ""},
		{"a status removed", `"pending",`, ``, `status is "pending"`},
		{"a new property", `"gammaId": {`, `"title": {"type": "string"}, "gammaId": {`, ""},
		{"a new error status", `"404": {`, `"429": {"description": "Slow down"}, "404": {`, ""},
		{"integers", number, `"type": "integer"`, ""},
		{"nullable", `"type": "string",`, `"type": "string", "nullable": true,`, ""},
		{"the enum in allOf", `"$ref": "#/components/schemas/GenerationStatus"`, `"allOf": [{"$ref": "#/components/schemas/GenerationStatus"}]`, ""},
		{"credits without a reference", `"$ref": "#/components/schemas/CreditsResponse"`, `"type": "object", "required": ["deducted", "remaining"], "properties": {"deducted": {"type": "number"}, "remaining": {"type": "integer"}}`, ""},
		{"another path", `/v1.0/generations/{id}`, `/v2/generations/{id}`, "GET /v1.0/generations/{id}"},
		{"another method", `"get":`, `"post":`, "GET /v1.0/generations/{id}"},
		{"the id in the query", `"in": "path"`, `"in": "query"`, `id in path: string, required`},
		{"the id is a number", `"schema": {
              "type": "string"`, `"schema": {
              "type": "integer"`, `id in path: string, required`},
		{"an optional status", `"generationId",
          "status"`, `"generationId"`, "status is required"},
		{"no id", `"generationId": {`, `"generation": {`, "generationId: string"},
		{"no export URL", `"exportUrl": {`, `"export": {`, "exportUrl: string"},
		{"no error", `"error": {`, `"problem": {`, "error: object"},
		{"an error without a message", `"message": {`, `"text": {`, "error.message: string"},
		{"an error that is a string", `"$ref": "#/components/schemas/ErrorResponse"`, `"type": "string"`, "error: object"},
		{"credits that are strings", number, `"type": "string"`, "credits.deducted: number"},
		{"credits with another name", `"remaining": {`, `"left": {`, "credits.remaining: number"},
		{"no response", `"200": {`, `"300": {`, "generationId: string"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			changed := strings.ReplaceAll(string(page), tt.old, tt.new)
			if changed == string(page) {
				t.Fatal("nothing was changed")
			}
			got := missing(statusOperation(page), []byte(changed))
			if (tt.missing == "") != (len(got) == 0) || tt.missing != "" && !slices.Contains(got, tt.missing) {
				t.Errorf("missing %q, want %q", got, tt.missing)
			}
		})
	}
}

// statusOperation returns what the poller needs of a document, one fact per element.
func statusOperation(document []byte) (facts []string) {
	d := sample.New(document)
	o, ok := d.At("GET", "/v1.0/generations/{id}")
	if !ok {
		return nil
	}
	facts = append(facts, o.Method+" "+o.Path)
	for _, p := range o.Parameters {
		if p.Required {
			facts = append(facts, fmt.Sprintf("%s in %s: %s, required", p.Name, p.In, sample.Kind(d.Flat(p.Schema))))
		}
	}
	response := d.Flat(o.Response)
	for _, name := range list(response["required"]) {
		facts = append(facts, fmt.Sprint(name, " is required"))
	}
	return append(facts, types(d, "", response)...)
}

// types returns the types of the properties of a flat schema, with those of inner objects.
func types(d *sample.Document, prefix string, s sample.Schema) (facts []string) {
	properties, _ := s["properties"].(map[string]any)
	for name, p := range properties {
		p, _ := p.(map[string]any)
		p = d.Flat(p)
		kind := sample.Kind(p)
		if kind == "integer" {
			kind = "number"
		}
		facts = append(facts, prefix+name+": "+kind)
		for _, value := range list(p["enum"]) {
			facts = append(facts, fmt.Sprintf("%s%s is %q", prefix, name, value))
		}
		facts = append(facts, types(d, prefix+name+".", p)...)
	}
	return facts
}

func list(v any) []any { l, _ := v.([]any); return l }

// missing returns the facts that the document lacks.
func missing(facts []string, document []byte) []string {
	got := statusOperation(document)
	return slices.DeleteFunc(slices.Clone(facts), func(fact string) bool { return slices.Contains(got, fact) })
}

// requests.gen.json has every operation of the document, and every limit of its requests.
func TestRequestsHaveAllLimits(t *testing.T) {
	whole, part := gamma.Limits()
	for name, limits := range whole {
		if part[name] == nil {
			if strings.Contains(name, " ") {
				t.Errorf("%s is missing", name)
			}
			continue // a schema of responses
		}
		want, got := bounds(t, limits), bounds(t, part[name])
		for key, value := range want {
			if !reflect.DeepEqual(value, got[key]) {
				t.Errorf("%s: %s is %v, want %v", name, key, got[key], value)
			}
		}
	}
}

// bounds returns v decoded from its JSON, without enum values, parameters outside the
// query, and content other than JSON.
func bounds(t *testing.T, v any) map[string]any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]any
	if err := json.Unmarshal(text, &object); err != nil {
		t.Fatal(err)
	}
	var strip func(any)
	strip = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			delete(v, "enum")
			for _, inner := range v {
				strip(inner)
			}
		case []any:
			for _, inner := range v {
				strip(inner)
			}
		}
	}
	strip(object)
	if list, ok := object["parameters"].([]any); ok {
		list = slices.DeleteFunc(list, func(p any) bool {
			in := p.(map[string]any)
			return in["in"] != "query" || in["name"] == ""
		})
		object["parameters"] = any(list)
		if len(list) == 0 {
			delete(object, "parameters")
		}
	}
	if body, ok := object["requestBody"].(map[string]any); ok {
		content, _ := body["content"].(map[string]any)
		object["requestBody"] = content["application/json"]
	}
	for key, value := range object {
		if value == nil {
			delete(object, key)
		}
	}
	return object
}

func TestOpenAPIReturnsACopy(t *testing.T) {
	doc := gamma.OpenAPI()
	want := bytes.Clone(doc)
	clear(doc)
	if !bytes.Equal(gamma.OpenAPI(), want) {
		t.Error("a caller can change the document")
	}
	file, err := os.ReadFile("openapi.json")
	if err != nil || !bytes.Equal(file, want) {
		t.Errorf("OpenAPI is not openapi.json: %v", err)
	}
}
