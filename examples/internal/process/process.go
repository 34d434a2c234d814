// Package process runs an example as its user does: as a process, against a fake server
// over sockets. It is for tests.
package process

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gamma-sdk/gamma-go/gammatest"
)

// Build builds the program in the working directory and returns its path.
func Build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "program.exe")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

// Process is a program that runs.
type Process struct {
	*exec.Cmd
	stdout, stderr strings.Builder
}

// Start starts program in dir, with the fake at url and the key of gammatest.
func Start(t *testing.T, url, dir, program string, args ...string) *Process {
	t.Helper()
	p := &Process{Cmd: exec.CommandContext(t.Context(), program, args...)}
	p.Dir = dir
	p.Env = append(os.Environ(), "GAMMA_API_KEY="+gammatest.Key, "GAMMA_BASE_URL="+url)
	p.Stdout, p.Stderr = &p.stdout, &p.stderr
	if err := p.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// End waits for the end of p and returns its standard output, standard error and exit code,
// which is -1 after a kill. The API key in either output is an error of the test.
func (p *Process) End(t *testing.T) (stdout, stderr string, code int) {
	t.Helper()
	var exit *exec.ExitError
	if err := p.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	stdout, stderr = p.stdout.String(), p.stderr.String()
	if strings.Contains(stdout+stderr, gammatest.Key) {
		t.Errorf("the output has the API key:\n%s\n%s", stdout, stderr)
	}
	return stdout, stderr, p.ProcessState.ExitCode()
}
