// Package apiruntime checks path parameters, builds URLs, and reads response bodies, texts
// and Retry-After. The generated client, the root package and the poller use it.
package apiruntime

import "fmt"

// maxPathParam is the maximum length of a path parameter. The API documents none. Its ids
// have about 20 characters, and 256 are below the URL limit of any server.
const maxPathParam = 256

// CheckPathParam returns an error unless value is a valid path parameter: 1 to 256
// URL-unreserved characters (RFC 3986, section 2.3) and not only dots. Any other value
// could lead to another route: an empty value or a dot segment to the parent, an escaped
// slash to a child. The text of the error starts with name, which may include the
// operation. It does not have value, which may be a secret.
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
