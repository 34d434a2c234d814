// Package conformance holds the SDK to Prism, a mock server that others have
// written and that knows nothing of the API but openapi.json. It must accept every
// request of the SDK, and the SDK must read every answer that it makes up.
package conformance

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

// random is how many random answers are read to each request and status.
const random = 50

// id is what Prism calls everything, unless it is told to be random.
const id = "string"

// prism sends the client's requests to Prism, and is the witness of all of them.
type prism struct {
	t         *testing.T
	transport *http.Transport
	url       string
	prefer    string         // the answer to ask for
	exchanges []exchange     // until somebody clears them
	seen      map[string]int // how often, by "METHOD /path/{parameter} STATUS"
}

type exchange struct{ query, body string }

// start starts Prism with the document of the SDK. It ends with the test.
func start(t *testing.T) *prism {
	command := os.Getenv("PRISM")
	if command == "" {
		t.Skip("the environment variable PRISM does not name Prism's command: run make conformance")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, command, "mock", "../../openapi.json",
		"--errors", "--multiprocess=false", "--host=127.0.0.1", "--port=0")
	cmd.Stderr = t.Output()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
	})
	listening := regexp.MustCompile(`listening on .*?(http://[0-9.:]+)`)
	var log bytes.Buffer
	for lines := bufio.NewScanner(io.TeeReader(stdout, &log)); lines.Scan(); {
		if address := listening.FindStringSubmatch(lines.Text()); address != nil {
			go io.Copy(io.Discard, stdout)
			transport := gamma.NewTransport()
			transport.DisableKeepAlives = true // Prism drops a connection that is idle for 5 seconds
			return &prism{t: t, transport: transport, url: address[1], seen: map[string]int{}}
		}
	}
	t.Fatalf("Prism does not listen: %s", log.Bytes())
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
		p.t.Errorf("Prism refuses %s %s: %s", req.Method, req.URL, violations)
	}
	path := strings.NewReplacer("/generations/"+id, "/generations/{id}", "/gammas/"+id, "/gammas/{gammaId}").Replace(req.URL.Path)
	p.seen[fmt.Sprintf("%s %s %d", req.Method, path, rsp.StatusCode)]++
	p.exchanges = append(p.exchanges, exchange{req.URL.RawQuery, string(body)})
	return rsp, err
}

// operation is one of the document's.
type operation struct {
	name     string // "METHOD /path/{parameter}"
	statuses []int
}

// operations returns those of the document, by operationId.
func operations(t *testing.T) map[string]operation {
	var document struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(gamma.OpenAPI(), &document); err != nil {
		t.Fatal(err)
	}
	all := map[string]operation{}
	for path, methods := range document.Paths {
		for method, raw := range methods {
			var o struct {
				OperationID string
				Responses   map[string]any
			}
			if json.Unmarshal(raw, &o) != nil || o.OperationID == "" {
				continue // it is a path's parameters or prose
			}
			var statuses []int
			for status := range o.Responses {
				if n, err := strconv.Atoi(status); err == nil { // else it is a default
					statuses = append(statuses, n)
				}
			}
			slices.Sort(statuses)
			all[o.OperationID] = operation{strings.ToUpper(method) + " " + path, statuses}
		}
	}
	return all
}

// answer is what every generated method returns.
type answer interface {
	StatusCode() int
	GetBody() []byte
}

func TestConformance(t *testing.T) {
	p := start(t)
	client, err := gamma.NewClient("a key", gamma.WithBaseURL(p.url), gamma.WithHTTPClient(&http.Client{Transport: p}))
	if err != nil {
		t.Fatal(err)
	}
	all := operations(t)
	for _, request := range requests {
		t.Run(request.operationID+"/"+request.name, func(t *testing.T) {
			o, ok := all[request.operationID]
			if !ok {
				t.Fatal("the document has no such operation")
			}
			send := func() (answer, error) { return request.send(t.Context(), client) }
			for _, status := range o.statuses {
				p.prefer = fmt.Sprintf("code=%d", status)
				if status/100 == 2 {
					p.checkAnswers(t, status, send)
				} else {
					checkError(t, o, status, send)
				}
			}
		})
	}
	t.Run("Create", func(t *testing.T) { p.testCreate(t, client) })
	t.Run("Themes", func(t *testing.T) {
		p.testPages(t, func() (ids []string, err error) {
			for theme, end := range gamma.Themes(t.Context(), client, &themesParams) {
				ids, err = append(ids, theme.ID), end
			}
			return ids, err
		})
	})
	t.Run("Folders", func(t *testing.T) {
		p.testPages(t, func() (ids []string, err error) {
			for folder, end := range gamma.Folders(t.Context(), client, &foldersParams) {
				ids, err = append(ids, folder.ID), end
			}
			return ids, err
		})
	})
	t.Run("poller", func(t *testing.T) { p.testPoller(t, client) })
	t.Run("invalid", p.testInvalid)

	sum := 0
	for _, o := range all {
		for _, status := range o.statuses {
			n := p.seen[fmt.Sprintf("%s %d", o.name, status)]
			if n == 0 {
				t.Errorf("%s was never answered with %d", o.name, status)
			}
			sum += n
		}
	}
	t.Logf("%d requests of %d operations were accepted, and their answers read", sum, len(all))
}

// checkAnswers reads an answer with every property, then random ones, and compares
// what the client makes of them with what was sent.
func (p *prism) checkAnswers(t *testing.T, status int, send func() (answer, error)) {
	t.Helper()
	var sample any
	different := map[string]bool{}
	for i := range 1 + random {
		a, err := send()
		if err != nil {
			t.Fatalf("%v: %s", err, p.exchanges[len(p.exchanges)-1].body)
		}
		if a.StatusCode() != status {
			t.Fatalf("status %d, want %d", a.StatusCode(), status)
		}
		sent := parse(t, a.GetBody())
		data, err := json.Marshal(reflect.ValueOf(a).Elem().FieldByName(fmt.Sprintf("JSON%d", status)).Interface())
		if err != nil {
			t.Fatal(err)
		}
		read := parse(t, data)
		if i == 0 {
			sample = sent
			p.prefer += ", dynamic=true"
		} else {
			sent, read = documented(sent, sample), documented(read, sample)
			different[string(a.GetBody())] = true
		}
		if !reflect.DeepEqual(sent, read) {
			t.Fatalf("the client reads %s as %s", a.GetBody(), data)
		}
	}
	if len(different) < 2 {
		t.Error("the random answers are all the same")
	}
}

func parse(t *testing.T, data []byte) (value any) {
	t.Helper()
	if err := json.Unmarshal(data, &value); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return value
}

// documented returns value without the properties that sample, which has all of the
// document's, does not have, and without empty ones, which the SDK does not tell
// from absent ones.
func documented(value, sample any) any {
	switch v := value.(type) {
	case map[string]any:
		properties := map[string]any{}
		for name, s := range sample.(map[string]any) {
			if property := documented(v[name], s); property != nil {
				properties[name] = property
			}
		}
		return properties
	case []any:
		if len(v) == 0 {
			return nil
		}
		elements := make([]any, len(v))
		for i := range v {
			elements[i] = documented(v[i], sample.([]any)[0])
		}
		return elements
	case string:
		if v == "" {
			return nil
		}
	}
	return value
}

func checkError(t *testing.T, o operation, status int, send func() (answer, error)) {
	t.Helper()
	_, err := send()
	var apiErr *gamma.APIError
	if !errors.As(err, &apiErr) {
		t.Fatalf("status %d is the error %v", status, err)
	}
	if apiErr.StatusCode != status || apiErr.Operation != o.name || apiErr.Message != http.StatusText(status) {
		t.Errorf("status %d is %+v", status, apiErr)
	}
	for _, sentinel := range []struct {
		status int
		err    error
	}{
		{401, gamma.ErrUnauthorized}, {402, gamma.ErrInsufficientCredits}, {403, gamma.ErrForbidden}, {404, gamma.ErrNotFound}, {429, gamma.ErrRateLimited},
	} {
		if errors.Is(err, sentinel.err) != (status == sentinel.status) {
			t.Errorf("status %d: whether it is %q is wrong", status, sentinel.err)
		}
	}
}

func (p *prism) testCreate(t *testing.T, client gamma.Creator) {
	want := gamma.Created{GenerationID: id, Warnings: "string"}
	for _, status := range []int{200, 201} {
		p.prefer = fmt.Sprintf("code=%d", status)
		if created, err := gamma.Create(t.Context(), client, generation); created != want || err != nil {
			t.Errorf("from a text: %+v, %v", created, err)
		}
		if created, err := gamma.Create(t.Context(), client, fromTemplate); created != want || err != nil {
			t.Errorf("from a template: %+v, %v", created, err)
		}
	}
	p.prefer = "code=402"
	if _, err := gamma.Create(t.Context(), client, generation); !errors.Is(err, gamma.ErrInsufficientCredits) || errors.Is(err, gamma.ErrMaybeCreated) {
		t.Errorf("without credits: %v", err)
	}
}

// testPages follows pages. each returns the ids of one sequence, with an empty one
// for the error at its end.
func (p *prism) testPages(t *testing.T, each func() ([]string, error)) {
	p.prefer = ""
	if ids, err := each(); !slices.Equal(ids, []string{id, id, ""}) || !errors.Is(err, gamma.ErrUnexpectedResponse) {
		t.Errorf("pages without end, all with one cursor: %q, %v", ids, err)
	}
	p.prefer = "dynamic=true"
	for ended := 0; ended < 10; {
		p.exchanges = nil
		ids, err := each()
		var want []string
		more, after := true, ""
		seen := map[string]bool{"": true} // cursors that lead nowhere
		stuck := false
		for i, e := range p.exchanges {
			query, err := url.ParseQuery(e.query)
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				seen[query.Get("after")] = true
			} else if !more || stuck || query.Get("after") != after {
				t.Fatalf("page %d must not have been asked for so: %+v", i+1, p.exchanges)
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

// echo answers about the generation that it is asked about. Prism makes up an id.
type echo struct{ poller.Client }

func (c echo) GetGenerationStatusWithResponse(ctx context.Context, id string, editors ...api.RequestEditorFn) (*api.GetGenerationStatusHTTPResponse, error) {
	rsp, err := c.Client.GetGenerationStatusWithResponse(ctx, id, editors...)
	if err == nil {
		rsp.JSON200.GenerationID = id
	}
	return rsp, err
}

func (p *prism) testPoller(t *testing.T, client poller.Client) {
	quick := func(client poller.Client) *poller.Poller {
		p := poller.New(client)
		p.Interval = time.Millisecond
		return p
	}

	p.prefer = ""
	progress := poller.Progress{ID: id}
	gen, next, err := quick(client).Check(t.Context(), &progress)
	if err != nil || next <= 0 || gen == nil || gen.Status != api.GenerationStatusPending || progress.Failures != 0 {
		t.Errorf("Check: %+v, %v, %v, %+v", gen, next, err, progress)
	}

	var ended *poller.WaitError
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	pending := quick(client)
	pending.OnPoll = func(ev poller.Event) {
		if ev.Polls == 3 {
			cancel()
		}
	}
	gen, err = pending.Wait(ctx, id)
	if !errors.As(err, &ended) || !errors.Is(err, context.Canceled) || ended.Polls != 3 || ended.Last != nil || gen == nil {
		t.Errorf("Wait for what stays pending: %+v, %v", gen, err)
	}

	for _, test := range []struct {
		status, polls int
		want          error
	}{{401, 1, gamma.ErrUnauthorized}, {404, 2, gamma.ErrNotFound}} {
		p.prefer = fmt.Sprintf("code=%d", test.status)
		if _, err := quick(client).Wait(t.Context(), id); !errors.As(err, &ended) || !errors.Is(err, test.want) || ended.Polls != test.polls {
			t.Errorf("Wait with status %d: %v", test.status, err)
		}
	}

	p.prefer = "dynamic=true"
	for completed, failed := 0, 0; completed < 5 || failed < 5; {
		p.exchanges = nil
		gen, err := quick(echo{client}).Wait(t.Context(), id)
		var failure *poller.FailedError
		switch {
		case err == nil && gen.Status == api.GenerationStatusCompleted:
			completed++
		case errors.As(err, &failure) && gen.Status == api.GenerationStatusFailed && failure.Message == gen.Error.Message:
			failed++
		default:
			t.Fatalf("Wait: %+v, %v: %+v", gen, err, p.exchanges)
		}
	}
}

// testInvalid sends what the SDK never would. Prism must tell it from a good request.
func (p *prism) testInvalid(t *testing.T) {
	for _, test := range []struct {
		method, path, body string
		want               int
	}{
		{"POST", "/v1.0/generations", `{"inputText":"Tea","numCards":3}`, 200},
		{"POST", "/v1.0/generations", `{"numCards":3}`, 400},
		{"POST", "/v1.0/generations", `{"inputText":"Tea","numCards":"3"}`, 400},
		{"POST", "/v1.0/generations", `{"inputText":"Tea","numCards":0}`, 400},
		{"POST", "/v1.0/generations", `{"inputText":"Tea","format":"poem"}`, 400},
		{"POST", "/v1.0/generations", `{"inputText":"Tea","sharingOptions":{"emailOptions":{"recipients":[]}}}`, 400},
		{"POST", "/v1.0/generations", `{"inputText":"Tea","sharingOptions":{"emailOptions":{"recipients":["tea"]}}}`, 400},
		{"POST", "/v1.0/generations/from-template", `{"prompt":"Tea"}`, 400},
		{"GET", "/v1.0/themes?limit=50", "", 200},
		{"GET", "/v1.0/themes?limit=51", "", 400},
		{"GET", "/v1.0/folders?limit=all", "", 422}, // its 400 is not documented
		{"PUT", "/v1.0/folders", "", 405},
		{"GET", "/v1.0/folder", "", 404},
		{"GET", "/v1.0/folders", "", 401}, // without a key
	} {
		req, err := http.NewRequest(test.method, p.url+test.path, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if test.want != 401 {
			req.Header.Set("X-API-KEY", "a key")
		}
		rsp, err := p.transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		rsp.Body.Close()
		if rsp.StatusCode != test.want {
			t.Errorf("%s %s %s: Prism answers %d, want %d", test.method, test.path, test.body, rsp.StatusCode, test.want)
		}
	}
}
