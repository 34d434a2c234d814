package screen

import (
	"io"
	"os"
	"strings"

	"github.com/mattn/go-runewidth"
	"golang.org/x/term"
)

// Mode says how progress is shown.
type Mode string

// The modes of [Display].
const (
	// Auto is Live on a terminal and Plain elsewhere. It is Plain, too, if TERM is dumb or
	// if ACCESSIBLE or CI is set.
	Auto Mode = "auto"
	// Live paints up to nine lines that change in place.
	Live Mode = "live"
	// Plain writes a line for each generation that ends and a summary every 30 seconds.
	Plain Mode = "plain"
	// None writes nothing.
	None Mode = "none"
)

// resolve returns the mode for m: any except Auto is used as it is; Auto depends on whether
// standard error is a terminal, and on the environment.
func (m Mode) resolve(terminal bool, getenv func(string) string) Mode {
	if m != Auto && m != "" {
		return m
	}
	if !terminal || getenv("TERM") == "dumb" || getenv("ACCESSIBLE") != "" || getenv("CI") != "" {
		return Plain
	}
	return Live
}

// look has the characters and colors to use.
type look struct {
	ascii bool // no character beyond ASCII
	color bool
	wide  bool // ambiguous characters take two columns, as in East Asian locales
}

func newLook(goos string, getenv func(string) string) look {
	locale := ""
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale = getenv(name); locale != "" {
			break
		}
	}
	locale = strings.ToLower(locale)
	utf8 := strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8")
	windows := goos == "windows"
	return look{
		ascii: !utf8 && !windows,
		// Older consoles of Windows print escape sequences as they are.
		color: getenv("NO_COLOR") == "" && getenv("TERM") != "dumb" && !windows,
		wide:  strings.HasPrefix(locale, "ja") || strings.HasPrefix(locale, "ko") || strings.HasPrefix(locale, "zh"),
	}
}

// columns returns the number of columns that s takes in a terminal, or a few more, because
// not every terminal combines characters.
func (l look) columns(s string) int {
	n := 0
	for _, r := range s {
		n += l.runeColumns(r)
	}
	return n
}

func (l look) runeColumns(r rune) int {
	const emojiPresentation = '\uFE0F' // it can make the character before it wide
	if r == emojiPresentation {
		return 1
	}
	return (&runewidth.Condition{EastAsianWidth: l.wide}).RuneWidth(r)
}

// tail returns the mark for text that was cut off.
func (l look) tail() string {
	if l.ascii {
		return "~"
	}
	return "…"
}

// fit returns s, cut at its end to at most width columns.
func (l look) fit(s string, width int) string {
	if l.columns(s) <= width {
		return s
	}
	tail := l.tail()
	if width < l.columns(tail) {
		tail = ""
	}
	head, _ := l.head(s, width-l.columns(tail))
	return head + tail
}

// fitName returns s, cut in the middle to at most width columns, because names often have a
// common directory or prefix.
func (l look) fitName(s string, width int) string {
	if l.columns(s) <= width {
		return s
	}
	room := width - l.columns(l.tail())
	if room < 4 {
		return l.fit(s, width)
	}
	head, used := l.head(s, room/2)
	room -= used
	end := len(s)
	for i, r := range backward(s) {
		if room -= l.runeColumns(r); room < 0 {
			break
		}
		end = i
	}
	return head + l.tail() + s[end:]
}

// head returns the longest start of s that takes at most width columns, and its columns.
func (l look) head(s string, width int) (string, int) {
	used := 0
	for i, r := range s {
		n := l.runeColumns(r)
		if used+n > width {
			return s[:i], used
		}
		used += n
	}
	return s, used
}

// terminal returns w as a file if it is a terminal.
func terminal(w io.Writer) (*os.File, bool) {
	f, ok := w.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}
