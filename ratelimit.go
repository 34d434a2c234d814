package gamma

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gamma-sdk/gamma-go/internal/wire"
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

// RateLimitOf reads the rate-limit headers of a response, such as HTTPResponse.Header of
// a generated one: x-ratelimit-limit and x-ratelimit-remaining for the hour, with the
// suffix -burst or -daily for the others. The API documents these six. The rate limiter
// that has them by these names (nestjs/throttler) also sends x-ratelimit-reset.
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
