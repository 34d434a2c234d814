package apiruntime

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// MaxRetryAfter is the longest delay that a server can ask for.
const MaxRetryAfter = 24 * time.Hour

// RetryAfter reads the Retry-After header (RFC 9110, section 10.2.3): seconds, or a date in
// one of the three forms of RFC 9110, section 5.6.7. A fraction of a second is rounded up.
// A date is relative to the response's Date header, so that no clock need be right, or to
// now if there is none. It returns 0 for a header that is absent, invalid or in the past,
// and at most [MaxRetryAfter].
//
// It reads Retry-After-Burst and Retry-After-Daily in the same way and returns the longest
// of all, also if one is repeated. The API does not document these two. Its rate-limit
// headers are those of nestjs/throttler, which sends one for each of its limits.
func RetryAfter(h http.Header, now time.Time) (longest time.Duration) {
	for _, key := range [...]string{"Retry-After", "Retry-After-Burst", "Retry-After-Daily"} {
		for _, v := range h[key] {
			longest = max(longest, retryAfter(v, h, now))
		}
	}
	return longest
}

func retryAfter(v string, h http.Header, now time.Time) time.Duration {
	v = strings.Trim(v, " \t")
	whole, fraction, hasFraction := strings.Cut(v, ".")
	seconds, ok := number(whole)
	if hasFraction && ok {
		var part uint64
		if part, ok = number(fraction); part > 0 {
			seconds = max(seconds, seconds+1)
		}
	}
	if ok {
		return time.Duration(min(seconds, uint64(MaxRetryAfter/time.Second))) * time.Second
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return min(max(at.Sub(now), 0), MaxRetryAfter)
}

// number reads s as a whole number. It returns the largest uint64 if s is out of range.
func number(s string) (n uint64, ok bool) {
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil || errors.Is(err, strconv.ErrRange)
}
