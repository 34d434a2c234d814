package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// needs is what package gamma and the poller need of a document. It is checked before the
// compiler runs, for a clear error.
var needs = []struct {
	operation  string
	parameters []string // of the query
	request    string   // Go type
	response   string   // Go type; empty for any
}{
	{operation: "createGeneration", request: "GenerationRequest"},
	{operation: "createFromTemplateGeneration", request: "TemplateGenerationRequest"},
	{operation: "getGenerationStatus", response: "GenerationStatusResponse"},
	{operation: "listThemes", parameters: []string{"after"}, response: "ListThemesResponse"},
	{operation: "listFolders", parameters: []string{"after"}, response: "ListFoldersResponse"},
}

var neededProperties = map[string]map[string]string{
	"GenerationStatusResponse": {
		"generationId": "string", "status": "GenerationStatus", "gammaId": "string", "gammaUrl": "string",
		"exportUrl": "string", "error": "ErrorResponse", "credits": "CreditsResponse",
	},
	"ErrorResponse":       {"message": "string", "statusCode": "number"},
	"CreditsResponse":     {"deducted": "number", "remaining": "number"},
	"ListThemesResponse":  {"data": "array", "hasMore": "boolean", "nextCursor": "string"},
	"ListFoldersResponse": {"data": "array", "hasMore": "boolean", "nextCursor": "string"},
}

var neededValues = map[string][]string{"GenerationStatus": {"pending", "completed", "failed"}}

// checkNeeds returns an error if a normalized document lacks something of needs.
func checkNeeds(normal map[string]any) error {
	operations := map[string]operationAt{}
	for path, item := range object(normal["paths"]) {
		for method, o := range object(item) {
			id := operationKey(object(o))
			operations[id] = operationAt{id, method, path, object(o), nil}
		}
	}
	schemas := at(normal, "components", "schemas")
	var missing []string
	lack := func(format string, args ...any) { missing = append(missing, fmt.Sprintf(format, args...)) }
	for _, need := range needs {
		o, ok := operations[need.operation]
		if !ok {
			lack("no operation %s", need.operation)
			continue
		}
		in := map[string][]string{}
		for _, p := range array(o.value["parameters"]) {
			kind, _ := object(p)["in"].(string)
			name, _ := object(p)["name"].(string)
			in[kind] = append(in[kind], name)
		}
		wanted := 0
		if need.operation == "getGenerationStatus" {
			wanted = 1
		}
		if got := len(in["path"]); got != wanted {
			lack("%s has %d path parameters, not %d", need.operation, got, wanted)
		}
		for _, name := range need.parameters {
			if !slices.Contains(in["query"], name) {
				lack("%s has no query parameter %s", need.operation, name)
			}
		}
		if got := typeOf(at(o.value, "requestBody", "content", "application/json", "schema")); need.request != got {
			lack("%s takes %s, not %s", need.operation, orNone(got), orNone(need.request))
		}
		if got := typeOf(at(o.value, "responses", "200", "content", "application/json", "schema")); need.response != "" && need.response != got {
			lack("%s returns %s with status 200, not %s", need.operation, orNone(got), need.response)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(neededProperties)) {
		if schemas[name] == nil {
			continue // reported above or below
		}
		for _, property := range slices.Sorted(maps.Keys(neededProperties[name])) {
			want := neededProperties[name][property]
			switch got := typeOf(at(schemas, name, "properties", property)); got {
			case want:
			case "":
				lack("%s has no property %s", name, property)
			default:
				lack("%s.%s is %s, not %s", name, property, got, want)
			}
		}
	}
	for name, values := range neededValues {
		for _, v := range values {
			if s := at(schemas, name); s != nil && !slices.Contains(texts(s["enum"]), v) {
				lack("%s has no value %s", name, v)
			}
		}
	}
	if len(missing) > 0 {
		return errors.New("package gamma or the poller needs what is missing: " + strings.Join(missing, "; "))
	}
	return nil
}

// typeOf returns the Go type of a normalized schema, or its JSON type if it has none.
func typeOf(s map[string]any) string {
	if all := array(s["allOf"]); len(all) == 1 {
		s = object(all[0])
	}
	if ref, ok := s["$ref"].(string); ok {
		return strings.TrimPrefix(ref, "#/components/schemas/")
	}
	kind, _ := s["type"].(string)
	if kind == "integer" {
		kind = "number"
	}
	return kind
}

func orNone(name string) string {
	if name == "" {
		return "nothing"
	}
	return name
}
