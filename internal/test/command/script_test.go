package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/gammatest"
)

// bin is the directory of the program under test.
var bin string

// flags are the flags of its build.
var flags = []string{"-buildvcs=false"}

func TestMain(m *testing.M) {
	// nohup ignores SIGHUP, and so would programs that the tests start.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "gamma-command-")
		if err == nil {
			defer func() { _ = os.RemoveAll(dir) }()
			bin, err = dir, build(dir)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// build builds the program into dir, with the go.work beside it.
func build(dir string) error {
	cmd := exec.Command("go", slices.Concat([]string{"build"}, flags, []string{"-o", dir + string(filepath.Separator), "."})...)
	cmd.Dir = filepath.Join("..", "..", "..", "cmd", "gamma")
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "GOWORK=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build of cmd/gamma: %w\n%s", err, out)
	}
	return nil
}

// TestScripts runs the scripts in testdata/script. Each has a separate fake, whose address
// and key are in its environment. These commands are added:
//
//   - exits CODE PROGRAM [ARG...] runs a program, which must end with this exit code. The
//     next stdout, stderr and cmp use its output.
//   - start PROGRAM [ARG...] starts a program in the background. prints REGEXP waits until
//     its standard output matches, said REGEXP until its standard error matches. signal NAME
//     sends it int, term, hup or kill. ended CODE waits for its end; after a kill the code is
//     -1.
//   - fake add ID STEP... adds a generation without an export. fake create NAME STEP... creates
//     one with a PDF, and sets the variable NAME to its id. fake life STEP... sets the life of
//     generations that are created later. fake next OPERATION STEP..., fake download STEP...
//     and fake key KEY are as in gammatest. For the steps see parseStep.
//   - fake saw N METHOD PATH-PREFIX fails unless the fake has received exactly N such requests.
//   - fake sees N METHOD PATH-PREFIX waits until the fake has received at least N of them.
//
// No output may contain the key.
func TestScripts(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the scripts use sh, signals and devices")
	}
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(env *testscript.Env) error {
			s := &script{fake: gammatest.NewServer(reporter{env, t})}
			env.Values[key{}] = s
			env.Setenv("GAMMA_BASE_URL", s.fake.URL)
			env.Setenv("GAMMA_API_KEY", gammatest.Key)
			env.Setenv("PATH", bin+string(filepath.ListSeparator)+env.Getenv("PATH"))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":  exits,
			"start":  start,
			"prints": written(0),
			"said":   written(1),
			"signal": sendSignal,
			"ended":  ended,
			"fake":   fakeCommand,
		},
		RequireUniqueNames: true,
	})
}

// script is the state of one script.
type script struct {
	fake *gammatest.Server

	process *exec.Cmd // of start, nil if there is none
	output  [2]*output
}

type key struct{}

func stateOf(ts *testscript.TestScript) *script { return ts.Value(key{}).(*script) }

// reporter makes invalid requests errors of the test.
type reporter struct {
	env *testscript.Env
	t   *testing.T
}

func (r reporter) Helper() {}

func (r reporter) Errorf(format string, args ...any) {
	r.t.Errorf("%s: %s", filepath.Base(r.env.WorkDir), fmt.Sprintf(format, args...))
}

func (r reporter) Cleanup(f func()) { r.env.Defer(f) }

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code program [arg...]")
	}
	checkExit(ts, args[0], ts.Exec(args[1], args[2:]...), ts.ReadFile("stdout"), ts.ReadFile("stderr"))
}

func checkExit(ts *testscript.TestScript, want string, err error, outputs ...string) {
	for _, output := range outputs {
		if strings.Contains(output, gammatest.Key) {
			ts.Fatalf("the output has the key:\n%s", output)
		}
	}
	code := 0
	if e := (*exec.ExitError)(nil); errors.As(err, &e) {
		code = e.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != want {
		ts.Fatalf("exit code %d, want %s", code, want)
	}
}

func start(ts *testscript.TestScript, neg bool, args []string) {
	s := stateOf(ts)
	if neg || len(args) < 1 || s.process != nil {
		ts.Fatalf("usage: start program [arg...], one at a time")
	}
	program := args[0]
	if program == "gamma" { // the PATH of the script is not that of the test
		program = filepath.Join(bin, program)
	}
	s.process = exec.Command(program, args[1:]...)
	s.process.Dir = ts.MkAbs(".")
	for _, name := range []string{"GAMMA_BASE_URL", "GAMMA_API_KEY", "PATH", "HOME", "TMPDIR"} {
		s.process.Env = append(s.process.Env, name+"="+ts.Getenv(name))
	}
	s.output = [2]*output{new(output), new(output)}
	s.process.Stdout, s.process.Stderr = s.output[0], s.output[1]
	ts.Check(s.process.Start())
	process := s.process
	ts.Defer(func() {
		if s.process == process { // the script failed before it ended
			_ = process.Process.Kill()
			_ = process.Wait()
		}
	})
}

// output is what a program in the background has written so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// written returns a command that waits for output i: 0 for standard output, 1 for standard error.
func written(i int) func(ts *testscript.TestScript, neg bool, args []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		s := stateOf(ts)
		if neg || len(args) != 1 || s.process == nil {
			ts.Fatalf("usage: prints or said regexp, after start")
		}
		re, err := regexp.Compile("(?m)" + args[0])
		ts.Check(err)
		if !eventually(func() bool { return re.MatchString(s.output[i].String()) }) {
			ts.Fatalf("no match in:\n%s", s.output[i])
		}
	}
}

// eventually reports whether ok returns true within a minute.
func eventually(ok func() bool) bool {
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

func sendSignal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"int": syscall.SIGINT, "term": syscall.SIGTERM, "kill": syscall.SIGKILL, "hup": syscall.SIGHUP}
	s := stateOf(ts)
	if neg || len(args) != 1 || signals[args[0]] == 0 || s.process == nil {
		ts.Fatalf("usage: signal int|term|hup|kill, after start")
	}
	ts.Check(s.process.Process.Signal(signals[args[0]]))
}

func ended(ts *testscript.TestScript, neg bool, args []string) {
	s := stateOf(ts)
	if neg || len(args) != 1 || s.process == nil {
		ts.Fatalf("usage: ended code, after start")
	}
	err := s.process.Wait()
	s.process = nil
	stdout, stderr := s.output[0].String(), s.output[1].String()
	_, _ = io.WriteString(ts.Stdout(), stdout)
	_, _ = io.WriteString(ts.Stderr(), stderr)
	ts.Logf("[stdout]\n%s[stderr]\n%s", stdout, stderr)
	checkExit(ts, args[0], err, stdout, stderr)
}

func fakeCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: fake command [arg...]")
	}
	fake := stateOf(ts).fake
	steps := func(args []string) (steps []gammatest.Step) {
		for _, arg := range args {
			step, err := parseStep(arg)
			ts.Check(err)
			steps = append(steps, step)
		}
		return steps
	}
	switch {
	case args[0] == "add" && len(args) > 1:
		fake.Add(args[1], steps(args[2:])...)
	case args[0] == "create" && len(args) > 1:
		fake.OnCreate(func(api.GenerationRequest) []gammatest.Step { return steps(args[2:]) })
		client, err := gamma.NewClient(gammatest.Key, gamma.WithBaseURL(fake.URL))
		ts.Check(err)
		created, err := client.CreateGeneration(context.Background(), api.GenerationRequest{InputText: "tea", ExportAs: "pdf"})
		ts.Check(err)
		ts.Setenv(args[1], created.GenerationID)
	case args[0] == "life":
		fake.OnCreate(func(api.GenerationRequest) []gammatest.Step { return steps(args[1:]) })
	case args[0] == "next" && len(args) > 2:
		fake.Next(args[1], steps(args[2:])...)
	case args[0] == "download" && len(args) > 1:
		fake.NextDownload(steps(args[1:])...)
	case args[0] == "key" && len(args) == 2:
		fake.SetKey(args[1])
	case (args[0] == "saw" || args[0] == "sees") && len(args) == 4:
		want, err := strconv.Atoi(args[1])
		ts.Check(err)
		received := func() (n int) {
			for _, r := range fake.Requests() {
				if r.Method == args[2] && strings.HasPrefix(r.Path, args[3]) {
					n++
				}
			}
			return n
		}
		if args[0] == "sees" {
			eventually(func() bool { return received() >= want })
		}
		if n := received(); n < want || args[0] == "saw" && n > want {
			ts.Fatalf("the fake has received %d requests %s %s, want %d", n, args[2], args[3], want)
		}
	default:
		ts.Fatalf("fake: %q is unknown or has wrong arguments", args)
	}
}

// parseStep returns the step for text: completed, failed, pending (for an hour), nofile
// (completed without an export, for an hour), usual, drop, hang, cut:BYTES, late:SECONDS (the
// usual response, delayed), 429:SECONDS or a status such as 402.
func parseStep(text string) (gammatest.Step, error) {
	name, value, _ := strings.Cut(text, ":")
	n, err := strconv.Atoi(value)
	if value != "" && err != nil {
		return gammatest.Step{}, err
	}
	switch name {
	case "completed":
		return gammatest.Completed(""), nil
	case "failed":
		return gammatest.Failed(422, "Failed to generate text."), nil
	case "pending":
		return gammatest.PendingFor(time.Hour), nil
	case "nofile":
		return gammatest.ExportPendingFor(time.Hour), nil
	case "usual":
		return gammatest.Usual(), nil
	case "drop":
		return gammatest.Drop(), nil
	case "hang":
		return gammatest.Hang(), nil
	case "cut":
		return gammatest.CutAfter(n, gammatest.Usual()), nil
	case "late":
		return gammatest.Delay(time.Duration(n)*time.Second, gammatest.Usual()), nil
	case "429":
		return gammatest.RateLimited(time.Duration(n) * time.Second), nil
	}
	status, err := strconv.Atoi(name)
	return gammatest.Status(status), err
}
