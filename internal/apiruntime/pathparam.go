// Package apiruntime holds the rules for the single values that cross the wire: path
// parameters on the way out, bodies, texts and Retry-After on the way in. The
// generated client, the root package and the poller share them.
package apiruntime

import "fmt"

// maxPathParam bounds a path parameter. The API publishes no limit; its own
// ids have about 20 characters, and 256 leaves room in any server's URL limit.
const maxPathParam = 256

// CheckPathParam reports why value cannot be a path parameter: it must be 1 to
// 256 URL-unreserved characters (RFC 3986, section 2.3) and not only dots.
// Everything else would ask for another route on some server: an empty value or
// a dot segment for the parent, an escaped slash for a child. The text of the
// error never quotes value, which may be a secret pasted into the wrong place. It
// starts with name, which may have the operation before it.
func CheckPathParam(name, value string) error {
	switch {
	case value == "":
		return fmt.Errorf("gamma: %s is empty", name)
	case len(value) > maxPathParam:
		return fmt.Errorf("gamma: %s has %d characters, more than %d", name, len(value), maxPathParam)
	}
	dots := true
	for i := range len(value) {
		c := value[i]
		if !unreserved(c) {
			return fmt.Errorf("gamma: %s has a character other than A-Z a-z 0-9 - . _ ~ at position %d", name, i)
		}
		dots = dots && c == '.'
	}
	if dots {
		return fmt.Errorf("gamma: %s is a dot segment", name)
	}
	return nil
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}
