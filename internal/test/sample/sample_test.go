package sample_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/test/sample"
)

// schemas are what the schemas of the tests refer to.
const schemas = `{
	"Kind":   {"type":"string","enum":["big","small"]},
	"Named":  {"type":"object","properties":{"name":{"type":"string"},"note":{"type":"string"}},"required":["name"]},
	"Chain":  {"$ref":"#/components/schemas/Kind"},
	"Circle": {"$ref":"#/components/schemas/Circle"},
	"Node":   {"type":"object","properties":{"id":{"type":"string"},"children":{"type":"array","items":{"$ref":"#/components/schemas/Node"}},"next":{"$ref":"#/components/schemas/Node"}},"required":["id"]},
	"Endless":{"type":"object","properties":{"next":{"$ref":"#/components/schemas/Endless"}},"required":["next"]},
	"a/b":    {"type":"integer"}
}`

func document(paths string) *sample.Document {
	return sample.New([]byte(`{"paths":{` + paths + `},"components":{"schemas":` + schemas + `}}`))
}

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

// Every property of a schema that has itself for a property ends somewhere.
func TestCircles(t *testing.T) {
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

const operations = `
	"/b/{id}/{key}": {
		"parameters": [{"name":"key","in":"path","required":true,"schema":{"type":"string"}},{"name":"id","in":"path","required":true,"schema":{"type":"integer"}}],
		"get": {"operationId":"get_b","parameters":[
			{"name":"limit","in":"query","schema":{"type":"integer"}},
			{"name":"tags","in":"query","required":true,"schema":{"type":"array","items":{"type":"string"},"minItems":2}},
			{"name":"X-Version","in":"header","required":true,"schema":{"type":"string","enum":["v1"]}}],
			"responses":{"404":{"description":"x"},"202":{"description":"x","content":{"text/plain":{},"application/json":{"schema":{"type":"boolean"}}}}}}
	},
	"/a": {
		"post": {"operationId":"make","requestBody":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/Named"}}}},"responses":{"default":{"description":"x","content":{"text/plain":{"schema":{"type":"string"}}}}}},
		"patch": {"operationId":"patchForm","requestBody":{"content":{"application/x-www-form-urlencoded":{"schema":{"type":"object","required":["tags"],"properties":{"tags":{"type":"array","minItems":2,"items":{"type":"string"}}}}}}},"responses":{"204":{"description":"x"}}},
		"delete": {"operationId":"deleteForm","requestBody":{"content":{"application/x-www-form-urlencoded":{"schema":{"type":"object","properties":{"note":{"type":"string"}}}}}},"responses":{"204":{"description":"x"}}},
		"put": {"operationId":"putRaw","requestBody":{"content":{"text/plain":{"schema":{"type":"string"}}}},"responses":{"204":{"description":"x"}}},
		"description": "x"
	}`

func TestOperations(t *testing.T) {
	var got []string
	for _, o := range document(operations).Operations {
		var names []string
		for _, p := range o.Parameters {
			names = append(names, p.In+" "+p.Name)
		}
		got = append(got, fmt.Sprint(o.ID, " ", o.Method, " ", o.Path, " ", names, " ", o.BodyType, " ", o.Statuses, " ", o.Status, " ", o.ResponseType, " ", o.Response["type"]))
	}
	want := []string{
		"deleteForm DELETE /a [] application/x-www-form-urlencoded [204] 204  <nil>",
		"patchForm PATCH /a [] application/x-www-form-urlencoded [204] 204  <nil>",
		"make POST /a [] application/json [] 200 text/plain string",
		"putRaw PUT /a [] text/plain [204] 204  <nil>",
		"get_b GET /b/{id}/{key} [path id path key query limit query tags header X-Version]  [202 404] 202 application/json boolean",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s\nwant %s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestNewRequest(t *testing.T) {
	d := document(operations)
	for id, want := range map[string]string{
		"getB":       `GET https://x/b/1/a%20b?tags=string&tags=string X-Version=v1 `,
		"make":       `POST https://x/a Content-Type=application/json {"name":"string"}`,
		"patchForm":  `PATCH https://x/a Content-Type=application/x-www-form-urlencoded tags=string&tags=string`,
		"deleteForm": `DELETE https://x/a Content-Type=application/x-www-form-urlencoded note=string`,
		"PutRaw":     `PUT https://x/a Content-Type=text/plain string`,
	} {
		o, ok := d.Operation(id)
		r, err := d.NewRequest(t.Context(), "https://x", o, sample.Mode{}, map[string]any{"key": "a b"})
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		got := r.Method + " " + r.URL.String()
		for name, values := range r.Header {
			got += " " + name + "=" + strings.Join(values, ",")
		}
		var body []byte
		if r.Body != nil {
			body, _ = io.ReadAll(r.Body)
		}
		if got += " " + string(body); got != want {
			t.Errorf("%s is\n%s, want\n%s", id, got, want)
		}
	}
}

// client has methods as oapi-codegen makes them.
type client struct{ got string }

type params struct {
	Limit   int      `json:"limit,omitempty"`
	Tags    []string `json:"tags"`
	Version string   `json:"X-Version"`
}

type rsp struct{}

func (c *client) GetBWithResponse(_ context.Context, id int, key string, p *params, _ ...int) (*rsp, error) {
	c.got = fmt.Sprintf("%d %s %+v", id, key, *p)
	return nil, errors.New("none")
}

func (c *client) MakeWithBodyWithResponse(context.Context, string, io.Reader, ...int) (*rsp, error) {
	panic("there is a better one")
}

func (c *client) MakeWithResponse(_ context.Context, body struct{ Name, Note string }, _ ...int) (*rsp, error) {
	c.got = fmt.Sprintf("%+v", body)
	return &rsp{}, nil
}

func (c *client) PutRawWithBodyWithResponse(_ context.Context, contentType string, body io.Reader, _ ...int) (*rsp, error) {
	data, err := io.ReadAll(body)
	c.got = fmt.Sprintf("%s %s", contentType, data)
	return &rsp{}, err
}

func (c *client) PutRaw(_ context.Context, contentType string, body io.Reader) error {
	_, err := c.PutRawWithBodyWithResponse(context.Background(), contentType, body)
	return err
}

func (c *client) PatchFormWithBodyWithResponse(_ context.Context, contentType string, body io.Reader, _ ...int) (*rsp, error) {
	return c.PutRawWithBodyWithResponse(context.Background(), contentType, body)
}

func (c *client) PatchForm(_ context.Context, body struct{ Tags []string }) error {
	c.got = fmt.Sprintf("%+v", body)
	return nil
}

func TestCall(t *testing.T) {
	d := document(operations)
	for id, want := range map[string]string{
		"get_b":     "<nil> none: 7 string {Limit:0 Tags:[string string] Version:v1}",
		"make":      "&{} <nil>: {Name:string Note:}",
		"putRaw":    "&{} <nil>: text/plain string",
		"patchForm": "&{} <nil>: application/x-www-form-urlencoded tags=string&tags=string",
	} {
		var c client
		o, _ := d.Operation(id)
		rsp, err := d.Call(t.Context(), &c, o, sample.Mode{}, map[string]any{"id": 7})
		if got := fmt.Sprintf("%v %v: %s", rsp, err, c.got); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
	for id, want := range map[string]string{"putRaw": "text/plain string", "patchForm": "{Tags:[string string]}"} {
		var c client
		o, _ := d.Operation(id)
		if model, err := d.Model(t.Context(), &c, o, sample.Mode{}, nil); model != nil || err != nil || c.got != want {
			t.Errorf("%s: %v %v: %s, want %s", id, model, err, c.got, want)
		}
	}
	o, _ := d.Operation("make")
	if _, err := d.Call(t.Context(), struct{}{}, o, sample.Mode{}, nil); err == nil {
		t.Error("called a method that is not there")
	}
	o.BodyType = ""
	if _, err := d.Call(t.Context(), &client{}, o, sample.Mode{}, nil); err == nil {
		t.Error("called a method with too few arguments")
	}
}

// What the document requires is there, and what the caller has set stays.
func TestRequest(t *testing.T) {
	d := sample.New(gamma.OpenAPI())
	request := sample.Request(d, "createFromTemplateGeneration", api.TemplateGenerationRequest{Prompt: "tea"})
	if request.Prompt != "tea" || request.GammaID == "" {
		t.Errorf("%+v", request)
	}
	defer func() {
		if recover() == nil {
			t.Error("an operation that is not there has a request")
		}
	}()
	sample.Request(d, "nothing", request)
}
