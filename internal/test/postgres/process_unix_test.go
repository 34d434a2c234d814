//go:build unix

package postgres

import (
	"os/exec"
	"syscall"
)

func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func kill(cmd *exec.Cmd) error { return cmd.Process.Kill() }

// interrupt does what a terminal does for Ctrl-C.
func interrupt(cmd *exec.Cmd) error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }
