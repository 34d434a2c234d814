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

// Option is an option of [NewClient]. The order of options does not matter; if one is given
// twice, the last one wins. A nil Option is an error.
type Option func(*config) error

type config struct {
	baseURL      string
	insecureHTTP bool
	client       *http.Client
	userAgent    string
	timeout      time.Duration
	onRetry      func(Retry)
}

// WithBaseURL sends requests, and the API key, to rawURL. The default is
// https://public-api.gamma.app. It must be an https URL; http is accepted for loopback
// hosts only, see [WithInsecureHTTP]. It may have a path, which may end with the API's
// version. User info, a query, a fragment and dot segments are errors.
func WithBaseURL(rawURL string) Option {
	return func(c *config) error {
		c.baseURL = rawURL
		return nil
	}
}

// WithInsecureHTTP accepts http for any host, in the base URL and in export URLs. The
// API key is then sent unencrypted. Use it for a fake server, never for the real API.
func WithInsecureHTTP() Option {
	return func(c *config) error {
		c.insecureHTTP = true
		return nil
	}
}

// WithHTTPClient sends requests with client.Transport, for a proxy, a certificate
// authority or instrumentation; nil means [NewTransport]. The Transport sees the API key.
// client.Timeout replaces [WithRequestTimeout] if it is shorter. CheckRedirect is not
// used. A nil client and a client with a Jar are errors. The client is not changed.
//
// If the Transport is an [*http.Transport], a request with a body is sent over a new
// connection of a clone of it: if a server closes a reused connection, it is unknown
// whether it received the request. If no connection is open, requests without a body wait
// up to a second for the first of them to connect, so that they share its HTTP/2
// connection. Any other RoundTripper is used as it is.
func WithHTTPClient(client *http.Client) Option {
	return func(c *config) error {
		if client == nil {
			return errors.New("gamma: WithHTTPClient: nil client")
		}
		if client.Jar != nil {
			return errors.New("gamma: WithHTTPClient: the client has a cookie jar")
		}
		c.client = client
		return nil
	}
}

// WithUserAgent sets the User-Agent header. The default, also for an empty string, is
// "gamma-go/" and [Version].
func WithUserAgent(userAgent string) Option {
	return func(c *config) error {
		if !printableASCII(userAgent) {
			return errors.New("gamma: WithUserAgent: a character that is not printable ASCII")
		}
		if userAgent != "" {
			c.userAgent = userAgent
		}
		return nil
	}
}

// WithRequestTimeout sets the timeout of each request without a body. The default, also
// for 0, is 15 seconds; a negative timeout is an error. A request with a body, such as a
// create, is limited by its context, or to 5 minutes if that has no deadline.
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

// Retry describes a request that will be sent again after a pause; see [WithOnRetry].
type Retry struct {
	Operation string        // as in "POST /v1.0/generations", or "GET export" for a download
	Attempt   int           // the number of requests so far, from 1
	Err       error         // why the last request failed, often an *APIError; never nil
	Pause     time.Duration // the time until the next request
}

// WithOnRetry calls f before each pause of a create or a download, in the goroutine of
// the caller. The default, also for nil, is no callback. If several goroutines use the
// client, f must be safe for concurrent use.
func WithOnRetry(f func(Retry)) Option {
	return func(c *config) error {
		c.onRetry = f
		return nil
	}
}

// Client is a client for the Gamma API. Create it with [NewClient]. It is safe for
// concurrent use; use one for the whole program, since it tracks the rate limit.
//
// Every operation of the OpenAPI document has a method that returns its model, such
// as GetGenerationStatus, ListThemes or ArchiveGamma, and one with the suffix
// WithResponse that also returns the status and the headers; see
// [api.ClientWithResponses]. The methods of Client itself replace the creates, and add
// those that need more than one request.
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
		return nil, errors.New("gamma: the API key has a line break or another character that is not printable ASCII")
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

// NewClientFromEnv is like [NewClient], with the key from the environment variable
// GAMMA_API_KEY and, if it is not empty, the base URL from GAMMA_BASE_URL. If
// GAMMA_INSECURE_HTTP is true, it applies [WithInsecureHTTP]. Options take precedence.
// It returns an error if GAMMA_API_KEY is empty.
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

// unquote removes white space and quotes around s. Docker's --env-file does not remove
// the quotes of KEY="value".
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
		why = "the scheme http, which would send the API key unencrypted; for a fake server, set WithInsecureHTTP or GAMMA_INSECURE_HTTP=1"
	case u.User != nil:
		why = "user info"
	case u.RawQuery != "" || u.ForceQuery:
		why = "a query"
	case u.Fragment != "" || strings.Contains(rawURL, "#"):
		why = "a fragment"
	case strings.HasSuffix(u.Host, ":") || !validPort(u.Port()):
		why = "an invalid port"
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
		// The paths of the document start with the version.
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

// printableASCII reports whether s can be sent in a header unchanged.
func printableASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
