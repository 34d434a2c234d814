package gamma

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gamma-sdk/gamma-go/internal/apiruntime"
	"github.com/gamma-sdk/gamma-go/internal/ratelimit"
)

// RateLimit is the rate limit of the API key as of a response. All programs that use the
// key share it.
type RateLimit struct {
	Burst Window // a short window, whose length the API does not document
	Hour  Window
	Day   Window
}

// Window is one window of a [RateLimit]. A field is -1 if the response does not have it.
type Window struct {
	Limit     int64         // requests allowed in the window
	Remaining int64         // requests remaining in the window
	Reset     time.Duration // until the window resets, at most 24 hours; the API does not document it
}

// RateLimit returns the rate limit as of the last response, less the requests in flight.
// It sends no request. A field is -1 before the first response that has it. If the API
// limits operations separately, each window is that of the operation with the fewest
// requests remaining.
func (c *Client) RateLimit() RateLimit {
	l := c.doer.budget.Limits(time.Now())
	return RateLimit{Window(l[0]), Window(l[1]), Window(l[2])}
}

// sharedBudget is promoted to every type that embeds c. It returns nil for a nil c.
func (c *Client) sharedBudget() *ratelimit.Budget {
	if c == nil {
		return nil
	}
	return c.doer.budget
}

func init() {
	ratelimit.Of = func(client any) *ratelimit.Budget {
		if c, ok := client.(interface{ sharedBudget() *ratelimit.Budget }); ok {
			return c.sharedBudget()
		}
		return nil
	}
}

// RateLimitOf reads the rate-limit headers of a response, such as HTTPResponse.Header of
// a generated response: x-ratelimit-limit and x-ratelimit-remaining for the hour, with the
// suffix -burst or -daily for the other windows. The API documents these six. It also
// reads x-ratelimit-reset, which nestjs/throttler sends with headers of these names.
func RateLimitOf(h http.Header) RateLimit {
	return RateLimit{windowOf(h, 0), windowOf(h, 1), windowOf(h, 2)}
}

// headers are the names of the headers of each window.
var headers = [...]struct{ limit, remaining, reset string }{
	{"X-Ratelimit-Limit-Burst", "X-Ratelimit-Remaining-Burst", "X-Ratelimit-Reset-Burst"},
	{"X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset"},
	{"X-Ratelimit-Limit-Daily", "X-Ratelimit-Remaining-Daily", "X-Ratelimit-Reset-Daily"},
}

func windowOf(h http.Header, i int) Window {
	return Window{count(h, headers[i].limit), count(h, headers[i].remaining), reset(h, headers[i].reset)}
}

// reset reads a header as seconds. It returns -1 for more than a day, which may be a point
// in time, as other servers send.
func reset(h http.Header, key string) time.Duration {
	n := count(h, key)
	if n < 0 || n > int64(apiruntime.MaxRetryAfter/time.Second) {
		return -1
	}
	return time.Duration(n) * time.Second
}

// count reads the header with the canonical name key as a whole number, -1 if it is none.
func count(h http.Header, key string) int64 {
	values := h[key]
	if len(values) == 0 {
		return -1
	}
	v := strings.Trim(values[0], " \t")
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || v[0] < '0' || v[0] > '9' {
		return -1
	}
	return n
}
