package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// newTestDemo returns a demo, to be run in a bubble of synctest.
func newTestDemo(t *testing.T, a *app) (*demo, context.Context) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return &demo{app: a, dir: t.TempDir(), stop: cancel}, ctx
}

func TestDemo(t *testing.T) { synctest.Test(t, testDemo) }

func testDemo(t *testing.T) {
	a, stdout, stderr := newTestApp(nil)
	d, ctx := newTestDemo(t, a)
	if err := d.run(ctx); err != nil || stderr.Len() > 0 {
		t.Errorf("%v, %s", err, stderr)
	}
	for _, want := range []string{
		`This is a fake of the Gamma API, inside this program: it costs nothing\.`,
		` +\d\.\ds  tea\.md     created as gen00000\d`,
		` +\d\.\ds  milk\.md    429, so nothing was created; next try in 1\.\ds`,
		` +\d\.\ds  milk\.md    the connection broke; next poll in 0\.\ds`,
		` +\d\.\ds  milk\.md    saved as milk\.pdf`,
		` +\d\.\ds  cocoa\.md   failed: Failed to generate text\.`,
		` +\d\.\ds  coffee\.md  completed, but its export is not there yet`,
		` +\d\.\ds  coffee\.md  saved as coffee\.pdf`,
		` +\d\.\ds  tea\.md     saved as tea\.pdf; the download broke off, and was resumed`,
		` +\d\.\ds  tea\.md     is saved already: nothing is sent`,
		` +\d\.\ds  cocoa\.md   has failed: left alone, --retry failed creates it again`,
		`  gamma create --export pdf --dir decks texts/\*\.md`,
	} {
		if !regexp.MustCompile("(?m)^" + want + "$").MatchString(stdout.String()) {
			t.Errorf("the output has no line %s", want)
		}
	}
	for line := range strings.Lines(stdout.String()) {
		if len(line) > 80 { // with its end
			t.Errorf("wider than a terminal: %s", line)
		}
	}
	if t.Failed() {
		t.Log(stdout)
	}
	file, err := os.ReadFile(d.dir + "/tea.pdf")
	if err != nil || len(file) == 0 {
		t.Errorf("%d bytes, %v", len(file), err)
	}
}

// The command does not use the environment, and leaves no files.
func TestDemoLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Setenv("TMP", dir) // of Windows
	a, stdout, _ := newTestApp(map[string]string{"GAMMA_API_KEY": "sk-gamma-real", "GAMMA_BASE_URL": "https://example.invalid"})
	t.Setenv("GAMMA_API_KEY", "sk-gamma-real")
	t.Setenv("GAMMA_BASE_URL", "https://example.invalid")
	if code := a.run([]string{"demo", "--json"}); code != exitOK {
		t.Errorf("exit status %d", code)
	}
	ends := map[string]int{}
	for line := range strings.Lines(stdout.String()) {
		var result struct{ Input, Status string }
		if err := json.Unmarshal([]byte(line), &result); err != nil {
			t.Errorf("%v: %s", err, line)
		}
		ends[result.Input+" "+result.Status]++
	}
	for _, in := range demoInputs {
		want := in.name + " completed"
		if in.ends == "failed" {
			want = in.name + " failed"
		}
		if ends[want] != 2 || len(ends) != len(demoInputs) {
			t.Errorf("%v, want each twice: %s", ends, want)
		}
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("left behind: %v, %v", files, err)
	}
}

// trigger calls f once text is written.
type trigger struct {
	text string
	f    func()
	mu   sync.Mutex
}

func (w *trigger) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if strings.Contains(string(p), w.text) {
		w.f()
	}
	return len(p), nil
}

func TestDemoIsInterrupted(t *testing.T) {
	for _, text := range []string{"This is a fake", "created as", "429", "The same batch again"} {
		t.Run(text, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, _, _ := newTestApp(nil)
				d, _ := newTestDemo(t, a)
				ctx, cancel := context.WithCancelCause(t.Context())
				a.out = &trigger{text: text, f: func() { cancel(errInterrupted) }}
				if err := d.run(ctx); !errors.Is(err, errInterrupted) || err.Error() != errInterrupted.Error() {
					t.Error(err)
				}
			})
		})
	}
}

func TestDemoStopsAtAFullDisk(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			a, _, _ := newTestApp(nil)
			a.json, a.out = asJSON, brokenWriter{}
			d, ctx := newTestDemo(t, a)
			if err := d.run(ctx); !errors.Is(err, errFull) || !as[writeError](err) {
				t.Errorf("JSON %v: %v", asJSON, err)
			}
		})
	}
}

// The demo fails if a generation does not end as expected.
func TestDemoNoticesAnotherOutcome(t *testing.T) {
	synctest.Test(t, testAnotherOutcome)
}

func testAnotherOutcome(t *testing.T) {
	a, _, _ := newTestApp(nil)
	d, ctx := newTestDemo(t, a)
	// An existing file makes an input fail.
	if err := os.WriteFile(d.dir+"/tea.pdf", []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.run(ctx); err == nil || !strings.HasPrefix(err.Error(), "gamma: the generation of tea.md ended as ") {
		t.Error(err)
	}
}
