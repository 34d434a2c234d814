package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// A child is this program in another process: a server, so that its CPU time is not
// counted with the client's, or a measurement of memory, so that earlier ones do not
// affect it. The variable holds its task.
const childVariable = "GAMMA_BENCH_CHILD"

// task is what a child does; one of the fields is set.
type task struct {
	Serve string   `json:",omitempty"` // "h1" or "h2"
	Hold  *holding `json:",omitempty"`
}

// child does the task in the variable, and reports whether there is one. The tests call it
// too: there, this program is the test binary.
func child() bool {
	value := os.Getenv(childVariable)
	if value == "" {
		return false
	}
	var t task
	err := json.Unmarshal([]byte(value), &t)
	switch {
	case err != nil:
	case t.Serve != "":
		err = serve(t.Serve)
	case t.Hold != nil:
		var h held
		if h, err = t.Hold.measure(context.Background()); err == nil {
			err = json.NewEncoder(os.Stdout).Encode(h)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

// command returns a command that runs this program as a child.
func (t task) command(ctx context.Context) (*exec.Cmd, *bytes.Buffer, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	value, err := json.Marshal(t)
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, program) //nolint:gosec // it is this program
	cmd.Env = append(os.Environ(), childVariable+"="+string(value))
	stderr := new(bytes.Buffer)
	cmd.Stderr = stderr
	return cmd, stderr, nil
}

// cpuTime returns the CPU time of this process so far, on all cores.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // it cannot fail for this process
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
