package gamma

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
)

const redacted = "[API key]"

// minKey is the length of the shortest key that is redacted. A shorter one, such as
// "test", is not secret, and a response may contain it for other reasons.
const minKey = 16

// setRedaction makes d remove key from responses.
func (d *doer) setRedaction(key string) {
	if len(key) < minKey {
		d.redact = func(s string) string { return s }
		d.redactBody = func(body []byte) []byte { return body }
		d.isKey = func(string) bool { return false }
		return
	}
	d.redact = func(s string) string {
		if len(s) < len(key) { // as most header values
			return s
		}
		return strings.ReplaceAll(s, key, redacted)
	}
	d.redactBody = func(body []byte) []byte { return redactBody(body, key) }
	lower := strings.ToLower(key) // net/http changes the case of names
	d.isKey = func(name string) bool {
		return len(name) >= len(lower) && strings.Contains(strings.ToLower(name), lower)
	}
}

// redactHeader removes the key from the status line, header and trailer of rsp.
func (d *doer) redactHeader(rsp *http.Response) {
	for _, h := range [...]http.Header{rsp.Header, rsp.Trailer} {
		for name, values := range h {
			for i, v := range values {
				if clean := d.redact(v); clean != v { // a fake transport may share its header
					values[i] = clean
				}
			}
			if d.isKey(name) {
				delete(h, name)
				h[redacted] = values
			}
		}
	}
	rsp.Status = d.redact(rsp.Status)
}

// redactBody removes key from a body, also if JSON escapes hide it from a plain search.
// It reads the strings one by one, since the body may be cut off, and since a decoder
// drops duplicate properties.
func redactBody(body []byte, key string) []byte {
	if bytes.Contains(body, []byte(key)) {
		body = bytes.ReplaceAll(body, []byte(key), []byte(redacted))
	}
	if n := len(body); n > 0 && strings.IndexByte(key, body[n-1]) >= 0 {
		body = redactEnd(body, key)
	}
	if bytes.IndexByte(body, '\\') < 0 {
		return body
	}
	var clean []byte
	copied := 0 // how much of body is in clean
	for i := 0; i < len(body); i++ {
		if body[i] != '"' {
			continue
		}
		start, escapes := i, false
		for i++; i < len(body) && body[i] != '"'; i++ {
			if body[i] == '\\' {
				escapes = true
				i++
			}
		}
		if !escapes || i-start <= len(key) {
			continue
		}
		literal := body[start:min(i+1, len(body))]
		if i >= len(body) {
			literal = append(literal[:len(literal):len(literal)], '"') // the body is cut off
		}
		var text string
		if json.Unmarshal(literal, &text) != nil || !strings.Contains(text, key) {
			continue
		}
		quoted, _ := json.Marshal(strings.ReplaceAll(text, key, redacted))
		clean = append(append(clean, body[copied:start]...), quoted...)
		copied = min(i+1, len(body))
	}
	if copied == 0 {
		return body
	}
	return append(clean, body[copied:]...)
}

// redactEnd removes the start of key from the end of a body that is cut off, unless
// that has fewer than 8 characters.
func redactEnd(body []byte, key string) []byte {
	for n := min(len(key)-1, len(body)); n >= 8; n-- {
		if start := len(body) - n; string(body[start:]) == key[:n] {
			return append(body[:start:start], redacted...)
		}
	}
	return body
}
