package gammatest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"unicode"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"github.com/gamma-sdk/gamma-go"
)

// contract holds requests and answers to an OpenAPI document.
type contract struct {
	router     routers.Router
	options    *openapi3filter.Options
	operations map[string]bool // by operationId in camelCase
}

// published is the document of the SDK.
var published = sync.OnceValue(func() *contract {
	c, err := parse(gamma.OpenAPI())
	if err != nil {
		panic(err) // a test of the SDK holds the document to its schema
	}
	return c
})

func parse(document []byte) (*contract, error) {
	doc, err := openapi3.NewLoader().LoadFromData(document)
	if err != nil {
		return nil, err
	}
	doc.Servers = nil // it stands in for all of them
	if doc.Components != nil {
		if models := doc.Components.Schemas["ImageModel"]; models != nil {
			models.Value.Enum = nil // new models come faster than new documents
		}
	}
	// Nothing is held to an example, so a wrong one does no harm.
	router, err := legacy.NewRouter(doc, openapi3.DisableExamplesValidation())
	if err != nil {
		return nil, err
	}
	operations := make(map[string]bool)
	for _, item := range doc.Paths.Map() {
		for _, operation := range item.Operations() {
			if operation.OperationID != "" {
				operations[camelCase(operation.OperationID)] = true
			}
		}
	}
	options := &openapi3filter.Options{
		IncludeResponseStatus: true,
		MultiError:            true,
		SkipSettingDefaults:   true,
		// A missing key is not a violation: the document says what it is answered.
		AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
	}
	options.WithCustomSchemaErrorFunc(func(err *openapi3.SchemaError) string {
		text := err.Reason
		if at := err.JSONPointer(); len(at) > 0 {
			text = "/" + strings.Join(at, "/") + ": " + text
		}
		if err.Origin != nil {
			text += ": " + err.Origin.Error()
		}
		return text
	})
	return &contract{router, options, operations}, nil
}

// call is a request that the contract knows.
type call struct {
	route     *routers.Route
	operation string // in camelCase
	id        string // the path parameter, whatever its name is
	input     *openapi3filter.RequestValidationInput
}

// success returns the first status of success that the document has for c.
func (c call) success() int {
	for status := http.StatusOK; status < 300; status++ {
		if c.route.Operation.Responses.Status(status) != nil {
			return status
		}
	}
	return http.StatusOK
}

// camelCase returns an operationId as the document spells them today. The SDK
// compiles with "ListThemes" and "list_themes" too, which have the same name in Go.
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

// request reports how r breaks the contract.
func (c *contract) request(r *http.Request) (call, error) {
	route, params, err := c.router.FindRoute(r)
	if err != nil {
		return call{}, fmt.Errorf("no such operation: %w", err)
	}
	// The router is generous with slashes at the end, and with empty parameters.
	path, id := route.Path, ""
	for name, value := range params {
		if value == "" {
			return call{}, fmt.Errorf("parameter %q in path is empty", name)
		}
		path = strings.Replace(path, "{"+name+"}", value, 1)
		id = value // no operation that the stand-in knows has two
	}
	if path != r.URL.Path {
		return call{}, fmt.Errorf("the path is not exactly that of %s", route.Path)
	}
	for name := range r.URL.Query() {
		if route.Operation.Parameters.GetByInAndName("query", name) == nil && route.PathItem.Parameters.GetByInAndName("query", name) == nil {
			return call{}, fmt.Errorf("parameter %q in query is not documented", name)
		}
	}
	if route.Operation.RequestBody == nil && r.Body != nil && r.Body != http.NoBody {
		return call{}, errors.New("a request body is not documented")
	}
	input := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route, Options: c.options}
	if err := openapi3filter.ValidateRequest(r.Context(), input); err != nil {
		return call{}, oneLine(err)
	}
	return call{route, camelCase(route.Operation.OperationID), id, input}, nil
}

// response reports how the answer a breaks the contract.
func (c *contract) response(to call, a answer) error {
	responses := to.route.Operation.Responses
	// The API's documentation lists errors for all operations, in prose; the document
	// has some of them, and not the same for each operation.
	if a.status >= 400 && responses.Status(a.status) == nil {
		return nil
	}
	err := openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: to.input,
		Status:                 a.status,
		Header:                 http.Header{"Content-Type": {a.contentType}},
		Body:                   io.NopCloser(bytes.NewReader(a.body)),
		Options:                c.options,
	})
	return oneLine(err)
}

func oneLine(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' }), "; "))
}
