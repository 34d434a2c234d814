package gamma_test

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/gamma-sdk/gamma-go"
)

// A mounted file, as in a container, cannot be replaced. It is overwritten.
func TestDownloadFileMounted(t *testing.T) {
	dir := t.TempDir()
	path, mounted := filepath.Join(dir, "deck.pdf"), filepath.Join(t.TempDir(), "mounted")
	longer := bytes.Repeat([]byte("old"), len(file))
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.WriteFile(mounted, longer, 0o640)); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // with a separate mount namespace, which ends with the thread
		defer close(done)
		runtime.LockOSThread()
		if err := errors.Join(syscall.Unshare(syscall.CLONE_NEWNS), syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""), syscall.Mount(mounted, path, "", syscall.MS_BIND, "")); err != nil {
			t.Log("cannot mount: ", err)
			return
		}
		if err := serving(t, file).DownloadFile(t.Context(), link, path); err != nil {
			t.Error(err)
		}
		checkFile(t, path, file)
		checkFile(t, mounted, file)
		checkDir(t, dir, "deck.pdf")

		// After an error, the mounted file has not changed.
		refused := newClientWith(t, &http.Client{Transport: responds(func() *http.Response { return reply(403, "", "") })})
		if err := refused.DownloadFile(t.Context(), link, path); !errors.Is(err, gamma.ErrLinkExpired) {
			t.Error(err)
		}
		checkFile(t, path, file)
		checkDir(t, dir, "deck.pdf")

		// If it cannot be overwritten, the part file is kept.
		if err := syscall.Mount("", path, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			t.Error(err)
			return
		}
		err := serving(t, []byte("new")).DownloadFile(t.Context(), link, path)
		if !errors.Is(err, syscall.EBUSY) || !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), `.deck.pdf.gamma-part"`) {
			t.Errorf("%v", err)
		}
		checkExportError(t, err)
		checkFile(t, path, file)
		checkFile(t, filepath.Join(dir, ".deck.pdf.gamma-part"), []byte("new"))
	}()
	<-done
}
