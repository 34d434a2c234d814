package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

// key is one that nest.js accepts.
const key = "sk-gamma-conformance"

// nest is a running nest.js.
type nest struct {
	settings
	t    *testing.T
	url  string
	kill func()

	mu  sync.Mutex
	log []entry
}

// settings are the argument of nest.js.
type settings struct {
	Limits []limit `json:"limits,omitempty"`
	Shared bool    `json:"shared"` // all operations count together
	Finish int     `json:"finish"` // milliseconds from a create until the generation is completed
	Port   int     `json:"port"`
}

// limit is a throttler of @nestjs/throttler.
type limit struct {
	Name  string `json:"name,omitempty"`
	Limit int    `json:"limit"`
	TTL   int    `json:"ttl"` // milliseconds
}

// entry is a request in the log of nest.js.
type entry struct {
	URL, Method, Path, Text string
	Status                  int
}

func startNest(t *testing.T, s settings) *nest {
	need(t, "throttler")
	n := &nest{settings: s, t: t}
	n.start()
	return n
}

// start returns when the server listens.
func (n *nest) start() {
	n.t.Helper()
	argument, err := json.Marshal(n.settings)
	if err != nil {
		n.t.Fatal(err)
	}
	cmd := exec.Command("node", "nest.js", string(argument))
	if _, err := cmd.StdinPipe(); err != nil { // its end ends the server
		n.t.Fatal(err)
	}
	lines := start(n.t, cmd)
	read := func(line string) (e entry) {
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			n.t.Errorf("nest.js wrote %q", line)
		}
		return e
	}
	for line := range lines {
		n.url = read(line).URL
		break
	}
	if n.url == "" {
		n.t.Fatal("nest.js has ended")
	}
	_, _ = fmt.Sscanf(n.url, "http://127.0.0.1:%d", &n.Port) // of the next start
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for line := range lines {
			e := read(line)
			n.mu.Lock()
			n.log = append(n.log, e)
			n.mu.Unlock()
		}
	}()
	n.kill = func() {
		_ = cmd.Process.Kill()
		<-ended
	}
	n.t.Cleanup(n.kill)
}

// entries returns the log. nest.js writes a line after the response has been sent.
func (n *nest) entries() []entry {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.log)
}

// refused returns how many requests have received a 429.
func (n *nest) refused() (count int) {
	for _, e := range n.entries() {
		if e.Status == http.StatusTooManyRequests {
			count++
		}
	}
	return count
}

// ids returns ids of generations that are created now.
func ids(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%d-0-%d", time.Now().UnixMilli(), i)
	}
	return list
}

// newClient returns a client whose requests are recorded.
func newClient(t *testing.T, url string) (*gamma.Client, *witness) {
	t.Helper()
	transport := gamma.NewTransport()
	w := &witness{RoundTripper: transport}
	t.Cleanup(transport.CloseIdleConnections)
	client, err := gamma.NewClient(key, gamma.WithBaseURL(url), gamma.WithHTTPClient(&http.Client{Transport: w}))
	if err != nil {
		t.Fatal(err)
	}
	return client, w
}

// waits are the ways to wait for many generations. Each returns an error for each wait
// that did not end with a completed generation.
var waits = []struct {
	name string
	wait func(ctx context.Context, p *poller.Poller, ids []string) []error
}{
	{"All", func(ctx context.Context, p *poller.Poller, ids []string) (errs []error) {
		ended := 0
		for r := range p.All(ctx, poller.IDs(ids...)) {
			if ended++; r.Err != nil {
				errs = append(errs, r.Err)
			}
		}
		if ended != len(ids) {
			errs = append(errs, fmt.Errorf("%d results for %d generations", ended, len(ids)))
		}
		return errs
	}},
	{"Wait", func(ctx context.Context, p *poller.Poller, ids []string) (errs []error) {
		var mu sync.Mutex
		var all sync.WaitGroup
		for _, id := range ids {
			all.Go(func() {
				if _, err := p.Wait(ctx, id); err != nil {
					mu.Lock()
					defer mu.Unlock()
					errs = append(errs, err)
				}
			})
		}
		all.Wait()
		return errs
	}},
}

// quick returns a Poller with a short interval.
func quick(client poller.Client) *poller.Poller {
	p := poller.New(client)
	p.Interval, p.Timeout = 100*time.Millisecond, patience
	return p
}

func TestThrottlerHeaders(t *testing.T) {
	t.Parallel()
	n := startNest(t, settings{Shared: true, Limits: []limit{{"burst", 100, 60_000}, {"", 1000, 3_600_000}, {"daily", 5000, 86_400_000}}})
	client, w := newClient(t, n.url)
	if got, want := client.RateLimit().Day, (gamma.Window{Limit: -1, Remaining: -1, Reset: -1}); got != want {
		t.Errorf("before the first response: %+v", got)
	}
	for range 3 {
		if _, err := client.ListThemesWithResponse(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	got := gamma.RateLimitOf(w.calls[2].header)
	want := gamma.RateLimit{
		Burst: gamma.Window{Limit: 100, Remaining: 97, Reset: time.Minute},
		Hour:  gamma.Window{Limit: 1000, Remaining: 997, Reset: time.Hour},
		Day:   gamma.Window{Limit: 5000, Remaining: 4997, Reset: 24 * time.Hour},
	}
	same := func(got, want gamma.Window) bool {
		return got.Limit == want.Limit && got.Remaining == want.Remaining && got.Reset <= want.Reset && got.Reset > want.Reset-patience/2
	}
	if !same(got.Burst, want.Burst) || !same(got.Hour, want.Hour) || !same(got.Day, want.Day) {
		t.Errorf("of the response: %+v, want %+v", got, want)
	}
	if got := client.RateLimit(); !same(got.Burst, want.Burst) || !same(got.Hour, want.Hour) || !same(got.Day, want.Day) {
		t.Errorf("of the client: %+v, want %+v", got, want)
	}
}

// The throttlers count one after the other, by length. The one that refuses a request
// sends its Retry-After only, and those after it send nothing.
func TestThrottlerRefuses(t *testing.T) {
	t.Parallel()
	none := gamma.Window{Limit: -1, Remaining: -1, Reset: -1}
	const big = 1000
	for _, test := range []struct {
		name                 string
		burst, hour, day     int // limits
		header               string
		retryAfter           time.Duration
		knowsBurst, knowsDay bool
	}{
		{"burst", 1, big, big, "Retry-After-Burst", 10 * time.Second, false, false},
		{"hour", big, 1, big, "Retry-After", time.Hour, true, false},
		{"day", big, big, 1, "Retry-After-Daily", 24 * time.Hour, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			n := startNest(t, settings{Limits: []limit{{"burst", test.burst, 10_000}, {"", test.hour, 3_600_000}, {"daily", test.day, 86_400_000}}})
			client, w := newClient(t, n.url)
			if _, err := client.ListThemesWithResponse(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			_, err := client.ListThemesWithResponse(t.Context(), nil)
			var apiErr *gamma.APIError
			if !errors.As(err, &apiErr) || !errors.Is(err, gamma.ErrRateLimited) || apiErr.Message != "ThrottlerException: Too Many Requests" {
				t.Fatalf("%v", err)
			}
			if apiErr.RetryAfter != test.retryAfter {
				t.Errorf("RetryAfter %v, want %v", apiErr.RetryAfter, test.retryAfter)
			}
			for _, name := range []string{"Retry-After", "Retry-After-Burst", "Retry-After-Daily"} {
				if has := w.calls[1].header.Get(name) != ""; has != (name == test.header) {
					t.Errorf("%s is there: %v", name, has)
				}
			}
			if l := apiErr.RateLimit; (l.Burst != none) != test.knowsBurst || (l.Day != none) != test.knowsDay {
				t.Errorf("windows of the 429: %+v", l)
			}
		})
	}
	t.Run("key", func(t *testing.T) {
		t.Parallel()
		n := startNest(t, settings{})
		client, err := gamma.NewClient("another key", gamma.WithBaseURL(n.url))
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.CreateGeneration(t.Context(), text("Tea"))
		var apiErr *gamma.APIError
		if !errors.As(err, &apiErr) || !errors.Is(err, gamma.ErrUnauthorized) || apiErr.Message != "Invalid API key." {
			t.Errorf("%v", err)
		}
	})
}

// checkPauses fails if a request is sent after a 429 to one of the same method, before its
// Retry-After has passed. Requests sent within grace may have been in flight.
func (w *witness) checkPauses(t *testing.T, grace time.Duration) {
	t.Helper()
	for _, refused := range w.calls {
		if refused.status != http.StatusTooManyRequests {
			continue
		}
		retryAfter, err := time.ParseDuration(refused.header.Get("Retry-After-Burst") + "s")
		if err != nil || retryAfter <= grace {
			t.Fatalf("Retry-After-Burst: %v, %v", retryAfter, err)
		}
		early := 0
		for _, c := range w.calls {
			if after := c.sent.Sub(refused.done); c.method == refused.method && after > grace && after < retryAfter {
				early++
			}
		}
		if early > 0 {
			t.Errorf("%d requests were sent within %v after a 429", early, retryAfter)
		}
	}
}

func TestThrottlerWaits(t *testing.T) {
	t.Parallel()
	const generations, perWindow, ttl = 200, 60, 2 * time.Second
	for _, shared := range []bool{true, false} {
		for _, way := range waits {
			t.Run(fmt.Sprintf("%s/shared=%v", way.name, shared), func(t *testing.T) {
				t.Parallel()
				n := startNest(t, settings{Shared: shared, Finish: 1000, Limits: []limit{
					{"burst", perWindow, int(ttl / time.Millisecond)}, {"", 1_000_000, 3_600_000}, {"daily", 10_000_000, 86_400_000}}})
				client, w := newClient(t, n.url)
				start := time.Now()
				for _, err := range way.wait(t.Context(), quick(client), ids(generations)) {
					t.Error(err)
				}
				took := time.Since(start)
				w.checkPauses(t, ttl/4)
				refused := w.count(http.StatusTooManyRequests)
				t.Logf("%d requests, %d of them refused, in %.1f s", len(w.calls), refused, took.Seconds())
				if refused > generations/10 {
					t.Errorf("%d requests were refused", refused)
				}
				eventually(t, "the server has written its log", func() bool { return len(n.entries()) == len(w.calls) })
				if n.refused() != refused {
					t.Errorf("the server refused %d", n.refused())
				}
			})
		}
	}
}

func TestThrottlerCreates(t *testing.T) {
	t.Parallel()
	const texts, perWindow, ttl = 30, 10, 2 * time.Second
	for _, shared := range []bool{true, false} {
		t.Run(fmt.Sprintf("shared=%v", shared), func(t *testing.T) {
			t.Parallel()
			n := startNest(t, settings{Shared: shared, Finish: 500, Limits: []limit{{"burst", perWindow, int(ttl / time.Millisecond)}, {"", 1_000_000, 3_600_000}}})
			start := time.Now()
			client, w := newClient(t, n.url)
			p := quick(client)
			seen := map[string]bool{}
			var mu sync.Mutex
			var all sync.WaitGroup
			for i := range texts {
				all.Go(func() {
					created, err := client.CreateGeneration(t.Context(), text(fmt.Sprint("Tea ", i)))
					if err != nil {
						t.Error(err)
						return
					}
					if _, err := p.Wait(t.Context(), created.GenerationID); err != nil {
						t.Error(err)
					}
					mu.Lock()
					defer mu.Unlock()
					seen[created.GenerationID] = true
				})
			}
			all.Wait()
			w.checkPauses(t, ttl/4)
			refused := w.count(http.StatusTooManyRequests)
			took := time.Since(start)
			t.Logf("%d requests, %d of them refused, in %.1f s", len(w.calls), refused, took.Seconds())
			if refused > texts { // nearly all of them before the first response
				t.Errorf("%d requests were refused", refused)
			}
			if most := 2 * (2 * texts / perWindow) * ttl; took > most { // each is created and polled
				t.Errorf("it took %v, want at most %v", took, most)
			}
			eventually(t, "the server has written its log", func() bool { return len(n.entries()) == len(w.calls) })
			creates := map[string]int{}
			for _, e := range n.entries() {
				if e.Method == http.MethodPost && e.Status == http.StatusOK {
					creates[e.Text]++
				}
			}
			for text, n := range creates {
				if n != 1 {
					t.Errorf("%q was created %d times", text, n)
				}
			}
			if len(creates) != texts || len(seen) != texts {
				t.Errorf("%d texts became %d generations, want %d", len(creates), len(seen), texts)
			}
		})
	}
}

// The block of a throttler lasts as long as its window, from the request that was too
// many: a program that keeps to the headers never sends that one.
func TestThrottlerDayIsSpent(t *testing.T) {
	t.Parallel()
	const perDay, length = 3, 5 * time.Minute // nobody waits so long here
	for _, test := range []struct {
		name       string
		other      bool // another program has spent it
		requests   int  // at most
		refused    int  // at most
		because429 bool
	}{
		{"by this program", false, 0, 0, false},
		{"by another program", true, 2, 2, true}, // both waits may send their first poll at once
	} {
		for _, way := range waits {
			t.Run(way.name+"/"+test.name, func(t *testing.T) {
				t.Parallel()
				n := startNest(t, settings{Shared: true, Finish: 1 << 30, Limits: []limit{{"burst", 100, 1000}, {"", 1000, 60_000}, {"daily", perDay, int(length / time.Millisecond)}}})
				client, w := newClient(t, n.url)
				spender := client
				if test.other {
					spender, _ = newClient(t, n.url)
				}
				for _, id := range ids(perDay) {
					if _, err := spender.GetGenerationStatusWithResponse(t.Context(), id); err != nil {
						t.Fatal(err)
					}
				}
				before, start := len(w.calls), time.Now()
				p := quick(client)
				p.Timeout = 3 * time.Second
				errs := way.wait(t.Context(), p, ids(2))
				if len(errs) != 2 {
					t.Errorf("%d errors, want 2", len(errs))
				}
				for _, err := range errs {
					var ended *poller.WaitError
					if !errors.As(err, &ended) || !errors.Is(err, poller.ErrPause) || errors.Is(err, gamma.ErrRateLimited) != test.because429 {
						t.Errorf("%v", err)
						continue
					}
					if next := ended.NextPoll.Sub(start); next < length-2*time.Second || next > length*3/2 {
						t.Errorf("the next poll is after %v, want about %v", next, length)
					}
				}
				if requests, refused := len(w.calls)-before, w.count(http.StatusTooManyRequests); requests > test.requests || refused > test.refused {
					t.Errorf("%d requests, %d of them refused, want at most %d and %d", requests, refused, test.requests, test.refused)
				}
			})
		}
	}
}

// A restart forgets what was counted and breaks the requests in flight.
func TestThrottlerRestarts(t *testing.T) {
	t.Parallel()
	const generations = 60
	for _, way := range waits {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			n := startNest(t, settings{Finish: 3000, Limits: []limit{{"burst", 50, 1000}, {"", 1_000_000, 3_600_000}}})
			client, w := newClient(t, n.url)
			p := quick(client)
			ended := make(chan []error)
			go func() { ended <- way.wait(t.Context(), p, ids(generations)) }()
			eventually(t, "40 polls", func() bool { return len(n.entries()) >= 40 })
			n.kill()
			n.start()
			for _, err := range <-ended {
				t.Error(err)
			}
			t.Logf("%d requests, %d of them without a response, %d refused", len(w.calls), w.count(0), w.count(http.StatusTooManyRequests))
		})
	}
}

// What a loop without any knowledge of the limits does, for comparison with
// TestThrottlerWaits.
func TestThrottlerDrownsALoop(t *testing.T) {
	t.Parallel()
	n := startNest(t, settings{Shared: true, Finish: 1000, Limits: []limit{{"burst", 60, 2000}}})
	var all sync.WaitGroup
	for _, id := range ids(200) {
		all.Go(func() {
			for completed := false; !completed && t.Context().Err() == nil && n.refused() < 1000; {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.url+"/v1.0/generations/"+id, nil)
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("X-API-KEY", key)
				rsp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				var body api.GenerationStatusResponse
				_ = json.NewDecoder(rsp.Body).Decode(&body)
				rsp.Body.Close()
				completed = strings.EqualFold(string(body.Status), "completed")
				time.Sleep(100 * time.Millisecond)
			}
		})
	}
	all.Wait()
	if refused := n.refused(); refused < 1000 {
		t.Errorf("only %d requests were refused", refused)
	}
}
