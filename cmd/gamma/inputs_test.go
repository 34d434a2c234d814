package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
)

func TestReadText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, data, want, err string }{
		{"text", "tea\r\n", "tea\r\n", ""},
		{"byte order mark", "\xef\xbb\xbftea", "tea", ""},
		{"replacement character in the text", "a\uFFFDb", "a\uFFFDb", ""},
		{"nothing", "", "", "the text is empty"},
		{"only a byte order mark", "\xef\xbb\xbf", "", "the text is empty"},
		{"only white space", " \n\t", "", "the text is empty"},
		{"UTF-16, little endian", "\xff\xfet\x00", "", "the text is UTF-16; save it as UTF-8"},
		{"UTF-16, big endian", "\xfe\xff\x00t", "", "the text is UTF-16; save it as UTF-8"},
		{"UTF-16 without a mark", "t\x00e\x00a\x00", "", "the text has a zero byte; if it is UTF-16, save it as UTF-8"},
		{"Latin-1", "caf\xe9", "", "the text is not UTF-8"},
		{"too large", strings.Repeat("x", maxText+1), "", "the text is larger than 16 MiB"},
	} {
		got, err := readText(strings.NewReader(tt.data))
		if got != tt.want || errorText(err) != tt.err {
			t.Errorf("%s: got %.20q and %v, want %q and %q", tt.name, got, err, tt.want, tt.err)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// folder creates files with the names in a new directory, which is then the working directory.
func folder(t *testing.T, names ...string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for _, name := range names {
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte("about "+name), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFileSources(t *testing.T) {
	folder(t, "tea.md", "tea.txt", "milk.md", "a/intro.md", "b/intro.md", "b/TEA.md", ".notes", "v1.2.md", "-x.md")
	for _, tt := range []struct {
		name  string
		args  []string
		saved bool
		want  []source
		errs  []string
	}{
		{"files, in their order", []string{"tea.md", "./a/../milk.md"}, true,
			[]source{{key: "tea.md", name: "tea", path: "tea.md"}, {key: "milk.md", name: "milk", path: "milk.md"}}, nil},
		{"names without an extension or with two", []string{".notes", "v1.2.md"}, true,
			[]source{{key: ".notes", name: ".notes", path: ".notes"}, {key: "v1.2.md", name: "v1.2", path: "v1.2.md"}}, nil},
		{"misspelt", []string{"tee.md"}, true, nil,
			[]string{`tee.md: no such file`}},
		{"a text", []string{"My talk about tea"}, true, nil,
			[]string{`My talk about tea: no such file; a text is given with --text "My talk about tea"`}},
		{"a directory", []string{"a"}, true, nil, []string{"a is a directory; name its files, as in " + filepath.Join("a", "*.md")}},
		{"every invalid argument is reported", []string{"a", "tea.md", "tee.md"}, false, []source{{key: "tea.md", name: "tea", path: "tea.md"}},
			[]string{"a is a directory; name its files, as in " + filepath.Join("a", "*.md"), `tee.md: no such file`}},
		{"the same file twice", []string{"tea.md", "./tea.md"}, false, []source{{key: "tea.md", name: "tea", path: "tea.md"}},
			[]string{"tea.md is given twice"}},
		{"one name in two directories", []string{"a/intro.md", "b/intro.md"}, true, []source{{key: "a/intro.md", name: "intro", path: "a/intro.md"}},
			[]string{"a/intro.md and b/intro.md would be saved under the same name; create them with different --dir"}},
		{"one name with two extensions", []string{"tea.md", "tea.txt"}, true, []source{{key: "tea.md", name: "tea", path: "tea.md"}},
			[]string{"tea.md and tea.txt would be saved under the same name; create them with different --dir"}},
		{"names that differ only in case", []string{"tea.md", "b/TEA.md"}, true, []source{{key: "tea.md", name: "tea", path: "tea.md"}},
			[]string{"tea.md and b/TEA.md would be saved under the same name; create them with different --dir"}},
		{"one name, not saved", []string{"a/intro.md", "b/intro.md"}, false,
			[]source{{key: "a/intro.md", name: "intro", path: "a/intro.md"}, {key: "b/intro.md", name: "intro", path: "b/intro.md"}}, nil},
	} {
		if runtime.GOOS == "windows" {
			for i := range tt.want {
				tt.want[i].path = filepath.FromSlash(tt.want[i].path)
			}
		}
		got, errs := fileSources(tt.args, tt.saved)
		var texts []string
		for _, err := range errs {
			texts = append(texts, err.Error())
		}
		if !reflect.DeepEqual(got, tt.want) || !reflect.DeepEqual(texts, tt.errs) {
			t.Errorf("%s: got\n%+v and %q, want\n%+v and %q", tt.name, got, texts, tt.want, tt.errs)
		}
	}
}

func TestExpand(t *testing.T) {
	folder(t, "a.md", "b.md", "c.txt")
	args := []string{"?.md", "c.txt", "*.doc", "[", "nosuch"}
	if got := expand(args, "linux"); !reflect.DeepEqual(got, args) {
		t.Errorf("where the shell expands patterns: got %q", got)
	}
	want := []string{"a.md", "b.md", "c.txt", "*.doc", "[", "nosuch"}
	if got := expand(args, "windows"); !reflect.DeepEqual(got, want) {
		t.Errorf("on Windows: got %q, want %q", got, want)
	}
}

func TestLongArguments(t *testing.T) {
	t.Parallel()
	_, err := fileSource(strings.Repeat("All about tea. ", 1000))
	if err == nil || !strings.Contains(err.Error(), "; a text is given with --text ") || len(err.Error()) > 1000 {
		t.Errorf("a text of 15,000 bytes instead of a file: %v", err)
	}
}

// A text must have the same key in every version of the command, since journals have it.
func TestTextSource(t *testing.T) {
	t.Parallel()
	const want = "text-a9f74d1ec36e"
	if got := textSource("tea"); got.key != want || got.name != want || got.text != "tea" {
		t.Errorf("textSource: got %+v, want the key %q", got, want)
	}
	if textSource("tea").key == textSource("milk").key {
		t.Error("two texts have one key")
	}
}

func TestReadForm(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, file, want, err string }{
		{"fields", `{"numCards": 5, "textOptions": {"tone": "dry"}}`, `{"inputText":"T","numCards":5,"textOptions":{"tone":"dry"}}`, ""},
		{"no field", ` {} `, `{"inputText":"T"}`, ""},
		{"from a template", `{"gammaId": "g_1"}`, `{"gammaId":"g_1","prompt":"T"}`, ""},
		{"null gammaId is not a template", `{"gammaId": null, "numCards": null}`, "", "the API has no field gammaId"},
		{"null", `{"numCards": null}`, `{"inputText":"T"}`, ""},
		{"a number for a string", `{"additionalInstructions": 5}`, "", "additionalInstructions is not text"},
		{"unknown", `{"numCard": 5}`, "", "the API has no field numCard"},
		{"unknown, within another", `{"textOptions": {"ton": "dry"}}`, "", "the API has no field textOptions.ton"},
		{"unknown, of a template", `{"gammaId": "g_1", "numCards": 5}`, "", "a request with gammaId has no field numCards"},
		{"other spelling", `{"NumCards": 5}`, "", "the API has no field NumCards"},
		{"doubled", `{"numCards": 5, "numCards": 6}`, "", "the field numCards occurs twice"},
		{"doubled, within another", `{"textOptions": {"tone": "dry", "tone": "wet"}}`, "", "the field textOptions.tone occurs twice"},
		{"doubled by an escape", `{"numCards": 5, "n\u0075mCards": 6}`, "", "the field numCards occurs twice"},
		{"wrong type", `{"numCards": "five"}`, "", "numCards is not a whole number"},
		{"a fraction", `{"numCards": 5.5}`, "", "numCards is not a whole number"},
		{"zero", `{"numCards": 0}`, "", "numCards is empty or 0: leave it out, or give a value"},
		{"null in an array", `{"folderIds": ["a", null]}`, "", "folderIds[1] is empty or 0: leave it out, or give a value"},
		{"empty text", `{"textOptions": {"tone": ""}}`, "", "textOptions.tone is empty or 0: leave it out, or give a value"},
		{"text for an object", `{"textOptions": "dry"}`, "", "textOptions is not an object"},
		{"object for a text", `{"format": {"x": 1}}`, "", "format is not text"},
		{"text after the object", `{} {}`, "", "text after the JSON object"},
		{"array", `[]`, "", "not a JSON object"},
		{"no object", `null`, "", "not a JSON object"},
		{"truncated", `{"numCards": 5`, "", "not JSON: it ends too early"},
		{"no JSON", `numCards: 5`, "", "not JSON: "},
		{"nested too deeply", strings.Repeat("[", 20_000), "", "not JSON: "},
	} {
		f, err := readForm(tt.file)
		if err == nil {
			err = f.check()
		}
		got := ""
		if err == nil {
			got, err = sent(f)
		}
		text := errorText(err)
		if tt.err == "not JSON: " { // the rest is of encoding/json
			text, _, _ = strings.Cut(text, "invalid")
		}
		if got != tt.want || text != tt.err {
			t.Errorf("%s: got %s and %v, want %s and %q", tt.name, got, err, tt.want, tt.err)
		}
	}
}

// sent returns the request for the text T as JSON.
func sent(f form) (string, error) {
	request, err := f.request("T")
	if err != nil {
		return "", err
	}
	data, err := json.Marshal(request)
	return string(data), err
}

func TestFormSet(t *testing.T) {
	t.Parallel()
	f, err := readForm(`{"numCards": 5, "textOptions": {"tone": "dry", "language": "en"}, "imageOptions": null}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range []struct {
		field string
		value any
	}{{"numCards", 7}, {"textOptions.tone", "wet"}, {"imageOptions.source", "noImages"}} {
		if err := f.set(set.field, set.value); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.check(); err != nil {
		t.Fatal(err)
	}
	const want = `{"imageOptions":{"source":"noImages"},"inputText":"T","numCards":7,"textOptions":{"language":"en","tone":"wet"}}`
	if got, err := sent(f); got != want || err != nil {
		t.Errorf("flags over the file: got %s and %v, want %s", got, err, want)
	}
	f.fields["textOptions"] = "dry"
	if err := f.set("textOptions.tone", "wet"); errorText(err) != "textOptions is not an object" {
		t.Errorf("a flag for a field of what is no object: %v", err)
	}
}

// A file may be removed between the check and the create.
func TestInputsReadTextsLate(t *testing.T) {
	folder(t, "a.md", "b.md", "c.md", "d.md")
	f := form{fields: map[string]any{}}
	sources, errs := fileSources([]string{"a.md", "b.md", "c.md", "d.md"}, true)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	var failed []string
	var gone error
	var got []string
	for input := range f.inputs(sources, func(s source, err error) { failed, gone = append(failed, s.key), err }) {
		got = append(got, input.Request.(*api.GenerationRequest).InputText)
		if input.Key == "a.md" {
			if input.File != "a" {
				t.Errorf("a.md is saved as %q", input.File)
			}
			if err := errors.Join(os.WriteFile("b.md", []byte("changed"), 0o666), os.Remove("c.md")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if want := []string{"about a.md", "changed", "about d.md"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got the texts %q, want %q", got, want)
	}
	if !reflect.DeepEqual(failed, []string{"c.md"}) || !errors.Is(gone, fs.ErrNotExist) {
		t.Errorf("a file that is gone: failed %q with %v", failed, gone)
	}
	for range f.inputs(sources, nil) {
		break
	}
}

// Every field of an accepted file that is not null is in the request.
func FuzzRequestFile(f *testing.F) {
	f.Add(`{"numCards": 5, "textOptions": {"tone": "dry"}, "folderIds": ["a"]}`)
	f.Add(`{"gammaId": "g_1", "imageOptions": {"model": "x"}}`)
	f.Add(`{"sharingOptions": {"emailOptions": {"recipients": ["a@b"]}}, "cardOptions": null}`)
	f.Add(`{"numCards": 5, "numCards": 6}`)
	f.Add(`{"folderIds": [null], "cardOptions": {"headerFooter": {"topLeft": {}}}}`)
	f.Add(`{"cardOptions": {"headerFooter": {"topLeft": {"type": "text", "value": "v"}}}}`)
	f.Fuzz(func(t *testing.T, file string) {
		form, err := readForm(file)
		if err == nil {
			err = form.check()
		}
		if err != nil {
			return
		}
		text, err := sent(form)
		if err != nil {
			t.Fatalf("an accepted file makes no request: %v", err)
		}
		if request, _ := form.request("T"); gamma.Validate(request) != nil {
			return // such as a required field that is missing, and would be sent empty
		}
		var given, got map[string]any
		if err := errors.Join(json.Unmarshal([]byte(file), &given), json.Unmarshal([]byte(text), &got)); err != nil {
			t.Fatal(err)
		}
		given[form.textField()] = "T"
		dropNulls(given)
		if !reflect.DeepEqual(given, got) {
			t.Errorf("given %v, sent %v", given, got)
		}
	})
}

func dropNulls(v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			if value == nil {
				delete(v, name)
			}
			dropNulls(value)
		}
	case []any:
		for _, value := range v {
			dropNulls(value)
		}
	}
}
