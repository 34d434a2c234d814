package gamma

import (
	"context"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"unicode/utf8"

	"github.com/gamma-sdk/gamma-go/internal/apiruntime"
	"github.com/gamma-sdk/gamma-go/internal/retry"
)

// DownloadFile is [Client.Download] to the file at path, which appears when it is whole:
// the data is written to a hidden file beside it, ".deck.pdf.gamma-part" for "deck.pdf",
// and renamed. The directory must be writable. A file that was there stays until then;
// its permissions are kept, and symbolic links are followed. After an error nothing is
// left behind; what a killed process left is removed by the next call for the same path.
// A file that cannot be replaced, such as one that is mounted, is overwritten; if that
// fails too, the error has the name of the hidden file, which stays.
func (c *Client) DownloadFile(ctx context.Context, exportURL, path string, opts ...DownloadOption) error {
	d, err := newDownload(c.doer, exportURL, opts)
	if err != nil {
		return err
	}
	f, err := newPartFile(path)
	if err != nil {
		return exportError(fileText(err), err)
	}
	defer f.discard() // also when a callback panics
	d.dst = f.file
	d.restart = func() error {
		if err := f.file.Truncate(0); err != nil {
			return err
		}
		_, err := f.file.Seek(0, io.SeekStart)
		return err
	}
	if err := d.run(ctx); err != nil {
		return err
	}
	return f.publish()
}

// partFile is an open file that is to become another, its target.
type partFile struct {
	file   *os.File
	info   fs.FileInfo // tells whether a name is that of the file
	name   string
	target string
	old    fs.FileInfo // of the target; nil if there is none
}

// newPartFile creates the part of the file at path, which need not exist. What cannot
// become a file is an error.
func newPartFile(path string) (*partFile, error) {
	if path == "" {
		return nil, errors.New("the path is empty")
	}
	old, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		old = nil
	case err != nil: // also a name that is too long, or a loop of links
		return nil, err
	case !old.Mode().IsRegular():
		return nil, errors.New(quoted(path) + " is not a regular file")
	}
	target := path
	for range 255 {
		link, err := os.Readlink(target)
		if err != nil {
			break // not a link, or not there yet
		}
		if !filepath.IsAbs(link) {
			dir, _ := filepath.Split(target)
			link = dir + link // not joined: a ".." may follow another link
		}
		target = link
	}
	f := &partFile{target: target, old: old, name: sibling(target, "part")}
	// It is of a process that was killed. Or it is in use, whose owner will notice.
	_ = os.Remove(f.name)
	err = f.create()
	if errors.Is(err, fs.ErrExist) { // and could not be removed
		f.name = uniqueSibling(target)
		err = f.create()
	}
	return f, err
}

// create makes the file, with the mode of the target.
func (f *partFile) create() (err error) {
	mode := fs.FileMode(0o666)
	if f.old != nil {
		mode = f.old.Mode().Perm()
	}
	if f.file, err = os.OpenFile(f.name, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode); err != nil {
		return err
	}
	f.info, err = f.file.Stat()
	if err == nil && f.old != nil && f.info.Mode().Perm() != mode { // the umask
		err = f.file.Chmod(mode)
	}
	if err != nil {
		_ = f.file.Close()
		_ = os.Remove(f.name)
	}
	return err
}

// isAt reports whether name is that of the file.
func (f *partFile) isAt(name string) bool {
	info, err := os.Lstat(name)
	return err == nil && os.SameFile(info, f.info)
}

// discard closes the file, and removes it if it still has its name.
func (f *partFile) discard() {
	_ = f.file.Close()
	if f.isAt(f.name) {
		_ = os.Remove(f.name)
	}
}

// Windows neither renames nor removes a file that is open.
const renamesOnlyClosed = runtime.GOOS == "windows"

// publish puts the file in the place of its target.
func (f *partFile) publish() error {
	err := f.file.Sync()
	if err == nil && renamesOnlyClosed {
		err = f.file.Close()
	}
	if err == nil {
		err = f.claim()
	}
	if err == nil && !renamesOnlyClosed {
		err = f.file.Close()
	}
	if err != nil {
		return exportError(fileText(err), err)
	}
	if err = os.Rename(f.name, f.target); err == nil {
		return nil
	}
	text := "cannot replace " + quoted(f.target) + ": " + retry.Inner(errors.Unwrap(err)) // which err quotes raw
	if f.old != nil {
		e := f.overwrite()
		if e == nil {
			return nil
		}
		text, err = text+"; "+fileText(e), errors.Join(err, e)
	}
	kept := sibling(f.target, "part") // which the next call removes
	if os.Rename(f.name, kept) != nil {
		kept = f.name
	}
	f.name = "" // not to be discarded
	return exportError(text+"; the whole file is beside it, with the name "+quoted(filepath.Base(kept)), err)
}

// claim gives the file a name that no other call for the same target uses: whatever
// has it can be renamed to the target. Another call may have removed the file since it
// was created; then it is copied.
func (f *partFile) claim() error {
	shared := f.name
	f.name = uniqueSibling(f.target)
	if os.Rename(shared, f.name) == nil {
		if f.isAt(f.name) {
			return nil
		}
		_ = os.Remove(f.name) // it is of the other call, which will copy its own
	}
	removed := f.file
	defer func() { _ = removed.Close() }()
	if _, err := removed.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := f.create(); err != nil {
		return err
	}
	if _, err := io.Copy(f.file, removed); err != nil {
		return err
	}
	return f.file.Sync()
}

// overwrite copies the file to its target, which is there and stays the same file.
func (f *partFile) overwrite() error {
	whole, err := os.Open(f.name)
	if err != nil {
		return err
	}
	defer func() { _ = whole.Close() }()
	target, err := os.OpenFile(f.target, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, whole)
	if err == nil {
		err = target.Sync()
	}
	if e := target.Close(); err == nil {
		err = e
	}
	return err
}

// sibling returns the path of a hidden file beside target that has its name, cut
// where the result might be too long for a file system.
func sibling(target, suffix string) string {
	dir, name := filepath.Split(target)
	if len(name) > 64 {
		end := 48
		for end > 0 && !utf8.RuneStart(name[end]) {
			end--
		}
		name = name[:end] + "-" + strconv.FormatUint(uint64(crc32.ChecksumIEEE([]byte(name))), 16)
	}
	return dir + "." + name + ".gamma-" + suffix
}

func uniqueSibling(target string) string {
	return sibling(target, strconv.FormatUint(rand.Uint64(), 16))
}

// fileText returns the text of err, from a file or a caller's writer, with printable
// names.
func fileText(err error) string {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) && pathErr.Error() == err.Error() {
		return pathErr.Op + " " + quoted(pathErr.Path) + ": " + retry.Inner(pathErr.Err)
	}
	return retry.Inner(err)
}

func quoted(path string) string { return `"` + apiruntime.Printable(path) + `"` }
