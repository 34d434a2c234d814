//go:build linux || darwin

package command

import (
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"html"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/gammatest"
)

var update = flag.Bool("update", false, "make cmd/gamma/create.svg again, from a run of create that takes a minute or two")

const picture = "cmd/gamma/create.svg"

// kinds are the lines of the picture, each as the command prints it, from the bar on in
// this order. The last two are permanent; they are above the bar.
var kinds = []struct {
	name string
	n    int // how many there are; -1 is one or more
	line *regexp.Regexp
}{
	{"bar", 1, regexp.MustCompile(`^█*░*  \d+/200  \d+%  (\d+m)?\d+s$`)},
	{"counts", 1, regexp.MustCompile(`^creating \d+, waiting \d+, saving \d+, done \d+, failed \d+$`)},
	{"pause", 1, regexp.MustCompile(`^pausing until \d\d:\d\d:\d\d \(\d+s\): [\w ]+$`)},
	{"slowest", 5, regexp.MustCompile(`^texts/\d{3}\.md  (\d+m)?\d+s, \d+ polls?, next (in \d+s|now)$`)},
	{"more", 1, regexp.MustCompile(`^and \d+ more$`)},
	{"completed", -1, regexp.MustCompile(`^gen\d+ +completed +decks/\d{3}\.pdf +texts/\d{3}\.md$`)},
	{"failed", -1, regexp.MustCompile(`^gamma: texts/\d{3}\.md: generation gen\d+ failed: Failed to generate text\. \(422 Unprocessable Entity\)$`)},
}

// checkPicture returns an error unless rows have the lines of the picture, and no others.
func checkPicture(rows []string) error {
	var found []string
	n := make(map[string]int)
	for i := 0; i < len(rows); i++ {
		row := rows[i]
		if utf8.RuneCountInString(row) > 80 {
			return fmt.Errorf("more than 80 columns: %q", row)
		}
		if strings.HasPrefix(row, "gamma: ") && !strings.HasSuffix(row, ")") && i+1 < len(rows) { // was wrapped
			i++
			row = strings.TrimRight(row, " ") + strings.Repeat(" ", 80-utf8.RuneCountInString(row)) + rows[i]
		}
		kind := ""
		for _, k := range kinds {
			if k.line.MatchString(row) {
				kind = k.name
			}
		}
		switch {
		case kind == "" && i == 0 && wrapped(row):
			continue
		case kind == "" && row == "" && i == len(rows)-1: // the cursor
			continue
		case kind == "":
			return fmt.Errorf("another line: %q", row)
		}
		if n[kind]++; n[kind] == 1 && kind != "completed" && kind != "failed" {
			found = append(found, kind)
		}
	}
	for _, k := range kinds {
		if n[k.name] != k.n && (k.n >= 0 || n[k.name] == 0) {
			return fmt.Errorf("%d lines %s", n[k.name], k.name)
		}
	}
	if want := []string{"bar", "counts", "pause", "slowest", "more"}; !slices.Equal(found, want) {
		return fmt.Errorf("the order is %q, want %q", found, want)
	}
	return nil
}

// wrapped reports whether row is the end of a line about a failure.
func wrapped(row string) bool {
	return !strings.HasPrefix(row, "gamma: ") && strings.HasSuffix(row, " Entity)")
}

// The picture in README.md is of a real run. It has the lines that the command prints
// today; -update makes it again.
func TestPicture(t *testing.T) {
	t.Parallel()
	s := startSession(t, 80, 24, pictureCommand(t))
	var svg string
	err := errors.New("no frame")
	s.compared = func() {
		if *update && (s.ended() < 90 || s.ended() > 120) {
			return
		}
		if err != nil {
			rows := s.rows()
			if err = checkPicture(rows); err == nil && *update && wrapped(rows[0]) {
				err = errors.New("a first line that is the rest of another")
			}
			if err == nil {
				svg = s.svg()
			}
		}
	}
	s.until("frame", func() bool { return err == nil || s.ended() > 120 })
	if err != nil {
		t.Fatalf("create shows %v:\n%s", err, strings.Join(s.rows(), "\n"))
	}
	path := filepath.Join("..", "..", "..", filepath.FromSlash(picture))
	if *update {
		if err := os.WriteFile(path, []byte(svg), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"this run": svg, picture: document(t, picture)} {
		rows, err := rowsOf(text)
		if err == nil {
			err = checkPicture(rows)
		}
		if err != nil {
			t.Errorf("%s: %v:\n%s\nif this is what create prints, run go test -run TestPicture -update", name, err, strings.Join(rows, "\n"))
		}
	}
}

// pictureCommand returns a command that creates and saves 200 generations, which take 20
// to 70 seconds each, at 30 requests in 10 seconds. One of 25 fails.
func pictureCommand(t *testing.T) *exec.Cmd {
	t.Helper()
	fake, dir := gammatest.NewServer(t), t.TempDir()
	fake.Budget(30, 10*time.Second)
	fake.OnCreate(func(r api.GenerationRequest) []gammatest.Step {
		i, _ := strconv.Atoi(r.InputText)
		end := gammatest.Completed("")
		if i%25 == 0 {
			end = gammatest.Failed(422, "Failed to generate text.")
		}
		return []gammatest.Step{gammatest.PendingFor(time.Duration(20+i*37%50) * time.Second), end}
	})
	if err := os.Mkdir(filepath.Join(dir, "texts"), 0o777); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"create", "--export", "pdf", "--dir", "decks"}, numbered(t, dir, "texts/%03d.md")...)
	cmd := terminalCommand(fake, args...)
	cmd.Dir = dir
	return cmd
}

// The sizes of the picture, in its unit: of a character, and of the margin.
const (
	column = 8.4
	height = 18
	margin = 16
)

// svg returns the screen as a picture with a background, so that it looks the same on a
// light page and on a dark one.
func (s *session) svg() string {
	var b strings.Builder
	width, rows := float64(s.vt.Width())*column+2*margin, s.vt.Height()
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %d" font-family="ui-monospace, Menlo, Consolas, monospace" font-size="14" fill="#d7dce5">
<title>gamma create with 200 texts in a terminal of 80 by 24</title>
<rect width="100%%" height="100%%" rx="8" fill="#1b1f28"/>
`, width, rows*height+2*margin)
	for y := range rows {
		for x := 0; x < s.vt.Width(); {
			text, color := s.span(x, y)
			if text != "" {
				fmt.Fprintf(&b, `<text x="%.1f" y="%d" textLength="%.1f"`, margin+float64(x)*column, margin+y*height+14, float64(utf8.RuneCountInString(text))*column)
				if color != "" {
					fmt.Fprintf(&b, ` fill="%s"`, color)
				}
				fmt.Fprintf(&b, ">%s</text>\n", html.EscapeString(text))
			}
			x += max(1, utf8.RuneCountInString(text))
		}
	}
	return b.String() + "</svg>\n"
}

// span returns the text in one colour that starts at a cell, up to two spaces.
func (s *session) span(x, y int) (text, color string) {
	for ; x < s.vt.Width(); x++ {
		c, at := " ", ""
		if cell := s.vt.CellAt(x, y); cell != nil {
			if cell.Content != "" {
				c = cell.Content
			}
			if fg := cell.Style.Fg; fg != nil {
				if r, g, _, _ := fg.RGBA(); r < g {
					at = "#7ccf8a" // green
				} else {
					at = "#e6c15c" // yellow
				}
			}
		}
		if text == "" {
			color = at
		}
		if at != color || c == " " && (text == "" || strings.HasSuffix(text, " ")) {
			break
		}
		text += c
	}
	return strings.TrimSuffix(text, " "), color
}

// rowsOf returns the lines of a terminal in a picture.
func rowsOf(svg string) ([]string, error) {
	var doc struct {
		Text []struct {
			X    float64 `xml:"x,attr"`
			Y    int     `xml:"y,attr"`
			Text string  `xml:",chardata"`
		} `xml:"text"`
	}
	if err := xml.Unmarshal([]byte(svg), &doc); err != nil {
		return nil, err
	}
	rows := make([]string, 24)
	for _, text := range doc.Text {
		x, y := int(math.Round((text.X-margin)/column)), (text.Y-margin)/height
		if y < 0 || y >= len(rows) || x < utf8.RuneCountInString(rows[y]) {
			return nil, fmt.Errorf("%q is at column %d of line %d", text.Text, x, y)
		}
		rows[y] += strings.Repeat(" ", x-utf8.RuneCountInString(rows[y])) + text.Text
	}
	return rows, nil
}
