// Command licenses reads modules, as go list -m -json all prints them, and prints
// the licence of each. It fails where it finds none, or one that asks more of a
// user than its text and its notice to be kept.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/licensecheck"
)

var permissive = map[string]bool{"Apache-2.0": true, "BSD-2-Clause": true, "BSD-3-Clause": true, "ISC": true, "MIT": true}

func main() {
	if err := list(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "licenses:", err)
		os.Exit(1)
	}
}

func list(modules io.Reader, w io.Writer) error {
	var bad []error
	for d := json.NewDecoder(modules); ; {
		var m struct {
			Path, Version, Dir string
			Main               bool
		}
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			return errors.Join(bad...)
		} else if err != nil {
			return err
		}
		if m.Main {
			continue
		}
		id, err := license(m.Dir)
		if err == nil && !permissive[id] {
			err = fmt.Errorf("%s is not on the list of permissive licences", id)
		}
		if err != nil {
			bad = append(bad, fmt.Errorf("%s: %w", m.Path, err))
			continue
		}
		_, _ = fmt.Fprintln(w, m.Path, m.Version, id)
	}
}

// license returns the SPDX identifier of the licence in dir.
func license(dir string) (string, error) {
	if dir == "" {
		return "", errors.New("it is not downloaded")
	}
	files, err := filepath.Glob(filepath.Join(dir, "LICENSE*"))
	if err != nil || len(files) == 0 {
		return "", errors.New("there is no LICENSE")
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		return "", err
	}
	found := licensecheck.Scan(text)
	if len(found.Match) != 1 || found.Percent < 90 {
		return "", fmt.Errorf("%s is not the text of one known licence", filepath.Base(files[0]))
	}
	return found.Match[0].ID, nil
}
