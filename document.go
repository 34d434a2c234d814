package gamma

import (
	_ "embed"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
)

//go:embed openapi.json
var document string

// OpenAPI returns a copy of the OpenAPI document that this version of the SDK was
// generated from, as JSON.
func OpenAPI() []byte { return []byte(document) }

// requests is generated from the document: what names requests, and what checks them.
//
//go:embed api/requests.gen.json
var requests string

// contract is the document as the client needs it at run time.
type contract struct {
	Servers []struct {
		URL string `json:"url"`
	} `json:"servers"`
	Paths      map[string]map[string]json.RawMessage `json:"paths"`
	Components struct {
		Schemas map[string]schema `json:"schemas"`
	} `json:"components"`

	limits map[string]requestLimits // by "METHOD /path/{parameter}"
}

// parse reads what it can: a test holds the embedded document to its schema.
func parse(document string) *contract {
	c := &contract{limits: map[string]requestLimits{}}
	_ = json.Unmarshal([]byte(document), c)
	for path, methods := range c.Paths {
		for method, raw := range methods {
			var l requestLimits
			_ = json.Unmarshal(raw, &l)
			c.limits[strings.ToUpper(method)+" "+path] = l
		}
	}
	return c
}

var parsed = sync.OnceValue(func() *contract { return parse(requests) })

// defaultBaseURL is the document's first server.
func defaultBaseURL() string {
	if s := parsed().Servers; len(s) > 0 {
		return s[0].URL
	}
	return ""
}

// version returns the first segment of the document's paths, as in "/v1.0", empty if
// they do not share one.
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

// operation names the request as "METHOD /path/{parameter}", which is safe to
// print where the URL is not. prefix is the path of the base URL.
func (c *contract) operation(req *http.Request, prefix string) string {
	segments := strings.Split(strings.TrimPrefix(req.URL.EscapedPath(), prefix), "/")
	best, fewest := "(undocumented path)", len(segments)+1
	for path, methods := range c.Paths {
		if _, ok := methods[strings.ToLower(req.Method)]; !ok {
			continue
		}
		if n, ok := match(strings.Split(path, "/"), segments); ok && n < fewest {
			best, fewest = path, n
		}
	}
	return req.Method + " " + best
}

// match reports whether segments fit template, and with how many parameters.
func match(template, segments []string) (parameters int, ok bool) {
	if len(template) != len(segments) {
		return 0, false
	}
	for i, t := range template {
		switch {
		case strings.HasPrefix(t, "{"):
			parameters++
		case t != segments[i]:
			return 0, false
		}
	}
	return parameters, true
}
