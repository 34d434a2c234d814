package apiruntime

import (
	"net/url"
	"strings"
	"sync/atomic"
)

// lastServer is the URL that was parsed last. A program usually has one server.
var lastServer atomic.Pointer[server]

type server struct {
	text string
	url  url.URL
}

// URL returns the URL text with path appended, in which each {name} is replaced by the next
// of params. Nothing is escaped: path is the document's, and each parameter must have
// passed [CheckPathParam].
func URL(text, path string, params ...string) (*url.URL, error) {
	s := lastServer.Load()
	if s == nil || s.text != text {
		u, err := url.Parse(text)
		if err != nil {
			return nil, err
		}
		u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = "", false, "", ""
		u.Path, u.RawPath = strings.TrimSuffix(u.Path, "/"), strings.TrimSuffix(u.RawPath, "/")
		s = &server{text, *u}
		lastServer.Store(s)
	}
	u := s.url
	u.Path = fill(u.Path, path, params)
	if u.RawPath != "" {
		u.RawPath = fill(u.RawPath, path, params)
	}
	return &u, nil
}

// fill returns base and path with params filled in.
func fill(base, path string, params []string) string {
	size := len(base) + len(path)
	for _, p := range params {
		size += len(p)
	}
	var b strings.Builder
	b.Grow(size)
	b.WriteString(base)
	for _, p := range params {
		before, after, _ := strings.Cut(path, "{")
		b.WriteString(before)
		b.WriteString(p)
		_, path, _ = strings.Cut(after, "}")
	}
	b.WriteString(path)
	return b.String()
}
