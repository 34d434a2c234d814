package batch

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/test/sample"
	"github.com/gamma-sdk/gamma-go/poller"
)

// What Run does for an input depends on what the journal has of its key.
func TestDecide(t *testing.T) {
	tea, plain := request("tea", "pdf"), request("tea", "")
	generation := json.RawMessage(`{"generationId":"gen-tea","status":"completed"}`)
	failure := json.RawMessage(`{"generationId":"gen-tea","status":"failed"}`)
	path := map[state][]line{
		"":        nil,
		sent:      {{State: sent}},
		uncertain: {{State: sent}, {State: uncertain}},
		refused:   {{State: sent}, {State: refused}},
		created:   {{State: sent}, {State: created, ID: "gen-tea"}},
		waiting:   {{State: sent}, {State: created, ID: "gen-tea"}, {State: waiting}},
		lost:      {{State: sent}, {State: created, ID: "gen-tea"}, {State: lost}},
		failed:    {{State: sent}, {State: created, ID: "gen-tea"}, {State: failed, Message: "no", StatusCode: 422, Generation: failure}},
		completed: {{State: sent}, {State: created, ID: "gen-tea"}, {State: completed, Generation: generation}},
		saved:     {{State: sent}, {State: created, ID: "gen-tea"}, {State: completed, Generation: generation}, {State: saved}},
	}
	const both = Uncertain | Failed
	for _, tt := range []struct {
		state state
		want  Action // of the same request
		none  Action // of one without an export
		retry Retry  // that creates it again
	}{
		{"", Create, Create, 0},
		{sent, Leave, Leave, Uncertain},
		{uncertain, Leave, Leave, Uncertain},
		{refused, Create, Create, 0},
		{created, Wait, Wait, 0},
		{waiting, Wait, Wait, 0},
		{lost, Wait, Wait, Failed},
		{failed, Leave, Leave, Failed},
		{completed, Wait, Skip, 0},
		{saved, Wait, Skip, 0},
	} {
		for _, retry := range []Retry{0, Uncertain, Failed, both} {
			for _, present := range []bool{false, true} {
				for _, c := range []struct {
					name    string
					request api.GenerationRequest
					same    bool
					change  bool
				}{
					{"the same request", tea, true, false},
					{"another request", request("coffee", "pdf"), true, true},
					{"a request without an export", plain, false, false},
					{"another request without an export", request("coffee", ""), false, true},
				} {
					if c.same == false && tt.state == saved {
						continue
					}
					journaled := tea
					if !c.same {
						journaled = plain
					}
					b := newBatch(t, newFake())
					b.Retry = retry
					var lines []line
					for _, l := range path[tt.state] {
						switch l.Key = "a"; {
						case l.State == sent:
							l.Request = hashOf(t, journaled)
						case l.State == completed && c.same:
							l.File = "a.pdf"
						}
						lines = append(lines, l)
					}
					writeJournal(t, b, lines...)
					if present {
						writeFile(t, filepath.Join(b.Dir, "a.pdf"), "old")
					}
					want := tt.want
					switch {
					case c.change, tt.retry&retry != 0:
						want = Create
					case !c.same:
						want = tt.none
					case tt.state == saved && present:
						want = Skip
					}
					if (want == Create || want == Wait) && c.same && present && tt.state != completed && tt.state != saved {
						want = Refuse // it is not of this batch
					}
					p := slices.Collect(b.Plan(slices.Values([]Input{{Key: "a", Request: c.request}})))[0]
					id := ""
					if len(lines) > 1 && lines[1].ID != "" {
						id = "gen-tea"
					}
					file := ""
					if c.same {
						file = filepath.Join(b.Dir, "a.pdf")
					}
					if p.Action != want || p.Key != "a" || p.GenerationID != id || p.File != file || (p.Err != nil) != (want == Leave || want == Refuse) {
						t.Errorf("%q, Retry %v, %s, file there %v: %+v, want %s of %q to %q", tt.state, retry, c.name, present, p, want, id, file)
					}
					if p.Err != nil {
						oneLine(t, p.Err)
					}
					var failure *poller.FailedError
					if want == Leave && errors.Is(p.Err, gamma.ErrMaybeCreated) == errors.As(p.Err, &failure) {
						t.Errorf("%q: %v", tt.state, p.Err)
					}
					if failure != nil && (failure.Message != "no" || failure.StatusCode != 422 || failure.Generation == nil) {
						t.Errorf("%+v", failure)
					}
				}
			}
		}
	}
}

// A plan changes nothing. The run does what it says.
func TestPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := newBatch(t, f)
		for p := range b.Plan(pdfs("new")) {
			if p.Action != Create || p.Err != nil {
				t.Errorf("%+v", p)
			}
		}
		if entries, err := os.ReadDir(b.Dir); len(entries) != 0 || err != nil {
			t.Errorf("%v, %v", entries, err)
		}
		f.hook("create uncertain", first(1, drops))
		collect(t, b.Run(canceledAfter(t, time.Second, nil), pdfs("wait", "uncertain")))
		collect(t, b.Run(t.Context(), pdfs("skip", "bad")))
		before, err := os.ReadFile(b.journalPath())
		if err != nil {
			t.Fatal(err)
		}
		all := []string{"new", "wait", "uncertain", "skip", "bad", ""}
		planner := &Batch{Dir: b.Dir} // without a Client
		var actions []Action
		for p := range planner.Plan(pdfs(all...)) {
			actions = append(actions, p.Action)
		}
		if want := []Action{Create, Wait, Leave, Skip, Leave, Refuse}; !slices.Equal(actions, want) {
			t.Errorf("%v, want %v", actions, want)
		}
		for range planner.Plan(pdfs(all...)) {
			break
		}
		if after, err := os.ReadFile(b.journalPath()); string(after) != string(before) || err != nil {
			t.Errorf("the plan has changed the journal: %v", err)
		}
		f.reset()
		collect(t, b.Run(t.Context(), pdfs(all...)))
		if f.count("create") != 1 || f.count("create new") != 1 || f.count("poll gen-skip") != 0 || f.count("poll gen-bad") != 0 {
			t.Errorf("%v", f.requests)
		}
	})
}

func TestHash(t *testing.T) {
	tea := request("tea", "pdf")
	template := sample.Request(published, "createFromTemplateGeneration", api.TemplateGenerationRequest{Prompt: "tea", GammaID: "g_1"})
	other := template
	other.Prompt = "coffee"
	raw := func(s string) any { return json.RawMessage(s) }
	for _, tt := range []struct {
		name string
		a, b any
		same bool
	}{
		{"the same", tea, request("tea", "pdf"), true},
		{"by a pointer", tea, &tea, true},
		{"another text", tea, request("coffee", "pdf"), false},
		{"another export", tea, request("tea", "pptx"), false},
		{"the same template", template, &template, true},
		{"a template with another text", template, other, false},
		{"a text and a template", tea, template, false},
		{"another order of fields", raw(`{"a":1,"b":{"c":[1,2],"d":"x"}}`), raw(`{"b":{"d":"x","c":[1,2]},"a":1}`), true},
		{"white space", raw(`{"a":1}`), raw("{ \"a\" :\n1}"), true},
		{"another spelling of a string", raw(`{"a":"<\u00e9"}`), raw(`{"a":"\u003cé"}`), true},
		{"another order of a list", raw(`{"a":[1,2]}`), raw(`{"a":[2,1]}`), false},
		{"numbers that are one as a float64", raw(`{"a":9007199254740993}`), raw(`{"a":9007199254740992}`), false},
	} {
		if got := hashOf(t, tt.a) == hashOf(t, tt.b); got != tt.same {
			t.Errorf("%s: the same is %v", tt.name, got)
		}
	}
	if h := hashOf(t, tea); len(h) != 32 {
		t.Errorf("%q", h)
	}
}

// The copy shares no memory with the request.
func TestCopyOf(t *testing.T) {
	type request struct {
		Folders []string          `json:"folders"`
		Options *struct{ N int }  `json:"options"`
		Raw     json.RawMessage   `json:"raw"`
		Map     map[string]string `json:"map"`
	}
	const want = `{"folders":["a"],"options":{"N":1},"raw":[1],"map":{"a":"b"}}`
	r := &request{[]string{"a"}, &struct{ N int }{1}, json.RawMessage(`[1]`), map[string]string{"a": "b"}}
	c, err := copyOf(r)
	r.Folders[0], r.Options.N, r.Raw[1], r.Map["a"] = "c", 2, '2', "d"
	if got, e := json.Marshal(c); err != nil || e != nil || string(got) != want {
		t.Errorf("%s, %v, %v", got, err, e)
	}
	if none, err := copyOf[request](nil); none != nil || err != nil {
		t.Errorf("%v, %v", none, err)
	}
}

func TestTemplate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := newBatch(t, f)
		template := sample.Request(published, "createFromTemplateGeneration", api.TemplateGenerationRequest{Prompt: "tea", GammaID: "g_1"})
		inputs := []Input{{Key: "value", Request: template}, {Key: "pointer", Request: &template}}
		for range 2 {
			for _, r := range collect(t, b.Run(t.Context(), slices.Values(inputs))) {
				if r.Err != nil || r.Generation == nil || r.Saved != "" {
					t.Errorf("%+v", r)
				}
			}
		}
		if f.created["tea"] != 2 {
			t.Errorf("%d creates", f.created["tea"])
		}
	})
}

func TestFileOf(t *testing.T) {
	for _, tt := range []struct {
		name   string
		input  Input
		export string
		want   string // empty: an error
	}{
		{"the key", Input{Key: "tea"}, "pdf", "tea.pdf"},
		{"a key with an extension", Input{Key: "tea.md"}, "pptx", "tea.md.pptx"},
		{"images are in an archive", Input{Key: "tea"}, "png", "tea.zip"},
		{"an export that this package does not know", Input{Key: "tea"}, "odt", "tea.odt"},
		{"an export that is no extension", Input{Key: "tea"}, "../x", "tea.export"},
		{"a file", Input{Key: "tea", File: "coffee"}, "pdf", "coffee.pdf"},
		{"a file in a directory", Input{Key: "tea", File: "a/b/c"}, "pdf", "a/b/c.pdf"},
		{"a path with dots", Input{Key: "tea", File: "a/./b/../c"}, "pdf", "a/c.pdf"},
		{"slashes", Input{Key: "tea", File: "a//b"}, "pdf", "a/b.pdf"},
		{"the directory above", Input{Key: "tea", File: "../a"}, "pdf", ""},
		{"above by a detour", Input{Key: "tea", File: "a/../../b"}, "pdf", ""},
		{"an absolute path", Input{Key: "tea", File: "/etc/passwd"}, "pdf", ""},
		{"a directory", Input{Key: "tea", File: "a/"}, "pdf", ""},
		{"NUL", Input{Key: "tea", File: "a\x00b"}, "pdf", ""},
		{"a line break", Input{Key: "tea", File: "a\nb"}, "pdf", "a\nb.pdf"},
		{"not UTF-8", Input{Key: "tea", File: "a\xffb"}, "pdf", ""},
		{"a key with a slash", Input{Key: "a/b"}, "pdf", nameOf("a/b") + ".pdf"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := fileOf(tt.input, tt.export)
			if got != tt.want || (err != nil) != (tt.want == "") {
				t.Errorf("%q, %v, want %q", got, err, tt.want)
			}
			if err != nil {
				oneLine(t, err)
			}
		})
	}
}

func TestNameOf(t *testing.T) {
	for key, want := range map[string]string{
		"tea":             "tea",
		"Tea 1 (old).txt": "Tea 1 (old).txt",
		"茶":               "茶",
		"día":             "día",
		"a/b":             "a-b-c14cddc0",
		"..":              "file-5ec1f7e7",
	} {
		if got := nameOf(key); got != want {
			t.Errorf("%q: %q, want %q", key, got, want)
		}
	}
	seen := map[string]string{}
	for _, key := range []string{
		"a", "a/b", "a\\b", "a:b", "a-b", "a b", "../a", "..", ".", "...", "/", "//", "-", "--", " ", " a", "a ", "a.", ".a", "~", "$(x)", "a\x00b", "a\nb", "\x00",
		"a\u202eb", "a\u200bb", "a<b", "a>b", "a|b", "a?b", "a*b", `a"b`, "*", "https://a.example/b?c=d",
		"con", "CON", "aux", "nul", "COM1", "lpt9", "con.txt", "nul.tar", "conin$",
		strings.Repeat("x", 150), strings.Repeat("x", 151), strings.Repeat("x", 1024), strings.Repeat("é", 300), strings.Repeat("茶", 300), strings.Repeat("茶", 301),
		strings.Repeat("/", 1024),
	} {
		name := nameOf(key)
		if name == "" || len(name) > 160 || !utf8.ValidString(name) || strings.ContainsAny(name, "/\\:<>|?*\"\x00\n") || strings.Trim(name, " .") != name {
			t.Errorf("%q: %q", key, name)
		}
		if !filepath.IsLocal(name) || filepath.Base(name) != name {
			t.Errorf("%q: %q is not a file on %s", key, name, runtime.GOOS)
		}
		if other, ok := seen[name]; ok {
			t.Errorf("%q and %q have the name %q", key, other, name)
		}
		seen[name] = key
	}
}

// A file that the batch did not save is not replaced.
func TestExistingFile(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before Input // of a run before; none without a key
		input  Input
		there  string
		is     string // what is there; empty: a file
	}{
		{"for a new input", Input{}, Input{Key: "a", Request: request("tea", "pdf")}, "a.pdf", ""},
		{"a directory", Input{}, Input{Key: "a", Request: request("tea", "pdf")}, "a.pdf", "directory"},
		{"a link to nothing", Input{}, Input{Key: "a", Request: request("tea", "pdf")}, "a.pdf", "link"},
		{"for another file of an input", Input{Key: "a", Request: request("tea", "pdf")}, Input{Key: "a", Request: request("tea", "pdf"), File: "b"}, "b.pdf", ""},
		{"for another file of a changed input", Input{Key: "a", Request: request("tea", "pdf")}, Input{Key: "a", Request: request("coffee", "pdf"), File: "b"}, "b.pdf", ""},
		{"the export of another input", Input{Key: "b", Request: request("tea", "pdf")}, Input{Key: "a", Request: request("coffee", "pdf"), File: "b"}, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				b := newBatch(t, f)
				if tt.before.Key != "" {
					collect(t, b.Run(t.Context(), slices.Values([]Input{tt.before})))
				}
				there := filepath.Join(b.Dir, tt.there)
				var err error
				switch {
				case tt.there == "":
				case tt.is == "":
					writeFile(t, there, "foreign")
				case tt.is == "directory":
					err = os.Mkdir(there, 0o700)
				case tt.is == "link":
					err = os.Symlink("nowhere", there)
				}
				if err != nil {
					t.Fatal(err)
				}
				f.reset()
				r := collect(t, b.Run(t.Context(), slices.Values([]Input{tt.input})))[tt.input.Key]
				if r.Err == nil || r.Saved != "" || f.count("") != 0 || !strings.Contains(r.Err.Error(), "exists and is not the export of this input") {
					t.Errorf("%+v", r)
				}
				if data, _ := os.ReadFile(there); tt.there != "" && tt.is == "" && string(data) != "foreign" {
					t.Errorf("it has %q now", data)
				}
			})
		})
	}
}

// An input whose export cannot be saved is not created.
func TestNothingIsCreatedThatCannotBeSaved(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows says that such files do not exist")
	}
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := newBatch(t, f)
		writeFile(t, filepath.Join(b.Dir, "a\n"), "")
		for name, file := range map[string]string{
			"the name is too long":  strings.Repeat("a", 300),
			"a file as a directory": "a\n/b",
		} {
			r := collect(t, b.Run(t.Context(), slices.Values([]Input{{Key: "a", Request: request("tea", "pdf"), File: file}})))["a"]
			if r.Err == nil || f.count("") != 0 || !strings.Contains(r.Err.Error(), "the export cannot be saved: ") {
				t.Errorf("%s: %+v", name, r)
			}
		}
	})
}

// A file that appears during a wait is not replaced.
func TestFileAppearsDuringARun(t *testing.T) {
	for _, tt := range []struct {
		name    string
		stopped bool // and comes between two runs
	}{{"during a run", false}, {"between two runs", true}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				b := newBatch(t, f)
				path := filepath.Join(b.Dir, "tea.pdf")
				ctx := t.Context()
				if tt.stopped {
					ctx = canceledAfter(t, 40*time.Second, nil)
				}
				time.AfterFunc(30*time.Second, func() { writeFile(t, path, "foreign") })
				for i := range 3 {
					r := collect(t, b.Run(ctx, pdfs("tea")))["tea"]
					ctx = t.Context()
					if r.Err == nil || r.GenerationID != "gen-tea" || r.Saved != "" || (i > 0 || !tt.stopped) && !strings.Contains(r.Err.Error(), "exists and is not the export of this input") {
						t.Errorf("run %d: %+v", i+1, r)
					}
					if data, err := os.ReadFile(path); string(data) != "foreign" {
						t.Fatalf("run %d: it has %q now, %v", i+1, data, err)
					}
				}
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				allSaved(t, collect(t, b.Run(t.Context(), pdfs("tea"))), "tea")
				f.once(t)
			})
		})
	}
}

// Two inputs of different runs may have the same path. The file belongs to the input that
// was saved there last.
func TestFileOfAnotherRun(t *testing.T) {
	for _, tt := range []struct {
		name string
		hook hook // of the first download of tea
	}{{"saved, and moved away", nil}, {"not saved", responds(404, "")}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				b := newBatch(t, f)
				run := func(key string) Result {
					return collect(t, b.Run(t.Context(), slices.Values([]Input{{Key: key, Request: request(key, "pdf"), File: "drink"}})))[key]
				}
				path := filepath.Join(b.Dir, "drink.pdf")
				f.hook("download gen-tea", tt.hook)
				if r := run("tea"); (r.Err == nil) != (tt.hook == nil) {
					t.Fatalf("%+v", r)
				}
				f.hook("download gen-tea", nil)
				if err := os.Remove(path); err != nil && tt.hook == nil {
					t.Fatal(err)
				}
				if r := run("coffee"); r.Err != nil {
					t.Fatalf("%+v", r)
				}
				if r := run("tea"); r.Saved != "" || r.Err == nil || !strings.Contains(r.Err.Error(), "exists and is not the export of this input") {
					t.Errorf("%+v", r)
				}
				if data, err := os.ReadFile(path); string(data) != content("gen-coffee") {
					t.Errorf("it has %q now, %v", data, err)
				}
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				allSaved(t, map[string]Result{"tea": run("tea")}, "tea")
				f.once(t)
			})
		})
	}
}

func TestInvalidInputs(t *testing.T) {
	good := request("x", "pdf")
	for _, tt := range []struct {
		name  string
		input Input
		text  string
	}{
		{"no key", Input{Request: good}, "gamma: batch: the key"},
		{"a long key", Input{Key: strings.Repeat("k", 1025), Request: good}, "gamma: batch: the key"},
		{"a key that is not UTF-8", Input{Key: "a\xff", Request: good}, "gamma: batch: the key"},
		{"a key of an input before", Input{Key: "good", Request: good}, "gamma: batch: another input has the same key"},
		{"no request", Input{Key: "a"}, "gamma: batch: the request is a "},
		{"a nil request", Input{Key: "a", Request: (*api.GenerationRequest)(nil)}, "gamma: batch: the request is a "},
		{"a nil template", Input{Key: "a", Request: (*api.TemplateGenerationRequest)(nil)}, "gamma: batch: the request is a "},
		{"another type", Input{Key: "a", Request: "tea"}, "gamma: batch: the request is a string or nil, not"},
		{"a request without a text", Input{Key: "a", Request: api.GenerationRequest{}}, "gamma: POST /v1.0/generations: inputText"},
		{"a file above the directory", Input{Key: "a", Request: good, File: "../a"}, "gamma: batch: the file ../a is not"},
		{"the file of another input", Input{Key: "a", Request: good, File: "GOOD"}, "gamma: batch: the export would replace that of good"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				b := newBatch(t, f)
				inputs := []Input{{Key: "good", Request: request("good", "pdf")}, tt.input}
				var bad []Result
				for r := range b.Run(t.Context(), slices.Values(inputs)) {
					if r.Err != nil {
						bad = append(bad, r)
					}
				}
				if len(bad) != 1 || bad[0].Key != tt.input.Key || !strings.HasPrefix(bad[0].Err.Error(), tt.text) {
					t.Fatalf("%+v", bad)
				}
				oneLine(t, bad[0].Err)
				if f.count("create") != 1 {
					t.Errorf("%d creates", f.count("create"))
				}
				plans := slices.Collect(b.Plan(slices.Values(inputs)))
				if len(plans) != 2 || plans[0].Action != Skip || plans[1].Action != Refuse || plans[1].Err == nil || plans[1].Err.Error() != bad[0].Err.Error() {
					t.Errorf("the plan is %+v", plans)
				}
			})
		})
	}
	var invalid *gamma.InvalidRequestError
	for p := range newBatch(t, newFake()).Plan(pdfs("")) {
		if p.Err == nil || errors.As(p.Err, &invalid) {
			t.Errorf("%+v", p)
		}
	}
}
