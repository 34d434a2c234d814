package gammatest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

func TestUsualCreate(t *testing.T) {
	client, g := NewClient(t, Completed(""))
	g.Next("createGeneration", Usual(), Status(402), Times(2, Usual()), Status(503))
	request := text(api.GenerationRequest{InputText: "tea"})
	for i, want := range []struct {
		id  string
		err error
	}{{"gen000001", nil}, {"", gamma.ErrInsufficientCredits}, {"gen000002", nil}, {"gen000003", nil}, {"", gamma.ErrMaybeCreated}, {"gen000004", nil}} {
		created, err := client.CreateGeneration(t.Context(), request)
		if created.GenerationID != want.id || !errors.Is(err, want.err) {
			t.Errorf("create %d: %+v, %v; want %+v", i+1, created, err, want)
		}
	}
}

func TestUsualPoll(t *testing.T) {
	both(t, func(t *testing.T, g *API, get func(string) got) {
		g.Add("gen1", Pending(1), Delay(1, Header("X-Own", "1", Completed(""))))
		g.Next("getGenerationStatus", Usual(), Status(503), Header("X-A", "1", Delay(1, Usual())), Cut(Usual()), CutAfter(3, Slow(1_000_000, Usual())))
		for i, want := range []struct {
			status int
			body   string
			cut    bool
			header string
		}{
			{200, pendingBody, false, ""},
			{503, `{"message":"Service Unavailable","statusCode":503}`, false, ""},
			{200, completedBody, false, "1"},
			{200, completedBody[:len(completedBody)/2], true, ""},
			{200, completedBody[:3], true, ""},
			{200, completedBody, false, ""},
		} {
			a := get("gen1")
			if a.status != want.status || a.body != want.body || errors.Is(a.readErr, io.ErrUnexpectedEOF) != want.cut || a.header.Get("X-A") != want.header || (a.header.Get("X-Own") != "") != (i > 1) {
				t.Errorf("poll %d: %+v, want %+v", i+1, a, want)
			}
		}
		g.Next("getGenerationStatus", Usual())
		if a := get("gen2"); a.status != 404 {
			t.Errorf("unknown id: status %d", a.status)
		}
	})
}

// The generation is created, but the client does not learn its id.
func TestUsualCreateThatIsCutOff(t *testing.T) {
	for name, tt := range map[string]struct {
		step Step
		took time.Duration
	}{
		"cut":  {CutAfter(5, Usual()), 0},
		"late": {Delay(time.Minute, Usual()), 15 * time.Second},
		"slow": {Slow(1, Usual()), 15 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, g := NewClient(t, Completed(""))
				g.Next("createGeneration", tt.step)
				start := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
				defer cancel()
				if created, err := client.CreateGeneration(ctx, text(api.GenerationRequest{InputText: "tea"})); !errors.Is(err, gamma.ErrMaybeCreated) {
					t.Errorf("%+v, %v", created, err)
				}
				if took := time.Since(start); took != tt.took {
					t.Errorf("it took %v, want %v", took, tt.took)
				}
				if _, err := poller.New(client).Wait(t.Context(), "gen000001"); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestUsualIsNotInTheLifeOfAGeneration(t *testing.T) {
	r := new(recorder)
	defer r.clean()
	client, g := NewClient(r, Usual())
	g.Add("gen1", Times(2, Usual()), Completed(""))
	g.OnCreate(func(api.GenerationRequest) []Step { return []Step{Usual()} })
	if _, err := client.CreateGeneration(t.Context(), text(api.GenerationRequest{InputText: "tea"})); err != nil {
		t.Error(err)
	}
	want := []string{
		"gammatest: created generations: Usual is only for Next, NextDownload, ForCreate and ForDownload",
		"gammatest: generation gen1: Usual is only for Next, NextDownload, ForCreate and ForDownload",
		"gammatest: created generation: Usual is only for Next, NextDownload, ForCreate and ForDownload",
	}
	if !slices.Equal(r.errors, want) {
		t.Errorf("reported %q, want %q", r.errors, want)
	}
	for id, want := range map[string]string{"gen1": "completed", "gen000001": "pending"} {
		gen, err := client.GetGenerationStatusWithResponse(t.Context(), id)
		if err != nil || string(gen.JSON200.Status) != want {
			t.Errorf("%s: %+v, %v; want %s", id, gen, err, want)
		}
	}
}

func TestExportPendingFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := NewClient(t, PendingFor(time.Minute), ExportPendingFor(90*time.Second), Completed(""))
		created, err := client.CreateGeneration(t.Context(), text(api.GenerationRequest{InputText: "tea", ExportAs: "pdf"}))
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for _, tt := range []struct {
			at       time.Duration
			status   string
			exported bool
		}{
			{0, "pending", false},
			{time.Minute - 1, "pending", false},
			{time.Minute, "completed", false},
			{150*time.Second - 1, "completed", false},
			{150 * time.Second, "completed", true},
			{time.Hour, "completed", true},
		} {
			time.Sleep(time.Until(start.Add(tt.at)))
			rsp, err := client.GetGenerationStatusWithResponse(t.Context(), created.GenerationID)
			if err != nil {
				t.Fatal(err)
			}
			if gen := rsp.JSON200; string(gen.Status) != tt.status || (gen.ExportURL != "") != tt.exported || (gen.GammaURL != "") != (tt.status == "completed") {
				t.Errorf("after %v: %+v, want %+v", tt.at, gen, tt)
			}
		}
	})
}

func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewTransport(t)
		g.Add("gen1", Slow(10, Pending(1)), Slow(10, Raw(200, "text/plain", strings.Repeat("x", 100))))
		for _, want := range []time.Duration{time.Duration(len(pendingBody)) * time.Second / 10, 10 * time.Second} {
			start := time.Now()
			rsp, err := g.RoundTrip(newRequest(t, t.Context(), "GET", "https://x/v1.0/generations/gen1"))
			if err != nil || time.Since(start) != 0 {
				t.Fatalf("%v after %v", err, time.Since(start))
			}
			if n, err := io.Copy(io.Discard, rsp.Body); n != rsp.ContentLength || err != nil {
				t.Errorf("%d bytes of %d, %v", n, rsp.ContentLength, err)
			}
			if took := time.Since(start); took != want {
				t.Errorf("it took %v, want %v", took, want)
			}
		}
	})
}

func TestSlowEnds(t *testing.T) {
	t.Run("with the context", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			client, g := NewClient(t)
			g.Add("gen1", Slow(1, Pending(1)))
			start := time.Now()
			if _, err := client.GetGenerationStatusWithResponse(t.Context(), "gen1"); err == nil || time.Since(start) != 15*time.Second {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		})
	})
	t.Run("with the fake", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := new(recorder)
			g := NewTransport(r)
			g.Add("gen1", Slow(1, Pending(1)))
			time.AfterFunc(2500*time.Millisecond, r.clean)
			if a := send(g, newRequest(t, t.Context(), "GET", "https://x/v1.0/generations/gen1")); !errors.Is(a.readErr, io.ErrUnexpectedEOF) || len(a.body) != 2 {
				t.Errorf("%+v", a)
			}
		})
	})
	t.Run("with the server", func(t *testing.T) {
		r := new(recorder)
		g := NewServer(r)
		g.Add("gen1", Slow(20, Pending(1)))
		transport := &http.Transport{}
		defer transport.CloseIdleConnections()
		rsp, err := transport.RoundTrip(newRequest(t, t.Context(), "GET", g.URL+"/v1.0/generations/gen1"))
		if err != nil {
			t.Fatal(err)
		}
		defer rsp.Body.Close()
		if _, err := io.ReadFull(rsp.Body, make([]byte, 2)); err != nil {
			t.Error(err)
		}
		r.clean()
		if _, err := io.ReadAll(rsp.Body); err == nil {
			t.Error("the body arrived complete")
		}
	})
}

func TestSlowOnASocket(t *testing.T) {
	g := NewServer(t)
	g.Add("gen1", Slow(2000, Pending(1)))
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	start := time.Now()
	a := send(transport, newRequest(t, t.Context(), "GET", g.URL+"/v1.0/generations/gen1"))
	if a.body != pendingBody || a.readErr != nil || time.Since(start) < time.Duration(len(pendingBody))*time.Second/2000 {
		t.Errorf("%+v after %v", a, time.Since(start))
	}
}

func TestCutAfter(t *testing.T) {
	both(t, func(t *testing.T, g *API, get func(string) got) {
		for n, cut := range map[int]bool{0: true, 10: true, len(completedBody) - 1: true, len(completedBody): false, 1 << 20: false} {
			g.Add("gen1", CutAfter(n, Completed("")))
			a := get("gen1")
			if a.status != 200 || a.body != completedBody[:min(n, len(completedBody))] || errors.Is(a.readErr, io.ErrUnexpectedEOF) != cut {
				t.Errorf("after %d bytes: %+v", n, a)
			}
		}
	})
}

func TestInvalidSteps(t *testing.T) {
	for want, step := range map[string]Step{
		"CutAfter(-1): the number must not be negative": CutAfter(-1, Pending(1)),
		"Slow(0): the number must be positive":          Slow(0, Pending(1)),
		"Slow(-1): the number must be positive":         Slow(-1, Usual()),
		"export pending for a negative time: -1s":       ExportPendingFor(-time.Second),
		"Times(-1): the number must not be negative":    Times(-1, Usual()),
		"json: unsupported type: func()":                JSON(func() {}),
		"100 is not a response status":                  Header("A", "1", Status(100)),
		"1000 is not a response status":                 Raw(1000, "", ""),
		"pending for a negative time: -1ns":             PendingFor(-1),
	} {
		r := new(recorder)
		g := NewTransport(r)
		g.Add("gen1", step)
		g.Next("listThemes", step)
		g.NextDownload(step)
		if all := []string{"gammatest: generation gen1: " + want, "gammatest: listThemes: " + want, "gammatest: downloads: " + want}; !slices.Equal(r.errors, all) {
			t.Errorf("reported %q, want %q", r.errors, all)
		}
		r.clean()
	}
}

func TestStepsAreValues(t *testing.T) {
	step := Header("A", "1", Pending(1))
	one, two := Header("B", "1", step), Header("B", "2", step)
	both(t, func(t *testing.T, g *API, get func(string) got) {
		g.Add("gen1", one, two, step)
		var seen bytes.Buffer
		for range 3 {
			h := get("gen1").header
			seen.WriteString(h.Get("A") + h.Get("B") + " ")
		}
		if seen.String() != "11 12 1 " {
			t.Errorf("headers %s", seen.String())
		}
	})
}

func TestForCreate(t *testing.T) {
	for name, tt := range map[string]struct {
		steps   []Step
		err     error // of the first create
		created int   // in all, after a second one
	}{
		"not used":             {[]Step{Completed("")}, nil, 2},
		"a fault":              {[]Step{ForCreate(Status(402)), Completed("")}, gamma.ErrInsufficientCredits, 1},
		"the only step":        {[]Step{ForCreate(Status(402))}, gamma.ErrInsufficientCredits, 1},
		"a drop":               {[]Step{Completed(""), ForCreate(Drop())}, gamma.ErrMaybeCreated, 1},
		"a cut response":       {[]Step{ForCreate(CutAfter(5, Usual())), Completed("")}, gamma.ErrMaybeCreated, 2},
		"a usual response":     {[]Step{ForCreate(Usual()), Completed("")}, nil, 2},
		"zero times":           {[]Step{ForCreate(Times(0, Drop())), Completed("")}, nil, 2},
		"the last role":        {[]Step{ForCreate(ForDownload(Status(402)))}, gamma.ErrInsufficientCredits, 1},
		"a delayed fault":      {[]Step{ForCreate(Delay(time.Second, Status(402)))}, gamma.ErrInsufficientCredits, 1},
		"no response":          {[]Step{ForCreate(Hang())}, gamma.ErrMaybeCreated, 1},
		"a malformed response": {[]Step{ForCreate(Malformed("{"))}, gamma.ErrMaybeCreated, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, g := NewClient(t)
				g.OnCreate(func(request api.GenerationRequest) []Step {
					if request.InputText == "first" {
						return tt.steps
					}
					return nil
				})
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				_, err := client.CreateGeneration(ctx, text(api.GenerationRequest{InputText: "first"}))
				if !errors.Is(err, tt.err) || tt.err == nil && err != nil {
					t.Errorf("%v, want %v", err, tt.err)
				}
				c, err := client.CreateGeneration(t.Context(), text(api.GenerationRequest{InputText: "second"}))
				if want := fmt.Sprintf("gen%06d", tt.created); err != nil || c.GenerationID != want {
					t.Errorf("%+v, %v; want %s", c, err, want)
				}
			})
		})
	}
}

// Steps for one generation do not affect another.
func TestForDownload(t *testing.T) {
	client, g := NewClient(t, Completed(""))
	g.OnCreate(func(request api.GenerationRequest) []Step {
		if request.InputText != "broken" {
			return nil
		}
		return []Step{ForDownload(Times(2, Status(503))), Completed(""), ForDownload(CutAfter(10, Usual())), ForDownload(Usual())}
	})
	links := map[string]string{}
	for _, name := range []string{"sound", "broken"} {
		c, err := client.CreateGeneration(t.Context(), text(api.GenerationRequest{InputText: name, ExportAs: "pdf"}))
		if err != nil {
			t.Fatal(err)
		}
		links[name] = linkOf(t, client, c.GenerationID)
	}
	transport := &Transport{g}
	get := func(name string) string {
		request := newRequest(t, t.Context(), "GET", links[name])
		request.Header.Del("X-Api-Key")
		a := send(transport, request)
		return fmt.Sprint(a.status, " ", a.readErr)
	}
	for i, want := range []string{"503 <nil>", "503 <nil>", "200 unexpected EOF", "200 <nil>", "200 <nil>"} {
		if i == 2 {
			g.NextDownload(Status(500), Header("A", "1", Usual())) // comes first
			if got := get("broken"); got != "500 <nil>" {
				t.Errorf("download with a step of NextDownload: %s", got)
			}
		}
		if got := get("broken"); got != want {
			t.Errorf("download %d: %s, want %s", i+1, got, want)
		}
		if got := get("sound"); got != "200 <nil>" {
			t.Errorf("download of the other: %s", got)
		}
	}
}

// The steps of NewClient are used where OnCreate returns none.
func TestOnCreateWithSomeSteps(t *testing.T) {
	client, g := NewClient(t, Failed(422, "x"), ForDownload(Drop()), ForCreate(Header("X-Request-Id", "mine", Usual())))
	g.OnCreate(func(api.GenerationRequest) []Step { return []Step{Completed("")} })
	id, link := export(t, client)
	if err := client.Download(t.Context(), link, io.Discard); err != nil || len(g.Downloads()) != 2 {
		t.Errorf("%v after %d downloads of %s", err, len(g.Downloads()), id)
	}
	g.OnCreate(func(api.GenerationRequest) []Step { return []Step{ForCreate(Status(402)), ForDownload(Usual())} })
	if _, err := client.CreateGeneration(t.Context(), text(api.GenerationRequest{InputText: "tea"})); !errors.Is(err, gamma.ErrInsufficientCredits) {
		t.Error(err)
	}
	g.OnCreate(nil)
	c, err := client.CreateGeneration(t.Context(), text(api.GenerationRequest{InputText: "tea"}))
	if err != nil {
		t.Fatal(err)
	}
	if rsp, err := client.GetGenerationStatusWithResponse(t.Context(), c.GenerationID); err != nil || rsp.JSON200.Status != api.GenerationStatusFailed {
		t.Errorf("%+v, %v", rsp, err)
	}
}

func TestRolesReportMistakes(t *testing.T) {
	for name, tt := range map[string]struct {
		f    func(*API)
		want string
	}{
		"state":           {func(g *API) { g.Add("gen1", ForDownload(Pending(1))) }, "generation gen1: downloads: the step must be Usual or a fault"},
		"time":            {func(g *API) { g.Add("gen1", ForDownload(PendingFor(1))) }, "generation gen1: downloads: a step with a time is only for the life of a generation"},
		"invalid":         {func(g *API) { g.Add("gen1", ForDownload(Status(1))) }, "generation gen1: downloads: 1 is not a response status"},
		"nothing creates": {func(g *API) { g.Add("gen1", ForCreate(Drop())) }, "generation gen1: ForCreate is of no use: no request creates it"},
		"no export":       {func(g *API) { g.Add("gen1", ForDownload(Drop())) }, "generation gen1: ForDownload is of no use: it has no export"},
		"next":            {func(g *API) { g.Next("listThemes", ForCreate(Drop())) }, "listThemes: ForCreate and ForDownload are only for the life of a generation"},
		"next download":   {func(g *API) { g.NextDownload(ForDownload(Drop())) }, "downloads: ForCreate and ForDownload are only for the life of a generation"},
	} {
		t.Run(name, func(t *testing.T) {
			r := new(recorder)
			defer r.clean()
			g := NewTransport(r)
			if tt.f(g.API); len(r.errors) != 1 || r.errors[0] != "gammatest: "+tt.want {
				t.Errorf("reported %q, want %q", r.errors, tt.want)
			}
		})
	}
	r := new(recorder)
	defer r.clean()
	NewTransport(r, ForCreate(Times(2, Drop())))
	if want := "gammatest: created generations: 2 steps for the create, want at most 1"; len(r.errors) != 1 || r.errors[0] != want {
		t.Errorf("reported %q, want %q", r.errors, want)
	}
}
