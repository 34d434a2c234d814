package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

const generated = "api/client.gen.go"

// generate returns the text of api/client.gen.go for a document, and notes on what it
// leaves out.
func generate(ctx context.Context, root string, document map[string]any) (code []byte, notes []string, err error) {
	names, err := readNames(filepath.Join(root, "names.yaml"))
	if err != nil {
		return nil, nil, err
	}
	withoutSuffix(document)
	normal, notes, err := normalize(document, names)
	if err == nil {
		err = checkNeeds(normal)
	}
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "spec-")
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	in := filepath.Join(dir, "openapi.json")
	if err := os.WriteFile(in, []byte(canonical(normal)), 0o600); err != nil {
		return nil, nil, err
	}
	out, err := run(ctx, root, "go", "tool", "-modfile=internal/tools/oapi-codegen/go.mod", "oapi-codegen", "-config", "oapi-codegen.yaml", in)
	if err != nil {
		return nil, nil, err
	}
	// An empty line keeps oapi-codegen's comment out of the package comment.
	code = []byte(strings.Replace(out, "DO NOT EDIT.\npackage ", "DO NOT EDIT.\n\npackage ", 1))
	return code, notes, checkTypes(code, names.Anything)
}

// run runs a command in the directory root.
func run(ctx context.Context, root string, command ...string) (string, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // fixed commands
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOWORK=off")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(stdout.String() + stderr.String())
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(command[:min(len(command), 4)], " "), err, text)
	}
	return stdout.String(), nil
}

// checkTypes returns an error if generated types may hold any JSON, except for allowed.
func checkTypes(code []byte, allowed []string) error {
	file, err := parser.ParseFile(token.NewFileSet(), generated, code, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	var found []string
	for _, decl := range file.Decls {
		g, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range g.Specs {
			t, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			s, ok := t.Type.(*ast.StructType)
			if !ok {
				if holdsAnything(t.Type) {
					found = append(found, t.Name.Name)
				}
				continue
			}
			for _, field := range s.Fields.List {
				if len(field.Names) == 0 || !holdsAnything(field.Type) {
					continue
				}
				name := field.Names[0].Name
				if field.Tag != nil {
					tag := reflect.StructTag(strings.Trim(field.Tag.Value, "`"))
					name, _, _ = strings.Cut(tag.Get("json")+tag.Get("form"), ",")
				}
				found = append(found, t.Name.Name+"."+name)
			}
		}
	}
	found = slices.DeleteFunc(found, func(name string) bool { return slices.Contains(allowed, name) })
	if len(found) > 0 {
		return fmt.Errorf("%s would be any JSON (map[string]interface{} or interface{}): add its type to overlay.yaml as a correction, or list it under anything in names.yaml", strings.Join(sorted(found), ", "))
	}
	return nil
}

// holdsAnything reports whether a value of the type t may be any JSON.
func holdsAnything(t ast.Expr) bool {
	switch t := t.(type) {
	case *ast.InterfaceType:
		return len(t.Methods.List) == 0
	case *ast.Ident:
		return t.Name == "any"
	case *ast.StarExpr:
		return holdsAnything(t.X)
	case *ast.ArrayType:
		return holdsAnything(t.Elt)
	case *ast.MapType:
		return holdsAnything(t.Value)
	}
	return false
}

// generateHere writes the generated files for the openapi.json in the directory root.
func generateHere(ctx context.Context, root string) error {
	text, err := os.ReadFile(filepath.Join(root, "openapi.json")) //nolint:gosec // the developer's own tree
	if err != nil {
		return err
	}
	var document map[string]any
	if err := json.Unmarshal(text, &document); err != nil {
		return fmt.Errorf("openapi.json: %w", err)
	}
	if document == nil {
		return errors.New("openapi.json: not an object")
	}
	code, _, err := generate(ctx, root, document)
	if err != nil {
		return err
	}
	return write(root, map[string][]byte{generated: code, requestsFile: requests(document)})
}
