package gamma_test

import (
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

// The vendor's page about the operation that the poller rests on is the most certain
// source that there is. What the poller needs of it must survive every change of the
// document.
func TestStatusOperationIsAsPublished(t *testing.T) {
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
		t.Fatalf("the page says %q", facts)
	}
	return page
}

// Whatever else the page says may change.
func TestStatusOperationThatChanges(t *testing.T) {
	page := statusPage(t)
	const number = `"type": "number"`
	for _, tt := range []struct {
		name, old, new string
		missing        string // empty where nothing is
	}{
		{"another text", `"Generation not found"`, `"No such generation"`, ""},
		{"another value", `"failed"`, `"failed", "canceled"`, ""},
		{"a value less", `"pending",`, ``, `status is "pending"`},
		{"another field", `"gammaId": {`, `"title": {"type": "string"}, "gammaId": {`, ""},
		{"another error", `"404": {`, `"429": {"description": "Slow down"}, "404": {`, ""},
		{"integers", number, `"type": "integer"`, ""},
		{"nullable", `"type": "string",`, `"type": "string", "nullable": true,`, ""},
		{"the values in allOf", `"$ref": "#/components/schemas/GenerationStatus"`, `"allOf": [{"$ref": "#/components/schemas/GenerationStatus"}]`, ""},
		{"credits without a reference", `"$ref": "#/components/schemas/CreditsResponse"`, `"type": "object", "required": ["deducted", "remaining"], "properties": {"deducted": {"type": "number"}, "remaining": {"type": "integer"}}`, ""},
		{"another path", `/v1.0/generations/{id}`, `/v2/generations/{id}`, "GET /v1.0/generations/{id}"},
		{"another method", `"get":`, `"post":`, "GET /v1.0/generations/{id}"},
		{"another place of the id", `"in": "path"`, `"in": "query"`, `id in path: string, required`},
		{"an id that is a number", `"schema": {
              "type": "string"`, `"schema": {
              "type": "integer"`, `id in path: string, required`},
		{"a status that is optional", `"generationId",
          "status"`, `"generationId"`, "status is required"},
		{"no id", `"generationId": {`, `"generation": {`, "generationId: string"},
		{"no link", `"exportUrl": {`, `"export": {`, "exportUrl: string"},
		{"no error", `"error": {`, `"problem": {`, "error: object"},
		{"an error without a message", `"message": {`, `"text": {`, "error.message: string"},
		{"an error that is a text", `"$ref": "#/components/schemas/ErrorResponse"`, `"type": "string"`, "error: object"},
		{"credits that are texts", number, `"type": "string"`, "credits.deducted: number"},
		{"credits of another name", `"remaining": {`, `"left": {`, "credits.remaining: number"},
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

// statusOperation says what the poller needs of a document, one line for each fact.
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

// types says of which types the properties of a flat schema are, and theirs.
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

// The part of the document that is in every program has all its operations and all that
// requests are checked against.
func TestRequestsHaveTheLimitsOfTheDocument(t *testing.T) {
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

// bounds returns v as JSON has it, without the values of enumerations, which are open,
// without parameters that are no limits, and without content other than JSON.
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
