package gamma_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
)

const key = `sk-gamma-7Zq&<>"\secret`

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// newClient returns a client for the server at url, with the default settings.
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

// checkText checks the text of an error and of every error that it wraps.
func checkText(t *testing.T, err error) {
	t.Helper()
	text := err.Error()
	if !strings.HasPrefix(text, "gamma: ") || strings.ContainsAny(text, "\n\r\x1b\x00") || len(text) > 1200 {
		t.Errorf("error text %q", text)
	}
	for _, secret := range []string{"https://", "http://", "exportUrl"} {
		if strings.Contains(text, secret) {
			t.Errorf("error text %q has %q", text, secret)
		}
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		checkNoKey(t, inner)
	}
}

// checkNoKey checks that no common way to print v shows the key.
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
		t.Errorf("sent the key %q, want it trimmed; %v", got, err)
	}
}

func TestInvalidOptions(t *testing.T) {
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
				t.Errorf("WithBaseURL(%q): %v has the password", tt.url, err)
			}
			checkText(t, err)
		}
	}
}

// A base URL may be written in several ways.
func TestBaseURLForms(t *testing.T) {
	tests := []struct {
		name, url, want string
	}{
		{"host", "https://h", "https://h/v1.0/generations/gen1"},
		{"trailing slash", "https://h/", "https://h/v1.0/generations/gen1"},
		{"version", "https://public-api.gamma.app/v1.0", "https://public-api.gamma.app/v1.0/generations/gen1"},
		{"version and trailing slash", "https://public-api.gamma.app/v1.0/", "https://public-api.gamma.app/v1.0/generations/gen1"},
		{"path", "https://h/gamma", "https://h/gamma/v1.0/generations/gen1"},
		{"path and version", "https://h/gamma/v1.0", "https://h/gamma/v1.0/generations/gen1"},
		{"path that ends like the version", "https://h/xv1.0", "https://h/xv1.0/v1.0/generations/gen1"},
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

// For a host that is not loopback, http must be allowed by the option or the variable.
func TestInsecureHTTP(t *testing.T) {
	for _, tt := range []struct {
		name, variable string
		opts           []gamma.Option
		ok             bool
	}{
		{"neither", "", nil, false},
		{"option", "", []gamma.Option{gamma.WithInsecureHTTP()}, true},
		{"option after the base URL", "", []gamma.Option{gamma.WithBaseURL("http://other-mock"), gamma.WithInsecureHTTP()}, true},
		{"variable", "1", nil, true},
		{"variable in quotes", `"true"`, nil, true},
		{"variable is false", "0", nil, false},
		{"variable is not a boolean", "yes please", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("GAMMA_API_KEY", key)
			t.Setenv("GAMMA_BASE_URL", "http://gamma-mock:8080")
			t.Setenv("GAMMA_INSECURE_HTTP", tt.variable)
			client, err := gamma.NewClientFromEnv(append(tt.opts, gamma.WithHTTPClient(&http.Client{Transport: responds(func() *http.Response {
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

// If a base URL is accepted, the request is sent to its host, over TLS or to loopback, and
// the path is that of the base URL followed by that of the operation.
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
			t.Fatalf("no request was sent to %q: %v", raw, err)
		}
		if !strings.EqualFold(sent.URL.Host, base.Host) || sent.URL.User != nil || sent.URL.RawQuery != "" || sent.URL.Fragment != "" {
			t.Fatalf("%q sends to %v", raw, sent.URL)
		}
		if host := sent.URL.Hostname(); sent.URL.Scheme != "https" && (sent.URL.Scheme != "http" || !strings.EqualFold(host, "localhost") && !net.ParseIP(host).IsLoopback()) {
			t.Fatalf("%q sends the key unencrypted to %v", raw, sent.URL)
		}
		prefix := strings.TrimRight(strings.TrimSuffix(strings.TrimRight(base.Path, "/"), "/v1.0"), "/")
		if want := prefix + "/v1.0/generations/gen1"; sent.URL.Path != want {
			t.Fatalf("%q requests %q, want %q", raw, sent.URL.Path, want)
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
		{"not a URL", []gamma.Option{gamma.WithBaseURL("https://other.example.com")}, "https://other.example.com/v1.0/generations/gen1"},
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

// newFakeClient returns a client that sends its requests to transport.
func newFakeClient(t testing.TB, transport roundTripper) *gamma.Client {
	t.Helper()
	return newClient(t, "https://h.example", gamma.WithHTTPClient(&http.Client{Transport: transport}))
}

// responds returns a transport that responds to every request with rsp.
func responds(rsp func() *http.Response) roundTripper {
	return func(*http.Request) (*http.Response, error) { return rsp(), nil }
}

func TestWithHTTPClientDoesNotChangeIt(t *testing.T) {
	mine := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return nil }, Timeout: time.Minute}
	newClient(t, "https://h.example", gamma.WithHTTPClient(mine))
	if mine.Transport != nil || mine.Timeout != time.Minute || mine.CheckRedirect == nil || mine.Jar != nil {
		t.Error("the caller's client has changed")
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
