package command

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/gammatest"
)

// expectation is the expected result of a line in a shell block of a document.
type expectation struct {
	before   string // is run before it, unchecked
	instead  string // is run instead, if not empty
	exit     int
	out, err string // what the streams match; they are empty if this is
}

// The commands in SKILL.md work.
func TestSkill(t *testing.T) {
	t.Parallel()
	const each = `(?s)^(\{[^\n]*"generationId":"gen\d+","input":"texts/(coffee|milk|tea)\.md","saved":"decks/\w+\.pdf","status":"completed"\}\n){3}$`
	want := map[string]expectation{
		"gamma check":       {out: `^the API key from the environment variable GAMMA_API_KEY works\n$`},
		"gamma help create": {out: `\n  gamma create FILE\.\.\. \| - \| --text TEXT \[flags\]\n`},
		"gamma create --json --dry-run --export pdf --dir decks texts/*.md": {
			out: `^(\{"action":"create","input":"texts/\w+.md"\}\n){3}$`,
			err: `^gamma: dry run: 3 to create\n$`,
		},
		"gamma create --json --export pdf --dir decks texts/*.md": {
			out: each,
			err: `gamma: 3 inputs in \w+: 3 created, 3 saved; 120 credits deducted\n$`,
		},
		`gamma create --json --no-wait --export pdf --dir decks --num-cards 5 --text "A short history of tea"`: {
			out: `^\{.*"generationId":"gen000001".*\}\n$`, err: `gamma: 1 input in \w+: 1 created\n$`,
		},
		"gamma status --json gen000001":           {out: `"generationId":"gen000001",.*"status":"completed"`},
		"gamma wait --json --dir decks gen000001": {out: `"saved":"decks/gen000001.pdf","status":"completed"`, err: `^done: gen000001 `},
		"gamma themes --json ash":                 {out: `^\{.*"id":"theme-ash".*\}\n$`},

		"gamma create --json --export pdf --dir decks --retry failed texts/*.md": {
			before: "echo 'fails the first time' >texts/milk.md; gamma create --timeout 10s --export pdf --dir decks texts/*.md",
			out:    each,
			err:    `gamma: 3 inputs in \w+: 1 created, 1 saved, 2 done by an earlier run; 40 credits deducted\n$`,
		},

		"gamma serve --addr 127.0.0.1:0 --failures 10% --rate-limit 30/10s >fake.env 2>fake.log &": {},
		"until [ -s fake.env ]; do sleep 1; done; . ./fake.env":                                    {},
		"gamma create --json --no-wait --dir fake texts/*.md": {
			out: `^(\{"generationId":"gen\d+","input":"texts/\w+.md"\}\n){3}$`,
			err: `gamma: 3 inputs in \w+: 3 created\n$`,
		},
		"kill $!": {},
	}
	var all []string
	for _, block := range blocks(t, "skills/gamma/SKILL.md", "") {
		lines := commands(block)
		all = append(all, lines...)
		t.Run(lines[0], func(t *testing.T) {
			t.Parallel()
			testLines(t, newFolder(t), lines, want)
		})
	}
	for line := range want {
		if !slices.Contains(all, line) {
			t.Errorf("there is no line %q", line)
		}
	}
}

// SKILL.md is short, and has the exit codes of the command.
func TestSkillExitCodes(t *testing.T) {
	t.Parallel()
	text := document(t, "skills/gamma/SKILL.md")
	if n := strings.Count(text, "\n"); n > 60 {
		t.Errorf("it has %d lines, want 60 at most", n)
	}
	if !regexp.MustCompile(`^---\nname: gamma\ndescription: .+\n---\n`).MatchString(text) {
		t.Error("it does not start with a name and a description")
	}
	help, err := exec.Command(filepath.Join(bin, "gamma"), "help", "exit-codes").Output()
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`(?m)^ +(\d+)  `).FindAllSubmatch(help, -1)
	if len(codes) < 9 {
		t.Fatalf("only %d codes in:\n%s", len(codes), help)
	}
	for _, code := range codes {
		if !regexp.MustCompile(`(?m)^\|[^|]*\b` + string(code[1]) + `\b[^|]*\|`).MatchString(text) {
			t.Errorf("there is no exit code %s", code[1])
		}
	}
}

// document returns the text of a file of the repository.
func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

// blocks returns the shell blocks of a section of a file of the repository. The heading ""
// means the whole file.
func blocks(t *testing.T, name, heading string) (blocks []string) {
	t.Helper()
	text := document(t, name)
	if heading != "" {
		_, text, _ = strings.Cut(text, "\n## "+heading+"\n")
		text, _, _ = strings.Cut(text, "\n## ")
	}
	for _, block := range regexp.MustCompile("(?ms)^```sh\n(.*?)\n```$").FindAllStringSubmatch(text, -1) {
		blocks = append(blocks, block[1])
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no shell block in %q", name, heading)
	}
	return blocks
}

// commands returns the lines of a block without their comments.
func commands(block string) []string {
	lines := strings.Split(block, "\n")
	for i, line := range lines {
		line, _, _ = strings.Cut(line, " #")
		lines[i] = strings.TrimSpace(line)
	}
	return lines
}

// folder is the directory in which the commands of a document run, with three texts and a
// fake.
type folder struct {
	fake *gammatest.Server
	dir  string
	env  []string
}

// newFolder returns a folder. The generations of its fake complete at once, except that a text
// with the word "fails" fails the first time.
func newFolder(t *testing.T) *folder {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("needs a shell")
	}
	f := &folder{fake: gammatest.NewServer(t), dir: t.TempDir()}
	var failed sync.Map
	f.fake.OnCreate(func(request api.GenerationRequest) []gammatest.Step {
		if _, again := failed.LoadOrStore(request.InputText, true); !again && strings.Contains(request.InputText, "fails") {
			return []gammatest.Step{gammatest.Failed(422, "Failed to generate text.")}
		}
		return []gammatest.Step{gammatest.Completed("")}
	})
	f.write(t, "coffee", "A short history of coffee")
	f.write(t, "milk", "A short history of milk")
	f.write(t, "tea", "A short history of tea")
	f.env = append(os.Environ(), "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"),
		"GAMMA_BASE_URL="+f.fake.URL, "GAMMA_API_KEY="+gammatest.Key)
	return f
}

func (f *folder) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(f.dir, "texts"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.dir, "texts", name+".md"), []byte(text+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
}

func (f *folder) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(f.dir, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sh runs a script in the folder, and returns its exit code and its output.
func (f *folder) sh(t *testing.T, script string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Dir, cmd.Env = f.dir, f.env
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// testLines runs lines in one shell, and checks each.
func testLines(t *testing.T, f *folder, lines []string, want map[string]expectation) {
	t.Helper()
	var script strings.Builder
	for i, line := range lines {
		if _, ok := want[line]; !ok {
			t.Fatalf("nothing is expected of %q", line)
		}
		if before := want[line].before; before != "" {
			fmt.Fprintf(&script, "{ %s\n} >/dev/null 2>&1\n", before)
		}
		fmt.Fprintf(&script, "{ %s\n} >out.%d 2>err.%d\necho $? >exit.%d\n", cmp.Or(want[line].instead, line), i, i, i)
	}
	if _, stdout, stderr := f.sh(t, script.String()); stdout+stderr != "" {
		t.Errorf("the shell said:\n%s%s", stdout, stderr)
	}
	for i, line := range lines {
		e := want[line]
		number := strconv.Itoa(i)
		code, out, err := f.read(t, "exit."+number), f.read(t, "out."+number), f.read(t, "err."+number)
		if code != strconv.Itoa(e.exit)+"\n" || !matches(e.out, out) || !matches(e.err, err) {
			t.Errorf("%s\nexit code %s, want %d; standard output:\n%sand standard error:\n%s\nwant %s and %s", line, strings.TrimSpace(code), e.exit, out, err, e.out, e.err)
		}
		if strings.Contains(out+err, gammatest.Key) {
			t.Errorf("%s\nits output has the key", line)
		}
	}
}

// matches reports whether text matches re, or both are empty.
func matches(re, text string) bool {
	if re == "" {
		return text == ""
	}
	return regexp.MustCompile(re).MatchString(text)
}
