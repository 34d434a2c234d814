package gamma

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gamma-sdk/gamma-go/internal/apiruntime"
	"github.com/gamma-sdk/gamma-go/internal/ratelimit"
)

// RateLimit is the budget of the API key as of a response. Other programs spend from the
// same budget.
type RateLimit struct {
	Burst Window // a short window; the API does not publish its length
	Hour  Window
	Day   Window
}

// Window is one window of a [RateLimit]. A field is -1 if the response does not have it.
type Window struct {
	Limit     int64         // requests allowed in the window
	Remaining int64         // requests left in the window
	Reset     time.Duration // until the window renews, at most 24 hours; not documented by the vendor
}

// RateLimit returns what is known of the budget now, without a request: the windows as of
// the last response, less the requests in flight. Fields are -1 before the first response
// that has them. If the API has budgets of several operations, it is the one of each window
// that has the least remaining.
func (c *Client) RateLimit() RateLimit {
	l := c.doer.budget.Limits(time.Now())
	return RateLimit{Window(l[0]), Window(l[1]), Window(l[2])}
}

// sharedBudget is also a method of every type that embeds c. It returns nil for a nil c.
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
// a generated one: x-ratelimit-limit and x-ratelimit-remaining for the hour, with the
// suffix -burst or -daily for the others. The API documents these six. The rate limiter
// that has them by these names (nestjs/throttler) also sends x-ratelimit-reset.
func RateLimitOf(h http.Header) RateLimit {
	return RateLimit{windowOf(h, 0), windowOf(h, 1), windowOf(h, 2)}
}

// headers are those of the windows.
var headers = [...]struct{ limit, remaining, reset string }{
	{"X-Ratelimit-Limit-Burst", "X-Ratelimit-Remaining-Burst", "X-Ratelimit-Reset-Burst"},
	{"X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset"},
	{"X-Ratelimit-Limit-Daily", "X-Ratelimit-Remaining-Daily", "X-Ratelimit-Reset-Daily"},
}

func windowOf(h http.Header, i int) Window {
	return Window{count(h, headers[i].limit), count(h, headers[i].remaining), reset(h, headers[i].reset)}
}

// reset reads a header as seconds. More than a day is none of the windows: it may be a
// point in time, as other servers send.
func reset(h http.Header, key string) time.Duration {
	n := count(h, key)
	if n < 0 || n > int64(apiruntime.MaxRetryAfter/time.Second) {
		return -1
	}
	return time.Duration(n) * time.Second
}

// count reads a header, given in its canonical form, as a whole number.
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
