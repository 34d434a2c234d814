package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// ErrUnexpectedResponse is the identity of every error about a successful
// answer that is not what the OpenAPI document promises.
var ErrUnexpectedResponse = errors.New("gamma: unexpected response")

// Unexpected returns the error for a 2xx answer to operation ("GET /path") that
// the document does not describe: another status or content type, or a body that
// cause says why it cannot be read. cause may be nil. Its text quotes nothing of
// the body, as that of cause may.
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

// Body is the body of an answer that was read whole.
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

// ReadBody returns the body of rsp, which it does not close. A [Body] is not copied.
func ReadBody(rsp *http.Response) ([]byte, error) {
	if b, ok := rsp.Body.(*Body); ok {
		return b.data, nil
	}
	return io.ReadAll(rsp.Body)
}

// IsJSON reports whether rsp says that its body is JSON. An answer without a
// content type is taken at its word: its body decides (RFC 9110, section 8.3).
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

// Decode reads the JSON value data into dest, a pointer to a generated type.
// What has a type that the document does not promise is left out, as if it were
// absent, as long as it belongs to an optional property: one odd detail must
// not hide the verdict on a job that was paid for, nor the other objects of a list.
// It is an error when data is not JSON, is null, has a required property of another
// type, or is an object with none of them. It is an error, too, when there are more
// than 16,384 values in it: a list of them can take a hundred times the memory of its
// text.
func Decode(data []byte, dest any) error {
	if len(data) > maxValues && values(data) > maxValues {
		return fmt.Errorf("more than %d values", maxValues)
	}
	err := json.Unmarshal(data, dest)
	if err == nil {
		return checkPresent(data, dest)
	}
	var mismatch *json.UnmarshalTypeError
	object := json.NewDecoder(bytes.NewReader(data))
	if start, _ := object.Token(); start != json.Delim('{') || !errors.As(err, &mismatch) {
		return err
	}
	// encoding/json names only the first mismatch, so each property is tried alone,
	// in the document's order: of two that fill one field, the last counts.
	target := reflect.ValueOf(dest).Elem()
	target.SetZero()
	for object.More() {
		key, _ := object.Token()
		var raw json.RawMessage
		if err := object.Decode(&raw); err != nil {
			return err
		}
		name, _ := key.(string)
		i := field(target.Type(), name)
		if i < 0 {
			continue
		}
		err := json.Unmarshal(raw, target.Field(i).Addr().Interface())
		if err == nil {
			continue
		}
		if !isOptional(target.Type().Field(i)) {
			if decodeList(raw, target.Field(i)) != nil {
				return err
			}
			continue
		}
		if !errors.As(err, &mismatch) || mismatch.Field == "" {
			target.Field(i).SetZero()
		} // else the mismatch is further inside, and the rest could be read
	}
	return checkPresent(data, dest)
}

// decodeList reads a list of objects, each by the rules of [Decode].
func decodeList(data []byte, list reflect.Value) error {
	if list.Kind() != reflect.Slice {
		return errors.New("not a list")
	}
	var items []json.RawMessage
	if err := json.Unmarshal(data, &items); err != nil {
		return err
	}
	list.Set(reflect.MakeSlice(list.Type(), len(items), len(items)))
	for i, item := range items {
		if err := Decode(item, list.Index(i).Addr().Interface()); err != nil {
			return err
		}
	}
	return nil
}

const maxValues = 16 << 10

// values counts the values in JSON by what comes between them.
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

// checkPresent refuses null, and an object that has none of the properties that
// the document requires: it is something else, such as an error in a 200.
func checkPresent(data []byte, dest any) error {
	v := reflect.ValueOf(dest).Elem()
	if v.Kind() != reflect.Struct {
		return nil
	}
	required := requiredFields(v.Type())
	for _, i := range required {
		if !v.Field(i).IsZero() {
			return nil
		}
	}
	var properties map[string]json.RawMessage
	if err := json.Unmarshal(data, &properties); err != nil {
		return err
	}
	if properties == nil {
		return errors.New("null")
	}
	for key, raw := range properties {
		if slices.Contains(required, field(v.Type(), key)) && string(raw) != "null" {
			return nil
		}
	}
	if len(required) > 0 {
		return errors.New("none of the required properties")
	}
	return nil
}

// required holds the requiredFields of a reflect.Type: there are as many as there
// are kinds of answers.
var required sync.Map

func requiredFields(t reflect.Type) []int {
	if known, ok := required.Load(t); ok {
		return known.([]int) //nolint:forcetypeassert // nothing else is stored
	}
	var fields []int
	for i := range t.NumField() {
		if !isOptional(t.Field(i)) {
			fields = append(fields, i)
		}
	}
	required.Store(t, fields)
	return fields
}

// field returns the field of t that encoding/json puts the property key into, -1
// if there is none.
func field(t reflect.Type, key string) int {
	if t.Kind() != reflect.Struct {
		return -1
	}
	for i := range t.NumField() {
		if tag, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); strings.EqualFold(tag, key) {
			return i
		}
	}
	return -1
}

// isOptional knows an optional property by the tag that oapi-codegen gives it.
func isOptional(f reflect.StructField) bool {
	_, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	return strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
}
