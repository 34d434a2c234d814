package gamma

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gamma-sdk/gamma-go/internal/wire"
)

// RateLimit is the budget of the API key as of a response. It is a snapshot: other
// programs spend from the same budget.
type RateLimit struct {
	Burst Window // a short window; the API does not publish its length
	Hour  Window
	Day   Window
}

// Window is one window of a [RateLimit].
type Window struct {
	Limit     int64 // requests allowed in the window; -1 when the response does not say
	Remaining int64 // requests left in the window; -1 when the response does not say

	// Reset is how long until the window renews, as of the response; -1 when the
	// response does not say, or says more than 24 hours. That the server sends it is
	// inferred from its rate limiter, not documented by the vendor.
	Reset time.Duration
}

// RateLimitOf reads the x-ratelimit headers of a response, such as
// HTTPResponse.Header of any generated response. A header that is absent or is
// not a whole number reads as -1. A nil header is fine.
//
// The API documents six headers: x-ratelimit-limit-burst,
// x-ratelimit-remaining-burst, x-ratelimit-limit and x-ratelimit-remaining (for
// the hour), x-ratelimit-limit-daily and x-ratelimit-remaining-daily. It does not
// document x-ratelimit-reset-burst, x-ratelimit-reset and x-ratelimit-reset-daily, in
// seconds: the rate limiter that has the other six by these names (nestjs/throttler)
// sends them too.
func RateLimitOf(h http.Header) RateLimit {
	return RateLimit{
		Burst: Window{count(h, "X-Ratelimit-Limit-Burst"), count(h, "X-Ratelimit-Remaining-Burst"), reset(h, "X-Ratelimit-Reset-Burst")},
		Hour:  Window{count(h, "X-Ratelimit-Limit"), count(h, "X-Ratelimit-Remaining"), reset(h, "X-Ratelimit-Reset")},
		Day:   Window{count(h, "X-Ratelimit-Limit-Daily"), count(h, "X-Ratelimit-Remaining-Daily"), reset(h, "X-Ratelimit-Reset-Daily")},
	}
}

// reset reads a header as seconds. More than a day is none of the windows: it may be a
// point in time, as other servers send.
func reset(h http.Header, key string) time.Duration {
	n := count(h, key)
	if n < 0 || n > int64(wire.MaxRetryAfter/time.Second) {
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
