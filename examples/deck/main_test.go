package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/examples/internal/process"
	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/poller"
)

func TestProcess(t *testing.T) {
	program := process.Build(t)
	g := gammatest.NewServer(t, gammatest.Completed(""))
	dir := t.TempDir()

	stdout, stderr, code := process.Start(t, g.URL, dir, program, "-o", "tea.pdf", "A short history of tea").End(t)
	if code != 0 || !strings.Contains(stderr, "waiting for gen000001") || stdout != "Gamma: https://gamma.app/docs/g_gen000001\nSaved: tea.pdf\n" {
		t.Errorf("exit code %d\n%s\n%s", code, stdout, stderr)
	}
	if file, err := os.ReadFile(filepath.Join(dir, "tea.pdf")); err != nil || !bytes.Equal(file, g.Export("gen000001")) {
		t.Errorf("tea.pdf: %d bytes, %v", len(file), err)
	}
	if sent := string(g.Requests()[0].Body); !strings.Contains(sent, `"A short history of tea"`) {
		t.Errorf("sent %s", sent)
	}

	if _, stderr, code := process.Start(t, g.URL, dir, program).End(t); code != 1 || !strings.Contains(stderr, "usage") {
		t.Errorf("without a text: exit code %d\n%s", code, stderr)
	}
}

func TestRun(t *testing.T) {
	for _, tt := range []struct {
		name   string
		life   []gammatest.Step
		script func(*gammatest.API)
		want   func(error) bool
	}{
		{"minutes, a lost connection and an export that comes later",
			[]gammatest.Step{gammatest.PendingFor(3 * time.Minute), gammatest.Drop(), gammatest.ExportPendingFor(time.Minute), gammatest.Completed("")},
			func(g *gammatest.API) { g.NextDownload(gammatest.CutAfter(20_000, gammatest.Usual())) },
			func(err error) bool { return err == nil }},
		{"the generation fails", []gammatest.Step{gammatest.Pending(1), gammatest.Failed(422, "No luck.")}, nil,
			func(err error) bool { var failed *poller.FailedError; return errors.As(err, &failed) }},
		{"no credits", nil,
			func(g *gammatest.API) { g.Next("createGeneration", gammatest.Status(402)) },
			func(err error) bool { return errors.Is(err, gamma.ErrInsufficientCredits) }},
		{"the link has expired", []gammatest.Step{gammatest.Completed("")},
			func(g *gammatest.API) { g.NextDownload(gammatest.Status(403)) },
			func(err error) bool { return errors.Is(err, gamma.ErrLinkExpired) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			synctest.Test(t, func(t *testing.T) {
				client, g := gammatest.NewClient(t, tt.life...)
				if tt.script != nil {
					tt.script(g)
				}
				err := run(t.Context(), client, "A short history of tea", "tea.pdf")
				if !tt.want(err) {
					t.Error(err)
				}
				if file, readErr := os.ReadFile("tea.pdf"); err == nil && !bytes.Equal(file, g.Export("gen000001")) || err != nil && readErr == nil {
					t.Errorf("tea.pdf: %d bytes, %v", len(file), readErr)
				}
			})
		})
	}
}
