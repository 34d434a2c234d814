// Package codegen tests the road from a document to the generated client.
package codegen

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The templates in internal/templates are copies of oapi-codegen's with a few
// lines changed. These are the originals that they were made from.
var originals = map[string]string{
	"client.tmpl":                "393820c177b1bcd8a7ae8a39099b4cab95209964bd17d79cb12534f7a65d677c",
	"client-with-responses.tmpl": "01e28fc263020fab72aa4316d93348a11ebddd98a699894b84dbb7141239bdf8",
}

func TestTemplatesHaveNotChangedUpstream(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/oapi-codegen/oapi-codegen/v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "pkg", "codegen", "templates")
	for name, want := range originals {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		sum := sha256.Sum256(text)
		if got := hex.EncodeToString(sum[:]); got != want {
			t.Errorf("oapi-codegen's %s has changed. Compare internal/templates/%[1]s with %s, carry over what is new, run make generate, and record %s here.",
				name, filepath.Join(dir, name), got)
		}
	}
}

// Documents that are not the present one must give code that compiles, with the
// poller on top of it: the vendor's of other dates, and one with every kind of
// parameter and response that the templates treat in a way of their own. A test
// beside a document is run on its code.
func TestOtherDocumentsGenerate(t *testing.T) {
	documents, err := filepath.Glob("testdata/*.openapi.json")
	if err != nil || len(documents) == 0 {
		t.Fatal("no documents", err)
	}
	const root = "../../.."
	for _, document := range documents {
		t.Run(filepath.Base(document), func(t *testing.T) {
			dir := t.TempDir()
			for _, part := range []string{"go.mod", "go.sum", "oapi-codegen.yaml", "overlay.yaml", "*.go", "poller/*.go", "internal/wire/*.go", "internal/templates/*", "internal/tools/oapi-codegen/go.*"} {
				files, err := filepath.Glob(filepath.Join(root, part))
				if err != nil || len(files) == 0 {
					t.Fatalf("%s: %v", part, err)
				}
				for _, file := range files {
					rel, err := filepath.Rel(root, file)
					if err != nil {
						t.Fatal(err)
					}
					if !strings.HasSuffix(rel, "_test.go") {
						copyFile(t, file, filepath.Join(dir, rel))
					}
				}
			}
			if err := os.WriteFile(filepath.Join(dir, "openapi.json"), completed(t, document, filepath.Join(root, "openapi.json")), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Join(dir, "api"), 0o755); err != nil {
				t.Fatal(err)
			}
			if test := strings.TrimSuffix(document, ".openapi.json") + "_test.go"; exists(test) {
				copyFile(t, test, filepath.Join(dir, "api", "client_test.go"))
			}
			for _, args := range [][]string{{"generate", "."}, {"vet", "./..."}, {"test", "./api"}} {
				cmd := exec.Command("go", args...)
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "GOWORK=off")
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
				}
			}
			if out, err := os.ReadFile(filepath.Join(dir, "api", "client.gen.go")); err != nil || !strings.Contains(string(out), "GenerationStatusCompleted GenerationStatus = ") {
				t.Errorf("no status constants in the generated code: %v", err)
			}
		})
	}
}

// completed returns the document in file with what hand-written code needs and it
// lacks: operations of the present document, and the schemas that these lead to.
func completed(t *testing.T, file, present string) []byte {
	t.Helper()
	type object = map[string]any
	read := func(file string) (document object) {
		data, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(data, &document)
		}
		if err != nil {
			t.Fatal(err)
		}
		return document
	}
	at := func(o object, names ...string) object {
		for _, name := range names {
			o, _ = o[name].(object)
		}
		return o
	}
	document, whole := read(file), read(present)
	has, _ := json.Marshal(document["paths"])
	for path, methods := range at(whole, "paths") {
		for method, operation := range methods.(object) {
			if id, _ := json.Marshal(operation.(object)["operationId"]); strings.Contains(string(has), string(id)) {
				continue
			}
			if at(document, "paths")[path] == nil {
				at(document, "paths")[path] = object{}
			}
			at(document, "paths", path)[method] = operation
		}
	}
	schemas := at(document, "components", "schemas")
	for added := true; added; {
		added = false
		text, _ := json.Marshal(document)
		for name, schema := range at(whole, "components", "schemas") {
			if schemas[name] == nil && strings.Contains(string(text), `"#/components/schemas/`+name+`"`) {
				schemas[name], added = schema, true
			}
		}
	}
	text, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o755)
	}
	if err == nil {
		err = os.WriteFile(to, data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
