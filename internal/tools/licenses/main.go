// Command licenses reads modules, as go mod download -json prints them, and prints the
// licences of each. It fails if a module has no licence, or one that is neither permissive
// nor named by an argument.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/licensecheck"
)

var permissive = map[string]bool{"Apache-2.0": true, "BSD-2-Clause": true, "BSD-3-Clause": true, "ISC": true, "MIT": true, "PostgreSQL": true, "Unlicense": true}

func main() {
	for _, id := range os.Args[1:] {
		permissive[id] = true
	}
	if err := list(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "licenses:", err)
		os.Exit(1)
	}
}

func list(modules io.Reader, w io.Writer) error {
	var bad []error
	for d := json.NewDecoder(modules); ; {
		var m struct{ Path, Version, Dir string }
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			return errors.Join(bad...)
		} else if err != nil {
			return err
		}
		ids, err := licenses(m.Dir)
		for _, id := range ids {
			if !permissive[id] {
				err = fmt.Errorf("%s is not on the list of permissive licences", id)
			}
		}
		if err != nil {
			bad = append(bad, fmt.Errorf("%s: %w", m.Path, err))
			continue
		}
		_, _ = fmt.Fprintln(w, m.Path, m.Version, strings.Join(ids, " and "))
	}
}

// licenses returns the SPDX identifiers of the licences in dir.
func licenses(dir string) (ids []string, err error) {
	if dir == "" {
		return nil, errors.New("the module is not downloaded")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*LICENSE*")) // or UNLICENSE
	if err != nil || len(files) == 0 {
		return nil, errors.New("no file LICENSE")
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		return nil, err
	}
	found := licensecheck.Scan(text)
	// A file with two licences also says which files each applies to.
	if n := len(found.Match); n == 0 || n == 1 && found.Percent < 90 || found.Percent < 80 {
		return nil, fmt.Errorf("%s is not the text of a known licence", filepath.Base(files[0]))
	}
	for _, m := range found.Match {
		ids = append(ids, m.ID)
	}
	return ids, nil
}
