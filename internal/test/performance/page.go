// Package performance keeps docs/performance.md. The benchmark programs write what they
// measured into its sections; the summary and the pictures are made from the tables that
// are then in the page, so no figure can differ between them. The text between the sections
// is written by hand.
package performance

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// pageName is the page, in the docs directory.
const pageName = "performance.md"

// Table is a Markdown table with a heading above and a note below. Both are optional.
type Table struct {
	Title string
	Head  []string
	Rows  [][]string
	Note  string
}

// longTable is the number of rows from which a table is folded.
const longTable = 16

// String returns the table in Markdown. Long tables are in a details element.
func (t Table) String() string {
	var b strings.Builder
	if t.Title != "" {
		fmt.Fprintf(&b, "### %s\n\n", t.Title)
	}
	folded := len(t.Rows) >= longTable
	if folded {
		fmt.Fprintf(&b, "<details><summary>%d rows</summary>\n\n", len(t.Rows))
	}
	rule := slices.Repeat([]string{"--:"}, len(t.Head))
	rule[0] = ":--"
	for _, cells := range slices.Concat([][]string{t.Head, rule}, t.Rows) {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	if folded {
		b.WriteString("\n</details>\n")
	}
	if t.Note != "" {
		fmt.Fprintf(&b, "\n%s\n", t.Note)
	}
	return b.String()
}

// Write replaces a section of the page in the directory docs with the tables and a line about
// the machine, and then updates the summary and the pictures.
func Write(docs, section, machine string, tables []Table) error {
	file := filepath.Join(docs, pageName)
	page, err := os.ReadFile(file) //nolint:gosec // the caller's directory
	if err != nil {
		return err
	}
	var parts []string
	for _, t := range tables {
		parts = append(parts, t.String())
	}
	parts = append(parts, "Measured on "+machine+".\n")
	text, err := replace(string(page), section, strings.Join(parts, "\n"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil { //nolint:gosec // to be read by all
		return err
	}
	return Update(docs)
}

// Update remakes the summary and the pictures from the tables in the page.
func Update(docs string) error {
	file := filepath.Join(docs, pageName)
	page, err := os.ReadFile(file) //nolint:gosec // the caller's directory
	if err != nil {
		return err
	}
	files, err := made(string(page))
	if err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(docs, name), []byte(text), 0o644); err != nil { //nolint:gosec // to be read by all
			return err
		}
	}
	return nil
}

// find returns the start and the end of what is between the markers of a section.
func find(page, section string) (start, end int, err error) {
	marker := "<!-- " + section + ": made by make bench -->\n"
	start = strings.Index(page, marker)
	if start < 0 {
		return 0, 0, fmt.Errorf("%s has no section %q", pageName, section)
	}
	start += len(marker)
	n := strings.Index(page[start:], "<!-- end -->")
	if n < 0 || strings.Contains(page[start:start+n], ": made by make bench -->") {
		return 0, 0, fmt.Errorf("in %s, section %q has no end", pageName, section)
	}
	return start, start + n, nil
}

// replace returns the page with another text in a section.
func replace(page, section, text string) (string, error) {
	start, end, err := find(page, section)
	if err != nil {
		return "", err
	}
	return page[:start] + "\n" + text + "\n" + page[end:], nil
}

// parse returns the tables in a text, without their notes.
func parse(text string) []Table {
	var tables []Table
	title, inTable := "", false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if t, ok := strings.CutPrefix(line, "### "); ok {
			title = t
		}
		if !strings.HasPrefix(line, "| ") {
			inTable = false
			continue
		}
		cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "| "), " |"), " | ")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch last := len(tables) - 1; {
		case !inTable:
			tables = append(tables, Table{Title: title, Head: cells})
			title = ""
		case cells[0] != ":--":
			tables[last].Rows = append(tables[last].Rows, cells)
		}
		inTable = true
	}
	return tables
}

// Machine describes where the figures are measured, and when.
func Machine(now time.Time) string {
	return fmt.Sprintf("%s, %d cores, %s %s/%s, %s", cpuModel(), runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH, now.Format(time.DateOnly))
}

func cpuModel() string {
	info, _ := os.ReadFile("/proc/cpuinfo") // only Linux has it
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}
