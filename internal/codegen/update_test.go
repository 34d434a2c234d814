package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

func servers(urls ...string) []any {
	list := []any{}
	for _, u := range urls {
		list = append(list, map[string]any{"url": u})
	}
	return list
}

// The client sends the key to the first server.
func TestServers(t *testing.T) {
	const present, other = "https://public-api.gamma.app", "https://api.gamma.app"
	for name, tt := range map[string]struct {
		servers []any
		setting string
		want    string // in the error, or in a note
		refused bool
		first   string
	}{
		"the same":                     {servers: servers(present), first: present},
		"the same with trailing slash": {servers: servers(present + "/"), first: present + "/"},
		"none":                         {servers: servers(), first: present},
		"another":                      {servers: servers(other), refused: true, want: "new.json: its servers are https://api.gamma.app, those of openapi.json https://public-api.gamma.app; the API key would be sent elsewhere: set SERVERS=keep"},
		"an additional one":            {servers: servers(present, other), refused: true, want: "its servers are https://public-api.gamma.app, https://api.gamma.app, those of openapi.json https://public-api.gamma.app;"},
		"another, SERVERS=keep":        {servers: servers(other), setting: "keep", want: "new.json: its servers https://api.gamma.app are ignored", first: present},
		"another, SERVERS=take":        {servers: servers(other), setting: "take", want: "the client will send the key to https://api.gamma.app, not to https://public-api.gamma.app", first: other},
		"http":                         {servers: servers("http://public-api.gamma.app"), setting: "take", refused: true, want: "the first server is not an absolute https URL"},
		"a path":                       {servers: servers("/v2"), setting: "take", refused: true, want: "the first server is not an absolute https URL"},
		"a variable": {servers: []any{map[string]any{"url": "https://{x}.gamma.app", "variables": map[string]any{"x": map[string]any{"default": "eu"}}}},
			setting: "take", refused: true, want: "the first server is not an absolute https URL"},
	} {
		t.Run(name, func(t *testing.T) {
			changed := small(t)
			changed["servers"] = tt.servers
			dir := tree(t, small(t), map[string]string{"new.json": canonical(changed)})
			text, notes, err := spec(dir, []string{"new.json"}, settings{servers: tt.setting})
			if tt.refused {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v, want %s", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(notes, "\n"); !strings.Contains(got, tt.want) {
				t.Errorf("notes %s, want %s", got, tt.want)
			}
			var document map[string]any
			if err := json.Unmarshal(text, &document); err != nil {
				t.Fatal(err)
			}
			if got := addresses(document)[0]; got != strings.TrimSuffix(tt.first, "/") {
				t.Errorf("the first server is %s", got)
			}
		})
	}
}

// A document without a server may be that of another API.
func TestForeignDocuments(t *testing.T) {
	const foreign = `{"openapi":"3.0.0","info":{"title":"Pets","version":"1"},"paths":{"/pets":{"get":{"operationId":"listPets","responses":{"204":{"description":"None"}}}}}}`
	for name, tt := range map[string]struct {
		file, text, setting string
		want                string
	}{
		"a document":               {"a.json", foreign, "", "a.json: it has no server and no operation of openapi.json"},
		"a document, SERVERS=keep": {"a.json", foreign, "keep", ""},
		"a page":                   {"a.md", page(asObject(t, foreign)), "", ""},
		"a known path":             {"a.json", strings.Replace(foreign, "/pets", "/v1.0/themes", 1), "", ""},
		"a known operation":        {"a.json", strings.Replace(foreign, "listPets", "listThemes", 1), "", ""},
		"another server":           {"a.json", strings.Replace(foreign, `"paths"`, `"servers":[{"url":"https://pets.example"}],"paths"`, 1), "", "its servers are https://pets.example"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := spec(tree(t, small(t), map[string]string{tt.file: tt.text}), []string{tt.file}, settings{servers: tt.setting})
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// The paths of another server may have a prefix that is not in those of the present one.
func TestKeepServersOfOtherPaths(t *testing.T) {
	for name, tt := range map[string]struct {
		move func(path string) string
		note string
		path string // of getGenerationStatus
		want bool   // it has the present name of the parameter
	}{
		"one prefix":    {func(path string) string { return "/public-api" + path }, "the prefix /public-api is removed from its paths", "/v1.0/generations/{id}", true},
		"no prefix":     {func(path string) string { return path }, "", "/v1.0/generations/{id}", true},
		"two prefixes":  {func(path string) string { return "/" + path[6:8] + path }, "", "/ge/v1.0/generations/{generationId}", false},
		"another route": {func(path string) string { return strings.Replace(path, "v1.0", "v2", 1) }, "", "/v2/generations/{generationId}", false},
	} {
		t.Run(name, func(t *testing.T) {
			changed := small(t)
			changed["servers"] = servers("https://api.gamma.app")
			paths := map[string]any{}
			for path, item := range at(changed, "paths") {
				paths[tt.move(strings.Replace(path, "{id}", "{generationId}", 1))] = item
			}
			object(array(at(paths, tt.move("/v1.0/generations/{generationId}"), "get")["parameters"])[0])["name"] = "generationId"
			changed["paths"] = paths
			dir := tree(t, small(t), map[string]string{"new.json": canonical(changed)})
			text, notes, err := spec(dir, []string{"new.json"}, settings{servers: "keep"})
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(notes, "\n"); tt.note != "" != strings.Contains(got, "is removed from its paths") || !strings.Contains(got, tt.note) {
				t.Errorf("notes %s, want %s", got, tt.note)
			}
			if got := bytes.Contains(text, []byte(`"`+tt.path+`"`)) && !bytes.Contains(text, []byte(`{generationId}"`)) == tt.want; !got {
				t.Errorf("has the present path: %t, want %t", got, tt.want)
			}
		})
	}
}

func TestSecuritySchemes(t *testing.T) {
	for name, tt := range map[string]struct {
		schemes, security string
		want              bool // a note
	}{
		"API key in X-API-KEY":      {`{"k":{"type":"apiKey","in":"header","name":"x-api-key"}}`, `[{"k":[]}]`, false},
		"none":                      {`{}`, `[]`, false},
		"an empty requirement":      {`{}`, `[{}]`, false},
		"API key or token":          {`{"k":{"type":"apiKey","in":"header","name":"X-API-KEY"},"b":{"type":"http","scheme":"bearer"}}`, `[{"b":[]},{"k":[]}]`, false},
		"token":                     {`{"b":{"type":"http","scheme":"bearer"}}`, `[{"b":[]}]`, true},
		"API key and token":         {`{"k":{"type":"apiKey","in":"header","name":"X-API-KEY"},"b":{"type":"http","scheme":"bearer"}}`, `[{"b":[],"k":[]}]`, true},
		"API key in another header": {`{"k":{"type":"apiKey","in":"header","name":"X-KEY"}}`, `[{"k":[]}]`, true},
		"API key in the query":      {`{"k":{"type":"apiKey","in":"query","name":"X-API-KEY"}}`, `[{"k":[]}]`, true},
	} {
		t.Run(name, func(t *testing.T) {
			_, notes, err := published(t, func(d map[string]any) {
				maps.Copy(at(d, "components", "securitySchemes"), asObject(t, tt.schemes))
				at(d, "paths", "/v1.0/themes", "get")["security"] = json.RawMessage(tt.security)
			})
			if err != nil {
				t.Fatal(err)
			}
			noted := slices.ContainsFunc(notes, func(n string) bool {
				return strings.HasPrefix(n, "listThemes requires the security scheme ") && strings.Contains(n, "which the client does not support")
			})
			if noted != tt.want {
				t.Errorf("notes %q", notes)
			}
		})
	}
}

func asObject(t *testing.T, text string) (o map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// All files are written or none.
func TestWrite(t *testing.T) {
	read := func(file string) string {
		text, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return string(text)
	}
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	files := func(text string) map[string][]byte {
		return map[string][]byte{"a": []byte(text), "b": []byte(text)}
	}
	if err := write(dir, files("1")); err != nil || read(a)+read(b) != "11" {
		t.Fatalf("%v: %s %s", err, read(a), read(b))
	}
	if err := os.Remove(b); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(b, "x"), 0o755); err != nil { // a directory cannot be replaced
		t.Fatal(err)
	}
	for range 10 { // the order of the map is random
		if err := write(dir, files("2")); err == nil || read(a) != "1" {
			t.Fatalf("%v: %s", err, read(a))
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.new"))
	if err != nil || len(left) > 0 {
		t.Errorf("the directory has %v, %v", left, err)
	}
}

// copyTree returns a copy of the repository.
func copyTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `tar -cf - -C "$0" --exclude ./.git --exclude node_modules . | tar -xf - -C "$1"`, root, dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// make spec in a copy of the repository.
func TestMakeSpec(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the SDK")
	}
	dir := copyTree(t)
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	content := func(dir, name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	makeSpec := func(args ...string) (string, error) {
		var out bytes.Buffer
		err := command(t.Context(), append([]string{"-root", dir}, args...), &out)
		return out.String(), err
	}
	all := fragments(t, whole(t))
	put("needed.json", canonical(small(t)))
	put("a.md", page(all["createGeneration"], all["createFromTemplateGeneration"], all["getGenerationStatus"]))
	put("b.yaml", asYAML(t, all["listThemes"]))
	rest := []map[string]any{}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if !slices.Contains([]string{"createGeneration", "createFromTemplateGeneration", "getGenerationStatus", "listThemes"}, id) {
			rest = append(rest, all[id])
		}
	}
	put("c.md", page(rest...))
	put("openapi.json", canonical(small(t)))

	out, err := makeSpec("-check", "c.md", "b.yaml", "a.md")
	if err != nil || !strings.Contains(out, "changes to requests and responses:\n") || content(dir, "openapi.json") != canonical(small(t)) {
		t.Errorf("with CHECK: %v\n%s", err, out)
	}
	if out, err = makeSpec("c.md", "b.yaml", "a.md"); err != nil || strings.Contains(out, "tests do not compile") {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, file := range []string{"openapi.json", generated, requestsFile} {
		if content(dir, file) != content(root, file) {
			t.Errorf("%s differs", file)
		}
	}
	if out, err = makeSpec("openapi.json"); err != nil || strings.Count(out, "No changes detected") != 2 {
		t.Errorf("the same document: %v\n%s", err, out)
	}

	put("d.md", strings.Replace(page(all["createGeneration"]), `"operationId":"createGeneration"`, `"operationId":"makeGeneration"`, 1))
	out, err = makeSpec("d.md")
	if err == nil || !strings.Contains(err.Error(), "make spec: no file was changed: package gamma or the poller needs what is missing: no operation createGeneration") {
		t.Errorf("%v\n%s", err, out)
	}
	for _, file := range []string{"openapi.json", generated, requestsFile} {
		if content(dir, file) != content(root, file) {
			t.Errorf("%s was changed", file)
		}
	}

	// Breaking changes are reported, for requests and for Go.
	breaking := copyOf(t, all["listThemes"])
	operation := at(breaking, "paths", "/v1.0/themes", "get")
	operation["parameters"] = slices.DeleteFunc(array(operation["parameters"]), func(p any) bool { return object(p)["name"] == "query" })
	for _, p := range array(operation["parameters"]) {
		if schema := at(p, "schema"); schema["maximum"] != nil {
			schema["maximum"] = 10
		}
	}
	put("e.md", page(breaking))
	out, err = makeSpec("-check", "e.md")
	for _, want := range []string{"1 error", "\n  1 removed or changed, 0 added\n  removed or changed: ListThemesParams.Query: removed\n"} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%v, no %q in\n%s", err, want, out)
		}
	}
}

// After make spec the tests pass without a change by hand. The hostile tests, which take a
// minute, run only for the last document.
func TestMakeSpecKeepsTestsPassing(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs the tests of the SDK")
	}
	testdata := filepath.Join(root, "internal", "codegen", "testdata")
	earlier := func(t *testing.T) map[string]any {
		return load(t, filepath.Join(testdata, "enums-as-schemas.openapi.json"))
	}
	for _, tt := range []struct {
		name     string
		document func(t *testing.T) map[string]any
		args     []string
		packages string
	}{
		{"enums as schemas", earlier, nil, "$(go list ./... | grep -v hostile)"},
		{"schemas with the suffix Dto, strings as bare objects", func(t *testing.T) map[string]any {
			return load(t, filepath.Join(testdata, "whole-with-suffix.openapi.json"))
		}, []string{"-drop", "deleteGamma archiveGamma"}, "$(go list ./... | grep -v hostile)"},
		{"many changes", func(t *testing.T) map[string]any {
			d := copyOf(t, whole(t))
			setProperty(d, "GenerationStatusResponse", "status", `{"type":"string","enum":["pending","completed","failed","stopped"]}`)
			setProperty(d, "GenerationStatusResponse", "pages", `{"type":"array","items":{"type":"object","required":["id"],"properties":{"id":{"type":"string"}}}}`)
			generation := at(d, "components", "schemas", "Generation")
			delete(at(generation, "properties"), "title")
			setProperty(d, "Generation", "folderId", `{"type":"string","pattern":"^(?!x)[a-z]*$"}`)
			setProperty(d, "Generation", "createdBy", `{"type":"string","readOnly":true}`)
			generation["required"] = []any{"inputText", "textMode", "createdBy"}
			for _, item := range at(d, "paths") {
				for _, method := range methods {
					delete(at(item, method, "responses"), "201")
				}
			}
			addParameter(d, "/v1.0/generations/{id}", "get", `{"name":"X-Trace","in":"header","schema":{"type":"string"}}`)
			operation := func(path, text string) { at(d, "paths")[path] = asObject(t, text) }
			operation("/v1.0/exports/{id}", `{"get":{"operationId":"getExport","parameters":[
				{"name":"id","in":"path","required":true,"schema":{"type":"string"}},
				{"name":"tags","in":"query","required":true,"schema":{"type":"array","items":{"type":"string"}}},
				{"name":"X-Team","in":"header","required":true,"schema":{"type":"string"}}],
				"responses":{"200":{"description":"OK","content":{"application/json":{"schema":{"type":"object","required":["id","at"],"properties":{"id":{"type":"string"},"at":{"type":"string","format":"date-time"}}}}}}}}}`)
			operation("/v1.0/agent/generations", `{"post":{"operationId":"create_agent-generation","requestBody":{"required":true,"content":{"application/json":{"schema":
				{"type":"object","required":["prompt","quality"],"properties":{"prompt":{"type":"string","minLength":3},"quality":{"type":"string","enum":["lite","max"]}}}}}},
				"responses":{"202":{"description":"Accepted","content":{"application/json":{"schema":{"type":"object","required":["generationId"],"properties":{"generationId":{"type":"string"}}}}}}}},
				"delete":{"operationId":"deleteAgentGenerations","responses":{"204":{"description":"Deleted"}}}}`)
			return d
		}, nil, "./..."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := copyTree(t)
			if err := os.WriteFile(filepath.Join(dir, "new.json"), []byte(canonical(tt.document(t))), 0o600); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if err := command(t.Context(), slices.Concat([]string{"-root", dir}, tt.args, []string{"new.json"}), &out); err != nil || strings.Contains(out.String(), "tests do not compile") {
				t.Fatalf("%v\n%s", err, out.String())
			}
			if _, err := run(t.Context(), dir, "sh", "-c", "go test "+tt.packages+
				" && (cd gammatest && go test ./...) && (cd batch && go vet ./...) && (cd examples && go vet ./...) && (cd poller/riverwait && go vet ./...) && unset GOWORK && cd cmd/gamma && go vet ./..."); err != nil {
				t.Error(err)
			}
		})
	}
}

const root = "../.."

// first returns the document that has only getGenerationStatus.
func first(t testing.TB) map[string]any {
	t.Helper()
	return load(t, filepath.Join(root, "testdata", "get-generation-status.openapi.json"))
}

// whole returns the present openapi.json.
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

// page returns a page of documentation in the vendor's format.
func page(fragments ...map[string]any) string {
	text := "# A page\n\nWhat it is for.\n\n"
	for _, fragment := range fragments {
		text += "## An operation\n\n> What it does.\n\n```json\n" + canonical(fragment) + "\n```\n\n{% hint style=\"info\" %}\nA hint.\n{% endhint %}\n\n"
	}
	return text + "A response:\n\n```json\n{\"generationId\": \"gen1\", ...}\n```\n"
}

// fragments returns one document for each operation, with the schemas that it uses.
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

// tree returns a directory with the present overlay, document and files.
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

// merged returns the first document with one file merged into it.
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

// quiet returns spec without its notes.
func quiet(root string, files []string) ([]byte, error) { return logged(root, files, io.Discard) }

// logged returns spec and writes its notes to w.
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

// copyOf returns a deep copy of v.
func copyOf(t testing.TB, v map[string]any) (c map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(canonical(v)), &c); err != nil {
		t.Fatal(err)
	}
	return c
}
