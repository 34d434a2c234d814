package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/types"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/exp/apidiff"
	"golang.org/x/tools/go/packages"
)

// A trial is files that the go command sees in place of those in the directory root.
type trial struct {
	root, dir, overlay string
}

func try(root string, files map[string][]byte) (*trial, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "spec-")
	if err != nil {
		return nil, err
	}
	t := &trial{root: root, dir: dir, overlay: filepath.Join(dir, "overlay.json")}
	replace := map[string]string{}
	for name, text := range files {
		file := filepath.Join(dir, filepath.Base(name))
		replace[filepath.Join(root, name)] = file
		if err == nil {
			err = os.WriteFile(file, text, 0o600)
		}
	}
	text, _ := json.Marshal(map[string]any{"Replace": replace})
	if err == nil {
		err = os.WriteFile(t.overlay, text, 0o600)
	}
	if err != nil {
		t.remove()
		return nil, err
	}
	return t, nil
}

func (t *trial) remove() { _ = os.RemoveAll(t.dir) }

// compile builds what uses the code, and notes where only tests do not compile.
func (t *trial) compile(ctx context.Context) (notes []string, err error) {
	for _, dir := range []string{".", "gammatest"} {
		command := func(name string) error {
			_, err := run(ctx, filepath.Join(t.root, dir), "go", name, "-overlay="+t.overlay, "./...")
			return err
		}
		vet := command("vet")
		if vet == nil {
			continue
		}
		if err := command("build"); err != nil {
			return nil, fmt.Errorf("the code does not compile with what would be generated: %w", err)
		}
		notes = append(notes, fmt.Sprintf("tests need mending: %v", vet))
	}
	return notes, nil
}

// wire says what changes on the wire.
func (t *trial) wire(ctx context.Context) (string, error) {
	out, err := run(ctx, t.root, "go", "tool", "-modfile=internal/tools/oasdiff/go.mod", "oasdiff", "changelog", "--flatten-allof", "openapi.json", filepath.Join(t.dir, "openapi.json"))
	return strings.ReplaceAll(out, t.dir+string(filepath.Separator), ""), err
}

// names says what changes for programs that use package api.
func (t *trial) names(ctx context.Context) (string, error) {
	before, err := t.load(ctx)
	if err != nil {
		return "", err
	}
	after, err := t.load(ctx, "-overlay="+t.overlay)
	if err != nil {
		return "", fmt.Errorf("the code does not compile with what would be generated: %w", err)
	}
	var gone, added []string
	for _, c := range apidiff.Changes(before, after).Changes {
		switch {
		case c.Compatible:
			added = append(added, c.Message)
		case strings.HasPrefix(c.Message, "Client") && strings.HasSuffix(c.Message, ": added"):
			// A method of a generated interface, which nobody else implements.
		default:
			gone = append(gone, c.Message)
		}
	}
	if len(gone)+len(added) == 0 {
		return "No changes detected", nil
	}
	lines := []string{fmt.Sprintf("%d gone or different, %d new", len(gone), len(added))}
	for _, m := range sorted(gone) {
		lines = append(lines, "gone or different: "+m)
	}
	for _, m := range sorted(added) {
		lines = append(lines, "new: "+m)
	}
	return strings.Join(lines, "\n"), nil
}

func (t *trial) load(ctx context.Context, flags ...string) (*types.Package, error) {
	found, err := packages.Load(&packages.Config{
		Context:    ctx,
		Mode:       packages.NeedName | packages.NeedTypes | packages.NeedExportFile | packages.NeedImports,
		Dir:        t.root,
		Env:        append(os.Environ(), "GOWORK=off"),
		BuildFlags: flags,
	}, "./api")
	if err != nil {
		return nil, err
	}
	if len(found) != 1 || found[0].Types == nil {
		return nil, errors.New("package api was not found")
	}
	for _, e := range found[0].Errors {
		return nil, e
	}
	return found[0].Types, nil
}
