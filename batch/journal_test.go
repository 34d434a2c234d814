package batch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

// journalOf returns the journal of a run of the keys.
func journalOf(t *testing.T, f *fake, keys ...string) []byte {
	t.Helper()
	b := newBatch(t, f)
	b.Creates = 1
	collect(t, b.Run(t.Context(), pdfs(keys...)))
	data, err := os.ReadFile(b.journalPath())
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A journal that is cut off at any byte can be used: an input with an id is not created
// again, and one that may have been created has that error.
func TestTruncatedJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := []string{"tea", "bad"}
		data := journalOf(t, newFake(), all...)
		dir := t.TempDir()
		for n := range len(data) + 1 {
			whole := int64(bytes.LastIndexByte(data[:n], '\n') + 1)
			atEnd := n < len(data) && data[n] == '\n' // only the line break is missing
			for _, tail := range []string{"", "\x00\x00\x00"} {
				path := filepath.Join(dir, "journal")
				writeFile(t, path, string(data[:n])+tail)
				size := whole
				if atEnd && tail == "" {
					size = int64(n)
				}
				if j, err := readJournal(path, "https://api.example"); err != nil || j.size != size {
					t.Fatalf("cut at byte %d: %v, %+v, want %d bytes", n, err, j, size)
				}
				if !atEnd && int64(n) != whole && n%16 != 0 {
					continue // to save time: like a cut at the end of the line before
				}
				checkCut(t, filepath.Join(dir, fmt.Sprint(n, len(tail))), data[:n], tail, all)
				if t.Failed() {
					t.Fatalf("cut at byte %d: %q", n, data[:n])
				}
			}
		}
	})
}

func checkCut(t *testing.T, dir string, cut []byte, tail string, all []string) {
	t.Helper()
	f := newFake()
	f.life = 0
	b := &Batch{Client: newClient(t, f), Dir: dir}
	writeFile(t, b.journalPath(), string(cut)+tail)
	whole := map[string][]string{} // the states of each key
	for _, text := range bytes.Split(cut, []byte("\n"))[1:] {
		var l line
		if json.Unmarshal(text, &l) == nil && (tail == "" || bytes.Contains(cut, append(text, '\n'))) {
			whole[l.Key] = append(whole[l.Key], string(l.State))
		}
	}
	for key, states := range whole {
		if len(states) > 1 {
			f.add(key, "pdf")
		}
		if len(states) > 3 {
			writeFile(t, filepath.Join(dir, key+".pdf"), content("gen-"+key))
		}
	}
	got := collect(t, b.Run(t.Context(), pdfs(all...)))
	for _, key := range all {
		r := got[key]
		creates := 0
		if len(whole[key]) == 0 {
			creates = 1
		}
		switch {
		case len(whole[key]) == 1:
			if !errors.Is(r.Err, gamma.ErrMaybeCreated) {
				t.Errorf("%+v", r)
			}
		case key == "bad":
			if r.GenerationID != "gen-bad" || r.Err == nil || errors.Is(r.Err, gamma.ErrMaybeCreated) {
				t.Errorf("%+v", r)
			}
		default:
			allSaved(t, map[string]Result{key: r}, key)
		}
		if n := f.count("create " + key); n != creates {
			t.Errorf("%s: %d creates after %v", key, n, whole[key])
		}
	}
	if len(got) != len(all) {
		t.Errorf("%+v", got)
	}
	linesOf(t, b)
	f.once(t)
}

// A file that is not the journal of this batch is an error, and is not changed.
func TestWrongJournal(t *testing.T) {
	const first = `{"journal":"gamma batch 1","server":"https://api.example"}` + "\n"
	const create = `{"time":"2026-01-02T03:04:05Z","key":"a","state":"creating","request":"00"}` + "\n"
	for _, tt := range []struct {
		name string
		text string
		want string // in the error
	}{
		{"a text", "tea\ncoffee\n", "line 1: not the journal of a batch"},
		{"a text of one line without its end", "tea and coffee", "line 1: not the journal of a batch"},
		{"one letter", "x", "line 1: not the journal of a batch"},
		{"a long line", strings.Repeat("tea", 100_000), "line 1: not the journal of a batch"},
		{"a binary file", "\x7fELF\x00\x00\x01", "line 1: not the journal of a batch"},
		{"an empty line", "\n", "line 1: not the journal of a batch"},
		{"JSON", `{"tea":1}`, "line 1: not the journal of a batch"},
		{"JSON that is cut off", `{"tea":`, "line 1: not the journal of a batch"},
		{"a list", "[\n1\n]\n", "line 1: not the journal of a batch"},
		{"no first line", create, "line 1: not the journal of a batch"},
		{"another format", `{"journal":"gamma batch 2","server":"https://api.example"}` + "\n", "line 1: unknown format gamma batch 2"},
		{"a format on more than one line", `{"journal":"a\nb\u001b"}` + "\n", `line 1: unknown format a\nb\x1b`},
		{"another server", `{"journal":"gamma batch 1","server":"https://other.example"}` + "\n", "line 1: the journal belongs to another server, https://other.example: use another directory"},
		{"a wrong line in the middle", first + create + "tea\n" + create, "line 3: not a line of a journal"},
		{"an empty line in the middle", first + create + "\n" + create, "line 3: not a line of a journal"},
		{"a cut line in the middle", first + create[:40] + "\n" + create, "line 2: not a line of a journal"},
		{"two lines in one", first + strings.TrimSpace(create) + create, "line 2: not a line of a journal"},
		{"two lines in one, the last", first + create + strings.TrimSpace(create) + strings.TrimSpace(create) + "\n", "line 3: not a line of a journal"},
		{"NUL in the middle", first + "\x00\x00\x00\n" + create, "line 2: not a line of a journal"},
		{"a number", first + "7\n", "line 2: not a line of a journal"},
		{"null", first + "null\n", "line 2: "},
		{"a key of another type", first + `{"key":7,"state":"creating"}` + "\n", "line 2: not a line of a journal"},
		{"an unknown state", first + create + `{"key":"a","state":"archived\n"}` + "\n", `line 3: unknown state archived\n`},
		{"no state", first + create + `{"key":"a"}` + "\n", "line 3: unknown state"},
		{"the line of a create is missing", first + `{"key":"a","state":"created","generationId":"x"}` + "\n", "line 2: the line of the create is missing"},
		{"an id is missing", first + create + `{"key":"a","state":"created"}` + "\n", "line 3: the generation id is missing"},
		{"an id is missing at the end of a wait", first + create + `{"key":"a","state":"completed"}` + "\n", "line 3: the generation id is missing"},
		{"a generation of another type", first + create + `{"key":"a","state":"failed","generationId":"x","generation":[]}` + "\n", "line 3: the generation is not valid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake()
			b := newBatch(t, f)
			writeFile(t, b.journalPath(), tt.text)
			b.NoWait = true
			got := collect(t, b.Run(t.Context(), pdfs("tea")))
			if err := got[""].Err; len(got) != 1 || err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "gamma.jsonl") {
				t.Fatalf("%+v", got)
			}
			for p := range b.Plan(pdfs("tea")) {
				if p.Err == nil || p.Err.Error() != got[""].Err.Error() || p.Action != Refuse || p.Key != "" {
					t.Errorf("the plan is %+v", p)
				}
			}
			if data, err := os.ReadFile(b.journalPath()); string(data) != tt.text || err != nil {
				t.Errorf("the file has %q now, %v", data, err)
			}
			if f.count("") != 0 {
				t.Errorf("%d requests", f.count(""))
			}
		})
	}
}

// An empty journal, or the start of one, is no error.
func TestEmptyJournal(t *testing.T) {
	const first = `{"journal":"gamma batch 1","server":"https://api.example"}`
	for name, text := range map[string]string{
		"empty":                  "",
		"only NUL":               "\x00\x00\x00\x00",
		"half a first line":      first[:20],
		"half, and NUL":          first[:20] + "\x00\x00",
		"one byte":               "{",
		"a first line":           first + "\n",
		"without its line break": first,
		"NUL after it":           first + "\n\x00\x00",
		"fields that are unknown": strings.TrimSuffix(first, "}") + `,"later":[1]}` + "\n" +
			`{"key":"x","state":"creating","later":{"a":1}}` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				b := newBatch(t, f)
				writeFile(t, b.journalPath(), text)
				for range 2 {
					allSaved(t, collect(t, b.Run(t.Context(), pdfs("tea"))), "tea")
				}
				linesOf(t, b)
				f.once(t)
			})
		})
	}
}

func TestJournalPath(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(t *testing.T, b *Batch)
		want string // in the error
	}{
		{"the journal is a directory", func(t *testing.T, b *Batch) {
			if err := os.Mkdir(b.journalPath(), 0o700); err != nil {
				t.Fatal(err)
			}
		}, "gamma.jsonl: not a regular file"},
		{"the directory is a file", func(t *testing.T, b *Batch) {
			b.Dir = filepath.Join(b.Dir, "file\n")
			writeFile(t, b.Dir, "")
		}, "exists"},
		{"the directory cannot be made", func(t *testing.T, b *Batch) {
			b.Dir = filepath.Join(b.Dir, "file\n")
			writeFile(t, b.Dir, "")
			b.Dir = filepath.Join(b.Dir, "decks")
		}, "not a directory"},
		{"a read-only directory", func(t *testing.T, b *Batch) {
			if os.Geteuid() <= 0 {
				t.Skip("root may write everywhere, and Windows knows no such directories")
			}
			if err := os.Chmod(b.Dir, 0o500); err != nil {
				t.Fatal(err)
			}
		}, "permission denied"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake()
			b := newBatch(t, f)
			tt.make(t, b)
			got := collect(t, b.Run(t.Context(), pdfs("tea")))
			if err := got[""].Err; len(got) != 1 || err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "gamma: batch: ") {
				t.Fatalf("%+v", got)
			}
			if f.count("") != 0 {
				t.Errorf("%d requests", f.count(""))
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := newBatch(t, f)
		b.Journal = filepath.Join(b.Dir, "a", "b.journal")
		b.Dir = filepath.Join(b.Dir, "c")
		allSaved(t, collect(t, b.Run(t.Context(), pdfs("tea"))), "tea")
		if info, err := os.Stat(b.Journal); err != nil || info.Mode().Perm() != 0o600 && info.Mode().Perm() != 0o666 {
			t.Errorf("%v, %v", info, err)
		}
		if _, err := os.Stat(filepath.Join(b.Dir, "gamma.jsonl")); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
}

// A second run with the same journal gets an error. The first is not disturbed.
func TestLocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := newBatch(t, f)
		link := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(b.journalPath(), link); err != nil {
			link = b.journalPath() // Windows may not let us
		}
		time.AfterFunc(time.Second, func() {
			for _, second := range []*Batch{b, {Client: b.Client, Dir: b.Dir}, {Client: b.Client, Journal: filepath.Join(b.Dir, ".", "gamma.jsonl")}, {Client: b.Client, Journal: link}} {
				got := collect(t, second.Run(t.Context(), pdfs("coffee")))
				if len(got) != 1 || !errors.Is(got[""].Err, ErrLocked) {
					t.Errorf("%+v", got)
				}
			}
			for p := range b.Plan(pdfs("tea")) { // which only reads
				if p.Action != Wait {
					t.Errorf("%+v", p)
				}
			}
		})
		allSaved(t, collect(t, b.Run(t.Context(), pdfs("tea"))), "tea")
		if f.count("create coffee") != 0 {
			t.Error("the second run has created")
		}
		allSaved(t, collect(t, b.Run(t.Context(), pdfs("tea", "coffee"))), "tea", "coffee")
	})
}

// A run in another process gets the error, too.
func TestLockedByAnotherProcess(t *testing.T) {
	const journal, server = "GAMMA_BATCH_TEST_JOURNAL", "GAMMA_BATCH_TEST_SERVER"
	if path := os.Getenv(journal); path != "" {
		client, err := gamma.NewClient(apiKey, gamma.WithBaseURL(os.Getenv(server)))
		if err != nil {
			t.Fatal(err)
		}
		b := &Batch{Client: client, Dir: t.TempDir(), Journal: path}
		for r := range b.Run(t.Context(), pdfs("coffee")) {
			fmt.Printf("locked: %v, %v\n", errors.Is(r.Err, ErrLocked), r.Err)
		}
		return
	}
	f := newFake()
	f.life = 0
	api := httptest.NewServer(f)
	defer api.Close()
	f.files = api.URL
	client, err := gamma.NewClient(apiKey, gamma.WithBaseURL(api.URL))
	if err != nil {
		t.Fatal(err)
	}
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b := &Batch{Client: client, Dir: t.TempDir()}
	b.OnEvent = func(e Event) {
		if e.Step != Created {
			return
		}
		second := exec.Command(executable, "-test.run=^TestLockedByAnotherProcess$")
		second.Env = append(os.Environ(), journal+"="+b.journalPath(), server+"="+api.URL)
		if out, err := second.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("locked: true, gamma: another run uses the journal "+b.journalPath()+"\n")) {
			t.Errorf("%v: %s", err, out)
		}
	}
	b.NoWait = true // a wait takes real time
	got := collect(t, b.Run(t.Context(), pdfs("tea")))
	if got["tea"].Err != nil || got["tea"].GenerationID != "gen-tea" || f.count("") != 1 {
		t.Errorf("%+v", got)
	}
}

// A journal that is accepted is read in the same way after a line was added.
func FuzzJournal(f *testing.F) {
	const first = `{"journal":"gamma batch 1","server":"https://api.example"}` + "\n"
	const create = `{"time":"2026-01-02T03:04:05Z","key":"a","state":"creating","request":"00","file":"a.pdf"}` + "\n"
	for _, text := range []string{
		"", "x", first, first[:30], first + create, first + create[:30], first + create + "\x00", first + strings.TrimSpace(create),
		first + create + `{"key":"a","state":"created","generationId":"x","warnings":"y"}` + "\n",
		first + create + `{"key":"a","state":"waiting","generationId":"x","nextPoll":"2026-01-02T03:04:05Z"}` + "\n",
		first + create + `{"key":"a","state":"failed","generationId":"x","generation":{"generationId":"x","status":"failed"},"message":"m","statusCode":422}` + "\n",
		first + create + create[:20] + "\n" + create,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		read := func(data []byte) (*journal, error) {
			j := &journal{path: "gamma.jsonl", entries: map[string]*entry{}, owners: map[string]string{}}
			if err := j.read(bytes.NewReader(data), "https://api.example"); err != nil {
				return nil, j.failed(err)
			}
			return j, nil
		}
		before, err := read(data)
		if err != nil {
			oneLine(t, err)
			return
		}
		more := slices.Clone(data[:before.size])
		switch {
		case len(more) == 0:
			more = []byte(first)
		case !bytes.HasSuffix(more, []byte("\n")):
			more = append(more, '\n')
		}
		more = append(more, `{"key":"new\u0000key","state":"creating","request":"11"}`+"\n"...)
		after, err := read(more)
		if err != nil {
			t.Fatal(err)
		}
		if e := after.entries["new\x00key"]; e == nil || e.state != sent || e.request != "11" {
			t.Fatalf("%+v", e)
		}
		delete(after.entries, "new\x00key")
		delete(before.entries, "new\x00key")
		want, err := json.Marshal(printable(before.entries))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := json.Marshal(printable(after.entries)); !bytes.Equal(got, want) || err != nil {
			t.Fatalf("%s, %v, want %s", got, err, want)
		}
	})
}

func printable(entries map[string]*entry) map[string]string {
	all := map[string]string{}
	for key, e := range entries {
		generation, _ := json.Marshal(e.generation)
		c := *e
		c.generation = nil
		all[key] = fmt.Sprintf("%+v %s", c, generation)
	}
	return all
}

// killedBatch returns the batch of TestKill, whose process is killed.
func killedBatch(t *testing.T, server, dir string, retry Retry) *Batch {
	t.Helper()
	client, err := gamma.NewClient(apiKey, gamma.WithBaseURL(server))
	if err != nil {
		t.Fatal(err)
	}
	p := poller.New(client)
	p.Interval = 20 * time.Millisecond
	return &Batch{Client: client, Dir: dir, Poller: p, Retry: retry}
}

// texts returns n inputs with an export.
func texts(n int) iter.Seq[Input] {
	return func(yield func(Input) bool) {
		for i := range n {
			key := fmt.Sprintf("text-%03d", i)
			if !yield(Input{Key: key, Request: api.GenerationRequest{InputText: key, ExportAs: "pdf"}}) {
				return
			}
		}
	}
}

// killer is a server that kills its client at some request, before or after the request
// has its effect; the client continues until the kill reaches it.
type killer struct {
	url string

	mu        sync.Mutex
	creates   map[string]int // by text
	remaining int            // requests until the kill; negative: never
	early     bool
	kill      func()
}

func (k *killer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.remaining--
	due := k.remaining == 0
	if due && k.early {
		k.kill()
	}
	w.Header().Set("Content-Type", "application/json")
	switch id, isStatus := strings.CutPrefix(r.URL.Path, "/v1.0/generations/"); {
	case r.Method == http.MethodPost:
		var request struct{ InputText string }
		_ = json.NewDecoder(r.Body).Decode(&request)
		k.creates[request.InputText]++
		_, _ = fmt.Fprintf(w, `{"generationId":"g-%s-%d"}`, request.InputText, k.creates[request.InputText])
	case isStatus:
		_, _ = fmt.Fprintf(w, `{"generationId":%q,"status":"completed","exportUrl":"%s/files/%s"}`, id, k.url, id)
	default:
		w.Header().Set("Content-Type", "application/pdf")
		_, _ = io.WriteString(w, "%PDF "+r.URL.Path)
	}
	if due && !k.early {
		k.kill()
	}
}

func (k *killer) counts() map[string]int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.creates)
}

// A batch whose process is killed twenty times, at random moments, creates no input twice.
// Each of its inputs has a known id or is uncertain.
func TestKill(t *testing.T) {
	const childServer = "GAMMA_BATCH_TEST_KILL_SERVER"
	if url := os.Getenv(childServer); url != "" { // in the process that is killed
		for r := range killedBatch(t, url, "", 0).Run(t.Context(), texts(200)) {
			if r.Err != nil && !errors.Is(r.Err, gamma.ErrMaybeCreated) {
				t.Error(r.Key, r.Err)
			}
		}
		return
	}
	k := &killer{creates: map[string]int{}}
	server := httptest.NewServer(k)
	t.Cleanup(server.Close)
	k.url = server.URL
	dir := t.TempDir()

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	kills := 0
	for kills < 20 {
		var out bytes.Buffer
		child := exec.CommandContext(t.Context(), executable, "-test.run=^TestKill$")
		child.Env, child.Dir = append(os.Environ(), childServer+"="+server.URL), dir
		child.Stdout, child.Stderr = &out, &out
		k.mu.Lock() // until there is a process to kill
		k.remaining, k.early, k.kill = 1+random.IntN(45), random.IntN(2) == 0, func() { _ = child.Process.Kill() }
		err := child.Start()
		k.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		if child.Wait() == nil {
			break // all 200 are finished
		}
		if child.ProcessState.Exited() {
			t.Fatalf("%v: %s", child.ProcessState, out.Bytes())
		}
		kills++
	}
	if kills < 10 {
		t.Errorf("finished after only %d kills", kills)
	}
	k.mu.Lock()
	k.remaining = -1
	k.mu.Unlock()

	ids, uncertain := map[string]string{}, map[string]bool{}
	for r := range killedBatch(t, server.URL, dir, 0).Run(t.Context(), texts(200)) {
		switch {
		case r.Err == nil:
			ids[r.Key] = r.GenerationID
		case errors.Is(r.Err, gamma.ErrMaybeCreated):
			uncertain[r.Key] = true
		default:
			t.Error(r.Key, r.Err)
		}
	}
	t.Logf("%d kills, %d ids, %d uncertain", kills, len(ids), len(uncertain))
	if len(ids)+len(uncertain) != 200 {
		t.Errorf("%d ids and %d uncertain", len(ids), len(uncertain))
	}
	for text, n := range k.counts() {
		if n != 1 {
			t.Errorf("%s was created %d times", text, n)
		}
	}

	for r := range killedBatch(t, server.URL, dir, Uncertain).Run(t.Context(), texts(200)) {
		data, err := os.ReadFile(filepath.Join(dir, r.Key+".pdf"))
		if known := ids[r.Key]; r.Err != nil || known != "" && known != r.GenerationID || err != nil || string(data) != "%PDF /files/"+r.GenerationID {
			t.Errorf("%+v, known as %q: the file has %q, %v", r, known, data, err)
		}
	}
	for text, n := range k.counts() {
		if n > 1 && !uncertain[text] {
			t.Errorf("%s was created %d times and not uncertain", text, n)
		}
	}
}
