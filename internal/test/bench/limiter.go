package main

import (
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// limiter is the rate limit of a server. Times are since the start of the run.
type limiter interface {
	// take accepts a request that arrives at now, or returns the time until the next one
	// is accepted. It adds rate-limit headers to h.
	take(now time.Duration, h http.Header) (wait time.Duration)
}

// kind is how a window counts requests.
type kind string

const (
	byClock   kind = "clock"         // the window is fixed; a run starts in the middle of an hour and of a day
	fromFirst kind = "first request" // the window is fixed, and starts with its first request
	sliding   kind = "sliding"       // each request counts for the length of the window
	bucket    kind = "token bucket"  // requests are given back one by one
)

// startOfRun is the time of day at which a run starts.
const startOfRun = 12*time.Hour + 30*time.Minute

// quota is the limit of one window.
type quota struct {
	suffix    string // of the names of its headers
	kind      kind
	limit     int
	length    time.Duration
	onlyRest  bool // the headers lack the limit
	used      int  // of a fixed window
	end       time.Duration
	log       []time.Duration // of a sliding window
	level     float64         // of a bucket: how much is taken out
	levelAt   time.Duration
	exhausted time.Duration // when nothing remained for the first time
}

// remaining returns how many more requests the window accepts.
func (q *quota) remaining(now time.Duration) int {
	switch q.kind {
	case sliding:
		n, _ := slices.BinarySearch(q.log, now-q.length+1)
		q.log = q.log[n:]
		return q.limit - len(q.log)
	case bucket:
		q.level = max(0, q.level-float64(now-q.levelAt)*float64(q.limit)/float64(q.length))
		q.levelAt = now
		return q.limit - int(math.Ceil(q.level-1e-6))
	}
	if now >= q.end {
		q.used, q.end = 0, now+q.length
		if q.kind == byClock {
			q.end = (now + startOfRun).Truncate(q.length) - startOfRun + q.length
		}
	}
	return q.limit - q.used
}

// wait returns the time until a request is accepted.
func (q *quota) wait(now time.Duration) time.Duration {
	switch {
	case q.remaining(now) > 0:
		return 0
	case q.kind == sliding:
		return q.log[0] + q.length - now
	case q.kind == bucket:
		return max(1, time.Duration((q.level+1-float64(q.limit))*float64(q.length)/float64(q.limit)))
	}
	return q.end - now
}

// spend counts an accepted request.
func (q *quota) spend(now time.Duration) {
	switch q.kind {
	case sliding:
		q.log = append(q.log, now)
	case bucket:
		q.level++
	default:
		q.used++
	}
	if q.exhausted == 0 && q.remaining(now) == 0 {
		q.exhausted = now
	}
}

// says is what a response 429 says about when to retry.
type says string

const (
	nothing   says = "no Retry-After"
	exactly   says = "Retry-After exact"
	always60  says = "Retry-After: 60"
	theResets says = "x-ratelimit-reset"
)

// quotas are several windows. A request must fit into each.
type quotas struct {
	says says
	all  []*quota
}

// documented returns the limits in the example of the vendor's documentation, which does not
// tell the length of the burst window.
func documented(k kind, s says, burst time.Duration) *quotas {
	return &quotas{s, []*quota{
		{suffix: "-Burst", kind: k, limit: 10_000, length: burst},
		{kind: k, limit: 40_000, length: time.Hour},
		{suffix: "-Daily", kind: k, limit: 200_000, length: 24 * time.Hour},
	}}
}

// perTenSeconds returns a burst window only.
func perTenSeconds(limit int) *quotas {
	return &quotas{exactly, []*quota{{suffix: "-Burst", kind: fromFirst, limit: limit, length: 10 * time.Second}}}
}

func (l *quotas) take(now time.Duration, h http.Header) (wait time.Duration) {
	for _, q := range l.all {
		wait = max(wait, q.wait(now))
	}
	for _, q := range l.all {
		if wait == 0 {
			q.spend(now)
		}
		if !q.onlyRest {
			h.Set("X-Ratelimit-Limit"+q.suffix, strconv.Itoa(q.limit))
		}
		h.Set("X-Ratelimit-Remaining"+q.suffix, strconv.Itoa(q.remaining(now)))
		if l.says == theResets {
			h.Set("X-Ratelimit-Reset"+q.suffix, seconds(q.end-now))
		}
	}
	switch {
	case wait == 0:
	case l.says == exactly:
		h.Set("Retry-After", seconds(wait))
	case l.says == always60:
		h.Set("Retry-After", "60")
	}
	return wait
}

// seconds formats d in whole seconds, rounded up.
func seconds(d time.Duration) string { return strconv.Itoa(int(math.Ceil(d.Seconds()))) }

// leaky is limit_req of nginx with nodelay. Its 429 has a body in HTML.
type leaky struct {
	rate, burst float64 // per second, and at once
	retryAfter  string  // if not empty

	excess float64
	last   time.Duration
}

func newLeaky(rate float64, retryAfter string) *leaky {
	return &leaky{rate: rate, burst: 20, retryAfter: retryAfter, excess: -1}
}

func (l *leaky) take(now time.Duration, h http.Header) time.Duration {
	excess := max(0, l.excess-l.rate*(now-l.last).Seconds()+1)
	if excess > l.burst {
		h.Set("Content-Type", "text/html")
		if l.retryAfter != "" {
			h.Set("Retry-After", l.retryAfter)
		}
		return max(1, time.Duration((excess-l.burst)/l.rate*float64(time.Second)))
	}
	l.excess, l.last = excess, now
	return 0
}

// unlimited accepts everything, except during one period.
type unlimited struct{ except [2]time.Duration }

func (l unlimited) take(now time.Duration, _ http.Header) time.Duration {
	if now < l.except[0] {
		return 0
	}
	return max(0, l.except[1]-now)
}

// shut accepts nothing.
type shut struct{}

func (shut) take(_ time.Duration, h http.Header) time.Duration {
	h.Set("X-Ratelimit-Remaining-Burst", "0")
	h.Set("Retry-After", "600")
	return 10 * time.Minute
}
