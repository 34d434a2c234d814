package apiruntime

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"
	"sync"
)

// ErrUnexpectedResponse matches every error about a 2xx response that the OpenAPI document
// does not describe.
var ErrUnexpectedResponse = errors.New("gamma: unexpected response")

// Unexpected returns the error for a 2xx response to operation ("GET /path") that the
// document does not describe. cause is why the body cannot be read, or nil for another
// status or content type. The text has nothing of the body, which cause may quote.
func Unexpected(operation string, rsp *http.Response, cause error) error {
	detail := `a body of type "` + Printable(rsp.Header.Get("Content-Type")) + `"`
	if cause != nil {
		detail = "a body that is not the documented JSON"
	}
	return &unexpectedError{fmt.Sprintf("gamma: %s: status %d with %s", operation, rsp.StatusCode, detail), cause}
}

type unexpectedError struct {
	text  string
	cause error
}

func (e *unexpectedError) Error() string        { return e.text }
func (e *unexpectedError) Is(target error) bool { return target == ErrUnexpectedResponse }
func (e *unexpectedError) Unwrap() error        { return e.cause }

// Body is the body of a response that has been read completely.
type Body struct {
	data []byte
	bytes.Reader
}

// NewBody returns a Body that reads data, which it keeps.
func NewBody(data []byte) *Body {
	b := &Body{data: data}
	b.Reset(data)
	return b
}

// Close does nothing and returns nil.
func (*Body) Close() error { return nil }

// ReadBody returns the body of rsp. It does not close it, and does not copy a [Body].
func ReadBody(rsp *http.Response) ([]byte, error) {
	if b, ok := rsp.Body.(*Body); ok {
		return b.data, nil
	}
	return io.ReadAll(rsp.Body)
}

// IsJSON reports whether the content type of rsp is JSON. It returns true if there is
// none; the body then decides (RFC 9110, section 8.3).
func IsJSON(rsp *http.Response) bool {
	ct := rsp.Header.Get("Content-Type")
	if ct == "application/json" || ct == "application/json; charset=utf-8" {
		return true
	}
	if ct == "" {
		return len(rsp.Header["Content-Type"]) == 0
	}
	mt, _, err := mime.ParseMediaType(ct)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return false
	}
	return mt == "application/json" || strings.HasPrefix(mt, "application/") && strings.HasSuffix(mt, "+json")
}

// Decode decodes JSON into dest, a pointer to a generated type.
//
// An optional property of an unexpected type is ignored, so that it does not hide the
// other properties. A number or a boolean may be a string that is exactly its JSON. If
// several names of an object differ only in case, the exact name counts; if a name is
// repeated, the last one counts.
//
// It is an error if data is not JSON, is null, has a required property of another type,
// or is an object without any of the required properties. It is also an error if data
// has more than 16,384 values: a list of them can take a hundred times the memory of its
// text.
func Decode(data []byte, dest any) error {
	if len(data) > maxValues && values(data) > maxValues {
		return fmt.Errorf("more than %d values", maxValues)
	}
	target := reflect.ValueOf(dest).Elem()
	p := properties(target.Type())
	err := json.Unmarshal(data, dest)
	if err != nil || hasOtherSpelling(data, p.names) {
		var mismatch *json.UnmarshalTypeError
		if err != nil && !errors.As(err, &mismatch) {
			return err
		}
		target.SetZero()
		if err := decode(data, target, true); err != nil {
			return err
		}
	}
	return p.checkPresent(data, target)
}

// decode decodes valid JSON into v. If strict, v is a response or a part of a required
// property, and a required property of another type is an error.
func decode(data []byte, v reflect.Value, strict bool) error {
	target := v.Addr().Interface()
	if _, ok := target.(json.Unmarshaler); ok {
		return json.Unmarshal(data, target)
	}
	switch v.Kind() {
	case reflect.Struct:
		return decodeObject(data, v, strict)
	case reflect.Pointer:
		if string(data) == "null" {
			return nil
		}
		element := reflect.New(v.Type().Elem())
		if err := decode(data, element.Elem(), strict); err != nil {
			return err
		}
		v.Set(element)
		return nil
	case reflect.Slice:
		var items []json.RawMessage
		if err := json.Unmarshal(data, &items); err != nil || items == nil {
			return err
		}
		v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
		for i, item := range items {
			if err := decode(item, v.Index(i), strict); err != nil {
				return err
			}
		}
		return nil
	case reflect.Map:
		var members map[string]json.RawMessage
		if err := json.Unmarshal(data, &members); err != nil || members == nil {
			return err
		}
		v.Set(reflect.MakeMap(v.Type()))
		for key, value := range members {
			element := reflect.New(v.Type().Elem()).Elem()
			if err := decode(value, element, strict); err != nil {
				return err
			}
			v.SetMapIndex(reflect.ValueOf(key), element)
		}
		return nil
	case reflect.Bool, reflect.Int, reflect.Int32, reflect.Int64, reflect.Float32, reflect.Float64:
		var text string
		if data[0] == '"' && json.Unmarshal(data, &text) == nil && strings.Trim(text, " \t\r\n") == text && text != "null" {
			data = []byte(text)
		}
	}
	return json.Unmarshal(data, target)
}

// decodeObject is [decode] for a struct.
func decodeObject(data []byte, v reflect.Value, strict bool) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return err
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name := jsonName(f)
		value := Member(members, name)
		if value == nil || name == "" {
			continue
		}
		required := strict && !isOptional(f)
		if err := decode(value, v.Field(i), required); err != nil {
			if required {
				return err
			}
			v.Field(i).SetZero()
		}
	}
	return nil
}

// Member returns the value of the exact name, or else of a name that differs only in
// case. It returns nil if there is none.
func Member(members map[string]json.RawMessage, name string) json.RawMessage {
	value := members[name]
	if value == nil {
		other := ""
		for key := range members {
			if key > other && strings.EqualFold(key, name) {
				other, value = key, members[key]
			}
		}
	}
	return value
}

// hasOtherSpelling reports whether an object in valid JSON has a name that differs from one
// of names only in case, or that has an escape.
func hasOtherSpelling(data []byte, names []string) bool {
	for {
		start := bytes.IndexByte(data, '"') + 1
		if start == 0 {
			return false
		}
		end := start + bytes.IndexByte(data[start:], '"')
		if data[end-1] == '\\' { // it may be an escaped quote
			for end = start; data[end] != '"'; end++ {
				if data[end] == '\\' {
					end++
				}
			}
		}
		after := end + 1
		for after < len(data) && data[after] <= ' ' {
			after++
		}
		if after < len(data) && data[after] == ':' && isOtherSpelling(data[start:end], names) {
			return true
		}
		data = data[after:]
	}
}

func isOtherSpelling(name []byte, names []string) bool {
	for _, n := range names {
		if n == string(name) {
			return false
		}
	}
	if bytes.IndexByte(name, '\\') >= 0 {
		return true
	}
	text := string(name)
	for _, n := range names {
		if strings.EqualFold(n, text) {
			return true
		}
	}
	return false
}

const maxValues = 16 << 10

// values counts the values in JSON, by the characters that come before each.
func values(data []byte) (n int) {
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{', '[', ',':
			n++
		case '"':
			for i++; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
		}
	}
	return n
}

// checkPresent returns an error for null and for an object without any of the required
// properties, such as an error message with status 200.
func (p *typeProperties) checkPresent(data []byte, v reflect.Value) error {
	for _, i := range p.required {
		if !v.Field(i).IsZero() {
			return nil
		}
	}
	if string(bytes.TrimSpace(data)) == "null" {
		return errors.New("null")
	}
	if len(p.required) == 0 {
		return nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return err
	}
	for _, i := range p.required {
		if value := Member(members, jsonName(v.Type().Field(i))); value != nil && string(value) != "null" {
			return nil
		}
	}
	return errors.New("none of the required properties")
}

// typeProperties is what the tags of a type tell.
type typeProperties struct {
	required []int    // the indices of the fields that the document requires
	names    []string // of all properties, also of inner objects
}

// known maps a reflect.Type to its typeProperties. It has one entry per type of response.
var known sync.Map

func properties(t reflect.Type) *typeProperties {
	if p, ok := known.Load(t); ok {
		return p.(*typeProperties) //nolint:forcetypeassert // nothing else is stored
	}
	p := new(typeProperties)
	if t.Kind() == reflect.Struct {
		for i := range t.NumField() {
			if jsonName(t.Field(i)) != "" && !isOptional(t.Field(i)) {
				p.required = append(p.required, i)
			}
		}
	}
	p.addNames(t, map[reflect.Type]bool{})
	known.Store(t, p)
	return p
}

func (p *typeProperties) addNames(t reflect.Type, seen map[reflect.Type]bool) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		p.addNames(t.Elem(), seen)
	case reflect.Struct:
		if seen[t] {
			return
		}
		seen[t] = true
		for i := range t.NumField() {
			if name := jsonName(t.Field(i)); name != "" {
				p.names = append(p.names, name)
			}
			p.addNames(t.Field(i).Type, seen)
		}
	}
}

// jsonName returns the name of f's property, empty if it has none.
func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "-" || !f.IsExported() {
		return ""
	}
	return name
}

// isOptional reports whether f's property is optional, by the tag that oapi-codegen writes.
func isOptional(f reflect.StructField) bool {
	_, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	return strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
}
