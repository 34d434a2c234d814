//go:build linux || darwin

package command

import (
	"encoding/json"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gamma-sdk/gamma-go/gammatest"
)

const readme = "cmd/gamma/README.md"

// The commands in the README of cmd/gamma work, including those that install gamma.
func TestREADME(t *testing.T) {
	t.Parallel()
	f := newFolder(t)
	root, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	gobin := filepath.Join(f.dir, "bin")
	f.env = slices.DeleteFunc(f.env, func(v string) bool { return strings.HasPrefix(v, "GAMMA_API_KEY=") || strings.HasPrefix(v, "GOWORK=") })
	f.env = append(f.env, "ROOT="+root, "GOBIN="+gobin, "GOFLAGS=-buildvcs=false", "PATH="+gobin+string(filepath.ListSeparator)+os.Getenv("PATH"))

	const (
		install = "(cd cmd/gamma && go install .)"
		key     = "export GAMMA_API_KEY=sk-gamma-..."
		serve   = "gamma serve --rate-limit 30/10s --failures 10%"
	)
	want := map[string]expectation{
		install:       {instead: strings.Replace(install, "cmd", `"$ROOT"/cmd`, 1), err: `^`}, // go may download modules
		key:           {instead: strings.Replace(key, "sk-gamma-...", gammatest.Key, 1)},
		"gamma check": {out: `^the API key from the environment variable GAMMA_API_KEY works\n$`},
		"gamma create --dry-run --export pdf --dir decks texts/*.md": {
			out: `^create\t-\ttexts/coffee.md\ncreate\t-\ttexts/milk.md\ncreate\t-\ttexts/tea.md\n$`,
			err: `^gamma: dry run: 3 to create\n$`,
		},
		"gamma create --export pdf --dir decks texts/*.md": {
			out: `^(gen00000\d\tcompleted\tdecks/\w+\.pdf\ttexts/\w+\.md\n){3}$`,
			err: `gamma: 3 inputs in \w+: 3 created, 3 saved; 120 credits deducted\n$`,
		},
		`gamma create --no-wait --text "A short history of tea" | gamma wait -`: {
			out: `^gen000004\tcompleted\thttps://gamma.app/\S+\n$`,
			err: `gamma: 1 input in \w+: 1 created\n`,
		},
		"gamma status --json gen000001": {out: `"rateLimit":\{"burst":.*"status":"completed"`},
		"gamma themes ash":              {out: `^theme-ash\tAsh\tstandard\n$`},
		serve: {
			instead: serve + " --addr 127.0.0.1:0 >serve.env & until [ -s serve.env ]; do sleep 1; done; kill -INT $!; wait $!",
			exit:    130,
			err:     `^gamma: this is a fake of the Gamma API`,
		},
		"gamma help exit-codes": {out: `\n    6  a generation may have been created`},
	}
	lines := commands(blocks(t, readme, "Use")[0])
	testLines(t, f, lines, want)
	if len(lines) != len(want) {
		t.Errorf("%s has %d lines, want %d", readme, len(lines), len(want))
	}
	if _, err := exec.LookPath(filepath.Join(gobin, "gamma")); err != nil {
		t.Error(err)
	}
}

// The script in the README of cmd/gamma creates failed generations again, and its report has every input.
func TestREADMEScript(t *testing.T) {
	t.Parallel()
	f := newFolder(t)
	f.write(t, "milk", "This fails the first time")
	code, stdout, stderr := f.sh(t, blocks(t, readme, "A script")[0])
	if code != 0 {
		t.Errorf("exit code %d:\n%s%s", code, stdout, stderr)
	}
	var saved []string
	for line := range strings.Lines(f.read(t, "report.jsonl")) {
		var result struct{ Input, GenerationID, Status, Saved string }
		if err := json.Unmarshal([]byte(line), &result); err != nil || result.Status != "completed" {
			t.Fatalf("%v in the report: %s", err, line)
		}
		if f.read(t, result.Saved) != string(f.fake.Export(result.GenerationID)) {
			t.Errorf("%s has another export", result.Saved)
		}
		saved = append(saved, result.Input+" as "+result.Saved)
	}
	slices.Sort(saved)
	if want := []string{"texts/coffee.md as decks/coffee.pdf", "texts/milk.md as decks/milk.pdf", "texts/tea.md as decks/tea.pdf"}; !slices.Equal(saved, want) {
		t.Errorf("the report has %q, want %q", saved, want)
	}
	if n := f.creates(); n != 4 {
		t.Errorf("%d creates, want one for each text and one more", n)
	}
}

// Ctrl-C ends the script in the README of cmd/gamma, not only the command that it runs.
func TestREADMEScriptInterrupted(t *testing.T) {
	t.Parallel()
	if signal.Ignored(os.Interrupt) {
		t.Skip("a shell cannot trap a signal that is ignored when it starts")
	}
	for _, shell := range []string{"sh", "bash"} { // bash resumes a script after a command that ends by itself
		t.Run(shell, func(t *testing.T) {
			if _, err := exec.LookPath(shell); err != nil {
				t.Skip(err)
			}
			f := newFolder(t)
			cmd := exec.CommandContext(t.Context(), shell, "-c", blocks(t, readme, "A script")[0])
			cmd.Dir, cmd.Env, cmd.SysProcAttr = f.dir, f.env, &syscall.SysProcAttr{Setpgid: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if !eventually(func() bool { return f.creates() == 3 }) {
				t.Errorf("%d creates", f.creates())
			}
			if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
				t.Error(err)
			}
			if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != 130 {
				t.Errorf("exit code %d, want 130", cmd.ProcessState.ExitCode())
			}
			if _, err := os.Stat(filepath.Join(f.dir, "report.jsonl")); err == nil {
				t.Error("it made the report")
			}
		})
	}
}

// creates returns how many creates the fake received.
func (f *folder) creates() (n int) {
	for _, request := range f.fake.Requests() {
		if request.Method == "POST" {
			n++
		}
	}
	return n
}
