package gamma_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go"
)

// serving returns a client that gets data for every download.
func serving(t testing.TB, data []byte) *gamma.Client {
	t.Helper()
	return newClientWith(t, &http.Client{Transport: responds(func() *http.Response { return reply(200, "application/pdf", string(data)) })})
}

// never returns a client that fails the test if it sends a request.
func never(t *testing.T) *gamma.Client {
	t.Helper()
	return newClientWith(t, &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
		t.Error("a request was sent")
		return reply(501, "", ""), nil // 501 is not retried
	})})
}

// checkDir checks the names of the files in dir, including hidden ones.
func checkDir(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the directory has %q, want %q", got, want)
	}
}

func checkFile(t *testing.T, path string, want []byte) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes, %v", filepath.Base(path), len(got), err)
	}
}

// A name may be as long as the file system allows.
func TestDownloadFileNames(t *testing.T) {
	for _, name := range []string{"a", ".a", "a b", strings.Repeat("x", 64), strings.Repeat("x", 251) + ".pdf", strings.Repeat("é", 125) + ".pdf", "a\nb"} {
		if runtime.GOOS == "windows" && name == "a\nb" {
			continue
		}
		dir := t.TempDir()
		for range 2 { // a new file, then an existing one
			if err := serving(t, file).DownloadFile(t.Context(), "http://LocalHost/x.pdf", filepath.Join(dir, name)); err != nil {
				t.Errorf("%.5s: %v", name, err)
			}
			checkFile(t, filepath.Join(dir, name), file)
			checkDir(t, dir, name)
		}
	}
}

// A path that cannot be written is an error before any request, with a printable text.
func TestDownloadFileInvalidPaths(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return dir + string(filepath.Separator) + name }
	if err := errors.Join(os.WriteFile(at("file"), nil, 0o600), os.Mkdir(at("dir"), 0o700)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path string
		is   error // nil for any
	}{
		{"", nil},
		{at("dir"), nil},
		{at("dir/"), nil},
		{at("new/"), fs.ErrNotExist},
		{at("missing/deck.pdf"), fs.ErrNotExist},
		{at("missing\n\x1b[2J/deck.pdf"), fs.ErrNotExist},
		{at("file/deck.pdf"), nil},
		{at(strings.Repeat("x", 300)), nil},
		{at(strings.Repeat("\n", 300)), nil},
		{at("dir/" + strings.Repeat("../dir/", 2000) + "deck.pdf"), nil},
		{at("deck\x00.pdf"), nil},
		{os.DevNull, nil},
	} {
		err := never(t).DownloadFile(t.Context(), link, tt.path)
		if err == nil || tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%.50q: %v", tt.path, err)
			continue
		}
		checkExportError(t, err)
	}
	checkDir(t, dir, "dir", "file")
	if err := never(t).DownloadFile(t.Context(), "http://example.com", at("x")); err == nil {
		t.Error("http: no error")
	}
}

// An existing file keeps its mode. A new file has the mode of os.Create.
func TestDownloadFileMode(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes here")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "deck.pdf")
	created, err := os.Create(filepath.Join(dir, "created"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := created.Stat()
	if err := errors.Join(err, created.Close(), os.Remove(created.Name())); err != nil {
		t.Fatal(err)
	}
	download := func(want fs.FileMode) {
		t.Helper()
		err := serving(t, file).DownloadFile(t.Context(), link, path, gamma.WithProgress(func(int64, int64) {
			if part, err := os.Stat(filepath.Join(dir, ".deck.pdf.gamma-part")); err != nil || part.Mode() != want {
				t.Errorf("part file: %v, %v, want mode %v", part, err, want)
			}
		}))
		got, e := os.Stat(path)
		if err != nil || e != nil || got.Mode() != want {
			t.Errorf("%v, %v, %v, want mode %v", err, e, got, want)
		}
	}
	download(info.Mode())
	for _, mode := range []fs.FileMode{0o600, 0o640, 0o666, 0o777, 0o444} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		download(mode)
	}
}

// A symbolic link is kept, and the file that it points to is written.
func TestDownloadFileLinks(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
	if err := errors.Join(os.MkdirAll(at("a/b"), 0o700), os.WriteFile(at("a/old"), []byte("old"), 0o600)); err != nil {
		t.Fatal(err)
	}
	links := map[string]string{
		"absolute":  at("a/old"),
		"relative":  "a/old",
		"chain":     "relative",
		"b":         "a/b",
		"up":        "b/../old", // is a/old
		"dangling":  "a/new",
		"dangling2": "b/../new",
		"nowhere":   "missing/new",
		"dir":       "a",
		"loop":      "loop2",
		"loop2":     "loop",
	}
	for name, to := range links {
		if err := os.Symlink(filepath.FromSlash(to), at(name)); err != nil {
			t.Skip(err)
		}
	}
	for _, tt := range []struct{ name, target string }{ // target is empty for an error
		{"absolute", "a/old"}, {"relative", "a/old"}, {"chain", "a/old"}, {"b/../old", "a/old"}, {"up", "a/old"},
		{"dangling", "a/new"}, {"dangling2", "a/new"}, {"nowhere", ""}, {"dir", ""}, {"loop", ""},
	} {
		path := dir + string(filepath.Separator) + filepath.FromSlash(tt.name) // not cleaned
		if tt.target == "" {
			err := never(t).DownloadFile(t.Context(), link, path)
			if err == nil {
				t.Errorf("%s: no error", tt.name)
				continue
			}
			checkExportError(t, err)
			continue
		}
		if err := serving(t, []byte(tt.name)).DownloadFile(t.Context(), link, path); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		checkFile(t, at(tt.target), []byte(tt.name))
		if tt.target == "a/new" {
			checkDir(t, at("a"), "b", "new", "old")
			if err := os.Remove(at("a/new")); err != nil {
				t.Fatal(err)
			}
		}
	}
	checkDir(t, at("a"), "b", "old")
	for name := range links {
		if info, err := os.Lstat(at(name)); err != nil || info.Mode()&fs.ModeSymlink == 0 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// A file that cannot be renamed to its target is kept, and the error has its name.
func TestDownloadFileCannotReplace(t *testing.T) {
	for _, old := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "my\ndecks", strings.Repeat("x", 200)) // too long for a text
		if runtime.GOOS == "windows" {
			dir = t.TempDir()
		}
		path := filepath.Join(dir, "deck.pdf")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		inTheWay := gamma.WithProgress(func(int64, int64) {
			_ = os.Remove(path)
			_ = os.MkdirAll(filepath.Join(path, "full"), 0o700)
		})
		for range 2 { // the second call replaces the file that the first one kept
			// inTheWay creates a directory after DownloadFile has checked the path.
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if old {
				if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			err := serving(t, file).DownloadFile(t.Context(), link, path, inTheWay)
			var linkErr *os.LinkError
			if !errors.As(err, &linkErr) || !strings.Contains(err.Error(), `.deck.pdf.gamma-part"`) {
				t.Fatalf("%v", err)
			}
			checkExportError(t, err)
			checkDir(t, dir, ".deck.pdf.gamma-part", "deck.pdf")
			checkFile(t, filepath.Join(dir, ".deck.pdf.gamma-part"), file)
		}
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if err := serving(t, file).DownloadFile(t.Context(), link, path); err != nil {
			t.Error(err)
		}
		checkDir(t, dir, "deck.pdf")
	}
}

func TestDownloadFilePanics(t *testing.T) {
	dir := t.TempDir()
	func() {
		defer func() { _ = recover() }()
		_ = serving(t, file).DownloadFile(t.Context(), link, filepath.Join(dir, "deck.pdf"),
			gamma.WithProgress(func(int64, int64) { panic("no") }))
		t.Error("no panic")
	}()
	checkDir(t, dir)
}

// Of two calls for one path, the last to finish wins.
func TestDownloadFileDuringAnother(t *testing.T) {
	for _, tt := range []struct {
		name  string
		inner *gamma.Client
	}{
		{"that succeeds", serving(t, []byte("the other"))},
		{"that fails", newClientWith(t, &http.Client{Transport: responds(func() *http.Response { return reply(403, "", "") })})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "deck.pdf")
			calls := 0
			err := serving(t, file).DownloadFile(t.Context(), link, path, gamma.WithProgress(func(int64, int64) {
				if calls++; calls == 2 {
					if err := tt.inner.DownloadFile(t.Context(), link, path); err == nil {
						checkFile(t, path, []byte("the other"))
					} else if !errors.Is(err, gamma.ErrLinkExpired) {
						t.Error(err)
					}
				}
			}))
			if err != nil || calls < 2 {
				t.Errorf("%v after %d calls", err, calls)
			}
			checkFile(t, path, file)
			checkDir(t, dir, "deck.pdf")
		})
	}
}

func TestDownloadFileConcurrently(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "deck.pdf")
	var calls sync.WaitGroup
	for i := range 8 {
		client := serving(t, bytes.Repeat([]byte{byte('a' + i)}, 100_000+i))
		calls.Go(func() {
			for range 20 {
				if err := client.DownloadFile(t.Context(), link, path); err != nil && runtime.GOOS != "windows" {
					t.Error(err)
				}
				got, err := os.ReadFile(path)
				if err != nil || len(got) < 100_000 || len(got) != 100_000+int(got[0]-'a') || bytes.Count(got, got[:1]) != len(got) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			}
		})
	}
	calls.Wait()
	checkDir(t, dir, "deck.pdf")
}

// The next call removes the part file of a process that was killed.
func TestDownloadFileAfterKill(t *testing.T) {
	if url := os.Getenv("GAMMA_TEST_DOWNLOAD"); url != "" { // in the process that is killed
		t.Fatal(newClientWith(t, &http.Client{}).DownloadFile(t.Context(), url, os.Getenv("GAMMA_TEST_PATH")))
	}
	half := make(chan bool)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(file)))
		_, _ = w.Write(file[:len(file)/2])
		_ = http.NewResponseController(w).Flush()
		half <- true
		<-r.Context().Done()
	}))
	defer server.Close()
	dir := t.TempDir()
	path := filepath.Join(dir, "deck.pdf")
	for range 2 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDownloadFileAfterKill$")
		cmd.Env = append(os.Environ(), "GAMMA_TEST_DOWNLOAD="+server.URL, "GAMMA_TEST_PATH="+path)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-half:
		case <-time.After(time.Minute):
			t.Error("the other process sends no request")
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		checkDir(t, dir, ".deck.pdf.gamma-part")
	}
	if err := serving(t, file).DownloadFile(t.Context(), link, path); err != nil {
		t.Error(err)
	}
	checkFile(t, path, file)
	checkDir(t, dir, "deck.pdf")
}

// A directory with the name of the part file is kept.
func TestDownloadFilePartNameIsTaken(t *testing.T) {
	dir := t.TempDir()
	inTheWay := filepath.Join(dir, ".deck.pdf.gamma-part")
	if err := os.MkdirAll(filepath.Join(inTheWay, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "deck.pdf")
	if err := serving(t, file).DownloadFile(t.Context(), link, path); err != nil {
		t.Error(err)
	}
	checkFile(t, path, file)
	err := newClientWith(t, &http.Client{Transport: responds(func() *http.Response { return reply(403, "", "") })}).DownloadFile(t.Context(), link, path)
	if !errors.Is(err, gamma.ErrLinkExpired) {
		t.Error(err)
	}
	checkDir(t, dir, ".deck.pdf.gamma-part", "deck.pdf")

	// A link with that name is removed, and the file that it points to is kept.
	victim := filepath.Join(dir, "victim")
	if err := errors.Join(os.RemoveAll(inTheWay), os.WriteFile(victim, []byte("old"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, inTheWay); err != nil {
		t.Skip(err)
	}
	if err := serving(t, file).DownloadFile(t.Context(), link, path); err != nil {
		t.Error(err)
	}
	checkFile(t, victim, []byte("old"))
	checkDir(t, dir, "deck.pdf", "victim")
}
