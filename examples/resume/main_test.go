package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go/examples/internal/process"
	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/poller"
)

const text = "A short history of tea"

func creates(requests []gammatest.Request) (n int) {
	for _, r := range requests {
		if r.Method == "POST" {
			n++
		}
	}
	return n
}

// The process is killed at the n-th request of a kind, before or after the fake has it, and
// started again until it succeeds or says that a deck may have been created.
func TestKill(t *testing.T) {
	program := process.Build(t)
	is := func(method, prefix string) func(*http.Request) bool {
		return func(r *http.Request) bool { return r.Method == method && strings.HasPrefix(r.URL.Path, prefix) }
	}
	for _, tt := range []struct {
		name    string
		at      func(*http.Request) bool
		served  bool // the fake handles the request, and the process dies before it has the response
		creates int
		saved   bool
	}{
		{"never", func(*http.Request) bool { return false }, false, 1, true},
		{"before the create has arrived", is("POST", "/v1.0/generations"), false, 0, false},
		{"after the create, before the id", is("POST", "/v1.0/generations"), true, 1, false},
		{"before the first poll has arrived", is("GET", "/v1.0/generations/"), false, 1, true},
		{"after the generation has completed", is("GET", "/v1.0/generations/"), true, 1, true},
		{"before the download", is("GET", "/exports/"), false, 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := gammatest.NewHandler(t, gammatest.Completed(""))
			var killed atomic.Bool
			reached := make(chan struct{})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !tt.at(r) || killed.Swap(true) {
					g.ServeHTTP(w, r)
					return
				}
				if tt.served {
					g.ServeHTTP(httptest.NewRecorder(), r)
				}
				_, _ = io.Copy(io.Discard, r.Body) // so that the end of the connection is noticed
				close(reached)
				<-r.Context().Done() // the process is dead
			}))
			t.Cleanup(server.Close)
			dir := t.TempDir()

			if tt.name != "never" {
				p := process.Start(t, server.URL, dir, program, "tea", text)
				<-reached
				if err := p.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				if _, stderr, code := p.End(t); code != -1 {
					t.Fatalf("not killed: exit code %d\n%s", code, stderr)
				}
			}
			for range 2 { // the second changes nothing
				_, stderr, code := process.Start(t, server.URL, dir, program, "tea", text).End(t)
				if (code == 0) != tt.saved || !tt.saved && !strings.Contains(stderr, "look for the deck") {
					t.Errorf("started again: exit code %d\n%s", code, stderr)
				}
			}
			if n := creates(g.Requests()); n != tt.creates {
				t.Errorf("%d creates, want %d", n, tt.creates)
			}
			if file, err := os.ReadFile(filepath.Join(dir, "tea.pdf")); (err == nil) != tt.saved || tt.saved && !bytes.Equal(file, g.Export("gen000001")) {
				t.Errorf("tea.pdf: %d bytes, %v", len(file), err)
			}
		})
	}
}

// Every poll is saved: after a stop the pause that the server asked for still counts.
func TestResume(t *testing.T) {
	t.Chdir(t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		client, g := gammatest.NewClient(t, gammatest.Pending(2), gammatest.RateLimited(90*time.Second), gammatest.ExportPendingFor(time.Minute), gammatest.Completed(""))
		for n := 1; ; n++ {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			err := run(ctx, client, "tea", text)
			cancel()
			if err == nil {
				break
			}
			var wait *poller.WaitError
			if !errors.As(err, &wait) || n > 20 {
				t.Fatal(err)
			}
			data, err := os.ReadFile("tea.json")
			var saved poller.Progress
			if err != nil || json.Unmarshal(data, &saved) != nil || fmt.Sprint(saved) != fmt.Sprint(wait.Progress) {
				t.Fatalf("saved %s, %v, want %v", data, err, wait.Progress)
			}
			time.Sleep(5 * time.Second)
		}
		requests := g.Requests()
		if n := creates(requests); n != 1 {
			t.Errorf("%d creates", n)
		}
		if pause := requests[4].Time.Sub(requests[3].Time); pause < 90*time.Second { // 1 create, 2 pending, 1 rate limited
			t.Errorf("a poll was sent %v after the 429", pause)
		}
	})
}

// A create that cannot have had an effect leaves no file, so that the next run creates.
func TestCreate(t *testing.T) {
	for _, tt := range []struct {
		name    string
		step    gammatest.Step
		text    string
		again   bool // the next run creates
		creates int
	}{
		{"no credits", gammatest.Status(402), text, true, 2},
		{"wrong key", gammatest.Status(401), text, true, 2},
		{"not sent", gammatest.Usual(), "", false, 0},
		{"a lost connection", gammatest.Drop(), text, false, 1},
		{"a lost response", gammatest.Cut(gammatest.Usual()), text, false, 1},
		{"a server error", gammatest.Status(500), text, false, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			synctest.Test(t, func(t *testing.T) {
				client, g := gammatest.NewClient(t, gammatest.Completed(""))
				g.Next("createGeneration", tt.step)
				err := run(t.Context(), client, "tea", tt.text)
				if err == nil {
					t.Fatal("no error")
				}
				if _, statErr := os.Stat("tea.json"); statErr != nil && strings.Contains(err.Error(), "tea.json") {
					t.Errorf("the error names a file that does not exist: %v", err)
				}
				err = run(t.Context(), client, "tea", tt.text)
				if (err == nil) != tt.again || creates(g.Requests()) != tt.creates {
					t.Errorf("the next run: %v, %d creates", err, creates(g.Requests()))
				}
			})
		})
	}
}
