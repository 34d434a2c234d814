// Package codegen tests the road from a document to the generated client.
package codegen

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../../.."

// The templates in internal/templates that oapi-codegen has, too: the sum of the
// original, and in how many lines ours may differ from it, removed and added.
var originals = map[string]struct {
	sum     string
	changed int
}{
	"client.tmpl":                {"393820c177b1bcd8a7ae8a39099b4cab95209964bd17d79cb12534f7a65d677c", 10},
	"client-with-responses.tmpl": {"01e28fc263020fab72aa4316d93348a11ebddd98a699894b84dbb7141239bdf8", 4},
}

func TestTemplates(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/oapi-codegen/oapi-codegen/v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "pkg", "codegen", "templates")
	ours, err := filepath.Glob(filepath.Join(root, "internal", "templates", "*"))
	if err != nil || len(ours) == 0 {
		t.Fatal("no templates", err)
	}
	for _, file := range ours {
		name := filepath.Base(file)
		original := filepath.Join(dir, name)
		want, known := originals[name]
		if !known && exists(original) {
			t.Errorf("%s replaces a template of oapi-codegen: record it here", name)
		}
		if !known {
			continue
		}
		if sum := fmt.Sprintf("%x", sha256.Sum256(read(t, original))); sum != want.sum {
			t.Errorf("oapi-codegen's %s has changed. Compare internal/templates/%[1]s with %s, carry over what is new, run make generate, and record %s here.",
				name, original, sum)
			continue
		}
		if n := changed(lines(read(t, original)), lines(read(t, file))); n > want.changed {
			t.Errorf("%s differs from %s in %d lines, more than %d", file, original, n, want.changed)
		}
	}
}

func lines(text []byte) []string { return strings.Split(string(text), "\n") }

// changed counts the lines of a and b that are not in their longest common
// subsequence, as diff does.
func changed(a, b []string) int {
	common := make([]int, len(b)+1) // of what is left of a, and of b from each line on
	for i := len(a) - 1; i >= 0; i-- {
		diagonal := 0
		for j := len(b) - 1; j >= 0; j-- {
			below := common[j]
			if a[i] == b[j] {
				common[j] = diagonal + 1
			} else {
				common[j] = max(below, common[j+1])
			}
			diagonal = below
		}
	}
	return len(a) + len(b) - 2*common[0]
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
	parse := func(file string) (document object) {
		if err := json.Unmarshal(read(t, file), &document); err != nil {
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
	document, whole := parse(file), parse(present)
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

func read(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data := read(t, from)
	err := os.MkdirAll(filepath.Dir(to), 0o755)
	if err == nil {
		err = os.WriteFile(to, data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
