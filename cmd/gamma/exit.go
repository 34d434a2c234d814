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

// The exit codes; "gamma help exit-codes" has them in words.
const (
	exitOK           = 0
	exitOther        = 1
	exitUsage        = 2
	exitFailed       = 3
	exitKey          = 4
	exitNotFinished  = 5
	exitMaybeCreated = 6
	exitSignal       = 128 // and the number of the signal
)

// errInterrupted is the cause of a context that a signal has ended.
var errInterrupted = errors.New("gamma: interrupted")

// usageError is a wrong command line, key file or input: nothing was sent.
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

// exitError sets the exit status. A command returns it when it has printed the errors.
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

// A kind is what the exit status and the code of a JSON error say of an error. The first
// that matches counts.
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

// exitCode returns the exit status that err stands for, without regard to signals.
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

// worst returns the exit status of several: the first of 6, 4, 1, 3 and 5 that is among
// codes, else the highest of them, else 0.
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

// exit returns an [exitError] with the exit status of several, nil if all is done.
func exit(codes []int) error {
	if code := worst(codes...); code != exitOK {
		return exitError{code}
	}
	return nil
}

// message returns the text of err as one printable line without the names of packages.
func message(err error) string {
	text := strings.ReplaceAll(": "+err.Error(), ": gamma: ", ": ")
	return withoutKey(gamma.Printable(strings.TrimPrefix(strings.TrimPrefix(text, ": "), "batch: ")))
}

// finish prints the error that a command returned, and returns the exit status: that of
// the signal if there was one.
func (a *app) finish(err error) int {
	code := exitCode(err)
	switch {
	case err == nil, as[exitError](err):
	case errors.Is(err, errInterrupted) && a.interrupted():
		a.note("interrupted")
	case as[writeError](err):
		if !errors.Is(err, syscall.EPIPE) { // whoever closed the pipe has what it wanted
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
