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

// trial is a set of files that the go command uses in place of those in the directory root.
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

// compile builds the packages that use the code. It notes where only tests do not compile.
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
			return nil, fmt.Errorf("the code does not compile with the generated code: %w", err)
		}
		notes = append(notes, fmt.Sprintf("tests do not compile: %v", vet))
	}
	return notes, nil
}

// wire reports what changes in requests and responses.
func (t *trial) wire(ctx context.Context) (string, error) {
	out, err := run(ctx, t.root, "go", "tool", "-modfile=internal/tools/oasdiff/go.mod", "oasdiff", "changelog", "--flatten-allof", "openapi.json", filepath.Join(t.dir, "openapi.json"))
	return strings.ReplaceAll(out, t.dir+string(filepath.Separator), ""), err
}

// names reports what changes for programs that use package api.
func (t *trial) names(ctx context.Context) (string, error) {
	before, err := t.load(ctx)
	if err != nil {
		return "", err
	}
	after, err := t.load(ctx, "-overlay="+t.overlay)
	if err != nil {
		return "", fmt.Errorf("the code does not compile with the generated code: %w", err)
	}
	var breaking, added []string
	for _, c := range apidiff.Changes(before, after).Changes {
		switch {
		case c.Compatible:
			added = append(added, c.Message)
		case strings.HasPrefix(c.Message, "Client") && strings.HasSuffix(c.Message, ": added"):
			// A method of a generated interface, which programs do not implement.
		default:
			breaking = append(breaking, c.Message)
		}
	}
	if len(breaking)+len(added) == 0 {
		return "No changes detected", nil
	}
	lines := []string{fmt.Sprintf("%d removed or changed, %d added", len(breaking), len(added))}
	for _, m := range sorted(breaking) {
		lines = append(lines, "removed or changed: "+m)
	}
	for _, m := range sorted(added) {
		lines = append(lines, "added: "+m)
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
