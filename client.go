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

// WithBaseURL sends requests, and the API key, to rawURL instead of
// https://public-api.gamma.app. It must be an https URL; http is accepted for loopback
// hosts only, see [WithInsecureHTTP]. It may have a path, with or without the API's
// version at its end. User info, a query, a fragment and dot segments are refused.
func WithBaseURL(rawURL string) Option {
	return func(c *config) error {
		c.baseURL = rawURL
		return nil
	}
}

// WithInsecureHTTP accepts http for any host, in the base URL and in export URLs. The
// API key is then sent in the clear: it is for a fake server in a compose file or a
// cluster, never for the real API.
func WithInsecureHTTP() Option {
	return func(c *config) error {
		c.insecureHTTP = true
		return nil
	}
}

// WithHTTPClient uses the Transport of client, for a proxy, a certificate authority or
// instrumentation; nil means [NewTransport]. It sees the API key. The Timeout of client
// counts like [WithRequestTimeout], if it is shorter; CheckRedirect is not used. A nil
// client and one with a Jar are errors. The client is not changed.
//
// A request with a body is sent over a new connection of a Clone of an
// [*http.Transport], since a kept connection that the server is about to close leaves it
// unknown whether it was received. Any other RoundTripper is used as it is. Without an
// open connection, requests wait for the first one to connect, at most a second, so
// that many at once share its HTTP/2 connection.
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

// WithUserAgent replaces the User-Agent header, "gamma-go/" and [Version]. An empty
// string keeps it.
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

// WithRequestTimeout bounds each request without a body. The default, also for 0, is 15
// seconds; a negative timeout is an error. A request with a body, such as a create, ends
// with its context, or after 5 minutes if that has no deadline: giving up earlier would
// not undo it.
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
	Operation string        // as in "POST /v1.0/generations", or "GET export" for a download
	Attempt   int           // the number of requests so far, from 1
	Err       error         // why the last one failed, often an [*APIError]; never nil
	Pause     time.Duration // the time until the next one
}

// WithOnRetry calls f before each pause of a create or a download, in the goroutine of
// the caller. A nil f, the default, is no callback.
func WithOnRetry(f func(Retry)) Option {
	return func(c *config) error {
		c.onRetry = f
		return nil
	}
}

// Client is a client for the Gamma API, made by [NewClient]. It is safe for
// concurrent use, and one is enough for a program.
//
// Every operation of the OpenAPI document has a method that returns its model, such
// as GetGenerationStatus, ListThemes or ArchiveGamma, and one with the suffix
// WithResponse that also returns the status and the headers; see
// [api.ClientWithResponses]. The methods below replace those that create, and add what
// needs more than one request.
type Client struct {
	*api.ClientWithResponses

	doer *doer
}

// NewClient returns a [Client] that authenticates with apiKey, ignoring white space and
// a pair of quotes around it. It returns an error if the key is empty or not printable
// ASCII, or if an option is invalid. It sends no request.
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
// GAMMA_API_KEY and, if it is not empty, the base URL from GAMMA_BASE_URL. A true
// GAMMA_INSECURE_HTTP is [WithInsecureHTTP]. Options take precedence.
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
