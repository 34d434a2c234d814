package batch

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/gamma-sdk/gamma-go"
)

// A journal that is a pipe or a device is an error. Run does not block.
func TestJournalIsNotARegularFile(t *testing.T) {
	f := newFake()
	pipe := newBatch(t, f)
	if err := syscall.Mkfifo(pipe.journalPath(), 0o600); err != nil {
		t.Skip(err)
	}
	device := newBatch(t, f)
	if err := os.Symlink("/dev/zero", device.journalPath()); err != nil {
		t.Fatal(err)
	}
	for _, b := range []*Batch{pipe, device} {
		for p := range b.Plan(pdfs("tea")) {
			if p.Action != Refuse || !strings.HasSuffix(p.Err.Error(), "gamma.jsonl: not a regular file") {
				t.Errorf("%+v", p)
			}
		}
	}
	if got := collect(t, pipe.Run(t.Context(), pdfs("tea"))); len(got) != 1 || !strings.HasSuffix(got[""].Err.Error(), ": not a regular file") || f.count("") != 0 {
		t.Errorf("%+v", got)
	}
}

// fill lets no file grow by more than n bytes beyond the size of the one at path, until
// the returned function is called.
func fill(t *testing.T, path string, n int64) (empty func()) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = uint64(info.Size() + n)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &low); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			t.Error(err)
		}
	}
}

// On a full disk no request is sent without its line in the journal. An id that cannot be
// written is in the result.
func TestFullDisk(t *testing.T) {
	const child = "GAMMA_BATCH_TEST_FULL_DISK"
	if os.Getenv(child) == "" { // the limit is for the files of the whole process, also those of go test
		executable, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		alone := exec.Command(executable, "-test.run=^TestFullDisk$", "-test.timeout=1m")
		alone.Env = append(os.Environ(), child+"=1")
		if out, err := alone.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	signal.Ignore(syscall.SIGXFSZ)
	for _, tt := range []struct {
		name   string
		space  int64
		when   string // the request before which the disk is full; empty: at the start
		states string
		id     string
	}{
		{"not even the first line", 0, "start", "", ""},
		{"half the line of a create", 30, "", "", ""},
		{"no line of a create", 0, "", "", ""},
		{"no id", 0, "create tea", "creating", "gen-tea"},
		{"half an id", 50, "create tea", "creating", "gen-tea"},
		{"no end", 0, "poll gen-tea", "creating created", "gen-tea"},
		{"half an end", 80, "poll gen-tea", "creating created", "gen-tea"},
		{"no line of the export", 0, "download gen-tea", "creating created completed", "gen-tea"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.life = 0
				b := newBatch(t, f)
				b.Creates = 1
				writeJournal(t, b)
				empty := func() {}
				switch tt.when {
				case "start":
					writeFile(t, b.journalPath(), "")
					empty = fill(t, b.journalPath(), 0)
				case "":
					empty = fill(t, b.journalPath(), tt.space)
				default:
					f.before = func(name string) {
						if name == tt.when {
							empty = fill(t, b.journalPath(), tt.space)
						}
					}
				}
				got := map[string]Result{}
				for r := range b.Run(t.Context(), pdfs("tea", "coffee")) {
					got[r.Key] = r
				}
				empty()
				f.before = nil
				for key, r := range got {
					if !errors.Is(r.Err, syscall.EFBIG) && (key != "coffee" || tt.when != "poll gen-tea" && tt.when != "download gen-tea") {
						t.Errorf("%+v", r)
					}
					if r.Err != nil {
						oneLine(t, r.Err)
					}
				}
				if tt.when == "start" {
					if len(got) != 1 || got[""].Err == nil {
						t.Errorf("%+v", got)
					}
				} else if r := got["tea"]; r.GenerationID != tt.id || tt.states == "creating" && !strings.Contains(r.Err.Error(), "gen-tea") {
					t.Errorf("%+v", r)
				}
				if tt.id == "" && f.count("") != 0 {
					t.Errorf("%d requests", f.count(""))
				}
				if tt.when != "start" {
					if s := statesOf(t, b, "tea"); s != tt.states {
						t.Errorf("the journal has %q", s)
					}
				}
				f.reset()
				r := collect(t, b.Run(t.Context(), pdfs("tea", "coffee")))["tea"]
				if tt.states == "creating" {
					if !errors.Is(r.Err, gamma.ErrMaybeCreated) || f.count("create tea") != 0 {
						t.Errorf("the next run: %+v", r)
					}
				} else {
					allSaved(t, map[string]Result{"tea": r}, "tea")
				}
				f.once(t)
			})
		})
	}
}
