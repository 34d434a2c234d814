package gammatest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
)

// explain returns err, from the validation of a request or a response, in one line: the
// header, parameter or field, and the rule of the OpenAPI document.
func explain(err error) error {
	if err == nil {
		return nil
	}
	text := strings.Join(violations(err), "; ")
	return errors.New(strings.Join(strings.Fields(text), " "))
}

func violations(err error) (all []string) {
	switch e := err.(type) { //nolint:errorlint // every layer has its own words
	case openapi3.MultiError:
		for _, err := range e {
			all = append(all, violations(err)...)
		}
		return all
	case *openapi3filter.RequestError:
		return requestViolations(e)
	case *openapi3filter.ResponseError:
		if all = fields(e.Err, nil); len(all) > 0 {
			return all
		}
	}
	return []string{err.Error()}
}

func requestViolations(e *openapi3filter.RequestError) []string {
	if p := e.Parameter; p != nil {
		what := fmt.Sprintf("%s parameter %q", p.In, p.Name)
		if p.In == openapi3.ParameterInHeader {
			what = "header " + p.Name
		}
		var parse *openapi3filter.ParseError
		switch found := fields(e.Err, nil); {
		case errors.Is(e.Err, openapi3filter.ErrInvalidRequired):
			return []string{what + " is missing"}
		case len(found) > 0:
			for i, text := range found {
				found[i] = what + strings.TrimPrefix(text, theBody)
			}
			return found
		case errors.As(e.Err, &parse) && parse.Reason != "":
			return []string{what + " is " + parse.Reason}
		}
		return []string{what + ": " + e.Reason + innermost(e.Err)}
	}
	if e.RequestBody == nil {
		return []string{e.Error()}
	}
	contentType := e.Input.Request.Header.Get("Content-Type")
	switch found := fields(e.Err, nil); {
	case errors.Is(e.Err, openapi3filter.ErrInvalidRequired):
		return []string{theBody + " is missing"}
	case len(found) > 0:
		return found
	case e.Err == nil: // no such type
		var types []string
		for name := range e.RequestBody.Content {
			types = append(types, name)
		}
		slices.Sort(types)
		sent := fmt.Sprintf("is %q", contentType)
		if contentType == "" {
			sent = "is missing"
		}
		return []string{fmt.Sprintf("header Content-Type %s; the OpenAPI document says %s", sent, strings.Join(types, " or "))}
	}
	return []string{fmt.Sprintf("%s is not %s: %s", theBody, contentType, innermost(e.Err))}
}

// theBody is the name of the body in a violation that is not about a field.
const theBody = "the body"

// innermost returns the text of the innermost error.
func innermost(err error) string {
	for err != nil {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
	return ""
}

// fields returns the violations of schemas in err, at the path at or below.
func fields(err error, at []string) (all []string) {
	switch e := err.(type) { //nolint:errorlint // every layer has its own words
	case nil:
		return nil
	case openapi3.MultiError:
		for _, err := range e {
			all = append(all, fields(err, at)...)
		}
		return all
	case *openapi3.SchemaError:
		path := e.JSONPointer() // from the root of the body, or from at
		if len(path) < len(at) || !slices.Equal(path[:len(at)], at) {
			path = append(slices.Clone(at), path...)
		}
		inner := fields(e.Origin, path)
		switch {
		case len(inner) > 0 && e.SchemaField == "allOf":
			return inner
		case len(inner) > 0:
			return []string{field(e, path) + " (" + strings.Join(inner, ", or ") + ")"}
		}
		return []string{field(e, path)}
	}
	return fields(errors.Unwrap(err), at)
}

// field describes e, which is at path.
func field(e *openapi3.SchemaError, path []string) string {
	unsupported := strings.TrimPrefix(e.Reason, `property "`)
	if unsupported, ok := strings.CutSuffix(unsupported, `" is unsupported`); ok {
		return "field " + strings.Join(append(slices.Clone(path), unsupported), ".") + " is not documented"
	}
	what := theBody
	if len(path) > 0 {
		what = "field " + strings.Join(path, ".")
	}
	switch reason, ok := strings.CutPrefix(e.Reason, "value must be "); {
	case e.SchemaField == "required":
		return what + " is missing"
	case e.Reason == "Value is not nullable":
		return what + " must not be null"
	case ok:
		return what + " must be " + reason + ", not " + kind(e.Value)
	}
	return what + ": " + e.Reason
}

// kind returns the JSON type of v.
func kind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case map[string]any:
		return "an object"
	case []any:
		return "an array"
	case string:
		return "a string"
	case bool:
		return "a boolean"
	}
	return "a number"
}
