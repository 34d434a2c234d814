package apiruntime

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxText is the maximum length of text from the server in an error text.
const maxText = 512

// Printable returns s for one line of a log or a terminal, cut to about 512 bytes. What is
// not printable (control characters, line breaks, terminal escapes, bidirectional
// overrides, invalid UTF-8) is escaped as in a Go string.
func Printable(s string) string {
	if short := cut(s, maxText); clean(short) {
		return short
	}
	// An escape takes up to four times the bytes.
	short := cut(s, maxText/4)
	quoted := strconv.Quote(short)
	// Quotes and backslashes need no escape inside an error text.
	return strings.ReplaceAll(strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`), `\\`, `\`)
}

// cut shortens s to at most size bytes and an ellipsis, between two characters.
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

// clean reports whether s needs no escapes.
func clean(s string) bool {
	for _, r := range s {
		if !strconv.IsPrint(r) || r == utf8.RuneError {
			return false
		}
	}
	return true
}
