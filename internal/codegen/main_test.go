package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestUsage(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"no file":              {nil, "usage: make spec FROM="},
		"invalid -servers":     {[]string{"-servers", "theirs", "a.md"}, `SERVERS must be keep or take, not "theirs"`},
		"unknown flag":         {[]string{"-x"}, "usage: make spec FROM="},
		"missing file":         {[]string{"-root", root, "missing.md"}, "make spec: no file was changed: open "},
		"missing openapi.json": {[]string{"-root", t.TempDir(), "-generate"}, "make generate: open "},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := command(t.Context(), tt.args, &out); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}
