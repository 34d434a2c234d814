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
	baseURL   string
	client    *http.Client
	userAgent string
	timeout   time.Duration
}

// WithBaseURL sends requests to rawURL instead of the document's first server,
// https://public-api.gamma.app. It must be an https URL with a host and may have
// a path; http is accepted for loopback hosts only. User info, a query, a
// fragment, and dot segments are refused. The API key goes to this URL's scheme,
// host and port and nowhere else.
func WithBaseURL(rawURL string) Option {
	return func(c *config) error {
		c.baseURL = rawURL
		_, err := parseBaseURL(rawURL)
		return err
	}
}

// WithHTTPClient uses the Transport and the Timeout of client, for a proxy, a
// certificate authority or instrumentation. The client is never changed. A nil
// Transport means [NewTransport]; a Timeout counts when it is shorter than the
// request timeout; CheckRedirect is not used, since redirects are never followed.
// A nil client is an error, and so is one with a Jar: the API has no cookies.
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

// WithRequestTimeout bounds each request, from its first byte to the last byte
// of the answer. The default, also for 0, is 15 seconds; a negative timeout is an
// error. A deadline of the request's context counts when it is earlier.
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

// NewClient returns the generated client with every operation of the document,
// hardened as the package comment says. White space around apiKey is dropped; a
// key that is empty or that a header cannot carry is an error, as is every option
// that is. No request is sent. The client is safe for concurrent use.
func NewClient(apiKey string, opts ...Option) (*api.ClientWithResponses, error) {
	key := strings.TrimSpace(apiKey)
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
	base, err := parseBaseURL(c.baseURL)
	if err != nil {
		return nil, err
	}
	return &api.ClientWithResponses{ClientInterface: &api.Client{
		Server: base.String() + "/",
		Client: newDoer(key, base, c),
	}}, nil
}

// NewClientFromEnv is [NewClient] with the key from the environment variable
// GAMMA_API_KEY and, where it is set and not empty, the base URL from
// GAMMA_BASE_URL. Options win over the environment.
func NewClientFromEnv(opts ...Option) (*api.ClientWithResponses, error) {
	key := os.Getenv("GAMMA_API_KEY")
	if strings.TrimSpace(key) == "" {
		return nil, errors.New("gamma: the environment variable GAMMA_API_KEY is not set")
	}
	if base := os.Getenv("GAMMA_BASE_URL"); base != "" {
		opts = append([]Option{func(c *config) error { // checked at the end, where no option wins
			c.baseURL = base
			return nil
		}}, opts...)
	}
	return NewClient(key, opts...)
}

// NewTransport returns a new copy of the transport that [NewClient] uses, for
// callers who must add a proxy or a certificate authority and pass it back in an
// [http.Client] through [WithHTTPClient]. Against [http.DefaultTransport] it
// keeps more idle connections to one host, bounds the response header to 256 KiB,
// finds a dead HTTP/2 connection by pings, within 10 seconds, and opens at most
// twelve connections for one request. Like the default, it uses the proxy
// that the environment names.
func NewTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dial,
		ForceAttemptHTTP2:      true, // also once the caller has set TLSClientConfig
		MaxIdleConns:           1024,
		MaxIdleConnsPerHost:    1024, // all of them go to one host
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 5 * time.Second, PingTimeout: 5 * time.Second},
	}
}

// parseBaseURL checks rawURL by the rules of [WithBaseURL]. Its errors do not
// quote rawURL, which may hold a password or be the API key.
func parseBaseURL(rawURL string) (*url.URL, error) {
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
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		why = "http to a host that is not loopback: the API key would be readable on the way"
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
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
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
