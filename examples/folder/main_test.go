package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/batch"
	"github.com/gamma-sdk/gamma-go/examples/internal/process"
	"github.com/gamma-sdk/gamma-go/gammatest"
)

// texts makes a folder with a text of each name.
func texts(t *testing.T, names ...string) string {
	dir := t.TempDir()
	for _, name := range append(names, "notes.txt") {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("A short history of "+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func glob(t *testing.T, dir string) []string {
	files, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func creates(g *gammatest.API) (n int) {
	for _, r := range g.Requests() {
		if r.Method == "POST" {
			n++
		}
	}
	return n
}

func TestProcess(t *testing.T) {
	t.Parallel()
	program := process.Build(t)
	g := gammatest.NewServer(t, gammatest.Completed(""))
	dir, out := texts(t, "coffee.md", "tea.md"), t.TempDir()

	for run := range 2 { // the second has nothing to do
		stdout, stderr, code := process.Start(t, g.URL, t.TempDir(), program, "-timeout", "5s", dir, out).End(t)
		if code != 0 || strings.Count(stdout, "saved as") != 2 || creates(g.API) != 2 {
			t.Errorf("run %d: exit code %d, %d creates\n%s\n%s", run, code, creates(g.API), stdout, stderr)
		}
	}
	for _, name := range []string{"coffee.pdf", "tea.pdf"} {
		if file, err := os.ReadFile(filepath.Join(out, name)); err != nil || len(file) == 0 {
			t.Errorf("%s: %d bytes, %v", name, len(file), err)
		}
	}
}

// The first Ctrl-C waits for the response of the create, and the next run has its id.
func TestInterrupt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be sent an interrupt")
	}
	t.Parallel()
	program := process.Build(t)
	g := gammatest.NewServer(t, gammatest.Completed(""))
	inFlight := make(chan struct{})
	g.OnCreate(func(api.GenerationRequest) []gammatest.Step {
		close(inFlight)
		return []gammatest.Step{gammatest.ForCreate(gammatest.Delay(500*time.Millisecond, gammatest.Usual()))}
	})
	dir, out := texts(t, "tea.md"), t.TempDir()

	p := process.Start(t, g.URL, t.TempDir(), program, dir, out)
	<-inFlight
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, code := p.End(t); code != 1 || !strings.Contains(stderr, "resumes") {
		t.Errorf("interrupted: exit code %d\n%s\n%s", code, stdout, stderr)
	}
	stdout, stderr, code := process.Start(t, g.URL, t.TempDir(), program, "-timeout", "5s", dir, out).End(t)
	if code != 0 || creates(g.API) != 1 {
		t.Errorf("resumed: exit code %d, %d creates\n%s\n%s", code, creates(g.API), stdout, stderr)
	}
}

func TestRun(t *testing.T) {
	dir, out := texts(t, "bad.md", "lost.md", "tea.md"), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		client, g := gammatest.NewClient(t, gammatest.PendingFor(4*time.Minute), gammatest.Completed(""))
		g.OnCreate(func(request api.GenerationRequest) []gammatest.Step {
			switch {
			case strings.HasSuffix(request.InputText, "bad.md"):
				return []gammatest.Step{gammatest.Failed(422, "No luck.")}
			case strings.HasSuffix(request.InputText, "lost.md"):
				return []gammatest.Step{gammatest.ForCreate(gammatest.Drop())}
			}
			return nil
		})
		want := 0
		for i, tt := range []struct {
			retry   batch.Retry
			creates int
		}{{0, 3}, {0, 0}, {batch.Uncertain | batch.Failed, 2}} {
			stdout := capture(t, func() {
				if err := run(t.Context(), &batch.Batch{Client: client, Dir: out, Retry: tt.retry}, glob(t, dir)); err == nil {
					t.Error("no error, with one that failed")
				}
			})
			for _, want := range []string{"bad: gamma: ", "No luck.", "lost: gamma: ", "run with -again lost.", "tea: saved as "} {
				if !strings.Contains(stdout, want) {
					t.Errorf("run %d: %q is missing in\n%s", i, want, stdout)
				}
			}
			want += tt.creates
			if n := creates(g); n != want {
				t.Errorf("run %d: %d creates so far, want %d", i, n, want)
			}
		}
	})
}

// Of the texts that may have been created, -again creates only the one that it names.
func TestAgain(t *testing.T) {
	t.Parallel()
	program := process.Build(t)
	g := gammatest.NewServer(t, gammatest.Completed(""))
	dir, out := texts(t, "coffee.md", "tea.md"), t.TempDir()
	g.Next("createGeneration", gammatest.Times(2, gammatest.Drop()))
	for _, tt := range []struct {
		args    []string
		code    int
		creates int // so far
	}{
		{nil, 1, 2},
		{[]string{"-again", "tea"}, 0, 3},
		{nil, 1, 3},
		{[]string{"-again", "milk"}, 1, 3},
	} {
		args := append([]string{"-timeout", "5s"}, tt.args...)
		if stdout, stderr, code := process.Start(t, g.URL, t.TempDir(), program, append(args, dir, out)...).End(t); code != tt.code || creates(g.API) != tt.creates {
			t.Errorf("%q: exit code %d, %d creates, want %d and %d\n%s\n%s", tt.args, code, creates(g.API), tt.code, tt.creates, stdout, stderr)
		}
	}
}

func TestCanceled(t *testing.T) {
	dir := texts(t, "tea.md")
	client, g := gammatest.NewClient(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx, &batch.Batch{Client: client, Dir: t.TempDir()}, glob(t, dir)); err == nil || creates(g) != 0 {
		t.Errorf("%v after %d creates", err, creates(g))
	}
}

// capture returns what f prints.
func capture(t *testing.T, f func()) string {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = file
	f()
	os.Stdout = stdout
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
