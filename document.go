package gamma

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
)

//go:embed openapi.json
var document string

// OpenAPI returns a copy of the OpenAPI document that this version of the SDK was
// generated from, as JSON.
func OpenAPI() []byte { return []byte(document) }

// requests is generated from the document. It has what names and checks requests.
//
//go:embed api/requests.gen.json
var requests string

// contract is the part of the document that the client needs at run time.
type contract struct {
	Servers []struct {
		URL string `json:"url"`
	} `json:"servers"`
	Paths      map[string]map[string]*requestLimits `json:"paths"`
	Components struct {
		Schemas map[string]*schema `json:"schemas"`
	} `json:"components"`

	limits map[string]*requestLimits // by "METHOD /path/{parameter}"
	names  map[string][]string       // the keys of limits by method, those with the fewest parameters first
}

// parse ignores errors: a test checks the embedded document.
func parse(document string) *contract {
	c := &contract{limits: map[string]*requestLimits{}, names: map[string][]string{}}
	_ = json.Unmarshal([]byte(document), c)
	for path, methods := range c.Paths {
		for method, l := range methods {
			method = strings.ToUpper(method)
			name := method + " " + path
			c.limits[name] = l
			c.names[method] = append(c.names[method], name)
		}
	}
	for _, names := range c.names {
		slices.SortFunc(names, func(a, b string) int {
			return cmp.Or(strings.Count(a, "{")-strings.Count(b, "{"), strings.Compare(a, b))
		})
	}
	return c
}

var parsed = sync.OnceValue(func() *contract { return parse(requests) })

// defaultBaseURL returns the document's first server.
func defaultBaseURL() string {
	if s := parsed().Servers; len(s) > 0 {
		return s[0].URL
	}
	return ""
}

// version returns the first segment of the document's paths, as in "/v1.0". It is empty
// if they do not share one.
func (c *contract) version() string {
	first := ""
	for path := range c.Paths {
		segment, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		if segment = "/" + segment; first != "" && segment != first {
			return ""
		}
		first = segment
	}
	return first
}

// operation returns the name of a request, "METHOD /path/{parameter}", which does not
// contain anything secret. prefix is the path of the base URL.
func (c *contract) operation(req *http.Request, prefix string) string {
	path := strings.TrimPrefix(req.URL.EscapedPath(), prefix)
	for _, name := range c.names[req.Method] {
		if match(name[len(req.Method)+1:], path) {
			return name
		}
	}
	return req.Method + " (undocumented path)"
}

// match reports whether path matches template.
func match(template, path string) bool {
	for {
		fixed, parameter, more := strings.Cut(template, "{")
		if !more {
			return path == template
		}
		if !strings.HasPrefix(path, fixed) {
			return false
		}
		template, path = nextSegment(parameter), nextSegment(path[len(fixed):])
	}
}

// nextSegment returns path from its first slash.
func nextSegment(path string) string {
	if i := strings.IndexByte(path, '/'); i >= 0 {
		return path[i:]
	}
	return ""
}
