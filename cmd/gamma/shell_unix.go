//go:build !windows

package main

import (
	"context"
	"os/exec"
)

// shell returns the command that runs line in a shell.
func shell(ctx context.Context, line string) *exec.Cmd {
	return exec.CommandContext(ctx, "sh", "-c", line)
}
