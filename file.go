package gamma

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// DownloadFile is [Client.Download] to the file at path. It is written beside path, in
// the same directory, and renamed when it is whole, so that a file that was there stays
// until then. After an error nothing is left behind. Where the server cannot resume
// a broken transfer, DownloadFile starts over.
func (c *Client) DownloadFile(ctx context.Context, exportURL, path string, opts ...DownloadOption) error {
	d, err := c.doer.newDownload(exportURL, opts)
	if err != nil {
		return err
	}
	if path == "" {
		return errors.New("gamma: DownloadFile: the path is empty")
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("gamma: DownloadFile: %s is not a regular file", path)
	}
	// Not longer than any name, which may be as long as the file system takes.
	part := filepath.Join(filepath.Dir(path), fmt.Sprintf(".gamma-%08x", rand.Uint32()))
	file, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666) //nolint:gosec // as the user's umask says
	if err != nil {
		return fmt.Errorf("gamma: DownloadFile: %w", err)
	}
	// Deferred, because a callback may panic.
	defer func() {
		_ = file.Close()
		_ = os.Remove(part) // is gone when all went well
	}()
	d.dst = file
	d.restart = func() error {
		if err := file.Truncate(0); err != nil {
			return err
		}
		_, err := file.Seek(0, io.SeekStart)
		return err
	}
	if err := d.run(ctx); err != nil {
		return err
	}
	err = file.Sync()
	if e := file.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		return fmt.Errorf("gamma: DownloadFile: %w", err)
	}
	return nil
}
