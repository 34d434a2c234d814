package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"golang.org/x/sync/errgroup"
)

// update merges the files into openapi.json, generates api/ from it, reports what changes,
// and writes all of it or nothing.
func update(ctx context.Context, root string, files []string, s settings, w io.Writer) error {
	report := func(format string, args ...any) { _, _ = fmt.Fprintf(w, "make spec: "+format+"\n", args...) }

	report("reading %s", strings.Join(files, ", "))
	document, notes, err := spec(root, files, s)
	if err != nil {
		return err
	}
	var parsed map[string]any
	if err := json.Unmarshal(document, &parsed); err != nil {
		return err
	}
	report("generating api/")
	code, omitted, err := generate(ctx, root, parsed)
	if err != nil {
		return err
	}
	notes = append(notes, omitted...)

	report("compiling, and comparing with the present code")
	generatedFiles := map[string][]byte{"openapi.json": document, generated: code, requestsFile: requests(parsed)}
	trial, err := try(root, generatedFiles)
	if err != nil {
		return err
	}
	defer trial.remove()
	var wire, names string
	var brokenTests []string
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() (err error) { wire, err = trial.wire(ctx); return err })
	tasks.Go(func() (err error) {
		if names, err = trial.names(ctx); err == nil {
			brokenTests, err = trial.compile(ctx)
		}
		return err
	})
	if err := tasks.Wait(); err != nil {
		return err
	}
	report("changes to requests and responses:\n%s", indent(wire))
	report("changes to package api:\n%s", indent(names))
	for _, note := range append(notes, brokenTests...) {
		report("%s", note)
	}
	if s.check {
		report("no file was changed, because CHECK is set")
		return nil
	}
	if err := write(root, generatedFiles); err != nil {
		return err
	}
	report("openapi.json and api/ have been written; run make test")
	return nil
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ")
}

// spec returns openapi.json of the directory root with the files merged into it, and notes
// for the maintainer.
func spec(root string, files []string, s settings) (text []byte, notes []string, err error) {
	fixes, err := readCorrections(filepath.Join(root, "overlay.yaml"))
	if err != nil {
		return nil, nil, fmt.Errorf("overlay.yaml: %w", oneLine(err))
	}
	base, err := read(root, "openapi.json", &corrections{seen: map[string]bool{}})
	if err != nil {
		return nil, nil, err
	}
	var inputs []source
	for _, file := range files {
		found, err := read(root, file, fixes)
		if err != nil {
			return nil, nil, err
		}
		inputs = append(inputs, found...)
	}
	if notes, err = sameServers(base[0], inputs, s.servers); err != nil {
		return nil, nil, err
	}
	text, missing, err := merge(base[0], inputs, s.drop)
	if err != nil {
		return nil, nil, err
	}
	if len(missing) > 0 {
		notes = append(notes, fmt.Sprintf("not in the new document, but kept: %s; to remove, set DROP=%q", strings.Join(missing, ", "), strings.Join(missing, " ")))
	}
	t, err := openapi3.NewLoader().LoadFromData(text)
	if err == nil {
		// Some of the vendor's examples contradict their schemas, and a pattern has the
		// syntax of JavaScript.
		err = t.Validate(context.Background(), openapi3.DisableExamplesValidation(), openapi3.DisableSchemaPatternValidation())
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: not valid OpenAPI after merging: %w", strings.Join(files, ", "), oneLine(err))
	}
	after := ""
	if len(t.Servers) > 0 {
		after = t.Servers[0].URL
	}
	if u, err := url.Parse(after); err != nil || u.Scheme != "https" || u.Host == "" || strings.Contains(after, "{") {
		return nil, nil, fmt.Errorf("%s: the first server is not an absolute https URL: %q", strings.Join(files, ", "), after)
	}
	if unused := fixes.unused(); len(unused) > 0 {
		notes = append(notes, "overlay.yaml: these corrections were not needed: "+strings.Join(unused, ", "))
	}
	return text, append(notes, unsupportedSecurity(t)...), nil
}

// unsupportedSecurity notes the operations that require a security scheme other than an API
// key in the header X-API-KEY.
func unsupportedSecurity(t *openapi3.T) (notes []string) {
	satisfied := func(r openapi3.SecurityRequirement) bool {
		for name := range r {
			ref := t.Components.SecuritySchemes[name]
			if ref == nil || ref.Value == nil || ref.Value.Type != "apiKey" || ref.Value.In != "header" || !strings.EqualFold(ref.Value.Name, "X-API-KEY") {
				return false
			}
		}
		return true
	}
	for _, item := range t.Paths.Map() {
		for _, o := range item.Operations() {
			requirements := t.Security
			if o.Security != nil {
				requirements = *o.Security
			}
			if len(requirements) == 0 || slices.ContainsFunc(requirements, satisfied) {
				continue
			}
			var schemes []string
			for _, r := range requirements {
				schemes = append(schemes, strings.Join(slices.Sorted(maps.Keys(r)), " and "))
			}
			notes = append(notes, fmt.Sprintf("%s requires the security scheme %s, which the client does not support: it sends an API key as X-API-KEY", o.OperationID, strings.Join(schemes, " or ")))
		}
	}
	return sorted(notes)
}

// sameServers makes the servers of the inputs equal to those of base. The client sends the
// key to the first server, so if an input has others, the maintainer must decide.
func sameServers(base source, inputs []source, setting string) (notes []string, err error) {
	present := addresses(base.document)
	for i, input := range inputs {
		theirs := addresses(input.document)
		if len(theirs) == 0 {
			if !input.page && setting != "keep" && !related(base.document, input.document) {
				return nil, fmt.Errorf("%s: it has no server and no operation of openapi.json; if it is Gamma's, set SERVERS=keep", input.name)
			}
			delete(input.document, "servers") // base has them
			continue
		}
		if slices.Equal(theirs, present) || len(present) == 0 {
			continue
		}
		switch setting {
		case "take":
			notes = append(notes, fmt.Sprintf("the client will send the key to %s, not to %s", theirs[0], present[0]))
		case "keep":
			delete(input.document, "servers")
			notes = append(notes, fmt.Sprintf("%s: its servers %s are ignored", input.name, strings.Join(theirs, ", ")))
			if prefix := rebase(base.document, inputs[i].document); prefix != "" {
				notes = append(notes, fmt.Sprintf("%s: the prefix %s is removed from its paths", input.name, prefix))
			}
		default:
			return nil, fmt.Errorf("%s: its servers are %s, those of openapi.json %s; the API key would be sent elsewhere: set SERVERS=keep to keep the present ones, or SERVERS=take if the API has moved",
				input.name, strings.Join(theirs, ", "), strings.Join(present, ", "))
		}
	}
	return slices.Compact(sorted(notes)), nil
}

func addresses(document map[string]any) (list []string) {
	for _, s := range array(document["servers"]) {
		u, _ := object(s)["url"].(string)
		list = append(list, strings.TrimSuffix(u, "/"))
	}
	return list
}

// pathsByID returns the paths of a document's operations by operationId.
func pathsByID(document map[string]any) map[any]string {
	byID := map[any]string{}
	for path, item := range object(document["paths"]) {
		for _, method := range methods {
			if id := at(item, method)["operationId"]; id != nil {
				byID[id] = path
			}
		}
	}
	return byID
}

// related reports whether two documents share an operation, or one of them has none.
func related(a, b map[string]any) bool {
	ours, theirs := pathsByID(a), pathsByID(b)
	for id, path := range theirs {
		if ours[id] != "" || at(a, "paths", path) != nil {
			return true
		}
	}
	return len(ours) == 0 || len(theirs) == 0
}

// rebase removes the prefix that the paths of a document have before those of base, and
// returns it.
func rebase(base, document map[string]any) (prefix string) {
	present := pathsByID(base)
	first := true
	for id, path := range pathsByID(document) {
		if present[id] == "" {
			continue
		}
		one, ok := strings.CutSuffix(anonymous(path), anonymous(present[id]))
		if !ok || !first && one != prefix {
			return ""
		}
		prefix, first = one, false
	}
	if prefix == "" {
		return ""
	}
	without := map[string]any{}
	for path, item := range object(document["paths"]) {
		without[strings.TrimPrefix(path, prefix)] = item
	}
	document["paths"] = without
	return prefix
}

// anonymous returns a path without the names of its parameters.
func anonymous(path string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if strings.HasPrefix(s, "{") {
			segments[i] = "{}"
		}
	}
	return strings.Join(segments, "/")
}

// write replaces all of the files or none.
func write(root string, files map[string][]byte) (err error) {
	var done []string
	before := map[string][]byte{}
	defer func() {
		for name := range files {
			_ = os.Remove(filepath.Join(root, name) + ".new")
		}
		if err != nil {
			for _, name := range done {
				err = errors.Join(err, os.WriteFile(filepath.Join(root, name), before[name], 0o644)) //nolint:gosec // as git has it
			}
		}
	}()
	for name, text := range files {
		path := filepath.Join(root, name)
		if before[name], err = os.ReadFile(path); err != nil && !os.IsNotExist(err) { //nolint:gosec // the developer's own tree
			return err
		}
		if bytes.Equal(before[name], text) && before[name] != nil {
			delete(files, name)
			continue
		}
		if err = os.WriteFile(path+".new", text, 0o644); err != nil { //nolint:gosec // as git has it
			return err
		}
	}
	for name := range files {
		path := filepath.Join(root, name)
		if err = os.Rename(path+".new", path); err != nil {
			return err
		}
		done = append(done, name)
	}
	return nil
}

func oneLine(err error) error {
	return errors.New(strings.Join(strings.Fields(err.Error()), " "))
}
