package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestReadErrors(t *testing.T) {
	themes := fragments(t, whole(t))["listThemes"]
	inPage := page(themes)
	for name, tt := range map[string]struct {
		file, text string
		want       string
	}{
		"truncated fragment":  {"a.md", strings.Replace(inPage, "]}}", "", 1), "a.md:10: truncated, or not in the format of its name"},
		"truncated page":      {"a.md", inPage[:len(inPage)/2], "the code fence before line 10 is not closed: the page is truncated"},
		"duplicate key":       {"a.md", strings.Replace(inPage, `"paths":{`, `"paths":{},"paths":{`, 1), "a.md:10: truncated, or not in the format of its name: json"},
		"text after the JSON": {"a.json", canonical(themes) + "{}", "a.json: truncated, or not in the format of its name"},
		"two YAML documents":  {"a.yaml", "openapi: 3.0.0\n---\nopenapi: 3.0.0\n", "a.yaml: truncated, or not in the format of its name: more than one document"},
		"truncated YAML":      {"a.yaml", "openapi: [3", "a.yaml: truncated, or not in the format of its name"},
		"no fragment":         {"a.md", "# A page\n", "a.md: no JSON code fence has an OpenAPI fragment"},
		"Swagger 2.0":         {"a.json", `{"swagger":"2.0"}`, "a.json: not an OpenAPI 3.0 document"},
		"unknown extension":   {"a.txt", "", "a.txt: the name must end in .md, .json, .yaml or .yml"},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := quiet(tree(t, whole(t), map[string]string{tt.file: tt.text}), []string{tt.file})
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want %s\n%s", err, tt.want, text)
			}
		})
	}
	if _, err := quiet(tree(t, whole(t), nil), []string{"missing.md"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

// A complete document of the vendor, with strings that are published as objects, and names
// with the suffix Dto.
func TestCorrections(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "whole-with-suffix.openapi.json"))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	files := map[string]string{"a.json": string(data)}
	got, err := logged(tree(t, whole(t), files), []string{"a.json"}, &log)
	if err != nil {
		t.Fatal(err)
	}
	const reported = "not in the new document, but kept: deleteGamma; to remove, set DROP=\"deleteGamma\"\n" +
		"overlay.yaml: these corrections were not needed: ImageOptions.model\n"
	if log.String() != reported {
		t.Errorf("reported %q, want %q", log.String(), reported)
	}
	log.Reset()
	var document map[string]any
	if err := json.Unmarshal(got, &document); err != nil {
		t.Fatal(err)
	}
	schemas, right := at(document, "components", "schemas"), at(whole(t), "components", "schemas")
	for name := range schemas {
		if strings.HasSuffix(name, "Dto") || right[name] == nil {
			t.Errorf("unexpected schema %s", name)
		}
	}
	for _, name := range []string{"GenerationStatus", "GenerationStatusResponse", "ThemeItem", "HeaderFooterElement"} {
		k := key{"schemas", name}
		if meaning(k, schemas[name]) != meaning(k, right[name]) {
			t.Errorf("%s: %s", name, canonical(schemas[name]))
		}
	}

	if _, err = logged(tree(t, whole(t), map[string]string{"a.md": page(fragments(t, whole(t))["listThemes"])}), []string{"a.md"}, &log); err != nil {
		t.Fatal(err)
	}
	if want := "overlay.yaml: these corrections were not needed: ThemeItem.type\n"; log.String() != want {
		t.Errorf("reported %q, want %q", log.String(), want)
	}
}

// Properties with the same names in other schemas are not corrected.
func TestCorrectionsOfOtherSchemas(t *testing.T) {
	text := `openapi: 3.0.0
info: {title: T, version: '1.0'}
servers: [{url: https://public-api.gamma.app}]
paths:
  /v1.0/agents/{id}:
    get:
      operationId: getAgent
      parameters: [{name: id, in: path, required: true, schema: {type: string}}]
      responses: {200: {description: OK, content: {application/json: {schema: {$ref: '#/components/schemas/AgentDto'}}}}}
components:
  schemas:
    AgentDto:
      type: object
      properties:
        run: {$ref: '#/components/schemas/RunDto'}
        step: {$ref: '#/components/schemas/StepDto'}
    RunDto:
      type: object
      properties:
        generationId: {type: string}
        status: {$ref: '#/components/schemas/AgentStatusDto'}
    StepDto:
      type: object
      properties:
        generationId: {type: string}
        status: {type: object, properties: {code: {type: string}}}
        src: {type: string}
        size: {type: object, properties: {width: {type: number}}}
    AgentStatusDto: {type: string, enum: [idle, busy]}
`
	schemas := at(merged(t, "a.yaml", text), "components", "schemas")
	if got, want := canonical(at(schemas, "Run", "properties", "status")), `{"$ref":"#/components/schemas/AgentStatus"}`; got != want {
		t.Errorf("the status is %s, want %s", got, want)
	}
	for name, want := range map[string]string{
		"status": `{"properties":{"code":{"type":"string"}},"type":"object"}`,
		"size":   `{"properties":{"width":{"type":"number"}},"type":"object"}`,
	} {
		if got := canonical(at(schemas, "Step", "properties", name)); got != want {
			t.Errorf("the %s of a step is %s, want %s", name, got, want)
		}
	}
}

// An earlier complete document of the vendor: each enumeration is a separate schema, with an
// example next to the reference.
func TestEarlierDocument(t *testing.T) {
	earlier := load(t, filepath.Join("testdata", "enums-as-schemas.openapi.json"))
	got, err := quiet(tree(t, first(t), map[string]string{"a.yaml": asYAML(t, earlier)}), []string{"a.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	var document map[string]any
	if err := json.Unmarshal(got, &document); err != nil {
		t.Fatal(err)
	}
	if got, want := canonical(withoutProse("", document["components"])), canonical(withoutProse("", earlier["components"])); got != want {
		t.Errorf("the components have another meaning:\n%s", got)
	}
	if got, want := len(object(document["paths"])), len(object(earlier["paths"])); got != want {
		t.Errorf("%d paths, want %d", got, want)
	}
}

func TestFences(t *testing.T) {
	fragment := canonical(fragments(t, whole(t))["listThemes"])
	indented, _ := json.MarshalIndent(json.RawMessage(fragment), "", "  ")
	for name, text := range map[string]string{
		"backticks":      "```json\n" + fragment + "\n```\n",
		"tildes":         "~~~json\n" + fragment + "\n~~~",
		"four backticks": "````json\n" + fragment + "\n````\n",
		"title":          "``` json title=\"x\"\n" + fragment + "\n```\n",
		"no language":    "```\n" + fragment + "\n```\n",
		"indented JSON":  "```JSON\n" + string(indented) + "\n```\n",
		"CRLF":           "```json\r\n" + strings.ReplaceAll(string(indented), "\n", "\r\n") + "\r\n```\r\n",
		"BOM":            "\ufeff```json\n" + fragment + "\n```\n",
		"in a quote":     "> ```json\n> " + strings.ReplaceAll(string(indented), "\n", "\n> ") + "\n> ```\n",
		"in a list":      "- x\n\n  ```json\n  " + fragment + "\n  ```\n",
		"other fences":   "```sh\ncurl\n```\n```json\n{\"a\": ...}\n```\n```json\n" + fragment + "\n```\n",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := quiet(tree(t, first(t), map[string]string{"a.md": text}), []string{"a.md"})
			if err != nil || !bytes.Contains(got, []byte(`"listThemes"`)) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestYAML(t *testing.T) {
	text := `openapi: 3.0.0
info: {title: T, version: '1.0'}
servers: [{url: https://public-api.gamma.app}]
paths:
  /v1.0/days/{day}:
    parameters:
      - {name: day, in: path, required: true, schema: {type: string, example: 2026-11-24}}
    get:
      operationId: getDay
      responses: &responses
        200: {description: A day}
    delete:
      operationId: deleteDay
      responses: {<<: *responses, 404: {description: None}}
`
	got, err := quiet(tree(t, first(t), map[string]string{"a.yml": text}), []string{"a.yml"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"deleteDay"`, `"404"`, `"2026-11-24"`, `"api-key": []`} {
		if !bytes.Contains(got, []byte(want)) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}

// Strings of JSON that have another meaning in YAML do not change, except for white space at
// the start of prose.
func TestJSON(t *testing.T) {
	want := map[string]any{
		"tabs": "a\tb\n\tc", "comment": "\n# a\n", "indent": "\n  a\nb", "<<": map[string]any{"a": "<<"},
		"date": "2026-11-24", "no": "no", "null": nil, "~": "~", "1": 1.0, "1e3": 1e-9, "large": 1e21, "list": []any{true, "true", "", " ", "\u2028"},
	}
	document := copyOf(t, first(t))
	at(document, "components", "schemas", "ErrorResponse")["example"] = want
	operation := at(document, "paths", "/v1.0/generations/{id}", "get")
	operation["description"] = "\n\tText\n\tand more\n"
	got := merged(t, "a.json", canonical(document))
	if got, want := at(got, "paths", "/v1.0/generations/{id}", "get")["description"], "Text\n\tand more\n"; got != want {
		t.Errorf("the description is %q, want %q", got, want)
	}
	if got := at(got, "components", "schemas", "ErrorResponse")["example"]; !reflect.DeepEqual(got, any(want)) {
		t.Errorf("%q, want %q", got, want)
	}
}

func FuzzPage(f *testing.F) {
	f.Add("```json\n{\"openapi\":\"3.0.0\",\"paths\":{}}\n```")
	f.Add("~~~\n\"paths\": \n~~~\n```")
	f.Add("> ```json\n> {\"operationId\": 1}\n> ```")
	f.Add("```json\n{\"openapi\":\"3.0.0\",\"components\":{\"schemas\":{\"ADto\":{\"$ref\":\"#/components/schemas/ADto\"}}}}\n```")
	f.Add("```json\n" + `{"openapi":"3.0.0","info":{"title":"T","version":"1"},"paths":{"/x":{"get":{"operationId":"x","responses":{"200":{"description":"","content":{"application/json":{"schema":{"$ref":"#/components/schemas/A"}}}}}}}},"components":{"schemas":{"A":{"type":"array","items":{"$ref":"#/components/schemas/A"}}}}}` + "\n```")
	overlay, err := readCorrections(filepath.Join(root, "overlay.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	names, err := readNames(filepath.Join(root, "names.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		file := filepath.Join(t.TempDir(), "a.md")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		sources, err := read("", file, overlay)
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", text, err)
		}
		for _, s := range sources {
			if parts, err := split(s); err == nil {
				_ = prune(parts)
			}
			if _, _, err := normalize(s.document, names); err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("%q: %v", text, err)
			}
		}
	})
}
