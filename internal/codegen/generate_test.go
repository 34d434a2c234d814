package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// Operations with every kind of parameter and body, in code that is run.
func TestOperationsOfEveryKind(t *testing.T) {
	here, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	more, err := os.ReadFile("testdata/more-operations.openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	text, _, err := spec(tree(t, small(t), map[string]string{"more.json": string(more)}), []string{"more.json"}, settings{})
	if err != nil {
		t.Fatal(err)
	}
	code, _, err := generate(t.Context(), root, asObject(t, string(text)))
	if err != nil {
		t.Fatal(err)
	}
	file, overlay := filepath.Join(t.TempDir(), "client.gen.go"), filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(file, code, 0o600); err != nil {
		t.Fatal(err)
	}
	replace, _ := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(here, generated):               file,
		filepath.Join(here, "api", "client_test.go"): filepath.Join(here, "internal", "codegen", "testdata", "more-operations_test.go"),
	}})
	if err := os.WriteFile(overlay, replace, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := run(t.Context(), root, "go", "test", "-overlay="+overlay, "./api"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
