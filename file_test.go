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

// serving returns a client that downloads data.
func serving(t testing.TB, data []byte) *gamma.Client {
	t.Helper()
	return newClientWith(t, &http.Client{Transport: responds(func() *http.Response { return reply(200, "application/pdf", string(data)) })})
}

// never returns a client that must not send a request.
func never(t *testing.T) *gamma.Client {
	t.Helper()
	return newClientWith(t, &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
		t.Error("a request was sent")
		return reply(501, "", ""), nil // which is not retried
	})})
}

// checkDir checks the names of the files in dir, hidden ones too.
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

// A name may be as long as the file system takes.
func TestDownloadFileNames(t *testing.T) {
	for _, name := range []string{"a", ".a", "a b", strings.Repeat("x", 64), strings.Repeat("x", 251) + ".pdf", strings.Repeat("é", 125) + ".pdf", "a\nb"} {
		if runtime.GOOS == "windows" && name == "a\nb" {
			continue
		}
		dir := t.TempDir()
		for range 2 { // a new file, then one that is there
			if err := serving(t, file).DownloadFile(t.Context(), "http://LocalHost/x.pdf", filepath.Join(dir, name)); err != nil {
				t.Errorf("%.5s: %v", name, err)
			}
			checkFile(t, filepath.Join(dir, name), file)
			checkDir(t, dir, name)
		}
	}
}

// What cannot become a file is an error before any request, in one printable line.
func TestDownloadFileBadNames(t *testing.T) {
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

// A file that was there keeps its mode, and a new one has that of os.Create.
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
				t.Errorf("on the way: %v, %v, want mode %v", part, err, want)
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

// A symbolic link stays, and the file that it leads to is written.
func TestDownloadFileLinks(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
	if err := errors.Join(os.MkdirAll(at("a/b"), 0o700), os.WriteFile(at("a/old"), []byte("old"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{
		"absolute":  at("a/old"),
		"relative":  "a/old",
		"chain":     "relative",
		"b":         "a/b",
		"up":        "b/../old", // which is a/old
		"dangling":  "a/new",
		"dangling2": "b/../new",
		"nowhere":   "missing/new",
		"dir":       "a",
		"loop":      "loop2",
		"loop2":     "loop",
	} {
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
		if info, err := os.Lstat(path); !strings.Contains(tt.name, "/") && (err != nil || info.Mode()&fs.ModeSymlink == 0) {
			t.Errorf("%s: %v, %v", tt.name, info, err)
		}
		if tt.target == "a/new" {
			checkDir(t, at("a"), "b", "new", "old")
			if err := os.Remove(at("a/new")); err != nil {
				t.Fatal(err)
			}
		}
	}
	checkDir(t, at("a"), "b", "old")
}

// A file that cannot take its place is not lost, and its name is in the error.
func TestDownloadFileKeepsWhatItCannotPlace(t *testing.T) {
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
		for range 2 { // the second call replaces what the first one left
			// The directory comes after the path was looked at.
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

// Two calls for one path do not get in each other's way: the last to finish wins.
func TestDownloadFileDuringAnother(t *testing.T) {
	for _, tt := range []struct {
		name  string
		inner *gamma.Client
	}{
		{"that completes", serving(t, []byte("the other"))},
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

func TestDownloadFileAtTheSameTime(t *testing.T) {
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

// The part of a process that was killed is recognizable, and the next call removes it.
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

// What has the name of the part and cannot be removed is left alone.
func TestDownloadFileBesideAnother(t *testing.T) {
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

	// A link with that name is removed, and what it leads to stays.
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
