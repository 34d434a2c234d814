package gamma

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gamma-sdk/gamma-go/api"
)

// Version is the version of this SDK, as in its User-Agent header.
const Version = "0.1.0"

const defaultRequestTimeout = 15 * time.Second

// Option changes one setting of [NewClient]. The order of options does not
// matter, except that the last of two equal ones wins.
type Option func(*config) error

type config struct {
	baseURL      string
	insecureHTTP bool
	client       *http.Client
	userAgent    string
	timeout      time.Duration
	onRetry      func(Retry)
}

// WithBaseURL sends requests to rawURL instead of the document's first server,
// https://public-api.gamma.app. It must be an https URL with a host and may have
// a path, with or without the API's version (https://host/v1.0); http is accepted for
// loopback hosts only, see [WithInsecureHTTP]. User info, a query, a fragment and dot
// segments are refused. The API key is sent to this URL's scheme, host and port and
// nowhere else.
func WithBaseURL(rawURL string) Option {
	return func(c *config) error {
		c.baseURL = rawURL
		return nil
	}
}

// WithInsecureHTTP accepts http for any host, in the base URL and in export URLs. The
// API key and the exports then cross the network in the clear: it is for a fake server
// in a compose file or a cluster, never for the real API.
func WithInsecureHTTP() Option {
	return func(c *config) error {
		c.insecureHTTP = true
		return nil
	}
}

// WithHTTPClient uses the Transport and the Timeout of client, for a proxy, a
// certificate authority or instrumentation. The client is never changed. A nil
// Transport means [NewTransport]; a Timeout counts when it is shorter than the
// request timeout, for requests without a body; CheckRedirect is not used, since
// redirects are never followed. A nil client is an error, and so is one with a Jar: the
// API has no cookies.
//
// If the Transport is an [*http.Transport], a request with a body is sent over a new
// connection of a Clone of it, without HTTP/2 pings, and is the only one there. Any other
// [http.RoundTripper] is used as it is: over a connection that the server is about to
// close as idle, a create may end with [ErrMaybeCreated]. While no connection of an
// [*http.Transport] is known to be open, requests wait until the first has one, for a
// second at most, so that many at once share its HTTP/2 connection.
//
// The Transport sees the API key, and whatever it does with it is its own. The
// requests that it gets have no GetBody, so that nothing with a body is sent twice.
func WithHTTPClient(client *http.Client) Option {
	return func(c *config) error {
		if client == nil {
			return errors.New("gamma: WithHTTPClient: nil client")
		}
		if client.Jar != nil {
			return errors.New("gamma: WithHTTPClient: a client with a cookie jar")
		}
		c.client = client
		return nil
	}
}

// WithUserAgent replaces the User-Agent header, "gamma-go/" and [Version]. An
// empty string keeps it.
func WithUserAgent(userAgent string) Option {
	return func(c *config) error {
		if !printableASCII(userAgent) {
			return errors.New("gamma: WithUserAgent: a character that a header cannot carry")
		}
		if userAgent != "" {
			c.userAgent = userAgent
		}
		return nil
	}
}

// WithRequestTimeout bounds each request without a body, from its first byte to the last
// byte of the response. The default, also for 0, is 15 seconds; a negative timeout is an
// error. A deadline of the request's context counts when it is earlier. A request with a
// body, such as a create, ends with its context only, or after 5 minutes if that has no
// deadline: giving up early would not undo it.
func WithRequestTimeout(timeout time.Duration) Option {
	return func(c *config) error {
		if timeout < 0 {
			return errors.New("gamma: WithRequestTimeout: negative timeout")
		}
		if timeout > 0 {
			c.timeout = timeout
		}
		return nil
	}
}

// Retry is a request that is about to be sent again, see [WithOnRetry].
type Retry struct {
	// Operation is the method and the path template, as in "POST /v1.0/generations",
	// or "GET export" for a download.
	Operation string

	// Attempt counts the requests so far, from 1.
	Attempt int

	// Err is why the last one failed, often an [*APIError]. It is never nil.
	Err error

	// Pause is the time until the next one.
	Pause time.Duration
}

// WithOnRetry calls f before each pause of a create or a download, in the goroutine
// of the caller. Concurrent calls call it concurrently. A nil f is no callback, the
// default.
func WithOnRetry(f func(Retry)) Option {
	return func(c *config) error {
		c.onRetry = f
		return nil
	}
}

// Client is a client for the Gamma API, made by [NewClient]. It is safe for
// concurrent use, and one is enough for a program.
//
// Every operation of the OpenAPI document has a method that returns the model of
// its response, such as GetGenerationStatus, ListThemes or ArchiveGamma, and one
// with the suffix WithResponse that also returns the status and the headers; see
// [api.ClientWithResponses]. The methods below take the place of those that create,
// and add what needs more than one request.
type Client struct {
	*api.ClientWithResponses

	doer *doer
}

// NewClient returns a [Client] that authenticates with apiKey, ignoring white space
// and a pair of quotes around it. It returns an error if the key is empty or not printable ASCII, or if
// an option is invalid. It sends no request.
func NewClient(apiKey string, opts ...Option) (*Client, error) {
	key := unquote(apiKey)
	switch {
	case key == "":
		return nil, errors.New("gamma: the API key is empty")
	case !printableASCII(key):
		return nil, errors.New("gamma: the API key has a line break or another character that a header cannot carry")
	}
	c := config{
		baseURL:   defaultBaseURL(),
		client:    &http.Client{},
		userAgent: "gamma-go/" + Version,
		timeout:   defaultRequestTimeout,
	}
	for _, opt := range opts {
		if opt == nil {
			return nil, errors.New("gamma: nil option")
		}
		if err := opt(&c); err != nil {
			return nil, err
		}
	}
	base, err := parseBaseURL(c.baseURL, c.insecureHTTP)
	if err != nil {
		return nil, err
	}
	d := newDoer(key, base, c)
	return &Client{&api.ClientWithResponses{ClientInterface: &api.Client{Server: base.String() + "/", Client: d}}, d}, nil
}

// NewClientFromEnv is [NewClient] with the key from the environment variable
// GAMMA_API_KEY and, where it is set and not empty, the base URL from GAMMA_BASE_URL.
// A true GAMMA_INSECURE_HTTP, as [strconv.ParseBool] reads it, is [WithInsecureHTTP].
// Options take precedence over the environment.
func NewClientFromEnv(opts ...Option) (*Client, error) {
	key := unquote(os.Getenv("GAMMA_API_KEY"))
	if key == "" {
		return nil, errors.New("gamma: the environment variable GAMMA_API_KEY is not set")
	}
	base, insecure := unquote(os.Getenv("GAMMA_BASE_URL")), unquote(os.Getenv("GAMMA_INSECURE_HTTP"))
	env := func(c *config) (err error) {
		if base != "" {
			c.baseURL = base
		}
		if insecure != "" {
			if c.insecureHTTP, err = strconv.ParseBool(insecure); err != nil {
				return errors.New("gamma: the environment variable GAMMA_INSECURE_HTTP is not a boolean")
			}
		}
		return nil
	}
	return NewClient(key, append([]Option{env}, opts...)...)
}

// unquote removes white space around s, and quotes: docker's --env-file keeps those of
// KEY="value".
func unquote(s string) string {
	s = strings.TrimSpace(s)
	if n := len(s); n >= 2 && (s[0] == '"' || s[0] == '\'') && s[n-1] == s[0] {
		s = strings.TrimSpace(s[1 : n-1])
	}
	return s
}

// parseBaseURL checks rawURL by the rules of [WithBaseURL]. Its errors do not
// quote rawURL, which may hold a password or be the API key.
func parseBaseURL(rawURL string, insecureHTTP bool) (*url.URL, error) {
	rawURL = unquote(rawURL)
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, errors.New("gamma: the base URL is not a URL")
	}
	u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	why := ""
	switch {
	case u.Opaque != "" || u.Hostname() == "":
		why = "no host"
	case u.Scheme != "https" && u.Scheme != "http":
		why = "a scheme other than https and http"
	case u.Scheme == "http" && !insecureHTTP && !isLoopback(u.Hostname()):
		why = "http for a host that is not loopback: the API key would be sent in the clear, which WithInsecureHTTP or GAMMA_INSECURE_HTTP=1 allows for a fake server"
	case u.User != nil:
		why = "user info"
	case u.RawQuery != "" || u.ForceQuery:
		why = "a query"
	case u.Fragment != "" || strings.Contains(rawURL, "#"):
		why = "a fragment"
	case strings.HasSuffix(u.Host, ":") || !validPort(u.Port()):
		why = "a port that does not exist"
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		if segment == "." || segment == ".." {
			why = "a dot segment"
		}
	}
	if why != "" {
		return nil, errors.New("gamma: the base URL has " + why)
	}
	for _, path := range []*string{&u.Path, &u.RawPath} {
		// The paths of the document have the version themselves.
		*path = strings.TrimRight(strings.TrimSuffix(strings.TrimRight(*path, "/"), parsed().version()), "/")
	}
	return u, nil
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

func validPort(port string) bool {
	if port == "" {
		return true
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// printableASCII reports whether every header implementation carries s as it is.
func printableASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
