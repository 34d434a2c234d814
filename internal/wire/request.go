// Package wire holds the rules for the single values that cross the wire: path
// parameters and URLs on the way out, bodies, texts and Retry-After on the way
// in. The generated client, the root package and the poller share them.
package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
)

// maxPathParam bounds a path parameter. The API publishes no limit; its own
// ids have about 20 characters, and 256 leaves room in any server's URL limit.
const maxPathParam = 256

// CheckPathParam reports why value cannot be a path parameter: it must be 1 to
// 256 URL-unreserved characters (RFC 3986, section 2.3) and not only dots.
// Everything else would ask for another route on some server: an empty value or
// a dot segment for the parent, an escaped slash for a child. The text of the
// error never quotes value, which may be a secret pasted into the wrong place.
func CheckPathParam(name, value string) error {
	switch {
	case value == "":
		return fmt.Errorf("gamma: %s is empty", name)
	case len(value) > maxPathParam:
		return fmt.Errorf("gamma: %s has %d characters, more than %d", name, len(value), maxPathParam)
	}
	dots := true
	for i := range len(value) {
		c := value[i]
		if !unreserved(c) {
			return fmt.Errorf("gamma: %s has a character other than A-Z a-z 0-9 - . _ ~ at position %d", name, i)
		}
		dots = dots && c == '.'
	}
	if dots {
		return fmt.Errorf("gamma: %s is a dot segment", name)
	}
	return nil
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}

// NewRequest returns a request to the server's address and an operation's path,
// with every {name} in path replaced by the next of params, of which there are as
// many. Each must pass [CheckPathParam], so none needs escaping.
func NewRequest(ctx context.Context, method, server, path string, body io.Reader, params ...string) (*http.Request, error) {
	base, err := parseServer(server)
	if err != nil {
		return nil, err
	}
	for _, value := range params {
		open, end := strings.IndexByte(path, '{'), strings.IndexByte(path, '}')
		if err := CheckPathParam(path[open+1:end], value); err != nil {
			return nil, err
		}
		path = path[:open] + value + path[end+1:]
	}
	u := *base
	u.Path += path
	if base.RawPath != "" {
		u.RawPath += path
	}
	if body == nil && ctx != nil {
		// As below, but for the parsing of an empty URL: a poll is worth it.
		return (&http.Request{
			Method: method, URL: &u, Host: u.Host, Header: make(http.Header),
			Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		}).WithContext(ctx), nil
	}
	req, err := http.NewRequestWithContext(ctx, method, "", body)
	if err != nil {
		return nil, err
	}
	req.URL, req.Host = &u, u.Host
	return req, nil
}

// lastServer spares most requests to parse the address: a program has one.
var lastServer atomic.Pointer[parsedServer]

type parsedServer struct {
	text string
	url  *url.URL
}

// parseServer parses the server's address and drops the slashes at its end.
func parseServer(text string) (*url.URL, error) {
	if last := lastServer.Load(); last != nil && last.text == text {
		return last.url, nil
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("gamma: the server's address is not a URL")
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	lastServer.Store(&parsedServer{text, u})
	return u, nil
}
