package gammatest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/poller"
)

// recorder is a TB that keeps errors and cleanups.
type recorder struct {
	mu       sync.Mutex
	errors   []string
	cleanups []func()
}

func (*recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

func (r *recorder) clean() {
	for _, f := range r.cleanups {
		f()
	}
	r.cleanups = nil
}

// both runs test in memory and over a socket. get polls an id.
func both(t *testing.T, test func(t *testing.T, g *API, get func(id string) got)) {
	t.Helper()
	for name, access := range map[string]func(*testing.T) (*API, http.RoundTripper, string){
		"memory": func(t *testing.T) (*API, http.RoundTripper, string) {
			g := NewTransport(t)
			return g.API, g, "https://public-api.gamma.app"
		},
		"socket": func(t *testing.T) (*API, http.RoundTripper, string) {
			g := NewServer(t)
			transport := &http.Transport{}
			t.Cleanup(transport.CloseIdleConnections)
			return g.API, transport, g.URL
		},
	} {
		t.Run(name, func(t *testing.T) {
			g, transport, base := access(t)
			test(t, g, func(id string) got {
				return send(transport, newRequest(t, t.Context(), "GET", base+"/v1.0/generations/"+id))
			})
		})
	}
}

// got is a response as a client sees it.
type got struct {
	status  int
	header  http.Header
	body    string
	length  int64
	err     error // of the exchange
	readErr error // of the body
}

func send(transport http.RoundTripper, r *http.Request) got {
	rsp, err := transport.RoundTrip(r)
	if err != nil {
		return got{err: err}
	}
	defer func() { _ = rsp.Body.Close() }()
	body, err := io.ReadAll(rsp.Body)
	return got{rsp.StatusCode, rsp.Header, string(body), rsp.ContentLength, nil, err}
}

func newRequest(t *testing.T, ctx context.Context, method, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-API-KEY", Key)
	return r
}

// complete returns the body of a status with what the document requires.
func complete(body string) string {
	o, _ := document.Operation("getGenerationStatus")
	return string(published().complete(call{document: o}, []byte(body)))
}

var (
	pendingBody   = complete(`{"generationId":"gen1","status":"pending"}`)
	completedBody = complete(`{"credits":{"deducted":40,"remaining":2960},"gammaId":"g_gen1","gammaUrl":"https://gamma.app/docs/g_gen1","generationId":"gen1","status":"completed"}`)
)

func TestScripts(t *testing.T) {
	exported := strings.Replace(completedBody, `"gammaId"`, `"exportUrl":"https://example.com/x.pdf","gammaId"`, 1)
	failed := complete(`{"credits":{"deducted":0,"remaining":3000},"error":{"message":"No text.","statusCode":422},"generationId":"gen1","status":"failed"}`)
	unpromised := complete(`{"generationId":"x","status":"pending","unpromised":"T"}`)
	o, _ := document.Operation("getGenerationStatus")
	if document.Flat(o.Response)["additionalProperties"] == false {
		unpromised = pendingBody
	}
	for name, tt := range map[string]struct {
		steps []Step
		want  []string
	}{
		"no step":            {nil, []string{pendingBody, pendingBody}},
		"Pending, Completed": {[]Step{Pending(2), Completed("")}, []string{pendingBody, pendingBody, completedBody, completedBody}},
		"export":             {[]Step{Completed("https://example.com/x.pdf")}, []string{exported}},
		"failed":             {[]Step{Failed(422, "No text.")}, []string{failed, failed}},
		"last is pending":    {[]Step{Completed(""), Pending(1)}, []string{completedBody, pendingBody, pendingBody}},
		"last is PendingFor": {[]Step{PendingFor(1)}, []string{pendingBody, pendingBody}},
		"steps for no poll":  {[]Step{Pending(0), PendingFor(0), {}, Times(0, Status(500)), Completed("")}, []string{completedBody}},
		"only Pending(0)":    {[]Step{Pending(0)}, []string{pendingBody}},
		"Times of Pending":   {[]Step{Times(2, Pending(2)), Completed("")}, []string{pendingBody, pendingBody, pendingBody, pendingBody, completedBody}},
		"JSON":               {[]Step{JSON(jsonText(failed))}, []string{failed}},
		"unknown fields":     {[]Step{JSON(jsonText(unpromised))}, []string{unpromised}},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, g *API, get func(string) got) {
				g.Add("gen1", tt.steps...)
				for i, want := range tt.want {
					a := get("gen1")
					if a.status != 200 || a.body != want || a.err != nil || a.readErr != nil {
						t.Errorf("poll %d: %d %s, %v %v; want %s", i+1, a.status, a.body, a.err, a.readErr, want)
					}
					if ct := a.header.Get("Content-Type"); ct != "application/json" {
						t.Errorf("poll %d: Content-Type %q", i+1, ct)
					}
					if a.length != int64(len(want)) {
						t.Errorf("poll %d: Content-Length %d, want %d", i+1, a.length, len(want))
					}
				}
			})
		})
	}
}

func TestAddAgainStartsOver(t *testing.T) {
	both(t, func(t *testing.T, g *API, get func(string) got) {
		g.Add("gen1", Completed(""))
		g.Add("gen1", Pending(1), Completed(""))
		if a := get("gen1"); a.body != pendingBody {
			t.Errorf("first poll: %s", a.body)
		}
	})
}

func TestFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		step   Step
		status int
		body   string
		header http.Header // nil value: absent
	}{
		"503":                 {Status(503), 503, `{"message":"Service Unavailable","statusCode":503}`, nil},
		"500":                 {Status(500), 500, `{"message":"An error occurred while generating the gamma.","statusCode":500}`, nil},
		"404":                 {Status(404), 404, `{"message":"Generation ID not found. generationId: gen1","statusCode":404}`, nil},
		"redirect":            {Header("location", "https://example.com/", Status(302)), 302, `{"message":"Found","statusCode":302}`, http.Header{"Location": {"https://example.com/"}}},
		"no content":          {Status(204), 204, "", nil},
		"429":                 {RateLimited(1500 * time.Millisecond), 429, `{"message":"Too many requests","statusCode":429}`, http.Header{"Retry-After": {"2"}}},
		"429, no Retry-After": {RateLimited(0), 429, `{"message":"Too many requests","statusCode":429}`, http.Header{"Retry-After": nil}},
		"Malformed":           {Malformed(`{"half`), 200, `{"half`, http.Header{"Content-Type": {"application/json"}}},
		"Raw":                 {Raw(502, "text/html", "<p>Bad"), 502, "<p>Bad", http.Header{"Content-Type": {"text/html"}}},
		"Header sets":         {Header("x-ratelimit-remaining-burst", "7", Pending(1)), 200, pendingBody, http.Header{"X-Ratelimit-Remaining-Burst": {"7"}}},
		"Header removes":      {Header("content-type", "", Pending(1)), 200, pendingBody, http.Header{"Content-Type": nil}},
		"no date":             {Header("Date", "", Pending(1)), 200, pendingBody, http.Header{"Date": nil}},
		"header twice":        {Header("A", "1", Header("A", "2", Pending(1))), 200, pendingBody, http.Header{"A": {"1"}}},
		"no length":           {Header("Content-Length", "", Pending(1)), 200, pendingBody, nil},
		"tiny delay":          {Delay(1, Pending(1)), 200, pendingBody, nil},
		"negative delay":      {Delay(-1, Pending(1)), 200, pendingBody, nil},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, g *API, get func(string) got) {
				g.Add("gen1", tt.step, Completed(""))
				a := get("gen1")
				if a.status != tt.status || a.body != tt.body || a.err != nil || a.readErr != nil {
					t.Errorf("%d %s, %v %v; want %d %s", a.status, a.body, a.err, a.readErr, tt.status, tt.body)
				}
				for key, want := range tt.header {
					if !reflect.DeepEqual(a.header[key], want) {
						t.Errorf("%s: %q, want %q", key, a.header[key], want)
					}
				}
				if a := get("gen1"); a.body != completedBody {
					t.Errorf("second poll: %v %s", a.err, a.body)
				}
			})
		})
	}
}

// On a kept-alive connection net/http would hide the fault by a retry.
func TestDrop(t *testing.T) {
	both(t, func(t *testing.T, g *API, get func(string) got) {
		g.Add("gen1", Pending(1), Drop(), Pending(1), Times(2, Drop()), Completed(""))
		for i, dropped := range []bool{false, true, false, true, true, false} {
			if a := get("gen1"); (a.err != nil) != dropped {
				t.Errorf("poll %d: %v", i+1, a.err)
			}
		}
		if n := len(g.Requests()); n != 6 {
			t.Errorf("%d requests, want 6", n)
		}
	})
}

func TestDropInMemoryIsAReset(t *testing.T) {
	g := NewTransport(t)
	g.Add("gen1", Drop())
	a := send(g, newRequest(t, t.Context(), "GET", "https://x/v1.0/generations/gen1"))
	var op *net.OpError
	if !errors.Is(a.err, syscall.ECONNRESET) || !errors.As(a.err, &op) {
		t.Errorf("%#v is not a reset connection", a.err)
	}
}

// HTTP/2 has no connection to hijack.
func TestDropWithoutHijack(t *testing.T) {
	g := NewHandler(t)
	g.Add("gen1", Drop())
	defer func() {
		if p := recover(); p != http.ErrAbortHandler {
			t.Errorf("panic %v", p)
		}
	}()
	g.ServeHTTP(httptest.NewRecorder(), newRequest(t, t.Context(), "GET", "/v1.0/generations/gen1"))
}

func TestCut(t *testing.T) {
	both(t, func(t *testing.T, g *API, get func(string) got) {
		g.Add("gen1", Cut(Completed("")), Completed(""))
		a := get("gen1")
		if a.status != 200 || !errors.Is(a.readErr, io.ErrUnexpectedEOF) || a.body != completedBody[:len(completedBody)/2] || a.length != int64(len(completedBody)) {
			t.Errorf("%d %s (%d): %v", a.status, a.body, a.length, a.readErr)
		}
		if a := get("gen1"); a.body != completedBody {
			t.Errorf("second poll: %v %s", a.err, a.body)
		}
	})
}

func TestSmallContentLength(t *testing.T) {
	both(t, func(t *testing.T, g *API, get func(string) got) {
		g.Add("gen1", Header("Content-Length", "5", Pending(1)))
		if a := get("gen1"); a.body != pendingBody[:5] || a.readErr != nil {
			t.Errorf("%s, %v", a.body, a.readErr)
		}
	})
}

func TestKey(t *testing.T) {
	both(t, func(t *testing.T, g *API, get func(string) got) {
		const body = `{"message":"Invalid API key.","statusCode":401}`
		g.Add("gen1", Pending(1), Completed(""))
		g.SetKey("another")
		if a := get("gen1"); a.status != 401 || a.body != body {
			t.Errorf("wrong key: %d %s", a.status, a.body)
		}
		if g.SetKey(""); get("gen1").status != 401 {
			t.Error("an empty key was found right")
		}
		g.SetKey(Key)
		if a := get("gen1"); a.body != pendingBody {
			t.Errorf("a refused request took a step: %s", a.body)
		}
		if a := get("gen2"); a.status != 404 || a.body != `{"message":"Generation ID not found. generationId: gen2","statusCode":404}` {
			t.Errorf("unknown id: %d %s", a.status, a.body)
		}
	})
}

func TestNoKey(t *testing.T) {
	g := NewTransport(t)
	r := newRequest(t, t.Context(), "GET", "https://x/v1.0/generations/gen1")
	r.Header.Del("X-API-KEY")
	g.SetKey("")
	if a := send(g, r); a.status != 401 {
		t.Errorf("status %d", a.status)
	}
}

func TestHeadersOnEveryResponse(t *testing.T) {
	both(t, func(t *testing.T, g *API, get func(string) got) {
		g.Add("gen1", Pending(1), Status(503), Raw(502, "text/html", ""), Completed(""))
		for i, id := range []string{"gen1", "gen1", "gen1", "nothing"} {
			h := get(id).header
			want := gamma.RateLimit{
				Burst: gamma.Window{Limit: 1_000_000, Remaining: int64(999_999 - i), Reset: -1},
				Hour:  gamma.Window{Limit: 4_000_000, Remaining: int64(3_999_999 - i), Reset: -1},
				Day:   gamma.Window{Limit: 20_000_000, Remaining: int64(19_999_999 - i), Reset: -1},
			}
			if limits := gamma.RateLimitOf(h); limits != want {
				t.Errorf("response %d: %+v, want %+v", i+1, limits, want)
			}
			if id := h.Get("X-Request-Id"); id != "req-00000"+strconv.Itoa(i+1) {
				t.Errorf("response %d: x-request-id %q", i+1, id)
			}
			if _, err := http.ParseTime(h.Get("Date")); err != nil {
				t.Errorf("response %d: %v", i+1, err)
			}
		}
		g.SetKey("another")
		if limits := gamma.RateLimitOf(get("gen1").header); limits.Burst.Remaining != 999_996 {
			t.Errorf("401: %+v", limits)
		}
	})
}

func TestRequests(t *testing.T) {
	both(t, func(t *testing.T, g *API, get func(string) got) {
		before := time.Now()
		get("gen1")
		get("gen_2")
		requests := g.Requests()
		if len(requests) != 2 {
			t.Fatalf("%d requests", len(requests))
		}
		r := requests[1]
		if r.Method != "GET" || r.Path != "/v1.0/generations/gen_2" || r.Header.Get("X-API-KEY") != Key || r.Time.Before(before) {
			t.Errorf("%+v", r)
		}
	})
}

func TestTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewTransport(t)
		start := time.Now()
		get := func() got {
			return send(g, newRequest(t, t.Context(), "GET", "https://x/v1.0/generations/gen1"))
		}
		check := func(want string) {
			t.Helper()
			if a := get(); a.body != want {
				t.Errorf("after %v: %v %s, want %s", time.Since(start), a.err, a.body, want)
			}
		}
		// The second time starts when the first ends, the third with a poll.
		g.Add("gen1", PendingFor(90*time.Second), Times(2, PendingFor(5*time.Second)), Malformed("1"), PendingFor(10*time.Second), Completed(""))
		check(pendingBody)
		time.Sleep(90*time.Second - 1)
		check(pendingBody)
		time.Sleep(10 * time.Second)
		check(pendingBody)
		time.Sleep(2 * time.Second)
		check("1")
		time.Sleep(10*time.Second - 1)
		check(pendingBody)
		time.Sleep(time.Nanosecond)
		if date := get().header.Get("Date"); date != time.Now().UTC().Format(http.TimeFormat) {
			t.Errorf("Date %q", date)
		}
		check(completedBody)

		g.Add("gen1", Delay(3*time.Second, Delay(4*time.Second, Drop())), Delay(time.Second, Completed("")))
		start = time.Now()
		if a := get(); a.err == nil || time.Since(start) != 7*time.Second {
			t.Errorf("delayed drop: %v after %v", a.err, time.Since(start))
		}
		check(completedBody)
		if d := time.Since(start); d != 8*time.Second {
			t.Errorf("delayed response after %v", d)
		}
	})
}

func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewTransport(t)
		g.Add("gen1", Pending(3), Completed(""))
		g.Budget(2, 10*time.Second)
		get := func() got {
			return send(g, newRequest(t, t.Context(), "GET", "https://x/v1.0/generations/gen1"))
		}
		for i, want := range []struct {
			sleep      time.Duration
			status     int
			remaining  string
			retryAfter string
		}{
			{0, 200, "1", ""},
			{2500 * time.Millisecond, 200, "0", ""},
			{0, 429, "0", "8"},
			{7*time.Second + 499*time.Millisecond, 429, "0", "1"},
			{time.Second, 200, "1", ""},
			{20 * time.Second, 200, "1", ""},
		} {
			time.Sleep(want.sleep)
			a := get()
			if a.status != want.status || a.header.Get("X-Ratelimit-Limit-Burst") != "2" || a.header.Get("X-Ratelimit-Remaining-Burst") != want.remaining || a.header.Get("Retry-After") != want.retryAfter {
				t.Errorf("request %d: %d %v", i+1, a.status, a.header)
			}
			if a.status == 429 && a.body != `{"message":"Too many requests","statusCode":429}` {
				t.Errorf("request %d: %s", i+1, a.body)
			}
		}
		if a := get(); a.body != completedBody {
			t.Errorf("a refused request took a step: %s", a.body)
		}
	})
}

func TestContextInMemory(t *testing.T) {
	cause := errors.New("enough")
	for name, step := range map[string]Step{"hang": Hang(), "delay": Delay(time.Hour, Completed("")), "both": Delay(time.Minute, Hang())} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := NewTransport(t)
				g.Add("gen1", step)
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(30*time.Second, func() { cancel(cause) })
				start := time.Now()
				a := send(g, newRequest(t, ctx, "GET", "https://x/v1.0/generations/gen1"))
				if a.err != cause || time.Since(start) != 30*time.Second {
					t.Errorf("%v after %v", a.err, time.Since(start))
				}
				a = send(g, newRequest(t, ctx, "GET", "https://x/v1.0/generations/gen1"))
				if a.err != cause || len(g.Requests()) != 1 {
					t.Errorf("%v, %d requests", a.err, len(g.Requests()))
				}
			})
		})
	}
}

func TestCleanupEndsDelayedResponses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		g := NewTransport(r)
		g.Add("gen1", Hang())
		g.Add("gen2", Delay(time.Hour, Completed("")))
		responses := make(chan got, 2)
		for _, id := range []string{"gen1", "gen2"} {
			go func() {
				responses <- send(g, newRequest(t, t.Context(), "GET", "https://x/v1.0/generations/"+id))
			}()
		}
		synctest.Wait()
		r.clean()
		for range 2 {
			if a := <-responses; !errors.Is(a.err, syscall.ECONNRESET) {
				t.Error(a.err)
			}
		}
	})
}

func TestHangOnASocket(t *testing.T) {
	for name, end := range map[string]func(cancel, clean func()){
		"the client gives up": func(cancel, _ func()) { cancel() },
		"the server closes":   func(_, clean func()) { clean() },
	} {
		t.Run(name, func(t *testing.T) {
			r := &recorder{}
			g := NewServer(r)
			g.Add("gen1", Hang())
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			sent := make(chan struct{})
			ctx, cancel := context.WithCancel(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
				WroteRequest: func(httptrace.WroteRequestInfo) { close(sent) },
			}))
			defer cancel()
			response := make(chan got)
			request := newRequest(t, ctx, "GET", g.URL+"/v1.0/generations/gen1")
			go func() { response <- send(transport, request) }()
			<-sent
			end(cancel, r.clean)
			if a := <-response; a.err == nil {
				t.Errorf("received status %d", a.status)
			}
			r.clean()
		})
	}
}

func TestViolations(t *testing.T) {
	ok := "/v1.0/generations/gen1"
	for name, tt := range map[string]struct {
		method, path string
		body         string
		step         Step
		status       int
		want         string
	}{
		"unknown path":                {"GET", "/v1.0/nothing", "", Step{}, 400, "the request GET /v1.0/nothing is invalid: no such operation"},
		"unknown method":              {"TRACE", ok, "", Step{}, 400, "the request TRACE " + ok + " is invalid: no such operation"},
		"slash at the end":            {"GET", ok + "/", "", Step{}, 400, "the path is not exactly that of /v1.0/generations/{"},
		"escaped slash":               {"GET", "/v1.0/generations/a%2Fb", "", Step{}, 400, "no such operation"},
		"unknown query":               {"GET", ok + "?wait=1", "", Step{}, 400, `query parameter "wait" is not documented`},
		"limit not a number":          {"GET", "/v1.0/themes?limit=many", "", Step{}, 400, `query parameter "limit" is an invalid number`},
		"body of a GET":               {"GET", ok, "{}", Step{}, 400, "a request body is not documented"},
		"response, unknown status":    {"GET", ok, "", JSON(map[string]string{"generationId": "gen1", "status": "none of them"}), 500, `the response to GET ` + ok + ` is invalid: 200 {"generationId":"gen1","status":"none of them"}: field status: value is not one of the allowed values`},
		"response, missing fields":    {"GET", ok, "", JSON(map[string]any{}), 500, "is missing"},
		"response, wrong nested type": {"GET", ok, "", JSON(map[string]any{"generationId": "gen1", "status": "failed", "credits": map[string]any{"deducted": "x", "remaining": 1}}), 500, ": field "},
		"step, value not JSON":        {"GET", ok, "", JSON(func() {}), 200, "unsupported type: func()"},
		"step, status 100":            {"GET", ok, "", Status(100), 200, "generation gen1: 100 is not a response status"},
		"step, status 1000":           {"GET", ok, "", Raw(1000, "", ""), 200, "generation gen1: 1000 is not a response status"},
		"step, negative polls":        {"GET", ok, "", Pending(-1), 200, "generation gen1: Times(-1): the number must not be negative"},
		"step, negative time":         {"GET", ok, "", PendingFor(-time.Second), 200, "generation gen1: pending for a negative time: -1s"},
		"step, negative times":        {"GET", ok, "", Times(-2, Status(503)), 200, "generation gen1: Times(-2): the number must not be negative"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &recorder{}
			g := NewTransport(r)
			defer r.clean()
			g.Add("gen1", tt.step)
			request := newRequest(t, t.Context(), tt.method, "https://x"+tt.path)
			if tt.body != "" {
				request.Body = io.NopCloser(strings.NewReader(tt.body))
			}
			a := send(g, request)
			if len(r.errors) != 1 || !strings.HasPrefix(r.errors[0], "gammatest: ") || !strings.Contains(r.errors[0], tt.want) || strings.Contains(r.errors[0], "\n") {
				t.Errorf("reported %q, want %q", r.errors, tt.want)
			}
			if tt.status != 200 {
				var envelope struct {
					Message    string
					StatusCode int
				}
				if err := json.Unmarshal([]byte(a.body), &envelope); err != nil || a.status != tt.status || envelope.StatusCode != tt.status || envelope.Message == "" {
					t.Errorf("response %d %s", a.status, a.body)
				}
			}
			if n := len(g.Requests()); n != 1 {
				t.Errorf("%d requests recorded", n)
			}
		})
	}
}

// An empty chunked body is not a body.
func TestEmptyBodyIsNone(t *testing.T) {
	g := NewServer(t)
	request := newRequest(t, t.Context(), "GET", g.URL+"/v1.0/themes")
	request.Body, request.ContentLength = io.NopCloser(strings.NewReader("")), -1
	request.TransferEncoding = []string{"chunked"}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	if a := send(transport, request); a.status != 200 {
		t.Errorf("status %d, %v", a.status, a.err)
	}
}

func TestViolationOnASocket(t *testing.T) {
	r := &recorder{}
	g := NewServer(r)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	if a := send(transport, newRequest(t, t.Context(), "GET", g.URL+"/v1.0/generations/gen1/")); a.status != 400 {
		t.Errorf("status %d, %v", a.status, a.err)
	}
	r.clean()
	if len(r.errors) != 1 {
		t.Errorf("reported %q", r.errors)
	}
}

// A request whose connection breaks is not a violation.
func TestRequestThatIsCutOff(t *testing.T) {
	r := new(recorder)
	defer r.clean()
	g := NewServer(r)
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v1.0/generations HTTP/1.1\r\nHost: %s\r\nX-Api-Key: %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"inputText\":", conn.RemoteAddr(), Key)
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rsp, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
		t.Errorf("the response is %s, want none", rsp.Status)
	}
	if len(r.errors) > 0 {
		t.Errorf("reported %q", r.errors)
	}
	if n := len(g.Requests()); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

func TestBudgetIsPositive(t *testing.T) {
	r := &recorder{}
	g := NewTransport(r)
	g.Budget(0, time.Second)
	g.Budget(1, 0)
	if len(r.errors) != 2 {
		t.Errorf("reported %q", r.errors)
	}
}

// Errorf of a testing.T panics after the end of its test.
func TestNothingIsReportedAfterTheCleanup(t *testing.T) {
	r := &recorder{}
	g := NewTransport(r)
	r.clean()
	if a := send(g, newRequest(t, t.Context(), "GET", "https://x/nothing")); a.status != 400 {
		t.Errorf("status %d", a.status)
	}
	if len(r.errors) != 0 {
		t.Errorf("reported %q", r.errors)
	}
}

// A later document may have more operations, and stricter ones.
func TestAnotherDocument(t *testing.T) {
	head := `{"openapi":"3.0.0","info":{"title":"T","version":"1"},"servers":[{"url":"https://x/base"}],"paths":{`
	anything := `"responses":{"200":{"description":"OK"}}`
	params := `"parameters":[{"name":"id","in":"path","required":true,"schema":{"type":"string","maxLength":4}},{"name":"q","in":"query","required":true,"schema":{"type":"integer"}}]`
	status := func(responses string) string {
		return head + `"/g/{id}":{"get":{"operationId":"getGenerationStatus",` + params + `,"responses":{` + responses + `}}}}}`
	}
	for name, tt := range map[string]struct {
		document string
		path     string
		step     Step
		status   int
		want     string // no report where it is empty
	}{
		"empty id":                 {status(`"200":{"description":"OK"}`), "/g/?q=1", Pending(1), 400, "is empty"},
		"collection":               {status(`"200":{"description":"OK"}`), "/g?q=1", Pending(1), 400, "is empty"},
		"query":                    {status(`"200":{"description":"OK"}`), "/g/gen1?q=1", Pending(1), 200, ""},
		"query missing":            {status(`"200":{"description":"OK"}`), "/g/gen1", Pending(1), 400, `query parameter "q" is missing`},
		"two violations":           {status(`"200":{"description":"OK"}`), "/g/generation1?q=x", Pending(1), 400, `maximum string length is 4`},
		"status":                   {status(`"202":{"description":"OK"}`), "/g/gen1?q=1", Pending(1), 500, "status is not supported"},
		"content type":             {status(`"200":{"description":"OK","content":{"text/plain":{}}}`), "/g/gen1?q=1", Pending(1), 500, "application/json"},
		"404 not listed":           {status(`"200":{"description":"OK"},"401":{"description":"No"}`), "/g/gen2?q=1", Pending(1), 404, ""},
		"403 not listed":           {strings.Replace(status(`"200":{"description":"OK"},"401":{"description":"No"}`), "getGenerationStatus", "deleteGamma", 1), "/g/gen2?q=1", Step{}, 403, ""},
		"404 listed":               {status(`"200":{"description":"OK"},"404":{"description":"No","content":{"text/plain":{}}}`), "/g/gen2?q=1", Pending(1), 500, "application/json"},
		"no error listed":          {status(`"200":{"description":"OK"}`), "/g/gen2?q=1", Pending(1), 404, ""},
		"429 not listed":           {status(`"200":{"description":"OK"}`), "/g/gen1?q=1", RateLimited(0), 429, ""},
		"fault, not as documented": {status(`"429":{"description":"Slow","content":{"text/plain":{}}}`), "/g/gen1?q=1", RateLimited(0), 429, ""},
		"path item parameter":      {head + `"/g/{id}":{"parameters":[{"name":"q","in":"query","schema":{"type":"string"}}],"get":{"operationId":"getGenerationStatus",` + strings.Replace(params, `"q"`, `"p"`, 1) + `,` + anything + `}}}}`, "/g/gen1?q=1&p=1", Pending(1), 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := &recorder{}
			g := NewTransport(r)
			defer r.clean()
			c, err := parse([]byte(tt.document))
			if err != nil {
				t.Fatal(err)
			}
			g.contract = c
			g.Add("gen1", tt.step)
			g.Add("generation1", tt.step)
			a := send(g, newRequest(t, t.Context(), "GET", "https://x"+tt.path))
			if a.status != tt.status {
				t.Errorf("status %d, want %d", a.status, tt.status)
			}
			if reports := strings.Join(r.errors, "\n"); !strings.Contains(reports, tt.want) || tt.want == "" && reports != "" {
				t.Errorf("reported %q, want %q", reports, tt.want)
			}
		})
	}
}

// A 429 is validated if the document lists it.
func TestBudgetIsValidated(t *testing.T) {
	for _, tt := range []struct {
		responses string
		status    int
	}{
		{`"200":{"description":"OK"}`, 429},
		{`"200":{"description":"OK"},"429":{"description":"Slow","content":{"text/plain":{}}}`, 500},
	} {
		r := &recorder{}
		g := NewTransport(r)
		defer r.clean()
		c, err := parse([]byte(`{"openapi":"3.0.0","info":{"title":"T","version":"1"},"paths":{"/g/{id}":{"get":{"operationId":"getGenerationStatus","parameters":[{"name":"id","in":"path","required":true,"schema":{"type":"string"}}],"responses":{` + tt.responses + `}}}}}`))
		if err != nil {
			t.Fatal(err)
		}
		g.contract = c
		g.Add("gen1")
		g.Budget(1, time.Hour)
		for _, want := range []int{200, tt.status} {
			if a := send(g, newRequest(t, t.Context(), "GET", "https://x/g/gen1")); a.status != want {
				t.Errorf("status %d %s, want %d", a.status, a.body, want)
			}
		}
	}
}

// The document may spell an operationId or a parameter differently.
func TestDocumentWithOtherNames(t *testing.T) {
	for _, names := range [][2]string{{"GetGenerationStatus", "ArchiveGamma"}, {"get_generation_status", "archive-gamma"}} {
		r := &recorder{}
		g := NewTransport(r)
		defer r.clean()
		operation := `{"operationId":"%s","parameters":[{"name":"key","in":"path","required":true,"schema":{"type":"string"}}],"responses":{"200":{"description":"OK"}}}`
		c, err := parse(fmt.Appendf(nil, `{"openapi":"3.0.0","info":{"title":"T","version":"1"},"paths":{"/g/{key}":{"get":`+operation+`,"post":`+operation+`}}}`, names[0], names[1]))
		if err != nil {
			t.Fatal(err)
		}
		g.contract = c
		g.Add("gen1", Completed(""))
		g.Next("getGenerationStatus", Status(503))
		g.Next(names[0], Status(502))
		for i, want := range []int{503, 502, 200} {
			if a := send(g, newRequest(t, t.Context(), "GET", "https://x/g/gen1")); a.status != want || want == 200 && !strings.Contains(a.body, `"status":"completed"`) {
				t.Errorf("poll %d: %d %s, want %d", i+1, a.status, a.body, want)
			}
		}
		if a := send(g, newRequest(t, t.Context(), "POST", "https://x/g/g_gen1")); a.status != 200 {
			t.Errorf("archive: %d %s", a.status, a.body)
		}
		if len(r.errors) > 0 {
			t.Errorf("reported %q", r.errors)
		}
	}
}

func TestSuccessStatusIsThatOfTheDocument(t *testing.T) {
	for responses, want := range map[string]int{
		`"201":{"description":"OK"}`: 201,
		`"400":{"description":"No"},"204":{"description":"OK"},"202":{"description":"OK"}`: 202,
		`"200":{"description":"OK"},"201":{"description":"OK"}`:                            200,
		`"2XX":{"description":"OK"},"201":{"description":"OK"}`:                            201,
		`"default":{"description":"OK"}`:                                                   200,
	} {
		r := &recorder{}
		g := NewTransport(r)
		defer r.clean()
		c, err := parse([]byte(`{"openapi":"3.0.0","info":{"title":"T","version":"1"},"paths":{"/g":{"post":{"operationId":"createGeneration","requestBody":{"content":{"application/json":{}}},"responses":{` + responses + `}}}}}`))
		if err != nil {
			t.Fatal(err)
		}
		g.contract = c
		request := newRequest(t, t.Context(), "POST", "https://x/g")
		request.Header.Set("Content-Type", "application/json")
		request.Body = io.NopCloser(strings.NewReader("{}"))
		if a := send(g, request); a.status != want || a.body != `{"generationId":"gen000001","warnings":null}` || len(r.errors) > 0 {
			t.Errorf("%s: %d %s, reported %q", responses, a.status, a.body, r.errors)
		}
	}
}

// The vendor's examples contradict the schemas beside them.
func TestDocumentWithAWrongExample(t *testing.T) {
	document := `{"openapi":"3.0.0","info":{"title":"T","version":"1"},"paths":{},"components":{"schemas":{"Size":{"type":"object","example":"auto"}}}}`
	if _, err := parse([]byte(document)); err != nil {
		t.Error(err)
	}
}

func TestDocumentsThatCannotBeRead(t *testing.T) {
	for _, document := range []string{"", "{", `{"openapi":"3.0.0"}`} {
		if _, err := parse([]byte(document)); err == nil {
			t.Errorf("%q was read", document)
		}
	}
}

// closing records whether a body was closed.
type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

func TestTransportLeavesTheRequestAlone(t *testing.T) {
	r := &recorder{}
	g := NewTransport(r)
	defer r.clean()
	body := &closing{Reader: bytes.NewReader([]byte("{}"))}
	request := newRequest(t, t.Context(), "GET", "https://x/v1.0/generations/gen1")
	request.Body, request.ContentLength = body, 2
	before, header := *request, request.Header.Clone()
	send(g, request)
	if !reflect.DeepEqual(*request, before) || !reflect.DeepEqual(request.Header, header) {
		t.Error("the request was changed")
	}
	if !body.closed {
		t.Error("the body was not closed")
	}
}

func TestWithTheClient(t *testing.T) {
	server, transport := NewServer(t), NewTransport(t)
	for g, opt := range map[*API]gamma.Option{
		server.API:    gamma.WithBaseURL(server.URL),
		transport.API: gamma.WithHTTPClient(&http.Client{Transport: transport}),
	} {
		client, err := gamma.NewClient(Key, opt)
		if err != nil {
			t.Fatal(err)
		}
		g.Add("gen1", Completed("https://example.com/x.pdf"), RateLimited(7*time.Second), Cut(Pending(1)))
		rsp, err := client.GetGenerationStatusWithResponse(t.Context(), "gen1")
		if err != nil || rsp.JSON200.ExportURL != "https://example.com/x.pdf" || *rsp.JSON200.Credits.Remaining != 2960 {
			t.Errorf("%+v, %v", rsp, err)
		}
		_, err = client.GetGenerationStatusWithResponse(t.Context(), "gen1")
		var apiErr *gamma.APIError
		if !errors.As(err, &apiErr) || apiErr.RetryAfter != 7*time.Second || apiErr.RequestID != "req-000002" || apiErr.RateLimit.Burst.Remaining != 999_998 {
			t.Errorf("%+v", err)
		}
		if _, err = client.GetGenerationStatusWithResponse(t.Context(), "gen1"); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Error(err)
		}
		if _, err = client.GetGenerationStatusWithResponse(t.Context(), "gen2"); !errors.Is(err, gamma.ErrNotFound) {
			t.Error(err)
		}
	}
}

func TestWithThePoller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewTransport(t)
		g.Add("gen1", PendingFor(90*time.Second), Hang(), Malformed(`{"half`), Drop(), RateLimited(30*time.Second), Status(503), Completed(""))
		client, err := gamma.NewClient(Key, gamma.WithHTTPClient(&http.Client{Transport: g}))
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		gen, err := poller.New(client).Wait(t.Context(), "gen1")
		if err != nil || gen.GammaURL != "https://gamma.app/docs/g_gen1" {
			t.Errorf("%+v, %v", gen, err)
		}
		if d := time.Since(start); d < 3*time.Minute || d > 5*time.Minute {
			t.Errorf("it took %v", d)
		}
	})
}

func TestManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const generations, polls, workers = 2000, 4, 64
		g := NewTransport(t)
		ids := make(chan string, generations)
		for i := range generations {
			id := "gen" + strconv.Itoa(i)
			g.Add(id, PendingFor(time.Second), Pending(1), Delay(time.Second, Completed("")))
			ids <- id
		}
		close(ids)
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for id := range ids {
					for i := range polls {
						a := send(g, newRequest(t, t.Context(), "GET", "https://x/v1.0/generations/"+id))
						if a.status != 200 {
							t.Errorf("%s, poll %d: %d %v", id, i, a.status, a.err)
						}
						time.Sleep(time.Second)
					}
				}
			})
		}
		wg.Wait()
		if n := len(g.Requests()); n != generations*polls {
			t.Errorf("%d requests", n)
		}
	})
}

func BenchmarkPoll(b *testing.B) {
	g := NewTransport(b)
	g.Add("gen1", Completed(""))
	request, err := http.NewRequest("GET", "https://x/v1.0/generations/gen1", nil)
	if err != nil {
		b.Fatal(err)
	}
	request.Header.Set("X-API-KEY", Key)
	b.ReportAllocs()
	for b.Loop() {
		if a := send(g, request); a.status != 200 {
			b.Fatal(a)
		}
	}
}

func TestKeepRequests(t *testing.T) {
	client, g := NewClient(t, Completed(""))
	id, link := export(t, client)
	poll := func(n int) {
		for range n {
			if linkOf(t, client, id) != link {
				t.Error("another link")
			}
			if err := client.Download(t.Context(), link, io.Discard); err != nil {
				t.Error(err)
			}
		}
	}
	check := func(requests, downloads int) {
		t.Helper()
		if r, d := len(g.Requests()), len(g.Downloads()); r != requests || d != downloads {
			t.Errorf("%d requests and %d downloads, want %d and %d", r, d, requests, downloads)
		}
	}
	poll(5)
	check(7, 5)
	g.KeepRequests(3)
	check(3, 3)
	last := g.Requests()[2]
	poll(2)
	check(3, 3)
	if first := g.Requests()[0]; !reflect.DeepEqual(first, last) {
		t.Errorf("the first is %+v, want %+v", first, last)
	}
	rsp, err := client.GetGenerationStatusWithResponse(t.Context(), id)
	if err != nil || rsp.HTTPResponse.Header.Get("X-Request-Id") != "req-000010" {
		t.Errorf("%+v, %v", rsp, err) // all are counted
	}
	g.KeepRequests(0)
	check(0, 0)
	poll(1)
	check(0, 0)
	g.KeepRequests(-1)
	poll(9)
	check(9, 9)
}

func TestProgram(t *testing.T) {
	var p Program
	var order []string
	p.Cleanup(func() { order = append(order, "first") })
	g := NewServer(&p)
	p.Cleanup(func() { order = append(order, "last") })
	g.Add("gen1", Status(1))
	g.Add("gen2", Pending(-1))
	if err := p.Close(); err == nil || err.Error() != "gammatest: generation gen1: 1 is not a response status\ngammatest: generation gen2: Times(-1): the number must not be negative" {
		t.Error(err)
	}
	if strings.Join(order, " ") != "last first" {
		t.Errorf("cleanups %q", order)
	}
	if _, err := http.Get(g.URL); err == nil {
		t.Error("the server is still there")
	}
	if err := p.Close(); err != nil || len(order) != 2 {
		t.Errorf("second Close: %v, cleanups %q", err, order)
	}
}
