package gamma

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gamma-sdk/gamma-go/internal/apiruntime"
)

// message returns the reasons in a JSON error body, or the name of the status for any
// other body, such as the HTML of a gateway.
func message(status int, body []byte) string {
	name := http.StatusText(status)
	var r reasons
	var value any
	if json.Unmarshal(body, &value) != nil {
		_ = json.Unmarshal(beforeCut(body), &value)
	}
	if object, ok := value.(map[string]any); ok {
		r.addKnown(object, "")
		r.add(object["title"], "") // at the top only: inside, it may be a field
	} else {
		r.add(value, "")
	}
	if len(r) > 1 { // NestJS adds "Bad Request" to the reason
		r = slices.DeleteFunc(r, func(text string) bool { return strings.EqualFold(text, name) })
	}
	switch {
	case len(r) > 0:
		return apiruntime.Printable(strings.Join(r, "; "))
	case name != "":
		return name
	}
	return fmt.Sprintf("status %d", status)
}

// beforeCut returns a truncated JSON object without its last property, which is not
// complete: a long one, such as a stack trace, may follow the reason. A json.Decoder would
// add 8 KiB to a program that only waits.
func beforeCut(body []byte) []byte {
	depth, end := 0, 0
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',':
			if depth == 1 {
				end = i
			}
		case '"':
			for i++; i < len(body) && body[i] != '"'; i++ {
				if body[i] == '\\' {
					i++
				}
			}
		}
	}
	return append(body[:end:end], '}')
}

// reasons are the texts of an error body.
type reasons []string

// add collects the texts in value. field is the field of the request that it is about,
// empty if unknown.
func (r *reasons) add(value any, field string) {
	switch v := value.(type) {
	case string:
		text := strings.TrimSpace(v)
		if text == "" {
			return
		}
		if field != "" && !strings.HasPrefix(text, field+" ") {
			text = field + ": " + text
		}
		if !slices.Contains(*r, text) {
			*r = append(*r, text)
		}
	case []any:
		for _, element := range v {
			object, _ := element.(map[string]any)
			if inner, ok := fieldOf(object); ok {
				r.addKnown(object, join(field, inner))
			} else {
				r.add(element, field)
			}
		}
	case map[string]any:
		n := len(*r)
		if r.addKnown(v, field); len(*r) == n {
			r.addFields(v, field)
		}
	}
}

// fieldOf returns the field that an element of a list of errors is about.
func fieldOf(object map[string]any) (field string, ok bool) {
	for _, name := range [...]string{"property", "field", "path", "loc", "pointer"} {
		switch v := object[name].(type) {
		case string:
			return v, true
		case []any: // as in Zod
			for _, part := range v {
				field = join(field, fmt.Sprint(part))
			}
			return field, true
		}
	}
	return "", false
}

// addKnown collects the texts of an object's properties that are known to hold reasons:
// those of NestJS with class-validator (message, constraints, children) or Zod (issues),
// RFC 9457 (detail), API Gateway (Message), FastAPI (msg), and others.
func (r *reasons) addKnown(object map[string]any, field string) {
	for _, name := range [...]string{"message", "Message", "msg", "constraints", "children", "errors", "issues", "error", "detail", "details"} {
		inner, isObject := object[name].(map[string]any)
		switch {
		case isObject && name == "constraints":
			for _, rule := range sortedKeys(inner) {
				r.add(inner[rule], field)
			}
		case isObject && name == "errors":
			r.addFields(inner, field)
		default:
			r.add(object[name], field)
		}
	}
}

// addFields collects the texts of an object whose names are fields of the request.
func (r *reasons) addFields(object map[string]any, field string) {
	for _, name := range sortedKeys(object) {
		r.add(object[name], join(field, name))
	}
}

func join(outer, inner string) string {
	if outer == "" || inner == "" {
		return outer + inner
	}
	return outer + "." + inner
}
