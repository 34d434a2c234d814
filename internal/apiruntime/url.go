package apiruntime

import (
	"net/url"
	"strings"
	"sync/atomic"
)

// A program has one server, and a poll would spend a third of its time on parsing it.
var lastServer atomic.Pointer[server]

type server struct {
	text string
	url  url.URL
}

// URL returns the address of a server with path after its own, and with every {name}
// in path replaced by the next of params, of which there are as many. Nothing needs
// escaping: path is the document's, and each parameter passes [CheckPathParam].
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

// fill returns base and path with params, in one allocation.
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
