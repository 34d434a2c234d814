package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"unicode"

	"gopkg.in/yaml.v3"
)

// names is the content of names.yaml.
type names struct {
	Types    map[string]string `yaml:"types"`
	Integers []string          `yaml:"integers"`
	Values   []string          `yaml:"values"`
	Anything []string          `yaml:"anything"`
	Notes    map[string]string `yaml:"notes"`
}

func readNames(file string) (*names, error) {
	text, err := os.ReadFile(file) //nolint:gosec // the developer's own tree
	if err != nil {
		return nil, err
	}
	n := new(names)
	d := yaml.NewDecoder(strings.NewReader(string(text)))
	d.KnownFields(true)
	if err := d.Decode(n); err != nil {
		return nil, fmt.Errorf("names.yaml: %w", oneLine(err))
	}
	return n, nil
}

// normalizer rewrites a document for oapi-codegen, so that documents with the same meaning
// give the same Go code: each object and enumeration becomes a schema with its Go name, used
// by reference.
type normalizer struct {
	*names
	schemas  map[string]any    // of the document
	result   map[string]any    // schemas by Go name
	kinds    map[string]string // by Go name, to detect two schemas with one name
	given    map[string]string // Go names by component
	byValues map[string]string // Go names of enumerations by their sorted values
	ours     map[string]string // the same, of those in names.yaml
	notes    []string
}

// place is where a schema is used.
type place struct {
	owner, property string // the Go name of a type, or the operationId
	items           int    // the number of enclosing lists and maps
	request         bool
	status          string // of a response
}

func (p place) String() string { return p.owner + "." + p.property }

// normalize returns the document for oapi-codegen, and notes on what it leaves out.
func normalize(document map[string]any, names *names) (_ map[string]any, notes []string, err error) {
	n := &normalizer{names: names, schemas: at(document, "components", "schemas"), ours: map[string]string{}}
	paths := map[string]any{}
	// The second pass knows the values of all enumerations in names.yaml, also where another
	// enumeration with the same values comes first.
	for range 2 {
		n.result, n.notes = map[string]any{}, nil
		n.kinds, n.given, n.byValues = map[string]string{}, map[string]string{}, map[string]string{}
		for _, op := range n.operations(document) {
			operation, err := n.operation(document, op)
			if err != nil {
				return nil, nil, fmt.Errorf("%s %s: %w", strings.ToUpper(op.method), op.path, err)
			}
			child(paths, op.path)[op.method] = operation
		}
	}
	return map[string]any{
		"openapi":    document["openapi"],
		"info":       document["info"],
		"paths":      paths,
		"components": map[string]any{"schemas": n.result},
	}, sorted(n.notes), nil
}

type operationAt struct {
	id, method, path string // id as operationKey has it
	value, item      map[string]any
}

// operationKey returns the operationId of an operation in the form of names.yaml: listThemes
// for list_themes and ListThemes, which have the same name in Go.
func operationKey(operation map[string]any) string {
	id, _ := operation["operationId"].(string)
	name := []rune(goName(id))
	if len(name) > 0 {
		name[0] = unicode.ToLower(name[0])
	}
	return string(name)
}

// operations returns the operations of document. Those in names.yaml are first: if two
// operations share a schema, the first one names it.
func (n *normalizer) operations(document map[string]any) (list []operationAt) {
	paths := object(document["paths"])
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		for _, method := range methods {
			if o := at(paths[path], method); o != nil {
				list = append(list, operationAt{operationKey(o), method, path, o, object(paths[path])})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b operationAt) int {
		return strings.Compare(n.rank(a.id), n.rank(b.id))
	})
	return list
}

func (n *normalizer) rank(id string) string {
	switch {
	case n.Types[id+".request"] != "":
		return "0"
	case n.Types[id+".response"] != "":
		return "1"
	}
	return "2"
}

func (n *normalizer) operation(document map[string]any, op operationAt) (map[string]any, error) {
	result := maps.Clone(op.value)
	var list []any
	for _, p := range parameters(document, op.item, op.value) {
		p, err := n.parameter(op.id, maps.Clone(object(p)))
		if err != nil {
			return nil, err
		}
		if p != nil {
			list = append(list, p)
		}
	}
	result["parameters"] = list
	if body := maps.Clone(object(inline(document, op.value["requestBody"]))); body != nil {
		content, err := n.content(body["content"], place{owner: op.id, property: "request", request: true})
		if err != nil {
			return nil, err
		}
		body["content"] = content
		result["requestBody"] = body
	}
	responses := map[string]any{}
	statuses := slices.Sorted(maps.Keys(object(op.value["responses"])))
	success := slices.ContainsFunc(statuses, isSuccess)
	for _, status := range statuses {
		r := maps.Clone(object(inline(document, object(op.value["responses"])[status])))
		property := "error"
		if isSuccess(status) || !success && status == "default" {
			property = "response"
		}
		if content := r["content"]; content != nil {
			content, err := n.content(content, place{owner: op.id, property: property, status: status})
			if err != nil {
				return nil, err
			}
			r["content"] = content
		}
		delete(r, "headers") // an invalid header would fail the response
		delete(r, "links")
		responses[status] = r
	}
	result["responses"] = responses
	delete(result, "callbacks")
	delete(result, "security")
	return result, nil
}

func isSuccess(status string) bool { return strings.HasPrefix(status, "2") }

// fixed are the operations whose signatures hand-written code needs. They have only path
// parameters and a body.
var fixed = []string{"createGeneration", "createFromTemplateGeneration", "getGenerationStatus"}

// parameter returns the parameter for oapi-codegen, nil if it is left out.
func (n *normalizer) parameter(id string, p map[string]any) (map[string]any, error) {
	name, _ := p["name"].(string)
	in, _ := p["in"].(string)
	isFixed := in == "query" && slices.Contains(fixed, id)
	if p["required"] != true && (in == "header" || in == "cookie" || isFixed) {
		n.notes = append(n.notes, fmt.Sprintf("%s: the optional %s parameter %s is not a Go parameter; a request editor can set it", id, in, name))
		return nil, nil
	}
	if in != "path" && slices.Contains(fixed, id) {
		return nil, fmt.Errorf("%s has the required %s parameter %s, which package gamma and the poller do not send", id, in, name)
	}
	delete(p, "example")
	delete(p, "examples")
	if in == "path" {
		// Each one is checked, and sent without escaping.
		p["schema"] = map[string]any{"type": "string"}
		return p, nil
	}
	if p["schema"] == nil { // the parameter is JSON
		content, err := n.content(p["content"], place{owner: id, property: name, request: true})
		p["content"] = content
		return p, err
	}
	schema, err := n.schema(p["schema"], place{owner: id, property: name, request: true})
	if err != nil {
		return nil, err
	}
	if limits := n.comment(name, p["description"], object(p["schema"]), false, true); limits != "" {
		p["description"] = limits
	}
	delete(schema, "description")
	if skip := schema[skipPointer]; skip != nil {
		p[skipPointer] = skip
		delete(schema, skipPointer)
	}
	if wrapped := array(schema["allOf"]); len(wrapped) == 1 {
		schema = object(wrapped[0])
	}
	if goName := plural(name); goName != "" {
		p["x-go-name"] = goName
	}
	p["schema"] = schema
	return p, nil
}

func (n *normalizer) content(v any, p place) (map[string]any, error) {
	content := map[string]any{}
	for kind, media := range object(v) {
		m := maps.Clone(object(media))
		delete(m, "example")
		delete(m, "examples")
		if m["schema"] != nil && (strings.Contains(kind, "json") || kind == "*/*") {
			schema, err := n.schema(m["schema"], p)
			if err != nil {
				return nil, err
			}
			if wrapped := array(schema["allOf"]); len(wrapped) == 1 {
				schema = object(wrapped[0])
			}
			m["schema"] = schema
		}
		content[kind] = m
	}
	return content, nil
}

const skipPointer = "x-go-type-skip-optional-pointer"

// schema returns the schema that replaces v.
func (n *normalizer) schema(v any, p place) (map[string]any, error) {
	s, component, err := n.flat(object(v), p.items)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p, err)
	}
	result := map[string]any{}
	for _, k := range []string{"description", "readOnly", "writeOnly", "deprecated"} {
		if s[k] != nil {
			result[k] = s[k]
		}
	}
	switch kind := kindOf(s); kind {
	case "string":
		if s["format"] == "binary" {
			return s, nil
		}
		// Any other format limits the value, but does not change its type.
		result["type"], result[skipPointer] = "string", true
		name := n.Types[p.String()]
		values := texts(s["enum"])
		if name == "" && len(values) == 0 {
			return result, nil
		}
		name, err = n.enumeration(name, values, s["description"], p)
		delete(result, "type")
		result["allOf"] = []any{reference(name)}
	case "number":
		result["type"] = "number"
		if s["format"] == "int64" || s["format"] == "int32" {
			result["type"], result["format"] = "integer", s["format"]
		}
		if slices.Contains(n.Integers, p.property) {
			result["type"], result["x-go-type"], result[skipPointer] = "number", "int", true
			delete(result, "format")
		}
	case "boolean":
		result["type"] = kind
	case "array", "map":
		elements := "items"
		result["type"] = "array"
		if kind == "map" {
			elements, result["type"] = "additionalProperties", "object"
		}
		p.items++
		one, err := n.schema(s[elements], p)
		if err != nil {
			return nil, err
		}
		delete(one, skipPointer)
		result[elements] = one
	case "object", "union":
		var name string
		name, err = n.structure(kind, s, component, p)
		result["allOf"] = []any{reference(name)}
	default: // any JSON
		result["type"] = "object"
		if s["type"] == nil {
			delete(result, "type")
		}
	}
	return result, err
}

func reference(name string) map[string]any {
	return map[string]any{"$ref": "#/components/schemas/" + name}
}

// enumeration defines the Go type of an enumeration, and adds values to it.
func (n *normalizer) enumeration(name string, values []string, description any, p place) (string, error) {
	key := strings.Join(slices.Sorted(slices.Values(values)), "\x00")
	switch {
	case name != "" && n.ours[key] == "":
		n.ours[key] = name
	case name == "":
		name = cmp.Or(n.ours[key], n.byValues[key], goName(p.owner)+goName(p.property))
		n.byValues[key] = name
	}
	if kind := n.kinds[name]; kind != "" && kind != "enumeration" {
		return "", collision(p, name)
	}
	n.kinds[name] = "enumeration"
	s := child(n.result, name)
	s["type"] = "string"
	if s["description"] == nil && description != nil {
		s["description"] = description
	}
	for _, v := range values {
		if list := array(s["enum"]); !slices.Contains(list, any(v)) {
			s["enum"] = append(list, v)
		}
	}
	return name, nil
}

func collision(p place, name string) error {
	return fmt.Errorf("%s: another schema already has the Go type %s; give this one a name in names.yaml", p, name)
}

// structure defines the Go type of an object or a union.
func (n *normalizer) structure(kind string, s map[string]any, component string, p place) (string, error) {
	name := n.Types[p.String()]
	switch {
	case name != "":
	case component != "" && n.given[component] != "":
		return n.given[component], nil
	case component != "":
		name = goName(component)
	case p.property == "request" || p.property == "response" || p.property == "error":
		name = goName(p.owner) + goName(p.property)
	default:
		name = goName(p.owner) + goName(p.property)
		if p.items > 0 {
			name += "Item"
		}
	}
	if component != "" && n.given[component] == "" {
		n.given[component] = name
	}
	is := kind + " " + canonical(withoutProse("", s))
	if other := n.kinds[name]; component == "" && other != "" && other != is {
		name += goName(p.status) // one operation may have several models
	}
	switch n.kinds[name] {
	case "":
	case is:
		return name, nil
	default:
		return "", collision(p, name)
	}
	n.kinds[name] = is
	result := child(n.result, name)
	description := s["description"]
	if component != "" {
		description = at(n.schemas, component)["description"] // not that of the property
	}
	if description != nil {
		result["description"] = description
	}
	if kind == "union" {
		for _, k := range []string{"oneOf", "anyOf"} {
			var list []any
			for i, alternative := range array(s[k]) {
				one, err := n.schema(alternative, place{owner: name, property: fmt.Sprint("Option", i+1), request: p.request})
				if err != nil {
					return "", err
				}
				if wrapped := array(one["allOf"]); len(wrapped) == 1 {
					one = object(wrapped[0])
				}
				list = append(list, one)
			}
			if list != nil {
				result[k] = list
			}
		}
		return name, nil
	}
	required := texts(s["required"])
	properties, must := map[string]any{}, []any{}
	result["type"], result["properties"] = "object", properties
	fields := map[string]string{}
	for _, property := range slices.Sorted(maps.Keys(object(s["properties"]))) {
		if other := fields[goName(property)]; other != "" {
			return "", fmt.Errorf("%s has the properties %s and %s, which are the same field in Go", name, other, property)
		}
		fields[goName(property)] = property
		v := object(s["properties"])[property]
		one, err := n.schema(v, place{owner: name, property: property, request: p.request})
		if err != nil {
			return "", err
		}
		flat, _, _ := n.flat(object(v), 0)
		if text := n.comment(property, one["description"], flat, slices.Contains(required, property), p.request); text != "" {
			one["description"] = text
		}
		if field := plural(property); field != "" {
			one["x-go-name"] = field
		}
		pointer := false
		switch kindOf(flat) {
		case "object", "union":
			pointer = true
		case "number", "boolean":
			if slices.Contains(n.Values, name+"."+property) {
				one[skipPointer] = true
			} else if !p.request {
				delete(one, skipPointer)
				pointer = true
			}
		}
		// A pointer does not depend on whether the document requires the property.
		if slices.Contains(required, property) && !pointer {
			must = append(must, property)
		}
		properties[property] = one
	}
	if len(must) > 0 {
		result["required"] = must
	}
	return name, nil
}

// flat returns s with references resolved and allOf merged, and the name of the component if
// the result is one.
func (n *normalizer) flat(s map[string]any, depth int) (_ map[string]any, component string, err error) {
	if depth > 100 {
		return nil, "", errors.New("the schemas refer to each other in a cycle")
	}
	parts := array(s["allOf"])
	for _, k := range []string{"oneOf", "anyOf"} {
		if list := array(s[k]); len(list) == 1 {
			parts = append(slices.Clone(parts), list[0])
		}
	}
	ref, _ := s["$ref"].(string)
	if ref != "" {
		component = strings.TrimPrefix(ref, "#/components/schemas/")
		if n.schemas[component] == nil {
			return nil, "", fmt.Errorf("%s is not in the document", ref)
		}
		parts = []any{n.schemas[component]}
	}
	result := map[string]any{}
	structural := 0
	for _, part := range parts {
		one, name, err := n.flat(object(part), depth+1)
		if err != nil {
			return nil, "", err
		}
		if hasMeaning(one) {
			structural++
			if ref == "" || name != "" {
				component = name
			}
		}
		put(result, one)
	}
	own := maps.Clone(s)
	for _, k := range []string{"$ref", "allOf"} {
		delete(own, k)
	}
	for _, k := range []string{"oneOf", "anyOf"} {
		if len(array(s[k])) == 1 {
			delete(own, k)
		}
	}
	if hasMeaning(own) {
		structural++
	}
	if structural > 1 {
		component = ""
	}
	put(result, own)
	return openStrings(n, result, depth), component, nil
}

// hasMeaning reports whether s has more than prose, nullable and the like.
func hasMeaning(s map[string]any) bool {
	for k := range s {
		switch {
		case slices.Contains(prose, k), strings.HasPrefix(k, "x-"):
		case slices.Contains([]string{"nullable", "readOnly", "writeOnly", "deprecated", "default"}, k):
		case k == "type": // next to a reference it has no meaning
		default:
			return true
		}
	}
	return false
}

// put copies one into all.
func put(all, one map[string]any) {
	for k, v := range one {
		switch k {
		case "properties":
			properties := maps.Clone(object(all[k]))
			if properties == nil {
				properties = map[string]any{}
			}
			maps.Copy(properties, object(v))
			all[k] = properties
		case "required":
			list := slices.Clone(array(all[k]))
			for _, x := range array(v) {
				if !slices.Contains(list, x) {
					list = append(list, x)
				}
			}
			all[k] = list
		default:
			all[k] = v
		}
	}
}

// openStrings replaces alternatives that are all strings by one string. An enumeration or
// any string is the usual way to write an open enumeration.
func openStrings(n *normalizer, s map[string]any, depth int) map[string]any {
	for _, k := range []string{"oneOf", "anyOf"} {
		list := array(s[k])
		var values []any
		for _, alternative := range list {
			one, _, err := n.flat(object(alternative), depth+1)
			if err != nil || kindOf(one) != "string" {
				return s
			}
			values = append(values, array(one["enum"])...)
		}
		if len(list) > 0 {
			s = maps.Clone(s)
			delete(s, k)
			s["type"] = "string"
			if len(values) > 0 {
				s["enum"] = values
			}
		}
	}
	return s
}

func kindOf(s map[string]any) string {
	kind, _ := s["type"].(string)
	switch {
	case len(array(s["oneOf"]))+len(array(s["anyOf"])) > 0:
		return "union"
	case len(object(s["properties"])) > 0:
		return "object"
	case kind == "integer":
		return "number"
	case kind == "" && len(texts(s["enum"])) > 0:
		return "string"
	case kind == "" && s["items"] != nil:
		return "array"
	case len(object(s["additionalProperties"])) > 0:
		return "map"
	case kind == "object":
		return "anything"
	}
	return kind
}

// texts returns the strings in the list v.
func texts(v any) (list []string) {
	for _, x := range array(v) {
		if s, ok := x.(string); ok {
			list = append(list, s)
		}
	}
	return list
}

// comment returns the comment of a field: its description, its limits and its note in
// names.yaml.
func (n *normalizer) comment(property string, description any, s map[string]any, required, request bool) string {
	var sentences []string
	if text, _ := description.(string); strings.TrimSpace(text) != "" {
		sentences = append(sentences, sentence(text))
	}
	if text := limitsOf(s, required); request && text != "" {
		sentences = append(sentences, sentence(text))
	}
	if note := n.Notes[property]; note != "" {
		sentences = append(sentences, sentence(note))
	}
	return strings.Join(sentences, " ")
}

func sentence(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if !strings.ContainsAny(text[len(text)-1:], ".!?") {
		text += "."
	}
	return text
}

// limitsOf describes the limits of a value in a request.
func limitsOf(s map[string]any, required bool) string {
	var parts []string
	switch {
	case s["readOnly"] == true:
		return "Set by the server"
	case required:
		parts = append(parts, "required")
	}
	bounds := func(least, most, unit string) {
		low, high := number(s[least]), number(s[most])
		switch {
		case high != "" && low != "" && low != "0":
			parts = append(parts, low+" to "+high+unit)
		case high != "":
			parts = append(parts, "at most "+high+unit)
		case low == "1":
			parts = append(parts, "at least "+low+strings.TrimSuffix(unit, "s"))
		case low != "" && low != "0":
			parts = append(parts, "at least "+low+unit)
		}
	}
	bounds("minLength", "maxLength", " characters")
	bounds("minItems", "maxItems", " elements")
	bounds("minimum", "maximum", "")
	text := strings.Join(parts, ", ")
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

func number(v any) string {
	if v == nil {
		return ""
	}
	return strings.Trim(canonical(v), `"`)
}

// goName returns name as an exported Go name. It changes only the first letter of each word.
func goName(name string) string {
	var b strings.Builder
	upper := true
	for _, r := range name {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			upper = true
			continue
		case upper:
			r = unicode.ToUpper(r)
		}
		upper = false
		b.WriteRune(r)
	}
	return b.String()
}

// plural returns the Go name of a property whose last word is a plural initialism, which
// oapi-codegen does not support. It returns "" for any other property.
func plural(property string) string {
	for _, word := range []string{"Id", "Url"} {
		if stem, ok := strings.CutSuffix(property, word+"s"); ok && stem != "" {
			return goName(stem) + strings.ToUpper(word) + "s"
		}
	}
	return ""
}
