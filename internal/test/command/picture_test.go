//go:build linux || darwin

package command

import (
	"encoding/xml"
	"flag"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "draw docs/demo.svg again, from a run of gamma demo")

const picture = "docs/demo.svg"

// The picture in README.md is of a real run of make demo. It has the lines that the demo
// prints today; -update draws it again.
func TestPicture(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "gamma"), "demo")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := append([]string{"$ make demo"}, strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")...)
	if *update {
		path := filepath.Join("..", "..", "..", filepath.FromSlash(picture))
		if err := os.WriteFile(path, []byte(draw(lines)), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	drawn, err := drawnLines(document(t, picture))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := masked(drawn), masked(lines); !slices.Equal(got, want) {
		t.Errorf("%s has\n%s\nand make demo prints\n%s\nDraw it again with go test -run TestPicture -update", picture, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// changing matches what differs from run to run: seconds, and the number of an id.
var changing = regexp.MustCompile(` *\d+\.\ds|gen\d+`)

// masked returns the lines of a run without what differs from run to run, sorted, since
// four generations finish in any order.
func masked(lines []string) []string {
	var result []string
	for _, line := range lines {
		if line = strings.TrimSpace(changing.ReplaceAllString(line, "*")); line != "" {
			result = append(result, line)
		}
	}
	slices.Sort(result)
	return result
}

// The sizes of the picture, in its unit: of a character, and of the margin.
const (
	columns = 80
	column  = 8.4
	height  = 18
	margin  = 16
)

// event matches a line about a text: the time, its name, and what happens to it.
var event = regexp.MustCompile(`^( *\d+\.\ds)  (\S+ +)(.*)$`)

// draw returns a picture of lines in a terminal. It has a background, so that it looks the
// same on a light page and on a dark one.
func draw(lines []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %d" font-family="ui-monospace, Menlo, Consolas, monospace" font-size="14" fill="#d7dce5">
<title>make demo in a terminal</title>
<rect width="100%%" height="100%%" rx="8" fill="#1b1f28"/>
`, columns*column+2*margin, len(lines)*height+2*margin)
	for y, line := range lines {
		if line == "" {
			continue
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" textLength="%.1f" xml:space="preserve">`, margin, margin+y*height+14, float64(utf8.RuneCountInString(line))*column)
		if parts := event.FindStringSubmatch(line); parts != nil {
			fmt.Fprintf(&b, `<tspan fill="#8a93a5">%s  </tspan><tspan fill="#8fb8f0">%s</tspan><tspan fill="%s">%s</tspan>`, parts[1], html.EscapeString(parts[2]), color(parts[3]), html.EscapeString(parts[3]))
		} else {
			b.WriteString(html.EscapeString(line))
		}
		b.WriteString("</text>\n")
	}
	return b.String() + "</svg>\n"
}

func color(message string) string {
	switch {
	case strings.Contains(message, "saved"):
		return "#7ccf8a" // green
	case strings.HasPrefix(message, "created"):
		return "#d7dce5"
	}
	return "#e6c15c" // yellow
}

// drawnLines returns the lines of a picture.
func drawnLines(svg string) (lines []string, err error) {
	var doc struct {
		Lines []struct {
			Text  string   `xml:",chardata"`
			Parts []string `xml:"tspan"`
		} `xml:"text"`
	}
	if err := xml.Unmarshal([]byte(svg), &doc); err != nil {
		return nil, err
	}
	for _, line := range doc.Lines {
		lines = append(lines, line.Text+strings.Join(line.Parts, ""))
	}
	return lines, nil
}
