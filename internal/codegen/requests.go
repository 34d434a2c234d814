package main

import (
	"encoding/json"
	"slices"
	"strings"
)

// requestsFile is the part of the document that package gamma needs to name and to check
// requests. It is embedded in every program that uses package gamma.
const requestsFile = "api/requests.gen.json"

// requests returns the text of requestsFile.
func requests(document map[string]any) []byte {
	paths, schemas := map[string]any{}, map[string]any{}
	var keep func(v any) any
	keep = func(v any) any {
		s := object(v)
		kept := map[string]any{}
		for _, key := range []string{"$ref", "type", "format", "nullable", "readOnly", "required", "minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum"} {
			if s[key] != nil {
				kept[key] = s[key]
			}
		}
		if slices.Contains(array(s["enum"]), nil) { // enum values are not checked, except null
			kept["enum"] = []any{nil}
		}
		if s["items"] != nil {
			kept["items"] = keep(s["items"])
		}
		for _, part := range array(s["allOf"]) {
			kept["allOf"] = append(array(kept["allOf"]), keep(part))
		}
		for name, property := range object(s["properties"]) {
			child(kept, "properties")[name] = keep(property)
		}
		ref, _ := s["$ref"].(string)
		if name, ok := strings.CutPrefix(ref, "#/components/schemas/"); ok && schemas[name] == nil {
			schemas[name] = map[string]any{} // ends a cycle
			schemas[name] = keep(at(document, "components", "schemas")[name])
		}
		return kept
	}
	for path, item := range object(document["paths"]) {
		for _, method := range methods {
			o := at(item, method)
			if o == nil {
				continue
			}
			operation := map[string]any{}
			for _, p := range parameters(document, object(item), o) {
				if p := object(p); p["in"] == "query" && p["schema"] != nil {
					kept := map[string]any{"name": p["name"], "in": "query", "schema": keep(p["schema"])}
					for _, key := range []string{"style", "explode"} {
						if p[key] != nil {
							kept[key] = p[key]
						}
					}
					operation["parameters"] = append(array(operation["parameters"]), kept)
				}
			}
			const js = "application/json"
			if schema := at(inline(document, o["requestBody"]), "content", js, "schema"); schema != nil {
				operation["requestBody"] = map[string]any{"content": map[string]any{js: map[string]any{"schema": keep(schema)}}}
			}
			child(paths, path)[method] = operation
		}
	}
	servers := []any{}
	for _, server := range array(document["servers"]) {
		servers = append(servers, map[string]any{"url": object(server)["url"]})
	}
	text, _ := json.Marshal(map[string]any{ // it was decoded from JSON
		"servers":    servers,
		"paths":      paths,
		"components": map[string]any{"schemas": schemas},
	})
	return append(text, '\n')
}
