package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/poller"
)

// browser returns the context of a tab in a headless browser, and skips the test where
// there is none, except in CI.
func browser(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	switch {
	case path == "" && os.Getenv("CI") != "":
		t.Fatal("there is no Chromium, which internal/ci/browser.sh installs in CI")
	case path == "":
		t.Skip("there is no Chromium or Chrome on PATH")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.WSURLReadTimeout(time.Minute),
		chromedp.NoSandbox) // root and many containers cannot have it, and the only page is the test's own
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // it takes seconds
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	return ctx
}

func TestBrowser(t *testing.T) {
	const interval = 100 * time.Millisecond
	tab := browser(t)
	client, g := gammatest.NewClient(t, gammatest.Pending(1_000_000))
	p := poller.New(client)
	p.Interval = interval
	h := handler(t.Context(), client, p)
	var streams atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/events") {
			streams.Add(1)
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	do := func(tab context.Context, what string, actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(tab, actions...); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	get := func(tab context.Context, expression string) string {
		t.Helper()
		value, err := chromedp.Run(tab, chromedp.Evaluate[string](expression))
		if err != nil {
			t.Fatalf("%s: %v", expression, err)
		}
		return value
	}
	listen := func(tab context.Context) {
		err := chromedp.Listen(tab, func(ev any) {
			switch ev := ev.(type) {
			case *runtime.EventExceptionThrown:
				t.Errorf("the script of the page failed: %v", ev.ExceptionDetails)
			case *log.EventEntryAdded:
				if ev.Entry.Source == log.EntrySourceSecurity {
					t.Errorf("the browser says: %s", ev.Entry.Text)
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	atWork := chromedp.Steps(chromedp.WaitReady(chromedp.CSS("main p")), chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := chromedp.Poll[bool](`document.querySelector("main").innerText.startsWith("Gamma is at work (polls: ")`, chromedp.WithPollingInterval(interval))(ctx, target)
		return err
	}))
	done := chromedp.WaitVisible(chromedp.CSS("main a"))
	listen(tab)

	do(tab, "submit the form", chromedp.Navigate(server.URL+"/decks/"),
		chromedp.SendKeys(chromedp.CSS("textarea"), "A short history of <b>tea</b>"), chromedp.DoubleClick(chromedp.CSS("button")))
	do(tab, "see the progress", atWork)
	do(tab, "see the progress after a reload", chromedp.Reload(), atWork)
	page := get(tab, "location.href")
	other, cancel := chromedp.NewContext(tab)
	defer cancel()
	listen(other)
	do(other, "see the progress in a second tab", chromedp.Navigate(page), atWork)

	before := streams.Load()
	server.CloseClientConnections()
	for deadline := time.Now().Add(time.Minute); streams.Load() < before+1; {
		if time.Now().After(deadline) {
			t.Fatal("no tab has connected again")
		}
		do(other, "see the progress after a lost connection", atWork)
	}

	_, id, _ := strings.Cut(page, "/decks/")
	g.Add(id, gammatest.Completed(""))
	for _, tab := range []context.Context{other, tab} {
		do(tab, "see the result", done)
		if link := get(tab, `document.querySelector("main a").href`); link != "https://gamma.app/docs/g_"+id {
			t.Errorf("the link is %q", link)
		}
	}
	do(tab, "see the result after a reload", chromedp.Reload(), done)

	creates, first, last, polls := 0, time.Time{}, time.Time{}, 0
	for _, r := range g.Requests() {
		switch {
		case r.Method == http.MethodPost:
			creates++
		case polls == 0:
			first = r.Time
			fallthrough
		default:
			polls, last = polls+1, r.Time
		}
	}
	if most := int(last.Sub(first)/interval) + 2; creates != 1 || polls > most {
		t.Errorf("%d creates and %d polls, want 1 and at most %d", creates, polls, most)
	}
}
