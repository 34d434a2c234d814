package sample

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
)

// Request returns v, the body of a request for the operation, with the required properties
// that v lacks. It panics if the document has no such operation, or if T has no field for a
// required property.
func Request[T any](d *Document, operationID string, v T) T {
	o, ok := d.Operation(operationID)
	if !ok {
		panic("sample: no operation " + operationID)
	}
	return As[T](d.Complete(o.Body, Mode{}, As[any](v)))
}

// arguments returns the parameters of a request by name, in the places in. It uses values
// before samples.
func (d *Document) arguments(o Operation, m Mode, values map[string]any, in ...string) map[string]any {
	all := map[string]any{}
	for _, p := range o.Parameters {
		v, ok := values[p.Name]
		switch {
		case !slices.Contains(in, p.In):
		case ok:
			all[p.Name] = v
		case p.Required || m.Full:
			all[p.Name] = d.Value(p.Schema, m)
		}
	}
	return all
}

// NewRequest returns a valid request for the operation at a base URL. For the parameters in
// values it uses these, for other parameters samples.
func (d *Document) NewRequest(ctx context.Context, base string, o Operation, m Mode, values map[string]any) (*http.Request, error) {
	path := o.Path
	for name, v := range d.arguments(o, m, values, "path") {
		path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(format(v)))
	}
	query := url.Values{}
	for name, v := range d.arguments(o, m, values, "query") {
		for _, v := range each(v) {
			query.Add(name, format(v))
		}
	}
	var contentType string
	var body io.Reader
	if o.BodyType != "" {
		contentType, body = d.body(o, m)
	}
	r, err := http.NewRequestWithContext(ctx, o.Method, base+path, body)
	if err != nil {
		return nil, err
	}
	r.URL.RawQuery = query.Encode()
	if body != nil {
		r.Header.Set("Content-Type", contentType)
	}
	for name, v := range d.arguments(o, m, values, "header") {
		r.Header.Set(name, format(v))
	}
	return r, nil
}

// body returns a body and its content type.
func (d *Document) body(o Operation, m Mode) (string, io.Reader) {
	v := d.Value(o.Body, m)
	fields, ok := v.(map[string]any)
	switch {
	case IsJSON(o.BodyType):
		data, _ := json.Marshal(v)
		return o.BodyType, bytes.NewReader(data)
	case ok && o.BodyType == "application/x-www-form-urlencoded":
		form := url.Values{}
		if len(fields) == 0 { // the body would be empty
			fields, _ = d.Value(o.Body, Mode{Full: true}).(map[string]any)
		}
		for name, v := range fields {
			for _, v := range each(v) {
				form.Add(name, format(v))
			}
		}
		return o.BodyType, strings.NewReader(form.Encode())
	case ok && o.BodyType == "multipart/form-data":
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		for name, v := range fields {
			_ = w.WriteField(name, format(v)) // a buffer returns no error
		}
		_ = w.Close()
		return w.FormDataContentType(), &b
	}
	return o.BodyType, strings.NewReader(format(v))
}

// each returns the elements of an array, or v itself.
func each(v any) []any {
	if a, ok := v.([]any); ok {
		return a
	}
	return []any{v}
}

// format formats a value for a path, a query or a header.
func format(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	data, _ := json.Marshal(v)
	return string(data)
}

// Call sends a valid request for the operation with the generated method of client, such as
// CreateGenerationWithResponse for createGeneration. For the parameters in values it uses
// these, for other parameters samples. It returns what the method returns; a nil pointer
// becomes nil.
func (d *Document) Call(ctx context.Context, client any, o Operation, m Mode, values map[string]any) (response any, err error) {
	return d.call(ctx, client, o, m, values, "withresponse")
}

// Model is Call with the method that returns only the model, such as ListThemes for
// listThemes.
func (d *Document) Model(ctx context.Context, client any, o Operation, m Mode, values map[string]any) (model any, err error) {
	return d.call(ctx, client, o, m, values, "")
}

func (d *Document) call(ctx context.Context, client any, o Operation, m Mode, values map[string]any, suffix string) (response any, err error) {
	method := find(client, o.ID, suffix)
	if !method.IsValid() {
		return nil, fmt.Errorf("sample: %T has no method for %s", client, o.ID)
	}
	arguments := []any{}
	for _, p := range o.Parameters {
		if p.In == "path" {
			arguments = append(arguments, d.arguments(o, m, values, "path")[p.Name])
		}
	}
	t := method.Type()
	most := t.NumIn() - 1 // without the context
	if t.IsVariadic() {
		most-- // and the request editors
	}
	var body []any
	switch {
	case t.In(most) == reflect.TypeFor[io.Reader]():
		contentType, reader := d.body(o, m)
		body = []any{contentType, reader}
	case o.BodyType != "":
		body = []any{d.Value(o.Body, m)}
	}
	// If all other parameters are optional headers, there may be no struct for them.
	if len(arguments) < len(o.Parameters) && len(arguments)+len(body) < most {
		arguments = append(arguments, d.arguments(o, m, values, "query", "header", "cookie"))
	}
	arguments = append(arguments, body...)
	if most != len(arguments) {
		return nil, fmt.Errorf("sample: the method for %s takes %d arguments, not %d", o.ID, most, len(arguments))
	}
	in := []reflect.Value{reflect.ValueOf(ctx)}
	for i, argument := range arguments {
		v := reflect.New(t.In(1 + i))
		if reader, ok := argument.(io.Reader); ok {
			v.Elem().Set(reflect.ValueOf(reader))
		} else {
			data, err := json.Marshal(argument)
			if err == nil {
				err = json.Unmarshal(data, v.Interface())
			}
			if err != nil {
				return nil, fmt.Errorf("sample: argument %d of %s: %w", 1+i, o.ID, err)
			}
		}
		in = append(in, v.Elem())
	}
	out := method.Call(in)
	err, _ = out[len(out)-1].Interface().(error)
	if len(out) == 1 || out[0].IsNil() {
		return nil, err
	}
	return out[0].Interface(), err
}

// find returns the generated method of an operation, by the suffix of its name. If there is
// none for a model, it returns the one with a content type and a reader.
func find(client any, operationID, suffix string) reflect.Value {
	v := reflect.ValueOf(client)
	for _, name := range []string{plain(operationID) + suffix, plain(operationID) + "withbody" + suffix} {
		for i := range v.NumMethod() {
			if strings.ToLower(v.Type().Method(i).Name) == name {
				return v.Method(i)
			}
		}
	}
	return reflect.Value{}
}
