package hostile

import (
	"fmt"
	"testing"
	"time"
)

// Retry-After in every form. A wait ends immediately if the pause exceeds its deadline; an
// invalid value is ignored.
func TestRetryAfter(t *testing.T) {
	now := time.Now().UTC()
	at := func(d time.Duration) string { return now.Add(d).Format("Mon, 02 Jan 2006 15:04:05 GMT") }
	date := func(d time.Duration) string { return "Date: " + at(d) }
	headers := func(headers ...string) []string { return headers }
	rows := []struct {
		name  string
		heads []string
		long  bool // beyond the deadline
	}{
		{"none", nil, false},
		{"empty", headers("Retry-After: "), false},
		{"0", headers("Retry-After: 0"), false},
		{"seconds", headers("Retry-After: 3600"), true},
		{"spaces", headers("Retry-After: \t 3600 \t"), true},
		{"zeros", headers("Retry-After: 0000000000000000000003600"), true},
		{"a day", headers("Retry-After: 86400"), true},
		{"2^63 - 1", headers("Retry-After: 9223372036854775807"), true},
		{"2^63 ns in seconds", headers("Retry-After: 9223372037"), true},
		{"2^64", headers("Retry-After: 18446744073709551616"), true},
		{"twenty nines", headers("Retry-After: 99999999999999999999"), true},
		{"many digits", headers(fmt.Sprintf("Retry-After: 1%0200000d", 0)), true},
		{"negative", headers("Retry-After: -1"), false},
		{"signed", headers("Retry-After: +3600"), false},
		{"a fraction", headers("Retry-After: 3600.5"), true},
		{"of the burst window", headers("Retry-After-burst: 3600"), true},
		{"of the day, longer than Retry-After", headers("Retry-After: 1", "Retry-After-daily: 3600"), true},
		{"an exponent", headers("Retry-After: 1e9"), false},
		{"hexadecimal", headers("Retry-After: 0xffff"), false},
		{"with underscores", headers("Retry-After: 3_600"), false},
		{"with a unit", headers("Retry-After: 3600s"), false},
		{"Unicode digits", headers("Retry-After: ３６００"), false},
		{"words", headers("Retry-After: soon"), false},
		{"infinite", headers("Retry-After: Inf"), false},
		{"two values", headers("Retry-After: 3600, 7200"), false},
		{"two headers", headers("Retry-After: 3600", "Retry-After: 0"), true},
		{"bytes", headers("Retry-After: \xff\xfe"), false},
		{"a future date", headers(date(0), "Retry-After: "+at(time.Hour)), true},
		{"RFC 850 date", headers(date(0), "Retry-After: "+now.Add(time.Hour).Format("Monday, 02-Jan-06 15:04:05 GMT")), true},
		{"asctime date", headers(date(0), "Retry-After: "+now.Add(time.Hour).Format(time.ANSIC)), true},
		{"RFC 3339 date", headers(date(0), "Retry-After: "+now.Add(time.Hour).Format(time.RFC3339)), false},
		{"a past date", headers(date(0), "Retry-After: "+at(-time.Hour)), false},
		{"a date, no Date", headers("Retry-After: " + at(time.Hour)), true},
		{"a date, malformed Date", headers("Date: yesterday", "Retry-After: "+at(time.Hour)), true},
		{"server clock a year ahead", headers(date(9000*time.Hour), "Retry-After: "+at(9000*time.Hour)), false},
		{"server clock a year behind", headers(date(-9000*time.Hour), "Retry-After: "+at(-9000*time.Hour+time.Hour)), true},
		{"a date in the year 9999", headers(date(0), "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT"), true},
		{"a date in the year 1", headers(date(0), "Retry-After: Mon, 01 Jan 0001 00:00:00 GMT"), false},
		{"server clock in the year 1", headers("Date: Mon, 01 Jan 0001 00:00:00 GMT", "Retry-After: "+at(0)), true},
		{"server clock in the year 9999", headers("Date: Fri, 31 Dec 9999 23:59:59 GMT", "Retry-After: "+at(time.Hour)), false},
	}
	for _, status := range []struct {
		line, body string
		ends            // if the pause ends before the deadline
		long       ends // if it does not
	}{
		{"429 Too Many Requests", `{"message":"Too many requests","statusCode":429}`, ends{fails, paused, deadline, fails}, ends{fails, paused, deadline, fails}},
		{"503 Service Unavailable", `{}`, lost, ends{fails, paused, maybe, fails}},
		{"404 Not Found", `{}`, ends{fails, missing, refused, fails}, ends{fails, paused, refused, fails}},
		{"401 Unauthorized", `{}`, denied, denied},
		{"302 Found", `{}`, final, final},
		{"200 OK", `{"generationId":"gen1","status":"pending"}`, ends{completes, deadline, completes, completes}, ends{completes, paused, completes, completes}},
		{"200 OK", okBody, good, good},
		{"200 OK", `{"generationId":"gen1"`, ends{fails, givesUp, maybe, completes}, ends{fails, paused, maybe, completes}},
	} {
		var attacks []attack
		for _, row := range rows {
			a := attack{name: status.line + " with " + fmt.Sprint(len(status.body)) + ", Retry-After " + row.name, ends: status.ends}
			if row.long {
				a.ends = status.long
			}
			a.handle = sends(full(status.line, "application/json", status.body, row.heads...))
			attacks = append(attacks, a)
		}
		run(t, attacks, some("Wait", "Check", "CreateGeneration", "Download"))
	}
}

// Invalid rate-limit headers are ignored.
func TestRateLimitHeaders(t *testing.T) {
	var attacks []attack
	for _, value := range []string{"", "-1", "x", "1e3", "9223372036854775807", "9223372036854775808", "0x10", "1, 2", "\xff", "100.0", "NaN"} {
		for _, name := range []string{"X-Ratelimit-Remaining-Burst", "x-ratelimit-remaining", "X-RATELIMIT-LIMIT", "x-ratelimit-limit-daily"} {
			headers := []string{name + ": " + value, name + ": 7"}
			attacks = append(attacks,
				attack{name: name + ": " + value, handle: sends(json200(okBody, headers...)), ends: good},
				attack{name: "429, " + name + ": " + value, handle: sends(full("429 Slow", "", "", headers...)), ends: ends{fails, paused, deadline, fails}},
				attack{name: "500, " + name + ": " + value, handle: sends(full("500 Oops", "", "", headers...)), ends: lost})
		}
	}
	spent := []string{"x-ratelimit-limit-burst: 100", "x-ratelimit-remaining-burst: 0", "x-ratelimit-limit: -1", "x-ratelimit-remaining: -9223372036854775808"}
	attacks = append(attacks,
		attack{name: "no requests remaining, completed", handle: sends(json200(okBody, spent...)), ends: good},
		attack{name: "no requests remaining, pending", handle: sends(json200(`{"generationId":"gen1","status":"pending"}`, spent...)), ends: ends{wait: heldBack}})
	run(t, attacks, some("Wait", "All", "Check", "CreateGeneration"))
}
