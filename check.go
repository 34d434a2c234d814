package gamma

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/apiruntime"
)

// schema is the part of an OpenAPI schema that requests are checked against, as
// internal/codegen/requests.go writes it. A pattern is not checked, since its syntax is
// not Go's, and neither are enum values, since the API may have newer ones.
type schema struct {
	Ref        string             `json:"$ref"`
	AllOf      []*schema          `json:"allOf"`
	Type       string             `json:"type"`
	Format     string             `json:"format"`
	Nullable   bool               `json:"nullable"`
	ReadOnly   bool               `json:"readOnly"`
	Enum       []any              `json:"enum"`
	Required   []string           `json:"required"`
	Properties map[string]*schema `json:"properties"`
	Items      *schema            `json:"items"`
	MinLength  *int               `json:"minLength"`
	MaxLength  *int               `json:"maxLength"`
	MinItems   *int               `json:"minItems"`
	MaxItems   *int               `json:"maxItems"`
	Minimum    *float64           `json:"minimum"`
	Maximum    *float64           `json:"maximum"`
}

// requestLimits are the schemas of the parameters and the body of one operation.
type requestLimits struct {
	Parameters []struct {
		Name    string  `json:"name"`
		In      string  `json:"in"`
		Style   string  `json:"style"`
		Explode *bool   `json:"explode"`
		Schema  *schema `json:"schema"`
	} `json:"parameters"`
	RequestBody struct {
		Content map[string]struct {
			Schema *schema `json:"schema"`
		} `json:"content"`
	} `json:"requestBody"`
}

// Validate checks a request against the OpenAPI document without sending it: lengths,
// counts, formats and required fields. The client does the same before it sends a
// request. request is an [api.GenerationRequest] or an [api.TemplateGenerationRequest], or
// a pointer to one; a nil pointer is an empty request. Validate returns an
// [*InvalidRequestError] if the request violates the document, and another error if
// request has another type.
func Validate(request any) error {
	const base = "https://gamma.example"
	var req *http.Request
	var err error
	switch r := request.(type) {
	case api.GenerationRequest:
		req, err = api.NewCreateGenerationRequest(base, r)
	case *api.GenerationRequest:
		return Validate(valueOf(r))
	case api.TemplateGenerationRequest:
		req, err = api.NewCreateFromTemplateGenerationRequest(base, r)
	case *api.TemplateGenerationRequest:
		return Validate(valueOf(r))
	default:
		return fmt.Errorf("gamma: Validate: no operation takes a request of type %T", request)
	}
	if err != nil {
		return fmt.Errorf("gamma: Validate: %w", err)
	}
	return parsed().checkRequest(req, "")
}

// checkRequest returns an [*InvalidRequestError] if req violates the document. A body
// without GetBody is not checked, and neither is one that is not JSON.
func (c *contract) checkRequest(req *http.Request, prefix string) error {
	if req.URL.RawQuery == "" && req.GetBody == nil {
		return nil
	}
	op := c.operation(req, prefix)
	l := c.limits[op]
	if l == nil {
		return nil
	}
	fault := func(field, reason string) error { return &InvalidRequestError{op, field, reason} }
	query := req.URL.Query()
	for i := range l.Parameters {
		p := &l.Parameters[i]
		if !query.Has(p.Name) || p.In != "query" {
			continue
		}
		// Lists of other styles have separators that their elements may contain.
		texts := query[p.Name]
		if p.Explode != nil && !*p.Explode {
			if p.Style != "" && p.Style != "form" {
				continue
			}
			texts = strings.Split(texts[0], ",")
		}
		value, ok := c.parse(p.Schema, texts)
		if !ok {
			return fault(p.Name, "is not a number")
		}
		if field, reason := c.check(p.Schema, p.Name, value); reason != "" {
			return fault(field, reason)
		}
	}
	content, ok := l.RequestBody.Content["application/json"]
	if kind := req.Header.Get("Content-Type"); !ok || req.GetBody == nil || kind != "" && !strings.Contains(kind, "json") {
		return nil
	}
	body, err := req.GetBody()
	if err != nil {
		return nil // the transport will return the same error
	}
	defer func() { _ = body.Close() }()
	data, err := io.ReadAll(body)
	// encoding/json has replaced invalid UTF-8 by an escaped U+FFFD. A U+FFFD that the
	// caller wrote is not escaped: replace it by another character.
	data = bytes.ReplaceAll(data, []byte("\uFFFD"), []byte("?"))
	var value any
	if err != nil || json.Unmarshal(data, &value) != nil {
		return fault("the body", "cannot be read as JSON")
	}
	if field, found := findInvalidUTF8(value, ""); found {
		return fault(apiruntime.Printable(cmp.Or(field, "the body")), notUTF8)
	}
	if field, reason := c.check(content.Schema, "", value); reason != "" {
		return fault(field, reason)
	}
	return nil
}

const notUTF8 = "is not valid UTF-8"

// findInvalidUTF8 returns the first field in value whose name or text has a U+FFFD. name
// is the name of value itself.
func findInvalidUTF8(value any, name string) (field string, found bool) {
	switch v := value.(type) {
	case string:
		return name, strings.ContainsRune(v, utf8.RuneError)
	case []any:
		for i := range v {
			if field, found := findInvalidUTF8(v[i], fmt.Sprintf("%s[%d]", name, i)); found {
				return field, true
			}
		}
	case map[string]any:
		for _, key := range sortedKeys(v) {
			inner := join(name, key)
			if _, found := findInvalidUTF8(key, ""); found {
				return inner, true
			}
			if field, found := findInvalidUTF8(v[key], inner); found {
				return field, true
			}
		}
	}
	return "", false
}

// parse returns the value of a query parameter, given its texts. ok is false if a text
// should be a number and is not.
func (c *contract) parse(s *schema, texts []string) (value any, ok bool) {
	for _, part := range c.parts(nil, s) {
		switch part.Type {
		case "number", "integer":
			n, err := strconv.ParseFloat(texts[0], 64)
			return n, err == nil
		case "boolean":
			if b, err := strconv.ParseBool(texts[0]); err == nil {
				return b, true
			}
		case "array":
			elements := make([]any, len(texts))
			for i := range texts {
				elements[i] = texts[i]
				if part.Items != nil {
					if elements[i], ok = c.parse(part.Items, texts[i:]); !ok {
						return nil, false
					}
				}
			}
			return elements, true
		}
	}
	return texts[0], true
}

// parts appends to all every schema that a value for s must satisfy: s itself, the one it
// refers to, and those of allOf. A schema that is there already is not followed again.
func (c *contract) parts(all []*schema, s *schema) []*schema {
	if s == nil || slices.Contains(all, s) {
		return all
	}
	all = c.parts(append(all, s), c.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")])
	for _, part := range s.AllOf {
		all = c.parts(all, part)
	}
	return all
}

// property returns the parts of a property of an object with parts.
func (c *contract) property(parts []*schema, name string) (all []*schema) {
	for _, part := range parts {
		all = c.parts(all, part.Properties[name])
	}
	return all
}

// takesNull reports whether null satisfies parts. The vendor writes nullable next to an
// allOf.
func takesNull(parts []*schema) bool {
	typed := false
	for _, part := range parts {
		if part.Nullable || slices.Contains(part.Enum, nil) {
			return true
		}
		typed = typed || part.Type != ""
	}
	return !typed
}

// check returns the first field in value that violates s, and the reason. name is the
// name of value itself, empty for a body.
func (c *contract) check(s *schema, name string, value any) (field, reason string) {
	parts := c.parts(nil, s)
	field = cmp.Or(name, "the body")
	if value == nil {
		if takesNull(parts) {
			return "", ""
		}
		return field, "is missing"
	}
	if object, ok := value.(map[string]any); ok {
		if field, reason := c.checkRequired(parts, name, object); reason != "" {
			return field, reason
		}
	}
	for _, part := range parts {
		switch v := value.(type) {
		case string:
			reason = part.checkString(v)
		case float64:
			reason = part.checkNumber(v)
		case bool:
			if part.Type != "" && part.Type != "boolean" {
				reason = "is not of type " + part.Type
			}
		case []any:
			field, reason = c.checkArray(part, field, v)
		case map[string]any:
			field, reason = c.checkObject(part, name, field, v)
		}
		if reason != "" {
			return field, reason
		}
	}
	return "", ""
}

func (c *contract) checkRequired(parts []*schema, name string, object map[string]any) (field, reason string) {
	for _, part := range parts {
		for _, required := range part.Required {
			property := c.property(parts, required)
			v, sent := object[required]
			switch {
			case slices.ContainsFunc(property, func(s *schema) bool { return s.ReadOnly }): // for responses only
			// A string that was not set is sent as an empty string.
			case !sent, v == "", v == nil && !takesNull(property):
				return join(name, required), "is missing"
			}
		}
	}
	return "", ""
}

func (c *contract) checkObject(s *schema, name, field string, object map[string]any) (string, string) {
	if s.Type != "" && s.Type != "object" {
		return field, "is not of type " + s.Type
	}
	for _, key := range sortedKeys(object) {
		if property, ok := s.Properties[key]; ok {
			if field, reason := c.check(property, join(name, key), object[key]); reason != "" {
				return field, reason
			}
		}
	}
	return field, ""
}

func sortedKeys(object map[string]any) []string { return slices.Sorted(maps.Keys(object)) }

func (c *contract) checkArray(s *schema, field string, array []any) (string, string) {
	switch n := len(array); {
	case s.Type != "" && s.Type != "array":
		return field, "is not of type " + s.Type
	case s.MinItems != nil && n < *s.MinItems:
		return field, fmt.Sprintf("has %d elements, fewer than %d", n, *s.MinItems)
	case s.MaxItems != nil && n > *s.MaxItems:
		return field, fmt.Sprintf("has %d elements, more than %d", n, *s.MaxItems)
	case s.Items == nil:
		return field, ""
	}
	for i, v := range array {
		if field, reason := c.check(s.Items, fmt.Sprintf("%s[%d]", field, i), v); reason != "" {
			return field, reason
		}
	}
	return field, ""
}

func (s *schema) checkString(v string) (reason string) {
	n := utf8.RuneCountInString(v)
	switch {
	case s.Type != "" && s.Type != "string":
		return "is not of type " + s.Type
	case !utf8.ValidString(v): // in a query
		return notUTF8
	case s.MinLength != nil && n < *s.MinLength:
		return fmt.Sprintf("has %d characters, fewer than %d", n, *s.MinLength)
	case s.MaxLength != nil && n > *s.MaxLength:
		return fmt.Sprintf("has %d characters, more than %d", n, *s.MaxLength)
	case s.Format == "email":
		if local, domain, ok := strings.Cut(v, "@"); !ok || local == "" || domain == "" || strings.ContainsAny(v, " <>\r\n\t") {
			return "is not an e-mail address" // package net/mail would add 32 KiB to a program
		}
	case s.Format == "uri":
		if u, err := url.Parse(v); err != nil || u.Scheme == "" {
			return "is not a URI"
		}
	}
	return ""
}

func (s *schema) checkNumber(n float64) (reason string) {
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
