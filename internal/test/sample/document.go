// Package sample makes up valid requests and responses of an OpenAPI document. With
// it, a test names no operation, field or value that the next document may lack.
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

// Schema is a schema as JSON decodes it. It is not to be changed.
type Schema = map[string]any

// Document is an OpenAPI document in JSON, made by [New]. It is safe for concurrent
// use.
type Document struct {
	// Operations are those of the document, by path and method.
	Operations []Operation

	root map[string]any
}

// Operation is one operation of a [Document].
type Operation struct {
	ID     string
	Method string // in capitals
	Path   string // the template

	// Parameters are those of the path, in its order, then all others.
	Parameters []Parameter

	// BodyType is the content type of a request, JSON where there is a choice. It is
	// empty for an operation without a body.
	BodyType string
	Body     Schema

	// Statuses are those that the document has by their numbers, in order.
	Statuses []int

	// Status is the first of success, 200 where the document has none.
	Status int

	// ResponseType is the content type of Status, JSON where there is a choice. It is
	// empty for a response without a body.
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

// New returns the document, or panics where it is not JSON.
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

// Operation returns the operation with an operationId, the zero Operation where there
// is none. Neither case nor punctuation counts, as they do not in the names of Go.
func (d *Document) Operation(id string) (o Operation, ok bool) {
	i := slices.IndexFunc(d.Operations, func(o Operation) bool { return o.ID != "" && plain(o.ID) == plain(id) })
	if i < 0 {
		return o, false
	}
	return d.Operations[i], true
}

// At returns the operation of a method and a path template.
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

// place sorts the parameters of a path before all others.
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

// follow returns what a $ref refers to, at the end of a chain of them.
func (d *Document) follow(v any) map[string]any {
	o := object(v)
	for range 100 { // longer is a circle
		ref, ok := o["$ref"].(string)
		if !ok {
			return o
		}
		o = d.lookup(ref)
	}
	return nil
}

// lookup returns what a JSON pointer in a $ref points to.
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

// plain is what spellings of one name have in common.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(name))
}
