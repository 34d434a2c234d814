package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

const root = "../.."

// first is the document that has getGenerationStatus alone.
func first(t testing.TB) map[string]any {
	t.Helper()
	return load(t, filepath.Join(root, "testdata", "get-generation-status.openapi.json"))
}

// whole is the present document.
func whole(t testing.TB) map[string]any {
	t.Helper()
	return load(t, filepath.Join(root, "openapi.json"))
}

func load(t testing.TB, file string) (document map[string]any) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &document)
	}
	if err != nil {
		t.Fatal(err)
	}
	return document
}

// page is a page of documentation in the vendor's form.
func page(fragments ...map[string]any) string {
	text := "# A page\n\nWhat it is for.\n\n"
	for _, fragment := range fragments {
		text += "## An operation\n\n> What it does.\n\n```json\n" + canonical(fragment) + "\n```\n\n{% hint style=\"info\" %}\nA hint.\n{% endhint %}\n\n"
	}
	return text + "An answer:\n\n```json\n{\"generationId\": \"gen1\", ...}\n```\n"
}

// fragments returns one document for each operation, with what it leads to.
func fragments(t testing.TB, document map[string]any) map[string]map[string]any {
	t.Helper()
	all := map[string]map[string]any{}
	for path, methods := range object(document["paths"]) {
		for method, operation := range object(methods) {
			part := maps.Clone(document)
			part["paths"] = map[string]any{path: map[string]any{method: operation}}
			parts, err := split(source{"x", true, part})
			if err == nil {
				err = prune(parts)
			}
			if err != nil {
				t.Fatal(err)
			}
			all[fmt.Sprint(object(operation)["operationId"])] = assemble(parts)
		}
	}
	return all
}

// tree is a directory with the present overlay, the document and files.
func tree(t testing.TB, document map[string]any, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	overlay, err := os.ReadFile(filepath.Join(root, "overlay.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"openapi.json": canonical(document), "overlay.yaml": string(overlay)}
	maps.Copy(all, files)
	for name, text := range all {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// merged is the first document with one file merged into it.
func merged(t testing.TB, name, text string) (document map[string]any) {
	t.Helper()
	got, _, err := spec(tree(t, first(t), map[string]string{name: text}), []string{name}, settings{})
	if err == nil {
		err = json.Unmarshal(got, &document)
	}
	if err != nil {
		t.Fatal(err)
	}
	return document
}

// quiet is spec without its notes.
func quiet(root string, files []string) ([]byte, error) { return logged(root, files, io.Discard) }

func logged(root string, files []string, w io.Writer) ([]byte, error) {
	text, notes, err := spec(root, files, settings{})
	for _, note := range notes {
		_, _ = fmt.Fprintln(w, note)
	}
	return text, err
}

func asYAML(t testing.TB, v any) string {
	t.Helper()
	text, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// copyOf is v, to be changed.
func copyOf(t testing.TB, v map[string]any) (c map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(canonical(v)), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestFromTheFirstDocumentToTheWhole(t *testing.T) {
	files := map[string]string{}
	for id, fragment := range fragments(t, whole(t)) {
		files[id+".md"] = page(fragment)
	}
	want, err := os.ReadFile(filepath.Join(root, "openapi.json"))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	got, err := logged(tree(t, first(t), files), slices.Sorted(maps.Keys(files)), &log)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the result is not openapi.json")
	}
	// Nothing that is there is lost where an input has a part of it.
	got, err = logged(tree(t, whole(t), files), []string{"listThemes.md"}, &log)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("with one page of its own: %v", err)
	}
}

func TestOrderDoesNotMatter(t *testing.T) {
	all := fragments(t, whole(t))
	themes := copyOf(t, all["listThemes"])
	object(themes["info"])["title"] = "Another title"
	at(themes, "paths", "/v1.0/themes", "get")["description"] = "Other prose."
	files := map[string]string{
		"a.md":   page(all["listThemes"], all["listFolders"]),
		"b.json": canonical(whole(t)),
		"c.yaml": asYAML(t, themes),
		"d.md":   page(all["createGeneration"]),
	}
	dir := tree(t, first(t), files)
	var want []byte
	names := slices.Sorted(maps.Keys(files))
	permute(names, func(order []string) {
		got, err := quiet(dir, order)
		if err != nil {
			t.Fatalf("%v: %v", order, err)
		}
		if want == nil {
			want = got
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%v gives something else than %v", order, names)
		}
	})
}

func permute(names []string, f func([]string)) {
	if len(names) < 2 {
		f(names)
		return
	}
	for i := range names {
		rest := slices.Delete(slices.Clone(names), i, i+1)
		permute(rest, func(order []string) { f(append([]string{names[i]}, order...)) })
	}
}

func TestRefusals(t *testing.T) {
	all := fragments(t, whole(t))
	changed := func(id string, change func(fragment map[string]any)) map[string]any {
		fragment := copyOf(t, all[id])
		change(fragment)
		return fragment
	}
	themes := page(all["listThemes"])
	for name, tt := range map[string]struct {
		files map[string]string
		want  string
	}{
		"a schema with two meanings": {map[string]string{"a.md": themes, "b.yaml": asYAML(t, changed("listThemes", func(f map[string]any) {
			at(f, "components", "schemas", "ThemeItem", "properties", "name")["type"] = "number"
		}))}, "a.md:10 and b.yaml contradict each other: schemas ThemeItem"},
		"an operation with two meanings": {map[string]string{"a.md": themes, "b.md": page(changed("listThemes", func(f map[string]any) {
			delete(at(f, "paths", "/v1.0/themes", "get"), "parameters")
		}))}, "a.md:10 and b.md:10 contradict each other: operation GET /v1.0/themes"},
		"servers of an operation": {map[string]string{"b.md": page(changed("listFolders", func(f map[string]any) {
			at(f, "paths", "/v1.0/folders", "get")["servers"] = []any{map[string]any{"url": "https://elsewhere.example"}}
		}))}, "b.md:10: servers of one operation are not supported: operation GET /v1.0/folders"},
		"one operationId twice": {map[string]string{"a.md": themes, "b.md": page(changed("listFolders", func(f map[string]any) {
			at(f, "paths", "/v1.0/folders", "get")["operationId"] = "listThemes"
		}))}, "have one operationId: listThemes"},
		"no operationId": {map[string]string{"a.md": page(changed("listFolders", func(f map[string]any) {
			delete(at(f, "paths", "/v1.0/folders", "get"), "operationId")
		}))}, "a.md:10: no operationId: operation GET /v1.0/folders"},
		"a schema that is missing": {map[string]string{"a.md": page(changed("listFolders", func(f map[string]any) {
			at(f, "components", "schemas", "ListFoldersResponse", "properties")["data"] = map[string]any{"$ref": "#/components/schemas/Missing"}
		}))}, "a.md:10: schemas ListFoldersResponse refers to #/components/schemas/Missing, which no document has"},
		"a file that is elsewhere": {map[string]string{"a.md": page(changed("listFolders", func(f map[string]any) {
			at(f, "components", "schemas", "FolderItem")["properties"] = map[string]any{"id": map[string]any{"$ref": "other.yaml#/x"}}
		}))}, "refers to other.yaml#/x, which is not read"},
		"a cut fragment":     {map[string]string{"a.md": strings.Replace(themes, "]}}", "", 1)}, "a.md:10: cut, or not what its name says"},
		"a cut page":         {map[string]string{"a.md": themes[:len(themes)/2]}, "the code fence before line 10 is not closed: the page is cut"},
		"a key twice":        {map[string]string{"a.md": strings.Replace(themes, `"paths":{`, `"paths":{},"paths":{`, 1)}, "a.md:10: cut, or not what its name says: json"},
		"text behind":        {map[string]string{"a.json": canonical(all["listThemes"]) + "{}"}, "a.json: cut, or not what its name says"},
		"two documents":      {map[string]string{"a.yaml": "openapi: 3.0.0\n---\nopenapi: 3.0.0\n"}, "a.yaml: cut, or not what its name says: more than one document"},
		"half a yaml":        {map[string]string{"a.yaml": "openapi: [3"}, "a.yaml: cut, or not what its name says"},
		"no fragment":        {map[string]string{"a.md": "# A page\n"}, "a.md: no json code fence holds an OpenAPI fragment"},
		"another version":    {map[string]string{"a.json": `{"swagger":"2.0"}`}, "a.json: not an OpenAPI 3.0 document"},
		"another kind":       {map[string]string{"a.txt": ""}, "a.txt: the name must end in .md, .json, .yaml or .yml"},
		"not there":          {map[string]string{}, "no such file"},
		"not OpenAPI":        {map[string]string{"a.json": `{"openapi":"3.0.0","info":{},"paths":{"/v1.0/themes":{"get":{"operationId":"x","responses":{}}}}}`}, "not valid OpenAPI once merged"},
		"parameters astray":  {map[string]string{"a.json": `{"openapi":"3.0.0","info":{"title":"T","version":"1"},"paths":{"/x/{y}":{"get":{"operationId":"listThemes","responses":{"200":{"description":"OK"}}}}}}`}, "not valid OpenAPI once merged"},
		"a path's own files": {map[string]string{"a.json": `{"openapi":"3.0.0","info":{"title":"T","version":"1"},"paths":{"/x":{"$ref":"x.json"}}}`}, "$ref of the path /x is not supported"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := tree(t, whole(t), tt.files)
			names := slices.Sorted(maps.Keys(tt.files))
			if len(names) == 0 {
				names = []string{"missing.md"}
			}
			for range 2 {
				text, err := quiet(dir, names)
				if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("%v: error %v, want %s\n%s", names, err, tt.want, text)
				}
				slices.Reverse(names)
			}
		})
	}
}

// The names of path parameters are not on the wire.
func TestNamesOfPathParametersStay(t *testing.T) {
	text := canonical(first(t))
	renamed := strings.ReplaceAll(strings.ReplaceAll(text, "{id}", "{generationId}"), `"name":"id"`, `"name":"generationId"`)
	got, err := quiet(tree(t, first(t), map[string]string{"a.json": renamed}), []string{"a.json"})
	if err != nil {
		t.Fatal(err)
	}
	want, err := quiet(tree(t, first(t), map[string]string{"a.json": text}), []string{"a.json"})
	if err != nil {
		t.Fatal(err)
	}
	if renamed == text || !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestReplace(t *testing.T) {
	all := fragments(t, whole(t))
	archive := all["archiveGamma"]
	moved := copyOf(t, archive)
	paths := at(moved, "paths")
	for path, item := range paths {
		delete(paths, path)
		operation := at(item, "post")
		operation["responses"] = map[string]any{"204": map[string]any{"description": "Archived"}}
		paths["/v1.0/gammas/{gammaId}/archives"] = item
	}
	delete(moved, "components")
	moved["components"] = map[string]any{"securitySchemes": at(archive, "components", "securitySchemes")}
	got, err := quiet(tree(t, whole(t), map[string]string{"a.md": page(moved)}), []string{"a.md"})
	if err != nil {
		t.Fatal(err)
	}
	var document map[string]any
	if err := json.Unmarshal(got, &document); err != nil {
		t.Fatal(err)
	}
	if at(document, "paths", "/v1.0/gammas/{gammaId}/archives", "post", "responses", "204") == nil {
		t.Error("the operation was not replaced")
	}
	if at(document, "paths", "/v1.0/gammas/{gammaId}/archive") != nil {
		t.Error("the operation is there twice")
	}
	if at(document, "components", "schemas", "ArchiveGammaResponse") != nil {
		t.Error("a schema that no operation leads to was kept")
	}
	if at(document, "paths", "/v1.0/themes", "get") == nil {
		t.Error("another operation was lost")
	}
}

// The vendor's document of the whole, as it has been published: with objects that
// are strings, and with the names of classes.
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
	const reported = "not in the new document, but kept: deleteGamma; to remove them, set DROP=\"deleteGamma\"\n" +
		"overlay.yaml: right as published, without the correction: ImageOptions.model\n"
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
			t.Errorf("there is a schema %s", name)
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
	if want := "overlay.yaml: right as published, without the correction: ThemeItem.type\n"; log.String() != want {
		t.Errorf("reported %q, want %q", log.String(), want)
	}
}

// What another operation has under the same names is not corrected.
func TestCorrectionsOfNothingElse(t *testing.T) {
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

// The vendor's document of the whole as it was before: each enumeration is a schema
// of its own, with an example beside the reference to it.
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
		t.Errorf("the components mean something else:\n%s", got)
	}
	if got, want := len(object(document["paths"])), len(object(earlier["paths"])); got != want {
		t.Errorf("%d paths, want %d", got, want)
	}
}

func TestFences(t *testing.T) {
	fragment := canonical(fragments(t, whole(t))["listThemes"])
	indented, _ := json.MarshalIndent(json.RawMessage(fragment), "", "  ")
	for name, text := range map[string]string{
		"backticks":     "```json\n" + fragment + "\n```\n",
		"tildes":        "~~~json\n" + fragment + "\n~~~",
		"longer":        "````json\n" + fragment + "\n````\n",
		"with a title":  "``` json title=\"x\"\n" + fragment + "\n```\n",
		"no language":   "```\n" + fragment + "\n```\n",
		"many lines":    "```JSON\n" + string(indented) + "\n```\n",
		"CRLF":          "```json\r\n" + strings.ReplaceAll(string(indented), "\n", "\r\n") + "\r\n```\r\n",
		"BOM":           "\ufeff```json\n" + fragment + "\n```\n",
		"in a quote":    "> ```json\n> " + strings.ReplaceAll(string(indented), "\n", "\n> ") + "\n> ```\n",
		"in a list":     "- x\n\n  ```json\n  " + fragment + "\n  ```\n",
		"beside others": "```sh\ncurl\n```\n```json\n{\"a\": ...}\n```\n```json\n" + fragment + "\n```\n",
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

// The client's check of requests finds every parameter and body in the operation.
func TestReferencesOfOperations(t *testing.T) {
	text := `openapi: 3.0.0
info: {title: T, version: '1.0'}
servers: [{url: https://public-api.gamma.app}]
paths:
  /v1.0/days/{day}:
    parameters:
      - {$ref: '#/components/parameters/Day'}
      - {name: limit, in: query, schema: {type: number, maximum: 50}}
    get:
      operationId: getDay
      responses: {200: {description: A day}}
    put:
      operationId: putDay
      parameters: [{$ref: '#/components/parameters/Limit'}]
      requestBody: {$ref: '#/components/requestBodies/Alias'}
      responses: {200: {description: A day}}
components:
  parameters:
    Day: {name: day, in: path, required: true, schema: {type: string}}
    Limit: {name: limit, in: query, schema: {type: number, maximum: 10}}
  requestBodies:
    Alias: {$ref: '#/components/requestBodies/Day'}
    Day: {content: {application/json: {schema: {type: string, maxLength: 9}}}}
`
	document := merged(t, "a.yaml", text)
	for method, want := range map[string]string{"get": "50", "put": "10"} {
		got := canonical(at(document, "paths", "/v1.0/days/{day}", method)["parameters"])
		want = `[{"in":"path","name":"day","required":true,"schema":{"type":"string"}},{"in":"query","name":"limit","schema":{"maximum":` + want + `,"type":"number"}}]`
		if got != want {
			t.Errorf("the parameters of %s are %s, want %s", method, got, want)
		}
	}
	if got := at(document, "paths", "/v1.0/days/{day}", "put", "requestBody", "content"); got == nil {
		t.Error("the body is not in the operation")
	}
	if components := at(document, "components"); components["parameters"] != nil || components["requestBodies"] != nil {
		t.Errorf("what is in the operations is among the components, too: %s", canonical(components))
	}
}

// What is text in JSON but not in YAML comes out as it went in, but for white space
// before prose.
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
