package gamma_test

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/retry"
	"github.com/gamma-sdk/gamma-go/internal/test/sample"
)

var errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}

func TestCreate(t *testing.T) {
	created := func(status int, body string) roundTripper {
		return responds(func() *http.Response { return reply(status, "application/json", body) })
	}
	fails := func(err error) roundTripper {
		return func(*http.Request) (*http.Response, error) { return nil, err }
	}
	breaks := func(body string) roundTripper {
		return responds(func() *http.Response {
			r := reply(200, "application/json", "")
			r.Body, r.ContentLength = &broken{strings.NewReader(body), io.ErrUnexpectedEOF}, 500
			return r
		})
	}
	limited := responds(func() *http.Response {
		r := reply(429, "application/json", `{"message":"Too many requests","statusCode":429}`)
		r.Header.Set("Retry-After", "60")
		return r
	})
	const ok = `{"generationId":"gen1"}`
	const minute = time.Minute
	tests := []struct {
		name      string
		responses []roundTripper
		warnings  string
		err       error  // nil for success
		maybe     bool   // the error matches ErrMaybeCreated
		known     bool   // the error has the id
		text      string // in the error
		atLeast   time.Duration
		atMost    time.Duration
	}{
		{name: "200", responses: []roundTripper{created(200, ok)}},
		{name: "201", responses: []roundTripper{created(201, ok)}},
		{name: "202", responses: []roundTripper{created(202, ok)}},
		{name: "200, warning", responses: []roundTripper{created(200, `{"generationId":"gen1","warnings":"a\u001b[31m\nb"}`)}, warnings: `a\x1b[31m\nb`},
		{name: "200, warnings as a list of strings", responses: []roundTripper{created(200, `{"generationId":"gen1","warnings":["a","b\u001b"]}`)}, warnings: `a; b\x1b`},
		{name: "200, warnings as a list of objects", responses: []roundTripper{created(200, `{"generationId":"gen1","warnings":[{"code":"a"}]}`)}, warnings: `[{"code":"a"}]`},
		{name: "200, warnings null", responses: []roundTripper{created(200, `{"generationId":"gen1","warnings":null}`)}},
		{name: "200, warnings as an object, unknown property", responses: []roundTripper{created(200, `{"generationId":"gen1","warnings":{},"x":1}`)}, warnings: `{}`},
		{name: "200, cut off after the JSON", responses: []roundTripper{breaks(ok)}},
		{name: "200, cut off after the id", responses: []roundTripper{breaks(ok[:22])}, err: io.ErrUnexpectedEOF, maybe: true, known: true},
		{name: "200, cut off in the warning", responses: []roundTripper{breaks(ok[:22] + `,"warnings":"the theme was`)}, err: io.ErrUnexpectedEOF, maybe: true, known: true},
		{name: "200, text after the JSON", responses: []roundTripper{created(200, ok+"\nx")}, err: gamma.ErrUnexpectedResponse, maybe: true, known: true},
		{name: "200, property names in another case", responses: []roundTripper{created(200, `{"GENERATIONID":"x","generationid":"gen1"}`)}},
		{name: "200, exact names before those in another case", responses: []roundTripper{created(200, `{"generationId":"gen1","GENERATIONID":"x","warnings":"a","Warnings":"b"}`)}, warnings: "a"},
		{name: "200, exact names after those in another case", responses: []roundTripper{created(200, `{"generationID":"x","WARNINGS":"b","generationId":"gen1","warnings":"a"}`)}, warnings: "a"},
		{name: "200, a list", responses: []roundTripper{created(200, `[`+ok+`]`)}, err: gamma.ErrUnexpectedResponse, maybe: true},
		{name: "200, a property without quotes", responses: []roundTripper{created(200, `{7:"gen1"}`)}, err: gamma.ErrUnexpectedResponse, maybe: true},
		{name: "200, cut off in the id", responses: []roundTripper{breaks(ok[:21])}, err: io.ErrUnexpectedEOF, maybe: true},
		{name: "200, no id", responses: []roundTripper{created(200, `{}`)}, err: gamma.ErrUnexpectedResponse, maybe: true},
		{name: "200, the id is a number", responses: []roundTripper{created(200, `{"generationId":7}`)}, err: gamma.ErrUnexpectedResponse, maybe: true},
		{name: "200, the id is not a valid path parameter", responses: []roundTripper{created(200, `{"generationId":"../x"}`)}, err: gamma.ErrUnexpectedResponse, maybe: true},
		{name: "200, HTML", responses: []roundTripper{responds(func() *http.Response { return reply(200, "text/html", "<html>") })}, err: gamma.ErrUnexpectedResponse, maybe: true},
		{name: "200, truncated JSON", responses: []roundTripper{created(200, `{"generat`)}, err: gamma.ErrUnexpectedResponse, maybe: true},
		{name: "401", responses: []roundTripper{created(401, `{}`)}, err: gamma.ErrUnauthorized},
		{name: "402", responses: []roundTripper{created(402, `{}`)}, err: gamma.ErrInsufficientCredits},
		{name: "303", responses: []roundTripper{created(303, ``)}, err: errAny, maybe: true},
		{name: "302", responses: []roundTripper{created(302, ``)}, err: errAny, maybe: true},
		{name: "307", responses: []roundTripper{created(307, ``)}, err: errAny},
		{name: "408", responses: []roundTripper{created(408, ``)}, err: errAny, maybe: true},
		{name: "500", responses: []roundTripper{created(500, ``)}, err: errAny, maybe: true},
		{name: "502", responses: []roundTripper{created(502, ``)}, err: errAny, maybe: true, text: "the generation may have been created: POST /v1.0/generations: 502 Bad Gateway"},
		{name: "503", responses: []roundTripper{created(503, ``)}, err: errAny, maybe: true, text: "the generation was probably not created, but may have been: POST /v1.0/generations: 503 Service Unavailable"},
		{name: "504", responses: []roundTripper{created(504, ``)}, err: errAny, maybe: true, text: "the generation may have been created: POST /v1.0/generations: 504 Gateway Timeout"},
		{name: "429 twice, Retry-After", responses: []roundTripper{limited, limited, created(200, ok)}, atLeast: 2 * minute, atMost: 3 * minute},
		{name: "429 twice, no Retry-After", responses: []roundTripper{created(429, ``), created(429, ``), created(200, ok)}, atLeast: 90 * time.Second, atMost: 110 * time.Second},
		{name: "429 always", responses: []roundTripper{limited}, err: gamma.ErrRateLimited, atLeast: 3 * minute, atMost: 5 * minute},
		{name: "connection refused twice", responses: []roundTripper{fails(errRefused), fails(errRefused), created(200, ok)}, atLeast: 3 * time.Second, atMost: 4 * time.Second},
		{name: "connection refused always", responses: []roundTripper{fails(errRefused)}, err: syscall.ECONNREFUSED, atLeast: 15 * time.Second, atMost: 20 * time.Second},
		{name: "HTTP/2 connection closed before its first request", responses: []roundTripper{fails(errors.New("http2: client conn could not be established")), created(200, ok)}, atLeast: time.Second, atMost: 2 * time.Second},
		{name: "no such host", responses: []roundTripper{fails(&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}})}, err: errAny},
		{name: "unknown certificate authority", responses: []roundTripper{func(req *http.Request) (*http.Response, error) {
			httptrace.ContextClientTrace(req.Context()).GetConn("")
			return nil, x509.UnknownAuthorityError{}
		}}, err: errAny},
		{name: "connection closed before the response", responses: []roundTripper{fails(io.ErrUnexpectedEOF)}, err: io.ErrUnexpectedEOF, maybe: true},
		{name: "connection reset", responses: []roundTripper{fails(&net.OpError{Op: "read", Err: syscall.ECONNRESET})}, err: syscall.ECONNRESET, maybe: true},
		{name: "timeout", responses: []roundTripper{func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		}}, err: context.DeadlineExceeded, maybe: true, atLeast: 5 * minute, atMost: 5 * minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, sent := time.Now(), 0
				client := newFakeClient(t, func(req *http.Request) (*http.Response, error) {
					sent++
					return tt.responses[min(sent, len(tt.responses))-1](req)
				})
				got, err := client.CreateGeneration(t.Context(), generation(api.GenerationRequest{InputText: "x"}))
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
				if !strings.Contains(err.Error(), tt.text) || !strings.Contains(err.Error(), "POST /v1.0/generations: ") {
					t.Errorf("%v, want %q after the operation", err, tt.text)
				}
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

// The error has an id that cannot be a path parameter, so that support can find it.
func TestCreateKeepsAnInvalidID(t *testing.T) {
	client := newFakeClient(t, responds(func() *http.Response { return reply(200, "application/json", `{"generationId":"gen 1/\u001b[31m"}`) }))
	_, err := client.CreateGeneration(t.Context(), generation(api.GenerationRequest{InputText: "x"}))
	if !errors.Is(err, gamma.ErrMaybeCreated) || !strings.Contains(err.Error(), `gen 1/\x1b[31m`) {
		t.Errorf("%v", err)
	}
	checkText(t, err)
}

// A request that was not sent does not match ErrMaybeCreated.
func TestCreateForAnotherHost(t *testing.T) {
	client := newFakeClient(t, func(*http.Request) (*http.Response, error) { panic("sent") })
	generated, ok := client.ClientInterface.(*api.Client)
	if !ok {
		t.Fatalf("%T", client.ClientInterface)
	}
	generated.RequestEditors = append(generated.RequestEditors, func(_ context.Context, req *http.Request) error {
		req.Host = "other.example"
		return nil
	})
	if _, err := client.CreateGeneration(t.Context(), generation(api.GenerationRequest{InputText: "tea"})); err == nil || errors.Is(err, gamma.ErrMaybeCreated) {
		t.Error(err)
	}
}

func TestCreateCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newFakeClient(t, responds(func() *http.Response { return reply(429, "", "") }))
		cause := errors.New("changed my mind")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(cause) })
		start := time.Now()
		_, err := client.CreateFromTemplateGeneration(ctx, sample.Request(published, "createFromTemplateGeneration", api.TemplateGenerationRequest{Prompt: "x", GammaID: "g_1"}))
		if time.Since(start) != time.Second || !errors.Is(err, context.Canceled) || !errors.Is(err, cause) || !errors.Is(err, gamma.ErrRateLimited) || errors.Is(err, gamma.ErrMaybeCreated) {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		checkText(t, err)
	})
	// If ctx is canceled before the request, nothing can have been created.
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newClient(t, server.URL).CreateGeneration(ctx, generation(api.GenerationRequest{InputText: "x"})); !errors.Is(err, context.Canceled) || errors.Is(err, gamma.ErrMaybeCreated) {
		t.Error(err)
	}
}

// Over real sockets: a connection that is closed after the request, one that is refused, and
// one with an invalid certificate.
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
	if _, err := newClient(t, server.URL).CreateGeneration(t.Context(), generation(api.GenerationRequest{InputText: "x"})); !errors.Is(err, gamma.ErrMaybeCreated) || arrived.Load() != 1 {
		t.Errorf("%v, arrived %d times", err, arrived.Load())
	}
	server.Close()
	if _, err := newClient(t, server.URL).CreateGeneration(hurried{t.Context()}, generation(api.GenerationRequest{InputText: "x"})); !errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, gamma.ErrMaybeCreated) {
		t.Error(err)
	}
	tls := httptest.NewUnstartedServer(hangUp)
	tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	tls.StartTLS()
	defer tls.Close()
	if _, err := newClient(t, tls.URL).CreateGeneration(t.Context(), generation(api.GenerationRequest{InputText: "x"})); err == nil || errors.Is(err, gamma.ErrMaybeCreated) || arrived.Load() != 1 {
		t.Errorf("%v, arrived %d times", err, arrived.Load())
	}
}

// hurried always has less time remaining than the first pause takes, and enough for a
// request.
type hurried struct{ context.Context }

func (hurried) Deadline() (time.Time, bool) { return time.Now().Add(900 * time.Millisecond), true }

// With retry.Pauses the caller observes each pause, decides before each request whether it is
// sent, and can end a pause, but not a request in flight.
func TestCreatePauses(t *testing.T) {
	ok := responds(func() *http.Response { return reply(200, "application/json", `{"generationId":"gen1"}`) })
	limited := responds(func() *http.Response { return reply(429, "application/json", `{}`) })
	errStop, errDisk := errors.New("stop"), errors.New("disk full")
	tests := []struct {
		name      string
		responses []roundTripper
		stop      time.Duration // after the start; 0: never
		send      error
		err       error
		id        string
		sent      int
		told      int
		atLeast   time.Duration
	}{
		{name: "200", responses: []roundTripper{ok}, id: "gen1", sent: 1},
		{name: "429 once", responses: []roundTripper{limited, ok}, id: "gen1", sent: 2, told: 1, atLeast: 30 * time.Second},
		{name: "429 for longer than the default limit of a create", responses: []roundTripper{limited, limited, limited, limited, limited, ok}, id: "gen1", sent: 6, told: 5, atLeast: 7 * time.Minute},
		{name: "stopped in a pause", responses: []roundTripper{limited}, stop: 10 * time.Second, err: errStop, sent: 1, told: 1, atLeast: 10 * time.Second},
		{name: "stopped in flight", responses: []roundTripper{func(r *http.Request) (*http.Response, error) {
			select {
			case <-time.After(time.Minute):
				return ok(r)
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		}}, stop: 10 * time.Second, id: "gen1", sent: 1, atLeast: time.Minute},
		{name: "timeout", responses: []roundTripper{func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}}, err: gamma.ErrMaybeCreated, sent: 1, atLeast: 5 * time.Minute},
		{name: "Send returns an error", responses: []roundTripper{ok}, send: errDisk, err: errDisk, told: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				received, sent, told := 0, 0, 0
				client := newClient(t, "https://api.example", gamma.WithHTTPClient(&http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
					received++
					return tt.responses[min(received, len(tt.responses))-1](r)
				})}))
				pausing, stop := context.WithCancelCause(t.Context())
				if tt.stop > 0 {
					time.AfterFunc(tt.stop, func() { stop(errStop) })
				}
				pauses := &retry.Pauses{
					Context: pausing,
					Tell: func(err error, pause time.Duration) {
						told++
						if tt.send == nil && (!errors.Is(err, gamma.ErrRateLimited) || pause < 30*time.Second) {
							t.Errorf("told of %v, %v", err, pause)
						}
					},
					Send: func() error {
						if tt.send != nil {
							stop(errStop)
							return tt.send
						}
						sent++
						if sent != received+1 {
							t.Errorf("%d requests received before the call of Send number %d", received, sent)
						}
						return nil
					},
				}
				start := time.Now()
				created, err := client.CreateGeneration(pauses.With(t.Context()), generation(api.GenerationRequest{InputText: "tea"}))
				if !errors.Is(err, tt.err) || created.GenerationID != tt.id || sent != tt.sent || received != tt.sent || told != tt.told {
					t.Errorf("%+v, %v; %d sent, %d received, told %d times", created, err, sent, received, told)
				}
				if d := time.Since(start); d < tt.atLeast {
					t.Errorf("ended after %v, want at least %v", d, tt.atLeast)
				}
				if tt.err != gamma.ErrMaybeCreated && errors.Is(err, gamma.ErrMaybeCreated) {
					t.Errorf("%v matches ErrMaybeCreated", err)
				}
			})
		})
	}
}
