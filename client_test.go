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
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/test/sample"
)

const key = `sk-gamma-7Zq&<>"\secret`

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// newClient returns a client of the server at url with the default settings.
func newClient(t testing.TB, url string, opts ...gamma.Option) *gamma.Client {
	t.Helper()
	client, err := gamma.NewClient(key, append([]gamma.Option{gamma.WithBaseURL(url)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func get(t *testing.T, client *gamma.Client) (*api.GetGenerationStatusHTTPResponse, error) {
	t.Helper()
	return client.GetGenerationStatusWithResponse(t.Context(), "gen1")
}

// checkText holds an error, and every error inside it, to the rules for texts.
func checkText(t *testing.T, err error) {
	t.Helper()
	text := err.Error()
	if !strings.HasPrefix(text, "gamma: ") || strings.ContainsAny(text, "\n\r\x1b\x00") || len(text) > 1200 {
		t.Errorf("error text %q", text)
	}
	for _, secret := range []string{"https://", "http://", "exportUrl"} {
		if strings.Contains(text, secret) {
			t.Errorf("error text %q holds %q", text, secret)
		}
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		checkNoKey(t, inner)
	}
}

// checkNoKey looks for the key in every common way to print v.
func checkNoKey(t *testing.T, v any) {
	t.Helper()
	dump, _ := json.Marshal(v)
	for _, text := range []string{fmt.Sprintf("%v", v), fmt.Sprintf("%+v", v), fmt.Sprintf("%#v", v), string(dump)} {
		if strings.Contains(text, key) || strings.Contains(text, "7Zq") {
			t.Errorf("%T shows the key: %s", v, text)
		}
	}
}

func TestNewClientKey(t *testing.T) {
	for _, bad := range []string{"", " ", "\n\t", "a\nb", "a\r\nX-Evil: 1", "a\x00b", "a\x7fb", "sk-“quoted”", "sk\tgamma"} {
		if client, err := gamma.NewClient(bad); err == nil || client != nil {
			t.Errorf("NewClient(%q) = %v, %v, want an error", bad, client, err)
		} else if bad != "" && strings.TrimSpace(bad) != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("NewClient(%q): %v quotes the key", bad, err)
		}
	}
	var got string
	client, err := gamma.NewClient(" \t"+key+"\r\n", gamma.WithHTTPClient(&http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
		got = req.Header.Get("X-API-KEY")
		return nil, io.EOF
	})}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = get(t, client); err == nil || got != key {
		t.Errorf("the key was sent as %q (%v), want it trimmed", got, err)
	}
}

func TestOptionsRefuseBadInput(t *testing.T) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, opt := range map[string]gamma.Option{
		"nil option":       nil,
		"nil client":       gamma.WithHTTPClient(nil),
		"cookie jar":       gamma.WithHTTPClient(&http.Client{Jar: jar}),
		"negative timeout": gamma.WithRequestTimeout(-1),
		"user agent":       gamma.WithUserAgent("a\r\nb"),
		"base URL":         gamma.WithBaseURL(""),
	} {
		if client, err := gamma.NewClient(key, opt); err == nil || client != nil {
			t.Errorf("%s: NewClient = %v, %v, want an error", name, client, err)
		} else {
			checkText(t, err)
		}
	}
	if _, err := gamma.NewClient(key, gamma.WithUserAgent(""), gamma.WithRequestTimeout(0)); err != nil {
		t.Errorf("zero values: %v", err)
	}
}

var baseURLs = []struct {
	url string
	ok  bool
}{
	{"https://public-api.gamma.app", true},
	{"https://public-api.gamma.app/", true},
	{"HTTPS://Public-API.gamma.app:8443/base/path/", true},
	{"http://localhost:8080", true},
	{"http://LOCALHOST", true},
	{"http://127.0.0.1:1", true},
	{"http://127.9.9.9", true},
	{"http://[::1]:80", true},
	{"http://[::ffff:127.0.0.1]", true},
	{"http://public-api.gamma.app", false},
	{"http://localhost.example.com", false},
	{"http://127.0.0.1.example.com", false},
	{"http://128.0.0.1", false},
	{"http://[::2]", false},
	{"http://0.0.0.0", false},
	{"ftp://localhost", false},
	{"//localhost", false},
	{"localhost:8080", false},
	{"public-api.gamma.app", false},
	{"", false},
	{"https://", false},
	{"https://:443", false},
	{"https://h:", false},
	{"https://h:0", false},
	{"https://h:65536", false},
	{"https:opaque", false},
	{"https://user@h", false},
	{"https://user:pa55@h", false},
	{"https://h?a=b", false},
	{"https://h?", false},
	{"https://h#f", false},
	{"https://h#", false},
	{"https://h/a/../b", false},
	{"https://h/%2e%2e/b", false},
	{"https://h/a\nb", false},
	{"http://gamma-mock:8080", false},
	{"http://gamma.localhost:8080", false},
	{" https://h\n", true},
	{`"https://h"`, true},
	{`"https://h'`, false},
	{"https://h\x00", false},
	{"%zz", false},
}

func TestBaseURL(t *testing.T) {
	for _, tt := range baseURLs {
		client, err := gamma.NewClient(key, gamma.WithBaseURL(tt.url))
		if tt.ok != (err == nil) || tt.ok != (client != nil) {
			t.Errorf("WithBaseURL(%q): %v, want ok = %v", tt.url, err, tt.ok)
		}
		if err != nil {
			if strings.Contains(err.Error(), "pa55") {
				t.Errorf("WithBaseURL(%q): %v holds the password", tt.url, err)
			}
			checkText(t, err)
		}
	}
}

// What people write for the base URL leads to one address.
func TestBaseURLForms(t *testing.T) {
	tests := []struct {
		name, url, want string
	}{
		{"a host", "https://h", "https://h/v1.0/generations/gen1"},
		{"a slash at the end", "https://h/", "https://h/v1.0/generations/gen1"},
		{"with the version", "https://public-api.gamma.app/v1.0", "https://public-api.gamma.app/v1.0/generations/gen1"},
		{"with the version and a slash", "https://public-api.gamma.app/v1.0/", "https://public-api.gamma.app/v1.0/generations/gen1"},
		{"a path", "https://h/gamma", "https://h/gamma/v1.0/generations/gen1"},
		{"a path and the version", "https://h/gamma/v1.0", "https://h/gamma/v1.0/generations/gen1"},
		{"a path that ends like the version", "https://h/xv1.0", "https://h/xv1.0/v1.0/generations/gen1"},
		{"another version", "https://h/v2", "https://h/v2/v1.0/generations/gen1"},
		{"white space", " \thttps://h\r\n", "https://h/v1.0/generations/gen1"},
		{"double quotes", `"https://h"`, "https://h/v1.0/generations/gen1"},
		{"single quotes and white space", ` ' https://h/v1.0 ' `, "https://h/v1.0/generations/gen1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, how := range []string{"option", "environment"} {
				var sent string
				transport := gamma.WithHTTPClient(&http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
					sent = req.URL.String() + " " + req.Header.Get("X-Api-Key")
					return nil, io.EOF
				})})
				t.Setenv("GAMMA_API_KEY", ` "`+key+"\"\n")
				t.Setenv("GAMMA_BASE_URL", tt.url)
				client, err := gamma.NewClientFromEnv(transport)
				if how == "option" {
					client, err = gamma.NewClient("'"+key+"'", gamma.WithBaseURL(tt.url), transport)
				}
				if err != nil {
					t.Fatal(err)
				}
				if _, err := get(t, client); err == nil || sent != tt.want+" "+key {
					t.Errorf("%s: sent to %s, want %s", how, sent, tt.want)
				}
			}
		})
	}
}

// Plain http needs loopback, or a switch that nobody sets by accident.
func TestInsecureHTTP(t *testing.T) {
	for _, tt := range []struct {
		name, variable string
		opts           []gamma.Option
		ok             bool
	}{
		{"without the option", "", nil, false},
		{"the option", "", []gamma.Option{gamma.WithInsecureHTTP()}, true},
		{"the option after the base URL", "", []gamma.Option{gamma.WithBaseURL("http://other-mock"), gamma.WithInsecureHTTP()}, true},
		{"the variable", "1", nil, true},
		{"the variable in quotes", `"true"`, nil, true},
		{"the variable, false", "0", nil, false},
		{"the variable, no boolean", "yes please", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("GAMMA_API_KEY", key)
			t.Setenv("GAMMA_BASE_URL", "http://gamma-mock:8080")
			t.Setenv("GAMMA_INSECURE_HTTP", tt.variable)
			client, err := gamma.NewClientFromEnv(append(tt.opts, gamma.WithHTTPClient(&http.Client{Transport: with(func() *http.Response {
				return reply(200, "application/pdf", "%PDF")
			})}))...)
			if (err == nil) != tt.ok {
				t.Fatal(err)
			}
			if err != nil {
				checkText(t, err)
				return
			}
			if err := client.Download(t.Context(), "http://gamma-mock:8081/deck.pdf", io.Discard); err != nil {
				t.Error(err)
			}
		})
	}
}

// Fake keys are short words, and responses have those by themselves.
func TestShortKeysAreNotRedacted(t *testing.T) {
	const body = `{"generationId":"gen1","status":"completed","gammaUrl":"https://gamma.app/docs/my-test-deck"}`
	for _, key := range []string{"test", "status", "gen1", "completed"} {
		client, err := gamma.NewClient(key, gamma.WithHTTPClient(&http.Client{Transport: with(func() *http.Response {
			return reply(200, "application/json", body, "X-Test", "my-test")
		})}))
		if err != nil {
			t.Fatal(err)
		}
		rsp, err := get(t, client)
		if err != nil || rsp.JSON200.Status != "completed" || rsp.JSON200.GammaURL != "https://gamma.app/docs/my-test-deck" || rsp.HTTPResponse.Header.Get("X-Test") != "my-test" {
			t.Errorf("key %q: %+v, %v", key, rsp, err)
		}
	}
}

// Whatever base URL is accepted, the request goes to it, over TLS or to this
// machine, and its path is the base's with the operation's behind it.
func FuzzBaseURL(f *testing.F) {
	for _, tt := range baseURLs {
		f.Add(tt.url)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		var sent *http.Request
		client, err := gamma.NewClient(key, gamma.WithBaseURL(raw), gamma.WithHTTPClient(&http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			sent = req
			return nil, io.EOF
		})}))
		if err != nil {
			return
		}
		trimmed := strings.TrimSpace(raw)
		for _, quote := range []string{`"`, "'"} {
			if inner, ok := strings.CutPrefix(trimmed, quote); ok && strings.HasSuffix(inner, quote) {
				trimmed = strings.TrimSpace(strings.TrimSuffix(inner, quote))
				break
			}
		}
		base, err := url.Parse(trimmed)
		if err != nil {
			t.Fatalf("accepted %q: %v", raw, err)
		}
		if _, err := get(t, client); sent == nil {
			t.Fatalf("nothing sent to %q: %v", raw, err)
		}
		if !strings.EqualFold(sent.URL.Host, base.Host) || sent.URL.User != nil || sent.URL.RawQuery != "" || sent.URL.Fragment != "" {
			t.Fatalf("%q sends to %v", raw, sent.URL)
		}
		if host := sent.URL.Hostname(); sent.URL.Scheme != "https" && (sent.URL.Scheme != "http" || !strings.EqualFold(host, "localhost") && !net.ParseIP(host).IsLoopback()) {
			t.Fatalf("%q sends the key unencrypted to %v", raw, sent.URL)
		}
		prefix := strings.TrimRight(strings.TrimSuffix(strings.TrimRight(base.Path, "/"), "/v1.0"), "/")
		if want := prefix + "/v1.0/generations/gen1"; sent.URL.Path != want {
			t.Fatalf("%q asks for %q, want %q", raw, sent.URL.Path, want)
		}
	})
}

func TestNewClientFromEnv(t *testing.T) {
	t.Setenv("GAMMA_API_KEY", "")
	t.Setenv("GAMMA_BASE_URL", "")
	if _, err := gamma.NewClientFromEnv(); err == nil || !strings.Contains(err.Error(), "GAMMA_API_KEY") {
		t.Errorf("without a key: %v", err)
	}
	var got *http.Request
	record := gamma.WithHTTPClient(&http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
		got = req
		return nil, io.EOF
	})})
	for _, tt := range []struct {
		env  string
		opts []gamma.Option
		want string
	}{
		{"", nil, "https://public-api.gamma.app/v1.0/generations/gen1"},
		{"https://proxy.example.com/gamma/", nil, "https://proxy.example.com/gamma/v1.0/generations/gen1"},
		{"https://proxy.example.com", []gamma.Option{gamma.WithBaseURL("https://other.example.com")}, "https://other.example.com/v1.0/generations/gen1"},
		{"no URL", []gamma.Option{gamma.WithBaseURL("https://other.example.com")}, "https://other.example.com/v1.0/generations/gen1"},
	} {
		t.Setenv("GAMMA_API_KEY", " "+key+"\n")
		t.Setenv("GAMMA_BASE_URL", tt.env)
		client, err := gamma.NewClientFromEnv(append(tt.opts, record)...)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = get(t, client)
		if got.URL.String() != tt.want || got.Header.Get("X-Api-Key") != key {
			t.Errorf("GAMMA_BASE_URL=%s sends to %v", tt.env, got.URL)
		}
	}
	t.Setenv("GAMMA_BASE_URL", "http://example.com")
	if _, err := gamma.NewClientFromEnv(); err == nil {
		t.Error("GAMMA_BASE_URL is not checked")
	}
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

func reply(status int, contentType, body string, headers ...string) *http.Response {
	h := http.Header{}
	if contentType != "" {
		h.Set("Content-Type", contentType)
	}
	for i := 0; i < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// answering returns a client whose every request is answered by transport.
func answering(t testing.TB, transport roundTripper) *gamma.Client {
	t.Helper()
	return newClient(t, "https://h.example", gamma.WithHTTPClient(&http.Client{Transport: transport}))
}

// with answers every request by rsp.
func with(rsp func() *http.Response) roundTripper {
	return func(*http.Request) (*http.Response, error) { return rsp(), nil }
}

func TestPathParametersAreChecked(t *testing.T) {
	sent := 0
	client := answering(t, with(func() *http.Response { sent++; return reply(200, "application/json", "{}") }))
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

func TestAPIError(t *testing.T) {
	absent := gamma.Window{Limit: -1, Remaining: -1, Reset: -1}
	ratelimit := gamma.RateLimit{Burst: gamma.Window{Limit: 10000, Remaining: 0, Reset: -1}, Hour: gamma.Window{Limit: -1, Remaining: 39988, Reset: -1}, Day: absent}
	none := gamma.RateLimit{Burst: absent, Hour: absent, Day: absent}
	tests := []struct {
		name string
		rsp  *http.Response
		want gamma.APIError
		is   error
		text string
	}{
		{"401", reply(401, "application/json", `{"message":"Invalid API key.","statusCode":401}`, "X-Request-Id", "req-1"),
			gamma.APIError{StatusCode: 401, Message: "Invalid API key.", RequestID: "req-1", RateLimit: none}, gamma.ErrUnauthorized,
			"gamma: GET /v1.0/generations/{id}: 401 Unauthorized: Invalid API key. (request req-1)"},
		{"402", reply(402, "application/json", `{"message":"Insufficient credits"}`), gamma.APIError{StatusCode: 402, Message: "Insufficient credits", RateLimit: none}, gamma.ErrInsufficientCredits, ""},
		{"403 for credits", reply(403, "application/json", `{"message":"Insufficient credits remaining"}`), gamma.APIError{StatusCode: 403, Message: "Insufficient credits remaining", RateLimit: none}, gamma.ErrInsufficientCredits, ""},
		{"403", reply(403, "application/json", `{"message":"Forbidden"}`), gamma.APIError{StatusCode: 403, Message: "Forbidden", RateLimit: none}, gamma.ErrForbidden,
			"gamma: GET /v1.0/generations/{id}: 403 Forbidden"},
		{"404", reply(404, "application/json", `{"message":"Generation ID not found. generationId: x"}`), gamma.APIError{StatusCode: 404, Message: "Generation ID not found. generationId: x", RateLimit: none}, gamma.ErrNotFound, ""},
		{"429", reply(429, "application/json", `{"message":"Too many requests"}`, "Retry-After", "60", "x-ratelimit-limit-burst", "10000", "x-ratelimit-remaining-burst", "0", "x-ratelimit-remaining", "39988", "x-ratelimit-remaining-daily", "many"),
			gamma.APIError{StatusCode: 429, Message: "Too many requests", RetryAfter: time.Minute, RateLimit: ratelimit}, gamma.ErrRateLimited, ""},
		{"list of messages", reply(400, "application/json", `{"message":["a is required","b is too long"]}`), gamma.APIError{StatusCode: 400, Message: "a is required; b is too long", RateLimit: none}, nil, ""},
		{"odd message", reply(400, "application/json", `{"message":{"a":1}}`), gamma.APIError{StatusCode: 400, Message: "Bad Request", RateLimit: none}, nil, "gamma: GET /v1.0/generations/{id}: 400 Bad Request"},
		{"HTML", reply(502, "text/html", `<html>exportUrl</html>`), gamma.APIError{StatusCode: 502, Message: "Bad Gateway", RateLimit: none}, nil, ""},
		{"empty", reply(503, "", ""), gamma.APIError{StatusCode: 503, Message: "Service Unavailable", RateLimit: none}, nil, ""},
		{"no name", reply(599, "", ""), gamma.APIError{StatusCode: 599, Message: "status 599", RateLimit: none}, nil, "gamma: GET /v1.0/generations/{id}: 599: status 599"},
		{"escapes", reply(500, "application/json", `{"message":"a\u001b[31m\n\u202eb"}`, "X-Request-Id", "r\x1b"), gamma.APIError{StatusCode: 500, Message: `a\x1b[31m\n\u202eb`, RequestID: `r\x1b`, RateLimit: none}, nil, ""},
		{"the key", reply(500, "application/json", `{"message":`+quoted("bad "+key)+`}`, "X-Request-Id", key), gamma.APIError{StatusCode: 500, Message: "bad [API key]", RequestID: "[API key]", RateLimit: none}, nil, ""},
		{"the key, escaped", reply(500, "application/json", `{"message":"bad `+strings.NewReplacer("&", `\u0026`, "<", `\u003c`, "7", `\u0037`, `"`, `\"`, `\`, `\\`).Replace(key)+`"}`), gamma.APIError{StatusCode: 500, Message: "bad [API key]", RateLimit: none}, nil, ""},
		{"redirect", reply(302, "", "", "Location", "https://evil.example/"), gamma.APIError{StatusCode: 302, Message: "Found", RateLimit: none}, nil, ""},
		{"switching protocols", reply(101, "", ""), gamma.APIError{StatusCode: 101, Message: "Switching Protocols", RateLimit: none}, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.Operation = "GET /v1.0/generations/{id}"
			rsp, err := get(t, answering(t, with(func() *http.Response { return tt.rsp })))
			var got *gamma.APIError
			if !errors.As(err, &got) || rsp != nil {
				t.Fatalf("%v, %v, want an APIError", rsp, err)
			}
			said := *got
			said.Body = nil // see TestBodyOfAPIError
			if !reflect.DeepEqual(said, tt.want) {
				t.Errorf("got  %+v\nwant %+v", said, tt.want)
			}
			for _, sentinel := range []error{gamma.ErrUnauthorized, gamma.ErrInsufficientCredits, gamma.ErrForbidden, gamma.ErrNotFound, gamma.ErrRateLimited} {
				if errors.Is(err, sentinel) != (sentinel == tt.is) {
					t.Errorf("errors.Is(%v, %v) = %v", err, sentinel, sentinel != tt.is)
				}
			}
			if tt.text != "" && err.Error() != tt.text {
				t.Errorf("text %q, want %q", err, tt.text)
			}
			checkText(t, err)
		})
	}
}

func TestBodyOfAPIError(t *testing.T) {
	long := strings.Repeat("x", 20000)
	for _, tt := range []struct {
		name       string
		status     int
		body, want string
	}{
		{"JSON", 400, `{"message":"no","code":7}`, `{"message":"no","code":7}`},
		{"HTML", 502, "<html>\x00", "<html>\x00"},
		{"the key", 500, "a " + key + " b", "a [API key] b"},
		{"more than 16 KiB", 500, long, long[:16<<10]},
		{"none", 500, "", ""},
		{"that of a redirect, which is not read", 302, "moved", ""},
	} {
		_, err := get(t, answering(t, with(func() *http.Response { return reply(tt.status, "application/json", tt.body) })))
		var got *gamma.APIError
		if !errors.As(err, &got) || string(got.Body) != tt.want || (got.Body == nil) != (tt.want == "") {
			t.Errorf("%s: %q", tt.name, got.Body)
		}
		if tt.want != "" && strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: the body shows in %q", tt.name, err)
		}
	}
}

func TestLongMessagesAreCut(t *testing.T) {
	_, err := get(t, answering(t, with(func() *http.Response {
		return reply(500, "application/json", `{"message":"`+strings.Repeat("long ", 3000)+`"}`)
	})))
	var apiErr *gamma.APIError
	if !errors.As(err, &apiErr) || !strings.HasPrefix(apiErr.Message, "long long") || len(apiErr.Message) > 520 {
		t.Errorf("%v", err)
	}
	_, err = get(t, answering(t, with(func() *http.Response {
		return reply(500, "application/json", `{"message":"`+strings.Repeat("long ", 120000)+`"}`)
	})))
	if !errors.As(err, &apiErr) || apiErr.Message != "Internal Server Error" {
		t.Errorf("%v", err)
	}
}

func TestSuccessThatIsNotDocumented(t *testing.T) {
	const good = `{"generationId":"gen1","status":"completed"}`
	tests := []struct {
		name        string
		status      int
		contentType string
		body        string
		ok          bool
	}{
		{"JSON", 200, "application/json", good, true},
		{"with a charset", 200, "application/json; charset=utf-8", good, true},
		{"with another charset", 200, "Application/JSON ;charset=UTF-8", good, true},
		{"JSON of a kind", 200, "application/vnd.gamma+json", good, true},
		{"without a content type", 200, "", good, true},
		{"with unknown properties", 200, "application/json", `{"title":"x","generationId":"gen1","pages":[{}],"status":"completed"}`, true},
		{"odd optional properties", 200, "application/json", `{"generationId":"gen1","status":"completed","credits":"x","error":[],"gammaUrl":1}`, true},
		{"one required property", 200, "application/json", `{"status":"completed"}`, true},
		{"HTML", 200, "text/html", good, false},
		{"text", 200, "text/plain; format=json", good, false},
		{"broken content type", 200, "/;", good, false},
		{"201", 201, "application/json", good, true},
		{"202", 202, "application/json", good, true},
		{"201 and HTML", 201, "text/html", "<html>", false},
		{"202 and half of it", 202, "application/json", good[:20], false},
		{"202 and nothing", 202, "", "", false},
		{"203", 203, "application/json", good, false},
		{"204", 204, "", "", false},
		{"206", 206, "application/json", good, false},
		{"empty", 200, "application/json", "", false},
		{"half", 200, "application/json", good[:20], false},
		{"two", 200, "application/json", good + good, false},
		{"null", 200, "application/json", "null", false},
		{"list", 200, "application/json", "[" + good + "]", false},
		{"string", 200, "application/json", `"completed"`, false},
		{"number", 200, "application/json", "1e999", false},
		{"empty object", 200, "application/json", "{}", false},
		{"another object", 200, "application/json", `{"message":"ok"}`, false},
		{"required property of another type", 200, "application/json", `{"generationId":"gen1","status":3}`, false},
		{"deep", 200, "application/json", strings.Repeat(`{"a":`, 20000), false},
		{"binary", 200, "application/json", "\x00\xff\xfe", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rsp, err := get(t, answering(t, with(func() *http.Response { return reply(tt.status, tt.contentType, tt.body) })))
			if tt.ok {
				if err != nil || rsp.JSON200.Status != "completed" {
					t.Errorf("%+v, %v", rsp, err)
				}
				if err == nil && (rsp.JSON200.Credits != nil || rsp.JSON200.Error != nil || rsp.JSON200.GammaURL != "") {
					t.Errorf("unreadable properties became %+v", rsp.JSON200)
				}
				return
			}
			if !errors.Is(err, gamma.ErrUnexpectedResponse) || rsp == nil || rsp.JSON200 != nil || rsp.HTTPResponse == nil {
				t.Fatalf("%+v, %v, want ErrUnexpectedResponse beside the response", rsp, err)
			}
			checkText(t, err)
		})
	}
}

func TestCredits(t *testing.T) {
	rsp, err := get(t, answering(t, with(func() *http.Response {
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
	// Unknown is not 0, and a number may come as a string.
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
		rsp, err := get(t, answering(t, with(func() *http.Response {
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

// endless is a body without end that counts what was read of it.
// Every operation has a method that returns its model, whichever documented success
// came, and an error where there is none.
func TestModels(t *testing.T) {
	for _, o := range published.Operations {
		for _, status := range o.Statuses {
			t.Run(fmt.Sprint(o.ID, " ", status), func(t *testing.T) {
				body, _ := json.Marshal(published.Value(o.Response, sample.Mode{}))
				if !sample.IsJSON(o.ResponseType) {
					body = nil
				}
				client := answering(t, with(func() *http.Response { return reply(status, o.ResponseType, string(body)) }))
				model, err := published.Model(t.Context(), client.ClientWithResponses, o, sample.Mode{}, nil)
				switch {
				case err == nil && (model == nil && body != nil || status/100 != 2), err != nil && (model != nil || status == o.Status):
					t.Errorf("%v, %v", model, err)
				}
			})
		}
	}
}

// A success that the document does not have is an error, not an empty model, also over
// a client that NewClient did not make.
func TestModelOfAnotherStatus(t *testing.T) {
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

type endless struct {
	read   int
	closed bool
}

func (e *endless) Read(p []byte) (int, error) { e.read += len(p); clear(p); return len(p), nil }
func (e *endless) Close() error               { e.closed = true; return nil }

func TestBodyLimits(t *testing.T) {
	full := `{"generationId":"gen1","status":"completed"}`
	full += strings.Repeat(" ", 1<<20-len(full))
	for _, tt := range []struct {
		name   string
		status int
		length int64
		max    int
	}{
		{"announced", 200, 1<<20 + 1, 0},
		{"not announced", 200, -1, 4 << 20},
		{"lies", 200, 10, 4 << 20},
		{"error", 500, -1, 64 << 10},
		{"huge error, announced", 500, 1 << 40, 64 << 10},
		{"redirect", 307, -1, 0},
		{"switching protocols", 101, -1, 0},
	} {
		body := &endless{}
		_, err := get(t, answering(t, with(func() *http.Response {
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
		rsp, err := get(t, answering(t, with(func() *http.Response {
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
		"transport that asks only whether the context has ended": func(req *http.Request) (*http.Response, error) {
			for req.Context().Err() == nil {
				time.Sleep(500 * time.Millisecond)
				synctest.Wait()
			}
			return nil, req.Context().Err()
		},
		"transport that asks only for the deadline": func(req *http.Request) (*http.Response, error) {
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
		// crypto/tls says goodbye when net/http closes a connection, and the server
		// may do the same in time: that is the end of a body without a length.
		"body that seems to end": func(req *http.Request) (*http.Response, error) {
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
					t.Errorf("%s: the idle connections of the caller were closed", name)
				}
			})
		}
	}
}

// A transport may keep the context of a request, and wait for its end.
func TestRequestContextEnds(t *testing.T) {
	type key struct{}
	get := func(ctx context.Context, client *gamma.Client) error {
		_, err := client.GetGenerationStatus(ctx, "gen1")
		return err
	}
	create := func(ctx context.Context, client *gamma.Client) error {
		ctx, cancel := context.WithTimeout(ctx, time.Hour) // which bounds the request
		t.Cleanup(cancel)
		_, err := client.CreateGeneration(ctx, generation(api.GenerationRequest{InputText: "x"}))
		return err
	}
	nothing := func(context.Context) {}
	done := func(ctx context.Context) { _ = ctx.Done() }
	for name, tt := range map[string]struct {
		ask  func(context.Context)
		call func(context.Context, *gamma.Client) error
	}{
		"nothing asked before":         {nothing, get},
		"asked for Done":               {done, get},
		"a create":                     {nothing, create},
		"a create that asked for Done": {done, create},
	} {
		contexts := make(chan context.Context, 1)
		client := newClient(t, "https://h.example", gamma.WithHTTPClient(&http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			contexts <- req.Context()
			tt.ask(req.Context())
			return answer(bodies[0].body)(req)
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

func TestTransportErrors(t *testing.T) {
	inner := &net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded}
	for _, tt := range []struct {
		err  error
		text string
		is   error
	}{
		{nil, "neither a response nor an error", nil},
		{io.ErrUnexpectedEOF, "unexpected EOF", io.ErrUnexpectedEOF},
		{inner, "read tcp", os.ErrDeadlineExceeded},
		{&url.Error{Op: "Get", URL: "https://secret.example/", Err: io.EOF}, "EOF", io.EOF},
		{errors.New(`malformed HTTP response "exportUrl"`), "malformed HTTP response (the rest may quote the response)", nil},
		{errors.New("malformed MIME header line: exportUrl https://x"), "malformed MIME header (the rest may quote the response)", nil},
		{fmt.Errorf("malformed MIME header: missing colon: %q", key), "malformed MIME header (the rest may quote the response)", nil},
		{errors.New("bad " + key), "the request failed", nil},
		{fmt.Errorf("http2: server sent GOAWAY and closed the connection; debug=%q", key), "debug= (the rest may quote the response)", nil},
		{errors.New("a\nb\x1b"), `a\nb\x1b`, nil},
		{&net.DNSError{Err: "no such host", Name: "h.example", IsNotFound: true}, "lookup h.example: no such host", nil},
	} {
		client := newClient(t, "https://h.example", gamma.WithHTTPClient(&http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) { return nil, tt.err })}))
		_, err := get(t, client)
		if err == nil || !strings.Contains(err.Error(), tt.text) || !strings.Contains(err.Error(), "GET /v1.0/generations/{id}") || tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%v became %v, want %q", tt.err, err, tt.text)
			continue
		}
		checkText(t, err)
	}
}

// A request editor can change the request, but not where the key goes.
func TestRequestEditors(t *testing.T) {
	var got *http.Request
	client := newClient(t, "https://h.example:8443/base", gamma.WithHTTPClient(&http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
		got = req
		return nil, io.EOF
	})}))
	for name, tt := range map[string]struct {
		edit func(*http.Request)
		sent bool
	}{
		"header":   {func(r *http.Request) { r.Header.Set("X-Trace", "1"); r.Header.Set("X-Api-Key", "other") }, true},
		"path":     {func(r *http.Request) { r.URL.Path = "/base/elsewhere" }, true},
		"URL host": {func(r *http.Request) { r.URL.Host = "evil.example" }, false},
		"port":     {func(r *http.Request) { r.URL.Host = "h.example" }, false},
		"scheme":   {func(r *http.Request) { r.URL.Scheme = "http" }, false},
		"user":     {func(r *http.Request) { r.URL.User = url.User("u") }, false},
		"Host":     {func(r *http.Request) { r.Host = "evil.example" }, false},
		"host":     {func(r *http.Request) { r.Header["host"] = []string{"evil.example"} }, false},
		"opaque":   {func(r *http.Request) { r.URL.Opaque = "//evil.example/steal" }, false},
		"no URL":   {func(r *http.Request) { r.URL = nil }, false},
		"no Host":  {func(r *http.Request) { r.Host = "" }, true},
		"the body": {func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("x")); r.URL.Host = "" }, false},
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
			t.Errorf("%s: %v, sent %v, want %v", name, err, got, tt.sent)
			continue
		}
		checkText(t, err)
		if !strings.HasPrefix(err.Error(), "gamma: GET /v1.0/generations/{id}: ") && name != "path" && name != "no URL" {
			t.Errorf("%s: %v does not name the operation", name, err)
		}
		if got != nil && got.Header.Get("X-Api-Key") != key {
			t.Errorf("%s: X-API-KEY = %q", name, got.Header.Get("X-Api-Key"))
		}
	}
}

func TestHTTPClientIsNotChanged(t *testing.T) {
	mine := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return nil }, Timeout: time.Minute}
	newClient(t, "https://h.example", gamma.WithHTTPClient(mine))
	if mine.Transport != nil || mine.Timeout != time.Minute || mine.CheckRedirect == nil || mine.Jar != nil {
		t.Error("the caller's client was changed")
	}
}

func TestNewTransportIsFresh(t *testing.T) {
	a, b := gamma.NewTransport(), gamma.NewTransport()
	if a == b || a.HTTP2 == b.HTTP2 {
		t.Error("NewTransport shares what it returns")
	}
	if a.MaxResponseHeaderBytes != 256<<10 || a.MaxIdleConnsPerHost < 64 || a.HTTP2.SendPingTimeout <= 0 || a.IdleConnTimeout != 30*time.Second || !a.ForceAttemptHTTP2 || a.Proxy == nil {
		t.Errorf("%+v", a)
	}
}

func TestOpenAPIIsACopy(t *testing.T) {
	doc := gamma.OpenAPI()
	want := bytes.Clone(doc)
	clear(doc)
	if !bytes.Equal(gamma.OpenAPI(), want) {
		t.Error("a caller changed the document")
	}
	file, err := os.ReadFile("openapi.json")
	if err != nil || !bytes.Equal(file, want) {
		t.Errorf("OpenAPI is not openapi.json: %v", err)
	}
}

// raw is a server that writes what it is told to every connection that sends it a
// request.
func raw(t *testing.T, respond func(net.Conn)) (url string) {
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

func TestHostileBytes(t *testing.T) {
	tests := []struct {
		name   string
		answer string
	}{
		{"no HTTP", `{"generationId":"gen1","status":"completed","exportUrl":"https://x/"}` + "\n"},
		{"the key", key + " " + key + "\r\n\r\n"},
		{"bad header", "HTTP/1.1 200 OK\r\nexportUrl https://x\r\n\r\n"},
		{"the key as a header", "HTTP/1.1 200 OK\r\n" + key + "\r\n\r\n"},
		{"bad length", "HTTP/1.1 200 OK\r\nContent-Length: exportUrl\r\n\r\n"},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"},
		{"short body", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{}"},
		{"bad chunk", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"},
		{"huge chunk", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}\r\n"},
		{"no gzip", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"},
		{"101", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + key},
		{"100 for ever", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 1000)},
		{"103 for ever", strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 1000)},
		{"huge header", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 300<<10) + "\r\n\r\n"},
		{"nothing", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			url := raw(t, func(c net.Conn) {
				_, _ = io.WriteString(c, tt.answer)
				if tt.name != "101" { // whose connection stays open
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
					t.Errorf("the error inside, %q, has a part of the response", err)
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

func TestTLS(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"generationId":"gen1","status":"completed"}`)
	}))
	server.Config.ErrorLog = nil
	defer server.Close()
	_, err := get(t, newClient(t, server.URL))
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("unknown authority: %v", err)
	}
	transport := gamma.NewTransport()
	transport.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	rsp, err := get(t, newClient(t, server.URL, gamma.WithHTTPClient(&http.Client{Transport: transport})))
	if err != nil || rsp.JSON200.Status != "completed" {
		t.Errorf("with the authority added: %v", err)
	}
	transport.CloseIdleConnections()
}

// A server that echoes the key does not get it into the caller's logs.
func TestEchoedKey(t *testing.T) {
	rsp, err := get(t, answering(t, with(func() *http.Response {
		r := reply(200, "application/json", `{"generationId":"gen1","status":"failed","error":{"message":`+quoted("bad "+key)+`,"statusCode":401},"gammaUrl":"\u0073k-gamma-7Zq\u0026\u003c>\u0022\u005csecret"}`, "X-Echo", key, key, "x")
		r.Status, r.Trailer = "200 "+key, http.Header{"X-Echo": {key}}
		return r
	})))
	if err != nil {
		t.Fatal(err)
	}
	checkNoKey(t, rsp.JSON200)
	checkNoKey(t, *rsp.JSON200.Error)
	checkNoKey(t, rsp.HTTPResponse.Header)
	checkNoKey(t, rsp.HTTPResponse.Trailer)
	checkNoKey(t, rsp.HTTPResponse.Status)
	checkNoKey(t, string(rsp.Body))
	if rsp.JSON200.Error.StatusCode != 401 {
		t.Errorf("%+v", rsp.JSON200.Error)
	}
}

// net/http changes the case of a name.
func TestEchoedKeyAsName(t *testing.T) {
	const key = "sk-gamma-abcDEF0123"
	client, err := gamma.NewClient(key, gamma.WithHTTPClient(&http.Client{Transport: with(func() *http.Response {
		r := reply(200, "application/json", `{"generationId":"gen1","status":"pending"}`)
		r.Header.Set("X-"+key, "1")
		return r
	})}))
	if err != nil {
		t.Fatal(err)
	}
	rsp, err := get(t, client)
	if err != nil {
		t.Fatal(err)
	}
	if dump := fmt.Sprint(rsp.HTTPResponse.Header); strings.Contains(strings.ToLower(dump), strings.ToLower(key)) {
		t.Error(dump)
	}
}

// A stub may give the same header to all.
func TestSharedHeader(t *testing.T) {
	shared := http.Header{"Content-Type": {"application/json"}}
	client := answering(t, func(*http.Request) (*http.Response, error) {
		r := reply(200, "", `{"generationId":"gen1","status":"pending"}`)
		r.Header = shared
		return r, nil
	})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := client.GetGenerationStatusWithResponse(t.Context(), "gen1"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// An error body that is cut is still read for its message.
func TestEchoedKeyInCutBody(t *testing.T) {
	body := `{"message":` + quoted("bad "+key) + `}` + strings.Repeat(" ", 17<<10)
	_, err := get(t, answering(t, with(func() *http.Response { return reply(400, "application/json", body) })))
	var apiErr *gamma.APIError
	if !errors.As(err, &apiErr) {
		t.Fatalf("%v, want an APIError", err)
	}
	checkText(t, err)
	checkNoKey(t, apiErr)
}

// The end of an error body that is cut may be the beginning of the key.
func TestEchoedKeyAtTheCut(t *testing.T) {
	for n := 1; n < len(key); n++ {
		body := strings.Repeat(" ", 16<<10-n) + key
		_, err := get(t, answering(t, with(func() *http.Response { return reply(400, "text/plain", body) })))
		var apiErr *gamma.APIError
		if !errors.As(err, &apiErr) {
			t.Fatalf("%v, want an APIError", err)
		}
		if got := strings.TrimSpace(string(apiErr.Body)); len(got) >= 8 && strings.HasPrefix(key, got) {
			t.Errorf("the body has %d characters of the key", len(got))
		}
	}
}

// encoding/json puts two objects of one name together, one string hides another.
func TestEchoedKeyInDuplicate(t *testing.T) {
	const escaped = `\u0073k-gamma-7Zq\u0026\u003c>\u0022\u005csecret`
	for _, body := range []string{
		`{"generationId":"gen1","status":"failed","error":{"message":"` + escaped + `"},"error":{"statusCode":401}}`,
		`{"generationId":"gen1","status":"failed","error":{"message":"a","\\":"` + escaped + `","message":"\"` + escaped + `"}}`,
		`{"generationId":"gen1","status":"failed","error":{"message":"` + escaped + escaped + `"},"` + escaped + `":0.10}`,
	} {
		rsp, err := get(t, answering(t, with(func() *http.Response { return reply(200, "application/json", body) })))
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		checkNoKey(t, *rsp.JSON200.Error)
		checkNoKey(t, string(rsp.Body))
		if bytes.Contains(rsp.Body, []byte("sec")) {
			t.Errorf("the body holds a part of the key: %s", rsp.Body)
		}
		if bytes.Contains(rsp.Body, []byte("0.1")) != bytes.Contains(rsp.Body, []byte("0.10")) {
			t.Errorf("the body is another than the server's: %s", rsp.Body)
		}
	}
}

// A body that is no JSON is still handed out.
func TestEchoedKeyInBrokenJSON(t *testing.T) {
	for _, end := range []string{``, ` and more`, `"`, `\\`} {
		body := `{"generationId":"\u0073k-gamma-7Zq\u0026\u003c>\u0022\u005csecret` + end
		rsp, err := get(t, answering(t, with(func() *http.Response { return reply(200, "application/json", body) })))
		if !errors.Is(err, gamma.ErrUnexpectedResponse) || rsp == nil || bytes.Contains(rsp.Body, []byte("7Zq")) {
			t.Errorf("%s: %v, %v", body, rsp, err)
		}
	}
}

// The values of a trailer come after the body.
func TestEchoedKeyInTrailer(t *testing.T) {
	url := raw(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nTrailer: X-Echo\r\n\r\n"+
			"2c\r\n"+`{"generationId":"gen1","status":"completed"}`+"\r\n0\r\nX-Echo: "+key+"\r\n\r\n")
		_ = c.Close()
	})
	rsp, err := get(t, newClient(t, url))
	if err != nil {
		t.Fatal(err)
	}
	if v := rsp.HTTPResponse.Trailer.Get("X-Echo"); v != "[API key]" {
		t.Errorf("the trailer has %q", v)
	}
}

func TestConcurrentUse(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"generationId":%q,"status":"pending"}`, strings.TrimPrefix(r.URL.Path, "/v1.0/generations/"))
	}))
	defer server.Close()
	client := newClient(t, server.URL)
	errs := make(chan error)
	for i := range 64 {
		go func() {
			id := fmt.Sprintf("gen%d", i)
			rsp, err := client.GetGenerationStatusWithResponse(t.Context(), id)
			if err == nil && rsp.JSON200.GenerationID != id {
				err = fmt.Errorf("%s got %+v", id, rsp.JSON200)
			}
			errs <- err
		}()
	}
	for range 64 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// FuzzAnswer holds whatever a server may answer to the promises of the client.
func FuzzAnswer(f *testing.F) {
	f.Add(200, "application/json", `{"generationId":"gen1","status":"completed","credits":{"deducted":1,"remaining":2}}`, "5")
	f.Add(200, "application/json", `{"generationId":"gen1","status":"failed","error":"x","credits":[1]}`, "-1")
	f.Add(200, "", `{"status":"x"}`, "Wed, 21 Oct 2015 07:28:00 GMT")
	f.Add(404, "application/json", `{"message":"\u001b[31m`+key+`","statusCode":404}`, "99999999999999999999")
	f.Add(502, "text/html", "<html>", "1.5")
	f.Fuzz(func(t *testing.T, status int, contentType, body, retryAfter string) {
		if status < 100 || status > 999 {
			return
		}
		rsp, err := get(t, answering(t, with(func() *http.Response {
			return reply(status, contentType, body, "Retry-After", retryAfter, "X-Request-Id", retryAfter)
		})))
		switch {
		case err == nil:
			if status != 200 || rsp.JSON200 == nil {
				t.Fatalf("status %d gave %+v", status, rsp)
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
