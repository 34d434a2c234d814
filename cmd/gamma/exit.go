package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/batch"
	"github.com/gamma-sdk/gamma-go/poller"
)

// The exit codes. "gamma help exit-codes" explains them.
const (
	exitOK           = 0
	exitOther        = 1
	exitUsage        = 2
	exitFailed       = 3
	exitKey          = 4
	exitNotFinished  = 5
	exitMaybeCreated = 6
	exitSignal       = 128 // plus the number of the signal
)

// errInterrupted is the cause of a context that a signal has ended.
var errInterrupted = errors.New("gamma: interrupted")

// usageError is an invalid command line, key file or input. Nothing was sent.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// usage returns a [usageError].
func usage(format string, args ...any) error {
	return usageError{fmt.Errorf("gamma: "+format, args...)}
}

// textError is an error with another text.
type textError struct {
	text string
	error
}

func (e textError) Error() string { return e.text }

func (e textError) Unwrap() error { return e.error }

// exitError sets the exit code. A command returns it when it has printed the errors.
type exitError struct{ code int }

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", e.code) }

// writeError is a failure to write to standard output.
type writeError struct{ error }

func (e writeError) Unwrap() error { return e.error }

// saveError is an export that could not be saved.
type saveError struct{ error }

func (e saveError) Unwrap() error { return e.error }

// journalError is a journal that cannot be used.
type journalError struct{ error }

func (e journalError) Unwrap() error { return e.error }

// keyError is a key that is missing or malformed.
type keyError struct{ error }

func (e keyError) Unwrap() error { return e.error }

// A kind has the exit code and the code of a JSON error for errors that match. The first
// that matches is used.
type kind struct {
	code  string
	exit  int
	match func(error) bool
}

var kinds = []kind{
	{"usage", exitUsage, as[usageError]},
	{"invalid_request", exitUsage, as[*gamma.InvalidRequestError]},
	{"unauthorized", exitKey, as[keyError]},
	{"maybe_created", exitMaybeCreated, is(gamma.ErrMaybeCreated)},
	{"locked", exitOther, is(batch.ErrLocked)},
	{"journal", exitOther, as[journalError]},
	{"stopped", exitOther, is(batch.ErrStopped)},
	{"interrupted", exitOther, is(errInterrupted)},
	{"failed", exitFailed, as[*poller.FailedError]},
	{"no_export", exitNotFinished, is(poller.ErrNoExport)},
	{"not_finished", exitNotFinished, func(err error) bool {
		return as[*poller.WaitError](err) && is(context.DeadlineExceeded, poller.ErrPause)(err)
	}},
	{"link_expired", exitOther, is(gamma.ErrLinkExpired)},
	{"save_failed", exitOther, func(err error) bool {
		var e *gamma.APIError
		return as[saveError](err) || errors.As(err, &e) && e.Operation == "GET export"
	}},
	{"unauthorized", exitKey, is(gamma.ErrUnauthorized)},
	{"no_credits", exitKey, is(gamma.ErrInsufficientCredits)},
	{"forbidden", exitKey, is(gamma.ErrForbidden)},
	{"not_found", exitOther, is(gamma.ErrNotFound)},
	{"rate_limited", exitOther, is(gamma.ErrRateLimited)},
	{"interrupted", exitOther, is(context.Canceled)}, // last: the context's end has a cause
	{"other", exitOther, func(error) bool { return true }},
}

func kindOf(err error) kind {
	return kinds[slices.IndexFunc(kinds, func(k kind) bool { return k.match(err) })]
}

func is(targets ...error) func(error) bool {
	return func(err error) bool {
		return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
	}
}

func as[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

// exitCode returns the exit code for err, without regard to signals.
func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if e := (exitError{}); errors.As(err, &e) {
		return e.code
	}
	return kindOf(err).exit
}

// errorCode returns the stable code of err in JSON. err is not nil.
func errorCode(err error) string { return kindOf(err).code }

// worst returns the exit code of several results: the first of 6, 4, 1, 3 and 5 that is in
// codes, else the highest of codes, else 0.
func worst(codes ...int) int {
	for _, code := range []int{exitMaybeCreated, exitKey, exitOther, exitFailed, exitNotFinished} {
		if slices.Contains(codes, code) {
			return code
		}
	}
	if len(codes) == 0 {
		return exitOK
	}
	return slices.Max(codes)
}

// exit returns an [exitError] with the exit code of several results, nil for 0.
func exit(codes []int) error {
	if code := worst(codes...); code != exitOK {
		return exitError{code}
	}
	return nil
}

// message returns the text of err as one printable line, without the prefixes of packages.
func message(err error) string {
	text := strings.ReplaceAll(": "+err.Error(), ": gamma: ", ": ")
	return withoutKey(gamma.Printable(strings.TrimPrefix(strings.TrimPrefix(text, ": "), "batch: ")))
}

// finish prints the error that a command returned, and returns the exit code, which is that of
// the signal if there was one.
func (a *app) finish(err error) int {
	code := exitCode(err)
	switch {
	case err == nil, as[exitError](err):
	case errors.Is(err, errInterrupted) && a.interrupted():
		a.note("interrupted")
	case as[writeError](err):
		if !errors.Is(err, syscall.EPIPE) { // the reader of the pipe, such as head, needs no more
			a.note("standard output: %s", message(err))
		}
	case a.json:
		if a.printError(err) != nil {
			a.note("%s", message(err))
		}
	default:
		a.note("%s", message(err))
	}
	if n := a.signal.Load(); n != 0 {
		return exitSignal + int(n)
	}
	return code
}
