package examples

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// An example is read from end to end: every program of this module, the test that is an
// example, the workflow and the table of examples are short.
func TestLength(t *testing.T) {
	files, err := filepath.Glob("*/main.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	limits := map[string]int{"testing/main_test.go": 80, "workflow/deck.yml": 80, "README.md": 30}
	for _, file := range files {
		switch dir := filepath.Dir(file); dir {
		case "river", "table", "temporal": // separate modules
		default:
			limits[file] = 80
		}
	}
	for file, limit := range limits {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(data, []byte("\n")); n > limit {
			t.Errorf("%s has %d lines, more than %d", file, n, limit)
		}
	}
}

// The table has every folder.
func TestTable(t *testing.T) {
	table, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && e.Name() != "internal" && !bytes.Contains(table, []byte("["+e.Name()+"]("+e.Name())) {
			t.Errorf("README.md has no link to %s", e.Name())
		}
	}
}
