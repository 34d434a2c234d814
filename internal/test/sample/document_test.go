package sample_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/gamma-sdk/gamma-go/internal/test/sample"
)

// schemas are the components of the documents in these tests.
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
