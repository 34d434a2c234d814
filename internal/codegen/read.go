package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-json-experiment/json"
	"github.com/speakeasy-api/openapi/overlay"
	"gopkg.in/yaml.v3"
)

// source is an OpenAPI document, or a fragment of one in a page.
type source struct {
	name     string // for error messages
	page     bool
	document map[string]any
}

func read(root, file string, fixes *corrections) ([]source, error) {
	path := file
	if !filepath.IsAbs(path) {
		path = filepath.Join(root, path)
	}
	data, err := os.ReadFile(path) //nolint:gosec // the developer names the files
	if err != nil {
		return nil, err
	}
	var page bool
	text := strings.TrimPrefix(string(data), "\ufeff")
	texts, parse := map[int]string{0: text}, parseJSON
	switch strings.ToLower(filepath.Ext(file)) {
	case ".md", ".markdown":
		page = true
		texts, err = fences(text)
	case ".yaml", ".yml":
		parse = parseYAML
	case ".json":
	default:
		err = errors.New("the name must end in .md, .json, .yaml or .yml")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var sources []source
	for _, line := range slices.Sorted(maps.Keys(texts)) {
		name := file
		if page {
			name = fmt.Sprintf("%s:%d", file, line)
		}
		node, err := parse(texts[line])
		if err != nil {
			return nil, fmt.Errorf("%s: truncated, or not in the format of its name: %w", name, oneLine(err))
		}
		if err := fixes.apply(node); err != nil {
			return nil, fmt.Errorf("overlay.yaml: %s: %w", name, oneLine(err))
		}
		document, err := decode(node)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, oneLine(err))
		}
		fixes.recordSchemas(document)
		withoutSuffix(document)
		withoutParameters(document)
		trim(document)
		if page && document["openapi"] == nil && document["swagger"] == nil {
			continue // an example of a request or a response
		}
		if version, _ := document["openapi"].(string); !strings.HasPrefix(version, "3.0.") {
			return nil, fmt.Errorf("%s: not an OpenAPI 3.0 document", name)
		}
		sources = append(sources, source{name, page, document})
	}
	if len(sources) == 0 {
		return nil, fmt.Errorf("%s: no JSON code fence has an OpenAPI fragment", file)
	}
	return sources, nil
}

var looksLikeFragment = regexp.MustCompile(`"(openapi|swagger|paths|operationId)"\s*:`)

// fences returns what may be OpenAPI in the JSON code fences of a page, by the line where it
// starts. A Markdown library would not report a fence that is not closed.
func fences(page string) (map[int]string, error) {
	found := map[int]string{}
	var mark, language string
	var content []string
	start := 0
	for i, line := range strings.Split(page, "\n") {
		text := strings.TrimLeft(line, "> \t")
		rest := strings.TrimLeft(text, text[:min(1, len(text))])
		run := text[:len(text)-len(rest)]
		fence := len(run) >= 3 && (run[0] == '`' || run[0] == '~')
		info := strings.TrimSpace(rest)
		switch {
		case mark == "" && fence && !strings.Contains(info, "`"):
			word, _, _ := strings.Cut(info, " ")
			mark, language, content, start = run, strings.ToLower(word), nil, i+2
		case mark != "" && fence && strings.HasPrefix(run, mark) && info == "":
			if text := strings.Join(content, "\n"); (language == "json" || language == "") && looksLikeFragment.MatchString(text) {
				found[start] = text
			}
			mark = ""
		case mark != "":
			content = append(content, text) // without the > of a quote
		}
	}
	if mark != "" {
		return nil, fmt.Errorf("the code fence before line %d is not closed: the page is truncated", start)
	}
	return found, nil
}

// parseJSON parses JSON. Unlike encoding/json, it returns an error for invalid UTF-8 and for
// duplicate keys.
func parseJSON(text string) (*yaml.Node, error) {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return nil, err
	}
	return nodeOf(v), nil
}

// nodeOf returns the node of v, which was decoded from JSON. yaml.Node.Encode would convert v
// to YAML and back, which changes some strings.
func nodeOf(v any) *yaml.Node {
	node := new(yaml.Node)
	switch v := v.(type) {
	case string:
		node.SetString(v)
	case []any:
		node.Kind, node.Tag = yaml.SequenceNode, "!!seq"
		for _, x := range v {
			node.Content = append(node.Content, nodeOf(x))
		}
	case map[string]any:
		node.Kind, node.Tag = yaml.MappingNode, "!!map"
		for _, k := range slices.Sorted(maps.Keys(v)) {
			node.Content = append(node.Content, nodeOf(k), nodeOf(v[k]))
		}
	default:
		_ = node.Encode(v) // a number, a boolean or null
	}
	return node
}

func parseYAML(text string) (*yaml.Node, error) {
	d := yaml.NewDecoder(strings.NewReader(text))
	node := new(yaml.Node)
	if err := d.Decode(node); err != nil {
		return nil, err
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one document")
	}
	return node, nil
}

// decode returns the document in node. It returns an error if that is not OpenAPI.
func decode(node *yaml.Node) (document map[string]any, err error) {
	plain(node)
	if err := node.Decode(&document); err != nil {
		return nil, err
	}
	text, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	if document["openapi"] == nil {
		return document, nil
	}
	return document, new(openapi3.T).UnmarshalJSON(text)
}

// plain changes node to the types of JSON: keys and dates are strings.
func plain(node *yaml.Node) {
	for i, child := range node.Content {
		key := node.Kind == yaml.MappingNode && i%2 == 0 && child.Tag != "!!merge"
		if child.Kind == yaml.ScalarNode && (key || child.Tag == "!!timestamp") {
			child.Tag = "!!str"
		}
		plain(child)
	}
}

// withoutSuffix removes the suffix Dto from the names of schemas. Some of the vendor's
// documents have it.
func withoutSuffix(document map[string]any) {
	const prefix, suffix = "#/components/schemas/", "Dto"
	schemas := object(object(document["components"])["schemas"])
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		if plain, ok := strings.CutSuffix(name, suffix); ok && plain != "" && schemas[plain] == nil {
			schemas[plain] = schemas[name]
			delete(schemas, name)
			replace(document, prefix+name, prefix+plain)
		}
	}
}

// withoutParameters removes the parameters of content types: oapi-codegen does not recognize
// JSON with parameters.
func withoutParameters(v any) {
	content := at(v, "content")
	for _, kind := range slices.Sorted(maps.Keys(content)) {
		if plain, _, ok := strings.Cut(kind, ";"); ok && strings.Contains(plain, "/") {
			content[strings.TrimSpace(plain)] = content[kind]
			delete(content, kind)
		}
	}
	for _, x := range object(v) {
		withoutParameters(x)
	}
	for _, x := range array(v) {
		withoutParameters(x)
	}
}

// replace replaces every string in v that is equal to before by after.
func replace(v any, before, after string) {
	for k, x := range object(v) {
		if x == before {
			object(v)[k] = after
		}
		replace(x, before, after)
	}
	for _, x := range array(v) {
		replace(x, before, after)
	}
}

// trim removes white space at the start of prose: oapi-codegen cannot read a text that starts
// with an empty line and a tab.
func trim(v any) {
	for k, x := range object(v) {
		if text, ok := x.(string); ok && slices.Contains(prose, k) {
			object(v)[k] = strings.TrimLeft(text, " \t\r\n")
		}
		trim(x)
	}
	for _, x := range array(v) {
		trim(x)
	}
}

// corrections are the actions of the overlay that have evidence. The description of an
// action is the schema and the property that it corrects. Actions with the same description
// are one correction.
type corrections struct {
	overlay overlay.Overlay
	applied map[string]bool // by description
	seen    map[string]bool // schemas
}

func readCorrections(path string) (*corrections, error) {
	o, err := overlay.Parse(path)
	if err != nil {
		return nil, err
	}
	if err := o.Validate(); err != nil {
		return nil, err
	}
	c := &corrections{*o, map[string]bool{}, map[string]bool{}}
	c.overlay.Actions = nil
	for _, a := range o.Actions {
		if a.Extensions["x-evidence"] != nil {
			c.overlay.Actions = append(c.overlay.Actions, a)
		}
	}
	return c, nil
}

func (c *corrections) apply(node *yaml.Node) error {
	for _, a := range c.overlay.Actions {
		target, err := c.overlay.NewPath(a.Target, nil)
		if err != nil {
			return err
		}
		c.applied[a.Description] = c.applied[a.Description] || len(target.Query(node)) > 0
		one := c.overlay
		one.Actions = []overlay.Action{a}
		if err := one.ApplyTo(node); err != nil {
			return err
		}
	}
	return nil
}

// recordSchemas records the schemas of document as seen.
func (c *corrections) recordSchemas(document map[string]any) {
	for name := range object(object(document["components"])["schemas"]) {
		c.seen[strings.TrimSuffix(name, "Dto")] = true
	}
}

// unused returns the corrections that no schema needed.
func (c *corrections) unused() []string {
	var names []string
	for name, applied := range c.applied {
		schema, _, _ := strings.Cut(name, ".")
		if !applied && c.seen[schema] {
			names = append(names, name)
		}
	}
	return sorted(names)
}
