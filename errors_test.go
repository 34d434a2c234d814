package gamma_test

import (
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go"
)

func TestAPIError(t *testing.T) {
	absent := gamma.Window{Limit: -1, Remaining: -1, Reset: -1}
	ratelimit := gamma.RateLimit{Burst: gamma.Window{Limit: 10000, Remaining: 0, Reset: -1}, Hour: gamma.Window{Limit: -1, Remaining: 39988, Reset: -1}, Day: absent}
	none := gamma.RateLimit{Burst: absent, Hour: absent, Day: absent}
	tests := []struct {
		name string
		rsp  *http.Response
		want gamma.APIError
		is   error
		text string
	}{
		{"401", reply(401, "application/json", `{"message":"Invalid API key.","statusCode":401}`, "X-Request-Id", "req-1"),
			gamma.APIError{StatusCode: 401, Message: "Invalid API key.", RequestID: "req-1", RateLimit: none}, gamma.ErrUnauthorized,
			"gamma: GET /v1.0/generations/{id}: 401 Unauthorized: Invalid API key. (request req-1)"},
		{"402", reply(402, "application/json", `{"message":"Insufficient credits"}`), gamma.APIError{StatusCode: 402, Message: "Insufficient credits", RateLimit: none}, gamma.ErrInsufficientCredits, ""},
		{"403, insufficient credits", reply(403, "application/json", `{"message":"Insufficient credits remaining"}`), gamma.APIError{StatusCode: 403, Message: "Insufficient credits remaining", RateLimit: none}, gamma.ErrInsufficientCredits, ""},
		{"403", reply(403, "application/json", `{"message":"Forbidden"}`), gamma.APIError{StatusCode: 403, Message: "Forbidden", RateLimit: none}, gamma.ErrForbidden,
			"gamma: GET /v1.0/generations/{id}: 403 Forbidden"},
		{"404", reply(404, "application/json", `{"message":"Generation ID not found. generationId: x"}`), gamma.APIError{StatusCode: 404, Message: "Generation ID not found. generationId: x", RateLimit: none}, gamma.ErrNotFound, ""},
		{"429", reply(429, "application/json", `{"message":"Too many requests"}`, "Retry-After", "60", "x-ratelimit-limit-burst", "10000", "x-ratelimit-remaining-burst", "0", "x-ratelimit-remaining", "39988", "x-ratelimit-remaining-daily", "many"),
			gamma.APIError{StatusCode: 429, Message: "Too many requests", RetryAfter: time.Minute, RateLimit: ratelimit}, gamma.ErrRateLimited, ""},
		{"400, list of messages", reply(400, "application/json", `{"message":["a is required","b is too long"]}`), gamma.APIError{StatusCode: 400, Message: "a is required; b is too long", RateLimit: none}, nil, ""},
		{"400, message of an unexpected type", reply(400, "application/json", `{"message":{"a":1}}`), gamma.APIError{StatusCode: 400, Message: "Bad Request", RateLimit: none}, nil, "gamma: GET /v1.0/generations/{id}: 400 Bad Request"},
		{"502, HTML", reply(502, "text/html", `<html>exportUrl</html>`), gamma.APIError{StatusCode: 502, Message: "Bad Gateway", RateLimit: none}, nil, ""},
		{"503, empty body", reply(503, "", ""), gamma.APIError{StatusCode: 503, Message: "Service Unavailable", RateLimit: none}, nil, ""},
		{"599, a status without a name", reply(599, "", ""), gamma.APIError{StatusCode: 599, Message: "status 599", RateLimit: none}, nil, "gamma: GET /v1.0/generations/{id}: 599: status 599"},
		{"500, escape sequences", reply(500, "application/json", `{"message":"a\u001b[31m\n\u202eb"}`, "X-Request-Id", "r\x1b"), gamma.APIError{StatusCode: 500, Message: `a\x1b[31m\n\u202eb`, RequestID: `r\x1b`, RateLimit: none}, nil, ""},
		{"500, the key", reply(500, "application/json", `{"message":`+quoted("bad "+key)+`}`, "X-Request-Id", key), gamma.APIError{StatusCode: 500, Message: "bad [API key]", RequestID: "[API key]", RateLimit: none}, nil, ""},
		{"500, the key with JSON escapes", reply(500, "application/json", `{"message":"bad `+strings.NewReplacer("&", `\u0026`, "<", `\u003c`, "7", `\u0037`, `"`, `\"`, `\`, `\\`).Replace(key)+`"}`), gamma.APIError{StatusCode: 500, Message: "bad [API key]", RateLimit: none}, nil, ""},
		{"302", reply(302, "", "", "Location", "https://evil.example/"), gamma.APIError{StatusCode: 302, Message: "Found", RateLimit: none}, nil, ""},
		{"101", reply(101, "", ""), gamma.APIError{StatusCode: 101, Message: "Switching Protocols", RateLimit: none}, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.Operation = "GET /v1.0/generations/{id}"
			rsp, err := get(t, newFakeClient(t, responds(func() *http.Response { return tt.rsp })))
			var got *gamma.APIError
			if !errors.As(err, &got) || rsp != nil {
				t.Fatalf("%v, %v, want an APIError", rsp, err)
			}
			withoutBody := *got
			withoutBody.Body = nil // see TestBodyOfAPIError
			if !reflect.DeepEqual(withoutBody, tt.want) {
				t.Errorf("got  %+v\nwant %+v", withoutBody, tt.want)
			}
			for _, sentinel := range []error{gamma.ErrUnauthorized, gamma.ErrInsufficientCredits, gamma.ErrForbidden, gamma.ErrNotFound, gamma.ErrRateLimited} {
				if errors.Is(err, sentinel) != (sentinel == tt.is) {
					t.Errorf("errors.Is(%v, %v) = %v", err, sentinel, sentinel != tt.is)
				}
			}
			if tt.text != "" && err.Error() != tt.text {
				t.Errorf("text %q, want %q", err, tt.text)
			}
			checkText(t, err)
		})
	}
}

func TestBodyOfAPIError(t *testing.T) {
	long := strings.Repeat("x", 20000)
	for _, tt := range []struct {
		name       string
		status     int
		body, want string
	}{
		{"400, JSON", 400, `{"message":"no","code":7}`, `{"message":"no","code":7}`},
		{"502, HTML", 502, "<html>\x00", "<html>\x00"},
		{"500, the key", 500, "a " + key + " b", "a [API key] b"},
		{"500, more than 16 KiB", 500, long, long[:16<<10]},
		{"500, empty", 500, "", ""},
		{"302, not read", 302, "moved", ""},
	} {
		_, err := get(t, newFakeClient(t, responds(func() *http.Response { return reply(tt.status, "application/json", tt.body) })))
		var got *gamma.APIError
		if !errors.As(err, &got) || string(got.Body) != tt.want || (got.Body == nil) != (tt.want == "") {
			t.Errorf("%s: %q", tt.name, got.Body)
		}
		if tt.want != "" && strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: the text %q has the body", tt.name, err)
		}
	}
}

func TestLongMessagesAreCut(t *testing.T) {
	_, err := get(t, newFakeClient(t, responds(func() *http.Response {
		return reply(500, "application/json", `{"message":"`+strings.Repeat("long ", 3000)+`"}`)
	})))
	var apiErr *gamma.APIError
	if !errors.As(err, &apiErr) || !strings.HasPrefix(apiErr.Message, "long long") || len(apiErr.Message) > 520 {
		t.Errorf("%v", err)
	}
	_, err = get(t, newFakeClient(t, responds(func() *http.Response {
		return reply(500, "application/json", `{"message":"`+strings.Repeat("long ", 120000)+`"}`)
	})))
	if !errors.As(err, &apiErr) || apiErr.Message != "Internal Server Error" {
		t.Errorf("%v", err)
	}
}
