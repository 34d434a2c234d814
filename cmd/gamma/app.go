package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/term"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/cmd/gamma/internal/screen"
)

// app has what all commands use: the streams, the environment and the common flags. A test
// creates one with buffers.
type app struct {
	in       io.Reader
	out, err io.Writer // results; everything else
	getenv   func(string) string

	json                bool   // --json
	progress            string // --progress
	keyFile, keyCommand string // --key-file, --key-command

	// paint, if not nil, runs f so that what it writes does not mix with the live display;
	// see [app.display].
	paint func(f func())

	terminal bool         // standard output is a terminal
	started  bool         // the command line is valid: a command's RunE was called
	mu       sync.Mutex   // held while writing
	signal   atomic.Int32 // the number of the first signal, 0 if there was none
}

// run runs the command line, and returns the exit code.
func (a *app) run(args []string) int {
	// A write to a closed pipe must be an error, as for a full disk. By default it ends the
	// process, with creates in flight. The signal is not ignored, because the command of
	// --key-command would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)

	if f, ok := a.out.(*os.File); ok {
		a.terminal = term.IsTerminal(int(f.Fd()))
	}
	out := &stickyWriter{w: a.out}
	a.out = out
	root := newRoot(a)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(context.Background())
	switch {
	case err != nil && !a.started:
		err = usage("%s", oneLine(cmd, err))
	case out.err != nil && (err == nil || errors.Is(err, out.err)): // cobra does not return all of them
		err = writeError{out.err}
	}
	return a.finish(err)
}

// stickyWriter writes to w until the first error, which it keeps.
type stickyWriter struct {
	w   io.Writer
	err error
}

func (s *stickyWriter) Write(p []byte) (n int, err error) {
	if s.err == nil {
		n, s.err = s.w.Write(p)
	}
	return n, s.err
}

// interrupts returns a context that is canceled by SIGINT, SIGTERM, or SIGHUP unless that is
// ignored, as with nohup. If graceful is not nil, the first signal calls it instead, and the
// second cancels the context. The exit code is that of the first signal. Another signal after
// the context was canceled kills the process. The returned function releases the signals.
func (a *app) interrupts(ctx context.Context, graceful func()) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		defer signal.Stop(signals)
		for {
			select {
			case s := <-signals:
				if number, ok := s.(syscall.Signal); ok { // 1, 2 or 15
					a.signal.CompareAndSwap(0, int32(number))
				}
				if graceful == nil {
					cancel(errInterrupted)
					return
				}
				running.Go(graceful) // it may print, which may block
				graceful = nil
			case <-done:
				return
			}
		}
	})
	return ctx, sync.OnceFunc(func() {
		close(done)
		running.Wait()
		cancel(nil)
	})
}

// interrupted reports whether a signal has arrived.
func (a *app) interrupted() bool { return a.signal.Load() != 0 }

// client returns a client with the key of the flags or the environment. The base URL comes
// from the environment, as for [gamma.NewClientFromEnv].
func (a *app) client(ctx context.Context) (*gamma.Client, error) {
	key, _, err := a.key(ctx)
	if err != nil {
		return nil, err
	}
	return a.clientOf(key)
}

func (a *app) clientOf(key string) (*gamma.Client, error) {
	if _, err := gamma.NewClient(key); err != nil {
		return nil, keyError{err}
	}
	opts, err := a.environment()
	if err != nil {
		return nil, err
	}
	client, err := gamma.NewClient(key, opts...)
	if err != nil {
		return nil, usageError{err}
	}
	return client, nil
}

// display starts the display of --progress. Later writes go through it, so that lines do not
// mix. The caller closes it.
func (a *app) display() *screen.Display {
	d := screen.New(screen.Options{Mode: screen.Mode(a.progress), Out: a.err, Getenv: a.getenv})
	a.paint = d.Print
	return d
}

// end prints r, and ends it in d, where its name is the input or else the id. It does not
// repeat on standard error what standard output shows on a terminal.
func (a *app) end(d *screen.Display, r record) error {
	err := a.print(r)
	name, line := cmp.Or(r.Input, r.GenerationID), ""
	switch {
	case r.Err != nil && a.json:
		line = name + ": " + message(r.Err)
	case r.Err == nil && (a.json || !a.terminal):
		line = name
	}
	d.End(name, line, r.Err == nil)
	return err
}

// note writes one line to standard error, with "gamma: " before it.
func (a *app) note(format string, args ...any) {
	text := fmt.Sprintf("gamma: "+format+"\n", args...)
	_ = a.write(a.err, withoutKey(text)) // there is no other place to report an error
}

// write writes text to w in one call, and so that it does not mix with the live display.
func (a *app) write(w io.Writer, text string) (err error) {
	f := func() { _, err = io.WriteString(w, text) }
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.paint != nil {
		a.paint(f)
	} else {
		f()
	}
	return err
}
