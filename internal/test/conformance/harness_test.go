package conformance

import (
	"bufio"
	"iter"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds what must happen, however slow the machine is.
const patience = time.Minute

// need skips the test unless internal/ci/conformance.sh has found the server.
func need(t *testing.T, server string) {
	t.Helper()
	if !slices.Contains(strings.Fields(os.Getenv("CONFORMANCE")), server) {
		t.Skipf("the environment variable CONFORMANCE does not name %s: run make conformance", server)
	}
}

// start starts a program that ends with the test, at the latest after five minutes. It
// returns the lines of its standard output, which must be read to the end.
func start(t *testing.T, cmd *exec.Cmd) iter.Seq[string] {
	t.Helper()
	cmd.Stderr = t.Output()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(5*time.Minute, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() {
		timer.Stop()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(stdout)
	return func(yield func(string) bool) {
		for lines.Scan() {
			if !yield(lines.Text()) {
				return
			}
		}
	}
}

func discard(lines iter.Seq[string]) {
	for range lines {
	}
}

// eventually waits until ok returns true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// witness is an http.RoundTripper that records each request.
type witness struct {
	http.RoundTripper
	mu    sync.Mutex
	calls []call
}

type call struct {
	method     string
	sent, done time.Time // done: the response header has been read
	status     int       // 0: none came
	header     http.Header
}

func (w *witness) RoundTrip(req *http.Request) (*http.Response, error) {
	c := call{method: req.Method, sent: time.Now()}
	rsp, err := w.RoundTripper.RoundTrip(req)
	if c.done = time.Now(); err == nil {
		c.status, c.header = rsp.StatusCode, rsp.Header.Clone()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, c)
	return rsp, err
}

// count returns how many responses had the status.
func (w *witness) count(status int) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.calls {
		if c.status == status {
			n++
		}
	}
	return n
}
