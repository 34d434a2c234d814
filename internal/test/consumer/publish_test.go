package main

import (
	"archive/zip"
	"errors"
	"fmt"
	"go/version"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/gamma-sdk/gamma-go"
)

const release = "v" + gamma.Version

// A published module is one that a stranger can get without this tree.
type published struct {
	dir     string            // in the tree
	program map[string]string // that uses it, by file name; nil if it is a program itself
	command []string          // of go, that tries the program, or of the program itself
	oldest  string            // version of Go that it needs; empty for that of the SDK
}

var publishedModules = map[string]published{
	"github.com/gamma-sdk/gamma-go": {".", map[string]string{"main.go": ""}, []string{"build", "-o", os.DevNull, "."}, ""},
	"github.com/gamma-sdk/gamma-go/gammatest": {"gammatest", map[string]string{"stranger_test.go": `package stranger

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/poller"
)

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, g := gammatest.NewClient(t)
		g.Add("gen1", gammatest.PendingFor(time.Minute), gammatest.Completed(""))
		if _, err := poller.New(client).Wait(t.Context(), "gen1"); err != nil {
			t.Error(err)
		}
	})
}
`}, []string{"test", "."}, ""},
	"github.com/gamma-sdk/gamma-go/batch": {"batch", map[string]string{"main.go": `package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/batch"
)

func main() {
	client, err := gamma.NewClientFromEnv()
	if err != nil {
		return
	}
	b := batch.Batch{Client: client, Dir: "decks"}
	inputs := []batch.Input{{Key: "tea", Request: api.GenerationRequest{InputText: "A short history of tea"}}}
	for r := range b.Run(context.Background(), slices.Values(inputs)) {
		fmt.Println(r.Key, r.Saved, r.Err)
	}
}
`}, []string{"run", "."}, ""},
	"github.com/gamma-sdk/gamma-go/poller/riverwait": {"poller/riverwait", map[string]string{"main.go": `package main

import (
	"context"
	"fmt"

	"github.com/gamma-sdk/gamma-go/poller/riverwait"
)

func main() {
	fmt.Println(new(riverwait.Watcher).Run(context.Background())) // without a database it only has bad settings
}
`}, []string{"run", "."}, "go1.26"},
	"github.com/gamma-sdk/gamma-go/cmd/gamma": {"cmd/gamma", nil, []string{"version"}, ""},
}

// "go get" in an empty module gets the published modules as they are in the tree, and "go
// install" the command: their go.mod files require versions that exist, and nothing is
// missing in their archives.
func TestPublishedModules(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	proxy, cache := t.TempDir(), t.TempDir()
	for path, m := range publishedModules {
		publish(t, proxy, path, filepath.Join(root, m.dir))
	}
	main, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	// What the modules depend on comes from the cache, so that this needs no network if
	// they have been built before. The proxies of the environment are a second try.
	local := "file://" + filepath.ToSlash(proxy) + ",file://" + filepath.ToSlash(goEnv(t, "GOMODCACHE")) + "/cache/download"
	proxies := []string{local, local + "," + goEnv(t, "GOPROXY")}
	for path, m := range publishedModules {
		t.Run(path, func(t *testing.T) {
			if m.oldest != "" && version.Compare(runtime.Version(), m.oldest) < 0 {
				t.Skip("it needs " + m.oldest)
			}
			dir := t.TempDir()
			for name, source := range m.program {
				if source == "" {
					source = string(main)
				}
				if err := os.WriteFile(filepath.Join(dir, name), []byte(source), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if out, err := stranger(t, dir, cache, local, "mod", "init", "example.com/stranger"); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for i, proxy := range proxies {
				out, err := try(t, path, m, dir, cache, proxy)
				if err == nil {
					return
				}
				if i == len(proxies)-1 {
					t.Errorf("%v\n%s", err, out)
				} else {
					t.Logf("with the module cache alone: %v\n%s", err, out)
				}
			}
		})
	}
}

// try gets the module at path, and runs its command in dir.
func try(t *testing.T, path string, m published, dir, cache, proxy string) (string, error) {
	t.Helper()
	if m.program != nil {
		out, err := stranger(t, dir, cache, proxy, "get", path+"@"+release)
		if err == nil {
			out, err = stranger(t, dir, cache, proxy, m.command...)
		}
		return out, err
	}
	t.Setenv("GOBIN", dir)
	out, err := stranger(t, dir, cache, proxy, "install", path+"@"+release)
	if err != nil {
		return out, err
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, filepath.Base(path)), m.command...)
	text, err := cmd.CombinedOutput()
	if err == nil && !strings.Contains(string(text), strings.TrimPrefix(release, "v")) {
		err = errors.New("it has another version")
	}
	return string(text), err
}

// stranger runs the go command in dir with a module cache and a proxy, and without the
// settings of the environment for modules. Without the paths of files in them, packages
// that were built before are not built again.
func stranger(t *testing.T, dir, cache, proxy string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOPROXY="+proxy, "GOMODCACHE="+cache, "GOFLAGS=-mod=mod -modcacherw -trimpath",
		"GOENV=off", "GOPRIVATE=", "GONOPROXY=", "GONOSUMDB=", "GOSUMDB=off", "GOTOOLCHAIN=local", "GOWORK=off", "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	return string(out), err
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	return strings.TrimSpace(goCommand(t, ".", "env", name))
}

// publish puts the module in dir into a proxy in the file system (go.dev/ref/mod,
// section "GOPROXY protocol").
func publish(t *testing.T, proxy, path, dir string) {
	t.Helper()
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(proxy, filepath.FromSlash(path), "@v")
	if err := os.MkdirAll(base, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"list":            release + "\n",
		release + ".info": fmt.Sprintf(`{"Version":%q,"Time":"2026-01-01T00:00:00Z"}`, release),
		release + ".mod":  string(mod),
	} {
		if err := os.WriteFile(filepath.Join(base, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.Create(filepath.Join(base, release+".zip"))
	if err != nil {
		t.Fatal(err)
	}
	archive := zip.NewWriter(file)
	for _, name := range moduleFiles(t, dir) {
		if err := add(archive, path+"@"+release+"/"+name, filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

func add(archive *zip.Writer, name, file string) error {
	from, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	to, err := archive.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return err
}

// moduleFiles returns the files of the module in dir by the rules for its archive
// (go.dev/ref/mod, section "Module zip files"): without nested modules, vendored packages, and what is not a regular
// file. Directories whose contents .gitignore excludes are not published either.
func moduleFiles(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		if entry.IsDir() {
			_, nested := os.Stat(filepath.Join(path, "go.mod"))
			switch entry.Name() {
			case ".git", "vendor", "node_modules", "dist", "bin":
				return filepath.SkipDir
			}
			if nested == nil {
				return filepath.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		name, err := filepath.Rel(dir, path)
		names = append(names, filepath.ToSlash(name))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
