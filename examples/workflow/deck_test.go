// Package workflow tests deck.yml.
package workflow

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/gammatest"
)

type workflow struct {
	Permissions map[string]string
	Concurrency struct {
		Group  string
		Cancel *bool `yaml:"cancel-in-progress"`
	}
	Jobs map[string]struct {
		RunsOn  string `yaml:"runs-on"`
		Timeout int    `yaml:"timeout-minutes"`
		Env     map[string]string
		Steps   []step
	}
}

type step struct {
	ID, If, Run, Uses string
	With, Env         map[string]string
}

func load(t *testing.T) workflow {
	data, err := os.ReadFile("deck.yml")
	if err != nil {
		t.Fatal(err)
	}
	var w workflow
	if err := yaml.Unmarshal(data, &w); err != nil {
		t.Fatal(err)
	}
	if len(w.Jobs) != 1 || len(w.Jobs["deck"].Steps) == 0 {
		t.Fatalf("not the job deck alone: %+v", w)
	}
	return w
}

func TestSettings(t *testing.T) {
	w := load(t)
	if fmt.Sprint(w.Permissions) != "map[contents:read]" {
		t.Errorf("permissions %v", w.Permissions)
	}
	if w.Concurrency.Group == "" || w.Concurrency.Cancel == nil || *w.Concurrency.Cancel {
		t.Errorf("concurrency %+v", w.Concurrency)
	}
	if w.Jobs["deck"].Timeout == 0 {
		t.Error("no timeout")
	}
	installed := false
	for _, s := range w.Jobs["deck"].Steps {
		if s.Uses != "" && !regexp.MustCompile(`^actions/[a-z/-]+@(v\d+|[0-9a-f]{40})$`).MatchString(s.Uses) {
			t.Errorf("%s is not pinned, or not GitHub's", s.Uses)
		}
		if strings.Contains(s.Run, "${{") {
			t.Errorf("an expression in a script is code: %s", s.Run)
		}
		if s.Env["GAMMA_API_KEY"] != "" && s.ID != "create" {
			t.Errorf("the step %q has the key", s.Run)
		}
		installed = installed || s.Run == "go install github.com/gamma-sdk/gamma-go/cmd/gamma@v"+gamma.Version
	}
	if !installed {
		t.Errorf("version %s of the command is not installed", gamma.Version)
	}
}

// github runs the workflow as GitHub does: on a new runner each time, with one cache.
type github struct {
	t        *testing.T
	workflow workflow
	bin      string            // has the gamma command
	url      string            // of the fake
	text     string            // of deck.md
	cache    map[string]string // from a key to a folder
	keys     []string          // the oldest first
	run      int
}

type attempt struct {
	number string // of the attempt, "" is 1
	retry  string
	lost   string // "create" if the runner is lost after the create, "cannot save" if the cache cannot be written
}

// start runs the workflow and returns the artifact, nil if it failed.
func (g *github) start(a attempt) []byte {
	g.t.Helper()
	dir := g.t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "deck.md"), []byte(g.text), 0o600); err != nil {
		g.t.Fatal(err)
	}
	if a.number == "" {
		a.number = "1"
		g.run++
	}
	job := g.workflow.Jobs["deck"]
	expand := func(text string) string {
		return regexp.MustCompile(`\$\{\{ (.*?) \}\}`).ReplaceAllStringFunc(text, func(expression string) string {
			switch expression[4 : len(expression)-3] {
			case "hashFiles('deck.md')":
				return fmt.Sprintf("%x", sha256.Sum256([]byte(g.text)))
			case "github.run_id":
				return fmt.Sprint(g.run)
			case "github.run_attempt":
				return a.number
			case "secrets.GAMMA_API_KEY":
				return gammatest.Key
			case "github.run_attempt == 1 && inputs.retry != 'nothing' && inputs.retry || ''":
				if a.number == "1" {
					return a.retry
				}
				return ""
			}
			g.t.Fatalf("the test does not know %s", expression)
			return ""
		})
	}
	var artifact []byte
	failed, created := false, "skipped"
	for _, s := range job.Steps {
		switch s.If {
		case "":
			if failed {
				continue
			}
		case "always() && steps.create.outcome != 'skipped'":
			if created == "skipped" {
				continue
			}
		default:
			g.t.Fatalf("the test does not know the condition %s", s.If)
		}
		with := func(name string) string { return expand(s.With[name]) }
		switch action, _, _ := strings.Cut(s.Uses, "@"); action {
		case "actions/checkout", "actions/setup-go":
		case "actions/cache/restore":
			found := g.restore(with("key"), filepath.Join(dir, with("path")), with("lookup-only") == "true")
			failed = failed || !found && with("fail-on-cache-miss") == "true"
		case "actions/cache/save":
			if a.lost != "cannot save" {
				g.save(with("key"), filepath.Join(dir, with("path")))
			}
		case "actions/upload-artifact":
			var err error
			if artifact, err = os.ReadFile(filepath.Join(dir, with("path"))); err != nil {
				failed = true
			}
		case "":
			if strings.HasPrefix(s.Run, "go install") {
				continue // the command is that of this tree
			}
			env := append(os.Environ(), "GAMMA_BASE_URL="+g.url, "GITHUB_RUN_ATTEMPT="+a.number, "PATH="+g.bin+string(os.PathListSeparator)+os.Getenv("PATH"))
			for name, value := range job.Env {
				if name == "TIMEOUT" {
					value = "10s" // the first poll comes after a tenth
				}
				env = append(env, name+"="+expand(value))
			}
			for name, value := range s.Env {
				env = append(env, name+"="+expand(value))
			}
			cmd := exec.CommandContext(g.t.Context(), "bash", "-eu", "-o", "pipefail", "-c", s.Run)
			cmd.Dir, cmd.Env = dir, env
			out, err := cmd.CombinedOutput()
			g.t.Logf("%s\n%s", s.Run, out)
			if bytes.Contains(out, []byte(gammatest.Key)) {
				g.t.Error("the output has the API key")
			}
			if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
				g.t.Fatal(err)
			}
			failed = failed || err != nil
			if s.ID == "create" {
				if created = "done"; a.lost == "create" {
					return nil
				}
			}
		default:
			g.t.Fatalf("the test does not know %s", action)
		}
	}
	if failed {
		return nil
	}
	return artifact
}

func (g *github) restore(prefix, path string, lookup bool) bool {
	for i := len(g.keys) - 1; i >= 0; i-- {
		if key := g.keys[i]; strings.HasPrefix(key, prefix) {
			if lookup {
				return true
			}
			if err := os.CopyFS(path, os.DirFS(g.cache[key])); err != nil {
				g.t.Fatal(err)
			}
			return true
		}
	}
	return false
}

func (g *github) save(key, path string) {
	if g.cache[key] != "" {
		g.t.Fatalf("the key %s is taken", key)
	}
	g.cache[key] = g.t.TempDir()
	g.keys = append(g.keys, key)
	if err := os.CopyFS(g.cache[key], os.DirFS(path)); err != nil {
		g.t.Fatal(err)
	}
}

func TestWorkflow(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip(err)
	}
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, ".")
	build.Dir = filepath.Join("..", "..", "cmd", "gamma")
	build.Env = append(os.Environ(), "GOWORK=") // its go.work has the replace directives
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, tt := range []struct {
		name     string
		attempts []attempt
		life     [][]gammatest.Step // of the first generation, the second, ...
		forget   bool               // the cache is gone after the first attempt
		creates  int
		saved    bool // in the last attempt
	}{
		{"once", []attempt{{}}, nil, false, 1, true},
		{"again, with the journal", []attempt{{}, {number: "2"}, {}}, nil, false, 1, true},
		{"re-run after the cache is gone", []attempt{{}, {number: "2"}}, nil, true, 1, false},
		{"by hand after the cache is gone", []attempt{{}, {retry: "uncertain"}}, nil, true, 2, true},
		{"the runner is lost after the create", []attempt{{lost: "create"}, {number: "2"}, {}}, nil, false, 1, false},
		{"by hand after the runner is lost", []attempt{{lost: "create"}, {retry: "uncertain"}, {number: "2"}}, nil, false, 2, true},
		{"re-run of a run by hand that is lost", []attempt{{lost: "create"}, {retry: "uncertain", lost: "create"}, {number: "2"}}, nil, false, 2, false},
		{"the cache cannot be written", []attempt{{lost: "cannot save"}}, nil, false, 0, false},
		{"it fails, re-run", []attempt{{}, {number: "2"}}, [][]gammatest.Step{{gammatest.Failed(422, "No luck.")}}, false, 1, false},
		{"it fails, by hand", []attempt{{}, {retry: "failed"}}, [][]gammatest.Step{{gammatest.Failed(422, "No luck.")}}, false, 2, true},
		{"no response, re-run", []attempt{{}, {number: "2"}}, [][]gammatest.Step{{gammatest.ForCreate(gammatest.Cut(gammatest.Usual()))}}, false, 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			fake := gammatest.NewServer(t, gammatest.Completed(""))
			creates := 0
			fake.OnCreate(func(api.GenerationRequest) []gammatest.Step {
				if creates++; creates <= len(tt.life) {
					return tt.life[creates-1]
				}
				return nil
			})
			g := &github{t: t, workflow: load(t), bin: bin, url: fake.URL, text: "# Tea\n", cache: map[string]string{}}
			var pdf []byte
			for i, a := range tt.attempts {
				if i == 1 && tt.forget {
					clear(g.cache)
					g.keys = nil
				}
				pdf = g.start(a)
			}
			if creates != tt.creates {
				t.Errorf("%d creates, want %d", creates, tt.creates)
			}
			if want := fake.Export(fmt.Sprintf("gen%06d", creates)); tt.saved && !bytes.Equal(pdf, want) || !tt.saved && pdf != nil {
				t.Errorf("the artifact has %d bytes, want %d: %v", len(pdf), len(want), tt.saved)
			}
		})
	}
}
