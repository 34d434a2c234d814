package apiruntime

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 4, 24, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		value, date string
		want        time.Duration
	}{
		{"", "", 0},
		{"0", "", 0},
		{"30", "", 30 * time.Second},
		{" 30\t", "", 30 * time.Second},
		{"007", "", 7 * time.Second},
		{"86400", "", MaxRetryAfter},
		{"86401", "", MaxRetryAfter},
		{"9223372036854775807", "", MaxRetryAfter},
		{strings.Repeat("9", 10000), "", MaxRetryAfter},
		{"-1", "", 0},
		{"+5", "", 0},
		{"1.5", "", 2 * time.Second},
		{"299.997", "", 300 * time.Second},
		{"299.000", "", 299 * time.Second},
		{"0.0001", "", time.Second},
		{"86399.5", "", MaxRetryAfter},
		{"86400.5", "", MaxRetryAfter},
		{strings.Repeat("9", 100) + "." + strings.Repeat("9", 100), "", MaxRetryAfter},
		{"5.", "", 0},
		{".5", "", 0},
		{"1.5.5", "", 0},
		{"1,5", "", 0},
		{"-1.5", "", 0},
		{"1.5e3", "", 0},
		{"0x10", "", 0},
		{"1_0", "", 0},
		{"NaN", "", 0},
		{"Inf", "", 0},
		{"1e3", "", 0},
		{"5s", "", 0},
		{"soon", "", 0},
		{"٣", "", 0},
		{"Fri, 24 Apr 2026 12:00:20 GMT", "", 20 * time.Second},
		{"Friday, 24-Apr-26 12:00:20 GMT", "", 20 * time.Second},
		{"Fri Apr 24 12:00:20 2026", "", 20 * time.Second},
		{"Fri, 24 Apr 2026 11:59:59 GMT", "", 0},
		{"Fri, 31 Dec 9999 23:59:59 GMT", "", MaxRetryAfter},
		{"Fri, 24 Apr 2026 12:00:20 GMT", "Fri, 24 Apr 2026 12:00:15 GMT", 5 * time.Second},
		{"Wed, 21 Oct 2015 07:28:20 GMT", "Wed, 21 Oct 2015 07:28:00 GMT", 20 * time.Second},
		{"Fri, 24 Apr 2026 12:00:20 GMT", "Fri, 24 Apr 2099 12:00:15 GMT", 0},
		{"Fri, 24 Apr 2026 12:00:20 GMT", "yesterday", 20 * time.Second},
		{"Fri, 24 Apr 2026 12:00:20 +0200", "", 0},
	}
	for _, tt := range tests {
		h := http.Header{}
		h.Set("Retry-After", tt.value)
		if tt.date != "" {
			h.Set("Date", tt.date)
		}
		if got := RetryAfter(h, now); got != tt.want {
			t.Errorf("RetryAfter(%.40q, Date %q) = %v, want %v", tt.value, tt.date, got, tt.want)
		}
	}
	if got := RetryAfter(nil, now); got != 0 {
		t.Errorf("RetryAfter(nil) = %v", got)
	}
}

// nestjs/throttler sends one header for each limit.
func TestRetryAfterOfEachLimit(t *testing.T) {
	now := time.Date(2026, 4, 24, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name                string
		plain, burst, daily string
		want                time.Duration
	}{
		{"only burst", "", "7", "", 7 * time.Second},
		{"only daily", "", "", "3600", time.Hour},
		{"Retry-After is the longest", "9", "7", "8", 9 * time.Second},
		{"burst is the longest", "5", "7", "6", 7 * time.Second},
		{"daily is the longest", "5", "7", "299.997", 300 * time.Second},
		{"invalid burst and daily", "5", "soon", "-1", 5 * time.Second},
		{"daily is a date", "", "7", "Fri, 24 Apr 2026 12:00:20 GMT", 20 * time.Second},
		{"daily above 24 hours", "5", "7", "99999999", MaxRetryAfter},
	} {
		h := http.Header{}
		for name, v := range map[string]string{"Retry-After": tt.plain, "Retry-After-burst": tt.burst, "Retry-After-daily": tt.daily} {
			if v != "" {
				h.Set(name, v)
			}
		}
		if got := RetryAfter(h, now); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	// A proxy may add another header.
	if got := RetryAfter(http.Header{"Retry-After": {"1", "60", "5"}}, now); got != time.Minute {
		t.Errorf("three times: %v", got)
	}
	h := http.Header{"Retry-After-Burst": {"7"}}
	if n := testing.AllocsPerRun(100, func() { RetryAfter(h, now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("30", "", "", "")
	f.Add("299.997", "3", "0.001", "")
	f.Add("Fri, 24 Apr 2026 12:00:20 GMT", "", "1e3", "Fri, 24 Apr 2026 12:00:15 GMT")
	f.Add("99999999999999999999", "+5", "NaN", "x")
	f.Fuzz(func(t *testing.T, value, burst, daily, date string) {
		now := time.Date(2026, 4, 24, 12, 0, 0, 0, time.UTC)
		all := RetryAfter(http.Header{"Retry-After": {value}, "Retry-After-Burst": {burst}, "Retry-After-Daily": {daily}, "Date": {date}}, now)
		var longest time.Duration
		for _, v := range []string{value, burst, daily} {
			one := RetryAfter(http.Header{"Retry-After": {v}, "Date": {date}}, now)
			if one < 0 || one > MaxRetryAfter {
				t.Fatalf("RetryAfter(%q, %q) = %v", v, date, one)
			}
			// The result is never less than the number in the header.
			if n, err := strconv.ParseFloat(v, 64); err == nil && one > 0 && one.Seconds() < min(n, MaxRetryAfter.Seconds()) {
				t.Fatalf("RetryAfter(%q) = %v", v, one)
			}
			longest = max(longest, one)
		}
		if all != longest {
			t.Fatalf("RetryAfter(%q, %q, %q, %q) = %v, want %v", value, burst, daily, date, all, longest)
		}
	})
}
