package apiruntime

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                              "",
		"plain ünïcode 日本":              "plain ünïcode 日本",
		`a "quote" \ backslash`:         `a "quote" \ backslash`,
		"a\nb\r\tc":                     `a\nb\r\tc`,
		"\x1b[31mred\x07":               `\x1b[31mred\a`,
		"bidi \u202e\u2066":             `bidi \u202e\u2066`,
		"bad \xff\xfe utf-8":            `bad \xff\xfe utf-8`,
		"a\ufffdb":                      "a\ufffdb",
		"\u2028":                        `\u2028`,
		strings.Repeat("a", 512):        strings.Repeat("a", 512),
		strings.Repeat("a", 513):        strings.Repeat("a", 512) + "...",
		strings.Repeat("é", 600):        strings.Repeat("é", 256) + "...",
		strings.Repeat("\n", 1000):      strings.Repeat(`\n`, 128) + "...",
		strings.Repeat("a", 513) + "\n": strings.Repeat("a", 512) + "...",
		strings.Repeat("a", 511) + "é":  strings.Repeat("a", 511) + "...",
	} {
		if got := Printable(in); got != want {
			t.Errorf("Printable(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("a\x1b[31m\xff\u202e")
	f.Add(strings.Repeat("\U0001F600", 200))
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 4*maxText {
			return // slow, and of no use
		}
		got := Printable(s)
		if len(got) > maxText+16 || !utf8.ValidString(got) || strings.ContainsAny(got, "\n\r\t\x1b\x00\u202e\u2028") {
			t.Fatalf("Printable(%q) = %q", s, got)
		}
	})
}
