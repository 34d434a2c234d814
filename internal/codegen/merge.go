package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// key names an item of a document. Its kinds are "operation", "tags", "document" (a
// top-level key), and the kinds of components.
type key struct{ kind, name string }

func (k key) String() string { return k.kind + " " + k.name }

type item struct {
	value any
	source
}

type items map[key]item

func (all items) sorted() []key {
	return slices.SortedFunc(maps.Keys(all), func(a, b key) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.name, b.name))
	})
}

var methods = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace"}

// merge returns the text of base with the inputs merged into it and without the operations
// in drop. missing are the operations of base that are not in the inputs, if one of these is
// a complete document.
func merge(base source, inputs []source, drop []string) (text []byte, missing []string, err error) {
	old, err := split(base)
	if err != nil {
		return nil, nil, err
	}
	merged := items{}
	complete := false
	for _, input := range inputs {
		complete = complete || !input.page
		parts, err := split(input)
		if err != nil {
			return nil, nil, err
		}
		keepNames(parts, old)
		for _, k := range parts.sorted() {
			if a, b := merged[k], parts[k]; a.value == nil {
				merged[k] = b
			} else if meaning(k, a.value) != meaning(k, b.value) {
				from := sorted([]string{a.name, b.name})
				return nil, nil, fmt.Errorf("%s and %s contradict each other: %s", from[0], from[1], k)
			} else if prefer(b, a) {
				merged[k] = b
			}
		}
	}
	byID := map[any]key{} // by operationId
	for _, k := range merged.sorted() {
		if id := object(merged[k].value)["operationId"]; k.kind == "operation" {
			if other, ok := byID[id]; ok {
				return nil, nil, fmt.Errorf("%s and %s: %s and %s have the same operationId: %s", merged[other].name, merged[k].name, other, k, id)
			}
			byID[id] = k
		}
	}
	for _, k := range old.sorted() {
		_, moved := byID[object(old[k].value)["operationId"]]
		if merged[k].value != nil || k.kind == "operation" && moved {
			continue
		}
		merged[k] = old[k]
		if k.kind == "operation" {
			id := fmt.Sprint(object(old[k].value)["operationId"])
			if complete && !slices.Contains(drop, id) {
				missing = append(missing, id)
			}
		}
	}
	for _, id := range drop {
		n := len(merged)
		maps.DeleteFunc(merged, func(k key, i item) bool {
			return k.kind == "operation" && object(i.value)["operationId"] == id
		})
		if len(merged) == n {
			return nil, nil, fmt.Errorf("there is no operation %s to drop", id)
		}
	}
	if err := prune(merged); err != nil {
		return nil, nil, err
	}
	text, err = encode(assemble(merged))
	return text, sorted(missing), err
}

// keepNames gives the path parameters in parts the names that they have in old. Their names
// are not sent.
func keepNames(parts, old items) {
	present := map[string]string{} // by method and path without names
	for k := range old {
		if k.kind == "operation" {
			present[anonymous(k.name)] = k.name
		}
	}
	for _, k := range parts.sorted() {
		name := present[anonymous(k.name)]
		if k.kind != "operation" || name == "" || name == k.name {
			continue
		}
		names := map[any]string{}
		segments := strings.Split(name, "/")
		for i, s := range strings.Split(k.name, "/") {
			names[strings.Trim(s, "{}")] = strings.Trim(segments[i], "{}")
		}
		i := parts[k]
		operation := maps.Clone(object(i.value))
		var list []any
		for _, p := range array(operation["parameters"]) {
			p := maps.Clone(object(p))
			if p["in"] == "path" {
				p["name"] = names[p["name"]]
			}
			list = append(list, p)
		}
		operation["parameters"] = list
		delete(parts, k)
		parts[key{"operation", name}] = item{operation, i.source}
	}
}

// split returns the items of a document. It copies into each operation what applies to it
// from its path and from the top of the document, so that it can be used in another document.
func split(s source) (items, error) {
	parts := items{}
	for name, value := range s.document {
		if !slices.Contains([]string{"paths", "components", "tags", "security"}, name) {
			parts[key{"document", name}] = item{value, s}
		}
	}
	for kind, values := range object(s.document["components"]) {
		for name, value := range object(values) {
			parts[key{kind, name}] = item{value, s}
		}
	}
	for _, tag := range array(s.document["tags"]) {
		parts[key{"tags", fmt.Sprint(object(tag)["name"])}] = item{tag, s}
	}
	for path, value := range object(s.document["paths"]) {
		for name := range object(value) {
			if name == "$ref" || name == "servers" {
				return nil, fmt.Errorf("%s: %s of the path %s is not supported", s.name, name, path)
			}
		}
		for _, method := range methods {
			operation := maps.Clone(object(object(value)[method]))
			if operation == nil {
				continue
			}
			k := key{"operation", strings.ToUpper(method) + " " + path}
			if id, _ := operation["operationId"].(string); id == "" {
				return nil, fmt.Errorf("%s: no operationId: %s", s.name, k)
			}
			if operation["servers"] != nil {
				return nil, fmt.Errorf("%s: servers of one operation are not supported: %s", s.name, k)
			}
			if operation["security"] == nil {
				operation["security"] = append([]any{}, array(s.document["security"])...)
			}
			if list := parameters(s.document, object(value), operation); len(list) > 0 {
				operation["parameters"] = list
			}
			if body := operation["requestBody"]; body != nil {
				operation["requestBody"] = inline(s.document, body)
			}
			parts[k] = item{operation, s}
		}
	}
	return parts, nil
}

// parameters returns the parameters of an operation, with those of its path that it does not
// replace.
func parameters(document, path, operation map[string]any) (list []any) {
	identity := func(p any) string { return canonical([]any{object(p)["in"], object(p)["name"]}) }
	own := map[string]bool{}
	for _, p := range array(operation["parameters"]) {
		own[identity(inline(document, p))] = true
	}
	for _, p := range array(path["parameters"]) {
		if p = inline(document, p); !own[identity(p)] {
			list = append(list, p)
		}
	}
	for _, p := range array(operation["parameters"]) {
		list = append(list, inline(document, p))
	}
	return list
}

// inline returns what v refers to. The client's check of requests does not follow references
// of parameters and bodies.
func inline(document map[string]any, v any) any {
	for range 10 { // also ends a cycle
		ref, _ := object(v)["$ref"].(string)
		kind, name, _ := strings.Cut(strings.TrimPrefix(ref, "#/components/"), "/")
		to := object(object(document["components"])[kind])[name]
		if ref == "" || to == nil {
			break
		}
		v = to
	}
	return v
}

// prefer reports whether a is kept of two items that differ only in prose. Pages are newer
// than complete documents, and the longer text is better.
func prefer(a, b item) bool {
	x, y := canonical(a.value), canonical(b.value)
	return a.page && !b.page || a.page == b.page && (len(x) > len(y) || len(x) == len(y) && x < y)
}

// prune removes the components and tags that no operation uses.
func prune(all items) error {
	used := map[key]bool{}
	var queue []key
	for _, k := range all.sorted() {
		used[k] = k.kind == "operation" || k.kind == "document"
		if k.kind == "operation" {
			queue = append(queue, k)
		}
	}
	for ; len(queue) > 0; queue = queue[1:] {
		from := all[queue[0]]
		if queue[0].kind == "operation" {
			for _, tag := range array(object(from.value)["tags"]) {
				used[key{"tags", fmt.Sprint(tag)}] = true
			}
			for _, alternative := range array(object(from.value)["security"]) {
				for scheme := range object(alternative) {
					used[key{"securitySchemes", scheme}] = true
				}
			}
		}
		for _, ref := range references(from.value) {
			part := strings.Split(ref, "/")
			if len(part) < 4 || part[0] != "#" || part[1] != "components" {
				return fmt.Errorf("%s: %s refers to %s, which is not read", from.name, queue[0], ref)
			}
			to := key{part[2], part[3]}
			if all[to].value == nil {
				return fmt.Errorf("%s: %s refers to %s, which no document has", from.name, queue[0], ref)
			}
			if !used[to] {
				used[to] = true
				queue = append(queue, to)
			}
		}
	}
	maps.DeleteFunc(all, func(k key, _ item) bool { return !used[k] })
	return nil
}

// references returns the references in v, including those of discriminators.
func references(v any) (refs []string) {
	for _, x := range array(v) {
		refs = append(refs, references(x)...)
	}
	for k, x := range object(v) {
		if s, ok := x.(string); ok && (k == "$ref" || strings.HasPrefix(s, "#/components/")) {
			refs = append(refs, s)
		}
		refs = append(refs, references(x)...)
	}
	return sorted(refs)
}

// assemble returns the document of items. The security that most operations have is at its
// top and not in them.
func assemble(all items) map[string]any {
	document := map[string]any{"paths": map[string]any{}, "components": map[string]any{}}
	count, common := map[string]int{}, "[]"
	for _, k := range all.sorted() {
		if s := canonical(object(all[k].value)["security"]); k.kind == "operation" {
			count[s]++
			if count[s] > count[common] || count[s] == count[common] && s < common {
				common = s
			}
		}
	}
	for _, k := range all.sorted() {
		value := all[k].value
		switch k.kind {
		case "document":
			document[k.name] = value
		case "tags":
			document["tags"] = append(array(document["tags"]), value)
		case "operation":
			method, path, _ := strings.Cut(k.name, " ")
			operation := object(value)
			if security := operation["security"]; canonical(security) == common {
				delete(operation, "security")
				if common != "[]" {
					document["security"] = security
				}
			}
			child(object(document["paths"]), path)[strings.ToLower(method)] = operation
		default:
			child(object(document["components"]), k.kind)[k.name] = value
		}
	}
	return document
}

// encode returns the JSON of a document. Keys are sorted, except for those at the top.
func encode(document map[string]any) ([]byte, error) {
	keys := []string{"openapi", "info", "tags", "servers", "security", "components", "paths"}
	for _, k := range slices.Sorted(maps.Keys(document)) {
		if !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	var fields []string
	for _, k := range keys {
		if v, ok := document[k]; ok {
			fields = append(fields, canonical(k)+":"+canonical(v))
		}
	}
	var out bytes.Buffer
	err := json.Indent(&out, []byte("{"+strings.Join(fields, ",")+"}\n"), "", "  ")
	return out.Bytes(), err
}

func canonical(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // it was decoded from JSON
	return strings.TrimSpace(b.String())
}

var (
	prose = []string{"description", "summary", "example", "examples", "title", "externalDocs"}
	// The keys in the values of these are names.
	named = []string{"properties", "responses", "content", "headers", "encoding", "callbacks", "links", "variables", "scopes", "mapping"}
	// The order of these arrays has no meaning.
	unordered = []string{"required", "enum", "parameters", "tags", "security", "allOf", "anyOf", "oneOf"}
)

// meaning returns a text that is equal for two values with the same meaning.
func meaning(k key, value any) string {
	if k.kind == "tags" || k.kind == "document" && k.name != "servers" {
		return "" // prose
	}
	return canonical(withoutProse("", value))
}

func withoutProse(parent string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		names := slices.Contains(named, parent)
		result := map[string]any{}
		for k, x := range v {
			switch {
			case names:
				result[k] = withoutProse("", x)
			case k == "default":
				result[k] = x
			case !slices.Contains(prose, k) && !strings.HasPrefix(k, "x-"):
				result[k] = withoutProse(k, x)
			}
		}
		return result
	case []any:
		result := make([]any, len(v))
		for i, x := range v {
			result[i] = withoutProse("", x)
		}
		if slices.Contains(unordered, parent) {
			slices.SortFunc(result, func(a, b any) int { return cmp.Compare(canonical(a), canonical(b)) })
		}
		return result
	}
	return v
}

func sorted(list []string) []string { slices.Sort(list); return list }

func object(v any) map[string]any { m, _ := v.(map[string]any); return m }

func array(v any) []any { a, _ := v.([]any); return a }

// at returns the object at the path names in v.
func at(v any, names ...string) map[string]any {
	for _, name := range names {
		v = object(v)[name]
	}
	return object(v)
}

func child(parent map[string]any, name string) map[string]any {
	if parent[name] == nil {
		parent[name] = map[string]any{}
	}
	return object(parent[name])
}
