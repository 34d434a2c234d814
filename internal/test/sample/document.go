// Package sample makes valid requests and responses from an OpenAPI document, so that tests
// need not name operations, fields or values that another document may lack.
package sample

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Schema is a schema as JSON decodes it. It must not be changed.
type Schema = map[string]any

// Document is an OpenAPI document in JSON. Use [New]. It is safe for concurrent use.
type Document struct {
	// Operations are sorted by path and method.
	Operations []Operation

	root map[string]any
}

// Operation is an operation of a [Document].
type Operation struct {
	ID     string
	Method string // in capitals
	Path   string // a template

	// Parameters are those of the path, in its order, then the others.
	Parameters []Parameter

	// BodyType is the content type of a request, JSON if there are several. It is empty
	// for an operation without a body.
	BodyType string
	Body     Schema

	// Statuses are the documented status codes, sorted.
	Statuses []int

	// Status is the first 2xx status code; the default is 200.
	Status int

	// ResponseType is the content type of the response with Status, JSON if there are
	// several. It is empty for a response without a body.
	ResponseType string
	Response     Schema
}

// Parameter is a parameter of an [Operation].
type Parameter struct {
	Name     string
	In       string // path, query, header or cookie
	Required bool
	Schema   Schema
}

// New parses a document. It panics if it is not JSON.
func New(document []byte) *Document {
	d := new(Document)
	if err := json.Unmarshal(document, &d.root); err != nil {
		panic("sample: the document: " + err.Error())
	}
	for path, item := range object(d.root["paths"]) {
		item := d.follow(item)
		for method, raw := range item {
			method = strings.ToUpper(method)
			if operation, ok := raw.(map[string]any); ok && slices.Contains(methods, method) {
				d.Operations = append(d.Operations, d.operation(method, path, item, operation))
			}
		}
	}
	slices.SortFunc(d.Operations, func(a, b Operation) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Method, b.Method))
	})
	return d
}

var methods = []string{
	http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete,
	http.MethodOptions, http.MethodHead, http.MethodPatch, http.MethodTrace,
}

// Operation returns the operation with an operationId, ignoring case and punctuation as the
// names in Go do. ok is false if there is none.
func (d *Document) Operation(id string) (o Operation, ok bool) {
	i := slices.IndexFunc(d.Operations, func(o Operation) bool { return o.ID != "" && plain(o.ID) == plain(id) })
	if i < 0 {
		return o, false
	}
	return d.Operations[i], true
}

// At returns the operation with a method and a path template. ok is false if there is none.
func (d *Document) At(method, path string) (o Operation, ok bool) {
	i := slices.IndexFunc(d.Operations, func(o Operation) bool { return o.Method == method && o.Path == path })
	if i < 0 {
		return o, false
	}
	return d.Operations[i], true
}

func (d *Document) operation(method, path string, item, raw map[string]any) Operation {
	o := Operation{ID: text(raw["operationId"]), Method: method, Path: path, Status: http.StatusOK}
	for _, list := range []any{raw["parameters"], item["parameters"]} {
		for _, p := range array(list) {
			p := d.follow(p)
			parameter := Parameter{Name: text(p["name"]), In: text(p["in"]), Schema: object(p["schema"])}
			parameter.Required, _ = p["required"].(bool)
			if parameter.Schema == nil {
				_, parameter.Schema = content(p)
			}
			if !slices.ContainsFunc(o.Parameters, func(q Parameter) bool { return q.Name == parameter.Name && q.In == parameter.In }) {
				o.Parameters = append(o.Parameters, parameter)
			}
		}
	}
	slices.SortStableFunc(o.Parameters, func(a, b Parameter) int { return cmp.Compare(place(path, a), place(path, b)) })
	o.BodyType, o.Body = content(d.follow(raw["requestBody"]))
	responses := object(raw["responses"])
	for status := range responses {
		if n, err := strconv.Atoi(status); err == nil {
			o.Statuses = append(o.Statuses, n)
		}
	}
	slices.Sort(o.Statuses)
	success := []string{"2XX", "default"}
	if i := slices.IndexFunc(o.Statuses, func(n int) bool { return n/100 == 2 }); i >= 0 {
		o.Status = o.Statuses[i]
		success = []string{strconv.Itoa(o.Status)}
	}
	for _, status := range success {
		if response := d.follow(responses[status]); response != nil {
			o.ResponseType, o.Response = content(response)
			break
		}
	}
	return o
}

// place returns the sort key of a parameter: those of the path come first.
func place(path string, p Parameter) int {
	if p.In != "path" {
		return len(path)
	}
	return strings.Index(path, "{"+p.Name+"}")
}

// content returns the content type of a body and its schema.
func content(body map[string]any) (mediaType string, schema Schema) {
	all := object(body["content"])
	for name := range all {
		if mediaType == "" || IsJSON(name) && !IsJSON(mediaType) || IsJSON(name) == IsJSON(mediaType) && name < mediaType {
			mediaType = name
		}
	}
	return mediaType, object(object(all[mediaType])["schema"])
}

// IsJSON reports whether a content type is that of JSON.
func IsJSON(mediaType string) bool {
	mediaType, _, _ = strings.Cut(mediaType, ";")
	return mediaType == "application/json" || strings.HasSuffix(mediaType, "+json")
}

// follow resolves v if it is a $ref, also to another $ref.
func (d *Document) follow(v any) map[string]any {
	o := object(v)
	for range 100 { // more are a cycle
		ref, ok := o["$ref"].(string)
		if !ok {
			return o
		}
		o = d.lookup(ref)
	}
	return nil
}

// lookup returns the target of the JSON pointer in a $ref.
func (d *Document) lookup(ref string) map[string]any {
	pointer, _ := url.PathUnescape(strings.TrimPrefix(ref, "#"))
	at := d.root
	for name := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		at = object(at[strings.NewReplacer("~1", "/", "~0", "~").Replace(name)])
	}
	return at
}

func object(v any) map[string]any { o, _ := v.(map[string]any); return o }

func array(v any) []any { a, _ := v.([]any); return a }

func text(v any) string { s, _ := v.(string); return s }

// plain returns name in lower case and without punctuation.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(name))
}
