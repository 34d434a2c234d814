package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// small returns a small document with all that hand-written code needs.
func small(t testing.TB) map[string]any {
	t.Helper()
	text, err := os.ReadFile("testdata/small.yaml")
	if err != nil {
		t.Fatal(err)
	}
	node, err := parseYAML(string(text))
	if err != nil {
		t.Fatal(err)
	}
	document, err := decode(node)
	if err != nil {
		t.Fatal(err)
	}
	return document
}

// published returns openapi.json as make spec writes it if the vendor publishes small with
// change.
func published(t testing.TB, change func(document map[string]any)) (document map[string]any, notes []string, err error) {
	t.Helper()
	changed := small(t)
	change(changed)
	dir := tree(t, small(t), map[string]string{"new.json": canonical(changed)})
	text, notes, err := spec(dir, []string{"new.json"}, settings{})
	if err == nil {
		err = json.Unmarshal(text, &document)
	}
	return document, notes, err
}

// goOf returns the exported names of package api with their types, one per line.
func goOf(t testing.TB, document map[string]any) (api string, notes []string, err error) {
	t.Helper()
	code, notes, err := generate(t.Context(), root, document)
	if err != nil {
		return "", nil, err
	}
	file, err := parser.ParseFile(token.NewFileSet(), "", code, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			receiver := ""
			if decl.Recv != nil {
				receiver = types.ExprString(decl.Recv.List[0].Type) + "."
			}
			add("func %s%s%s", receiver, decl.Name, signature(decl.Type))
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				switch spec := spec.(type) {
				case *ast.ValueSpec:
					add("const %s %s = %s", spec.Names[0], types.ExprString(spec.Type), types.ExprString(spec.Values[0]))
				case *ast.TypeSpec:
					switch is := spec.Type.(type) {
					case *ast.StructType:
						for _, f := range is.Fields.List {
							add("type %s has %v %s", spec.Name, f.Names, types.ExprString(f.Type))
						}
					case *ast.InterfaceType:
						for _, m := range is.Methods.List {
							add("type %s has %v%s", spec.Name, m.Names, signature(m.Type.(*ast.FuncType)))
						}
					default:
						add("type %s is %s", spec.Name, types.ExprString(is))
					}
				}
			}
		}
	}
	return strings.Join(sorted(lines), "\n"), notes, nil
}

// signature returns the types of a function without the names of its parameters.
func signature(f *ast.FuncType) string {
	list := func(fields *ast.FieldList) (all []string) {
		if fields == nil {
			return nil
		}
		for _, p := range fields.List {
			all = append(all, slices.Repeat([]string{types.ExprString(p.Type)}, max(1, len(p.Names)))...)
		}
		return all
	}
	return fmt.Sprint(list(f.Params), list(f.Results))
}

// property returns a property of a schema, which may be changed.
func property(d map[string]any, schema, name string) map[string]any {
	return at(d, "components", "schemas", schema, "properties", name)
}

// setProperty sets a property to the JSON text.
func setProperty(d map[string]any, schema, name, text string) {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		panic(err)
	}
	at(d, "components", "schemas", schema, "properties")[name] = v
}

func setSchema(d map[string]any, name, text string) {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		panic(err)
	}
	at(d, "components", "schemas")[name] = v
}

// everySchema calls f for every object in v that has a type.
func everySchema(v any, f func(map[string]any)) {
	if o := object(v); o != nil {
		if _, ok := o["type"].(string); ok {
			f(o)
		}
		for _, x := range o {
			everySchema(x, f)
		}
	}
	for _, x := range array(v) {
		everySchema(x, f)
	}
}

// Documents with the same meaning give the same Go code.
func TestNormalizeSameCode(t *testing.T) {
	want, _, err := goOf(t, small(t))
	if err != nil {
		t.Fatal(err)
	}
	const status = `"type":"string","enum":["pending","completed","failed"]`
	for name, change := range map[string]func(d map[string]any){
		"no change":     func(map[string]any) {},
		"status inline": func(d map[string]any) { setProperty(d, "GenerationStatusResponse", "status", `{`+status+`}`) },
		"status as a bare object": func(d map[string]any) {
			setProperty(d, "GenerationStatusResponse", "status", `{"type":"object","example":"completed"}`)
		},
		"status through allOf": func(d map[string]any) {
			setProperty(d, "GenerationStatusResponse", "status", `{"description":"x","allOf":[{"$ref":"#/components/schemas/GenerationStatus"}]}`)
		},
		"status through oneOf": func(d map[string]any) {
			setProperty(d, "GenerationStatusResponse", "status", `{"oneOf":[{"$ref":"#/components/schemas/GenerationStatus"}]}`)
		},
		"status in a schema with another name": func(d map[string]any) {
			setSchema(d, "JobState", `{`+status+`}`)
			setProperty(d, "GenerationStatusResponse", "status", `{"$ref":"#/components/schemas/JobState"}`)
		},
		"status in two parts of an allOf": func(d map[string]any) {
			setProperty(d, "GenerationStatusResponse", "status", `{"allOf":[{"type":"string"},{"enum":["pending","completed","failed"]}]}`)
		},
		"enum as a schema": func(d map[string]any) {
			setSchema(d, "ExportFormat", `{"type":"string","enum":["pdf","pptx"]}`)
			setProperty(d, "Generation", "exportAs", `{"$ref":"#/components/schemas/ExportFormat","example":"pdf"}`)
			setProperty(d, "FromTemplateGeneration", "exportAs", `{"nullable":true,"allOf":[{"$ref":"#/components/schemas/ExportFormat"}]}`)
		},
		"enum with null": func(d map[string]any) {
			setProperty(d, "Generation", "format", `{"type":"string","nullable":true,"enum":["presentation","document",null]}`)
		},
		"enum or any string": func(d map[string]any) {
			setProperty(d, "Generation", "format", `{"anyOf":[{"type":"string","enum":["presentation","document"]},{"type":"string"}]}`)
		},
		"image models inline": func(d map[string]any) {
			setProperty(d, "ImageOptions", "model", `{"type":"string","enum":["flux-1","dall-e-3"]}`)
		},
		"image model as a bare object": func(d map[string]any) {
			setProperty(d, "ImageOptions", "model", `{"type":"object","example":"flux-1"}`)
		},
		"object inline": func(d map[string]any) {
			setProperty(d, "Generation", "imageOptions", canonical(at(d, "components", "schemas", "ImageOptions")))
		},
		"request inline": func(d map[string]any) {
			at(d, "paths", "/v1.0/generations", "post", "requestBody", "content", "application/json")["schema"] = at(d, "components", "schemas", "Generation")
		},
		"request in a schema with another name": func(d map[string]any) {
			setSchema(d, "CreateGenerationRequest", canonical(at(d, "components", "schemas", "Generation")))
			at(d, "paths", "/v1.0/generations", "post", "requestBody", "content", "application/json", "schema")["$ref"] = "#/components/schemas/CreateGenerationRequest"
		},
		"schemas with the suffix Dto": func(d map[string]any) {
			schemas := at(d, "components", "schemas")
			for _, name := range slices.Sorted(maps.Keys(schemas)) {
				schemas[name+"Dto"] = schemas[name]
				delete(schemas, name)
				replace(d, "#/components/schemas/"+name, "#/components/schemas/"+name+"Dto")
			}
		},
		"integer for number": func(d map[string]any) {
			everySchema(d, func(s map[string]any) { s["type"] = strings.Replace(s["type"].(string), "number", "integer", 1) })
		},
		"all schemas nullable": func(d map[string]any) {
			everySchema(at(d, "components", "schemas"), func(s map[string]any) { s["nullable"] = true })
		},
		"other descriptions": func(d map[string]any) { everySchema(d, func(s map[string]any) { s["description"] = "Other words." }) },
		"other formats": func(d map[string]any) {
			property(d, "GenerationStatusResponse", "generationId")["format"] = "uuid"
			property(d, "GenerationStatusResponse", "gammaUrl")["format"] = "uri"
		},
		"no limits": func(d map[string]any) {
			everySchema(d, func(s map[string]any) {
				for _, k := range []string{"minLength", "maxLength", "minimum", "maximum", "maxItems"} {
					delete(s, k)
				}
			})
		},
		"fewer required properties": func(d map[string]any) {
			for _, name := range []string{"CreditsResponse", "ErrorResponse", "ListThemesResponse"} {
				delete(at(d, "components", "schemas", name), "required")
			}
		},
		"another required property": func(d map[string]any) {
			at(d, "components", "schemas", "GenerationStatusResponse")["required"] = []any{"generationId", "status", "credits"}
		},
		"JavaScript pattern": func(d map[string]any) { property(d, "Generation", "inputText")["pattern"] = "^(?!x)" },
		"response header": func(d map[string]any) {
			at(d, "paths", "/v1.0/themes", "get", "responses", "200")["headers"] = map[string]any{"X-Left": map[string]any{"schema": map[string]any{"type": "number"}}}
		},
		"content types with parameters": func(d map[string]any) {
			for _, content := range []map[string]any{
				at(d, "paths", "/v1.0/generations/{id}", "get", "responses", "200", "content"),
				at(d, "paths", "/v1.0/generations", "post", "requestBody", "content"),
			} {
				content["application/json; charset=utf-8"] = content["application/json"]
				delete(content, "application/json")
			}
		},
		"operationIds in another case": func(d map[string]any) {
			at(d, "paths", "/v1.0/themes", "get")["operationId"] = "list_themes"
			at(d, "paths", "/v1.0/generations", "post")["operationId"] = "CreateGeneration"
		},
		"path parameter with another name": func(d map[string]any) {
			paths := at(d, "paths")
			item := paths["/v1.0/generations/{id}"]
			delete(paths, "/v1.0/generations/{id}")
			object(array(at(item, "get")["parameters"])[0])["name"] = "generationId"
			paths["/v1.0/generations/{generationId}"] = item
		},
		"optional header": func(d map[string]any) {
			addParameter(d, "/v1.0/generations/{id}", "get", `{"name":"X-Trace","in":"header","schema":{"type":"string"}}`)
		},
		"optional cookie": func(d map[string]any) {
			addParameter(d, "/v1.0/folders", "get", `{"name":"sid","in":"cookie","schema":{"type":"string"}}`)
		},
		"optional query parameter of a fixed operation": func(d map[string]any) {
			addParameter(d, "/v1.0/generations", "post", `{"name":"dry","in":"query","schema":{"type":"string"}}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			document, _, err := published(t, change)
			if err != nil {
				t.Fatal(err)
			}
			got, _, err := goOf(t, document)
			if err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Errorf("the Go code differs:\n%s", difference(got, want))
			}
		})
	}
}

func addParameter(d map[string]any, path, method, text string) {
	var p any
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		panic(err)
	}
	operation := at(d, "paths", path, method)
	operation["parameters"] = append(slices.Clone(array(operation["parameters"])), p)
}

// difference returns the lines that only one of the texts has.
func difference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	var lines []string
	for _, l := range a {
		if !slices.Contains(b, l) {
			lines = append(lines, "+ "+l)
		}
	}
	for _, l := range b {
		if !slices.Contains(a, l) {
			lines = append(lines, "- "+l)
		}
	}
	return strings.Join(lines, "\n")
}

// A change of the document changes as little Go code as possible.
func TestNormalizeChanges(t *testing.T) {
	before, _, err := goOf(t, small(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		change func(d map[string]any)
		want   string // lines of Go, with + if added
		notes  []string
	}{
		"new optional property": {
			func(d map[string]any) { setProperty(d, "GenerationStatusResponse", "title", `{"type":"string"}`) },
			"+ type GenerationStatusResponse has [Title] string", nil,
		},
		"new list of objects inline": {
			func(d map[string]any) {
				setProperty(d, "GenerationStatusResponse", "pages", `{"type":"array","items":{"type":"object","properties":{"id":{"type":"string"}}}}`)
			},
			"+ type GenerationStatusResponse has [Pages] []GenerationStatusResponsePagesItem\n+ type GenerationStatusResponsePagesItem has [ID] string", nil,
		},
		"new status": {
			func(d map[string]any) {
				setSchema(d, "GenerationStatus", `{"type":"string","enum":["pending","completed","failed","stopped"]}`)
			},
			"+ const GenerationStatusStopped GenerationStatus = \"stopped\"", nil,
		},
		"new enum value in one of two requests": {
			func(d map[string]any) {
				setProperty(d, "Generation", "exportAs", `{"type":"string","enum":["pdf","pptx","png"]}`)
			},
			"+ const ExportAsPNG ExportAs = \"png\"", nil,
		},
		"new enum that is not in names.yaml": {
			func(d map[string]any) { setProperty(d, "ImageOptions", "mood", `{"type":"string","enum":["calm"]}`) },
			"+ const ImageOptionsMoodCalm ImageOptionsMood = \"calm\"\n+ func ImageOptionsMood.Valid[] [bool]\n+ type ImageOptions has [Mood] ImageOptionsMood\n+ type ImageOptionsMood is string", nil,
		},
		"new property with the values of another enum": {
			func(d map[string]any) {
				setProperty(d, "ImageOptions", "origin", `{"type":"string","enum":["custom","standard"]}`)
			},
			"+ type ImageOptions has [Origin] ThemeType", nil,
		},
		"plural initialisms": {
			func(d map[string]any) {
				setProperty(d, "ImageOptions", "pageUrls", `{"type":"array","items":{"type":"string"}}`)
			},
			"+ type ImageOptions has [PageURLs] []string", nil,
		},
		"number and boolean of a request": {
			func(d map[string]any) {
				setProperty(d, "ImageOptions", "weight", `{"type":"integer"}`)
				setProperty(d, "ImageOptions", "dark", `{"type":"boolean"}`)
			},
			"+ type ImageOptions has [Dark] *bool\n+ type ImageOptions has [Weight] *float64", nil,
		},
		"numbers and booleans of a response, required or not": {
			func(d map[string]any) {
				for property, text := range map[string]string{
					"size": `{"type":"integer"}`, "rate": `{"type":"number"}`, "limit": `{"type":"number"}`, "shared": `{"type":"boolean"}`, "hidden": `{"type":"boolean"}`,
				} {
					setProperty(d, "FolderItem", property, text)
				}
				item := at(d, "components", "schemas", "FolderItem")
				item["required"] = append(slices.Clone(array(item["required"])), "rate", "limit", "shared")
			},
			"+ type FolderItem has [Hidden] *bool\n+ type FolderItem has [Limit] *int\n+ type FolderItem has [Rate] *float64\n+ type FolderItem has [Shared] *bool\n+ type FolderItem has [Size] *float64", nil,
		},
		"recursive object": {
			func(d map[string]any) {
				setSchema(d, "Node", `{"type":"object","properties":{"next":{"$ref":"#/components/schemas/Node"}}}`)
				setProperty(d, "FolderItem", "node", `{"$ref":"#/components/schemas/Node"}`)
			},
			"+ type FolderItem has [Node] *Node\n+ type Node has [Next] *Node", nil,
		},
		"required header": {
			func(d map[string]any) {
				addParameter(d, "/v1.0/folders", "get", `{"name":"X-Team","in":"header","required":true,"schema":{"type":"string"}}`)
			},
			"+ type ListFoldersParams has [XTeam] string", nil,
		},
		"optional parameters": {
			func(d map[string]any) {
				addParameter(d, "/v1.0/folders", "get", `{"name":"X-Team","in":"header","schema":{"type":"string"}}`)
				addParameter(d, "/v1.0/generations/{id}", "get", `{"name":"wide","in":"query","schema":{"type":"boolean"}}`)
				addParameter(d, "/v1.0/folders", "get", `{"name":"kinds","in":"query","schema":{"type":"array","items":{"type":"string","enum":["a"]}}}`)
			},
			"+ const ListFoldersKindsA ListFoldersKinds = \"a\"\n+ func ListFoldersKinds.Valid[] [bool]\n+ type ListFoldersKinds is string\n+ type ListFoldersParams has [Kinds] []ListFoldersKinds",
			[]string{
				"getGenerationStatus: the optional query parameter wide is not a Go parameter; a request editor can set it",
				"listFolders: the optional header parameter X-Team is not a Go parameter; a request editor can set it",
			},
		},
		"string or object": {
			func(d map[string]any) {
				setProperty(d, "FolderItem", "icon", `{"oneOf":[{"type":"string"},{"type":"object","properties":{"kind":{"type":"string","enum":["x"]}}}]}`)
			},
			strings.Join([]string{
				"+ const FolderItemIconOption2KindX FolderItemIconOption2Kind = \"x\"",
				"+ func *FolderItemIcon.FromFolderItemIcon0[FolderItemIcon0] [error]",
				"+ func *FolderItemIcon.FromFolderItemIconOption2[FolderItemIconOption2] [error]",
				"+ func *FolderItemIcon.MergeFolderItemIcon0[FolderItemIcon0] [error]",
				"+ func *FolderItemIcon.MergeFolderItemIconOption2[FolderItemIconOption2] [error]",
				"+ func *FolderItemIcon.UnmarshalJSON[[]byte] [error]",
				"+ func FolderItemIcon.AsFolderItemIcon0[] [FolderItemIcon0 error]",
				"+ func FolderItemIcon.AsFolderItemIconOption2[] [FolderItemIconOption2 error]",
				"+ func FolderItemIcon.MarshalJSON[] [[]byte error]",
				"+ func FolderItemIconOption2Kind.Valid[] [bool]",
				"+ type FolderItem has [Icon] *FolderItemIcon",
				"+ type FolderItemIcon has [union] json.RawMessage",
				"+ type FolderItemIcon0 is string",
				"+ type FolderItemIconOption2 has [Kind] FolderItemIconOption2Kind",
				"+ type FolderItemIconOption2Kind is string",
			}, "\n"), nil,
		},
		"string or list of strings": {
			func(d map[string]any) {
				setProperty(d, "FolderItem", "names", `{"oneOf":[{"type":"string"},{"type":"array","items":{"type":"string"}}]}`)
			},
			strings.Join([]string{
				"+ func *FolderItemNames.FromFolderItemNames0[FolderItemNames0] [error]",
				"+ func *FolderItemNames.FromFolderItemNames1[FolderItemNames1] [error]",
				"+ func *FolderItemNames.MergeFolderItemNames0[FolderItemNames0] [error]",
				"+ func *FolderItemNames.MergeFolderItemNames1[FolderItemNames1] [error]",
				"+ func *FolderItemNames.UnmarshalJSON[[]byte] [error]",
				"+ func FolderItemNames.AsFolderItemNames0[] [FolderItemNames0 error]",
				"+ func FolderItemNames.AsFolderItemNames1[] [FolderItemNames1 error]",
				"+ func FolderItemNames.MarshalJSON[] [[]byte error]",
				"+ type FolderItem has [Names] *FolderItemNames",
				"+ type FolderItemNames has [union] json.RawMessage",
				"+ type FolderItemNames0 is string",
				"+ type FolderItemNames1 is []string",
			}, "\n"), nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			document, _, err := published(t, tt.change)
			if err != nil {
				t.Fatal(err)
			}
			got, notes, err := goOf(t, document)
			if err != nil {
				t.Fatal(err)
			}
			if got := difference(got, before); got != tt.want {
				t.Errorf("changed\n%s\nwant\n%s", got, tt.want)
			}
			if !slices.Equal(notes, tt.notes) {
				t.Errorf("notes %q, want %q", notes, tt.notes)
			}
		})
	}
}

// One operation may have several models that have no names in the document.
func TestNormalizeModelsOfOneOperation(t *testing.T) {
	response := func(property string) map[string]any {
		return map[string]any{"description": "x", "content": map[string]any{"application/json": map[string]any{
			"schema": map[string]any{"type": "object", "properties": map[string]any{property: map[string]any{"type": "string"}}},
		}}}
	}
	for _, tt := range []struct {
		name      string
		responses map[string]any
		want      string // type and field of each model
	}{
		{"201 and 202", map[string]any{"201": response("id"), "202": response("job")}, "GetUsageResponse.ID GetUsageResponse202.Job"},
		{"200 and 201 with the same schema, 2XX", map[string]any{"200": response("id"), "201": response("id"), "2XX": response("job")}, "GetUsageResponse.ID GetUsageResponse2XX.Job"},
		{"404 and 409", map[string]any{"200": response("id"), "404": response("why"), "409": response("id")}, "GetUsageError.Why GetUsageError409.ID GetUsageResponse.ID"},
		{"200 and default", map[string]any{"200": response("id"), "default": response("why")}, "GetUsageError.Why GetUsageResponse.ID"},
		{"404 and default", map[string]any{"404": response("why"), "default": response("id")}, "GetUsageError.Why GetUsageResponse.ID"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			document, _, err := published(t, func(d map[string]any) {
				at(d, "paths")["/v1.0/usage"] = map[string]any{"get": map[string]any{"operationId": "getUsage", "responses": tt.responses}}
			})
			if err != nil {
				t.Fatal(err)
			}
			got, _, err := goOf(t, document)
			if err != nil {
				t.Fatal(err)
			}
			var models []string
			for line := range strings.Lines(got) {
				var name, field string
				if _, err := fmt.Sscanf(line, "type %s has [%s string", &name, &field); err == nil && strings.HasPrefix(name, "GetUsage") {
					models = append(models, name+"."+strings.TrimSuffix(field, "]"))
				}
			}
			if got := strings.Join(models, " "); got != tt.want {
				t.Errorf("models %q, want %q", got, tt.want)
			}
		})
	}
}

// A document that the SDK cannot be generated from gives an error of one line.
func TestGenerateErrors(t *testing.T) {
	anything := func(schema, name, text string) func(d map[string]any) {
		return func(d map[string]any) { setProperty(d, schema, name, text) }
	}
	for name, tt := range map[string]struct {
		change func(d map[string]any)
		want   string
	}{
		"bare object in a request":  {anything("Generation", "format", `{"type":"object"}`), "GenerationRequest.format would be any JSON"},
		"bare object in a response": {anything("GenerationStatusResponse", "meta", `{"type":"object","example":"x"}`), "GenerationStatusResponse.meta would be any JSON"},
		"schema without a type":     {anything("FolderItem", "meta", `{"description":"x"}`), "FolderItem.meta would be any JSON"},
		"list of bare objects":      {anything("FolderItem", "meta", `{"type":"array","items":{"type":"object"}}`), "FolderItem.meta would be any JSON"},
		"map of any JSON":           {anything("FolderItem", "meta", `{"type":"object","additionalProperties":true}`), "FolderItem.meta would be any JSON"},
		"response that is a bare object": {
			func(d map[string]any) {
				at(d, "paths", "/v1.0/gammas/{gammaId}/archive", "post")["responses"] = map[string]any{"200": map[string]any{"description": "x", "content": map[string]any{"application/json": map[string]any{"schema": map[string]any{"type": "object"}}}}}
			},
			"ArchiveGammaHTTPResponse.JSON200 would be any JSON",
		},
		"no createGeneration": {func(d map[string]any) { at(d, "paths", "/v1.0/generations", "post")["operationId"] = "makeGeneration" }, "needs what is missing: no operation createGeneration"},
		"status is a number":  {anything("GenerationStatusResponse", "status", `{"type":"number"}`), "GenerationStatusResponse.status is number, not GenerationStatus"},
		"status without failed": {func(d map[string]any) {
			setSchema(d, "GenerationStatus", `{"type":"string","enum":["pending","completed"]}`)
		}, "GenerationStatus has no value failed"},
		"no cursor": {func(d map[string]any) { at(d, "paths", "/v1.0/folders", "get")["parameters"] = []any{} }, "listFolders has no query parameter after"},
		"no list":   {anything("ListThemesResponse", "data", `{"type":"string"}`), "ListThemesResponse.data is ThemeItem, not array"},
		"required header of a fixed operation": {func(d map[string]any) {
			addParameter(d, "/v1.0/generations", "post", `{"name":"X-Team","in":"header","required":true,"schema":{"type":"string"}}`)
		}, "createGeneration has the required header parameter X-Team"},
		"getGenerationStatus without a JSON response": {func(d map[string]any) {
			at(d, "paths", "/v1.0/generations/{id}", "get")["responses"] = map[string]any{"204": map[string]any{"description": "x"}}
		}, "getGenerationStatus returns nothing with status 200, not GenerationStatusResponse"},
		"two schemas for one Go type": {func(d map[string]any) {
			setSchema(d, "GenerationRequest", `{"type":"object","properties":{"q":{"type":"string"}}}`)
			setProperty(d, "FolderItem", "q", `{"$ref":"#/components/schemas/GenerationRequest"}`)
		}, "FolderItem.q: another schema already has the Go type GenerationRequest; give this one a name in names.yaml"},
		"two properties for one field": {func(d map[string]any) {
			setProperty(d, "FolderItem", "$type", `{"type":"string"}`)
			setProperty(d, "FolderItem", "type", `{"type":"string"}`)
		}, "FolderItem has the properties $type and type, which are the same field in Go"},
		"recursive list": {func(d map[string]any) {
			setSchema(d, "A", `{"type":"array","items":{"$ref":"#/components/schemas/A"}}`)
			setProperty(d, "FolderItem", "a", `{"$ref":"#/components/schemas/A"}`)
		}, "in a cycle"},
		"recursive allOf": {func(d map[string]any) {
			setSchema(d, "A", `{"allOf":[{"$ref":"#/components/schemas/B"}]}`)
			setSchema(d, "B", `{"allOf":[{"$ref":"#/components/schemas/A"}]}`)
			setProperty(d, "FolderItem", "a", `{"$ref":"#/components/schemas/A"}`)
		}, "in a cycle"},
	} {
		t.Run(name, func(t *testing.T) {
			document, _, err := published(t, tt.change)
			if err == nil {
				_, _, err = goOf(t, document)
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

// The comment of a field has the document's limits.
func TestLimitsInComments(t *testing.T) {
	document := small(t)
	setProperty(document, "Generation", "createdBy", `{"type":"string","readOnly":true,"maxLength":9}`)
	at(document, "components", "schemas", "Generation")["required"] = []any{"inputText", "createdBy"}
	code, _, err := generate(t.Context(), root, document)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"// CreatedBy Set by the server.\n\tCreatedBy string `json:\"createdBy,omitempty\"`\n",
		"// InputText Words to start from. Required, 1 to 400000 characters.\n",
		"// Style At most 500 characters.\n",
		"// NumCards At least 1.\n",
		"// Limit 1 to 50.\n",
		"// FolderIDs At most 10 elements. Gamma's newer documents allow one folder",
		"// ImageOptions How to illustrate\n",
		"// GenerationID Which one.\n",
	} {
		if !bytes.Contains(code, []byte(want)) {
			t.Errorf("no %q", want)
		}
	}
}
