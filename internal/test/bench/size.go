package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"

	"github.com/gamma-sdk/gamma-go/internal/test/performance"
)

// sizeLine is what the test of internal/test/consumer logs for each figure.
var sizeLine = regexp.MustCompile(`(?m)^ +consumer_test\.go:\d+: (.+): (\d+), at most (\d+)$`)

// programSize gets the figures from the test that holds them to their limits.
func programSize(ctx context.Context, _ scale) ([]performance.Table, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^TestSize$", "-count", "1", "-v", ".")
	cmd.Dir = "../consumer"
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	t := performance.Table{
		Title: performance.Size,
		Head:  []string{"", "measured", "limit in CI"},
	}
	for _, m := range sizeLine.FindAllStringSubmatch(string(out), -1) {
		row := []string{m[1]}
		for _, digits := range m[2:] {
			n, err := strconv.Atoi(digits)
			if err != nil {
				return nil, err
			}
			row = append(row, number(float64(n), 0))
		}
		t.Rows = append(t.Rows, row)
	}
	if len(t.Rows) == 0 {
		return nil, errors.New("TestSize has logged no figures")
	}
	return []performance.Table{t}, nil
}
