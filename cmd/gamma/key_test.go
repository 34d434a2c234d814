package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKey(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const secret = "sk-gamma-0123456789"
	for _, tt := range []struct {
		name                string
		env, file, command  string
		key, from, mentions string
	}{
		{"environment", " " + secret + "\n", "", "", secret, fromEnv, ""},
		{"environment with quotes, which the client removes", `"` + secret + `"`, "", "", `"` + secret + `"`, fromEnv, ""},
		{"file before environment", "other", file("key", "\n "+secret+" \r\nuser: me\n"), "", secret, "the file of --key-file", ""},
		{"command before environment", "other", "", "echo " + secret, secret, "the output of --key-command", ""},
		{"no key", "", "", "", "", "", "no API key: set GAMMA_API_KEY"},
		{"an empty file, with the environment set", secret, file("empty", "\n \n"), "", "", "", "the file of --key-file is empty"},
		{"a file that is too long", secret, file("long", secret+strings.Repeat("x", maxKeyFile)), "", "", "", "too long"},
		{"no such file", secret, filepath.Join(dir, "nosuch"), "", "", "", "--key-file: open "},
		{"a command that fails", secret, "", "echo " + secret + "&& exit 3", "", "", "--key-command: exit status 3"},
		{"two flags", "", file("both", secret), "echo " + secret, "", "", "cannot be used together"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, _, _ := newTestApp(map[string]string{"GAMMA_API_KEY": tt.env})
			a.keyFile, a.keyCommand = tt.file, tt.command
			key, from, err := a.key(t.Context())
			if key != tt.key || from != tt.from && err == nil || (err != nil) != (tt.mentions != "") {
				t.Errorf("%q from %q, %v", key, from, err)
			}
			if err != nil && (!strings.Contains(err.Error(), tt.mentions) || strings.Contains(err.Error(), secret)) {
				t.Errorf("%v, want one with %q", err, tt.mentions)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	for _, tt := range []struct {
		base, insecure string
		exit           int // 0: the client is made
	}{
		{"", "", 0},
		{" https://gamma.example/ ", "", 0},
		{`"https://gamma.example"`, `"0"`, 0},
		{"http://gamma.example", "", 2},
		{"http://gamma.example", "true", 0},
		{"http://gamma.example", "yes", 2},
		{"gamma.example", "", 2},
	} {
		a, _, _ := newTestApp(map[string]string{"GAMMA_API_KEY": "sk-gamma-0123456789", "GAMMA_BASE_URL": tt.base, "GAMMA_INSECURE_HTTP": tt.insecure})
		if _, err := a.client(t.Context()); exitCode(err) != tt.exit {
			t.Errorf("GAMMA_BASE_URL=%s GAMMA_INSECURE_HTTP=%s: %v", tt.base, tt.insecure, err)
		}
	}
}
