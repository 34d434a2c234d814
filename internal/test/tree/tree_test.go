// Package tree tests the names of the files of this repository.
package tree

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Test files that are named after what they contain.
var conventional = []string{"example_test.go", "bench_test.go"}

// Test files that are named after another file than a Go source.
var others = map[string]string{
	"comparison_test.go": "README.md",
	"page_test.go":       "examples/web/page.html",
	"readme_test.go":     "README.md",
	"security_test.go":   "SECURITY.md",
	"waiting_test.go":    "docs/waiting.md",
}

// Folders that have programs too, but whose tests are named by subject.
var bySubject = []string{"internal/test/consumer", "examples/testing"}

// Systems and architectures of Go that a test file is built for.
var systems = []string{"linux", "darwin", "windows", "unix", "other", "amd64", "arm64"}

var testFunc = regexp.MustCompile(`(?m)^func (Test|Benchmark|Fuzz)\w*\(\w+ \*testing\.[TBF]\)`)

// Every file with tests is named after the file that it tests: x_test.go, or x_linux_test.go
// for one system, tests x.go. In a folder that has only tests, they are named by subject.
func TestTestFileNames(t *testing.T) {
	const root = "../../.."
	sources := map[string][]string{} // names of Go files by folder
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && slices.Contains([]string{".git", "node_modules", "testdata", "dist", "bin", "peers"}, entry.Name()) {
			return fs.SkipDir
		}
		if path.Ext(name) == ".go" {
			sources[path.Dir(name)] = append(sources[path.Dir(name)], entry.Name())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir, names := range sources {
		if slices.Contains(bySubject, dir) || onlyTests(names) {
			continue
		}
		for _, name := range names {
			subject, ok := strings.CutSuffix(name, "_test.go")
			if !ok || slices.Contains(conventional, name) {
				continue
			}
			if file := others[name]; file != "" {
				if _, err := os.Stat(path.Join(root, file)); err != nil {
					t.Errorf("%s: %v", path.Join(dir, name), err)
				}
				continue
			}
			text, err := os.ReadFile(path.Join(root, dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if !testFunc.Match(text) {
				continue // helpers
			}
			base := subject
			for _, system := range systems {
				base = strings.TrimSuffix(base, "_"+system)
			}
			if !slices.Contains(names, subject+".go") && !slices.Contains(names, base+".go") {
				t.Errorf("%s: there is no %s.go that it could test: move its tests to the files of their subjects", path.Join(dir, name), base)
			}
		}
	}
}

// onlyTests reports whether a folder has no Go files except tests and a package comment.
func onlyTests(names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool {
		return !strings.HasSuffix(name, "_test.go") && name != "doc.go"
	})
}
