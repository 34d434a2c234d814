package gamma

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// InvalidRequestError says that a request breaks a limit of the OpenAPI document,
// so that the server would refuse it. It was not sent. Every operation of the
// client may return it; find it with [errors.As].
type InvalidRequestError struct {
	// Operation is the method and the path template, as in
	// "POST /v1.0/generations".
	Operation string

	// Field is the property or the query parameter, as the API names it, as in
	// "textOptions.tone" or "folderIds[3]".
	Field string

	// Reason says what is wrong with it, without its value.
	Reason string
}

// Error returns one printable line without the field's value.
func (e *InvalidRequestError) Error() string {
	return "gamma: " + e.Operation + ": " + e.Field + " " + e.Reason
}

// openEnums are the properties whose enumerations the vendor changes more often than
// its document, so that a value the document lacks may well be right. They go by
// name: the document has given their schema more than one.
var openEnums = []string{"model"}

// schema is the part of an OpenAPI schema that bounds a request. A pattern is not
// checked: its syntax is not Go's.
type schema struct {
	Ref        string            `json:"$ref"`
	AllOf      []schema          `json:"allOf"`
	Type       string            `json:"type"`
	Format     string            `json:"format"`
	Nullable   bool              `json:"nullable"`
	Enum       []any             `json:"enum"`
	Required   []string          `json:"required"`
	Properties map[string]schema `json:"properties"`
	Items      *schema           `json:"items"`
	MinLength  *int              `json:"minLength"`
	MaxLength  *int              `json:"maxLength"`
	MinItems   *int              `json:"minItems"`
	MaxItems   *int              `json:"maxItems"`
	Minimum    *float64          `json:"minimum"`
	Maximum    *float64          `json:"maximum"`
}

// limits are those of the document's operations, by "METHOD /path/{parameter}".
var limits = sync.OnceValue(func() map[string]requestLimits {
	all := map[string]requestLimits{}
	for path, methods := range parsed().Paths {
		for method, raw := range methods {
			var l requestLimits
			if json.Unmarshal(raw, &l) == nil { // else it is a path's parameters or prose
				all[strings.ToUpper(method)+" "+path] = l
			}
		}
	}
	return all
})

type requestLimits struct {
	Parameters []struct {
		Name   string `json:"name"`
		In     string `json:"in"`
		Schema schema `json:"schema"`
	} `json:"parameters"`
	RequestBody struct {
		Content map[string]struct {
			Schema schema `json:"schema"`
		} `json:"content"`
	} `json:"requestBody"`
}

// checkRequest returns an [*InvalidRequestError] if req breaks a limit of the
// document. A body that can be read only once is not checked.
func checkRequest(req *http.Request, prefix string) error {
	if req.URL.RawQuery == "" && req.GetBody == nil {
		return nil
	}
	op := operation(req, prefix)
	l, ok := limits()[op]
	if !ok {
		return nil
	}
	fault := func(field, reason string) error { return &InvalidRequestError{op, field, reason} }
	query := req.URL.Query()
	for _, p := range l.Parameters {
		if !query.Has(p.Name) || p.In != "query" {
			continue
		}
		var value any = query.Get(p.Name)
		if p.Schema.Type == "number" || p.Schema.Type == "integer" {
			n, err := strconv.ParseFloat(query.Get(p.Name), 64)
			if err != nil {
				return fault(p.Name, "is not a number")
			}
			value = n
		}
		if field, reason := p.Schema.check(p.Name, value); reason != "" {
			return fault(field, reason)
		}
	}
	content, ok := l.RequestBody.Content["application/json"]
	if !ok || req.GetBody == nil {
		return nil
	}
	body, err := req.GetBody()
	if err != nil {
		return nil // the transport will meet the same error
	}
	defer func() { _ = body.Close() }()
	data, err := io.ReadAll(body)
	var value any
	if err != nil || json.Unmarshal(data, &value) != nil {
		return fault("the body", "cannot be read as JSON")
	}
	if field, reason := content.Schema.check("", value); reason != "" {
		return fault(field, reason)
	}
	return nil
}

// check returns the first field in value that breaks s, and how. name is that of
// value itself, empty for a body.
func (s schema) check(name string, value any) (field, reason string) {
	if s.Ref != "" {
		s = parsed().Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
	}
	for _, part := range s.AllOf {
		if field, reason = part.check(name, value); reason != "" {
			return field, reason
		}
	}
	field = name
	if field == "" {
		field = "the body"
	}
	if value == nil {
		if s.Type == "" || s.Nullable {
			return "", ""
		}
		return field, "is missing"
	}
	switch v := value.(type) {
	case string:
		open := slices.Contains(openEnums, name[strings.LastIndexByte(name, '.')+1:])
		return field, s.checkString(v, open)
	case float64:
		return field, s.checkNumber(v)
	case bool:
		if s.Type != "" && s.Type != "boolean" {
			return field, "is not of type " + s.Type
		}
	case []any:
		return s.checkArray(field, v)
	case map[string]any:
		return s.checkObject(name, field, v)
	}
	return "", ""
}

func (s schema) checkObject(name, field string, object map[string]any) (string, string) {
	if s.Type != "" && s.Type != "object" {
		return field, "is not of type " + s.Type
	}
	if name != "" {
		name += "."
	}
	for _, required := range s.Required {
		// Go sends a string that was not set as an empty one.
		if v := object[required]; v == nil && !s.Properties[required].Nullable || v == "" {
			return name + required, "is missing"
		}
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		if property, ok := s.Properties[key]; ok {
			if field, reason := property.check(name+key, object[key]); reason != "" {
				return field, reason
			}
		}
	}
	return "", ""
}

func (s schema) checkArray(field string, array []any) (string, string) {
	switch n := len(array); {
	case s.Type != "" && s.Type != "array":
		return field, "is not of type " + s.Type
	case s.MinItems != nil && n < *s.MinItems:
		return field, fmt.Sprintf("has %d elements, fewer than %d", n, *s.MinItems)
	case s.MaxItems != nil && n > *s.MaxItems:
		return field, fmt.Sprintf("has %d elements, more than %d", n, *s.MaxItems)
	case s.Items == nil:
		return "", ""
	}
	for i, v := range array {
		if field, reason := s.Items.check(fmt.Sprintf("%s[%d]", field, i), v); reason != "" {
			return field, reason
		}
	}
	return "", ""
}

func (s schema) checkString(v string, open bool) (reason string) {
	n := utf8.RuneCountInString(v)
	switch {
	case s.Type != "" && s.Type != "string":
		return "is not of type " + s.Type
	case s.MinLength != nil && n < *s.MinLength:
		return fmt.Sprintf("has %d characters, fewer than %d", n, *s.MinLength)
	case s.MaxLength != nil && n > *s.MaxLength:
		return fmt.Sprintf("has %d characters, more than %d", n, *s.MaxLength)
	case len(s.Enum) > 0 && !open && !slices.Contains(s.Enum, any(v)):
		if len(s.Enum) > 12 {
			return fmt.Sprintf("is none of the %d values that the API takes", len(s.Enum))
		}
		return "is none of " + strings.Trim(fmt.Sprint(s.Enum), "[]")
	case s.Format == "email":
		if local, domain, ok := strings.Cut(v, "@"); !ok || local == "" || domain == "" || strings.ContainsAny(v, " <>\r\n\t") {
			return "is not an e-mail address" // package net/mail would add 32 KiB
		}
	case s.Format == "uri":
		if u, err := url.Parse(v); err != nil || u.Scheme == "" {
			return "is not a URI"
		}
	}
	return ""
}

func (s schema) checkNumber(n float64) (reason string) {
	switch {
	case s.Type != "" && s.Type != "number" && s.Type != "integer":
		return "is not of type " + s.Type
	case s.Minimum != nil && n < *s.Minimum:
		return fmt.Sprintf("is less than %v", *s.Minimum)
	case s.Maximum != nil && n > *s.Maximum:
		return fmt.Sprintf("is more than %v", *s.Maximum)
	}
	return ""
}
