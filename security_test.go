package gamma_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// Every test that SECURITY.md names exists.
func TestSecurityPromisesHaveTests(t *testing.T) {
	text, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	links := regexp.MustCompile(`\[((?:Test|Fuzz)\w+)\]\(([^)]+)\)`).FindAllStringSubmatch(string(text), -1)
	if len(links) < 20 {
		t.Errorf("%d tests are named", len(links))
	}
	for _, link := range links {
		file, err := os.ReadFile(link[2])
		if err != nil || !strings.Contains(string(file), "func "+link[1]+"(") {
			t.Errorf("%s has no %s: %v", link[2], link[1], err)
		}
	}
}
