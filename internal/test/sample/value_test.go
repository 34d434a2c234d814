package sample_test

import (
	"encoding/json"
	"errors"
	"regexp"
	"testing"

	"github.com/gamma-sdk/gamma-go/internal/test/sample"
)

func TestValue(t *testing.T) {
	d := document("")
	for _, tt := range []struct{ name, schema, request, response, full string }{
		{name: "string", schema: `{"type":"string"}`, request: `"string"`},
		{name: "no type", schema: `{}`, request: `"string"`},
		{name: "number", schema: `{"type":"number"}`, request: `1`},
		{name: "boolean", schema: `{"type":"boolean"}`, request: `true`},
		{name: "a list of types", schema: `{"type":["null","integer"]}`, request: `1`},
		{name: "constant", schema: `{"const":"x"}`, request: `"x"`},
		{name: "enum", schema: `{"type":"string","enum":["b","a"]}`, request: `"b"`},
		{name: "enum with null", schema: `{"type":"string","nullable":true,"enum":[null,"a"]}`, request: `"a"`},
		{name: "enum of numbers", schema: `{"type":"integer","enum":[7]}`, request: `7`},
		{name: "reference", schema: `{"$ref":"#/components/schemas/Kind"}`, request: `"big"`},
		{name: "reference to a reference", schema: `{"$ref":"#/components/schemas/Chain"}`, request: `"big"`},
		{name: "reference with a slash", schema: `{"$ref":"#/components/schemas/a~1b"}`, request: `1`},
		{name: "reference to itself", schema: `{"$ref":"#/components/schemas/Circle"}`, request: `"string"`},
		{name: "reference to nothing", schema: `{"$ref":"#/components/schemas/Nothing"}`, request: `"string"`},
		{name: "nullable by allOf", schema: `{"nullable":true,"allOf":[{"$ref":"#/components/schemas/Kind"}]}`, request: `"big"`},
		{name: "short", schema: `{"type":"string","maxLength":3}`, request: `"str"`},
		{name: "long", schema: `{"type":"string","minLength":8}`, request: `"stringxx"`},
		{name: "e-mail", schema: `{"type":"string","format":"email"}`, request: `"a@example.com"`},
		{name: "an unknown format", schema: `{"type":"string","format":"color"}`, request: `"string"`},
		{name: "pattern with an example", schema: `{"type":"string","pattern":"^g_[0-9]+$","example":"g_12"}`, request: `"g_12"`},
		{name: "pattern with an example that does not fit", schema: `{"type":"string","pattern":"^g_[0-9a-f]{3}$","example":"x"}`, request: `"g_aaa"`},
		{name: "pattern that Go does not know", schema: `{"type":"string","pattern":"^(?!x)[a-z]+$","example":"tea"}`, request: `"tea"`},
		{name: "minimum", schema: `{"type":"number","minimum":2.5}`, request: `3`},
		{name: "above a minimum", schema: `{"type":"integer","minimum":3,"exclusiveMinimum":true}`, request: `4`},
		{name: "above a minimum of OpenAPI 3.1", schema: `{"type":"integer","exclusiveMinimum":3}`, request: `4`},
		{name: "maximum", schema: `{"type":"number","maximum":-5}`, request: `-5`},
		{name: "below a maximum", schema: `{"type":"integer","maximum":1,"exclusiveMaximum":true}`, request: `0`},
		{name: "fraction", schema: `{"type":"number","minimum":0,"maximum":1,"exclusiveMaximum":true}`, request: `0.5`},
		{name: "multiple", schema: `{"type":"integer","minimum":7,"multipleOf":5}`, request: `10`},
		{name: "array", schema: `{"type":"array","items":{"type":"integer"}}`, request: `[1]`},
		{name: "array of two", schema: `{"type":"array","minItems":2,"items":{"type":"integer"}}`, request: `[1,1]`},
		{name: "array of none", schema: `{"type":"array","maxItems":0,"items":{"type":"integer"}}`, request: `[]`},
		{name: "different numbers", schema: `{"type":"array","minItems":2,"uniqueItems":true,"items":{"type":"integer"}}`, request: `[1,2]`},
		{name: "different values", schema: `{"type":"array","minItems":2,"uniqueItems":true,"items":{"$ref":"#/components/schemas/Kind"}}`, request: `["big","small"]`},
		{
			name: "required and optional", schema: `{"$ref":"#/components/schemas/Named"}`,
			request: `{"name":"string"}`, full: `{"name":"string","note":"string"}`,
		},
		{
			name:    "allOf",
			schema:  `{"allOf":[{"$ref":"#/components/schemas/Named"},{"properties":{"size":{"type":"integer"},"name":{"maxLength":2}},"required":["size"]}]}`,
			request: `{"name":"st","size":1}`, full: `{"name":"st","note":"string","size":1}`,
		},
		{name: "oneOf", schema: `{"oneOf":[{"type":"null"},{"type":"integer"},{"type":"string"}]}`, request: `1`},
		{name: "anyOf", schema: `{"anyOf":[{"$ref":"#/components/schemas/Kind"},{"type":"integer"}]}`, request: `"big"`},
		{
			name:    "readOnly and writeOnly",
			schema:  `{"type":"object","required":["id","key","by"],"properties":{"id":{"type":"string","readOnly":true},"by":{"readOnly":true,"allOf":[{"$ref":"#/components/schemas/Kind"}]},"key":{"type":"string","writeOnly":true}}}`,
			request: `{"key":"string"}`, response: `{"by":"big","id":"string"}`,
		},
		{name: "map", schema: `{"type":"object","additionalProperties":{"type":"integer"}}`, request: `{}`, full: `{"key1":1}`},
		{name: "map of two", schema: `{"minProperties":2,"additionalProperties":{"type":"integer"}}`, request: `{"key1":1,"key2":1}`},
		{name: "required without a schema", schema: `{"type":"object","required":["x"]}`, request: `{"x":"string"}`},
		{name: "tree", schema: `{"$ref":"#/components/schemas/Node"}`, request: `{"id":"string"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s sample.Schema
			if err := json.Unmarshal([]byte(tt.schema), &s); err != nil {
				t.Fatal(err)
			}
			for want, m := range map[string]sample.Mode{tt.request: {}, tt.response: {Response: true}, tt.full: {Full: true}} {
				if got, err := json.Marshal(d.Value(s, m)); want != "" && (string(got) != want || err != nil) {
					t.Errorf("%+v: %s %v, want %s", m, got, err, want)
				}
			}
		})
	}
}

func TestPatterns(t *testing.T) {
	for _, pattern := range []string{`^[0-9a-f]{24}$`, `^(gen|gamma)_\w+$`, `^[^/]+$`, `^#(?:[0-9A-F]{3}){1,2}$`, `^.+@.+$`, `^https?://`, `[^a-z0A\-_]`, `^\d{4}-\d{2}?$`} {
		v, _ := document("").Value(sample.Schema{"type": "string", "pattern": pattern}, sample.Mode{}).(string)
		if !regexp.MustCompile(pattern).MatchString(v) {
			t.Errorf("%q does not match %s", v, pattern)
		}
	}
}

// A value for a recursive schema is finite, with every property too.
func TestRecursiveSchemas(t *testing.T) {
	for _, name := range []string{"Node", "Endless"} {
		data, err := json.Marshal(document("").Value(sample.Schema{"$ref": "#/components/schemas/" + name}, sample.Mode{Full: true}))
		if err != nil || len(data) < 20 || len(data) > 10000 {
			t.Errorf("%s: %d bytes, %v", name, len(data), err)
		}
	}
}

func TestComplete(t *testing.T) {
	d := document("")
	const schema = `{"type":"object","required":["a","n","e","id"],"properties":{
		"a":{"type":"string"},"n":{"type":"integer","minimum":1},"e":{"type":"string","nullable":true},"id":{"type":"string","readOnly":true},
		"in":{"$ref":"#/components/schemas/Named"},"all":{"type":"array","items":{"$ref":"#/components/schemas/Named"}}}}`
	for v, want := range map[string]string{
		`{}`:                             `{"a":"string","e":"string","n":1}`,
		`{"a":"","n":0,"e":null}`:        `{"a":"string","e":null,"n":1}`,
		`{"a":"x","n":7,"e":"y","z":0}`:  `{"a":"x","e":"y","n":7,"z":0}`,
		`{"in":{"note":"x"},"all":[{}]}`: `{"a":"string","all":[{"name":"string"}],"e":"string","in":{"name":"string","note":"x"},"n":1}`,
		`7`:                              `7`,
	} {
		var s sample.Schema
		var old any
		if err := errors.Join(json.Unmarshal([]byte(schema), &s), json.Unmarshal([]byte(v), &old)); err != nil {
			t.Fatal(err)
		}
		if got, _ := json.Marshal(d.Complete(s, sample.Mode{}, old)); string(got) != want {
			t.Errorf("%s is %s, want %s", v, got, want)
		}
	}
}
