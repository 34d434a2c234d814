package wire

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// MaxRetryAfter is the longest wait that a server can ask for.
const MaxRetryAfter = 24 * time.Hour

// RetryAfter reads the Retry-After header (RFC 9110, section 10.2.3): seconds,
// or a date in one of the three forms of RFC 9110, section 5.6.7. A date is read
// against the answer's own Date header, so neither clock need be right; now
// stands in where there is none. It returns 0 for a header that is absent,
// unreadable or in the past, and at most [MaxRetryAfter].
func RetryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.Trim(h.Get("Retry-After"), " \t")
	if v == "" {
		return 0
	}
	seconds, err := strconv.ParseUint(v, 10, 64) // the largest there is, when out of range
	if err == nil || errors.Is(err, strconv.ErrRange) {
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
