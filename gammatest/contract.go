package gammatest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/internal/test/sample"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
)

// contract validates requests and responses against an OpenAPI document.
type contract struct {
	router  routers.Router
	options *openapi3filter.Options
	sample  *sample.Document

	operations string // all of them, for an error
}

// published is the document of the SDK.
var published = sync.OnceValue(func() *contract {
	c, err := parse(gamma.OpenAPI())
	if err != nil {
		panic(err) // a test validates the document
	}
	return c
})

func parse(document []byte) (*contract, error) {
	var root any
	if err := json.Unmarshal(document, &root); err != nil {
		return nil, err
	}
	loosen(root)
	values, err := json.Marshal(root) // with the enumerations, for responses made up
	if err != nil {
		return nil, err
	}
	openRequests(root, root)
	rules, err := json.Marshal(root)
	if err != nil {
		return nil, err
	}
	doc, err := openapi3.NewLoader().LoadFromData(rules)
	if err != nil {
		return nil, err
	}
	doc.Servers = nil // the fake takes the place of all of them
	// Examples are not used here, so a wrong one does no harm.
	router, err := legacy.NewRouter(doc, openapi3.DisableExamplesValidation())
	if err != nil {
		return nil, err
	}
	options := &openapi3filter.Options{
		IncludeResponseStatus: true,
		MultiError:            true,
		SkipSettingDefaults:   true,
		// A missing key is not a violation: the API responds to it with a status.
		AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
	}
	var operations []string
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			operations = append(operations, method+" "+path)
		}
	}
	slices.SortFunc(operations, func(a, b string) int {
		return cmp.Compare(a[strings.IndexByte(a, ' '):], b[strings.IndexByte(b, ' '):])
	})
	return &contract{router, options, sample.New(values), strings.Join(operations, ", ")}, nil
}

// loosen removes the rules that the fake does not enforce from all schemas in at.
func loosen(at any) {
	switch at := at.(type) {
	case map[string]any:
		properties, _ := at["properties"].(map[string]any)
		// Public logs show "warnings": null, where the document has a string.
		required, _ := at["required"].([]any)
		if warnings := properties["warnings"]; warnings != nil && !slices.Contains(required, "warnings") {
			properties["warnings"] = map[string]any{"nullable": true, "allOf": []any{warnings}}
		}
		// null among the values means that it is one.
		if values, _ := at["enum"].([]any); slices.Contains(values, nil) {
			at["nullable"] = true
		}
		// The syntax of a pattern is not Go's.
		if pattern, ok := at["pattern"].(string); ok {
			if _, err := regexp.Compile(pattern); err != nil {
				delete(at, "pattern")
			}
		}
		for _, v := range at {
			loosen(v)
		}
	case []any:
		for _, v := range at {
			loosen(v)
		}
	}
}

// openRequests removes the enumerations of all requests in at, which is in root: Gamma
// accepts new values before its document has them, and the client sends them.
func openRequests(root, at any) {
	switch at := at.(type) {
	case map[string]any:
		for _, key := range []string{"requestBody", "parameters"} {
			openEnums(root, at[key], map[string]bool{})
		}
		for _, v := range at {
			openRequests(root, v)
		}
	case []any:
		for _, v := range at {
			openRequests(root, v)
		}
	}
}

// openEnums removes all enumerations in at, and in the schemas that it refers to. seen has
// the references on the way.
func openEnums(root, at any, seen map[string]bool) {
	switch at := at.(type) {
	case map[string]any:
		if _, ok := at["enum"].([]any); ok {
			delete(at, "enum")
		}
		if ref, ok := at["$ref"].(string); ok && !seen[ref] {
			seen[ref] = true
			target := root
			for name := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
				object, _ := target.(map[string]any)
				target = object[name]
			}
			openEnums(root, target, seen)
		}
		for _, v := range at {
			openEnums(root, v, seen)
		}
	case []any:
		for _, v := range at {
			openEnums(root, v, seen)
		}
	}
}

// call is a request that the contract knows.
type call struct {
	route     *routers.Route
	document  sample.Operation
	operation string // its operationId in camelCase
	id        string // the path parameter, whatever its name is
	input     *openapi3filter.RequestValidationInput
}

// complete returns the body of a success with all that the document requires, and without
// null where the document does not allow it.
func (c *contract) complete(to call, body []byte) []byte {
	schema := c.sample.Flat(to.document.Response)
	var v any
	if json.Unmarshal(body, &v) != nil {
		return body
	}
	v = c.sample.Complete(schema, sample.Mode{Response: true}, v)
	if object, ok := v.(map[string]any); ok {
		properties, _ := schema["properties"].(map[string]any)
		for name, value := range object {
			property, _ := properties[name].(map[string]any)
			if property != nil && value == nil && c.sample.Flat(property)["nullable"] != true {
				delete(object, name)
			}
		}
	}
	complete, _ := json.Marshal(v)
	return complete
}

// warning returns text with the type of warnings in the document: a string, or a list in the
// vendor's newer operations.
func (c *contract) warning(to call, text string) any {
	properties, _ := c.sample.Flat(to.document.Response)["properties"].(map[string]any)
	warnings, _ := properties["warnings"].(map[string]any)
	if sample.Kind(c.sample.Flat(warnings)) == "array" {
		return []string{text}
	}
	return text
}

// derived returns a success made up from the document.
func (c *contract) derived(to call) response {
	o := to.document
	rsp := response{status: o.Status, contentType: o.ResponseType}
	v := c.sample.Value(o.Response, sample.Mode{Response: true})
	switch {
	case o.ResponseType == "":
	case sample.IsJSON(o.ResponseType):
		rsp.body, _ = json.Marshal(v)
	default:
		rsp.body = fmt.Append(nil, v)
		rsp.fault = true // few content types can be validated
	}
	return rsp
}

// camelCase returns an operationId in camelCase, as the document has it. "ListThemes" and
// "list_themes" have the same name in Go.
func camelCase(operationID string) string {
	words := strings.FieldsFunc(operationID, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	for i, word := range words {
		first := strings.ToUpper(word[:1])
		if i == 0 {
			first = strings.ToLower(first)
		}
		words[i] = first + word[1:]
	}
	return strings.Join(words, "")
}

// request returns the call that r makes, or how r violates the document.
func (c *contract) request(r *http.Request) (call, error) {
	route, params, err := c.router.FindRoute(r)
	if err != nil {
		return call{}, errors.New("no such operation; the OpenAPI document has " + c.operations)
	}
	// The router accepts slashes at the end and empty parameters.
	path, id := route.Path, ""
	for name, value := range params {
		if value == "" {
			return call{}, fmt.Errorf("path parameter %q is empty", name)
		}
		path = strings.Replace(path, "{"+name+"}", value, 1)
		id = value // no operation that is known here has two
	}
	if path != r.URL.Path {
		return call{}, fmt.Errorf("the path is not exactly that of %s", route.Path)
	}
	for name := range r.URL.Query() {
		if route.Operation.Parameters.GetByInAndName("query", name) == nil && route.PathItem.Parameters.GetByInAndName("query", name) == nil {
			return call{}, fmt.Errorf("query parameter %q is not documented", name)
		}
	}
	if route.Operation.RequestBody == nil && r.Body != nil && r.Body != http.NoBody {
		return call{}, errors.New("a request body is not documented")
	}
	input := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route, Options: c.options}
	if err := openapi3filter.ValidateRequest(r.Context(), input); err != nil {
		return call{}, explain(err)
	}
	document, _ := c.sample.At(route.Method, route.Path)
	return call{route, document, camelCase(route.Operation.OperationID), id, input}, nil
}

// response returns how rsp violates the document, nil if it does not.
func (c *contract) response(to call, rsp response) error {
	responses := to.route.Operation.Responses
	// The API's documentation has errors for all operations. The document has only some.
	if rsp.status >= 400 && responses.Status(rsp.status) == nil {
		return nil
	}
	err := openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: to.input,
		Status:                 rsp.status,
		Header:                 http.Header{"Content-Type": {rsp.contentType}},
		Body:                   io.NopCloser(bytes.NewReader(rsp.body)),
		Options:                c.options,
	})
	return explain(err)
}
