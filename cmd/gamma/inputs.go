package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/batch"
)

// byteOrderMark starts a text file of some editors of Windows.
const byteOrderMark = "\ufeff"

// maxText is more than the API accepts. It limits what is read of a wrong file.
const maxText = 16 << 20

// source is one input. The text of a regular file is read when it is needed, since there may
// be 100,000 files.
type source struct {
	key  string // names the input in the journal and in the output
	name string // of its export, without the extension
	path string // of a regular file; empty if text has it all
	text string
}

// textSource returns the input for a text without a file. The same text has the same key, so
// that a repeated command does not create it twice.
func textSource(text string) source {
	sum := sha256.Sum256([]byte(text))
	key := "text-" + hex.EncodeToString(sum[:6])
	return source{key: key, name: key, text: text}
}

// fileSource returns the input in the file that a command line names as arg.
func fileSource(arg string) (source, error) {
	info, err := os.Stat(arg)
	switch {
	case err != nil:
		why := withoutPath(err)
		if errors.Is(err, fs.ErrNotExist) {
			why = errors.New("no such file")
		}
		if strings.ContainsAny(arg, " \n") { // probably a text
			why = fmt.Errorf("%w; a text is given with --text %s", why, strconv.Quote(short(arg)))
		}
		return source{}, fmt.Errorf("%s: %w", short(arg), why)
	case info.IsDir():
		return source{}, fmt.Errorf("%s is a directory; name its files, as in %s", short(arg), filepath.Join(short(arg), "*.md"))
	case !info.Mode().IsRegular(): // such as a pipe: can be read only once
		f, err := os.Open(arg)
		if err != nil {
			return source{}, about(arg, err)
		}
		defer func() { _ = f.Close() }()
		text, err := readText(f)
		if err != nil {
			return source{}, about(arg, err)
		}
		return textSource(text), nil
	}
	path := filepath.Clean(arg)
	s := source{key: filepath.ToSlash(path), path: path, name: exportName(path)}
	if len(s.key) > 1024 || !utf8.ValidString(s.key) {
		return source{}, fmt.Errorf("%s: the name must be UTF-8 of at most 1024 bytes", short(arg))
	}
	return s, nil
}

// exportName returns the last element of path without its extension.
func exportName(path string) string {
	base := filepath.Base(path)
	if name := strings.TrimSuffix(base, filepath.Ext(base)); name != "" {
		return name
	}
	return base // .notes
}

// read returns the text of s.
func (s source) read() (string, error) {
	if s.path == "" {
		return s.text, nil
	}
	f, err := os.Open(s.path)
	if err != nil {
		return "", withoutPath(err)
	}
	defer func() { _ = f.Close() }()
	text, err := readText(f)
	return text, withoutPath(err)
}

// withoutPath returns err without the path of the file, which the caller prints before it.
func withoutPath(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

func about(path string, err error) error { return fmt.Errorf("%s: %w", short(path), withoutPath(err)) }

// short returns arg cut to 200 characters, since it may be a text.
func short(arg string) string {
	runes := []rune(gamma.Printable(arg))
	if len(runes) > 200 {
		return string(runes[:200]) + "..."
	}
	return string(runes)
}

// readText reads one text, which must be UTF-8 and not only white space. It removes a byte
// order mark.
func readText(r io.Reader) (string, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxText+1))
	if err != nil {
		return "", err
	}
	if len(data) > maxText {
		return "", fmt.Errorf("the text is larger than %d MiB", maxText>>20)
	}
	data = bytes.TrimPrefix(data, []byte(byteOrderMark))
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		return "", errors.New("the text is UTF-16; save it as UTF-8")
	case !utf8.Valid(data):
		return "", errors.New("the text is not UTF-8")
	case bytes.IndexByte(data, 0) >= 0: // UTF-16 without a mark is valid UTF-8
		return "", errors.New("the text has a zero byte; if it is UTF-16, save it as UTF-8")
	case len(bytes.TrimSpace(data)) == 0:
		return "", errors.New("the text is empty")
	}
	return string(data), nil
}

// expand replaces patterns by the files that match, on Windows, where the shell does not. It
// keeps a pattern without a match, which is then an error.
func expand(args []string, goos string) (files []string) {
	for _, arg := range args {
		matches := []string{arg}
		if goos == "windows" {
			if found, err := filepath.Glob(arg); err == nil && len(found) > 0 {
				matches = found
			}
		}
		files = append(files, matches...)
	}
	return files
}

// fileSources returns the inputs of args, and an error for each invalid one. saved reports
// whether exports are saved; their names must then differ, ignoring case.
func fileSources(args []string, saved bool) (sources []source, errs []error) {
	keys, names := make(map[string]bool, len(args)), make(map[string]string, len(args))
	for _, arg := range expand(args, runtime.GOOS) {
		s, err := fileSource(arg)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		name := strings.ToLower(s.name)
		other, taken := names[name]
		switch {
		case keys[s.key]:
			errs = append(errs, fmt.Errorf("%s is given twice", short(s.key)))
		case saved && taken:
			errs = append(errs, fmt.Errorf("%s and %s would be saved under the same name; create them with different --dir", short(other), short(s.key)))
		default:
			keys[s.key], names[name] = true, s.key
			sources = append(sources, s)
		}
	}
	return sources, errs
}

// form is a request as JSON, in which the text of an input may be missing.
type form struct{ fields map[string]any }

// readForm reads the file of --request. It has one JSON object; check reports fields
// that the API does not have.
func readForm(text string) (form, error) {
	data := []byte(text)
	var f form
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(&f.fields); err != nil {
		return form{}, jsonError(err)
	}
	if f.fields == nil {
		return form{}, errors.New("not a JSON object")
	}
	if _, err := dec.Token(); err != io.EOF {
		return form{}, errors.New("text after the JSON object")
	}
	return f, checkFields(json.NewDecoder(bytes.NewReader(data)), f.kind(), "")
}

// jsonError returns err with a text for a user of the command.
func jsonError(err error) error {
	var mismatch *json.UnmarshalTypeError
	switch {
	case errors.As(err, &mismatch) && mismatch.Field != "":
		want := "text"
		switch t := mismatch.Type; t.Kind() {
		case reflect.Int, reflect.Int32, reflect.Int64:
			want = "a whole number"
		case reflect.Float32, reflect.Float64:
			want = "a number"
		case reflect.Bool:
			want = "true or false"
		case reflect.Slice:
			want = "an array"
		case reflect.Struct, reflect.Map:
			want = "an object"
		}
		return fmt.Errorf("%s is not %s", mismatch.Field, want)
	case errors.As(err, &mismatch):
		return errors.New("not a JSON object")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("not JSON: it ends too early")
	}
	return fmt.Errorf("not JSON: %w", err)
}

// template reports whether f is a request from a template.
func (f form) template() bool { return f.fields["gammaId"] != nil }

// kind returns the type of the request.
func (f form) kind() reflect.Type {
	if f.template() {
		return reflect.TypeFor[api.TemplateGenerationRequest]()
	}
	return reflect.TypeFor[api.GenerationRequest]()
}

// textField is the field for the text of an input.
func (f form) textField() string {
	if f.template() {
		return "prompt"
	}
	return "inputText"
}

// hasText returns the name of the field of f that has the text, or "".
func (f form) hasText() string {
	for _, name := range []string{"inputText", "prompt"} {
		if f.fields[name] != nil {
			return name
		}
	}
	return ""
}

// set sets the field of a flag, such as textOptions.tone.
func (f form) set(field string, value any) error {
	object := f.fields
	outer, inner, nested := strings.Cut(field, ".")
	if nested {
		if object[outer] == nil {
			object[outer] = map[string]any{}
		}
		var ok bool
		if object, ok = object[outer].(map[string]any); !ok {
			return fmt.Errorf("%s is not an object", outer)
		}
		outer = inner
	}
	object[outer] = value
	return nil
}

// check returns an error for a field that the API does not have, that has the wrong type, or
// that would not be sent because it is empty.
func (f form) check() error {
	data, err := json.Marshal(f.fields)
	if err != nil {
		return err
	}
	if err := checkFields(json.NewDecoder(bytes.NewReader(data)), f.kind(), ""); err != nil {
		return err
	}
	request := reflect.New(f.kind())
	if err := json.Unmarshal(data, request.Interface()); err != nil {
		return jsonError(err)
	}
	if data, err = json.Marshal(request.Interface()); err != nil {
		return err
	}
	var sent map[string]any
	if err := json.Unmarshal(data, &sent); err != nil {
		return err
	}
	if field := unsent(f.fields, sent, ""); field != "" {
		return fmt.Errorf("%s is empty or 0: leave it out, or give a value", field)
	}
	return nil
}

// request returns the request with text, or unchanged if text is "".
func (f form) request(text string) (any, error) {
	fields := f.fields
	if text != "" {
		fields = maps.Clone(fields)
		fields[f.textField()] = text
	}
	data, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	request := reflect.New(f.kind())
	if err := json.Unmarshal(data, request.Interface()); err != nil {
		return nil, jsonError(err)
	}
	return request.Interface(), nil
}

// checkFields reads one valid JSON value of type t, which is at path. It returns an error for a
// name that occurs twice in an object, and for one that t does not have in that spelling. A
// nil t has any name.
func checkFields(dec *json.Decoder, t reflect.Type, path string) error {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	token, err := dec.Token()
	if err != nil {
		return jsonError(err)
	}
	switch token {
	case json.Delim('['):
		var element reflect.Type
		if t != nil && t.Kind() == reflect.Slice {
			element = t.Elem()
		}
		for i := 0; dec.More(); i++ {
			if err := checkFields(dec, element, path+"["+strconv.Itoa(i)+"]"); err != nil {
				return err
			}
		}
	case json.Delim('{'):
		seen := map[string]bool{}
		for dec.More() {
			token, err := dec.Token()
			if err != nil {
				return jsonError(err)
			}
			name, _ := token.(string)
			full := strings.TrimPrefix(path+"."+name, ".")
			if seen[name] {
				return fmt.Errorf("the field %s occurs twice", short(full))
			}
			seen[name] = true
			inner, ok := fieldType(t, name)
			if !ok {
				if t == reflect.TypeFor[api.TemplateGenerationRequest]() {
					return fmt.Errorf("a request with gammaId has no field %s", short(full))
				}
				return fmt.Errorf("the API has no field %s", short(full))
			}
			if err := checkFields(dec, inner, full); err != nil {
				return err
			}
		}
	default:
		return nil
	}
	_, err = dec.Token() // the end
	return err
}

// fieldType returns the type of the field name of t, nil if it can have any type.
func fieldType(t reflect.Type, name string) (reflect.Type, bool) {
	if t == nil || reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return nil, true
	}
	switch t.Kind() {
	case reflect.Map:
		return t.Elem(), true
	case reflect.Struct:
		for _, field := range reflect.VisibleFields(t) {
			if tag, _, _ := strings.Cut(field.Tag.Get("json"), ","); tag == name && tag != "-" {
				return field.Type, true
			}
		}
		return nil, false
	}
	return nil, true // of another type, which decoding reports
}

// unsent returns the first field of given that sent does not have, or "". It ignores fields
// that are null.
func unsent(given, sent any, path string) string {
	switch given := given.(type) {
	case map[string]any:
		sent, _ := sent.(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(given)) {
			if given[name] == nil {
				continue
			}
			full := strings.TrimPrefix(path+"."+name, ".")
			value, ok := sent[name]
			if !ok {
				return full
			}
			if field := unsent(given[name], value, full); field != "" {
				return field
			}
		}
	case []any:
		sent, _ := sent.([]any)
		for i := range min(len(given), len(sent)) {
			full := path + "[" + strconv.Itoa(i) + "]"
			if given[i] == nil { // sent as an empty value
				return full
			}
			if field := unsent(given[i], sent[i], full); field != "" {
				return field
			}
		}
	}
	return ""
}

// inputs yields the input of each source. It reads the texts one by one, and calls failed for
// a file that cannot be read or is not a text.
func (f form) inputs(sources []source, failed func(source, error)) iter.Seq[batch.Input] {
	return func(yield func(batch.Input) bool) {
		for _, s := range sources {
			text, err := s.read()
			var request any
			if err == nil {
				request, err = f.request(text)
			}
			if err != nil {
				failed(s, err)
				continue
			}
			if !yield(batch.Input{Key: s.key, Request: request, File: s.name}) {
				return
			}
		}
	}
}
