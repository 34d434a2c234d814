// Package codegen compares the templates in internal/codegen/templates with those of
// oapi-codegen.
package codegen

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../../.."

// originals are the templates of oapi-codegen that internal/codegen/templates replaces: the
// checksum of the original, and the maximum number of lines removed and added.
var originals = map[string]struct {
	sum     string
	changed int
}{
	"client.tmpl":                {"393820c177b1bcd8a7ae8a39099b4cab95209964bd17d79cb12534f7a65d677c", 21},
	"client-with-responses.tmpl": {"01e28fc263020fab72aa4316d93348a11ebddd98a699894b84dbb7141239bdf8", 10},
}

func TestTemplates(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/oapi-codegen/oapi-codegen/v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "pkg", "codegen", "templates")
	ours, err := filepath.Glob(filepath.Join(root, "internal", "codegen", "templates", "*"))
	if err != nil || len(ours) == 0 {
		t.Fatal("no templates", err)
	}
	for _, file := range ours {
		name := filepath.Base(file)
		original := filepath.Join(dir, name)
		want, known := originals[name]
		if !known && exists(original) {
			t.Errorf("%s replaces a template of oapi-codegen: add it to originals", name)
		}
		if !known {
			continue
		}
		if sum := fmt.Sprintf("%x", sha256.Sum256(read(t, original))); sum != want.sum {
			t.Errorf("oapi-codegen's %s has changed. Compare internal/codegen/templates/%[1]s with %s, copy what is new, run make generate, and put %s into originals.",
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
	common := make([]int, len(b)+1) // by line of b: the longest common subsequence of the rests
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
