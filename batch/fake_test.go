package batch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/test/sample"
)

const apiKey = "sk-gamma-test"

// fake is a small Gamma API, as an http.RoundTripper and as an http.Handler. The
// generation of the input text "tea" has the id "gen-tea", a second one "gen-tea-2".
type fake struct {
	life     time.Duration // how long a generation is pending
	linkLife time.Duration // how long a link to an export works; 0: always
	limit    int           // requests in each window, except downloads; 0: any number
	window   time.Duration
	files    string // the base of export links

	// hooks are called in place of the response to "create TEXT", "poll ID" and
	// "download ID"; next returns that response, and has its effect.
	hooks map[string]hook
	// before is called with each such name as the request comes.
	before func(name string)

	mu          sync.Mutex
	generations map[string]*generation // by id
	created     map[string]int         // generations of each input text
	requests    map[string]int         // by name
	opened      time.Time              // of the window
	spent       int
	refused     int
	links       int
	inFlight    int // creates
	most        int
}

type generation struct {
	text   string
	export string
	done   time.Time
	fails  bool
	links  map[string]time.Time // when each was made
}

type hook func(req *http.Request, next func() *http.Response) (*http.Response, error)

func newFake() *fake {
	return &fake{
		life: time.Minute, files: "https://files.example", hooks: map[string]hook{},
		generations: map[string]*generation{}, created: map[string]int{}, requests: map[string]int{},
	}
}

// add makes the generation of an earlier run.
func (f *fake) add(text, export string) (id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.created[text]++
	id = "gen-" + text
	if n := f.created[text]; n > 1 {
		id = fmt.Sprintf("%s-%d", id, n)
	}
	f.generations[id] = &generation{
		text: text, export: export, done: time.Now().Add(f.life), fails: strings.HasPrefix(text, "bad"), links: map[string]time.Time{},
	}
	return id
}

func (f *fake) RoundTrip(req *http.Request) (*http.Response, error) {
	var body struct{ InputText, Prompt, ExportAs string }
	if req.Method == http.MethodPost {
		data, err := io.ReadAll(req.Body)
		_ = req.Body.Close()
		if err == nil {
			err = json.Unmarshal(data, &body)
		}
		if err != nil {
			return nil, err
		}
	}
	id := req.URL.Path[strings.LastIndexByte(req.URL.Path, '/')+1:]
	var name string
	var next func() *http.Response
	isExport := strings.HasPrefix(req.URL.Path, "/export/")
	switch {
	case isExport != (req.Header.Get("X-Api-Key") == ""):
		return nil, errors.New("the API key is where it must not be, or is missing")
	case isExport:
		name, next = "download "+id, func() *http.Response { return f.export(req, id) }
	case req.Method == http.MethodPost:
		text := body.InputText + body.Prompt
		name, next = "create "+text, func() *http.Response {
			id := f.add(text, body.ExportAs)
			return reply(200, `{"generationId":"`+id+`","warnings":"cut `+text+`"}`)
		}
		f.mu.Lock()
		f.inFlight++
		f.most = max(f.most, f.inFlight)
		f.mu.Unlock()
		defer func() {
			f.mu.Lock()
			f.inFlight--
			f.mu.Unlock()
		}()
	default:
		name, next = "poll "+id, func() *http.Response { return f.status(id) }
	}
	f.mu.Lock()
	f.requests[name]++
	h := f.hooks[name]
	f.mu.Unlock()
	if f.before != nil {
		f.before(name)
	}
	var headers []string
	if f.limit > 0 && !isExport {
		var refused *http.Response
		if refused, headers = f.spend(); refused != nil {
			return refused, nil
		}
	}
	if h == nil {
		h = func(_ *http.Request, next func() *http.Response) (*http.Response, error) { return next(), nil }
	}
	rsp, err := h(req, next)
	if err == nil {
		for i := 0; i < len(headers); i += 2 {
			rsp.Header.Set(headers[i], headers[i+1])
		}
	}
	return rsp, err
}

// spend counts a request in the window, or refuses it.
func (f *fake) spend() (refused *http.Response, headers []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.Sub(f.opened) >= f.window {
		f.opened, f.spent = now, 0
	}
	limit := fmt.Sprint(f.limit)
	if f.spent == f.limit {
		f.refused++
		wait := (f.window - time.Since(f.opened) + time.Second - 1) / time.Second
		return reply(429, `{"message":"Too many requests","statusCode":429}`,
			"Retry-After", fmt.Sprint(int(wait)), "x-ratelimit-limit-burst", limit, "x-ratelimit-remaining-burst", "0"), nil
	}
	f.spent++
	return nil, []string{"x-ratelimit-limit-burst", limit, "x-ratelimit-remaining-burst", fmt.Sprint(f.limit - f.spent)}
}

func (f *fake) status(id string) *http.Response {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := f.generations[id]
	rsp := api.GenerationStatusResponse{GenerationID: id, Status: "pending"}
	switch {
	case g == nil:
		return reply(404, `{"message":"no such generation","statusCode":404}`)
	case time.Now().Before(g.done):
	case g.fails:
		rsp.Status, rsp.Error = "failed", &api.ErrorResponse{Message: "the text is " + g.text, StatusCode: 422}
	default:
		rsp.Status, rsp.GammaURL = "completed", "https://gamma.app/docs/"+id
		if g.export != "" {
			f.links++
			secret := fmt.Sprintf("secret-%d", f.links)
			g.links[secret] = time.Now()
			rsp.ExportURL = f.files + "/export/" + id + "?sig=" + secret
		}
	}
	data, err := json.Marshal(rsp)
	if err != nil {
		panic(err)
	}
	return reply(200, string(data))
}

// content is the export of the generation id.
func content(id string) string { return "export of " + id }

func (f *fake) export(req *http.Request, id string) *http.Response {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := f.generations[id]
	if g == nil {
		return reply(404, "")
	}
	made, ok := g.links[req.URL.Query().Get("sig")]
	if !ok || f.linkLife > 0 && time.Since(made) >= f.linkLife {
		return reply(403, "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>", "Content-Type", "application/xml")
	}
	return reply(200, content(id), "Content-Type", "application/octet-stream")
}

// ServeHTTP responds as RoundTrip does. An error is a connection that is closed, also in
// the middle of a body.
func (f *fake) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	rsp, err := f.RoundTrip(req)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), rsp.Header)
	w.Header().Set("Content-Length", fmt.Sprint(rsp.ContentLength))
	w.WriteHeader(rsp.StatusCode)
	if _, err := io.Copy(w, rsp.Body); err != nil {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

func (f *fake) hook(name string, h hook) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hooks[name] = h
}

// count returns how many requests came whose name starts with prefix.
func (f *fake) count(prefix string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, times := range f.requests {
		if strings.HasPrefix(name, prefix) {
			n += times
		}
	}
	return n
}

// reset forgets the requests.
func (f *fake) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.requests)
	f.refused = 0
}

// once fails the test if a text was created twice.
func (f *fake) once(t *testing.T) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for text, n := range f.created {
		if n > 1 {
			t.Errorf("%s was created %d times", text, n)
		}
	}
}

// reply makes a response. headers are name, value pairs.
func reply(status int, body string, headers ...string) *http.Response {
	h := http.Header{"Content-Type": {"application/json"}}
	for i := 0; i < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

// responds is a hook with a fixed response. The request has no effect.
func responds(status int, body string) hook {
	return func(*http.Request, func() *http.Response) (*http.Response, error) { return reply(status, body), nil }
}

// drops is a hook that loses the response.
func drops(_ *http.Request, next func() *http.Response) (*http.Response, error) {
	next()
	return nil, io.ErrUnexpectedEOF
}

// hangs is a hook that does not respond until the client gives up. The request has its
// effect.
func hangs(req *http.Request, next func() *http.Response) (*http.Response, error) {
	next()
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// takes returns a hook whose response takes d.
func takes(d time.Duration) hook {
	return func(req *http.Request, next func() *http.Response) (*http.Response, error) {
		select {
		case <-time.After(d):
			return next(), nil
		case <-req.Context().Done():
			next()
			return nil, req.Context().Err()
		}
	}
}

// cuts returns a hook that closes the connection after n bytes of the body.
func cuts(n int) hook {
	return func(_ *http.Request, next func() *http.Response) (*http.Response, error) {
		rsp := next()
		rsp.Body = io.NopCloser(io.MultiReader(io.LimitReader(rsp.Body, int64(n)), broken{}))
		return rsp, nil
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// first returns a hook that calls h for the first n requests only.
func first(n int, h hook) hook {
	return func(req *http.Request, next func() *http.Response) (*http.Response, error) {
		if n--; n >= 0 {
			return h(req, next)
		}
		return next(), nil
	}
}

func newClient(t *testing.T, transport http.RoundTripper) *gamma.Client {
	t.Helper()
	client, err := gamma.NewClient(apiKey, gamma.WithHTTPClient(&http.Client{Transport: transport}), gamma.WithBaseURL("https://api.example"))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// newBatch returns a batch in a new directory.
func newBatch(t *testing.T, f *fake) *Batch {
	t.Helper()
	return &Batch{Client: newClient(t, f), Dir: t.TempDir()}
}

var published = sample.New(gamma.OpenAPI())

// request returns a request with what the OpenAPI document requires.
func request(text, export string) api.GenerationRequest {
	return sample.Request(published, "createGeneration", api.GenerationRequest{InputText: text, ExportAs: api.ExportAs(export)})
}

// pdfs returns an input for each key, which is the text, too.
func pdfs(keys ...string) iter.Seq[Input] {
	return func(yield func(Input) bool) {
		for _, key := range keys {
			if !yield(Input{Key: key, Request: request(key, "pdf")}) {
				return
			}
		}
	}
}

// keys returns n keys.
func keys(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("text%d", i))
	}
	return all
}

// collect returns the results of a run by key, and that of the run itself under "".
func collect(t *testing.T, results iter.Seq[Result]) map[string]Result {
	t.Helper()
	all := map[string]Result{}
	for r := range results {
		if _, twice := all[r.Key]; twice {
			t.Errorf("%q has two results", r.Key)
		}
		all[r.Key] = r
		if r.Err != nil {
			oneLine(t, r.Err)
		}
	}
	return all
}

// allSaved fails the test unless the results are those of keys, with the exports.
func allSaved(t *testing.T, got map[string]Result, keys ...string) {
	t.Helper()
	if len(got) != len(keys) {
		t.Errorf("%d results, want %d", len(got), len(keys))
	}
	for _, key := range keys {
		r, ok := got[key]
		data, err := os.ReadFile(r.Saved)
		if !ok || r.Err != nil || err != nil || string(data) != content(r.GenerationID) {
			t.Errorf("%s: %v %+v, saved %q, %v", key, ok, r, data, err)
		}
	}
}

// oneLine checks the rules for all error texts.
func oneLine(t *testing.T, err error) {
	t.Helper()
	text := err.Error()
	if !strings.HasPrefix(text, "gamma: ") || strings.Count(text, "gamma: ") != 1 || strings.ContainsAny(text, "\n\r\x1b\x00") ||
		strings.Contains(text, apiKey) || strings.Contains(text, "secret") || len(text) > 1500 {
		t.Errorf("error text %q", text)
	}
}

// linesOf returns the lines of the journal of b after the first. The journal must not be in
// use.
func linesOf(t *testing.T, b *Batch) []line {
	t.Helper()
	data := readFile(t, b.journalPath())
	if !bytes.HasSuffix(data, []byte("\n")) {
		t.Errorf("the journal ends in %q", data[max(0, len(data)-40):])
	}
	return parse(t, data)
}

// parse returns the lines in data, a journal, after the first.
func parse(t *testing.T, data []byte) (lines []line) {
	t.Helper()
	for i, text := range slices.Collect(bytes.Lines(data)) {
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			t.Errorf("line %d: %v: %q", i+1, err, text)
		}
		if i > 0 {
			lines = append(lines, l)
		}
	}
	return lines
}

// statesOf returns the states of key in the journal of b, separated by spaces. The journal
// must not be in use.
func statesOf(t *testing.T, b *Batch, key string) string {
	t.Helper()
	return statesIn(linesOf(t, b), key)
}

// statesDuringRun is statesOf while a run writes the journal: it ignores a last line that
// is not complete.
func statesDuringRun(t *testing.T, b *Batch, key string) string {
	t.Helper()
	data := readFile(t, b.journalPath())
	return statesIn(parse(t, data[:bytes.LastIndexByte(data, '\n')+1]), key)
}

func statesIn(lines []line, key string) string {
	var all []string
	for _, l := range lines {
		if l.Key == key {
			all = append(all, string(l.State))
		}
	}
	return strings.Join(all, " ")
}

// writeJournal makes the journal of b with lines after the first.
func writeJournal(t *testing.T, b *Batch, lines ...line) {
	t.Helper()
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	err := encoder.Encode(header{format, b.server()})
	for _, l := range lines {
		err = errors.Join(err, encoder.Encode(l))
	}
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, b.journalPath(), text.String())
}

func hashOf(t *testing.T, request any) string {
	t.Helper()
	h, err := hash(request)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return data
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// canceledAfter returns a context that is canceled because of why after d.
func canceledAfter(t *testing.T, d time.Duration, why error) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(d, func() { cancel(why) })
	t.Cleanup(func() { cancel(nil) })
	return ctx
}
