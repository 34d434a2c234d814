package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/batch"
	"github.com/gamma-sdk/gamma-go/poller"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func TestExitCode(t *testing.T) {
	waiting := func(cause error) error { return &poller.WaitError{Cause: cause} }
	for _, tt := range []struct {
		name string
		err  error
		exit int
		code string
	}{
		{"usage", usage("x"), 2, "usage"},
		{"invalid request", &gamma.InvalidRequestError{}, 2, "invalid_request"},
		{"no key", keyError{errors.New("x")}, 4, "unauthorized"},
		{"wrong key", &gamma.APIError{StatusCode: 401}, 4, "unauthorized"},
		{"no credits", &gamma.APIError{StatusCode: 402}, 4, "no_credits"},
		{"no rights", &gamma.APIError{StatusCode: 403}, 4, "forbidden"},
		{"wrong key, seen by a wait", waiting(&gamma.APIError{StatusCode: 401}), 4, "unauthorized"},
		{"not found", &gamma.APIError{StatusCode: 404}, 1, "not_found"},
		{"rate limited", &gamma.APIError{StatusCode: 429}, 1, "rate_limited"},
		{"server error", &gamma.APIError{StatusCode: 500}, 1, "other"},
		{"may have been created", fmt.Errorf("x: %w", gamma.ErrMaybeCreated), 6, "maybe_created"},
		{"may have been created, interrupted", errors.Join(gamma.ErrMaybeCreated, errInterrupted), 6, "maybe_created"},
		{"generation failed", &poller.FailedError{}, 3, "failed"},
		{"wait timed out", waiting(context.DeadlineExceeded), 5, "not_finished"},
		{"wait may not poll in time", waiting(poller.ErrPause), 5, "not_finished"},
		{"no export", waiting(poller.ErrNoExport), 5, "no_export"},
		{"wait interrupted", waiting(errors.Join(context.Canceled, errInterrupted)), 1, "interrupted"},
		{"request timed out", context.DeadlineExceeded, 1, "other"},
		{"link expired", saveError{gamma.ErrLinkExpired}, 1, "link_expired"},
		{"not saved", saveError{syscall.ENOSPC}, 1, "save_failed"},
		{"not saved, by a batch", &gamma.APIError{Operation: "GET export", StatusCode: 401}, 1, "save_failed"},
		{"unusable journal", journalError{syscall.EISDIR}, 1, "journal"},
		{"journal in use", batch.ErrLocked, 1, "locked"},
		{"stopped", batch.ErrStopped, 1, "stopped"},
		{"anything else", io.ErrUnexpectedEOF, 1, "other"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if exit, code := exitCode(tt.err), errorCode(tt.err); exit != tt.exit || code != tt.code {
				t.Errorf("%d %s, want %d %s", exit, code, tt.exit, tt.code)
			}
		})
	}
	if got := exitCode(nil); got != 0 {
		t.Errorf("no error: %d", got)
	}
	if got := exitCode(exitError{6}); got != 6 {
		t.Errorf("an exit status: %d", got)
	}
}

func TestWorst(t *testing.T) {
	for _, tt := range []struct {
		codes []int
		want  int
	}{
		{nil, 0},
		{[]int{0, 0}, 0},
		{[]int{0, 5, 3, 1, 4, 6}, 6},
		{[]int{0, 5, 3, 1, 4}, 4},
		{[]int{5, 3, 1}, 1},
		{[]int{5, 0, 3}, 3},
		{[]int{5, 0}, 5},
		{[]int{0, 2}, 2},
	} {
		if got := worst(tt.codes...); got != tt.want {
			t.Errorf("worst(%v) = %d, want %d", tt.codes, got, tt.want)
		}
	}
}

// newTestApp returns an app with the given environment, and its output.
func newTestApp(env map[string]string) (a *app, stdout, stderr *bytes.Buffer) {
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	a = &app{in: strings.NewReader(""), out: stdout, err: stderr, getenv: func(name string) string { return env[name] }}
	return a, stdout, stderr
}

// The help of gamma fits into 80 by 24 characters and has every command. The help of every
// command has a description, an example and the defaults of its flags.
func TestHelp(t *testing.T) {
	a, stdout, _ := newTestApp(nil)
	if code := a.run([]string{"help"}); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	lines := strings.Split(strings.TrimSuffix(stdout.String(), "\n"), "\n")
	if len(lines) > 24 {
		t.Errorf("%d lines", len(lines))
	}
	for _, line := range lines {
		if len(line) > 79 { // some terminals wrap after the 80th
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
	root := newRoot(a)
	flags := func(name string, set *pflag.FlagSet) {
		set.VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" && !strings.Contains(f.Usage, "default") && (f.DefValue == "" || f.DefValue == "false" || f.DefValue == "0" || f.DefValue == "[]") {
				t.Errorf("%s --%s does not say its default: %s", name, f.Name, f.Usage)
			}
		})
	}
	flags("gamma", root.PersistentFlags())
	for _, cmd := range root.Commands() {
		if cmd.Name() == "exit-codes" {
			continue
		}
		if !strings.Contains(stdout.String(), "\n  "+cmd.Name()+" ") || cmd.Short == "" {
			t.Errorf("the help lacks %s: %s", cmd.Use, cmd.Short)
		}
		if cmd.Name() != "help" && (cmd.Long == "" || cmd.Example == "") {
			t.Errorf("%s has no help or no example", cmd.Name())
		}
		for line := range strings.Lines(cmd.Long + "\n" + cmd.Example) {
			if len(strings.TrimSpace(line)) > 90 {
				t.Errorf("%s: %d columns: %s", cmd.Name(), len(line), line)
			}
		}
		flags(cmd.Name(), cmd.Flags())
	}
}

func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		args string
		want string
	}{
		{"nosuch", `gamma: unknown command "nosuch" (see "gamma help")`},
		{"wiat", `gamma: unknown command "wiat", did you mean wait? (see "gamma help")`},
		{"help nosuch", `gamma: unknown command "nosuch" (see "gamma help")`},
		{"--nosuch", `gamma: unknown flag: --nosuch (see "gamma help")`},
		{"wait --nosuch x", `gamma: unknown flag: --nosuch (see "gamma help wait")`},
		{"wait", `gamma: the id of a generation, or -, is missing (see "gamma help wait")`},
		{"wait --timeout soon x", `gamma: invalid argument "soon" for "--timeout" flag: time: invalid duration "soon" (see "gamma help wait")`},
		{"wait --timeout -1s x", `gamma: --timeout must not be negative`},
		{"wait x ../y", `gamma: argument 2: id has a character other than A-Z a-z 0-9 - . _ ~ at position 2`},
		{"wait gen1 -", `gamma: - and ID cannot be used together`},
		{"wait -", `gamma: standard input has no id`},
		{"status x y/z", `gamma: argument 2: id has a character other than A-Z a-z 0-9 - . _ ~ at position 1`},
		{"archive x ..", `gamma: argument 2: id is a dot segment`},
		{"check extra", `gamma: too many arguments: 1, want at most 0 (see "gamma help check")`},
		{"check --progress loud", `gamma: --progress is "loud", not auto, live, plain or none (see "gamma help check")`},
		{"check --key-file a --key-command b", `gamma: --key-file and --key-command cannot be used together`},
		{"check --key-file=", `gamma: --key-file is empty (see "gamma help check")`},
		{"create --export= --text tea", `gamma: --export is empty (see "gamma help create")`},
		{"create --tone= --text tea", `gamma: --tone is empty (see "gamma help create")`},
		{"wait --dir= gen1", `gamma: --dir is empty (see "gamma help wait")`},
		{"completion tcsh", `gamma: invalid argument "tcsh" for "gamma completion" (see "gamma help completion")`},
	} {
		t.Run(tt.args, func(t *testing.T) {
			a, stdout, stderr := newTestApp(nil) // without a key nothing could be sent
			if code := a.run(strings.Fields(tt.args)); code != 2 || stdout.Len() > 0 {
				t.Errorf("exit status %d, standard output %q", code, stdout)
			}
			if got := stderr.String(); got != tt.want+"\n" {
				t.Errorf("got  %swant %s", got, tt.want)
			}
		})
	}
}

// A writer that fails makes the exit status 1, also for the help.
func TestFullDisk(t *testing.T) {
	for _, args := range []string{"", "help", "--help", "help wait", "completion bash", "completion zsh", "version", "version --json"} {
		a, _, stderr := newTestApp(nil)
		a.out = failingWriter{syscall.ENOSPC}
		if code := a.run(strings.Fields(args)); code != 1 || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%s: exit status %d, %q", args, code, stderr)
		}
		a, _, stderr = newTestApp(nil)
		a.out = failingWriter{syscall.EPIPE}
		if code := a.run(strings.Fields(args)); code != 1 || stderr.Len() > 0 {
			t.Errorf("%s into a closed pipe: exit status %d, %q", args, code, stderr)
		}
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		a, stdout, _ := newTestApp(nil)
		if code := a.run([]string{"completion", shell}); code != 0 || !strings.Contains(stdout.String(), cobra.ShellCompRequestCmd) {
			t.Errorf("%s: exit status %d, %d bytes", shell, code, stdout.Len())
		}
	}
}
