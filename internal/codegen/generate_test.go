package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Operations with every kind of parameter and body. The tests in testdata run on the
// generated code.
func TestGenerateEveryKindOfOperation(t *testing.T) {
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

// Types that names.yaml lists may hold any JSON.
func TestCheckTypes(t *testing.T) {
	code := "package api\n\ntype A struct {\n\tX map[string]interface{} `json:\"x,omitempty\"`\n\tY *[]any `json:\"y\"`\n\tZ interface{ M() }\n}\n\ntype B = interface{}\n"
	for _, tt := range []struct {
		allowed []string
		want    string
	}{
		{nil, "A.x, A.y, B would be any JSON"},
		{[]string{"A.x", "B"}, "A.y would be any JSON"},
		{[]string{"A.x", "A.y", "B"}, ""},
	} {
		err := checkTypes([]byte(code), tt.allowed)
		if (err == nil) != (tt.want == "") || err != nil && !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("with %v: %v, want %s", tt.allowed, err, tt.want)
		}
	}
}
