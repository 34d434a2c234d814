//go:build unix

package main

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
)

func TestInterrupts(t *testing.T) {
	interrupt := func(s syscall.Signal) {
		if err := syscall.Kill(os.Getpid(), s); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("the first ends the context", func(t *testing.T) {
		a, _, stderr := newTestApp(nil)
		ctx, release := a.interrupts(t.Context(), nil)
		defer release()
		interrupt(syscall.SIGTERM)
		<-ctx.Done()
		if err := context.Cause(ctx); !errors.Is(err, errInterrupted) || a.finish(err) != 143 || stderr.String() != "gamma: interrupted\n" {
			t.Errorf("%v %s", err, stderr)
		}
	})
	t.Run("the first is graceful, also if that blocks, and the second ends the context", func(t *testing.T) {
		a, _, _ := newTestApp(nil)
		called, block := make(chan struct{}), make(chan struct{})
		ctx, release := a.interrupts(t.Context(), func() { close(called); <-block })
		defer release()
		defer close(block)
		interrupt(syscall.SIGINT)
		<-called
		if ctx.Err() != nil {
			t.Error("the context has ended")
		}
		interrupt(syscall.SIGTERM)
		<-ctx.Done()
		if code := a.finish(nil); code != 130 {
			t.Errorf("exit status %d", code)
		}
	})
	t.Run("none", func(t *testing.T) {
		a, _, _ := newTestApp(nil)
		ctx, release := a.interrupts(t.Context(), nil)
		release()
		release()
		if ctx.Err() == nil || a.finish(nil) != 0 {
			t.Error("the context is not released")
		}
	})
}
