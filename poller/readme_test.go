package poller_test

import (
	"os"
	"strings"
	"testing"
)

// The loop in README.md is the loop of ExamplePoller_All.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "## Waiting for many")
	_, rest, _ = strings.Cut(rest, "```go\n")
	loop, _, found := strings.Cut(rest, "```")
	indented := "\t" + strings.ReplaceAll(strings.TrimSuffix(loop, "\n"), "\n", "\n\t") + "\n"
	if !found || !strings.Contains(string(example), indented) {
		t.Errorf("example_test.go has no such loop as README.md:\n%s", indented)
	}
}
