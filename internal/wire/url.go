package wire

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

// URL returns the address of a server with path after its own. No segment of path
// needs escaping: they are the document's, and path parameters that pass
// [CheckPathParam].
func URL(text, path string) (*url.URL, error) {
	s := lastServer.Load()
	if s == nil || s.text != text {
		u, err := url.Parse(text)
		if err != nil {
			return nil, err
		}
		s = &server{text, *u}
		lastServer.Store(s)
	}
	u := s.url
	u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = "", false, "", ""
	u.Path = strings.TrimSuffix(u.Path, "/") + path
	if u.RawPath != "" {
		u.RawPath = strings.TrimSuffix(u.RawPath, "/") + path
	}
	return &u, nil
}
