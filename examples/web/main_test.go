package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/examples/internal/process"
	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/poller"
)

// site is a server in memory, and the fake API behind it.
type site struct {
	http.Handler
	*gammatest.API
	client *gamma.Client
	stop   func()
}

func newSite(t *testing.T, steps ...gammatest.Step) *site {
	client, g := gammatest.NewClient(t, steps...)
	return start(t, &site{API: g, client: client})
}

// start returns another server, as after a restart.
func start(t *testing.T, s *site) *site {
	ctx, stop := context.WithCancel(t.Context())
	return &site{handler(ctx, s.client, poller.New(s.client)), s.API, s.client, stop}
}

// bubble runs f in a bubble, and then lets the waits that it has started end.
func bubble(t *testing.T, f func(*testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f(t)
		time.Sleep(10 * time.Minute)
	})
}

// post submits the form.
func (s *site) post(ctx context.Context, token, text string) *httptest.ResponseRecorder {
	form := url.Values{"token": {token}, "text": {text}}
	r := httptest.NewRequestWithContext(ctx, "POST", "/decks/", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func (s *site) get(ctx context.Context, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", path, nil))
	return w
}

// watch reads the events of a deck until the stream ends. Each has its name and its data.
func (s *site) watch(t *testing.T, ctx context.Context, id string) (events [][2]string) {
	t.Helper()
	body := s.get(ctx, "/decks/"+id+"/events").Body.String()
	for part := range strings.SplitSeq(strings.TrimSuffix(body, "\n\n"), "\n\n") {
		m := regexp.MustCompile(`\Aretry: 1000\nevent: (message|done)\ndata: (.+)\z`).FindStringSubmatch(part)
		if m == nil {
			t.Fatalf("not an event: %q", part)
		}
		events = append(events, [2]string{m[1], m[2]})
	}
	return events
}

func (s *site) count(method string) (times []time.Time) {
	for _, r := range s.Requests() {
		if r.Method == method {
			times = append(times, r.Time)
		}
	}
	return times
}

// held is a transport that holds a request back.
type held struct {
	*gammatest.Transport
	arrived, release chan struct{}
}

func (h held) RoundTrip(r *http.Request) (*http.Response, error) {
	h.arrived <- struct{}{}
	<-h.release
	return h.Transport.RoundTrip(r)
}

// A bubble cannot have it: the second request waits for a mutex.
func TestDoubleClick(t *testing.T) {
	transport := held{gammatest.NewTransport(t), make(chan struct{}, 2), make(chan struct{})}
	client, err := gamma.NewClient(gammatest.Key, gamma.WithHTTPClient(&http.Client{Transport: transport}))
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, &site{API: transport.API, client: client})
	ctx, leave := context.WithCancel(t.Context())
	var clicks sync.WaitGroup
	clicks.Go(func() { s.post(ctx, "token1", "tea") })
	<-transport.arrived
	var page string
	clicks.Go(func() { page = s.post(t.Context(), "token1", "tea").Header().Get("Location") })
	leave() // the browser, for the second click
	close(transport.release)
	clicks.Wait()
	if n := len(s.count("POST")); n != 1 || !strings.HasPrefix(page, "/decks/") {
		t.Errorf("%d creates, and the page is %q", n, page)
	}
}

func TestCreateOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSite(t)
		page := s.post(t.Context(), "token1", "tea").Header().Get("Location")
		again := s.post(t.Context(), "token1", "tea")
		if again.Code != 303 || !strings.HasPrefix(page, "/decks/") || again.Header().Get("Location") != page || len(s.count("POST")) != 1 {
			t.Errorf("the same form led to %q and %q with %d creates", page, again.Header().Get("Location"), len(s.count("POST")))
		}
		for name, other := range map[string]*httptest.ResponseRecorder{
			"another form":                  s.post(t.Context(), "token2", "tea"),
			"another text in the same form": s.post(t.Context(), "token1", "coffee"),
		} {
			if got := other.Header().Get("Location"); got == "" || got == page {
				t.Errorf("%s led to %q", name, got)
			}
		}
		r := httptest.NewRequest("POST", "/decks/", nil)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		w := httptest.NewRecorder()
		if s.ServeHTTP(w, r); w.Code != 403 || len(s.count("POST")) != 3 {
			t.Errorf("a form of another site: status %d, %d creates", w.Code, len(s.count("POST")))
		}
	})
}

func TestCreateFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSite(t)
		s.Next("createGeneration", gammatest.Status(402), gammatest.Cut(gammatest.Usual()))
		for range 2 { // a reload says the same
			if body := s.post(t.Context(), "token1", "<b>").Body.String(); !strings.Contains(body, `<p role="alert">gamma: `) || !strings.Contains(body, "&lt;b&gt;</textarea>") {
				t.Errorf("the page without credits is %s", body)
			}
		}
		if n := len(s.count("POST")); n != 1 {
			t.Errorf("%d creates", n)
		}
		s.post(t.Context(), "token2", "tea")
		if w := s.post(t.Context(), "token2", "tea"); len(s.count("POST")) != 2 {
			t.Errorf("a create whose response was cut off was sent again, with status %d", w.Code)
		}
	})
}

var pollsSoFar = regexp.MustCompile(`polls: [456]\)`)

func TestPagesShareOneWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSite(t, gammatest.PendingFor(time.Minute), gammatest.Completed(""))
		id := strings.TrimPrefix(s.post(t.Context(), "token1", "tea").Header().Get("Location"), "/decks/")
		var pages sync.WaitGroup
		for i := range 5 {
			pages.Go(func() {
				time.Sleep(time.Duration(i) * 700 * time.Millisecond)
				leaves, cancel := context.WithTimeout(t.Context(), 12*time.Second)
				s.watch(t, leaves, id)
				cancel()
				time.Sleep(10 * time.Second) // nobody watches, and the wait continues
				events := s.watch(t, t.Context(), id)
				// After 22 to 26 seconds of a pause of 5 to 6 seconds.
				if first := events[0]; first[0] != "message" || !pollsSoFar.MatchString(first[1]) {
					t.Errorf("after a reload the page starts with %v", first)
				}
				want := [2]string{"done", `<p role="status">Done: <a href="https://gamma.app/docs/g_` + id + `" rel="noreferrer">open the deck</a>.</p>`}
				if last := events[len(events)-1]; last != want {
					t.Errorf("the last event is %v", last)
				}
			})
		}
		pages.Wait()
		polls := s.count("GET")
		for i := range polls[1:] {
			if pause := polls[i+1].Sub(polls[i]); pause < 5*time.Second {
				t.Errorf("poll %d came %v after the one before", i+2, pause)
			}
		}
		if events := s.watch(t, t.Context(), id); len(events) != 1 || events[0][0] != "done" || len(s.count("GET")) != len(polls) {
			t.Errorf("after the end a reload has the events %v and sent %d polls", events, len(s.count("GET"))-len(polls))
		}
		time.Sleep(2 * time.Minute)
		if events := s.watch(t, t.Context(), id); events[len(events)-1][0] != "done" || len(s.count("GET")) != len(polls)+1 {
			t.Errorf("much later it has the events %v and sent %d polls", events, len(s.count("GET"))-len(polls))
		}
	})
}

func TestRestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSite(t)
		s.Add("gen1", gammatest.PendingFor(30*time.Second), gammatest.Completed(""))
		time.AfterFunc(10*time.Second, s.stop)
		for _, event := range s.watch(t, t.Context(), "gen1") {
			if event[0] == "done" { // the page would not connect again
				t.Errorf("a server that stops sends %v", event)
			}
		}
		events := start(t, s).watch(t, t.Context(), "gen1")
		if len(events) < 15 || events[len(events)-1][0] != "done" || !strings.Contains(events[len(events)-1][1], "open the deck") {
			t.Errorf("after a restart the events are %v", events)
		}
	})
}

func TestEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		id    string
		steps []gammatest.Step
		want  string
	}{
		"completed without a link": {"gen1", []gammatest.Step{gammatest.JSON(map[string]any{"generationId": "gen1", "status": "completed", "gammaUrl": "javascript:alert(1)"})}, `Done: <a href="#ZgotmplZ"`},
		"text that is no part of a stream": {"gen1", []gammatest.Step{gammatest.Failed(422, "no\r\n\r\nevent: done\r\ndata: <script>")},
			`gamma: generation gen1 failed: no\r\n\r\nevent: done\r\ndata: &lt;script&gt;`},
		"an unknown id": {"gen2", nil, "not found"},
		"a wrong id":    {"a%20b", nil, "gamma: "},
		"a timeout":     {"gen1", []gammatest.Step{gammatest.Pending(1000)}, "deadline exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newSite(t)
				s.Add("gen1", tt.steps...)
				events := s.watch(t, t.Context(), tt.id)
				if last := events[len(events)-1]; last[0] != "done" || !strings.Contains(last[1], tt.want) || strings.Contains(last[1], "<script") {
					t.Errorf("the last event is %q", last)
				}
			})
		})
	}
}

// The policy of the page allows one script: the hash is that of the text between its tags.
func TestContentSecurityPolicy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newSite(t).get(t.Context(), "/decks/gen1")
		script := regexp.MustCompile(`(?s)<script>(.*)</script>`).FindStringSubmatch(w.Body.String())
		if script == nil {
			t.Fatalf("no script in %s", w.Body)
		}
		sum := sha256.Sum256([]byte(script[1]))
		if hash := base64.StdEncoding.EncodeToString(sum[:]); !strings.Contains(w.Body.String(), "script-src 'sha256-"+hash+"'") {
			t.Errorf("page.html needs sha256-%s", hash)
		}
	})
}

// A port in use is an error. If the test cannot listen there either, it is in use already.
func TestPortInUse(t *testing.T) {
	if listener, err := net.Listen("tcp", "localhost:8081"); err == nil {
		defer func() { _ = listener.Close() }()
	}
	if _, stderr, code := process.Start(t, "http://127.0.0.1:1", t.TempDir(), process.Build(t)).End(t); code != 1 || !strings.Contains(stderr, "8081") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}
