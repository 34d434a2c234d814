package gammatest

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
)

// export creates a generation, and returns its link of now.
func export(t *testing.T, client *gamma.Client) (id, link string) {
	t.Helper()
	created, err := client.CreateGeneration(t.Context(), text(api.GenerationRequest{InputText: "tea", ExportAs: "pdf"}))
	if err != nil {
		t.Fatal(err)
	}
	return created.GenerationID, linkOf(t, client, created.GenerationID)
}

func linkOf(t *testing.T, client *gamma.Client, id string) string {
	t.Helper()
	rsp, err := client.GetGenerationStatusWithResponse(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return rsp.JSON200.ExportURL
}

func TestNextDownload(t *testing.T) {
	for name, tt := range map[string]struct {
		steps    []Step
		requests int
		least    time.Duration
		err      error
	}{
		"no step":              {nil, 1, 0, nil},
		"as usual":             {[]Step{Usual()}, 1, 0, nil},
		"403":                  {[]Step{Status(403)}, 1, 0, gamma.ErrLinkExpired},
		"410":                  {[]Step{Status(410)}, 1, 0, gamma.ErrLinkExpired},
		"200, HTML page":       {[]Step{Raw(200, "text/html", "<p>")}, 1, 0, gamma.ErrUnexpectedResponse},
		"503 twice":            {[]Step{Times(2, Status(503))}, 3, 0, nil},
		"Drop":                 {[]Step{Drop()}, 2, 0, nil},
		"cut three times":      {[]Step{Times(3, CutAfter(20_000, Usual()))}, 4, 0, nil},
		"cut in the middle":    {[]Step{Cut(Usual())}, 2, 0, nil},
		"cut at once":          {[]Step{CutAfter(0, Usual())}, 2, 0, nil},
		"slow":                 {[]Step{Slow(1024, Usual())}, 1, 100 * time.Second, nil},
		"late":                 {[]Step{Delay(20*time.Second, Usual())}, 1, 20 * time.Second, nil},
		"no response":          {[]Step{Hang()}, 2, 30 * time.Second, nil},
		"expires when resumed": {[]Step{Slow(1024, CutAfter(51_200, Usual())), Status(403)}, 2, 50 * time.Second, gamma.ErrLinkExpired},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				client, g := NewClient(t, Completed(""))
				id, link := export(t, client)
				g.NextDownload(tt.steps...)
				path := filepath.Join(dir, "deck.pdf")
				start := time.Now()
				err := client.DownloadFile(t.Context(), link, path)
				if !errors.Is(err, tt.err) || time.Since(start) < tt.least || len(g.Downloads()) != tt.requests {
					t.Errorf("%v after %v and %d requests", err, time.Since(start), len(g.Downloads()))
				}
				if file, _ := os.ReadFile(path); tt.err == nil && !bytes.Equal(file, g.Export(id)) {
					t.Errorf("a file of %d bytes", len(file))
				}
			})
		})
	}
}

func TestNextDownloadOnASocket(t *testing.T) {
	g := NewServer(t, Completed(""))
	client, err := gamma.NewClient(Key, gamma.WithBaseURL(g.URL))
	if err != nil {
		t.Fatal(err)
	}
	id, link := export(t, client)
	g.NextDownload(CutAfter(20_000, Usual()), Drop(), Slow(10_000_000, Usual()))
	var file bytes.Buffer
	if err := client.Download(t.Context(), link, &file); err != nil || !bytes.Equal(file.Bytes(), g.Export(id)) || len(g.Downloads()) != 3 {
		t.Errorf("%d bytes after %d requests, %v", file.Len(), len(g.Downloads()), err)
	}
}

func TestNextDownloadReportsMistakes(t *testing.T) {
	const state = "gammatest: downloads: the step must be Usual or a fault"
	r := new(recorder)
	defer r.clean()
	client, g := NewClient(r, Completed(""))
	_, link := export(t, client)
	g.NextDownload(Pending(1), Completed(""), JSON("x"), PendingFor(1), Times(0, Drop()))
	if want := []string{"gammatest: downloads: a step with a time is only for the life of a generation", state, state, state}; !slices.Equal(r.errors, want) {
		t.Errorf("reported %q, want %q", r.errors, want)
	}
	if err := client.Download(t.Context(), link, new(bytes.Buffer)); err != nil || len(g.Downloads()) != 1 {
		t.Errorf("%v after %d requests", err, len(g.Downloads()))
	}
}

func TestLinksExpire(t *testing.T) {
	const week = 7 * 24 * time.Hour
	for name, tt := range map[string]struct {
		set  func(*API)
		wait time.Duration
		err  error
	}{
		"before a week":        {func(*API) {}, week - 1, nil},
		"after a week":         {func(*API) {}, week, gamma.ErrLinkExpired},
		"ExpireLinks":          {(*API).ExpireLinks, 0, gamma.ErrLinkExpired},
		"before the lifetime":  {func(g *API) { g.SetLinkLifetime(time.Minute) }, time.Minute - 1, nil},
		"after the lifetime":   {func(g *API) { g.SetLinkLifetime(time.Minute) }, time.Minute, gamma.ErrLinkExpired},
		"lifetime made longer": {func(g *API) { g.SetLinkLifetime(time.Minute); g.SetLinkLifetime(time.Hour) }, time.Minute, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, g := NewClient(t, Pending(1), Completed(""))
				id, none := export(t, client)
				time.Sleep(time.Hour) // a link is given with the status, not before
				link := linkOf(t, client, id)
				if again := linkOf(t, client, id); none != "" || link == "" || again != link {
					t.Errorf("links %q, then %q, then %q", none, link, again)
				}
				tt.set(g)
				time.Sleep(tt.wait)
				if err := client.Download(t.Context(), link, new(bytes.Buffer)); !errors.Is(err, tt.err) {
					t.Errorf("%v, want %v", err, tt.err)
				}
				again := linkOf(t, client, id)
				if (again == link) != (tt.err == nil) {
					t.Errorf("the next link is %s", again)
				}
				if err := client.Download(t.Context(), again, new(bytes.Buffer)); err != nil {
					t.Errorf("the next link: %v", err)
				}
			})
		})
	}
}

func TestLinkLifetimeIsPositive(t *testing.T) {
	r := new(recorder)
	g := NewTransport(r)
	g.SetLinkLifetime(0)
	g.SetLinkLifetime(-time.Second)
	if want := []string{"gammatest: SetLinkLifetime(0s): the time must be positive", "gammatest: SetLinkLifetime(-1s): the time must be positive"}; !slices.Equal(r.errors, want) {
		t.Errorf("reported %q, want %q", r.errors, want)
	}
}

func TestOnlyTheLinkIsServed(t *testing.T) {
	client, g := NewClient(t, Completed(""))
	_, link := export(t, client)
	g.Add("gen1", Completed("")) // without an export
	transport := &Transport{g}
	for _, tt := range []struct {
		method, url string
		status      int
	}{
		{"GET", link, 200},
		{"HEAD", link, 403},
		{"GET", link + "0", 403},
		{"GET", "https://" + filesHost + "/exports/gen000001.pptx?signature=1", 403},
		{"GET", "https://" + filesHost + "/exports/gen1.?signature=0", 403},
		{"GET", "https://" + filesHost + "/exports/gen2.pdf?signature=1", 403},
	} {
		request := newRequest(t, t.Context(), tt.method, tt.url)
		request.Header.Del("X-Api-Key")
		if a := send(transport, request); a.status != tt.status {
			t.Errorf("%s %s: status %d, want %d", tt.method, tt.url, a.status, tt.status)
		}
	}
}

func TestKeyAtTheHostOfExports(t *testing.T) {
	r := &recorder{}
	g := NewTransport(r)
	defer r.clean()
	request := newRequest(t, t.Context(), "GET", "https://"+filesHost+"/exports/gen1.pdf?signature=0") // with the key
	if a := send(g, request); a.status != 403 || len(r.errors) != 1 {
		t.Errorf("%d %v", a.status, r.errors)
	}
}
