package command

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/internal/test/sample"
)

// served is a running gamma serve.
type served struct {
	env    []string // the variables that it printed
	cmd    *exec.Cmd
	stdout io.Reader
	stderr bytes.Buffer
}

// startServe starts gamma serve on a free port.
func startServe(t *testing.T, args ...string) *served {
	t.Helper()
	s := &served{cmd: exec.Command(filepath.Join(bin, "gamma"), append([]string{"serve", "--addr", "127.0.0.1:0"}, args...)...)}
	s.cmd.Stderr = &s.stderr
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.cmd.Process.Kill() })
	s.stdout = stdout
	for lines := bufio.NewScanner(stdout); len(s.env) < 2 && lines.Scan(); {
		variable, ok := strings.CutPrefix(lines.Text(), "export ")
		if !ok {
			t.Fatalf("standard output has %q", lines.Text())
		}
		s.env = append(s.env, variable)
	}
	return s
}

// end sends a signal, and returns the exit code and standard error.
func (s *served) end(t *testing.T, signal os.Signal) (code int, stderr string) {
	t.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := s.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return s.cmd.ProcessState.ExitCode(), s.stderr.String()
}

// Programs in other languages download a file from gamma serve. The export is late, and the
// download breaks off. Two programs run at once.
func TestServeOtherLanguages(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs a shell")
	}
	s := startServe(t, "--duration", "100ms-300ms", "--export-after", "300ms", "--broken-downloads", "100%", "--rate-limit", "1000/10s")
	request, err := json.Marshal(sample.Request(sample.New(gamma.OpenAPI()), "createGeneration", api.GenerationRequest{InputText: "tea", ExportAs: "pdf"}))
	if err != nil {
		t.Fatal(err)
	}
	fake := gammatest.NewTransport(t)
	t.Run("clients", func(t *testing.T) {
		for _, tt := range []struct {
			name    string
			needs   string
			command []string
		}{
			{"Node", "node", []string{"node", "client.mjs"}},
			{"curl", "curl", []string{"sh", "client.sh"}},
		} {
			t.Run(tt.name, func(t *testing.T) {
				if _, err := exec.LookPath(tt.needs); err != nil {
					t.Skipf("%s is not installed", tt.needs)
				}
				t.Parallel()
				path := filepath.Join(t.TempDir(), "tea.pdf")
				cmd := exec.CommandContext(t.Context(), tt.command[0], append(tt.command[1:], path)...)
				cmd.Dir = filepath.Join("testdata", "serve")
				cmd.Env = slices.Concat(os.Environ(), s.env, []string{"REQUEST=" + string(request)})
				var stderr bytes.Buffer
				cmd.Stderr = &stderr
				id, err := cmd.Output()
				if err != nil {
					t.Fatalf("%v\n%s", err, &stderr)
				}
				file, err := os.ReadFile(path)
				if err != nil || !bytes.Equal(file, fake.Export(strings.TrimSpace(string(id)))) {
					t.Errorf("%d bytes for %s, %v", len(file), id, err)
				}
			})
		}
	})
	code, stderr := s.end(t, os.Interrupt)
	if code != 130 {
		t.Errorf("exit code %d", code)
	}
	line := regexp.MustCompile(`^(gamma: this is a fake .*|\d\d:\d\d:\d\d (GET|POST) /\S+ (200|206|-) \d+ms( cut off)?)\n$`)
	for text := range strings.Lines(stderr) {
		if !line.MatchString(text) {
			t.Errorf("standard error has %q", text)
		}
	}
	if strings.Contains(stderr, gammatest.Key) {
		t.Error("standard error has the key")
	}
}

func TestServeEndsWithTheSignal(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs signals")
	}
	for signal, want := range map[os.Signal]int{os.Interrupt: 130, syscall.SIGTERM: 143} {
		s := startServe(t)
		if code, stderr := s.end(t, signal); code != want {
			t.Errorf("%v: exit code %d, want %d\n%s", signal, code, want, stderr)
		}
	}
}
