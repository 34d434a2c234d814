package main

import (
	"strings"
	"testing"

	"github.com/gamma-sdk/gamma-go/examples/internal/process"
	"github.com/gamma-sdk/gamma-go/gammatest"
)

func TestProcess(t *testing.T) {
	program := process.Build(t)
	g := gammatest.NewServer(t, gammatest.Completed(""))
	stdout, stderr, code := process.Start(t, g.URL, t.TempDir(), program, "A", "talk").End(t)
	if code != 0 || !strings.HasPrefix(stdout, "https://gamma.app/") {
		t.Errorf("exit code %d\n%s\n%s", code, stdout, stderr)
	}
}
