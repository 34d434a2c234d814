package main

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go/examples/internal/process"
	"github.com/gamma-sdk/gamma-go/gammatest"
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

func TestExplain(t *testing.T) {
	const text = "A short history of tea"
	for _, tt := range []struct {
		name   string
		text   string
		create gammatest.Step
		life   gammatest.Step
		export gammatest.Step
		cancel time.Duration // 0 is never
		code   int
	}{
		{name: "may have been created, no response", text: text, create: gammatest.Drop(), code: 3},
		{name: "may have been created, status 500", text: text, create: gammatest.Status(500), code: 3},
		{name: "may have been created, canceled", text: text, create: gammatest.Hang(), cancel: time.Second, code: 3},
		{name: "invalid request", code: 4},
		{name: "failed", text: text, life: gammatest.Failed(422, "No luck."), code: 5},
		{name: "wrong key, create", text: text, create: gammatest.Status(401), code: 6},
		{name: "wrong key, wait", text: text, life: gammatest.Status(401), code: 6},
		{name: "no credits", text: text, create: gammatest.Status(402), code: 7},
		{name: "expired link", text: text, life: gammatest.Completed(""), export: gammatest.Status(403), code: 8},
		{name: "forbidden", text: text, create: gammatest.Status(403), code: 9},
		{name: "not found", text: text, life: gammatest.Status(404), code: 9},
		{name: "no export", text: text, life: gammatest.ExportPendingFor(time.Hour), code: 10},
		{name: "pause, wait", text: text, life: gammatest.RateLimited(time.Hour), code: 11},
		{name: "rate limited, create", text: text, create: gammatest.Times(10, gammatest.RateLimited(time.Hour)), code: 11},
		{name: "not finished in time", text: text, life: gammatest.PendingFor(time.Hour), code: 12},
		{name: "an outage", text: text, life: gammatest.Times(1000, gammatest.Drop()), code: 12},
		{name: "canceled, wait", text: text, life: gammatest.PendingFor(time.Hour), cancel: time.Minute, code: 12},
		{name: "canceled, create waits", text: text, create: gammatest.RateLimited(2 * time.Minute), cancel: time.Minute, code: 11},
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
			})
		})
	}
}
