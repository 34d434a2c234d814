// Tests the program in README.md and its size.
package main

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gamma-sdk/gamma-go/gammatest"
)

// Limits of what the SDK adds to a program. A commit that raises one says why.
const (
	maxModules  = 4  // in the binary, without that of the program
	maxSumLines = 25 // of go.sum, in a module that requires the SDK and nothing else
	maxPackages = 16 // linked, more than in the bare program

	// Bytes of the sections of a binary for linux/amd64, more than in the bare program. The
	// size of the file is rounded up to pages.
	maxWaitBytes = 222 << 10 // for a program that only waits, as the bare one does
	maxBytes     = 350 << 10 // for the program in README.md, which also creates and downloads
)

func TestProgram(t *testing.T) {
	program := build(t, ".")
	for name, tt := range map[string]struct {
		key    string
		life   gammatest.Step
		script func(*gammatest.API)
		want   string
		ok     bool
	}{
		"completed":    {gammatest.Key, gammatest.Completed(""), nil, "Gamma: https://gamma.app/docs/g_gen000001\n", true},
		"expired link": {gammatest.Key, gammatest.Completed(""), func(g *gammatest.API) { g.NextDownload(gammatest.Status(403)) }, "the export link has expired", false},
		"failed":       {gammatest.Key, gammatest.Failed(422, "No luck."), nil, "No luck.", false},
		"no credits":   {gammatest.Key, gammatest.Step{}, func(g *gammatest.API) { g.Next("createGeneration", gammatest.Status(402)) }, "402 Payment Required", false},
		"wrong key":    {"sk-gamma-other", gammatest.Step{}, nil, "401 Unauthorized", false},
		"no key":       {"", gammatest.Step{}, nil, "GAMMA_API_KEY is not set", false},
	} {
		t.Run(name, func(t *testing.T) {
			g := gammatest.NewServer(t, tt.life)
			if tt.script != nil {
				tt.script(g.API)
			}
			cmd := exec.CommandContext(t.Context(), program)
			cmd.Dir = t.TempDir()
			cmd.Env = append(os.Environ(), "GAMMA_API_KEY="+tt.key, "GAMMA_BASE_URL="+g.URL)
			out, err := cmd.CombinedOutput()
			if (err == nil) != tt.ok || !strings.Contains(string(out), tt.want) || tt.key != "" && strings.Contains(string(out), tt.key) {
				t.Errorf("%v, printed\n%s\nwant\n%s", err, out, tt.want)
			}
			if file, err := os.ReadFile(filepath.Join(cmd.Dir, "tea.pdf")); (err == nil) != tt.ok || tt.ok && !bytes.Equal(file, g.Export("gen000001")) {
				t.Errorf("tea.pdf: %d bytes, %v", len(file), err)
			}
			if tt.key == "" {
				return
			}
			if sent, want := string(g.Requests()[0].Body), `{"exportAs":"pdf","inputText":"A short history of tea"}`; sent != want {
				t.Errorf("sent %s, want %s", sent, want)
			}
		})
	}
}

func TestSize(t *testing.T) {
	t.Setenv("GOOS", "linux") // the same sizes on every machine
	t.Setenv("GOARCH", "amd64")
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
	check(t, "packages linked, more than in the bare program", packages(t, ".")-packages(t, "./bare"), maxPackages)
	check(t, "bytes of a program that only waits, more than of the bare program", size(t, build(t, "./wait"))-size(t, bare), maxWaitBytes)
	check(t, "bytes of the program, more than of the bare program", size(t, program)-size(t, bare), maxBytes)
}

func check(t *testing.T, what string, got, most int) {
	t.Helper()
	t.Logf("%s: %d, at most %d", what, got, most)
	if got > most {
		t.Errorf("%s: %d, more than %d", what, got, most)
	}
}

// sumLines returns the number of lines of go.sum in a new module that requires the SDK: the
// go.sum of this module may have more.
func sumLines(t *testing.T) int {
	t.Helper()
	root, err := filepath.Abs("../../..")
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
	goCommand(t, dir, "mod", "edit", "-require=github.com/gamma-sdk/gamma-go@v0.1.0", "-replace=github.com/gamma-sdk/gamma-go="+root)
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
	binary, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer binary.Close()
	size := uint64(0)
	for _, section := range binary.Sections {
		if section.Type != elf.SHT_NOBITS {
			size += section.FileSize
		}
	}
	return int(size)
}

// build builds the package in dir, with the same result on every machine.
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
