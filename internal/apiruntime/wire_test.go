package apiruntime

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"
)

func TestCheckPathParam(t *testing.T) {
	for v, ok := range map[string]bool{
		"a": true, "gen_xyz789": true, "A-Z.0~9": true, "..a": true, strings.Repeat("a", 256): true,
		"": false, ".": false, "..": false, "...": false, "a/b": false, "a%2f": false, "a b": false, "a\x00": false,
		"é": false, "a?": false, "a#": false, "a:": false, "a@": false, "a+": false, "a,b": false, strings.Repeat("a", 257): false,
	} {
		err := CheckPathParam("id", v)
		if ok != (err == nil) {
			t.Errorf("CheckPathParam(%q): %v, want ok = %v", v, err, ok)
		}
		if err != nil && (!strings.HasPrefix(err.Error(), "gamma: id ") || len(v) > 3 && strings.Contains(err.Error(), v)) {
			t.Errorf("CheckPathParam(%q): text %q", v, err)
		}
	}
}

// An accepted parameter stays one segment under every reading of the URL.
func FuzzCheckPathParam(f *testing.F) {
	for _, v := range []string{"gen1", "..", "a/b", "%2e%2e", "", "~", "a;b"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		if CheckPathParam("id", v) != nil {
			return
		}
		u, err := url.Parse("https://h.example/v1.0/generations/" + v)
		if err != nil || u.Host != "h.example" || u.Path != "/v1.0/generations/"+v || u.EscapedPath() != u.Path || u.JoinPath().Path != u.Path {
			t.Fatalf("%q gave %+v, %v", v, u, err)
		}
	})
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                              "",
		"plain ünïcode 日本":              "plain ünïcode 日本",
		`a "quote" \ backslash`:         `a "quote" \ backslash`,
		"a\nb\r\tc":                     `a\nb\r\tc`,
		"\x1b[31mred\x07":               `\x1b[31mred\a`,
		"bidi \u202e\u2066":             `bidi \u202e\u2066`,
		"bad \xff\xfe utf-8":            `bad \xff\xfe utf-8`,
		"a\ufffdb":                      "a\ufffdb",
		"\u2028":                        `\u2028`,
		strings.Repeat("a", 512):        strings.Repeat("a", 512),
		strings.Repeat("a", 513):        strings.Repeat("a", 512) + "...",
		strings.Repeat("é", 600):        strings.Repeat("é", 256) + "...",
		strings.Repeat("\n", 1000):      strings.Repeat(`\n`, 128) + "...",
		strings.Repeat("a", 513) + "\n": strings.Repeat("a", 512) + "...",
		strings.Repeat("a", 511) + "é":  strings.Repeat("a", 511) + "...",
	} {
		if got := Printable(in); got != want {
			t.Errorf("Printable(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("a\x1b[31m\xff\u202e")
	f.Add(strings.Repeat("\U0001F600", 200))
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 4*maxText {
			return // it only slows the fuzzer down
		}
		got := Printable(s)
		if len(got) > maxText+16 || !utf8.ValidString(got) || strings.ContainsAny(got, "\n\r\t\x1b\x00\u202e\u2028") {
			t.Fatalf("Printable(%q) = %q", s, got)
		}
	})
}

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

// The rate limiter behind the vendor's headers has one header for each limit.
func TestRetryAfterOfEachLimit(t *testing.T) {
	now := time.Date(2026, 4, 24, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name                string
		plain, burst, daily string
		want                time.Duration
	}{
		{"burst alone", "", "7", "", 7 * time.Second},
		{"daily alone", "", "", "3600", time.Hour},
		{"the plain one is the longest", "9", "7", "8", 9 * time.Second},
		{"burst is the longest", "5", "7", "6", 7 * time.Second},
		{"daily is the longest", "5", "7", "299.997", 300 * time.Second},
		{"an unreadable one", "5", "soon", "-1", 5 * time.Second},
		{"a date", "", "7", "Fri, 24 Apr 2026 12:00:20 GMT", 20 * time.Second},
		{"more than a day", "5", "7", "99999999", MaxRetryAfter},
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
	// A proxy may add one of its own.
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
			// A number is never less than it says.
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

type credits struct {
	Deducted float64 `json:"deducted"`
}

type status struct {
	ID      string   `json:"id"`
	Ready   bool     `json:"ready"`
	Note    string   `json:"note,omitempty"`
	Credits *credits `json:"credits,omitempty"`
	Tags    []string `json:"tags,omitzero"`
}

func TestDecode(t *testing.T) {
	tests := []struct {
		in   string
		want string // as JSON; empty for an error
	}{
		{`{"id":"a","ready":true}`, `{"id":"a","ready":true}`},
		{`{"ready":false}`, `{"id":"","ready":false}`},
		{`{"id":"a","note":1,"credits":"x","tags":{}}`, `{"id":"a","ready":false}`},
		{`{"id":"a","NOTE":1,"Credits":[]}`, `{"id":"a","ready":false}`},
		{`{"id":"a","note":"n","credits":{"deducted":"x"},"tags":["t"]}`, `{"id":"a","ready":false,"note":"n","credits":{"deducted":0},"tags":["t"]}`},
		{`{"id":"a","credits":{"deducted":1e400}}`, `{"id":"a","ready":false,"credits":{"deducted":0}}`},
		{`{"id":"a","note":null,"credits":null}`, `{"id":"a","ready":false}`},
		{`{"id":1,"note":"n"}`, ``},
		{`{"note":1,"id":1}`, ``},
		{`{"note":"n"}`, ``},
		{`{"note":5}`, ``},
		{`{"id":"a","ID":"b","note":1,"Id":"c"}`, `{"id":"a","ready":false}`},
		{`{"Id":"c","ID":"b","note":1,"id":"a"}`, `{"id":"a","ready":false}`},
		{` {"id":"a","id":"b","note":1}`, `{"id":"b","ready":false}`},
		{`{"id":"a","note":1,"ID":1}`, `{"id":"a","ready":false}`},
		{`{"id":1,"note":1,"ID":"a"}`, ``},
		{`{"id":null}`, ``},
		{`{}`, ``},
		{`null`, ``},
		{`[]`, ``},
		{`"a"`, ``},
		{``, ``},
		{`{"id":"a"`, ``},
		{`{"id":"a"}}`, ``},
	}
	for _, tt := range tests {
		var got status
		err := Decode([]byte(tt.in), &got)
		text, _ := json.Marshal(got)
		if (err == nil) != (tt.want != "") || err == nil && string(text) != tt.want {
			t.Errorf("Decode(%s) = %s, %v, want %q", tt.in, text, err, tt.want)
		}
	}
	var many status
	if err := Decode([]byte(`{"id":"a","note":"`+strings.Repeat(`,[{\"`, 20000)+`"}`), &many); err != nil || len(many.Note) != 80000 {
		t.Errorf("a long string: %v", err)
	}
	if err := Decode([]byte(`{"id":"a","tags":[`+strings.Repeat(`"",`, 20000)+`""]}`), &many); err == nil {
		t.Error("20,000 values were read")
	}
	var list []credits
	if err := Decode([]byte(`[{"deducted":1}]`), &list); err != nil || len(list) != 1 {
		t.Errorf("a list: %v, %v", list, err)
	}
	if err := Decode([]byte(`[1]`), &list); err == nil {
		t.Error("a list of another type was read")
	}
	if err := Decode([]byte(` null `), &list); err == nil {
		t.Error("null was read as a list")
	}
	if err := Decode([]byte(`null`), new(string)); err == nil {
		t.Error("null was read as a string")
	}
	type page struct {
		Data []status `json:"data"`
	}
	for in, want := range map[string]string{
		`{"data":[{"id":"a","note":1},{"id":"b","note":"n"}]}`: `{"data":[{"id":"a","ready":false},{"id":"b","ready":false,"note":"n"}]}`,
		`{"data":[]}`:                            `{"data":[]}`,
		`{"data":[{"id":"a"},{},null]}`:          `{"data":[{"id":"a","ready":false},{"id":"","ready":false},{"id":"","ready":false}]}`,
		`{"data":[{"id":"a","note":1},{},null]}`: `{"data":[{"id":"a","ready":false},{"id":"","ready":false},{"id":"","ready":false}]}`,
		`{"data":[{"id":"a"},{"id":7}]}`:         ``,
		`{"data":[{"id":"a"},7]}`:                ``,
		`{"data":{"id":"a"}}`:                    ``,
	} {
		var got page
		err := Decode([]byte(in), &got)
		text, _ := json.Marshal(got)
		if (err == nil) != (want != "") || err == nil && string(text) != want {
			t.Errorf("Decode(%s) = %s, %v, want %q", in, text, err, want)
		}
	}
	var optional struct {
		Note string `json:"note,omitempty"`
	}
	if err := Decode([]byte(`{}`), &optional); err != nil {
		t.Errorf("an object without required properties: %v", err)
	}
	if err := Decode([]byte(`null`), &optional); err == nil {
		t.Error("null was read as an object")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"id":"a","ready":true,"note":1,"credits":{"deducted":"x"},"tags":[1]}`))
	f.Add([]byte(`{"id":1}`))
	f.Add([]byte(`{"ID":"a","iD":2,"credits":{"DEDUCTED":[]}}`))
	f.Add([]byte(`{"id":"a","\u0049d":"b","ready":"true","credits":{"deducted":"-1.5e3","deducteD":2}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var got status
		err := Decode(data, &got)
		if err == nil && !json.Valid(data) {
			t.Fatalf("%q was read as JSON", data)
		}
		// Without names that occur twice or are spelled otherwise, what encoding/json
		// can read is read the same way.
		var object map[string]any
		if err != nil || json.Unmarshal(data, &object) != nil {
			return
		}
		data, err = json.Marshal(object)
		var fast, slow status
		if err != nil || json.Unmarshal(data, &fast) != nil || otherSpelling(data, properties(reflect.TypeFor[status]()).names) {
			return
		}
		if err := decode(data, reflect.ValueOf(&slow).Elem(), false); err != nil || !reflect.DeepEqual(fast, slow) {
			t.Fatalf("%s: %+v, %v, want %+v", data, slow, err, fast)
		}
	})
}

func TestReadBody(t *testing.T) {
	if data, err := ReadBody(&http.Response{Body: io.NopCloser(strings.NewReader("body"))}); string(data) != "body" || err != nil {
		t.Errorf("ReadBody = %q, %v", data, err)
	}
	whole := []byte("whole")
	rsp := &http.Response{Body: NewBody(whole)}
	data, err := ReadBody(rsp)
	if err != nil || &data[0] != &whole[0] {
		t.Errorf("a Body was copied, or %v", err)
	}
	if again, err := io.ReadAll(rsp.Body); string(again) != "whole" || err != nil || rsp.Body.Close() != nil {
		t.Errorf("a Body read as a stream gave %q, %v", again, err)
	}
	broken := io.MultiReader(strings.NewReader("x"), iotest.ErrReader(io.ErrUnexpectedEOF))
	if _, err := ReadBody(&http.Response{Body: io.NopCloser(broken)}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a broken body: %v", err)
	}
}

func TestIsJSON(t *testing.T) {
	for value, want := range map[string]bool{
		"application/json":                   true,
		"application/json; charset=utf-8":    true,
		"APPLICATION/JSON;charset=x":         true,
		"application/problem+json":           true,
		"application/json; bad parameter ;":  true,
		"text/html":                          false,
		"text/json+html; x=application/json": false,
		"application/jsonx":                  false,
		"image/svg+json":                     false,
		"":                                   false,
		"/":                                  false,
	} {
		rsp := &http.Response{Header: http.Header{"Content-Type": {value}}}
		if got := IsJSON(rsp); got != want {
			t.Errorf("IsJSON(%q) = %v", value, got)
		}
	}
	if !IsJSON(&http.Response{}) {
		t.Error("an answer without a content type is not given a chance")
	}
}

func TestUnexpected(t *testing.T) {
	rsp := &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/html\x1b"}}}
	cause := errors.New("quotes the body")
	for _, tt := range []struct {
		cause error
		want  string
	}{
		{nil, `gamma: GET /x: status 200 with a body of type "text/html\x1b"`},
		{cause, `gamma: GET /x: status 200 with a body that is not the documented JSON`},
	} {
		err := Unexpected("GET /x", rsp, tt.cause)
		if err.Error() != tt.want || !errors.Is(err, ErrUnexpectedResponse) || tt.cause != nil && !errors.Is(err, tt.cause) {
			t.Errorf("Unexpected = %q, want %q", err, tt.want)
		}
	}
}
