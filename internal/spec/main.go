// Command spec merges the pages and documents that the vendor publishes into
// openapi.json. It is a part of make spec, which internal/ci/spec.sh runs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

func main() {
	result := flag.String("o", "", "the file to write")
	flag.Parse()
	text, err := spec(".", flag.Args(), os.Stdout)
	if err == nil {
		err = os.WriteFile(*result, text, 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "make spec: nothing was changed:", err)
		os.Exit(1)
	}
}

// spec returns openapi.json of the directory root with the files merged into it.
func spec(root string, files []string, log io.Writer) ([]byte, error) {
	fixes, err := readCorrections(filepath.Join(root, "overlay.yaml"))
	if err != nil {
		return nil, fmt.Errorf("overlay.yaml: %w", oneLine(err))
	}
	base, err := read(root, "openapi.json", &corrections{seen: map[string]bool{}})
	if err != nil {
		return nil, err
	}
	var inputs []source
	for _, file := range files {
		found, err := read(root, file, fixes)
		if err != nil {
			return nil, err
		}
		inputs = append(inputs, found...)
	}
	text, err := merge(base[0], inputs)
	if err != nil {
		return nil, err
	}
	t, err := openapi3.NewLoader().LoadFromData(text)
	if err == nil {
		// The vendor's examples are known to contradict the schemas beside them.
		err = t.Validate(context.Background(), openapi3.DisableExamplesValidation())
	}
	if err != nil {
		return nil, fmt.Errorf("%s: not valid OpenAPI once merged: %w", strings.Join(files, ", "), oneLine(err))
	}
	before, after := "", ""
	if servers := array(base[0].document["servers"]); len(servers) > 0 {
		before, _ = object(servers[0])["url"].(string)
	}
	if len(t.Servers) > 0 {
		after = t.Servers[0].URL
	}
	if u, err := url.Parse(after); err != nil || u.Scheme != "https" || u.Host == "" || strings.Contains(after, "{") {
		return nil, fmt.Errorf("%s: the first server is no absolute https URL: %q", strings.Join(files, ", "), after)
	}
	if before != after {
		_, _ = fmt.Fprintf(log, "make spec: the client sends the key elsewhere: to %s, not to %s\n", after, before)
	}
	for _, name := range fixes.unused() {
		_, _ = fmt.Fprintf(log, "overlay.yaml: the correction of %s no longer applies: it is right as published\n", name)
	}
	return text, nil
}

func oneLine(err error) error {
	return errors.New(strings.Join(strings.Fields(err.Error()), " "))
}
