package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestList(t *testing.T) {
	own, err := os.ReadFile("../../../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		file, text string
		want, err  string
	}{
		"permissive": {"LICENSE.txt", string(own), "example.com/m v1.0.0 Apache-2.0\n", ""},
		"copyleft":   {"LICENSE", "SPDX-License-Identifier: AGPL-3.0", "", "example.com/m: "},
		"no licence": {"README", "", "", "example.com/m: there is no LICENSE"},
		"prose":      {"LICENSE", "Do as you like.", "", "not the text of one known licence"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, tt.file), []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			module, _ := json.Marshal(map[string]any{"Path": "example.com/m", "Version": "v1.0.0", "Dir": dir})
			var out bytes.Buffer
			err := list(strings.NewReader(`{"Path":"main","Main":true}`+string(module)), &out)
			if out.String() != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("printed %q, %v", out.String(), err)
			}
		})
	}
	if err := list(strings.NewReader(`{"Path":"example.com/m"}`), new(bytes.Buffer)); err == nil {
		t.Error("a module that is not there has a licence")
	}
	if err := list(strings.NewReader(`{`), new(bytes.Buffer)); err == nil {
		t.Error("half an answer was read")
	}
}
