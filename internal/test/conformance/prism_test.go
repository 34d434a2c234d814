package conformance

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/test/sample"
	"github.com/gamma-sdk/gamma-go/poller"
)

// random is how many random responses are read to each request and status.
const random = 50

// id is the generation that is waited for.
const id = "string"

// prism is an http.RoundTripper that sends requests to Prism and records them.
type prism struct {
	t         *testing.T
	transport *http.Transport
	url       string
	prefer    string         // the Prefer header, which chooses the response
	exchanges []exchange     // since a test last cleared them
	different int            // operations and statuses whose random responses differ
	seen      map[string]int // responses by "METHOD /path/{parameter} STATUS"
}

type exchange struct{ query, body string }

// startPrism starts Prism with the OpenAPI document of the SDK.
func startPrism(t *testing.T) *prism {
	need(t, "prism")
	lines := start(t, exec.Command("node_modules/.bin/prism", "mock", "../../../openapi.json",
		"--errors", "--multiprocess=false", "--host=127.0.0.1", "--port=0"))
	listening := regexp.MustCompile(`listening on .*?(http://[0-9.:]+)`)
	for line := range lines {
		if address := listening.FindStringSubmatch(line); address != nil {
			go discard(lines)
			transport := gamma.NewTransport()
			transport.DisableKeepAlives = true // Prism drops a connection that is idle for 5 seconds
			return &prism{t: t, transport: transport, url: address[1], seen: map[string]int{}}
		}
	}
	t.Fatal("Prism has ended")
	return nil
}

func (p *prism) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	if p.prefer != "" {
		req.Header.Set("Prefer", p.prefer)
	}
	rsp, err := p.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(rsp.Body)
	rsp.Body.Close()
	rsp.Body = io.NopCloser(bytes.NewReader(body))
	if violations := rsp.Header.Get("Sl-Violations"); violations != "" {
		p.t.Errorf("Prism rejects %s %s: %s", req.Method, req.URL, violations)
	}
	p.seen[fmt.Sprintf("%s %d", name(req.Method, req.URL.Path), rsp.StatusCode)]++
	p.exchanges = append(p.exchanges, exchange{req.URL.RawQuery, string(body)})
	return rsp, err
}

// document is the OpenAPI document of the SDK.
var document = sample.New(gamma.OpenAPI())

// operation returns an operation that every version of the document has.
func operation(t *testing.T, id string) sample.Operation {
	t.Helper()
	o, ok := document.Operation(id)
	if !ok {
		t.Fatalf("the OpenAPI document has no operation %s", id)
	}
	return o
}

// name returns "METHOD /path/{parameter}" for a path. Of several that match it is the one
// with the fewest parameters.
func name(method, path string) string {
	best, fewest := "", 100
	for _, o := range document.Operations {
		template := regexp.MustCompile("^" + regexp.MustCompile(`\{[^}]+\}`).ReplaceAllString(o.Path, "[^/]+") + "$")
		if n := strings.Count(o.Path, "{"); o.Method == method && template.MatchString(path) && n < fewest {
			best, fewest = o.Method+" "+o.Path, n
		}
	}
	return best
}

// texts are parameters that must be escaped.
var texts = map[string]any{"query": "green & black, 50 % ü", "after": "a/b+c="}

// response is what every generated method returns.
type response interface {
	StatusCode() int
	GetBody() []byte
}

func TestPrism(t *testing.T) {
	p := startPrism(t)
	client, err := gamma.NewClient("a key", gamma.WithBaseURL(p.url), gamma.WithHTTPClient(&http.Client{Transport: p}))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range document.Operations {
		for name, m := range map[string]sample.Mode{"minimal": {}, "full": {Full: true}} {
			t.Run(o.ID+"/"+name, func(t *testing.T) {
				p.checkOperation(t, o, func() (any, error) { return document.Call(t.Context(), client, o, m, texts) })
			})
		}
	}
	t.Run("odd texts", func(t *testing.T) {
		request := text("A short history of tea\n\"black\" & <green> 🍵")
		p.checkOperation(t, operation(t, "createGeneration"), func() (any, error) { return client.CreateGenerationWithResponse(t.Context(), request) })
	})
	if p.different == 0 {
		t.Error("the random responses are all the same")
	}
	t.Run("Create", func(t *testing.T) { p.testCreate(t, client) })
	t.Run("Themes", func(t *testing.T) {
		p.testPages(t, func() (ids []string, err error) {
			for theme, end := range client.Themes(t.Context(), sample.As[*api.ListThemesParams](map[string]any{"query": "green & black", "limit": 1, "after": "a/b+c="})) {
				ids, err = append(ids, theme.ID), end
			}
			return ids, err
		})
	})
	t.Run("Folders", func(t *testing.T) {
		p.testPages(t, func() (ids []string, err error) {
			for folder, end := range client.Folders(t.Context(), sample.As[*api.ListFoldersParams](map[string]any{"query": "50 % ü", "limit": 1, "after": "a/b+c="})) {
				ids, err = append(ids, folder.ID), end
			}
			return ids, err
		})
	})
	t.Run("poller", func(t *testing.T) { p.testPoller(t, client) })
	t.Run("invalid", p.testInvalid)

	sum := 0
	for _, o := range document.Operations {
		for _, status := range o.Statuses {
			n := p.seen[fmt.Sprintf("%s %s %d", o.Method, o.Path, status)]
			if n == 0 {
				t.Errorf("%s: no response has status %d", o.ID, status)
			}
			sum += n
		}
	}
	t.Logf("Prism accepted %d requests to %d operations, and their responses were read", sum, len(document.Operations))
}

// text returns a request with input and whatever else the document requires.
func text(input string) api.GenerationRequest {
	return sample.Request(document, "createGeneration", api.GenerationRequest{InputText: input})
}

// checkOperation asks for every response that the document has.
func (p *prism) checkOperation(t *testing.T, o sample.Operation, send func() (any, error)) {
	t.Helper()
	for _, status := range o.Statuses {
		p.prefer = fmt.Sprintf("code=%d", status)
		if status/100 == 2 {
			p.checkSuccess(t, status, send)
		} else {
			p.checkError(t, o, status, send)
		}
	}
}

// checkSuccess reads a response with every property, then random ones, and compares what
// the client decodes with what was sent.
func (p *prism) checkSuccess(t *testing.T, status int, send func() (any, error)) {
	t.Helper()
	var first any
	different := map[string]bool{}
	for i := range 1 + random {
		rsp, err := send()
		if err != nil {
			t.Fatalf("%v: %s", err, p.last())
		}
		a, ok := rsp.(response)
		if !ok || a.StatusCode() != status {
			t.Fatalf("%+v, want status %d", rsp, status)
		}
		field := reflect.ValueOf(rsp).Elem().FieldByName(fmt.Sprintf("JSON%d", status))
		if !field.IsValid() {
			return // no JSON
		}
		sent := parse(t, a.GetBody())
		data, err := json.Marshal(field.Interface())
		if err != nil {
			t.Fatal(err)
		}
		read := parse(t, data)
		if i == 0 {
			first = sent
			p.prefer += ", dynamic=true"
		} else {
			different[string(a.GetBody())] = true
		}
		sent, read = documented(sent, first), documented(read, first)
		if !reflect.DeepEqual(sent, read) {
			t.Fatalf("the client reads %s as %s", a.GetBody(), data)
		}
	}
	if len(different) > 1 {
		p.different++
	}
}

// last returns the body of the last response.
func (p *prism) last() string { return p.exchanges[len(p.exchanges)-1].body }

func parse(t *testing.T, data []byte) (value any) {
	t.Helper()
	if err := json.Unmarshal(data, &value); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return value
}

// documented returns value without the properties that first lacks, which has all that are
// documented, and without empty ones, which the SDK does not distinguish from absent ones.
func documented(value, first any) any {
	switch v := value.(type) {
	case map[string]any:
		properties := map[string]any{}
		known, _ := first.(map[string]any)
		for name, s := range known {
			if property := documented(v[name], s); property != nil {
				properties[name] = property
			}
		}
		return properties
	case []any:
		if len(v) == 0 {
			return nil
		}
		known, _ := first.([]any)
		elements := make([]any, len(v))
		for i := range v {
			elements[i] = v[i]
			if len(known) > 0 {
				elements[i] = documented(v[i], known[0])
			}
		}
		return elements
	case string:
		if v == "" {
			return nil
		}
		if at, err := time.Parse(time.RFC3339Nano, v); err == nil { // there are several spellings
			return at.UTC().String()
		}
	}
	return value
}

func (p *prism) checkError(t *testing.T, o sample.Operation, status int, send func() (any, error)) {
	t.Helper()
	_, err := send()
	var apiErr *gamma.APIError
	if !errors.As(err, &apiErr) {
		t.Fatalf("status %d is the error %v", status, err)
	}
	var sent struct{ Message string }
	_ = json.Unmarshal([]byte(p.last()), &sent) // a body is optional
	if apiErr.StatusCode != status || apiErr.Operation != o.Method+" "+o.Path || apiErr.Message != cmp.Or(sent.Message, http.StatusText(status)) {
		t.Errorf("status %d is %+v", status, apiErr)
	}
	for _, sentinel := range []struct {
		status int
		err    error
	}{
		{401, gamma.ErrUnauthorized}, {402, gamma.ErrInsufficientCredits}, {403, gamma.ErrForbidden}, {404, gamma.ErrNotFound}, {429, gamma.ErrRateLimited},
	} {
		if errors.Is(err, sentinel.err) != (status == sentinel.status) {
			t.Errorf("status %d: errors.Is(err, %q) is wrong", status, sentinel.err)
		}
	}
}

func (p *prism) testCreate(t *testing.T, client *gamma.Client) {
	template := sample.Request(document, "createFromTemplateGeneration", api.TemplateGenerationRequest{Prompt: "Tea"})
	check := func(created gamma.Created, err error) {
		t.Helper()
		var want struct{ GenerationID, Warnings string }
		if e := json.Unmarshal([]byte(p.last()), &want); e != nil || err != nil || created != gamma.Created(want) {
			t.Errorf("%+v, %v, want %+v, %v", created, err, want, e)
		}
	}
	for _, status := range operation(t, "createGeneration").Statuses {
		if status == http.StatusTooManyRequests {
			continue // Create would wait
		}
		p.prefer = fmt.Sprintf("code=%d", status)
		switch created, err := client.CreateGeneration(t.Context(), text("Tea")); {
		case status/100 == 2:
			check(created, err)
		case status/100 == 4 && status != http.StatusRequestTimeout:
			if err == nil || errors.Is(err, gamma.ErrMaybeCreated) || errors.Is(err, gamma.ErrInsufficientCredits) != (status == 402) {
				t.Errorf("status %d: %v", status, err)
			}
		}
	}
	p.prefer = fmt.Sprintf("code=%d", operation(t, "createFromTemplateGeneration").Status)
	check(client.CreateFromTemplateGeneration(t.Context(), template))
}

// testPages follows pages. each returns the ids of one sequence, and an empty one with the
// error that ends it.
func (p *prism) testPages(t *testing.T, each func() ([]string, error)) {
	p.prefer = ""
	p.exchanges = nil
	ids, err := each()
	var page struct{ Data []struct{ ID string } }
	if err := json.Unmarshal([]byte(p.last()), &page); err != nil || len(page.Data) == 0 {
		t.Fatalf("%v: %s", err, p.last())
	}
	var want []string
	for range 2 {
		for _, item := range page.Data {
			want = append(want, item.ID)
		}
	}
	if !slices.Equal(ids, append(want, "")) || !errors.Is(err, gamma.ErrUnexpectedResponse) {
		t.Errorf("endless pages with the same cursor: %q, %v", ids, err)
	}
	p.prefer = "dynamic=true"
	for ended := 0; ended < 10; {
		p.exchanges = nil
		ids, err := each()
		var want []string
		more, after := true, ""
		seen := map[string]bool{"": true} // cursors that were sent before
		stuck := false
		for i, e := range p.exchanges {
			query, err := url.ParseQuery(e.query)
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				seen[query.Get("after")] = true
			} else if !more || stuck || query.Get("after") != after {
				t.Fatalf("wrong request for page %d: %+v", i+1, p.exchanges)
			}
			var page struct {
				Data       []struct{ ID string }
				HasMore    bool
				NextCursor string
			}
			if err := json.Unmarshal([]byte(e.body), &page); err != nil {
				t.Fatal(err)
			}
			for _, item := range page.Data {
				want = append(want, item.ID)
			}
			more, after = page.HasMore, page.NextCursor
			stuck = more && seen[after]
			seen[after] = true
		}
		if stuck {
			want = append(want, "")
		} else {
			ended++
		}
		if more != stuck || !slices.Equal(ids, want) || stuck && !errors.Is(err, gamma.ErrUnexpectedResponse) || !stuck && err != nil {
			t.Fatalf("%q and %v, want %q: %+v", ids, err, want, p.exchanges)
		}
	}
}

// echo replaces the id that Prism made up by the requested one, and the status by its own
// unless that is empty.
type echo struct {
	poller.Client
	status api.GenerationStatus
}

func (c echo) GetGenerationStatusWithResponse(ctx context.Context, id string, editors ...api.RequestEditorFn) (*api.GetGenerationStatusHTTPResponse, error) {
	rsp, err := c.Client.GetGenerationStatusWithResponse(ctx, id, editors...)
	if err == nil {
		rsp.JSON200.GenerationID = id
		rsp.JSON200.Status = cmp.Or(c.status, rsp.JSON200.Status)
	}
	return rsp, err
}

func (p *prism) testPoller(t *testing.T, client poller.Client) {
	quick := func(client poller.Client) *poller.Poller {
		p := poller.New(client)
		p.Interval = time.Millisecond
		return p
	}
	waiting := echo{client, api.GenerationStatusPending}

	p.prefer = ""
	progress := poller.Progress{ID: id}
	gen, next, err := quick(waiting).Check(t.Context(), &progress)
	if err != nil || next <= 0 || gen == nil || gen.Status != api.GenerationStatusPending || progress.Failures != 0 {
		t.Errorf("Check: %+v, %v, %v, %+v", gen, next, err, progress)
	}

	var ended *poller.WaitError
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	pending := quick(waiting)
	pending.OnPoll = func(ev poller.Event) {
		if ev.Polls == 3 {
			cancel()
		}
	}
	gen, err = pending.Wait(ctx, id)
	if !errors.As(err, &ended) || !errors.Is(err, context.Canceled) || ended.Polls != 3 || ended.Last != nil || gen == nil {
		t.Errorf("Wait for a generation that stays pending: %+v, %v", gen, err)
	}

	for _, test := range []struct {
		status, polls int
		want          error
	}{{401, 1, gamma.ErrUnauthorized}, {404, 2, gamma.ErrNotFound}} {
		if !slices.Contains(operation(t, "getGenerationStatus").Statuses, test.status) {
			continue
		}
		p.prefer = fmt.Sprintf("code=%d", test.status)
		if _, err := quick(client).Wait(t.Context(), id); !errors.As(err, &ended) || !errors.Is(err, test.want) || ended.Polls != test.polls {
			t.Errorf("Wait with status %d: %v", test.status, err)
		}
	}

	p.prefer = "dynamic=true"
	for completed, failed := 0, 0; completed < 5 || failed < 5; {
		p.exchanges = nil
		gen, err := quick(echo{client, ""}).Wait(t.Context(), id)
		var failure *poller.FailedError
		switch {
		case err == nil && gen.Status == api.GenerationStatusCompleted:
			completed++
		case errors.As(err, &failure) && gen.Status == api.GenerationStatusFailed && gen.Error != nil && failure.Message == gen.Error.Message:
			failed++
		case errors.As(err, &failure) && gen.Status != api.GenerationStatusPending && gen.Status != api.GenerationStatusCompleted:
			// Another version of the document may have more values; one with an error is a failure.
		default:
			t.Fatalf("Wait: %+v, %v: %+v", gen, err, p.exchanges)
		}
	}
}

// testInvalid sends requests that the SDK never would: Prism must reject the invalid ones.
func (p *prism) testInvalid(t *testing.T) {
	body := func(o sample.Operation, name string, v any) string {
		body, _ := document.Value(o.Body, sample.Mode{}).(map[string]any)
		if delete(body, name); v != nil {
			body[name] = v
		}
		data, _ := json.Marshal(body)
		return string(data)
	}
	create, template := operation(t, "createGeneration"), operation(t, "createFromTemplateGeneration")
	themes := operation(t, "listThemes")
	for _, test := range []struct {
		method, path, body string
		want               []int // 422 if 400 is not documented
	}{
		{"POST", create.Path, body(create, "numCards", 3), []int{create.Status}},
		{"POST", create.Path, body(create, "inputText", nil), []int{400, 422}},
		{"POST", create.Path, body(create, "inputText", 7), []int{400, 422}},
		{"POST", create.Path, body(create, "format", "none of them"), []int{400, 422}},
		{"POST", template.Path, body(template, "prompt", nil), []int{400, 422}},
		{"GET", themes.Path + "?limit=1", "", []int{themes.Status}},
		{"GET", themes.Path + "?limit=all", "", []int{400, 422}},
		{"PATCH", themes.Path, "", []int{405}},
		{"GET", themes.Path + "/no/such/path", "", []int{404}},
		{"GET", themes.Path + "?limit=2", "", []int{401}}, // without a key
	} {
		req, err := http.NewRequest(test.method, p.url+test.path, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if test.want[0] != 401 {
			req.Header.Set("X-API-KEY", "a key")
		}
		rsp, err := p.transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		rsp.Body.Close()
		if !slices.Contains(test.want, rsp.StatusCode) {
			t.Errorf("%s %s %s: status %d, want %d", test.method, test.path, test.body, rsp.StatusCode, test.want)
		}
	}
}
