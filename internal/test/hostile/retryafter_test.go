package hostile

import (
	"fmt"
	"testing"
	"time"
)

// Retry-After in every form. A wait ends at once when the server asks for more time
// than is left; what cannot be read counts as not said.
func TestRetryAfter(t *testing.T) {
	now := time.Now().UTC()
	at := func(d time.Duration) string { return now.Add(d).Format("Mon, 02 Jan 2006 15:04:05 GMT") }
	date := func(d time.Duration) string { return "Date: " + at(d) }
	too := func(headers ...string) []string { return headers }
	rows := []struct {
		name  string
		heads []string
		long  bool // longer than the time left
	}{
		{"none", nil, false},
		{"empty", too("Retry-After: "), false},
		{"0", too("Retry-After: 0"), false},
		{"seconds", too("Retry-After: 3600"), true},
		{"spaces", too("Retry-After: \t 3600 \t"), true},
		{"zeros", too("Retry-After: 0000000000000000000003600"), true},
		{"a day", too("Retry-After: 86400"), true},
		{"2^63 - 1", too("Retry-After: 9223372036854775807"), true},
		{"2^63 ns in seconds", too("Retry-After: 9223372037"), true},
		{"2^64", too("Retry-After: 18446744073709551616"), true},
		{"twenty nines", too("Retry-After: 99999999999999999999"), true},
		{"many digits", too(fmt.Sprintf("Retry-After: 1%0200000d", 0)), true},
		{"negative", too("Retry-After: -1"), false},
		{"signed", too("Retry-After: +3600"), false},
		{"a fraction", too("Retry-After: 3600.5"), true},
		{"of the burst", too("Retry-After-burst: 3600"), true},
		{"of the day, longer than the plain one", too("Retry-After: 1", "Retry-After-daily: 3600"), true},
		{"an exponent", too("Retry-After: 1e9"), false},
		{"hexadecimal", too("Retry-After: 0xffff"), false},
		{"with underscores", too("Retry-After: 3_600"), false},
		{"with a unit", too("Retry-After: 3600s"), false},
		{"Unicode digits", too("Retry-After: ３６００"), false},
		{"words", too("Retry-After: soon"), false},
		{"infinite", too("Retry-After: Inf"), false},
		{"two values", too("Retry-After: 3600, 7200"), false},
		{"two headers", too("Retry-After: 3600", "Retry-After: 0"), true},
		{"bytes", too("Retry-After: \xff\xfe"), false},
		{"a date to come", too(date(0), "Retry-After: "+at(time.Hour)), true},
		{"a date of RFC 850", too(date(0), "Retry-After: "+now.Add(time.Hour).Format("Monday, 02-Jan-06 15:04:05 GMT")), true},
		{"a date of asctime", too(date(0), "Retry-After: "+now.Add(time.Hour).Format(time.ANSIC)), true},
		{"a date of RFC 3339", too(date(0), "Retry-After: "+now.Add(time.Hour).Format(time.RFC3339)), false},
		{"a date that has passed", too(date(0), "Retry-After: "+at(-time.Hour)), false},
		{"a date and no clock", too("Retry-After: " + at(time.Hour)), true},
		{"a date and a broken clock", too("Date: yesterday", "Retry-After: "+at(time.Hour)), true},
		{"a clock that is a year ahead", too(date(9000*time.Hour), "Retry-After: "+at(9000*time.Hour)), false},
		{"a clock that is a year behind", too(date(-9000*time.Hour), "Retry-After: "+at(-9000*time.Hour+time.Hour)), true},
		{"a date in the year 9999", too(date(0), "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT"), true},
		{"a date in the year 1", too(date(0), "Retry-After: Mon, 01 Jan 0001 00:00:00 GMT"), false},
		{"a clock in the year 1", too("Date: Mon, 01 Jan 0001 00:00:00 GMT", "Retry-After: "+at(0)), true},
		{"a clock in the year 9999", too("Date: Fri, 31 Dec 9999 23:59:59 GMT", "Retry-After: "+at(time.Hour)), false},
	}
	for _, status := range []struct {
		line, body string
		ends            // where the server asks for no more than there is
		long       ends // where it asks for more
	}{
		{"429 Too Many Requests", `{"message":"Too many requests","statusCode":429}`, ends{fails, paused, deadline, fails}, ends{fails, paused, deadline, fails}},
		{"503 Service Unavailable", `{}`, lost, ends{fails, paused, maybe, fails}},
		{"404 Not Found", `{}`, ends{fails, missing, refused, fails}, ends{fails, paused, refused, fails}},
		{"401 Unauthorized", `{}`, denied, denied},
		{"302 Found", `{}`, final, final},
		{"200 OK", `{"generationId":"gen1","status":"pending"}`, ends{completes, deadline, completes, completes}, ends{completes, paused, completes, completes}},
		{"200 OK", answer, good, good},
		{"200 OK", `{"generationId":"gen1"`, ends{fails, givesUp, maybe, completes}, ends{fails, paused, maybe, completes}},
	} {
		var attacks []attack
		for _, row := range rows {
			a := attack{name: status.line + " with " + fmt.Sprint(len(status.body)) + ", Retry-After " + row.name, ends: status.ends}
			if row.long {
				a.ends = status.long
			}
			a.handle = says(full(status.line, "application/json", status.body, row.heads...))
			attacks = append(attacks, a)
		}
		run(t, attacks, some("Wait", "Check", "CreateGeneration", "Download"))
	}
}

// Headers about the budget that make no sense.
func TestRateLimitHeaders(t *testing.T) {
	var attacks []attack
	for _, value := range []string{"", "-1", "x", "1e3", "9223372036854775807", "9223372036854775808", "0x10", "1, 2", "\xff", "100.0", "NaN"} {
		for _, name := range []string{"X-Ratelimit-Remaining-Burst", "x-ratelimit-remaining", "X-RATELIMIT-LIMIT", "x-ratelimit-limit-daily"} {
			headers := []string{name + ": " + value, name + ": 7"}
			attacks = append(attacks,
				attack{name: name + " " + value, handle: says(isJSON(answer, headers...)), ends: good},
				attack{name: "429 and " + name + " " + value, handle: says(full("429 Slow", "", "", headers...)), ends: ends{fails, paused, deadline, fails}},
				attack{name: "500 and " + name + " " + value, handle: says(full("500 Oops", "", "", headers...)), ends: lost})
		}
	}
	spent := []string{"x-ratelimit-limit-burst: 100", "x-ratelimit-remaining-burst: 0", "x-ratelimit-limit: -1", "x-ratelimit-remaining: -9223372036854775808"}
	attacks = append(attacks,
		attack{name: "a spent budget", handle: says(isJSON(answer, spent...)), ends: good},
		attack{name: "a spent budget and pending", handle: says(isJSON(`{"generationId":"gen1","status":"pending"}`, spent...)), ends: ends{wait: heldBack}})
	run(t, attacks, some("Wait", "All", "Check", "CreateGeneration"))
}
