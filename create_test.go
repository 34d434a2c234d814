package gamma_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/sample"
)

var errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}

func TestCreate(t *testing.T) {
	created := func(status int, body string) roundTripper {
		return with(func() *http.Response { return reply(status, "application/json", body) })
	}
	fails := func(err error) roundTripper {
		return func(*http.Request) (*http.Response, error) { return nil, err }
	}
	breaks := func(body string) roundTripper {
		return with(func() *http.Response {
			r := reply(200, "application/json", "")
			r.Body, r.ContentLength = &broken{strings.NewReader(body), io.ErrUnexpectedEOF}, 500
			return r
		})
	}
	limited := with(func() *http.Response {
		r := reply(429, "application/json", `{"message":"Too many requests","statusCode":429}`)
		r.Header.Set("Retry-After", "60")
		return r
	})
	const ok = `{"generationId":"gen1"}`
	const minute = time.Minute
	tests := []struct {
		name     string
		answers  []roundTripper
		warnings string
		err      error // nil where it succeeds
		maybe    bool
		known    bool // the id, all the same
		atLeast  time.Duration
		atMost   time.Duration
	}{
		{name: "200", answers: []roundTripper{created(200, ok)}},
		{name: "201", answers: []roundTripper{created(201, ok)}},
		{name: "202", answers: []roundTripper{created(202, ok)}},
		{name: "a warning", answers: []roundTripper{created(200, `{"generationId":"gen1","warnings":"a\u001b[31m\nb"}`)}, warnings: `a\x1b[31m\nb`},
		{name: "a list of texts", answers: []roundTripper{created(200, `{"generationId":"gen1","warnings":["a","b\u001b"]}`)}, warnings: `a; b\x1b`},
		{name: "a list of warnings", answers: []roundTripper{created(200, `{"generationId":"gen1","warnings":[{"code":"a"}]}`)}, warnings: `[{"code":"a"}]`},
		{name: "no warnings", answers: []roundTripper{created(200, `{"generationId":"gen1","warnings":null}`)}},
		{name: "an id beside oddities", answers: []roundTripper{created(200, `{"generationId":"gen1","warnings":{},"x":1}`)}, warnings: `{}`},
		{name: "an answer that breaks after all of it", answers: []roundTripper{breaks(ok)}},
		{name: "an answer that breaks after the id", answers: []roundTripper{breaks(ok[:22])}, err: io.ErrUnexpectedEOF, maybe: true, known: true},
		{name: "an answer that breaks in the warning", answers: []roundTripper{breaks(ok[:22] + `,"warnings":"the theme was`)}, err: io.ErrUnexpectedEOF, maybe: true, known: true},
		{name: "an answer of more than one value", answers: []roundTripper{created(200, ok+"\nx")}, err: gamma.ErrUnexpectedResponse, maybe: true, known: true},
		{name: "an answer in capitals", answers: []roundTripper{created(200, `{"GENERATIONID":"x","generationid":"gen1"}`)}},
		{name: "an id in a list", answers: []roundTripper{created(200, `[`+ok+`]`)}, err: gamma.ErrUnexpectedResponse, maybe: true},
		{name: "an answer without a key", answers: []roundTripper{created(200, `{7:"gen1"}`)}, err: gamma.ErrUnexpectedResponse, maybe: true},
		{name: "an answer that breaks in the id", answers: []roundTripper{breaks(ok[:21])}, err: io.ErrUnexpectedEOF, maybe: true},
		{name: "no id", answers: []roundTripper{created(200, `{}`)}, err: gamma.ErrUnexpectedResponse, maybe: true},
		{name: "an id of another type", answers: []roundTripper{created(200, `{"generationId":7}`)}, err: gamma.ErrUnexpectedResponse, maybe: true},
		{name: "an id that cannot be asked for", answers: []roundTripper{created(200, `{"generationId":"../x"}`)}, err: gamma.ErrUnexpectedResponse, maybe: true},
		{name: "a page in HTML", answers: []roundTripper{with(func() *http.Response { return reply(200, "text/html", "<html>") })}, err: gamma.ErrUnexpectedResponse, maybe: true},
		{name: "half an answer", answers: []roundTripper{created(200, `{"generat`)}, err: gamma.ErrUnexpectedResponse, maybe: true},
		{name: "401", answers: []roundTripper{created(401, `{}`)}, err: gamma.ErrUnauthorized},
		{name: "402", answers: []roundTripper{created(402, `{}`)}, err: gamma.ErrInsufficientCredits},
		{name: "303", answers: []roundTripper{created(303, ``)}, err: errAny, maybe: true},
		{name: "302", answers: []roundTripper{created(302, ``)}, err: errAny, maybe: true},
		{name: "307", answers: []roundTripper{created(307, ``)}, err: errAny},
		{name: "408", answers: []roundTripper{created(408, ``)}, err: errAny, maybe: true},
		{name: "500", answers: []roundTripper{created(500, ``)}, err: errAny, maybe: true},
		{name: "503", answers: []roundTripper{created(503, ``)}, err: errAny, maybe: true},
		{name: "429", answers: []roundTripper{limited, limited, created(200, ok)}, atLeast: 2 * minute, atMost: 3 * minute},
		{name: "429 without Retry-After", answers: []roundTripper{created(429, ``), created(429, ``), created(200, ok)}, atLeast: 90 * time.Second, atMost: 110 * time.Second},
		{name: "429 for ever", answers: []roundTripper{limited}, err: gamma.ErrRateLimited, atLeast: 3 * minute, atMost: 5 * minute},
		{name: "refused twice", answers: []roundTripper{fails(errRefused), fails(errRefused), created(200, ok)}, atLeast: 3 * time.Second, atMost: 4 * time.Second},
		{name: "refused for ever", answers: []roundTripper{fails(errRefused)}, err: syscall.ECONNREFUSED, atLeast: 15 * time.Second, atMost: 20 * time.Second},
		{name: "no such host", answers: []roundTripper{fails(&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}})}, err: errAny},
		{name: "a certificate nobody knows", answers: []roundTripper{func(req *http.Request) (*http.Response, error) {
			httptrace.ContextClientTrace(req.Context()).GetConn("")
			return nil, x509.UnknownAuthorityError{}
		}}, err: errAny},
		{name: "a lost answer", answers: []roundTripper{fails(io.ErrUnexpectedEOF)}, err: io.ErrUnexpectedEOF, maybe: true},
		{name: "a reset", answers: []roundTripper{fails(&net.OpError{Op: "read", Err: syscall.ECONNRESET})}, err: syscall.ECONNRESET, maybe: true},
		{name: "no answer", answers: []roundTripper{func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		}}, err: context.DeadlineExceeded, maybe: true, atLeast: 15 * time.Second, atMost: 15 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, sent := time.Now(), 0
				client := answering(t, func(req *http.Request) (*http.Response, error) {
					sent++
					return tt.answers[min(sent, len(tt.answers))-1](req)
				})
				got, err := gamma.Create(t.Context(), client, generation(api.GenerationRequest{InputText: "x"}))
				if took := time.Since(start); took < tt.atLeast || took > tt.atMost {
					t.Errorf("took %v", took)
				}
				if (tt.atLeast == 0 || tt.maybe) && sent != 1 {
					t.Errorf("sent %d times", sent)
				}
				if tt.err == nil {
					if err != nil || got.GenerationID != "gen1" || got.Warnings != tt.warnings {
						t.Errorf("%+v, %v", got, err)
					}
					return
				}
				if err == nil || tt.err != errAny && !errors.Is(err, tt.err) || errors.Is(err, gamma.ErrMaybeCreated) != tt.maybe {
					t.Fatalf("%+v, %v", got, err)
				}
				checkText(t, err)
				want := gamma.Created{}
				if tt.known {
					want.GenerationID = "gen1"
				}
				if got != want || strings.Contains(err.Error(), "gen1") != tt.known {
					t.Errorf("%+v, %v", got, err)
				}
			})
		})
	}
}

var errAny = errors.New("any error")

// An id that cannot be a path parameter was paid for all the same: support can use it.
func TestCreateKeepsAnOddID(t *testing.T) {
	client := answering(t, with(func() *http.Response { return reply(200, "application/json", `{"generationId":"gen 1/\u001b[31m"}`) }))
	_, err := gamma.Create(t.Context(), client, generation(api.GenerationRequest{InputText: "x"}))
	if !errors.Is(err, gamma.ErrMaybeCreated) || !strings.Contains(err.Error(), `gen 1/\x1b[31m`) {
		t.Errorf("%v", err)
	}
	checkText(t, err)
}

// The request was not sent, so nothing is in doubt.
func TestCreateForAnotherHost(t *testing.T) {
	client := answering(t, func(*http.Request) (*http.Response, error) { panic("sent") })
	generated, ok := client.ClientInterface.(*api.Client)
	if !ok {
		t.Fatalf("%T", client.ClientInterface)
	}
	generated.RequestEditors = append(generated.RequestEditors, func(_ context.Context, req *http.Request) error {
		req.Host = "other.example"
		return nil
	})
	if _, err := gamma.Create(t.Context(), client, generation(api.GenerationRequest{InputText: "tea"})); err == nil || errors.Is(err, gamma.ErrMaybeCreated) {
		t.Error(err)
	}
}

func TestCreateCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := answering(t, with(func() *http.Response { return reply(429, "", "") }))
		cause := errors.New("changed my mind")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(cause) })
		start := time.Now()
		_, err := gamma.Create(ctx, client, sample.Request(published, "createFromTemplateGeneration", api.TemplateGenerationRequest{Prompt: "x", GammaID: "g_1"}))
		if time.Since(start) != time.Second || !errors.Is(err, context.Canceled) || !errors.Is(err, cause) || !errors.Is(err, gamma.ErrRateLimited) || errors.Is(err, gamma.ErrMaybeCreated) {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		checkText(t, err)
	})
	// Canceled before it is sent, it cannot have been created.
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := gamma.Create(ctx, newClient(t, server.URL), generation(api.GenerationRequest{InputText: "x"})); !errors.Is(err, context.Canceled) || errors.Is(err, gamma.ErrMaybeCreated) {
		t.Error(err)
	}
}

// Over real sockets: a connection that breaks after the request arrived, one that
// cannot be made, and one whose certificate is no good.
func TestCreateOverSockets(t *testing.T) {
	var arrived atomic.Int32
	hangUp := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = conn.Close()
		}
	})
	server := httptest.NewServer(hangUp)
	if _, err := gamma.Create(t.Context(), newClient(t, server.URL), generation(api.GenerationRequest{InputText: "x"})); !errors.Is(err, gamma.ErrMaybeCreated) || arrived.Load() != 1 {
		t.Errorf("%v, arrived %d times", err, arrived.Load())
	}
	server.Close()
	if _, err := gamma.Create(hurried{t.Context()}, newClient(t, server.URL), generation(api.GenerationRequest{InputText: "x"})); !errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, gamma.ErrMaybeCreated) {
		t.Error(err)
	}
	tls := httptest.NewUnstartedServer(hangUp)
	tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	tls.StartTLS()
	defer tls.Close()
	if _, err := gamma.Create(t.Context(), newClient(t, tls.URL), generation(api.GenerationRequest{InputText: "x"})); err == nil || errors.Is(err, gamma.ErrMaybeCreated) || arrived.Load() != 1 {
		t.Errorf("%v, arrived %d times", err, arrived.Load())
	}
}

// hurried always has less time left than Create's first pause takes, but as much for
// the request as a slow machine needs.
type hurried struct{ context.Context }

func (hurried) Deadline() (time.Time, bool) { return time.Now().Add(900 * time.Millisecond), true }

func TestNilClients(t *testing.T) {
	var client *api.ClientWithResponses
	if _, err := gamma.Create(t.Context(), client, generation(api.GenerationRequest{InputText: "x"})); err == nil {
		t.Error("Create took a nil client")
	}
	for _, err := range gamma.Themes(t.Context(), client, nil) {
		checkText(t, err)
	}
	for _, err := range gamma.Folders(t.Context(), nil, nil) {
		checkText(t, err)
	}
}

// library serves themes by pages, as a list of cursors and what each leads to.
func library(pages map[string]string, queries *[]string) roundTripper {
	return func(req *http.Request) (*http.Response, error) {
		*queries = append(*queries, req.URL.Path+"?"+req.URL.Query().Encode()) // the order is the document's
		return reply(200, "application/json", pages[req.URL.Query().Get("after")]), nil
	}
}

// An odd detail of a theme hides neither it nor the others.
func TestThemesWithOddDetails(t *testing.T) {
	client := answering(t, with(func() *http.Response {
		return reply(200, "application/json", `{"data":[{"id":"a","name":"A","type":"standard","colorKeywords":"red"},{"id":"b","name":"B","type":"custom"}],"hasMore":false,"nextCursor":null}`)
	}))
	var ids []string
	for theme, err := range gamma.Themes(t.Context(), client, nil) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, theme.ID)
	}
	if !slices.Equal(ids, []string{"a", "b"}) {
		t.Error(ids)
	}
}

func TestPages(t *testing.T) {
	theme := func(id string) string { return fmt.Sprintf(`{"id":%q,"name":"n","type":"newer"}`, id) }
	tests := []struct {
		name   string
		pages  map[string]string
		params *api.ListThemesParams
		want   string
		ended  bool // by an error
		asked  []string
	}{
		{"none", map[string]string{"": `{"data":[],"hasMore":false,"nextCursor":null}`}, nil, "", false, []string{"/v1.0/themes?"}},
		{"three pages", map[string]string{
			"":  `{"data":[` + theme("1") + `,` + theme("2") + `],"hasMore":true,"nextCursor":"a"}`,
			"a": `{"data":[],"hasMore":true,"nextCursor":"b"}`,
			"b": `{"data":[` + theme("3") + `],"hasMore":false,"nextCursor":"c"}`,
		}, sample.As[*api.ListThemesParams](map[string]any{"limit": 2, "query": "dark"}), "123", false,
			[]string{"/v1.0/themes?limit=2&query=dark", "/v1.0/themes?after=a&limit=2&query=dark", "/v1.0/themes?after=b&limit=2&query=dark"}},
		{"from a cursor", map[string]string{"a": `{"data":[` + theme("1") + `],"hasMore":false,"nextCursor":null}`}, &api.ListThemesParams{After: "a"}, "1", false, []string{"/v1.0/themes?after=a"}},
		{"a cursor again", map[string]string{
			"":  `{"data":[` + theme("1") + `],"hasMore":true,"nextCursor":"a"}`,
			"a": `{"data":[` + theme("2") + `],"hasMore":true,"nextCursor":"a"}`,
		}, nil, "12", true, []string{"/v1.0/themes?", "/v1.0/themes?after=a"}},
		{"the first cursor again", map[string]string{"a": `{"data":[` + theme("1") + `],"hasMore":true,"nextCursor":"a"}`}, &api.ListThemesParams{After: "a"}, "1", true, []string{"/v1.0/themes?after=a"}},
		{"no cursor", map[string]string{"": `{"data":[` + theme("1") + `],"hasMore":true,"nextCursor":null}`}, nil, "1", true, []string{"/v1.0/themes?"}},
		{"not a list", map[string]string{"": `{"message":"x"}`}, nil, "", true, []string{"/v1.0/themes?"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var asked []string
			client := answering(t, library(tt.pages, &asked))
			got, ended := "", false
			for item, err := range gamma.Themes(t.Context(), client, tt.params) {
				if got += item.ID; err != nil {
					ended = true
					checkText(t, err)
					if !errors.Is(err, gamma.ErrUnexpectedResponse) {
						t.Error(err)
					}
				}
			}
			if got != tt.want || ended != tt.ended || fmt.Sprint(asked) != fmt.Sprint(tt.asked) {
				t.Errorf("got %q, ended %v, asked %q", got, ended, asked)
			}
		})
	}
	// Pages that are empty, each with a new cursor, would go on for ever.
	n := 0
	client := answering(t, func(*http.Request) (*http.Response, error) {
		n++
		return reply(200, "application/json", fmt.Sprintf(`{"data":[],"hasMore":true,"nextCursor":"c%d"}`, n)), nil
	})
	for _, err := range gamma.Folders(t.Context(), client, nil) {
		if !errors.Is(err, gamma.ErrUnexpectedResponse) || n != 10 {
			t.Errorf("%v after %d pages", err, n)
		}
	}
	// A loop that breaks asks for no more, and an error is the request's own.
	n = 0
	client = answering(t, func(*http.Request) (*http.Response, error) {
		n++
		if n > 1 {
			return reply(401, "", ""), nil
		}
		return reply(200, "application/json", `{"data":[{"id":"f1","name":"n"},{"id":"f2","name":"n"}],"hasMore":true,"nextCursor":"c"}`), nil
	})
	for range gamma.Folders(t.Context(), client, nil) {
		break
	}
	if n != 1 {
		t.Errorf("asked %d times", n)
	}
	n = 0
	got := ""
	for item, err := range gamma.Folders(t.Context(), client, &api.ListFoldersParams{Query: "q"}) {
		if got += item.ID; err != nil && !errors.Is(err, gamma.ErrUnauthorized) {
			t.Error(err)
		}
	}
	if got != "f1f2" || n != 2 {
		t.Errorf("got %q, asked %d times", got, n)
	}
}
