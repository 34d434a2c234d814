package main

import (
	"context"
	"errors"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/examples/internal/process"
	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/poller"
)

func TestProcess(t *testing.T) {
	program := process.Build(t)
	g := gammatest.NewServer(t, gammatest.Completed(""))
	for _, tt := range []struct {
		name   string
		create gammatest.Step
		code   int
		want   string
	}{
		{"saved", gammatest.Usual(), 0, ""},
		{"a lost connection", gammatest.Drop(), 3, "It may have cost credits"},
		{"no credits", gammatest.Status(402), 7, "Buy credits."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g.Next("createGeneration", tt.create)
			if _, stderr, code := process.Start(t, g.URL, t.TempDir(), program, "A", "talk").End(t); code != tt.code || !strings.Contains(stderr, tt.want) {
				t.Errorf("exit code %d\n%s\nwant %d, %q", code, stderr, tt.code, tt.want)
			}
		})
	}
}

// Every error has its exit code, and its advice in the table of README.md is found first.
func TestExplain(t *testing.T) {
	inOrder := readmeOrder(t)
	const text = "A short history of tea"
	for _, tt := range []struct {
		name   string
		text   string
		create gammatest.Step
		life   gammatest.Step
		export gammatest.Step
		cancel time.Duration // 0 is never
		code   int
		first  string // of README.md's table; empty for none of it
	}{
		{name: "bad request", text: text, create: gammatest.Status(400), code: 1, first: "*gamma.APIError"},
		{name: "may have been created, no response", text: text, create: gammatest.Drop(), code: 3, first: "ErrMaybeCreated"},
		{name: "may have been created, status 500", text: text, create: gammatest.Status(500), code: 3, first: "ErrMaybeCreated"},
		{name: "may have been created, canceled", text: text, create: gammatest.Hang(), cancel: time.Second, code: 3, first: "ErrMaybeCreated"},
		{name: "invalid request", code: 4, first: "*gamma.InvalidRequestError"},
		{name: "failed", text: text, life: gammatest.Failed(422, "No luck."), code: 5, first: "*poller.FailedError"},
		{name: "wrong key, create", text: text, create: gammatest.Status(401), code: 6, first: "ErrUnauthorized"},
		{name: "wrong key, wait", text: text, life: gammatest.Status(401), code: 6, first: "*poller.WaitError"},
		{name: "no credits", text: text, create: gammatest.Status(402), code: 7, first: "ErrInsufficientCredits"},
		{name: "expired link", text: text, life: gammatest.Completed(""), export: gammatest.Status(403), code: 8, first: "ErrLinkExpired"},
		{name: "forbidden", text: text, create: gammatest.Status(403), code: 9, first: "ErrForbidden"},
		{name: "not found", text: text, life: gammatest.Status(404), code: 9, first: "*poller.WaitError"},
		{name: "no export", text: text, life: gammatest.ExportPendingFor(time.Hour), code: 10, first: "*poller.WaitError"},
		{name: "pause, wait", text: text, life: gammatest.RateLimited(time.Hour), code: 11, first: "*poller.WaitError"},
		{name: "rate limited, create", text: text, create: gammatest.Times(10, gammatest.RateLimited(time.Hour)), code: 11, first: "ErrRateLimited"},
		{name: "not finished in time", text: text, life: gammatest.PendingFor(time.Hour), code: 12, first: "*poller.WaitError"},
		{name: "an outage", text: text, life: gammatest.Times(1000, gammatest.Drop()), code: 12, first: "*poller.WaitError"},
		{name: "canceled, wait", text: text, life: gammatest.PendingFor(time.Hour), cancel: time.Minute, code: 12, first: "*poller.WaitError"},
		{name: "canceled, create waits", text: text, create: gammatest.RateLimited(2 * time.Minute), cancel: time.Minute, code: 11, first: "ErrRateLimited"},
		{name: "canceled, download", text: text, life: gammatest.Completed(""), export: gammatest.Hang(), cancel: 10 * time.Second, code: 13},
		{name: "download of a page", text: text, life: gammatest.Completed(""), export: gammatest.Raw(200, "text/html", "<html>"), code: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			synctest.Test(t, func(t *testing.T) {
				client, g := gammatest.NewClient(t, tt.life)
				g.Next("createGeneration", tt.create)
				g.NextDownload(tt.export)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.cancel > 0 {
					time.AfterFunc(tt.cancel, cancel)
				}
				err := run(ctx, client, tt.text)
				if err == nil {
					t.Fatal("no error")
				}
				if code, advice := explain(err); code != tt.code || advice == "" {
					t.Errorf("%d %s, want %d, of: %v", code, advice, tt.code, err)
				}
				if first := inOrder(err); first != tt.first {
					t.Errorf("the first match in README.md is %q, want %q, of: %v", first, tt.first, err)
				}
			})
		})
	}
}

// readmeOrder returns a function that returns the first error in the table of README.md that
// matches an error.
func readmeOrder(t *testing.T) func(error) string {
	t.Helper()
	matches := map[string]func(error) bool{
		"*poller.FailedError":        as[*poller.FailedError],
		"*poller.WaitError":          as[*poller.WaitError],
		"*gamma.InvalidRequestError": as[*gamma.InvalidRequestError],
		"*gamma.APIError":            as[*gamma.APIError],
		"ErrMaybeCreated":            is(gamma.ErrMaybeCreated),
		"ErrLinkExpired":             is(gamma.ErrLinkExpired),
		"ErrUnauthorized":            is(gamma.ErrUnauthorized),
		"ErrInsufficientCredits":     is(gamma.ErrInsufficientCredits),
		"ErrForbidden":               is(gamma.ErrForbidden),
		"ErrNotFound":                is(gamma.ErrNotFound),
		"ErrRateLimited":             is(gamma.ErrRateLimited),
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(readme), "\n## Errors\n")
	table, _, _ = strings.Cut(table, "\n## ")
	var order []string
	for line := range strings.Lines(table) {
		question, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		for _, m := range regexp.MustCompile("`(?:gamma\\.)?(\\*[\\w.]+|Err\\w+)`").FindAllStringSubmatch(question, -1) {
			order = append(order, m[1])
		}
	}
	if !slices.Equal(slices.Sorted(maps.Keys(matches)), slices.Sorted(slices.Values(order))) {
		t.Fatalf("README.md has %q", order)
	}
	return func(err error) string {
		for _, name := range order {
			if matches[name](err) {
				return name
			}
		}
		return ""
	}
}

func as[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}
