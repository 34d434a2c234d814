// Tests of the program in README.md, and of what it costs its user.
package main

import (
	"bytes"
	"debug/buildinfo"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What the SDK may cost its user. Raise a number only with the reason in the commit.
const (
	maxModules  = 4  // in the binary, the program's own not counted
	maxSumLines = 25 // of go.sum, in a module that requires the SDK and nothing else
	maxPackages = 14 // linked beyond those of the bare program

	// Of the binary, beyond the bare program's. 32 KiB of each are the document.
	maxWaitBytes = 192 << 10 // of a program that only waits, as the bare one does
	maxBytes     = 330 << 10 // of the one that creates and downloads, too
)

func TestProgram(t *testing.T) {
	program := build(t, ".")
	const key = "sk-gamma-consumer"
	tests := []struct {
		name, key string
		created   int    // the status of the create
		status    string // of the generation
		want      string
		ok        bool
	}{
		{"completed", key, 200, `"completed","gammaUrl":"https://gamma.app/docs/x","exportUrl":"FILES/x.pdf","credits":{"deducted":25,"remaining":16777217}`, "Gamma: https://gamma.app/docs/x\nSaved: tea.pdf\n", true},
		{"expired", key, 200, `"completed","exportUrl":"FILES/expired.pdf"`, "the export link has expired", false},
		{"failed", key, 200, `"failed","error":{"message":"No luck.","statusCode":422}`, "No luck.", false},
		{"refused", key, 402, "", "402 Payment Required", false},
		{"wrong key", "sk-gamma-other", 200, "", "401 Unauthorized", false},
		{"no key", "", 200, "", "GAMMA_API_KEY is not set", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("X-Api-Key") != "" {
					t.Error("the host of the export got the key")
				}
				if r.URL.Path != "/x.pdf" {
					w.WriteHeader(http.StatusForbidden)
				}
				_, _ = io.WriteString(w, "%PDF-1.7")
			}))
			defer files.Close()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				body := `{"generationId":"gen1"}`
				switch r.Method + " " + r.URL.Path {
				case "POST /v1.0/generations":
					sent, _ := io.ReadAll(r.Body)
					if want := `{"exportAs":"pdf","inputText":"A short history of tea","numCards":5}`; string(sent) != want {
						t.Errorf("sent %s, want %s", sent, want)
					}
					switch {
					case r.Header.Get("X-Api-Key") != key:
						w.WriteHeader(http.StatusUnauthorized)
					case tt.created != http.StatusOK:
						w.WriteHeader(tt.created)
					}
				case "GET /v1.0/generations/gen1":
					body = `{"generationId":"gen1","status":` + strings.Replace(tt.status, "FILES", files.URL, 1) + `}`
				default:
					t.Errorf("got %s %s", r.Method, r.URL)
				}
				_, _ = io.WriteString(w, body)
			}))
			defer server.Close()
			cmd := exec.CommandContext(t.Context(), program)
			cmd.Dir = t.TempDir()
			cmd.Env = append(os.Environ(), "GAMMA_API_KEY="+tt.key, "GAMMA_BASE_URL="+server.URL)
			out, err := cmd.CombinedOutput()
			if (err == nil) != tt.ok || !strings.Contains(string(out), tt.want) || tt.key != "" && strings.Contains(string(out), tt.key) {
				t.Errorf("%v, printed\n%s\nwant\n%s", err, out, tt.want)
			}
			if file, err := os.ReadFile(filepath.Join(cmd.Dir, "tea.pdf")); (err == nil) != tt.ok || tt.ok && string(file) != "%PDF-1.7" {
				t.Errorf("tea.pdf: %q, %v", file, err)
			}
		})
	}
}

// The program in README.md is the one that the other tests build and run.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(readme), "```go\npackage main\n")
	program, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatal("README.md has no program")
	}
	main, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	if want := "package main\n" + program; string(main) != want {
		t.Errorf("main.go is not the program in README.md, which is\n%s", want)
	}
}

func TestWeight(t *testing.T) {
	program, bare := build(t, "."), build(t, "./bare")
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range info.Deps {
		t.Logf("module in the binary: %s", m.Path)
	}
	check(t, "modules in the binary", len(info.Deps), maxModules)
	check(t, "lines of go.sum", sumLines(t), maxSumLines)
	check(t, "packages linked beyond the bare program's", packages(t, ".")-packages(t, "./bare"), maxPackages)
	check(t, "bytes of a program that only waits, beyond the bare program's", size(t, build(t, "./wait"))-size(t, bare), maxWaitBytes)
	check(t, "bytes of the binary beyond the bare program's", size(t, program)-size(t, bare), maxBytes)
}

func check(t *testing.T, what string, got, most int) {
	t.Helper()
	t.Logf("%s: %d, at most %d", what, got, most)
	if got > most {
		t.Errorf("%s: %d, more than %d", what, got, most)
	}
}

// sumLines counts what a stranger's module gets who requires the SDK: this
// module's own go.sum could hold more.
func sumLines(t *testing.T) int {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), program, 0o600); err != nil {
		t.Fatal(err)
	}
	goCommand(t, dir, "mod", "init", "example.com/stranger")
	goCommand(t, dir, "mod", "edit", "-require=github.com/gamma-sdk/gamma-go@v0.0.0", "-replace=github.com/gamma-sdk/gamma-go="+root)
	goCommand(t, dir, "mod", "tidy")
	goCommand(t, dir, "build", "-o", os.DevNull, ".")
	sum, err := os.ReadFile(filepath.Join(dir, "go.sum"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return bytes.Count(sum, []byte("\n"))
}

func packages(t *testing.T, dir string) int {
	t.Helper()
	return strings.Count(goCommand(t, ".", "list", "-buildvcs=false", "-deps", dir), "\n")
}

func size(t *testing.T, file string) int {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return int(info.Size())
}

// build builds the package in dir without what differs from machine to machine.
func build(t *testing.T, dir string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program")
	goCommand(t, ".", "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", file, dir)
	return file
}

func goCommand(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}
