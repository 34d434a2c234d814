package performance

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const docs = "../../../docs"

var update = flag.Bool("update", false, "remake the summary and the pictures in docs from the tables there")

// The summary and the pictures have the figures of the tables.
func TestUpToDate(t *testing.T) {
	if *update {
		if err := Update(docs); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(filepath.Join(docs, pageName))
	if err != nil {
		t.Fatal(err)
	}
	files, err := made(string(page))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		if got, err := os.ReadFile(filepath.Join(docs, name)); err != nil || string(got) != want {
			t.Errorf("%s is not made from the tables in %s (%v): run go test ./internal/test/performance -update", name, pageName, err)
		}
		if !strings.HasSuffix(name, ".svg") {
			continue
		}
		if !strings.Contains(string(page), "("+name+")") {
			t.Errorf("%s does not show %s", pageName, name)
		}
		if bad := firstBad(want, "%!", "NaN", "Inf", "<script", "http://www.w3.org/1999"); bad != "" {
			t.Errorf("%s contains %s", name, bad)
		}
		for d := xml.NewDecoder(strings.NewReader(want)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Errorf("%s: %v", name, err)
				break
			}
		}
	}
}

func firstBad(text string, bad ...string) string {
	for _, s := range bad {
		if strings.Contains(text, s) {
			return s
		}
	}
	return ""
}

// Write replaces one section, and updates the summary and a picture.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	before, err := os.ReadFile(filepath.Join(docs, pageName))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, pageName)
	if err := os.WriteFile(file, before, 0o600); err != nil {
		t.Fatal(err)
	}
	table := Table{Title: Growth, Head: []string{"waiting", "CPU per poll, µs"}, Rows: [][]string{{"1,000", "77.7"}, {"2,000", "88.8"}}, Note: "A note."}
	if err := Write(dir, "growth", "a machine", []Table{table}); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	start, end, err := find(string(before), "growth")
	if err != nil {
		t.Fatal(err)
	}
	want := string(before[:start]) + "\n### " + Growth + "\n\n" +
		"| waiting | CPU per poll, µs |\n| :-- | --: |\n| 1,000 | 77.7 |\n| 2,000 | 88.8 |\n\nA note.\n\nMeasured on a machine.\n\n" + string(before[end:])
	if string(after) != want {
		t.Errorf("the page is\n%s\nwant\n%s", after, want)
	}
	picture, err := os.ReadFile(filepath.Join(dir, "performance-growth.svg"))
	if err != nil || !bytes.Contains(picture, []byte(">2,000<")) || bytes.Contains(picture, []byte(">3,000<")) {
		t.Errorf("%v, %s", err, picture)
	}
	if err := Write(dir, "none", "a machine", nil); err == nil {
		t.Error("no error for a section that is not in the page")
	}
}

func TestMissing(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(docs, pageName))
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for name, bad := range map[string]string{
		"table":   strings.Replace(page, "### "+Takeover+"\n", "### Another\n", 1),
		"column":  strings.Replace(page, "CPU per poll, µs", "CPU", 1),
		"row":     strings.Replace(page, "| 0.5, sliding, All |", "| 0.6, sliding, All |", 1),
		"number":  strings.Replace(page, "| 30,000 | ", "| 30,000 | about ", 1),
		"summary": strings.Replace(page, "<!-- summary:", "<!-- summery:", 1),
		"end":     strings.Replace(page, "<!-- end -->", "", 1),
	} {
		if bad == page {
			t.Errorf("%s: the test changes nothing", name)
		}
		if _, err := made(bad); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A table is read as it is written, a long one too.
func TestTable(t *testing.T) {
	short := Table{Title: "Short", Head: []string{"", "a"}, Rows: [][]string{{"x", "1"}, {"y", ""}}}
	long := Table{Head: []string{"n", "square"}}
	for range longTable {
		long.Rows = append(long.Rows, []string{"1", "1"})
	}
	text := short.String() + "\n" + long.String()
	if got := parse(text); !reflect.DeepEqual(got, []Table{short, long}) {
		t.Errorf("%v", got)
	}
	if !strings.Contains(text, "<details><summary>16 rows</summary>\n\n| n |") || strings.Count(text, "details>") != 2 {
		t.Errorf("%s", text)
	}
}

func TestTicks(t *testing.T) {
	for name, tt := range map[string]struct{ got, want []float64 }{
		"linear, 14":        {linearTicks(14), []float64{0, 2, 4, 6, 8, 10, 12, 14}},
		"linear, 5.1":       {linearTicks(5.1), []float64{0, 1, 2, 3, 4, 5, 6}},
		"linear, 300":       {linearTicks(300), []float64{0, 50, 100, 150, 200, 250, 300}},
		"logarithmic":       {logTicks(2.7, 45), []float64{2, 5, 10, 20, 50}},
		"exactly":           {logTicks(10, 100), []float64{10, 20, 50, 100}},
		"logarithm of zero": {logTicks(0, 0.05), []float64{0.01, 0.02, 0.05}},
	} {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("%s: %v, want %v", name, tt.got, tt.want)
		}
	}
}

func TestNumber(t *testing.T) {
	for want, got := range map[string]string{
		"0":         Number(0, 0),
		"999":       Number(999, 0),
		"1,000":     Number(1000, 0),
		"1,234,568": Number(1234567.8, 0),
		"-12,345.7": Number(-12345.67, 1),
		"-123":      Number(-123, 0),
		"0.05":      Number(0.05, -1),
		"10,000":    Number(10_000, -1),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
