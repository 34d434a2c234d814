package gammatest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

// NewClient uses neither the environment nor the network.
func TestNewClient(t *testing.T) {
	t.Setenv("GAMMA_API_KEY", "sk-gamma-other")
	t.Setenv("GAMMA_BASE_URL", "https://example.invalid")
	resolver := net.DefaultResolver
	net.DefaultResolver = nil
	defer func() { net.DefaultResolver = resolver }()
	test := func(t *testing.T) {
		client, g := NewClient(t, Pending(1), Completed(""))
		created, err := client.CreateGeneration(t.Context(), text(api.GenerationRequest{InputText: "tea", ExportAs: "pdf"}))
		if err != nil {
			t.Fatal(err)
		}
		p := poller.New(client)
		p.Interval = time.Millisecond
		gen, err := p.Wait(t.Context(), created.GenerationID)
		if err != nil {
			t.Fatal(err)
		}
		if err := client.DownloadFile(t.Context(), gen.ExportURL, t.TempDir()+"/deck.pdf"); err != nil {
			t.Error(err)
		}
		if len(g.Requests()) != 3 || len(g.Downloads()) != 1 {
			t.Errorf("%d requests, %d downloads", len(g.Requests()), len(g.Downloads()))
		}
	}
	t.Run("in a bubble", func(t *testing.T) { synctest.Test(t, test) })
	t.Run("outside", test)
}

// The links of a Handler lead to the host that the poll was sent to.
func TestNewHandler(t *testing.T) {
	g := NewHandler(t, Completed(""))
	for name, serve := range map[string]func(http.Handler) *httptest.Server{"http": httptest.NewServer, "https": httptest.NewTLSServer} {
		t.Run(name, func(t *testing.T) {
			server := serve(g)
			defer server.Close()
			client, err := gamma.NewClient(Key, gamma.WithBaseURL(server.URL), gamma.WithHTTPClient(server.Client()))
			if err != nil {
				t.Fatal(err)
			}
			id, link := export(t, client)
			if want := server.URL + "/exports/" + id + ".pdf?signature=1"; link != want {
				t.Errorf("the link is %s, want %s", link, want)
			}
			g.NextDownload(Drop(), CutAfter(20_000, Usual()))
			before := len(g.Downloads())
			var file bytes.Buffer
			if err := client.Download(t.Context(), link, &file); err != nil || !bytes.Equal(file.Bytes(), g.Export(id)) || len(g.Downloads()) != before+3 {
				t.Errorf("%d bytes after %d requests, %v", file.Len(), len(g.Downloads())-before, err)
			}
		})
	}
}

func TestHandlerAtAnotherHost(t *testing.T) {
	r := new(recorder)
	defer r.clean()
	g := NewHandler(r, Completed(""))
	g.Add("gen1")
	proto := ""
	send := func(target string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		request := newRequest(t, t.Context(), "GET", target)
		request.Host = "fake.example:8080"
		request.Header.Set("X-Forwarded-Proto", proto)
		g.ServeHTTP(w, request)
		return w
	}
	created := httptest.NewRecorder()
	o, _ := document.Operation("createGeneration")
	body, _ := json.Marshal(text(api.GenerationRequest{InputText: "tea", ExportAs: "pdf"}))
	request := httptest.NewRequestWithContext(t.Context(), o.Method, o.Path, bytes.NewReader(body))
	request.Header.Set("X-Api-Key", Key)
	request.Header.Set("Content-Type", "application/json")
	g.ServeHTTP(created, request)
	const link = "http://fake.example:8080/exports/gen000001.pdf?signature=1"
	if w := send("/v1.0/generations/gen000001"); w.Code != 200 || !strings.Contains(w.Body.String(), `"`+link+`"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	proto = "https" // a proxy ends TLS; the SDK does not download over plain http
	if w := send("/v1.0/generations/gen000001"); !strings.Contains(w.Body.String(), `"https://fake.example:8080/exports/`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if len(r.errors) > 0 {
		t.Errorf("reported %q", r.errors)
	}
	// A client that sends its headers to every host would reveal the key.
	if w := send(link); w.Code != 200 || len(r.errors) != 1 || !strings.Contains(r.errors[0], "a download has the header X-Api-Key") {
		t.Errorf("status %d, reported %q", w.Code, r.errors)
	}
}

// A fake that keeps no requests does not keep their bodies.
func TestMemoryOfALongRun(t *testing.T) {
	const creates, polls, limit = 50, 500, 1 << 20
	g := NewHandler(t)
	g.KeepRequests(0)
	g.OnCreate(func(request api.GenerationRequest) []Step {
		return []Step{PendingFor(time.Duration(len(request.InputText))), Completed(""), ForDownload(Drop())}
	})
	grown := longRun(t, g, creates, polls)
	t.Logf("%d KiB after %d creates of 96 KB and %d polls", grown>>10, creates, polls)
	if grown > limit {
		t.Errorf("the heap has grown by %d KiB, want %d at most", grown>>10, limit>>10)
	}
}

// longRun returns the growth of the heap.
func longRun(tb testing.TB, g *Handler, creates, polls int) int64 {
	tb.Helper()
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	o, _ := document.Operation("createGeneration")
	do := func(method, path string, body []byte) {
		r := httptest.NewRequestWithContext(tb.Context(), method, path, bytes.NewReader(body))
		if body == nil {
			r.Body = http.NoBody
		}
		r.Header.Set("X-Api-Key", Key)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		if g.ServeHTTP(w, r); w.Code >= 300 {
			tb.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
	}
	do("GET", "/v1.0/themes", nil)
	request := text(api.GenerationRequest{InputText: "tea", ExportAs: "pdf"})
	before := heap()
	for i := range creates {
		request.InputText = fmt.Sprint(i) + strings.Repeat(" tea", 24_000)
		body, err := json.Marshal(request)
		if err != nil {
			tb.Fatal(err)
		}
		do(o.Method, o.Path, body)
	}
	for i := range polls {
		do("GET", fmt.Sprintf("/v1.0/generations/gen%06d", i%creates+1), nil)
	}
	after := heap()
	runtime.KeepAlive(g)
	return after - before
}

// A day: what 2,000 creates of 96 KB and 50,000 polls leave in the heap.
func BenchmarkLongRun(b *testing.B) {
	for name, keep := range map[string]int{"none": 0, "all": -1} {
		b.Run("keep "+name, func(b *testing.B) {
			var grown int64
			for b.Loop() {
				g := NewHandler(b)
				g.KeepRequests(keep)
				grown += longRun(b, g, 2_000, 50_000)
			}
			b.ReportMetric(float64(grown)/float64(b.N)/(1<<20), "MiB/op")
		})
	}
}

// In memory, an hour of creating, waiting and downloading takes no time.
func TestEveryOperationInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, g := NewClient(t, PendingFor(3*time.Minute), Completed(""))
		g.SetThemes(api.ThemeItem{ID: "t", Name: "T", Type: "custom"})
		g.SetFolders()
		g.Next("createGeneration", RateLimited(time.Minute), Status(402))
		request := text(api.GenerationRequest{InputText: "tea", ExportAs: "pdf"})
		if _, err := client.CreateGeneration(t.Context(), request); !errors.Is(err, gamma.ErrInsufficientCredits) {
			t.Errorf("%v", err)
		}
		g.Next("createGeneration", Drop())
		if _, err := client.CreateGeneration(t.Context(), request); !errors.Is(err, gamma.ErrMaybeCreated) {
			t.Errorf("%v", err)
		}
		created, err := client.CreateGeneration(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		gen, err := poller.New(client).Wait(t.Context(), created.GenerationID)
		if err != nil {
			t.Fatal(err)
		}
		var export bytes.Buffer
		g.NextDownload(Times(2, CutAfter(1000, Usual())))
		if err := client.Download(context.WithoutCancel(t.Context()), gen.ExportURL, &export); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(export.Bytes(), g.Export(gen.GenerationID)) || len(g.Downloads()) != 3 {
			t.Errorf("%d bytes in %d requests", export.Len(), len(g.Downloads()))
		}
		for theme, err := range client.Themes(t.Context(), nil) {
			if err != nil || theme.ID != "t" {
				t.Errorf("%+v %v", theme, err)
			}
		}
		for folder, err := range client.Folders(t.Context(), nil) {
			t.Errorf("%+v %v", folder, err)
		}
	})
}
