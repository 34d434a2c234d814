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

// DownloadFile is like [Client.Download], but writes the file at path, all of it or nothing:
// the data is written to a hidden file beside it, ".deck.pdf.gamma-part" for "deck.pdf",
// which is renamed when it is complete. The directory must be writable. An existing file is
// replaced and its permissions are kept; symbolic links are followed. After an error, the
// hidden file is removed; if the process was killed, the next call for the same path
// removes it. A file that cannot be replaced, such as a mounted one, is overwritten; if
// that fails too, the hidden file is kept and the error has its name.
func (c *Client) DownloadFile(ctx context.Context, exportURL, path string, opts ...DownloadOption) error {
	d, err := newDownload(c.doer, exportURL, opts)
	if err != nil {
		return err
	}
	f, err := newPartFile(path)
	if err != nil {
		return exportError(fileText(err), err)
	}
	defer f.discard() // also if a callback panics
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

// partFile is an open file that will be renamed to its target.
type partFile struct {
	file   *os.File
	info   fs.FileInfo // of file
	name   string
	target string
	old    fs.FileInfo // of the target; nil if it does not exist
}

// newPartFile creates the part file for path. A path that exists must be a regular file.
func newPartFile(path string) (*partFile, error) {
	if path == "" {
		return nil, errors.New("the path is empty")
	}
	old, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		old = nil
	case err != nil: // such as a name that is too long, or a loop of links
		return nil, err
	case !old.Mode().IsRegular():
		return nil, errors.New(quoted(path) + " is not a regular file")
	}
	target := path
	for range 255 {
		link, err := os.Readlink(target)
		if err != nil {
			break // it is not a link, or does not exist
		}
		if !filepath.IsAbs(link) {
			dir, _ := filepath.Split(target)
			link = dir + link // not filepath.Join: a ".." may follow another link
		}
		target = link
	}
	f := &partFile{target: target, old: old, name: sibling(target, "part")}
	// It is of a process that was killed, or of another call, which copes with that.
	_ = os.Remove(f.name)
	err = f.create()
	if errors.Is(err, fs.ErrExist) { // it could not be removed
		f.name = uniqueSibling(target)
		err = f.create()
	}
	return f, err
}

// create creates the file, with the mode of the target.
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

// discard closes the file, and removes it unless another file has its name now.
func (f *partFile) discard() {
	_ = f.file.Close()
	if f.isAt(f.name) {
		_ = os.Remove(f.name)
	}
}

// Windows does not rename a file that is open.
const renamesOnlyClosed = runtime.GOOS == "windows"

// publish renames the file to its target.
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
	text := "cannot replace " + quoted(f.target) + ": " + retry.Inner(errors.Unwrap(err)) // the text of err has the name unescaped
	if f.old != nil {
		e := f.overwrite()
		if e == nil {
			return nil
		}
		text, err = text+"; "+fileText(e), errors.Join(err, e)
	}
	kept := sibling(f.target, "part") // the next call removes it
	if os.Rename(f.name, kept) != nil {
		kept = f.name
	}
	f.name = "" // discard must not remove it
	return exportError(text+"; the complete file is in the same directory, named "+quoted(filepath.Base(kept)), err)
}

// claim renames the file to a name that no other call for the same target uses. Another
// call may have removed the file since it was created; then claim copies it.
func (f *partFile) claim() error {
	shared := f.name
	f.name = uniqueSibling(f.target)
	if os.Rename(shared, f.name) == nil {
		if f.isAt(f.name) {
			return nil
		}
		_ = os.Remove(f.name) // it is the file of another call, which will copy it
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

// overwrite copies the file into its target, which exists.
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

// sibling returns the path of a hidden file beside target. A long name is shortened, since
// file systems limit its length.
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

// fileText returns the text of err, an error of a file or of the caller's writer, with
// printable names.
func fileText(err error) string {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) && pathErr.Error() == err.Error() {
		return pathErr.Op + " " + quoted(pathErr.Path) + ": " + retry.Inner(pathErr.Err)
	}
	return retry.Inner(err)
}

func quoted(path string) string { return `"` + apiruntime.Printable(path) + `"` }
