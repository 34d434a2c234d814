// Package links tests the links in the project's pages.
package links

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// Every relative link in a page leads to a file, a directory or a heading.
func TestLinks(t *testing.T) {
	problems, pages, err := check(os.DirFS("../../.."))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs/performance.md", "docs/scaling.md", "skills/gamma/SKILL.md"} {
		if !slices.Contains(pages, want) {
			t.Errorf("%s is not checked", want)
		}
	}
	for _, problem := range problems {
		t.Error(problem)
	}
}

func TestCheck(t *testing.T) {
	for name, tt := range map[string]struct {
		page string
		want string // the problem, or empty
	}{
		"file":                    {"[a](docs/b.md)", ""},
		"directory":               {"[a](docs)", ""},
		"website":                 {"[a](https://example.com/none)", ""},
		"heading":                 {"## What `It` costs, today\n[a](#what-it-costs-today)", ""},
		"heading with a link":     {"## See [b](docs/b.md)\n[a](#see-b)", ""},
		"second of a name":        {"# A\n# A\n[a](#a-1)", ""},
		"heading elsewhere":       {"[a](docs/b.md#b)", ""},
		"line of a program":       {"[a](a.go#L3)", ""},
		"image":                   {"![a](docs/b.svg)", "a.md: docs/b.svg: no such file"},
		"image in HTML":           {`<img src="docs/b.svg">`, "a.md: docs/b.svg: no such file"},
		"in a code block":         {"```\n[a](none.md)\n```\n", ""},
		"in code":                 {"`[a](none.md)`", ""},
		"no file":                 {"[a](none.md)", "a.md: none.md: no such file"},
		"outside":                 {"[a](../a.md)", "a.md: ../a.md: no such file"},
		"no heading":              {"[a](#none)", "a.md: #none: no such heading"},
		"no heading elsewhere":    {"[a](docs/b.md#none)", "a.md: docs/b.md#none: no such heading"},
		"heading in a code block": {"```\n# A\n```\n[a](#a)", "a.md: #a: no such heading"},
		"heading of a program":    {"[a](a.go#a)", "a.md: a.go#a: no such heading"},
	} {
		t.Run(name, func(t *testing.T) {
			problems, _, err := check(fstest.MapFS{"a.md": {Data: []byte(tt.page)}, "docs/b.md": {Data: []byte("# B\n")}, "a.go": {}})
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(problems, "\n"); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

var (
	codeBlock  = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	code       = regexp.MustCompile("`[^`\n]*`")
	link       = regexp.MustCompile(`\]\(<?([^)\s>]+)|(?:src|href)="([^"]+)"`)
	heading    = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *#*$`)
	linkedText = regexp.MustCompile(`!?\[([^]]*)\]\([^)]*\)`)
	notInSlug  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	sourceLine = regexp.MustCompile(`^L\d+(-L\d+)?$`)
)

// check returns the broken links of all pages in root, and the pages.
func check(root fs.FS) (problems, pages []string, err error) {
	err = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name != "." && strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".md":
			return nil
		}
		pages = append(pages, name)
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		page := code.ReplaceAllString(codeBlock.ReplaceAllString(string(text), ""), "")
		for _, m := range link.FindAllStringSubmatch(page, -1) {
			if problem := broken(root, name, m[1]+m[2]); problem != "" {
				problems = append(problems, fmt.Sprintf("%s: %s: %s", name, m[1]+m[2], problem))
			}
		}
		return nil
	})
	return problems, pages, err
}

// broken returns what is wrong with a link on a page.
func broken(root fs.FS, page, target string) string {
	u, err := url.Parse(target)
	switch {
	case err != nil:
		return err.Error()
	case u.Scheme != "" || u.Host != "":
		return "" // another site
	}
	file := page
	if u.Path != "" {
		file = path.Join(path.Dir(page), u.Path)
	}
	if _, err := fs.Stat(root, file); err != nil {
		return "no such file"
	}
	if u.Fragment == "" || path.Ext(file) != ".md" && sourceLine.MatchString(u.Fragment) {
		return ""
	}
	text, err := fs.ReadFile(root, file)
	if err != nil || path.Ext(file) != ".md" || !slices.Contains(slugs(string(text)), u.Fragment) {
		return "no such heading"
	}
	return ""
}

// slugs returns the fragments that GitHub gives to the headings of a page.
func slugs(page string) []string {
	var all []string
	seen := map[string]int{}
	for _, m := range heading.FindAllStringSubmatch(codeBlock.ReplaceAllString(page, ""), -1) {
		slug := linkedText.ReplaceAllString(m[1], "$1")
		slug = strings.ReplaceAll(notInSlug.ReplaceAllString(strings.ToLower(slug), ""), " ", "-")
		n := seen[slug]
		seen[slug]++
		if n > 0 {
			slug = fmt.Sprintf("%s-%d", slug, n)
		}
		all = append(all, slug)
	}
	return all
}
