package batch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/poller"
)

// Every step is in the journal before the next request is sent.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := newBatch(t, f)
		b.Dir = filepath.Join(b.Dir, "not", "there yet")
		all := keys(30)
		wanted := map[string]string{"create": "creating", "poll": "creating created", "download": "creating created completed"}
		f.before = func(name string) {
			kind, what, _ := strings.Cut(name, " ")
			if f.count(name) > 1 {
				return
			}
			key := strings.TrimPrefix(what, "gen-")
			if states := statesDuringRun(t, b, key); states != wanted[kind] {
				t.Errorf("at %s the journal has %q", name, states)
			}
		}
		var mu sync.Mutex
		events := map[string][]Step{}
		b.OnEvent = func(e Event) {
			mu.Lock()
			defer mu.Unlock()
			events[e.Key] = append(events[e.Key], e.Step)
			if known := e.Step != Creating; (e.GenerationID == "gen-"+e.Key) != known {
				t.Errorf("%+v", e)
			}
		}
		got := collect(t, b.Run(t.Context(), pdfs(all...)))
		allSaved(t, got, all...)
		for _, key := range all {
			r := got[key]
			if r.Earlier || r.Generation == nil || r.Generation.GammaURL == "" || r.Warnings != "cut "+key || r.Saved != filepath.Join(b.Dir, key+".pdf") {
				t.Errorf("%+v", r)
			}
			if states := statesOf(t, b, key); states != "creating created completed saved" {
				t.Errorf("%s: %s", key, states)
			}
			if !slices.Equal(events[key], []Step{Creating, Created, Waiting, Saving}) {
				t.Errorf("%s: %v", key, events[key])
			}
		}
		if f.most > 4 {
			t.Errorf("%d creates in flight", f.most)
		}
		data, err := os.ReadFile(b.journalPath())
		if err != nil || strings.Contains(string(data), apiKey) || strings.Contains(string(data), "secret") || strings.Contains(string(data), "export/") {
			t.Errorf("%v: %s", err, data)
		}

		f.reset()
		got = collect(t, b.Run(t.Context(), pdfs(all...)))
		allSaved(t, got, all...)
		for _, r := range got {
			if !r.Earlier || r.Generation == nil || r.Generation.GammaURL == "" || r.Generation.ExportURL != "" || r.Warnings != "cut "+r.Key {
				t.Errorf("the second time: %+v", r)
			}
		}
		if n := f.count(""); n != 0 {
			t.Errorf("the second run sent %d requests", n)
		}
		f.once(t)
	})
}

func TestRunAgain(t *testing.T) {
	pdf := func(key, text string) Input { return Input{Key: key, Request: request(text, "pdf")} }
	for _, tt := range []struct {
		name    string
		change  func(t *testing.T, b *Batch)
		input   Input
		creates int
		polls   bool
		saved   string // in the directory
		id      string
	}{
		{"nothing has changed", nil, pdf("a", "tea"), 0, false, "a.pdf", "gen-tea"},
		{"the export was deleted", func(t *testing.T, b *Batch) {
			if err := os.Remove(filepath.Join(b.Dir, "a.pdf")); err != nil {
				t.Error(err)
			}
		}, pdf("a", "tea"), 0, true, "a.pdf", "gen-tea"},
		{"the text has changed", nil, pdf("a", "coffee"), 1, true, "a.pdf", "gen-coffee"},
		{"no export any more", nil, Input{Key: "a", Request: request("tea", "")}, 1, true, "", "gen-tea-2"},
		{"another key", nil, pdf("b", "tea"), 1, true, "b.pdf", "gen-tea-2"},
		{"another file", nil, Input{Key: "a", Request: request("tea", "pdf"), File: "decks/b"}, 0, true, "decks/b.pdf", "gen-tea"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				b := newBatch(t, f)
				collect(t, b.Run(t.Context(), slices.Values([]Input{pdf("a", "tea")})))
				if tt.change != nil {
					tt.change(t, b)
				}
				for _, again := range []bool{false, true} {
					f.reset()
					creates, polls := tt.creates, tt.polls
					if again { // after which nothing is left to do
						creates, polls = 0, false
					}
					r := collect(t, b.Run(t.Context(), slices.Values([]Input{tt.input})))[tt.input.Key]
					if r.Err != nil || r.GenerationID != tt.id || f.count("create") != creates || (f.count("poll") > 0) != polls || r.Earlier == polls {
						t.Errorf("again %v: %d creates, %d polls: %+v", again, f.count("create"), f.count("poll"), r)
					}
					if tt.saved == "" {
						if r.Saved != "" {
							t.Errorf("again %v: saved %s", again, r.Saved)
						}
						continue
					}
					if data, err := os.ReadFile(filepath.Join(b.Dir, tt.saved)); string(data) != content(tt.id) || r.Saved != filepath.Join(b.Dir, tt.saved) {
						t.Errorf("again %v: %q, %v, %s", again, data, err, r.Saved)
					}
				}
			})
		})
	}
}

// The file of an input stays its own while it asks for no export.
func TestExportAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := newBatch(t, f)
		for i, export := range []string{"pdf", "", "pdf"} {
			r := collect(t, b.Run(t.Context(), slices.Values([]Input{{Key: "a", Request: request("tea", export)}})))["a"]
			if r.Err != nil || (r.Saved != "") != (export != "") || len(f.generations) != i+1 {
				t.Errorf("run %d: %+v", i+1, r)
			}
		}
	})
}

// A create whose outcome is unknown is not repeated without Retry.
func TestUncertain(t *testing.T) {
	for _, tt := range []struct {
		name   string
		hook   hook
		ends   time.Duration // of the context; 0: never
		effect int           // generations that Gamma has
		id     string        // if the response had it
		states string
	}{
		{"canceled while the create is in flight", hangs, time.Second, 1, "", "creating uncertain"},
		{"the request times out", hangs, 0, 1, "", "creating uncertain"},
		{"connection lost after the generation was created", drops, 0, 1, "", "creating uncertain"},
		{"500", responds(500, `{}`), 0, 0, "", "creating uncertain"},
		{"503", responds(503, `{}`), 0, 0, "", "creating uncertain"},
		{"a redirect after a POST", responds(303, ``), 0, 0, "", "creating uncertain"},
		{"200 with an HTML page", responds(200, `<html>`), 0, 0, "", "creating uncertain"},
		{"cut off before the id", cuts(10), 0, 1, "", "creating uncertain"},
		{"cut off in the id", cuts(len(`{"generationId":"gen-te`)), 0, 1, "", "creating uncertain"},
		{"cut off after the id", cuts(len(`{"generationId":"gen-tea"`)), 0, 1, "gen-tea", "creating created completed saved"},
		{"cut off in the warnings", cuts(len(`{"generationId":"gen-tea","warn`)), 0, 1, "gen-tea", "creating created completed saved"},
		{"not cut off", cuts(1000), 0, 1, "gen-tea", "creating created completed saved"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				b := newBatch(t, f)
				f.hook("create tea", first(1, tt.hook))
				ctx := t.Context()
				if tt.ends > 0 {
					ctx = canceledAfter(t, tt.ends, errors.New("changed my mind"))
				}
				got := collect(t, b.Run(ctx, pdfs("tea")))
				if states := statesOf(t, b, "tea"); states != tt.states {
					t.Errorf("the journal has %q", states)
				}
				if tt.id != "" {
					allSaved(t, got, "tea")
					return
				}
				if r := got["tea"]; !errors.Is(r.Err, gamma.ErrMaybeCreated) || r.GenerationID != "" {
					t.Errorf("%+v", r)
				}

				f.reset()
				r := collect(t, b.Run(t.Context(), pdfs("tea")))["tea"]
				if !errors.Is(r.Err, gamma.ErrMaybeCreated) || r.GenerationID != "" || f.count("") != 0 {
					t.Errorf("the next run: %+v after %d requests", r, f.count(""))
				}
				b.Retry = Failed
				if r := collect(t, b.Run(t.Context(), pdfs("tea")))["tea"]; !errors.Is(r.Err, gamma.ErrMaybeCreated) || f.count("") != 0 {
					t.Errorf("with Retry: Failed: %+v", r)
				}
				b.Retry = Uncertain
				got = collect(t, b.Run(t.Context(), pdfs("tea")))
				allSaved(t, got, "tea")
				if f.created["tea"] != tt.effect+1 {
					t.Errorf("created %d times", f.created["tea"])
				}
				f.reset()
				allSaved(t, collect(t, b.Run(t.Context(), pdfs("tea"))), "tea")
				if f.count("") != 0 {
					t.Errorf("%d requests after the end", f.count(""))
				}
			})
		})
	}
}

// The next run creates what was refused.
func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name string
		hook hook
		err  error
	}{
		{"400", responds(400, `{"message":"no","statusCode":400}`), nil},
		{"401", responds(401, `{}`), gamma.ErrUnauthorized},
		{"402", responds(402, `{}`), gamma.ErrInsufficientCredits},
		{"403", responds(403, `{}`), gamma.ErrForbidden},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				b := newBatch(t, f)
				f.hook("create tea", first(1, tt.hook))
				r := collect(t, b.Run(t.Context(), pdfs("tea")))["tea"]
				if r.Err == nil || tt.err != nil && !errors.Is(r.Err, tt.err) || errors.Is(r.Err, gamma.ErrMaybeCreated) {
					t.Errorf("%+v", r)
				}
				if states := statesOf(t, b, "tea"); states != "creating refused" {
					t.Error(states)
				}
				allSaved(t, collect(t, b.Run(t.Context(), pdfs("tea"))), "tea")
				f.once(t)
			})
		})
	}
}

// A create that was refused does not change what the journal has for the key.
func TestRefusedAgain(t *testing.T) {
	for _, tt := range []struct {
		name  string
		text  string // of the input
		hook  hook   // of its first create
		other string // which is refused in the second run, with this Retry
		retry Retry
		want  error // then, of the first text, without Retry
	}{
		{"another text, then the first again", "tea", nil, "coffee", 0, nil},
		{"another text after an uncertain create", "tea", drops, "coffee", 0, gamma.ErrMaybeCreated},
		{"an uncertain create, repeated", "tea", drops, "tea", Uncertain, gamma.ErrMaybeCreated},
		{"a failed generation, repeated", "bad", nil, "bad", Failed, new(poller.FailedError)},
		{"a refused create, repeated", "tea", responds(400, `{}`), "tea", 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				b := newBatch(t, f)
				run := func(text string) Result {
					return collect(t, b.Run(t.Context(), slices.Values([]Input{{Key: "a", Request: request(text, "pdf")}})))["a"]
				}
				f.hook("create "+tt.text, tt.hook)
				run(tt.text)
				f.hook("create "+tt.other, responds(402, `{}`))
				b.Retry = tt.retry
				if r := run(tt.other); !errors.Is(r.Err, gamma.ErrInsufficientCredits) {
					t.Errorf("%+v", r)
				}
				b.Retry = 0
				f.heal()
				r := run(tt.text)
				var failed *poller.FailedError
				switch {
				case tt.want == nil && r.Err == nil && r.Saved != "":
				case errors.As(tt.want, &failed) && errors.As(r.Err, &failed):
				case tt.want != nil && errors.Is(r.Err, tt.want):
				default:
					t.Errorf("%+v", r)
				}
				f.once(t)
			})
		})
	}
}

// After a 401 or 402 nothing more is created, and the other inputs finish.
func TestNothingIsCreatedAfter401And402(t *testing.T) {
	for status, want := range map[int]error{401: gamma.ErrUnauthorized, 402: gamma.ErrInsufficientCredits} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				b := newBatch(t, f)
				b.Creates = 2
				all := keys(20)
				collect(t, b.Run(t.Context(), pdfs(all[15:]...))) // an earlier run
				for _, key := range all[:15] {
					f.hook("create "+key, takes(time.Second))
				}
				f.hook("create text7", responds(status, `{}`))
				f.reset()
				got := collect(t, b.Run(t.Context(), pdfs(all...)))
				if len(got) != 20 {
					t.Errorf("%d results", len(got))
				}
				for i, key := range all {
					r := got[key]
					switch {
					case i < 7 || i >= 15 || r.Err == nil:
						allSaved(t, map[string]Result{key: r}, key)
					case !errors.Is(r.Err, want):
						t.Errorf("%+v", r)
					}
				}
				if n := f.count("create"); n > 9 {
					t.Errorf("%d creates", n)
				}
				f.hook("create text7", nil)
				allSaved(t, collect(t, b.Run(t.Context(), pdfs(all...))), all...)
				f.once(t)
			})
		})
	}
}

func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.limit, f.window = 3, 10*time.Second
		b := newBatch(t, f)
		var mu sync.Mutex
		pauses := 0
		b.OnEvent = func(e Event) {
			if e.Step == Pausing {
				mu.Lock()
				defer mu.Unlock()
				if pauses++; e.Pause < time.Second || e.Err != nil && !errors.Is(e.Err, gamma.ErrRateLimited) {
					t.Errorf("%+v", e)
				}
			}
		}
		all := keys(40)
		start := time.Now()
		allSaved(t, collect(t, b.Run(t.Context(), pdfs(all...))), all...)
		f.once(t)
		if f.most > 4 || pauses == 0 {
			t.Errorf("%d creates in flight, %d pauses", f.most, pauses)
		}
		if windows := int(time.Since(start) / f.window); windows > 60 || f.refused > windows+10 {
			t.Errorf("%d requests in %d windows, of which %d got 429", f.count(""), windows, f.refused)
		}
	})
}

// A batch of 200 inputs that is canceled twice gets few 429 responses.
func TestRateLimitAcrossRuns(t *testing.T) {
	for i := range 4 {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			f.life, f.limit, f.window = 15*time.Second, 30, 10*time.Second
			b := newBatch(t, f)
			all := keys(200)
			for j := range 2 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(30+6*i+5*j)*time.Second+time.Duration(137*i)*time.Millisecond)
				collect(t, (&Batch{Client: newClient(t, f), Dir: b.Dir}).Run(ctx, pdfs(all...)))
				cancel()
			}
			start := time.Now()
			allSaved(t, collect(t, b.Run(t.Context(), pdfs(all...))), all...)
			f.once(t)
			if f.refused > 20 || time.Since(start) > 3*time.Minute {
				t.Errorf("%d 429 responses, the last run took %v", f.refused, time.Since(start))
			}
		})
	}
}

// A create is retried after any number of 429 responses without headers.
func TestCreateIsRetriedAfter429(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := newBatch(t, f)
		for _, key := range keys(6) {
			f.hook("create "+key, first(12, responds(429, `{}`)))
		}
		allSaved(t, collect(t, b.Run(t.Context(), pdfs(keys(6)...))), keys(6)...)
		f.once(t)
		if states := statesOf(t, b, "text0"); states != strings.Repeat("creating refused ", 12)+"creating created completed saved" {
			t.Error(states)
		}
	})
}

// In an outage few inputs become uncertain. The others can be created later.
func TestOutage(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault hook
		maybe bool // whether it may have been created
		err   error
	}{
		{"502", responds(502, ``), true, gamma.ErrMaybeCreated},
		{"no connection", unreachable, false, syscall.ECONNREFUSED},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				b := newBatch(t, f)
				all := keys(40)
				for _, key := range all[10:] {
					f.hook("create "+key, tt.fault)
				}
				failed, uncertain, left := 0, map[string]bool{}, 0
				for key, r := range collect(t, b.Run(t.Context(), pdfs(all...))) {
					switch {
					case slices.Contains(all[:10], key):
						allSaved(t, map[string]Result{key: r}, key)
					case errors.Is(r.Err, tt.err):
						failed++
						uncertain[key] = tt.maybe
					case !errors.Is(r.Err, errOutage) || r.Err.Error() != "gamma: batch: not created: 3 creates in a row had no usable response":
						t.Errorf("%+v", r)
					default:
						left++
					}
				}
				if failed < 3 || failed > 6 || failed+left != 30 {
					t.Errorf("%d failed, %d not created", failed, left)
				}
				nextRun(t, f, b, uncertain, all...)
			})
		})
	}
}

func TestCreates(t *testing.T) {
	for creates, want := range map[int]int{0: 4, 1: 1, 3: 3, 64: 10} {
		t.Run(fmt.Sprint(creates), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				b := newBatch(t, f)
				b.Creates = creates
				all := keys(10)
				for _, key := range all {
					f.hook("create "+key, takes(time.Minute))
				}
				allSaved(t, collect(t, b.Run(t.Context(), pdfs(all...))), all...)
				if f.most != want {
					t.Errorf("%d in flight, want %d", f.most, want)
				}
			})
		})
	}
}

func TestNoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := newBatch(t, f)
		b.NoWait = true
		for _, earlier := range []bool{false, true} {
			for key, r := range collect(t, b.Run(t.Context(), pdfs(keys(5)...))) {
				if r.Err != nil || r.GenerationID != "gen-"+key || r.Earlier != earlier || r.Generation != nil || r.Warnings != "cut "+key {
					t.Errorf("%+v", r)
				}
			}
		}
		if f.count("create") != 5 || f.count("poll") != 0 {
			t.Errorf("%d creates, %d polls", f.count("create"), f.count("poll"))
		}
		b.NoWait = false
		allSaved(t, collect(t, b.Run(t.Context(), pdfs(keys(5)...))), keys(5)...)
		f.once(t)
	})
}

// Failed generations are not created again, unless Retry has Failed.
func TestFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := newBatch(t, f)
		failed := func(r Result, id string) {
			t.Helper()
			var err *poller.FailedError
			if !errors.As(r.Err, &err) || err.ID != id || err.Message != "the text is bad" || err.StatusCode != 422 || err.Generation == nil ||
				err.Status != "failed" || r.GenerationID != id || r.Generation == nil || r.Saved != "" {
				t.Errorf("%+v", r)
			}
		}
		first := collect(t, b.Run(t.Context(), pdfs("bad")))["bad"]
		failed(first, "gen-bad")
		f.reset()
		second := collect(t, b.Run(t.Context(), pdfs("bad")))["bad"]
		failed(second, "gen-bad")
		if f.count("") != 0 {
			t.Errorf("%d requests", f.count(""))
		}
		b.Retry = Uncertain
		failed(collect(t, b.Run(t.Context(), pdfs("bad")))["bad"], "gen-bad")
		b.Retry = Uncertain | Failed
		failed(collect(t, b.Run(t.Context(), pdfs("bad")))["bad"], "gen-bad-2")
	})
}

func TestGenerationIsNotFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := newBatch(t, f)
		f.hook("poll gen-tea", responds(404, `{}`))
		for range 2 {
			f.reset()
			r := collect(t, b.Run(t.Context(), pdfs("tea")))["tea"]
			if !errors.Is(r.Err, gamma.ErrNotFound) || r.GenerationID != "gen-tea" || f.count("poll") != 2 {
				t.Errorf("%+v after %d polls", r, f.count("poll"))
			}
		}
		if states := statesOf(t, b, "tea"); states != "creating created lost lost" {
			t.Error(states)
		}
		b.Retry = Failed
		allSaved(t, collect(t, b.Run(t.Context(), pdfs("tea"))), "tea")
		if f.created["tea"] != 2 {
			t.Errorf("created %d times", f.created["tea"])
		}
	})
}

// The caller may use one request for all inputs, and change it from one to the next.
func TestRequestIsCopied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := newBatch(t, f)
		all := keys(20)
		got := collect(t, b.Run(t.Context(), func(yield func(Input) bool) {
			r := request("", "pdf")
			for _, key := range all {
				if r.InputText = key; !yield(Input{Key: key, Request: &r}) {
					return
				}
			}
		}))
		allSaved(t, got, all...)
		for _, key := range all {
			if f.created[key] != 1 || got[key].GenerationID != "gen-"+key {
				t.Errorf("%s was created %d times: %+v", key, f.created[key], got[key])
			}
		}
	})
}

// A wait takes little memory, however long the text of its input is.
func TestWaitingMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, size = 50, 100_000
		f := newFake()
		f.life = time.Hour
		b := newBatch(t, f)
		heap := func() int64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		padding := strings.Repeat("x", size)
		var lines []line
		for _, key := range keys(n) {
			lines = append(lines, line{Key: key, State: sent, Request: hashOf(t, request(key+padding, ""))}, line{Key: key, State: created, ID: f.add(key, "")})
		}
		writeJournal(t, b, lines...)
		before, ended := heap(), 0
		time.AfterFunc(time.Minute, func() {
			if used := heap() - before; used > n*size/4 {
				t.Errorf("%d waits take %d bytes", n, used)
			}
			b.Stop()
		})
		for r := range b.Run(t.Context(), func(yield func(Input) bool) {
			for _, key := range keys(n) {
				if !yield(Input{Key: key, Request: request(key+padding, "")}) {
					return
				}
			}
		}) {
			if ended++; r.GenerationID == "" || !errors.Is(r.Err, ErrStopped) {
				t.Errorf("%+v", r)
			}
		}
		if ended != n {
			t.Errorf("%d results", ended)
		}
	})
}

// Responses that are cut off, and exports, over sockets.
func TestOverSockets(t *testing.T) {
	f := newFake()
	f.life = 0
	f.hook("create lost", drops)
	f.hook("create cut", cuts(len(`{"generationId":"gen-cut","warn`)))
	f.hook("create cut before the id", cuts(5))
	f.hook("download gen-tea", first(1, cuts(6)))
	server := httptest.NewUnstartedServer(f)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	defer server.Close()
	f.files = server.URL
	client, err := gamma.NewClient(apiKey, gamma.WithBaseURL(server.URL+"/v1.0/"))
	if err != nil {
		t.Fatal(err)
	}
	b := &Batch{Client: client, Dir: t.TempDir(), Poller: poller.New(client)}
	b.Poller.Interval = 10 * time.Millisecond
	for range 2 {
		got := collect(t, b.Run(t.Context(), pdfs("tea", "lost", "cut", "cut before the id")))
		for key, r := range got {
			switch key {
			case "tea", "cut":
				allSaved(t, map[string]Result{key: r}, key)
			default:
				if !errors.Is(r.Err, gamma.ErrMaybeCreated) || r.GenerationID != "" {
					t.Errorf("%+v", r)
				}
			}
		}
		if len(got) != 4 {
			t.Errorf("%+v", got)
		}
	}
	f.once(t)
}

// The next run polls no sooner than the first run would have.
func TestNextPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := newBatch(t, f)
		var polled time.Time
		f.hook("poll gen-tea", first(1, func(*http.Request, func() *http.Response) (*http.Response, error) {
			polled = time.Now()
			return reply(429, `{}`, "Retry-After", "600"), nil
		}))
		time.AfterFunc(time.Minute, b.Stop)
		if r := collect(t, b.Run(t.Context(), pdfs("tea")))["tea"]; !errors.Is(r.Err, ErrStopped) {
			t.Errorf("%+v", r)
		}
		again := newClient(t, f) // which knows of no 429
		f.before = func(name string) {
			if pause := time.Since(polled); strings.HasPrefix(name, "poll") && pause < 10*time.Minute {
				t.Errorf("polled again after %v", pause)
			}
		}
		allSaved(t, collect(t, (&Batch{Client: again, Dir: b.Dir}).Run(t.Context(), pdfs("tea"))), "tea")
		f.once(t)
	})
}

// A time in the journal that is in the future does not delay the poll.
func TestJournalFromTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := newBatch(t, f)
		ahead := time.Now().AddDate(1, 0, 0)
		writeJournal(t, b, line{Time: ahead, Key: "tea", State: sent, Request: hashOf(t, request("tea", "pdf"))},
			line{Time: ahead, Key: "tea", State: created, ID: f.add("tea", "pdf")})
		allSaved(t, collect(t, b.Run(t.Context(), pdfs("tea"))), "tea")
	})
}

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
		{"the first link has expired", first(1, responds(403, "")), 0, true, nil, 2},
		{"the first two links have expired", first(2, responds(410, "")), 0, true, nil, 3},
		{"all links have expired", responds(403, ""), 0, false, gamma.ErrLinkExpired, 3},
		{"a link that expires while others are saved", first(1, late), time.Minute, true, nil, 2},
		{"a transfer that breaks", first(1, cuts(5)), 0, true, nil, 1},
		{"a transfer that breaks before the first byte", first(2, cuts(0)), 0, true, nil, 1},
		{"503 for a while", first(3, responds(503, "")), 0, true, nil, 1},
		{"always 503", responds(503, ""), 0, false, nil, 1},
		{"404", responds(404, ""), 0, false, gamma.ErrNotFound, 1},
		{"200 with an HTML page", responds(200, "<html>"), 0, false, gamma.ErrUnexpectedResponse, 1},
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

// Four downloads run at a time. A slow one delays no poll.
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

// The next run saves what could not be saved.
func TestSaveFails(t *testing.T) {
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
