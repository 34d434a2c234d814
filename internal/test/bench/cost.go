package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/internal/test/performance"
)

// canned is a transport that returns the same response to every request, with two
// allocations. It is for one goroutine, because its responses share their header.
type canned struct {
	body   string
	header http.Header
}

const (
	pendingBody   = `{"generationId":"gen1","status":"pending"}`
	completedBody = `{"generationId":"gen1","status":"completed","gammaId":"g_abcdef123456","gammaUrl":"https://gamma.app/docs/abcdef123456","exportUrl":"https://assets.api.gamma.app/export/pdf/abcdef123456/0123456789abcdef/Deck.pdf?signature=0123456789abcdef","credits":{"deducted":25,"remaining":4975}}`
)

func newCanned(body string) *canned {
	return &canned{body, http.Header{"Content-Type": {"application/json"}}}
}

func (c *canned) RoundTrip(req *http.Request) (*http.Response, error) {
	return response(req, c.body, c.header), nil
}

// response is status 200.
func response(req *http.Request, body string, header http.Header) *http.Response {
	reader := new(text)
	reader.Reset(body)
	return &http.Response{
		Status:        "200 OK",
		StatusCode:    http.StatusOK,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        header,
		Body:          reader,
		ContentLength: int64(len(body)),
		Request:       req,
	}
}

// text is a body in one allocation.
type text struct{ strings.Reader }

func (*text) Close() error { return nil }

// ok is a response with a separate header.
func ok(req *http.Request, body string) *http.Response {
	return response(req, body, http.Header{"Content-Type": {"application/json"}})
}

// cost measures one poll, in memory and over loopback.
func cost(ctx context.Context, s scale) ([]performance.Table, error) {
	t, err := inMemory(ctx, s)
	if err != nil {
		return nil, err
	}
	tables := []performance.Table{t}
	for _, protocol := range []string{"h1", "h2"} {
		t, err := overLoopback(ctx, s, protocol)
		if err != nil {
			return nil, err
		}
		tables = append(tables, t)
	}
	return tables, nil
}

// inMemory compares the clients with a transport that costs next to nothing.
func inMemory(ctx context.Context, s scale) (performance.Table, error) {
	t := performance.Table{
		Title: performance.InMemory,
		Head:  []string{""},
		Note:  "Wall time on one goroutine. The transport is a fake in memory that makes two of the allocations. The ratios are to the first row.",
	}
	for _, status := range []string{"pending", "completed"} {
		for _, figure := range []string{"ns", "ratio", "B", "allocations"} {
			t.Head = append(t.Head, status+": "+figure)
		}
	}
	for _, p := range peers {
		t.Rows = append(t.Rows, []string{p.name})
	}
	for _, body := range []string{pendingBody, completedBody} {
		transport := newCanned(body)
		polls := make([]poll, len(peers))
		figures := make([]spending, len(peers))
		for i, p := range peers {
			var err error
			if polls[i], err = p.connect(fakeURL, transport); err != nil {
				return t, fmt.Errorf("%s: %w", p.name, err)
			}
		}
		for range pick(s, 25, 3) {
			for i := range peers {
				if err := figures[i].add(ctx, polls[i], pick(s, 60*time.Millisecond, 10*time.Millisecond)); err != nil {
					return t, fmt.Errorf("%s: %w", peers[i].name, err)
				}
			}
		}
		for i, f := range figures {
			t.Rows[i] = append(t.Rows[i], number(f.ns.median(), 0), times(f.ns.of(figures[0].ns)), number(f.bytes.median(), 0), number(f.allocs.median(), 0))
		}
	}
	return t, nil
}

// spending is what one poll costs in memory, a figure for each turn.
type spending struct{ ns, bytes, allocs rounds }

// add polls for about d.
func (s *spending) add(ctx context.Context, p poll, d time.Duration) error {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start, n := time.Now(), 0
	for time.Since(start) < d {
		for range 64 {
			if _, err := p(ctx, "gen1"); err != nil {
				return err
			}
		}
		n += 64
	}
	elapsed := time.Since(start)
	runtime.ReadMemStats(&after)
	s.ns = append(s.ns, float64(elapsed)/float64(n))
	s.bytes = append(s.bytes, float64((after.TotalAlloc-before.TotalAlloc)/uint64(n)))
	// Whole allocations, as package testing counts them: the rest is the runtime's.
	s.allocs = append(s.allocs, float64((after.Mallocs-before.Mallocs)/uint64(n)))
	return nil
}

// contestant is a client with a transport.
type contestant struct {
	peer
	shared bool // the SDK's transport instead of the client's
}

// transport returns a new transport for each measurement, or nil for the client's.
func (c contestant) transport() *http.Transport {
	if c.shared {
		return gamma.NewTransport()
	}
	return nil
}

// overLoopback compares the CPU time of the clients, without that of the server.
func overLoopback(ctx context.Context, s scale, protocol string) (performance.Table, error) {
	pollers := pick(s, []int{1, 64, 1000}, []int{1, 16})
	t := performance.Table{
		Title: map[string]string{"h1": performance.Loopback, "h2": "One poll over loopback, HTTP/2"}[protocol],
		Head:  []string{"", "transport"},
		Note: "CPU time of the client's process per poll, user and system, all cores; the server is another process on the same machine. " +
			"Wall time is that of the whole run divided by its polls. Each ratio is to the CPU time of bare `net/http` with the same transport.",
	}
	var contestants []contestant
	for _, shared := range []bool{false, true} {
		for _, p := range peers {
			contestants = append(contestants, contestant{p, shared})
			t.Rows = append(t.Rows, []string{p.name, map[bool]string{false: "the client's", true: "`gamma.NewTransport`"}[shared]})
		}
	}
	for _, n := range pollers {
		log.Printf("over loopback, %s, %d pollers", protocol, n)
		unit := " pollers: "
		if n == 1 {
			unit = " poller: "
		}
		t.Head = append(t.Head, number(float64(n), 0)+unit+"CPU µs", "ratio", "wall µs")
		cpu, wall := make([]rounds, len(contestants)), make([]rounds, len(contestants))
		for range pick(s, 5, 1) {
			for i, c := range contestants {
				used, elapsed, err := load(ctx, c, protocol, n, pick(s, 400*time.Millisecond, 50*time.Millisecond))
				if err != nil {
					return t, fmt.Errorf("%s, %d pollers: %w", c.name, n, err)
				}
				cpu[i], wall[i] = append(cpu[i], used), append(wall[i], elapsed)
			}
		}
		for i, c := range contestants {
			base := cpu[0]
			if c.shared {
				base = cpu[len(peers)]
			}
			t.Rows[i] = append(t.Rows[i], number(cpu[i].median(), 1), times(cpu[i].of(base)), number(wall[i].median(), 1))
		}
	}
	return t, nil
}
