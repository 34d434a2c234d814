package main

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/poller"
)

// The program as it is in README.md, in virtual time and without a socket.
func TestRun(t *testing.T) {
	is := func(want error) func(error) bool {
		return func(err error) bool { return errors.Is(err, want) }
	}
	for name, tt := range map[string]struct {
		life     []gammatest.Step
		script   func(*gammatest.API)
		want     func(error) bool
		from, to time.Duration
	}{
		"with the file": {
			life: []gammatest.Step{gammatest.PendingFor(4 * time.Minute), gammatest.RateLimited(20 * time.Second), gammatest.Completed("")},
			script: func(g *gammatest.API) {
				g.Next("createGeneration", gammatest.RateLimited(time.Minute))
				g.NextDownload(gammatest.Times(3, gammatest.CutAfter(1000, gammatest.Usual())), gammatest.Slow(10_000, gammatest.Usual()))
			},
			want: is(nil), from: 5 * time.Minute, to: 7 * time.Minute,
		},
		"with an export that comes later": {
			life:   []gammatest.Step{gammatest.PendingFor(4 * time.Minute), gammatest.ExportPendingFor(2 * time.Minute), gammatest.Completed("")},
			script: func(*gammatest.API) {},
			want:   is(nil), from: 6 * time.Minute, to: 6*time.Minute + 15*time.Second,
		},
		"without an export": {
			life:   []gammatest.Step{gammatest.PendingFor(time.Minute), gammatest.ExportPendingFor(time.Hour)},
			script: func(*gammatest.API) {},
			want:   is(poller.ErrNoExport), from: 4 * time.Minute, to: 4*time.Minute + 15*time.Second,
		},
		"without credits": {
			script: func(g *gammatest.API) { g.Next("createGeneration", gammatest.Status(402)) },
			want:   is(gamma.ErrInsufficientCredits),
		},
		"with a failed generation": {
			life:   []gammatest.Step{gammatest.Failed(422, "No luck.")},
			script: func(*gammatest.API) {},
			want: func(err error) bool {
				var failed *poller.FailedError
				return errors.As(err, &failed) && failed.Message == "No luck."
			},
			to: time.Second,
		},
		"with an expired link": {
			life:   []gammatest.Step{gammatest.Completed("")},
			script: func(g *gammatest.API) { g.NextDownload(gammatest.Status(403)) },
			want:   is(gamma.ErrLinkExpired), to: time.Second,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			synctest.Test(t, func(t *testing.T) {
				client, g := gammatest.NewClient(t, tt.life...)
				tt.script(g)
				start := time.Now()
				err := run(t.Context(), client)
				if took := time.Since(start); !tt.want(err) || took < tt.from || took > tt.to {
					t.Errorf("%v after %v", err, took)
				}
				file, readErr := os.ReadFile("tea.pdf")
				if (readErr == nil) != (err == nil) || err == nil && !bytes.Equal(file, g.Export("gen000001")) {
					t.Errorf("tea.pdf: %d bytes, %v", len(file), readErr)
				}
			})
		})
	}
}

// The program in README.md is the one that the tests here build and run.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), "```go\n"+string(program)+"```\n") {
		t.Error("README.md does not have the program in main.go")
	}
}
