package batch

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
)

func TestDownload(t *testing.T) {
	late := func(_ *http.Request, next func() *http.Response) (*http.Response, error) {
		time.Sleep(2 * time.Minute) // for longer than the link works
		return next(), nil
	}
	for _, tt := range []struct {
		name     string
		hook     hook
		linkLife time.Duration
		saved    bool
		err      error
		links    int
	}{
		{"at once", nil, 0, true, nil, 1},
		{"a link that has expired", first(1, responds(403, "")), 0, true, nil, 2},
		{"two links that have expired", first(2, responds(410, "")), 0, true, nil, 3},
		{"links that have always expired", responds(403, ""), 0, false, gamma.ErrLinkExpired, 3},
		{"a link that expires while others are saved", first(1, late), time.Minute, true, nil, 2},
		{"a transfer that breaks", first(1, cuts(5)), 0, true, nil, 1},
		{"a transfer that breaks before the first byte", first(2, cuts(0)), 0, true, nil, 1},
		{"503 for a while", first(3, responds(503, "")), 0, true, nil, 1},
		{"503 for ever", responds(503, ""), 0, false, nil, 1},
		{"404", responds(404, ""), 0, false, gamma.ErrNotFound, 1},
		{"a page", responds(200, "<html>"), 0, false, gamma.ErrUnexpectedResponse, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.linkLife = tt.linkLife
				b := newBatch(t, f)
				f.hook("download gen-tea", tt.hook)
				got := collect(t, b.Run(t.Context(), pdfs("tea")))
				if f.links != tt.links {
					t.Errorf("%d links", f.links)
				}
				states := "creating created completed saved"
				if tt.saved {
					allSaved(t, got, "tea")
				} else {
					states = "creating created completed"
					if r := got["tea"]; r.Err == nil || tt.err != nil && !errors.Is(r.Err, tt.err) || r.Saved != "" || r.GenerationID != "gen-tea" || r.Generation == nil {
						t.Errorf("%+v", r)
					}
				}
				if s := statesOf(t, b, "tea"); s != states {
					t.Errorf("the journal has %q", s)
				}
				if entries, err := filepath.Glob(filepath.Join(b.Dir, "*gamma-*")); len(entries) > 0 || err != nil {
					t.Errorf("left behind: %v, %v", entries, err)
				}
				nextRun(t, f, b, nil, "tea")
			})
		})
	}
}

// A slow download holds back no poll, and four run at a time.
func TestDownloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.life = time.Second
		b := newBatch(t, f)
		all := keys(12)
		running, most := 0, 0
		for _, key := range all {
			f.hook("download gen-"+key, func(_ *http.Request, next func() *http.Response) (*http.Response, error) {
				f.mu.Lock()
				running++
				most = max(most, running)
				f.mu.Unlock()
				time.Sleep(29 * time.Second)
				f.mu.Lock()
				running--
				f.mu.Unlock()
				return next(), nil
			})
		}
		allSaved(t, collect(t, b.Run(t.Context(), pdfs(all...))), all...)
		if most != 4 {
			t.Errorf("%d at a time", most)
		}
	})
}

// What cannot be saved is saved by the next run.
func TestUnwritable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := newBatch(t, f)
		inputs := []Input{{Key: "tea", Request: request("tea", "pdf"), File: "a\nb/tea"}, {Key: "coffee", Request: request("coffee", "pdf")}}
		time.AfterFunc(time.Second, func() { writeFile(t, filepath.Join(b.Dir, "a\nb"), "in the way") })
		got := collect(t, b.Run(t.Context(), slices.Values(inputs)))
		allSaved(t, map[string]Result{"coffee": got["coffee"]}, "coffee")
		if r := got["tea"]; r.Err == nil || r.Saved != "" || r.GenerationID != "gen-tea" {
			t.Errorf("%+v", r)
		}
		if err := os.Remove(filepath.Join(b.Dir, "a\nb")); err != nil {
			t.Fatal(err)
		}
		allSaved(t, collect(t, b.Run(t.Context(), slices.Values(inputs))), "tea", "coffee")
		f.once(t)
	})
}

// A file that comes while its input is waited for is not replaced.
func TestFileComesInTheWay(t *testing.T) {
	for _, tt := range []struct {
		name    string
		stopped bool // and comes between two runs
	}{{"during a run", false}, {"between two runs", true}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				b := newBatch(t, f)
				path := filepath.Join(b.Dir, "tea.pdf")
				ctx := t.Context()
				if tt.stopped {
					ctx = canceledAfter(t, 40*time.Second, nil)
				}
				time.AfterFunc(30*time.Second, func() { writeFile(t, path, "foreign") })
				for i := range 3 {
					r := collect(t, b.Run(ctx, pdfs("tea")))["tea"]
					ctx = t.Context()
					if r.Err == nil || r.GenerationID != "gen-tea" || r.Saved != "" || (i > 0 || !tt.stopped) && !strings.Contains(r.Err.Error(), "exists, and the journal does not have it") {
						t.Errorf("run %d: %+v", i+1, r)
					}
					if data, err := os.ReadFile(path); string(data) != "foreign" {
						t.Fatalf("run %d: it has %q now, %v", i+1, data, err)
					}
				}
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				allSaved(t, collect(t, b.Run(t.Context(), pdfs("tea"))), "tea")
				f.once(t)
			})
		})
	}
}

// A file belongs to the input that was saved there last: two inputs of different runs may
// ask for one path.
func TestFileOfAnotherRun(t *testing.T) {
	for _, tt := range []struct {
		name string
		hook hook // of the first download of tea
	}{{"saved, and moved away", nil}, {"not saved", responds(404, "")}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				b := newBatch(t, f)
				run := func(key string) Result {
					return collect(t, b.Run(t.Context(), slices.Values([]Input{{Key: key, Request: request(key, "pdf"), File: "drink"}})))[key]
				}
				path := filepath.Join(b.Dir, "drink.pdf")
				f.hook("download gen-tea", tt.hook)
				if r := run("tea"); (r.Err == nil) != (tt.hook == nil) {
					t.Fatalf("%+v", r)
				}
				f.hook("download gen-tea", nil)
				if err := os.Remove(path); err != nil && tt.hook == nil {
					t.Fatal(err)
				}
				if r := run("coffee"); r.Err != nil {
					t.Fatalf("%+v", r)
				}
				if r := run("tea"); r.Saved != "" || r.Err == nil || !strings.Contains(r.Err.Error(), "exists, and the journal does not have it") {
					t.Errorf("%+v", r)
				}
				if data, err := os.ReadFile(path); string(data) != content("gen-coffee") {
					t.Errorf("it has %q now, %v", data, err)
				}
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				allSaved(t, map[string]Result{"tea": run("tea")}, "tea")
				f.once(t)
			})
		})
	}
}
