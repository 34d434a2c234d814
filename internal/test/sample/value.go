package sample

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

// Mode is the use of a value. The zero Mode is a request with the required properties only.
type Mode struct {
	Response bool // with readOnly properties and without writeOnly ones
	Full     bool // with optional properties too
}

// maxDepth is the depth of optional properties and elements: schemas may be recursive.
const maxDepth = 5

// Value returns a valid value for the schema, as JSON decodes it. It uses the first of
// alternatives, and nil where a schema requires itself.
func (d *Document) Value(s Schema, m Mode) any { return d.value(s, m, 0) }

func (d *Document) value(s Schema, m Mode, depth int) any {
	s = d.Flat(s)
	if depth > 4*maxDepth {
		return nil
	}
	if v, ok := s["const"]; ok {
		return v
	}
	for _, v := range array(s["enum"]) {
		if v != nil {
			return v
		}
	}
	switch Kind(s) {
	case "object":
		return d.object(s, m, depth)
	case "array":
		return d.array(s, m, depth)
	case "number", "integer":
		return number(s)
	case "boolean":
		return true
	}
	return str(s)
}

// Kind returns the type of a flat schema, see [Document.Flat]. The default is string.
func Kind(s Schema) string {
	types := array(s["type"])
	if types == nil {
		types = []any{s["type"]}
	}
	for _, t := range types {
		if t := text(t); t != "" && t != "null" {
			return t
		}
	}
	switch {
	case s["properties"] != nil || s["additionalProperties"] != nil:
		return "object"
	case s["items"] != nil:
		return "array"
	}
	return "string"
}

// Flat returns the schema without $ref, allOf, oneOf and anyOf: it merges what they refer
// to, the first of oneOf and anyOf. It does not change the properties.
func (d *Document) Flat(s Schema) Schema { return d.flat(s, 0) }

func (d *Document) flat(s Schema, depth int) Schema {
	whole := Schema{}
	if depth > 4*maxDepth {
		return whole
	}
	add := func(part Schema) {
		for key, v := range part {
			switch key {
			case "$ref", "allOf", "oneOf", "anyOf":
			case "required":
				whole[key] = slices.Concat(array(whole[key]), array(v))
			case "properties":
				properties := maps.Clone(object(whole[key]))
				if properties == nil {
					properties = map[string]any{}
				}
				for name, p := range object(v) {
					if before, ok := properties[name]; ok {
						p = Schema{"allOf": []any{before, p}}
					}
					properties[name] = p
				}
				whole[key] = properties
			default:
				whole[key] = v
			}
		}
	}
	if ref, ok := s["$ref"].(string); ok {
		add(d.flat(d.lookup(ref), depth+1))
	}
	for _, part := range array(s["allOf"]) {
		add(d.flat(object(part), depth+1))
	}
	for _, key := range []string{"oneOf", "anyOf"} {
		for _, part := range array(s[key]) {
			if part := object(part); part["type"] != "null" {
				add(d.flat(part, depth+1))
				break
			}
		}
	}
	add(s)
	return whole
}

// omits reports whether a value for m lacks the property p.
func (m Mode) omits(p Schema) bool {
	return !m.Response && p["readOnly"] == true || m.Response && p["writeOnly"] == true
}

func (d *Document) object(s Schema, m Mode, depth int) map[string]any {
	v := map[string]any{}
	required := array(s["required"])
	properties := object(s["properties"])
	for name, p := range properties {
		p := d.Flat(object(p))
		if !m.omits(p) && (slices.Contains(required, any(name)) || m.Full && depth < maxDepth) {
			v[name] = d.value(p, m, depth+1)
		}
	}
	others := object(s["additionalProperties"])
	for _, name := range required {
		if name := text(name); properties[name] == nil {
			v[name] = d.value(others, m, depth+1)
		}
	}
	least, _ := s["minProperties"].(float64)
	if m.Full && others != nil && depth < maxDepth {
		least = max(least, 1)
	}
	for i := 1; len(v) < int(least) && s["additionalProperties"] != false; i++ {
		v[fmt.Sprint("key", i)] = d.value(others, m, depth+1)
	}
	return v
}

func (d *Document) array(s Schema, m Mode, depth int) []any {
	n := 1
	if depth >= maxDepth {
		n = 0
	}
	if least, ok := s["minItems"].(float64); ok {
		n = max(n, int(least))
	}
	if most, ok := s["maxItems"].(float64); ok {
		n = min(n, int(most))
	}
	v := make([]any, n)
	values := array(d.Flat(object(s["items"]))["enum"])
	for i := range v {
		v[i] = d.value(object(s["items"]), m, depth+1)
		if i == 0 || s["uniqueItems"] != true {
			continue
		}
		switch first := v[i].(type) {
		case float64:
			v[i] = first + float64(i)
		case string:
			if v[i] = fmt.Sprint(first, i); i < len(values) {
				v[i] = values[i]
			}
		}
	}
	return v
}

func number(s Schema) float64 {
	lowest, above := s["minimum"].(float64)
	highest, below := s["maximum"].(float64)
	// An exclusive bound is a flag in OpenAPI 3.0, and a number in 3.1.
	if v, ok := s["exclusiveMinimum"].(float64); ok {
		lowest, above = v, true
	}
	if v, ok := s["exclusiveMaximum"].(float64); ok {
		highest, below = v, true
	}
	if Kind(s) == "number" && above && below && highest-lowest <= 2 {
		return (lowest + highest) / 2
	}
	n := 1.0
	if above {
		if n = max(n, math.Ceil(lowest)); n == lowest && excluded(s["exclusiveMinimum"]) {
			n++
		}
	}
	if below {
		if n = min(n, math.Floor(highest)); n == highest && excluded(s["exclusiveMaximum"]) {
			n--
		}
	}
	if m, ok := s["multipleOf"].(float64); ok && m > 0 {
		if n = math.Ceil(n/m) * m; below && n > highest {
			n = math.Floor(highest/m) * m
		}
	}
	return n
}

func excluded(v any) bool { return v != nil && v != false }

// formats are valid values of formats.
var formats = map[string]string{
	"date":      "2026-01-02",
	"date-time": "2026-01-02T03:04:05Z",
	"time":      "03:04:05Z",
	"duration":  "PT1M",
	"email":     "a@example.com",
	"hostname":  "example.com",
	"ipv4":      "192.0.2.1",
	"ipv6":      "2001:db8::1",
	"uri":       "https://example.com/",
	"url":       "https://example.com/",
	"uuid":      "123e4567-e89b-42d3-a456-426614174000",
	"byte":      "c3RyaW5n",
}

func str(s Schema) string {
	v, ok := formats[text(s["format"])]
	if !ok {
		v = "string"
	}
	if pattern := text(s["pattern"]); pattern != "" {
		v = matching(pattern, s["example"], s["default"], v)
	}
	if least, ok := s["minLength"].(float64); ok && utf8.RuneCountInString(v) < int(least) {
		v += strings.Repeat("x", int(least)-utf8.RuneCountInString(v))
	}
	if most, ok := s["maxLength"].(float64); ok && utf8.RuneCountInString(v) > int(most) {
		v = string([]rune(v)[:int(most)])
	}
	return v
}

// matching returns the first of the values that matches the pattern, or else a short text
// made from it. If Go cannot parse the pattern, it returns the first of the values.
func matching(pattern string, values ...any) string {
	re, err := regexp.Compile(pattern)
	for _, v := range values {
		if v, ok := v.(string); ok && (err != nil || re.MatchString(v)) {
			return v
		}
	}
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return "string"
	}
	return shortest(tree)
}

func shortest(re *syntax.Regexp) string {
	var b strings.Builder
	switch re.Op {
	case syntax.OpLiteral:
		return string(re.Rune)
	case syntax.OpCharClass:
		for _, r := range "a0A-_" + string(re.Rune[:min(1, len(re.Rune))]) {
			for i := 0; i+1 < len(re.Rune); i += 2 {
				if re.Rune[i] <= r && r <= re.Rune[i+1] {
					return string(r)
				}
			}
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return "x"
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			b.WriteString(shortest(sub))
		}
	case syntax.OpCapture, syntax.OpPlus, syntax.OpAlternate:
		return shortest(re.Sub[0])
	case syntax.OpRepeat:
		return strings.Repeat(shortest(re.Sub[0]), re.Min)
	}
	return b.String()
}

// Complete returns v with the required properties that it lacks, as JSON decodes it. It also
// replaces an empty string and a 0 below the minimum, which Go sends for fields that are
// not set.
func (d *Document) Complete(s Schema, m Mode, v any) any {
	s = d.Flat(s)
	switch v := v.(type) {
	case map[string]any:
		whole := maps.Clone(v)
		for name, p := range d.object(s, m, 0) {
			if old, ok := whole[name]; ok && !lacking(d.Flat(object(object(s["properties"])[name])), old) {
				continue
			}
			if m.Full || slices.Contains(array(s["required"]), any(name)) {
				whole[name] = p
			}
		}
		for name, p := range object(s["properties"]) {
			if old, ok := whole[name]; ok {
				whole[name] = d.Complete(object(p), m, old)
			}
		}
		return whole
	case []any:
		whole := slices.Clone(v)
		for i := range whole {
			whole[i] = d.Complete(object(s["items"]), m, whole[i])
		}
		return whole
	}
	return v
}

func lacking(s Schema, v any) bool {
	switch v := v.(type) {
	case nil:
		return s["nullable"] != true
	case string:
		return v == ""
	case float64:
		least, ok := s["minimum"].(float64)
		return v == 0 && ok && least > 0
	}
	return false
}

// As converts v to a T by way of JSON, so that the document may choose the types of its
// fields. It panics if that is not possible.
func As[T any](v any) T {
	var t T
	data, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(data, &t)
	}
	if err != nil {
		panic(fmt.Sprintf("sample: a %T: %v", t, err))
	}
	return t
}
