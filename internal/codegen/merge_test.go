package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestMergePages(t *testing.T) {
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
	// What the input does not have is kept.
	got, err = logged(tree(t, whole(t), files), []string{"listThemes.md"}, &log)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("with one of its pages: %v", err)
	}
}

func TestMergeInAnyOrder(t *testing.T) {
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
			t.Errorf("the result of %v differs from that of %v", order, names)
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

func TestMergeErrors(t *testing.T) {
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
		"two different schemas with one name": {map[string]string{"a.md": themes, "b.yaml": asYAML(t, changed("listThemes", func(f map[string]any) {
			at(f, "components", "schemas", "ThemeItem", "properties", "name")["type"] = "number"
		}))}, "a.md:10 and b.yaml contradict each other: schemas ThemeItem"},
		"two different operations with one path": {map[string]string{"a.md": themes, "b.md": page(changed("listThemes", func(f map[string]any) {
			delete(at(f, "paths", "/v1.0/themes", "get"), "parameters")
		}))}, "a.md:10 and b.md:10 contradict each other: operation GET /v1.0/themes"},
		"servers of an operation": {map[string]string{"b.md": page(changed("listFolders", func(f map[string]any) {
			at(f, "paths", "/v1.0/folders", "get")["servers"] = []any{map[string]any{"url": "https://elsewhere.example"}}
		}))}, "b.md:10: servers of one operation are not supported: operation GET /v1.0/folders"},
		"two operations with one operationId": {map[string]string{"a.md": themes, "b.md": page(changed("listFolders", func(f map[string]any) {
			at(f, "paths", "/v1.0/folders", "get")["operationId"] = "listThemes"
		}))}, "have the same operationId: listThemes"},
		"no operationId": {map[string]string{"a.md": page(changed("listFolders", func(f map[string]any) {
			delete(at(f, "paths", "/v1.0/folders", "get"), "operationId")
		}))}, "a.md:10: no operationId: operation GET /v1.0/folders"},
		"a missing schema": {map[string]string{"a.md": page(changed("listFolders", func(f map[string]any) {
			at(f, "components", "schemas", "ListFoldersResponse", "properties")["data"] = map[string]any{"$ref": "#/components/schemas/Missing"}
		}))}, "a.md:10: schemas ListFoldersResponse refers to #/components/schemas/Missing, which no document has"},
		"a reference to another file": {map[string]string{"a.md": page(changed("listFolders", func(f map[string]any) {
			at(f, "components", "schemas", "FolderItem")["properties"] = map[string]any{"id": map[string]any{"$ref": "other.yaml#/x"}}
		}))}, "refers to other.yaml#/x, which is not read"},
		"invalid OpenAPI":          {map[string]string{"a.json": `{"openapi":"3.0.0","info":{},"paths":{"/v1.0/themes":{"get":{"operationId":"x","responses":{}}}}}`}, "not valid OpenAPI after merging"},
		"a missing path parameter": {map[string]string{"a.json": `{"openapi":"3.0.0","info":{"title":"T","version":"1"},"paths":{"/x/{y}":{"get":{"operationId":"listThemes","responses":{"200":{"description":"OK"}}}}}}`}, "not valid OpenAPI after merging"},
		"a reference of a path":    {map[string]string{"a.json": `{"openapi":"3.0.0","info":{"title":"T","version":"1"},"paths":{"/x":{"$ref":"x.json"}}}`}, "$ref of the path /x is not supported"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := tree(t, whole(t), tt.files)
			names := slices.Sorted(maps.Keys(tt.files))
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

// Path parameters keep their names, which are not sent.
func TestMergeKeepsNamesOfPathParameters(t *testing.T) {
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

func TestMergeReplacesOperations(t *testing.T) {
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
		t.Error("the old operation was kept")
	}
	if at(document, "components", "schemas", "ArchiveGammaResponse") != nil {
		t.Error("a schema that no operation uses was kept")
	}
	if at(document, "paths", "/v1.0/themes", "get") == nil {
		t.Error("another operation was lost")
	}
}

// References of parameters and bodies are resolved in the operations.
func TestMergeResolvesReferences(t *testing.T) {
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
		t.Errorf("the components have what is in the operations: %s", canonical(components))
	}
}

func TestDrop(t *testing.T) {
	without := small(t)
	delete(at(without, "paths"), "/v1.0/gammas/{gammaId}/archive")
	files := map[string]string{"whole.json": canonical(without), "page.md": page(fragments(t, small(t))["listThemes"])}
	const kept = `not in the new document, but kept: archiveGamma; to remove, set DROP="archiveGamma"`
	for name, tt := range map[string]struct {
		file  string
		drop  []string
		has   bool
		note  string
		error string
	}{
		"not in a complete document":          {file: "whole.json", has: true, note: kept},
		"not in a complete document, dropped": {file: "whole.json", drop: []string{"archiveGamma"}},
		"not in a page":                       {file: "page.md", has: true},
		"not in a page, dropped":              {file: "page.md", drop: []string{"archiveGamma"}},
		"unknown operation":                   {file: "page.md", drop: []string{"archive"}, error: "there is no operation archive to drop"},
	} {
		t.Run(name, func(t *testing.T) {
			text, notes, err := spec(tree(t, small(t), files), []string{tt.file}, settings{drop: tt.drop})
			if tt.error != "" {
				if err == nil || err.Error() != tt.error {
					t.Errorf("error %v, want %s", err, tt.error)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := bytes.Contains(text, []byte("archiveGamma")); got != tt.has {
				t.Errorf("has the operation: %t", got)
			}
			if slices.Contains(notes, kept) != (tt.note != "") {
				t.Errorf("notes %q", notes)
			}
		})
	}
}
