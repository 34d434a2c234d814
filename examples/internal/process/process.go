// Package process runs an example as its user does: as a process, against a fake server
// over sockets. It is for tests.
package process

import (
	"errors"
	"io"
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

// Command returns a command that runs program in dir with the fake at url and the key of
// gammatest. The caller may start it, send it signals and wait for it.
func Command(t *testing.T, url, dir, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GAMMA_API_KEY="+gammatest.Key, "GAMMA_BASE_URL="+url)
	return cmd
}

// Run runs cmd and returns its standard output, standard error and exit code. The API key
// in either output is an error of the test.
func Run(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = io.Writer(&out), io.Writer(&errs)
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if strings.Contains(out.String()+errs.String(), gammatest.Key) {
		t.Errorf("the output has the API key:\n%s\n%s", out.String(), errs.String())
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}
