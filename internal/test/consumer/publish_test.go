package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/version"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/gamma-sdk/gamma-go"
)

const (
	sdk     = "github.com/gamma-sdk/gamma-go"
	release = "v" + gamma.Version
)

// A use is a program that uses a published module, and the arguments of the go command that
// tries it. For a module that is a program itself, they are the arguments of that program.
type use struct {
	file, source string
	args         []string
}

// How each published module is used, by its directory.
var uses = map[string]use{
	".": {"main.go", "", []string{"build", "-o", os.DevNull, "."}}, // with the main.go of this package
	"gammatest": {"stranger_test.go", `package stranger

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
`, []string{"test", "."}},
	"batch": {"main.go", `package main

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
`, []string{"run", "."}},
	"poller/riverwait": {"main.go", `package main

import (
	"context"
	"fmt"

	"github.com/gamma-sdk/gamma-go/poller/riverwait"
)

func main() {
	fmt.Println(new(riverwait.Watcher).Run(context.Background())) // without a database it only has bad settings
}
`, []string{"run", "."}},
	"cmd/gamma": {args: []string{"version"}},
}

// "go get" in an empty module gets the published modules as they are in the tree, and "go
// install" the command: their go.mod files require versions that exist, and nothing is
// missing in their archives, neither a source file nor the licence.
func TestPublishedModules(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	modules := publishedModules(t, root)
	proxy, archives := publish(t, root, modules)
	// What the modules depend on comes from the module cache, so that this needs no network
	// if they have been built before. The proxies of the environment are a second try.
	local := proxy + ",file://" + filepath.ToSlash(goEnv(t, "GOMODCACHE")) + "/cache/download"
	proxies := []string{local, local + "," + goEnv(t, "GOPROXY")}
	cache := t.TempDir()
	for _, m := range modules {
		t.Run(m.dir, func(t *testing.T) {
			if !m.supported() {
				t.Skip("requires Go " + m.goVersion)
			}
			checkLicense(t, root, m, archives[m.path])
			for i, proxy := range proxies {
				out, err := try(t, m, cache, proxy)
				if err == nil {
					return
				}
				if i == len(proxies)-1 {
					t.Errorf("%v\n%s", err, out)
				} else {
					t.Logf("with the module cache only: %v\n%s", err, out)
				}
			}
		})
	}
}

// A module is a line of internal/ci/published.
type module struct {
	dir, path, goVersion string
}

// supported reports whether this version of Go can build m.
func (m module) supported() bool {
	return version.Compare(runtime.Version(), "go"+m.goVersion) >= 0
}

func publishedModules(t *testing.T, root string) []module {
	t.Helper()
	list, err := os.ReadFile(filepath.Join(root, "internal", "ci", "published"))
	if err != nil {
		t.Fatal(err)
	}
	var modules []module
	for line := range strings.Lines(string(list)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) != 2 {
			t.Fatalf("internal/ci/published: %q is not a directory and a version of Go", line)
		}
		m := module{fields[0], path.Join(sdk, fields[0]), fields[1]}
		if _, found := uses[m.dir]; !found {
			t.Fatalf("internal/ci/published has %s: add a program that uses it to this test", m.dir)
		}
		modules = append(modules, m)
	}
	if len(modules) != len(uses) {
		t.Fatalf("internal/ci/published has %d modules, and this test has programs for %d", len(modules), len(uses))
	}
	return modules
}

// checkLicense checks that the archive of m has the licence of the repository. The go command
// copies it from the root into the archive of a nested module (go.dev/ref/mod#vcs-license).
func checkLicense(t *testing.T, root string, m module, archive string) {
	t.Helper()
	want, err := os.ReadFile(filepath.Join(root, "LICENSE"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := zip.OpenReader(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = files.Close() }()
	got, err := fs.ReadFile(&files.Reader, m.path+"@"+release+"/LICENSE")
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the module's archive does not have the repository's LICENSE: %v", err)
	}
}

// try gets m into an empty module and uses it there.
func try(t *testing.T, m module, cache, proxy string) (string, error) {
	t.Helper()
	dir, use := t.TempDir(), uses[m.dir]
	if use.file == "" {
		return tryProgram(t, m, dir, cache, proxy)
	}
	source := []byte(use.source)
	if use.source == "" {
		var err error
		if source, err = os.ReadFile(use.file); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, use.file), source, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"mod", "init", "example.com/stranger"}, {"get", m.path + "@" + release}, use.args} {
		if out, err := stranger(t, dir, cache, proxy, args...); err != nil {
			return out, err
		}
	}
	return "", nil
}

// tryProgram installs the program m into dir and runs it.
func tryProgram(t *testing.T, m module, dir, cache, proxy string) (string, error) {
	t.Helper()
	t.Setenv("GOBIN", dir)
	if out, err := stranger(t, dir, cache, proxy, "install", m.path+"@"+release); err != nil {
		return out, err
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(dir, path.Base(m.path)), uses[m.dir].args...).CombinedOutput()
	if err == nil && !strings.Contains(string(out), gamma.Version) {
		err = errors.New("it does not print the version " + gamma.Version)
	}
	return string(out), err
}

// stranger runs the go command in dir with a module cache and a proxy.
func stranger(t *testing.T, dir, cache, proxy string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = environment(cache, proxy)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	return string(out), err
}

// environment returns that of a go command with a module cache and a proxy, without the
// user's settings for modules. -trimpath lets the build cache have the packages, whose
// directories differ from run to run.
func environment(cache, proxy string) []string {
	return append(os.Environ(), "GOPROXY="+proxy, "GOMODCACHE="+cache, "GOFLAGS=-mod=mod -modcacherw -trimpath",
		"GOENV=off", "GOPRIVATE=", "GONOPROXY=", "GONOSUMDB=", "GOSUMDB=off", "GOTOOLCHAIN=local", "GOWORK=off", "CGO_ENABLED=0")
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	return strings.TrimSpace(goCommand(t, ".", "env", name))
}

// publish makes a proxy in the file system (go.dev/ref/mod, section "GOPROXY protocol") of
// the published modules as they are in the tree at root. The go command makes their archives
// from the tags of a repository, as it does after a release. publish returns the archive of
// each module that this version of Go can build, by its path.
func publish(t *testing.T, root string, modules []module) (proxy string, archives map[string]string) {
	t.Helper()
	// The repository has one commit: what is in the tree, committed there or not.
	repo, cache := t.TempDir(), t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"--git-dir=" + filepath.Join(repo, ".git"), "--work-tree=" + root,
			"-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgSign=false", "-c", "tag.gpgSign=false"}, args...)...)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	git("init", "-q")
	git("add", "--all")
	git("commit", "-q", "--no-verify", "-m", release)
	for _, m := range modules {
		git("tag", path.Join(m.dir, release))
	}

	archives = make(map[string]string)
	for _, m := range modules {
		if !m.supported() {
			continue
		}
		cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", m.path+"@"+release)
		cmd.Dir = repo
		cmd.Env = append(environment(cache, "direct"), "GIT_CONFIG_COUNT=1",
			"GIT_CONFIG_KEY_0=url.file://"+filepath.ToSlash(repo)+".insteadOf", "GIT_CONFIG_VALUE_0=https://"+sdk)
		out, err := cmd.Output()
		var got struct{ Zip, Error string }
		if jsonErr := json.Unmarshal(out, &got); jsonErr != nil || err != nil {
			t.Fatalf("go mod download %s: %v: %s", m.path, err, got.Error)
		}
		archives[m.path] = got.Zip
	}
	return "file://" + filepath.ToSlash(cache) + "/cache/download", archives
}
