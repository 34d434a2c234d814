package gamma

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gamma-sdk/gamma-go/internal/apiruntime"
)

// message returns the reasons that an error body gives in JSON. Any other body, such
// as a gateway's HTML, is not shown: the name of the status says as much.
func message(status int, body []byte) string {
	name := http.StatusText(status)
	var r reasons
	var value any
	if json.Unmarshal(body, &value) != nil {
		_ = json.Unmarshal(beforeCut(body), &value)
	}
	if object, ok := value.(map[string]any); ok {
		r.addKnown(object, "")
		r.add(object["title"], "") // further inside it may be a field
	} else {
		r.add(value, "")
	}
	if len(r) > 1 { // NestJS says "Bad Request" beside the reason
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

// beforeCut returns an object that is cut as if it ended after its last whole property:
// what follows the reason, such as a stack trace, may be longer than what is read of a
// body. A json.Decoder would add 8 KiB to a program that only waits.
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

// add collects the texts in value, which is about a field of the request, if that is
// known.
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
		case []any: // as Zod has it
			for _, part := range v {
				field = join(field, fmt.Sprint(part))
			}
			return field, true
		}
	}
	return "", false
}

// addKnown collects the texts of an object by the names that servers give them:
// NestJS with class-validator (message, constraints, children) or Zod (issues), RFC
// 9457 (detail), API Gateway (Message), FastAPI (msg), and others.
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

// addFields collects the texts of an object from fields to what is wrong with them.
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
