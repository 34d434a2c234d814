package main

import (
	"context"
	"os/exec"
	"syscall"
)

// shell returns the command that runs line in a shell. cmd has quoting rules that differ
// from those of package exec: with /s it takes what is between the first quote and the
// last as it is.
func shell(ctx context.Context, line string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "cmd")
	cmd.SysProcAttr = &syscall.SysProcAttr{CmdLine: `cmd /s /c "` + line + `"`}
	return cmd
}
