package apiruntime

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxText bounds what a server can put into one of our error texts.
const maxText = 512

// Printable returns s fit for one line of a log or a terminal, in about 512 bytes:
// what is not printable (control characters, line breaks, terminal escapes,
// bidirectional overrides, broken UTF-8) is escaped as in a Go string, and what is
// too long is cut.
func Printable(s string) string {
	if short := cut(s, maxText); clean(short) {
		return short
	}
	// An escape takes up to four times the bytes.
	short := cut(s, maxText/4)
	quoted := strconv.Quote(short)
	// Inside a text of ours, quotes and backslashes read better as they are.
	return strings.ReplaceAll(strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`), `\\`, `\`)
}

// cut shortens s to size bytes and an ellipsis, between two characters.
func cut(s string, size int) string {
	if len(s) <= size {
		return s
	}
	end := size
	for end > size-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "..."
}

// clean reports whether nothing in s needs an escape.
func clean(s string) bool {
	for _, r := range s {
		if !strconv.IsPrint(r) || r == utf8.RuneError {
			return false
		}
	}
	return true
}
