package gamma_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/apiruntime"
	"github.com/gamma-sdk/gamma-go/internal/test/sample"
)

var bodies = []struct{ name, body string }{
	{"pending", `{"generationId":"gen1","status":"pending"}`},
	{"completed", `{"generationId":"gen1","status":"completed","gammaId":"g_abcdef123456","gammaUrl":"https://gamma.app/docs/abcdef123456","exportUrl":"https://assets.api.gamma.app/export/pdf/abcdef123456/0123456789abcdef/Deck.pdf?signature=0123456789abcdef","credits":{"deducted":25,"remaining":4975}}`},
}

func respondsJSON(body string) roundTripper {
	return func(req *http.Request) (*http.Response, error) {
		return &http.Response{
			Status: "200 OK", StatusCode: 200, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
			Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
		}, nil
	}
}

// BenchmarkGet compares a poll over a transport in memory with the same request on net/http
// and encoding/json.
func BenchmarkGet(b *testing.B) {
	for _, bb := range bodies {
		b.Run(bb.name+"/net_http", func(b *testing.B) {
			client := &http.Client{Transport: respondsJSON(bb.body)}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bare(b.Context(), client, "gen1"); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(bb.name+"/gamma", func(b *testing.B) {
			client := newFakeClient(b, respondsJSON(bb.body))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := client.GetGenerationStatusWithResponse(b.Context(), "gen1"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func bare(ctx context.Context, client *http.Client, id string) (*api.GenerationStatusResponse, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://public-api.gamma.app/v1.0/generations/"+id, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-API-KEY", key)
	rsp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rsp.Body.Close() }()
	body, err := io.ReadAll(rsp.Body)
	if err != nil {
		return nil, err
	}
	var gen api.GenerationStatusResponse
	return &gen, json.Unmarshal(body, &gen)
}

func TestRequest(t *testing.T) {
	var got *http.Request
	client := newClient(t, "https://h.example/base", gamma.WithHTTPClient(&http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
		got = req
		return reply(200, "application/json", `{"generationId":"gen1","status":"pending"}`), nil
	})}))
	rsp, err := get(t, client)
	if err != nil || rsp.JSON200.Status != api.GenerationStatusPending || rsp.StatusCode() != 200 {
		t.Fatalf("%+v, %v", rsp, err)
	}
	if got.Method != "GET" || got.URL.String() != "https://h.example/base/v1.0/generations/gen1" || got.Header.Get("X-API-KEY") != key || got.UserAgent() != "gamma-go/"+gamma.Version {
		t.Errorf("sent %s %v with %v", got.Method, got.URL, got.Header)
	}
	for _, v := range []any{client, *client, client.ClientInterface, rsp, *rsp, rsp.HTTPResponse, rsp.HTTPResponse.Request, rsp.HTTPResponse.Request.Header} {
		checkNoKey(t, v)
	}
	client = newClient(t, "https://h.example", gamma.WithUserAgent("mine/1"), gamma.WithHTTPClient(&http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
		got = req
		return nil, io.EOF
	})}))
	if _, _ = get(t, client); got.UserAgent() != "mine/1" {
		t.Errorf("User-Agent = %q", got.UserAgent())
	}
}

func TestPathParametersAreChecked(t *testing.T) {
	sent := 0
	client := newFakeClient(t, responds(func() *http.Response { sent++; return reply(200, "application/json", "{}") }))
	for _, id := range []string{"", ".", "..", "...", "a/b", "a%2fb", "a b", "a?b", "a#b", "é", "a\n", "a\\b", strings.Repeat("x", 257), strings.Repeat("x", 10<<10), key} {
		if _, err := client.GetGenerationStatusWithResponse(t.Context(), id); err == nil {
			t.Errorf("id %q was accepted", id)
		} else {
			checkText(t, err)
			if !strings.HasPrefix(err.Error(), "gamma: GET /v1.0/generations/{id}: id ") {
				t.Errorf("%v does not name the operation", err)
			}
		}
		if _, err := client.GetGenerationStatus(t.Context(), id); err == nil {
			t.Errorf("id %q was accepted", id)
		}
		if _, err := api.NewGetGenerationStatusRequest("https://h.example", id); err == nil {
			t.Errorf("id %q was accepted", id)
		}
	}
	if sent != 0 {
		t.Errorf("%d requests were sent", sent)
	}
}

func TestUnexpectedResponse(t *testing.T) {
	const good = `{"generationId":"gen1","status":"completed"}`
	tests := []struct {
		name        string
		status      int
		contentType string
		body        string
		ok          bool
	}{
		{"JSON", 200, "application/json", good, true},
		{"charset", 200, "application/json; charset=utf-8", good, true},
		{"charset, in capitals", 200, "Application/JSON ;charset=UTF-8", good, true},
		{"+json", 200, "application/vnd.gamma+json", good, true},
		{"no Content-Type", 200, "", good, true},
		{"unknown properties", 200, "application/json", `{"title":"x","generationId":"gen1","pages":[{}],"status":"completed"}`, true},
		{"optional properties of unexpected types", 200, "application/json", `{"generationId":"gen1","status":"completed","credits":"x","error":[],"gammaUrl":1}`, true},
		{"one of two required properties", 200, "application/json", `{"status":"completed"}`, true},
		{"HTML", 200, "text/html", good, false},
		{"text", 200, "text/plain; format=json", good, false},
		{"invalid Content-Type", 200, "/;", good, false},
		{"201", 201, "application/json", good, true},
		{"202", 202, "application/json", good, true},
		{"201, HTML", 201, "text/html", "<html>", false},
		{"202, truncated", 202, "application/json", good[:20], false},
		{"202, empty", 202, "", "", false},
		{"203", 203, "application/json", good, false},
		{"204", 204, "", "", false},
		{"206", 206, "application/json", good, false},
		{"empty", 200, "application/json", "", false},
		{"truncated", 200, "application/json", good[:20], false},
		{"two values", 200, "application/json", good + good, false},
		{"null", 200, "application/json", "null", false},
		{"list", 200, "application/json", "[" + good + "]", false},
		{"string", 200, "application/json", `"completed"`, false},
		{"number", 200, "application/json", "1e999", false},
		{"empty object", 200, "application/json", "{}", false},
		{"another object", 200, "application/json", `{"message":"ok"}`, false},
		{"required property of another type", 200, "application/json", `{"generationId":"gen1","status":3}`, false},
		{"deeply nested", 200, "application/json", strings.Repeat(`{"a":`, 20000), false},
		{"binary", 200, "application/json", "\x00\xff\xfe", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rsp, err := get(t, newFakeClient(t, responds(func() *http.Response { return reply(tt.status, tt.contentType, tt.body) })))
			if tt.ok {
				if err != nil || rsp.JSON200.Status != "completed" {
					t.Errorf("%+v, %v", rsp, err)
				}
				if err == nil && (rsp.JSON200.Credits != nil || rsp.JSON200.Error != nil || rsp.JSON200.GammaURL != "") {
					t.Errorf("properties of unexpected types are %+v", rsp.JSON200)
				}
				return
			}
			if !errors.Is(err, gamma.ErrUnexpectedResponse) || rsp == nil || rsp.JSON200 != nil || rsp.HTTPResponse == nil {
				t.Fatalf("%+v, %v, want ErrUnexpectedResponse and the response", rsp, err)
			}
			checkText(t, err)
		})
	}
}

func TestCredits(t *testing.T) {
	rsp, err := get(t, newFakeClient(t, responds(func() *http.Response {
		return reply(200, "application/json", `{"generationId":"gen1","status":"completed","gammaId":"g_1","gammaUrl":"u","exportUrl":"e","credits":{"deducted":16777217,"remaining":9007199254740992}}`)
	})))
	if err != nil {
		t.Fatal(err)
	}
	gen := rsp.JSON200
	if c := gen.Credits; c.Deducted == nil || c.Remaining == nil || *c.Deducted != 16777217 || *c.Remaining != 1<<53 {
		t.Errorf("credits = %+v", c)
	}
	texts := [...]string{gen.GammaID, gen.GammaURL, gen.ExportURL} // plain strings
	if texts != [...]string{"g_1", "u", "e"} || gen.Error != nil {
		t.Errorf("%+v", gen)
	}
	// An absent number is nil, and a number may be sent as a string.
	forty := 40.0
	for body, want := range map[string]*float64{
		`{"deducted":40,"remaining":2960}`:            &forty,
		`{"deducted":"40","remaining":2960}`:          &forty,
		`{"deducted":null,"remaining":2960}`:          nil,
		`{"deducted":{"amount":40},"remaining":2960}`: nil,
		`{"deducted":"forty","remaining":2960}`:       nil,
		`{"remaining":2960}`:                          nil,
		`{"deducted":1e400,"remaining":"2960"}`:       nil,
	} {
		rsp, err := get(t, newFakeClient(t, responds(func() *http.Response {
			return reply(200, "application/json", `{"generationId":"gen1","status":"completed","credits":`+body+`}`)
		})))
		if err != nil {
			t.Fatal(err)
		}
		if c := rsp.JSON200.Credits; !reflect.DeepEqual(c.Deducted, want) || c.Remaining == nil || *c.Remaining != 2960 {
			t.Errorf("%s was read as %+v", body, c)
		}
	}
}

// Every operation has a method that returns the model of any documented 2xx response, and
// an error for any other response.
func TestModels(t *testing.T) {
	for _, o := range published.Operations {
		for _, status := range o.Statuses {
			t.Run(fmt.Sprint(o.ID, " ", status), func(t *testing.T) {
				body, _ := json.Marshal(published.Value(o.Response, sample.Mode{}))
				if !sample.IsJSON(o.ResponseType) {
					body = nil
				}
				client := newFakeClient(t, responds(func() *http.Response { return reply(status, o.ResponseType, string(body)) }))
				model, err := published.Model(t.Context(), client.ClientWithResponses, o, sample.Mode{}, nil)
				switch {
				case err == nil && (model == nil && body != nil || status/100 != 2), err != nil && (model != nil || status == o.Status):
					t.Errorf("%v, %v", model, err)
				}
			})
		}
	}
}

// An undocumented status is an error, not an empty model, also for a client of package api.
func TestModelOfUndocumentedStatus(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		status, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/v1.0/generations/"))
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"generationId":"gen1","status":"pending"}`)
	}))
	defer server.Close()
	client, err := api.NewClientWithResponses(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, status := range []string{"299", "404", "500"} {
		if gen, err := client.GetGenerationStatus(t.Context(), status); gen != nil || !errors.Is(err, gamma.ErrUnexpectedResponse) {
			t.Errorf("status %s: %v, %v", status, gen, err)
		}
	}
}

// endless is a body without an end. It counts the bytes that were read.
type endless struct {
	read   int
	closed bool
}

func (e *endless) Read(p []byte) (int, error) { e.read += len(p); clear(p); return len(p), nil }

func (e *endless) Close() error { e.closed = true; return nil }

func TestBodyLimits(t *testing.T) {
	full := `{"generationId":"gen1","status":"completed"}`
	full += strings.Repeat(" ", 1<<20-len(full))
	for _, tt := range []struct {
		name   string
		status int
		length int64
		max    int
	}{
		{"Content-Length above 1 MiB", 200, 1<<20 + 1, 0},
		{"no Content-Length", 200, -1, 4 << 20},
		{"wrong Content-Length", 200, 10, 4 << 20},
		{"500, no Content-Length", 500, -1, 64 << 10},
		{"500, Content-Length of 1 TiB", 500, 1 << 40, 64 << 10},
		{"redirect", 307, -1, 0},
		{"switching protocols", 101, -1, 0},
	} {
		body := &endless{}
		_, err := get(t, newFakeClient(t, responds(func() *http.Response {
			return &http.Response{StatusCode: tt.status, Header: http.Header{"Content-Type": {"application/json"}}, Body: body, ContentLength: tt.length}
		})))
		if (tt.status == 200) != errors.Is(err, gamma.ErrResponseTooLarge) || err == nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if body.read > tt.max || !body.closed {
			t.Errorf("%s: read %d bytes, want at most %d; closed %v", tt.name, body.read, tt.max, body.closed)
		}
		checkText(t, err)
	}
	for _, length := range []int64{1 << 20, -1} {
		rsp, err := get(t, newFakeClient(t, responds(func() *http.Response {
			r := reply(200, "application/json", full)
			r.ContentLength = length
			return r
		})))
		if err != nil || len(rsp.Body) != 1<<20 {
			t.Errorf("a body of exactly 1 MiB: %v", err)
		}
	}
}

func TestRequestTimeout(t *testing.T) {
	for name, hang := range map[string]func(*http.Request) (*http.Response, error){
		"header": func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, context.Cause(req.Context())
		},
		"header, transport that calls only Err": func(req *http.Request) (*http.Response, error) {
			for req.Context().Err() == nil {
				time.Sleep(500 * time.Millisecond)
				synctest.Wait()
			}
			return nil, req.Context().Err()
		},
		"header, transport that calls only Deadline": func(req *http.Request) (*http.Response, error) {
			deadline, _ := req.Context().Deadline()
			time.Sleep(time.Until(deadline))
			synctest.Wait()
			return nil, errors.New("too late")
		},
		"body": func(req *http.Request) (*http.Response, error) {
			r, w := io.Pipe()
			context.AfterFunc(req.Context(), func() { w.CloseWithError(req.Context().Err()) })
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: r, ContentLength: -1}, nil
		},
		// When net/http closes a TLS connection, the server may close it in return. That
		// ends a body without a length.
		"body that ends with the context": func(req *http.Request) (*http.Response, error) {
			r, w := io.Pipe()
			context.AfterFunc(req.Context(), func() { _ = w.Close() })
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: r, ContentLength: -1}, nil
		},
	} {
		for _, tt := range []struct {
			timeout, client, want time.Duration
		}{
			{0, 0, 15 * time.Second},
			{time.Minute, 0, time.Minute},
			{time.Minute, time.Second, time.Second},
			{time.Second, time.Minute, time.Second},
		} {
			synctest.Test(t, func(t *testing.T) {
				transport := &closeCounter{RoundTripper: roundTripper(hang)}
				client := newClient(t, "https://h.example", gamma.WithRequestTimeout(tt.timeout),
					gamma.WithHTTPClient(&http.Client{Transport: transport, Timeout: tt.client}))
				start := time.Now()
				_, err := get(t, client)
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != tt.want {
					t.Errorf("%s: %v after %v, want a timeout after %v", name, err, time.Since(start), tt.want)
				}
				checkText(t, err)
				if _, _ = get(t, client); transport.closed != 0 {
					t.Errorf("%s: the caller's idle connections were closed", name)
				}
			})
		}
	}
}

// A transport may keep the context of a request and wait until it is done.
func TestRequestContextEnds(t *testing.T) {
	type key struct{}
	get := func(ctx context.Context, client *gamma.Client) error {
		_, err := client.GetGenerationStatus(ctx, "gen1")
		return err
	}
	create := func(ctx context.Context, client *gamma.Client) error {
		ctx, cancel := context.WithTimeout(ctx, time.Hour) // the timeout of the request
		t.Cleanup(cancel)
		_, err := client.CreateGeneration(ctx, generation(api.GenerationRequest{InputText: "x"}))
		return err
	}
	nothing := func(context.Context) {}
	done := func(ctx context.Context) { _ = ctx.Done() }
	for name, tt := range map[string]struct {
		use  func(context.Context)
		call func(context.Context, *gamma.Client) error
	}{
		"poll, context not used":   {nothing, get},
		"poll, Done called":        {done, get},
		"create, context not used": {nothing, create},
		"create, Done called":      {done, create},
	} {
		contexts := make(chan context.Context, 1)
		client := newClient(t, "https://h.example", gamma.WithHTTPClient(&http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			contexts <- req.Context()
			tt.use(req.Context())
			return respondsJSON(bodies[0].body)(req)
		})}))
		if err := tt.call(context.WithValue(t.Context(), key{}, "kept"), client); err != nil {
			t.Fatal(err)
		}
		kept := <-contexts
		select {
		case <-kept.Done():
		default:
			t.Errorf("%s: not done", name)
		}
		if err, cause := kept.Err(), context.Cause(kept); err != context.Canceled || cause != context.Canceled {
			t.Errorf("%s: %v, cause %v", name, err, cause)
		}
		if v := kept.Value(key{}); v != "kept" {
			t.Errorf("%s: the value is %v", name, v)
		}
	}
}

type closeCounter struct {
	http.RoundTripper
	closed int
}

func (c *closeCounter) CloseIdleConnections() { c.closed++ }

func TestCanceledRequest(t *testing.T) {
	why := errors.New("the user left")
	ctx, cancel := context.WithCancelCause(t.Context())
	client := newClient(t, "https://h.example", gamma.WithHTTPClient(&http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
		cancel(why)
		return nil, context.Cause(req.Context())
	})}))
	_, err := client.GetGenerationStatusWithResponse(ctx, "gen1")
	if !errors.Is(err, context.Canceled) || !errors.Is(err, why) {
		t.Errorf("%v, want the cancellation and its cause", err)
	}
	checkText(t, err)
}

// A request editor can change a request, but cannot send the key to another host.
func TestRequestEditors(t *testing.T) {
	const status = "GET /v1.0/generations/{id}"
	var got *http.Request
	client := newClient(t, "https://h.example:8443/base", gamma.WithHTTPClient(&http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
		got = req
		return nil, io.EOF
	})}))
	for name, tt := range map[string]struct {
		edit      func(*http.Request)
		sent      bool
		operation string // in the error
	}{
		"header":               {func(r *http.Request) { r.Header.Set("X-Trace", "1"); r.Header.Set("X-Api-Key", "other") }, true, status},
		"path":                 {func(r *http.Request) { r.URL.Path = "/base/elsewhere" }, true, "GET (undocumented path)"},
		"URL.Host":             {func(r *http.Request) { r.URL.Host = "evil.example" }, false, status},
		"port":                 {func(r *http.Request) { r.URL.Host = "h.example" }, false, status},
		"scheme":               {func(r *http.Request) { r.URL.Scheme = "http" }, false, status},
		"user info":            {func(r *http.Request) { r.URL.User = url.User("u") }, false, status},
		"Host":                 {func(r *http.Request) { r.Host = "evil.example" }, false, status},
		"header named host":    {func(r *http.Request) { r.Header["host"] = []string{"evil.example"} }, false, status},
		"opaque URL":           {func(r *http.Request) { r.URL.Opaque = "//evil.example/steal" }, false, status},
		"no URL":               {func(r *http.Request) { r.URL = nil }, false, "GET (no URL)"},
		"no Host":              {func(r *http.Request) { r.Host = "" }, true, status},
		"body and no URL.Host": {func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("x")); r.URL.Host = "" }, false, status},
	} {
		got = nil
		_, err := client.GetGenerationStatusWithResponse(t.Context(), "gen1", func(_ context.Context, r *http.Request) error {
			if len(r.Header.Values("X-Api-Key")) != 0 {
				t.Errorf("%s: the editor sees the key", name)
			}
			tt.edit(r)
			return nil
		})
		if err == nil || (got != nil) != tt.sent {
			t.Errorf("%s: %v, sent %v, want sent: %v", name, err, got, tt.sent)
			continue
		}
		checkText(t, err)
		if !strings.HasPrefix(err.Error(), "gamma: "+tt.operation+": ") {
			t.Errorf("%s: %v does not name the operation", name, err)
		}
		if got != nil && got.Header.Get("X-Api-Key") != key {
			t.Errorf("%s: X-API-KEY = %q", name, got.Header.Get("X-Api-Key"))
		}
	}
}

// rawServer returns the URL of a server that calls respond for each connection after it has
// read a request.
func rawServer(t *testing.T, respond func(net.Conn)) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			go func() {
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					respond(conn)
				}
			}()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return "http://" + l.Addr().String()
}

func TestInvalidResponse(t *testing.T) {
	tests := []struct {
		name     string
		response string
		keepOpen bool
	}{
		{name: "not HTTP", response: `{"generationId":"gen1","status":"completed","exportUrl":"https://x/"}` + "\n"},
		{name: "the key", response: key + " " + key + "\r\n\r\n"},
		{name: "invalid header", response: "HTTP/1.1 200 OK\r\nexportUrl https://x\r\n\r\n"},
		{name: "the key as a header", response: "HTTP/1.1 200 OK\r\n" + key + "\r\n\r\n"},
		{name: "invalid Content-Length", response: "HTTP/1.1 200 OK\r\nContent-Length: exportUrl\r\n\r\n"},
		{name: "two Content-Lengths", response: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"},
		{name: "body shorter than Content-Length", response: "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{}"},
		{name: "invalid chunk size", response: "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"},
		{name: "huge chunk size", response: "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}\r\n"},
		{name: "Content-Encoding gzip, body not", response: "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"},
		{name: "101, connection stays open", response: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + key, keepOpen: true},
		{name: "100, 1000 times", response: strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 1000)},
		{name: "103, 1000 times", response: strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 1000)},
		{name: "header above 256 KiB", response: "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 300<<10) + "\r\n\r\n"},
		{name: "nothing", response: ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			url := rawServer(t, func(c net.Conn) {
				_, _ = io.WriteString(c, tt.response)
				if !tt.keepOpen {
					_ = c.Close()
				}
			})
			_, err := get(t, newClient(t, url))
			if err == nil {
				t.Fatal("no error")
			}
			checkText(t, err)
			for ; err != nil; err = errors.Unwrap(err) {
				checkNoKey(t, err)
				if strings.Contains(err.Error(), "exportUrl") {
					t.Errorf("the wrapped error %q has a part of the response", err)
				}
			}
		})
	}
}

func TestGzipBomb(t *testing.T) {
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	for range 4 {
		_, _ = w.Write(make([]byte, 1<<20))
	}
	_ = w.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb.Bytes())
	}))
	defer server.Close()
	if _, err := get(t, newClient(t, server.URL)); !errors.Is(err, gamma.ErrResponseTooLarge) {
		t.Errorf("%v, want ErrResponseTooLarge", err)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	for _, status := range []int{300, 301, 302, 303, 304, 305, 307, 308} {
		var requests atomic.Int32
		var self *httptest.Server
		self = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if requests.Add(1); r.URL.Query().Get("to") == "self" {
				w.Header().Set("Location", self.URL)
			} else {
				w.Header().Set("Location", other.URL+"/"+r.Header.Get("X-Api-Key"))
			}
			w.WriteHeader(status)
		}))
		_, err := get(t, newClient(t, self.URL))
		var apiErr *gamma.APIError
		if !errors.As(err, &apiErr) || apiErr.StatusCode != status {
			t.Errorf("%d: %v, want an APIError", status, err)
		} else {
			checkText(t, err)
		}
		if requests.Load() != 1 || elsewhere.Load() != 0 {
			t.Errorf("%d: %d requests, %d elsewhere", status, requests.Load(), elsewhere.Load())
		}
		self.Close()
	}
}

// FuzzResponse checks the result for any response of a server.
func FuzzResponse(f *testing.F) {
	f.Add(200, "application/json", `{"generationId":"gen1","status":"completed","credits":{"deducted":1,"remaining":2}}`, "5")
	f.Add(200, "application/json", `{"generationId":"gen1","status":"failed","error":"x","credits":[1]}`, "-1")
	f.Add(200, "", `{"status":"x"}`, "Wed, 21 Oct 2015 07:28:00 GMT")
	f.Add(404, "application/json", `{"message":"\u001b[31m`+key+`","statusCode":404}`, "99999999999999999999")
	f.Add(502, "text/html", "<html>", "1.5")
	f.Fuzz(func(t *testing.T, status int, contentType, body, retryAfter string) {
		if status < 100 || status > 999 {
			return
		}
		rsp, err := get(t, newFakeClient(t, responds(func() *http.Response {
			return reply(status, contentType, body, "Retry-After", retryAfter, "X-Request-Id", retryAfter)
		})))
		switch {
		case err == nil:
			if status != 200 || rsp.JSON200 == nil {
				t.Fatalf("status %d: %+v", status, rsp)
			}
			if !json.Valid([]byte(body)) {
				t.Fatalf("%q was read as JSON", body)
			}
		case status/100 == 2:
			if !errors.Is(err, gamma.ErrUnexpectedResponse) {
				t.Fatal(err)
			}
		default:
			var apiErr *gamma.APIError
			if !errors.As(err, &apiErr) || apiErr.StatusCode != status || apiErr.Message == "" || apiErr.RetryAfter < 0 || apiErr.RetryAfter > 24*time.Hour {
				t.Fatalf("%#v", err)
			}
			if bytes.Contains(apiErr.Body, []byte(key)) || len(apiErr.Body) > 16<<10 || apiErr.Body != nil && len(apiErr.Body) == 0 {
				t.Fatalf("body %q", apiErr.Body)
			}
		}
		if err != nil {
			if text := err.Error(); strings.Contains(text, key) || strings.ContainsAny(text, "\n\r\x1b") || len(text) > 2000 {
				t.Fatalf("error text %q", text)
			}
		}
	})
}

// FuzzOperations checks for any response to any operation that nothing panics, that lists
// end, and that no result has the key.
func FuzzOperations(f *testing.F) {
	f.Add(200, `{"generationId":"gen1","warnings":"numCards was lowered"}`)
	f.Add(201, `{"generationId":"../x","warnings":[{"code":"a"}]}`)
	f.Add(200, `{"data":[{"id":"a","name":"b","type":"standard"}],"hasMore":true,"nextCursor":"c"}`)
	f.Add(200, `{"data":[],"hasMore":true,"nextCursor":null}`)
	f.Add(200, `{"gammaId":"g_1","archived":true,"status":"deleted","message":"`+key+`"}`)
	f.Add(429, `{"message":["a","`+strings.ReplaceAll(key, "s", `\u0073`)+`"]}`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 100 || status > 999 || status == http.StatusTooManyRequests {
			return // a create would wait
		}
		sent := 0
		client := newFakeClient(t, func(*http.Request) (*http.Response, error) {
			if sent++; sent > 1000 {
				t.Fatal("more than 1000 requests")
			}
			return reply(status, "application/json", body), nil
		})
		ctx := t.Context()
		check := func(value any, err error) {
			dump, _ := json.Marshal(value)
			if text := fmt.Sprintf("%s %+v %v", dump, value, err); strings.Contains(text, key) {
				t.Fatalf("the key is in %s", text)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "gamma: ") {
				t.Fatalf("%q", err)
			}
		}
		created, err := client.CreateGeneration(ctx, generation(api.GenerationRequest{InputText: "x"}))
		check(created, err)
		if err == nil && apiruntime.CheckPathParam("the id", created.GenerationID) != nil {
			t.Fatalf("created %+v", created)
		}
		if err != nil && status/100 == 2 && !errors.Is(err, gamma.ErrMaybeCreated) {
			t.Fatalf("status %d: %v, want ErrMaybeCreated", status, err)
		}
		for theme, err := range client.Themes(ctx, nil) {
			check(theme, err)
		}
		for folder, err := range client.Folders(ctx, sample.As[*api.ListFoldersParams](map[string]any{"limit": 1})) {
			check(folder, err)
		}
		for _, o := range published.Operations {
			rsp, err := published.Call(ctx, client, o, sample.Mode{}, nil)
			check(rsp, err)
		}
	})
}
