package main

import (
	"bytes"
	"context"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"iter"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go/poller"
)

// behavior is a row of the comparison. Its test tells whether a candidate does what the
// name says, and what was observed. It fails where a footnote is wrong.
type behavior struct {
	name string
	test func(t *testing.T, c candidate) (yes bool, observed string)
}

// behaviors are in the order of the rows.
var behaviors = []behavior{
	{"sends the key to no other host when redirected", keepsKey},
	{"sends a create once if its response is lost", createsOnce},
	{"survives a minute of 503", survives503},
	{"obeys `Retry-After`", obeysRetryAfter},
	{"keeps 1,000 waits within a rate limit", keepsToLimit},
	{"waits for 1,000 without 1,000 goroutines", needsNoGoroutines},
	{"finishes a download that breaks halfway", finishesDownload},
	{"needs only the standard library", needsNothing},
}

// The table in the README says what the candidates do. Every cell is tried.
func TestComparison(t *testing.T) {
	text, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	columns := make([]string, len(candidates))
	for i, c := range candidates {
		columns[i] = c.name
	}
	rows, err := comparisonTable(string(text), columns)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range behaviors {
		cells, ok := rows[b.name]
		if !ok {
			t.Errorf("the table in README.md has no row %q", b.name)
			continue
		}
		delete(rows, b.name)
		for i, c := range candidates {
			t.Run(b.name+"/"+c.name, func(t *testing.T) {
				yes, observed := b.test(t, c)
				t.Logf("%v: %s", yes, observed)
				if want := map[bool]string{true: "yes", false: "no"}[yes]; cells[i] != want {
					t.Errorf("the table in README.md says %q in row %q, column %q; it is %q: %s", cells[i], b.name, c.name, want, observed)
				}
			})
		}
	}
	for name := range rows {
		t.Errorf("the table in README.md has the row %q, which nothing tries", name)
	}
}

// comparisonTable finds the table with the columns in a Markdown text, and returns its
// cells by the names of the rows, without the marks of footnotes. Each mark must have
// a footnote after the table, and each footnote a mark.
func comparisonTable(text string, columns []string) (map[string][]string, error) {
	const marks = "¹²³⁴⁵⁶⁷⁸⁹"
	_, text, found := strings.Cut(text, "\n| | "+strings.Join(columns, " | ")+" |\n")
	if !found {
		return nil, fmt.Errorf("README.md has no table with the columns %q", columns)
	}
	rows := map[string][]string{}
	used := map[rune]bool{}
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "|") {
			break
		}
		text = text[len(line):]
		cells := strings.Split(strings.Trim(line, "|\n"), "|")
		for i, cell := range cells {
			for _, r := range cell {
				if strings.ContainsRune(marks, r) {
					used[r] = true
				}
			}
			cells[i] = strings.TrimRight(strings.TrimSpace(cell), marks)
		}
		switch {
		case len(cells) != len(columns)+1:
			return nil, fmt.Errorf("the row %q of the table has %d cells, not %d", cells[0], len(cells), len(columns)+1)
		case strings.HasPrefix(cells[0], "---"):
		case rows[cells[0]] != nil:
			return nil, fmt.Errorf("the table has two rows %q", cells[0])
		default:
			rows[cells[0]] = cells[1:]
		}
	}
	notes, _, _ := strings.Cut(text, "\n## ")
	for _, r := range marks {
		if n := strings.Count(notes, string(r)); used[r] && n != 1 || !used[r] && n != 0 {
			return nil, fmt.Errorf("the table has footnote %c: %v; after it are %d of it", r, used[r], n)
		}
	}
	return rows, nil
}

func TestComparisonTable(t *testing.T) {
	const head = "# x\n\n| | a | b |\n|---|---|---|\n"
	for _, tt := range []struct{ name, text, want string }{
		{"a table", head + "| is `x` | yes | no¹ |\n| y² | no | no |\n\n¹ because. ² also.\n", "map[is `x`:[yes no] y:[no no]]"},
		{"another text after it", head + "| x | yes | no |\n\n## y\n\n10 m²\n", "map[x:[yes no]]"},
		{"the end of the text", head + "| x | yes | no |", "map[x:[yes no]]"},
		{"other columns", "| | a | c |\n", "error"},
		{"a cell too few", head + "| x | yes |\n", "error"},
		{"a row twice", head + "| x | yes | no |\n| x | yes | no |\n", "error"},
		{"no footnote", head + "| x | yes | no¹ |\n\nbecause\n", "error"},
		{"a footnote of nothing", head + "| x | yes | no |\n\n¹ because\n", "error"},
	} {
		rows, err := comparisonTable(tt.text, []string{"a", "b"})
		got := fmt.Sprint(rows)
		if err != nil {
			got = "error"
		}
		if got != tt.want {
			t.Errorf("%s: %s, %v; want %s", tt.name, got, err, tt.want)
		}
	}
}

// Every candidate creates, waits and downloads where nothing goes wrong, so that a "no"
// is due to the fault that a row is about.
func TestCandidates(t *testing.T) {
	for _, c := range candidates {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, func(w http.ResponseWriter, r *http.Request, _ int, now time.Duration) {
					completeAfter(20*time.Second, now, w, r)
				})
				p := s.connect(t, c)
				id, err := p.create(t.Context())
				if err != nil || id != "gen1" {
					t.Errorf("create: %q, %v", id, err)
				}
				if status, err := p.wait(t.Context(), id); status != "completed" || err != nil || s.now() > 27*time.Second {
					t.Errorf("wait: %q, %v, after %v", status, err, s.now())
				}
				file := filepath.Join(t.TempDir(), "deck.pdf")
				if err := p.download(t.Context(), siteBase+"/deck.pdf", file); err != nil {
					t.Error(err)
				}
				if got, err := os.ReadFile(file); !bytes.Equal(got, deck) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			})
		})
	}
}

const (
	siteBase  = "http://127.0.0.1"
	otherHost = "http://localhost"
)

// deck is what downloads are of.
var deck = append([]byte("%PDF-1.7\n"), bytes.Repeat([]byte{1}, 100_000)...)

// site is the API in a bubble, with a second host. Clients have net/http's own transport
// and connections in memory.
type site struct {
	start   time.Time
	respond func(w http.ResponseWriter, r *http.Request, n int, now time.Duration)
	other   http.HandlerFunc
	conns   map[string]pipes
	serving sync.WaitGroup

	mu    sync.Mutex
	polls []time.Duration // when each arrived
	posts int
	gets  int // of the deck
}

// newSite starts a site. respond is called 50 ms after each request, with its number
// among those of its kind and the time when it arrived.
func newSite(t *testing.T, respond func(w http.ResponseWriter, r *http.Request, n int, now time.Duration)) *site {
	s := &site{start: time.Now(), respond: respond, conns: map[string]pipes{}}
	for host, h := range map[string]http.HandlerFunc{
		siteBase:  s.serve,
		otherHost: func(w http.ResponseWriter, r *http.Request) { s.other(w, r) },
	} {
		l := make(pipes)
		s.conns[strings.TrimPrefix(host, "http://")+":80"] = l
		server := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
		go func() { _ = server.Serve(pipeListener{l, make(chan struct{})}) }()
		t.Cleanup(func() {
			_ = server.Close()
			synctest.Wait()
			s.serving.Wait() // a client may have left before its response
		})
	}
	return s
}

func (s *site) now() time.Duration { return time.Since(s.start) }

func (s *site) serve(w http.ResponseWriter, r *http.Request) {
	s.serving.Add(1)
	defer s.serving.Done()
	s.mu.Lock()
	now := s.now()
	var n int
	switch {
	case r.URL.Path == "/deck.pdf":
		s.gets++
		n = s.gets
	case r.Method == http.MethodPost:
		s.posts++
		n = s.posts
	default:
		s.polls = append(s.polls, now)
		n = len(s.polls)
	}
	s.mu.Unlock()
	time.Sleep(50 * time.Millisecond)
	s.respond(w, r, n, now)
}

// sent counts the requests.
func (s *site) sent() (polls, posts, gets int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.polls), s.posts, s.gets
}

// pollsBetween counts the polls after from and before to.
func (s *site) pollsBetween(from, to time.Duration) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.polls {
		if from < at && at < to {
			n++
		}
	}
	return n
}

// connect returns a candidate with a new transport, as in a separate process.
func (s *site) connect(t *testing.T, c candidate) program {
	p, err := c.connect(siteBase, s.transport(t))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (s *site) transport(t *testing.T) *http.Transport {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	transport.DialContext = func(ctx context.Context, _, addr string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		select {
		case s.conns[addr] <- theirs:
			return ours, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

type pipes chan net.Conn

type pipeListener struct {
	pipes
	closed chan struct{}
}

func (l pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.pipes:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l pipeListener) Close() error {
	close(l.closed)
	return nil
}

func (pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// completeAfter responds to everything as if nothing went wrong.
func completeAfter(d, now time.Duration, w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/deck.pdf":
		w.Header().Set("Etag", `"1"`)
		http.ServeContent(w, r, "deck.pdf", time.Time{}, bytes.NewReader(deck))
		return
	case r.Method == http.MethodPost:
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"generationId":"gen1"}`)
		return
	}
	status := "pending"
	if now >= d {
		status = "completed"
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"generationId":"`+r.URL.Path[len(path):]+`","status":"`+status+`"}`)
}

// fail responds with an error in the API's form.
func fail(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"message":%q,"statusCode":%d}`, message, status)
}

// bubble runs test in virtual time.
func bubble(t *testing.T, test func(t *testing.T) (bool, string)) (yes bool, observed string) {
	synctest.Test(t, func(t *testing.T) { yes, observed = test(t) })
	return yes, observed
}

func keepsKey(t *testing.T, c candidate) (bool, string) {
	return bubble(t, func(t *testing.T) (bool, string) {
		var requests, keys atomic.Int32
		s := newSite(t, func(w http.ResponseWriter, r *http.Request, _ int, _ time.Duration) {
			http.Redirect(w, r, otherHost+r.URL.Path, http.StatusFound)
		})
		s.other = func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			if strings.Contains(fmt.Sprint(r.Header), key) {
				keys.Add(1)
			}
			completeAfter(0, 0, w, r)
		}
		_, err := s.connect(t, c).wait(t.Context(), "gen1")
		if polls, _, _ := s.sent(); polls == 0 {
			t.Error("it has not polled")
		}
		return keys.Load() == 0, fmt.Sprintf("%d requests to the other host, %d with the key; %v", requests.Load(), keys.Load(), err)
	})
}

// A footnote says what net/http does.
func TestRedirectHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, func(w http.ResponseWriter, r *http.Request, _ int, _ time.Duration) {
			http.Redirect(w, r, otherHost, http.StatusFound)
		})
		got := make(chan http.Header, 1)
		s.other = func(_ http.ResponseWriter, r *http.Request) { got <- r.Header }
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, siteBase, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"X-API-KEY", "Authorization", "Cookie"} {
			req.Header.Set(name, "a=b")
		}
		rsp, err := (&http.Client{Transport: s.transport(t)}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer rsp.Body.Close()
		if h := <-got; h.Get("X-API-KEY") == "" || h.Get("Authorization") != "" || h.Get("Cookie") != "" {
			t.Errorf("%v", h)
		}
	})
}

func createsOnce(t *testing.T, c candidate) (bool, string) {
	return bubble(t, func(t *testing.T) (bool, string) {
		s := newSite(t, func(_ http.ResponseWriter, r *http.Request, _ int, _ time.Duration) {
			_, _ = io.Copy(io.Discard, r.Body)
			panic(http.ErrAbortHandler) // the connection ends
		})
		id, err := s.connect(t, c).create(t.Context())
		if err == nil {
			t.Errorf("created %q", id)
		}
		_, posts, _ := s.sent()
		if posts != 1 && posts != 4 {
			t.Errorf("sent %d times, a footnote says 4", posts)
		}
		return posts == 1, fmt.Sprintf("sent %d times; %v", posts, err)
	})
}

// survives503 waits for a generation that completes after 100 seconds.
func survives503(t *testing.T, c candidate) (bool, string) {
	return bubble(t, func(t *testing.T) (bool, string) {
		const from, to = 20 * time.Second, 80 * time.Second
		s := newSite(t, func(w http.ResponseWriter, r *http.Request, _ int, now time.Duration) {
			if from <= now && now < to {
				fail(w, http.StatusServiceUnavailable, "Service Unavailable")
				return
			}
			completeAfter(100*time.Second, now, w, r)
		})
		status, err := s.connect(t, c).wait(t.Context(), "gen1")
		yes := status == "completed" && err == nil
		if !yes {
			tries, lasted := s.pollsBetween(from, time.Hour), s.now()-from
			if tries != 1 && (tries != 4 || lasted < 7*time.Second || lasted > 13*time.Second) {
				t.Errorf("%d polls in the outage, ended after %v of it; a footnote says the first, or three more within about 10 seconds", tries, lasted)
			}
		}
		polls, _, _ := s.sent()
		return yes, fmt.Sprintf("%q after %v, %d polls: %v", status, s.now(), polls, err)
	})
}

func obeysRetryAfter(t *testing.T, c candidate) (bool, string) {
	return bubble(t, func(t *testing.T) (bool, string) {
		var refused time.Duration
		s := newSite(t, func(w http.ResponseWriter, r *http.Request, n int, now time.Duration) {
			if n == 3 {
				refused = now
				w.Header().Set("Retry-After", "60")
				fail(w, http.StatusTooManyRequests, "Too many requests")
				return
			}
			completeAfter(100*time.Second, now, w, r)
		})
		status, err := s.connect(t, c).wait(t.Context(), "gen1")
		early := s.pollsBetween(refused, refused+time.Minute)
		return early == 0 && status == "completed" && err == nil, fmt.Sprintf("%d polls too early, %q: %v", early, status, err)
	})
}

// keepsToLimit has 1,000 generations that are created at once, and 1,000 requests per
// 10 seconds, of which the headers tell.
func keepsToLimit(t *testing.T, c candidate) (bool, string) {
	const jobs = 1_000
	f := play(t, scenario{
		name: c.name, jobs: jobs, batch: jobs,
		limit: of(func() limiter { return perTenSeconds(jobs) }),
		way: way{c.name, func(ctx context.Context, w *world, _ *poller.Poller, ids iter.Seq[string]) {
			p, err := c.connect(fakeURL, w)
			if err != nil {
				t.Error(err)
				return
			}
			waitAll(ctx, p, ids, w.ended)
		}},
	})
	refused, requests := float64(f.Refused), f.Requests*jobs
	if share := refused / requests; share > 0.01 && f.Lost == 0 && (share < 0.2 || share > 0.35 || f.Mean > 4500*time.Millisecond) {
		t.Errorf("%.2f of the requests got 429, mean lateness %v; a footnote says about a quarter, and no later", share, f.Mean)
	}
	return refused < requests/100 && f.Lost == 0, fmt.Sprintf("%.0f of %.0f requests got 429, %d generations were lost, mean lateness %v", refused, requests, f.Lost, f.Mean)
}

func needsNoGoroutines(t *testing.T, c candidate) (bool, string) {
	return bubble(t, func(t *testing.T) (bool, string) {
		const jobs = 1_000
		e := &endless{seen: make([]bool, jobs)}
		p, err := c.connect(fakeURL, e)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		before := runtime.NumGoroutine()
		var all sync.WaitGroup
		all.Go(func() { waitAll(ctx, p, ids(jobs), func(string, error) {}) })
		time.Sleep(25 * time.Second) // All may wait 20 seconds before it polls
		synctest.Wait()
		n := runtime.NumGoroutine() - before
		if e.first.Load() != jobs {
			t.Errorf("only %d have been polled", e.first.Load())
		}
		cancel()
		all.Wait()
		return n < jobs/2, fmt.Sprintf("%d goroutines", n)
	})
}

// halfWriter breaks the connection in the middle of the deck.
type halfWriter struct {
	http.ResponseWriter
	written int
}

func (w *halfWriter) Write(p []byte) (int, error) {
	if w.written += len(p); w.written > len(deck)/2 {
		panic(http.ErrAbortHandler)
	}
	return w.ResponseWriter.Write(p)
}

func finishesDownload(t *testing.T, c candidate) (bool, string) {
	return bubble(t, func(t *testing.T) (bool, string) {
		var last atomic.Value // the Range of the last request
		s := newSite(t, func(w http.ResponseWriter, r *http.Request, n int, now time.Duration) {
			last.Store(r.Header.Get("Range"))
			if n == 1 {
				w = &halfWriter{ResponseWriter: w}
			}
			completeAfter(0, now, w, r)
		})
		file := filepath.Join(t.TempDir(), "deck.pdf")
		err := s.connect(t, c).download(t.Context(), siteBase+"/deck.pdf", file)
		got, _ := os.ReadFile(file)
		_, _, gets := s.sent()
		if c.name == "azcore's poller" && last.Load() != "" {
			t.Errorf("asked for %q; a footnote says that it starts again", last.Load())
		}
		return err == nil && bytes.Equal(got, deck), fmt.Sprintf("%d of %d bytes with %d requests, the last for the range %q: %v", len(got), len(deck), gets, last.Load(), err)
	})
}

// needsNothing looks at what a program imports for the candidate.
func needsNothing(t *testing.T, c candidate) (bool, string) {
	var others []string
	if c.packages == nil {
		f, err := parser.ParseFile(token.NewFileSet(), "comparison_nethttp_test.go", nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			if strings.Contains(i.Path.Value, ".") {
				others = append(others, i.Path.Value)
			}
		}
	} else {
		args := append([]string{"list", "-deps", "-f", "{{if not .Standard}}{{with .Module}}{{.Path}}{{end}}{{end}}"}, c.packages...)
		out, err := exec.CommandContext(t.Context(), "go", args...).Output()
		if err != nil {
			t.Fatal(err)
		}
		others = strings.Fields(string(out))
		slices.Sort(others)
		others = slices.Compact(others)
	}
	return len(others) == 0, fmt.Sprintf("modules %q", others)
}
