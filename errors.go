package gamma

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gamma-sdk/gamma-go/internal/apiruntime"
	"github.com/gamma-sdk/gamma-go/internal/retry"
)

// Match these with [errors.Is]. The first five are kinds of [*APIError], by the API's
// error table.
var (
	// ErrUnauthorized is status 401: the key is missing or wrong.
	ErrUnauthorized = errors.New("gamma: unauthorized")

	// ErrInsufficientCredits is status 402, or status 403 with a message that says so:
	// the API's documentation has named both.
	ErrInsufficientCredits = errors.New("gamma: insufficient credits")

	// ErrForbidden is any other status 403: the key or its plan lacks the right.
	ErrForbidden = errors.New("gamma: forbidden")

	// ErrNotFound is status 404: no such thing, or none that the key may see.
	ErrNotFound = errors.New("gamma: not found")

	// ErrRateLimited is status 429: wait for RetryAfter, or 30 seconds without one.
	ErrRateLimited = errors.New("gamma: rate limited")

	// ErrUnexpectedResponse is a 2xx status without the documented JSON. The request
	// may have had its effect; retrying is safe for a GET.
	ErrUnexpectedResponse = apiruntime.ErrUnexpectedResponse

	// ErrResponseTooLarge is a body above its limit. Retrying does not help.
	ErrResponseTooLarge = errors.New("gamma: response too large")

	// ErrMaybeCreated is a create whose outcome is unknown: it may have been sent, but
	// no complete response was received, or a 302, 303, 408 or 5xx. Creating again may
	// cost credits twice. The error may also be an *APIError, whose RequestID helps
	// Gamma's support; for a 503 its text says that probably nothing was created.
	ErrMaybeCreated = errors.New("gamma: the generation may have been created")

	// ErrLinkExpired is a download with status 403 or 410, or a 400 that says so. A page of
	// HTML, as from a proxy, does not count. By the API's documentation links last about a
	// week; poll the generation for a new one.
	ErrLinkExpired = errors.New("gamma: the export link has expired, the generation's status may have a new one")
)

// APIError is a response with a status other than 2xx, redirects included. Find it with
// [errors.As].
type APIError struct {
	// Operation is the method and the path template, as in
	// "GET /v1.0/generations/{id}". It never has a parameter or a host.
	Operation string

	// StatusCode is the HTTP status.
	StatusCode int

	// Message is the reasons in the body, escaped and cut to about 512 bytes, or the name
	// of the status if there are none.
	Message string

	// RequestID is the x-request-id header, which Gamma's support asks for; it may be
	// empty.
	RequestID string

	// RetryAfter is how long the server asks to wait, rounded up to a second, at most 24
	// hours; 0 if it does not say. It is the longest of Retry-After, Retry-After-Burst and
	// Retry-After-Daily. A date is read against the response's Date header.
	RetryAfter time.Duration

	// RateLimit is the budget as of this response.
	RateLimit RateLimit

	// Body is the first 16 KiB of the body, nil for a download. It is not in the text of
	// the error, and may quote the request.
	Body []byte
}

// Error returns one printable line without URL, key or body.
func (e *APIError) Error() string {
	s := fmt.Sprintf("gamma: %s: %d", e.Operation, e.StatusCode)
	if name := http.StatusText(e.StatusCode); name != "" {
		s += " " + name
	}
	if e.Message != "" && !strings.EqualFold(e.Message, http.StatusText(e.StatusCode)) {
		s += ": " + e.Message
	}
	if e.RequestID != "" {
		s += " (request " + e.RequestID + ")"
	}
	return s
}

// Is reports whether target is the error for e's status.
func (e *APIError) Is(target error) bool {
	switch e.StatusCode {
	case http.StatusUnauthorized:
		return target == ErrUnauthorized
	case http.StatusPaymentRequired:
		return target == ErrInsufficientCredits
	case http.StatusForbidden:
		if strings.Contains(strings.ToLower(e.Message), "insufficient credits") {
			return target == ErrInsufficientCredits
		}
		return target == ErrForbidden
	case http.StatusNotFound:
		return target == ErrNotFound
	case http.StatusTooManyRequests:
		return target == ErrRateLimited
	}
	return false
}

// newAPIError describes rsp, whose body starts with body.
func newAPIError(operation string, rsp *http.Response, body []byte) *APIError {
	if len(body) == 0 {
		body = nil
	}
	return &APIError{
		Operation:  operation,
		StatusCode: rsp.StatusCode,
		Message:    message(rsp.StatusCode, body),
		RequestID:  apiruntime.Printable(rsp.Header.Get("X-Request-Id")),
		RetryAfter: apiruntime.RetryAfter(rsp.Header, time.Now()),
		RateLimit:  RateLimitOf(rsp.Header),
		Body:       body,
	}
}

// InvalidRequestError is a request that was not sent, because it violates the OpenAPI
// document or has text that is not UTF-8. Every operation may return it. Find it with
// [errors.As].
type InvalidRequestError struct {
	Operation string // as in "POST /v1.0/generations"
	Field     string // the property or query parameter, as in "textOptions.tone" or "folderIds[3]"
	Reason    string // what is wrong, without the value
}

// Error returns one printable line without the field's value.
func (e *InvalidRequestError) Error() string {
	return "gamma: " + e.Operation + ": " + e.Field + " " + e.Reason
}

// exchangeError is a request without a usable response.
type exchangeError struct {
	text   string
	err    error
	unsent bool   // the server cannot have begun with the request
	part   []byte // what came of a success to a POST
}

func (e *exchangeError) Error() string { return e.text }
func (e *exchangeError) Unwrap() error { return e.err }

// explainedError is a second error and what it means for the caller.
type explainedError struct{ meaning, err error }

func (e *explainedError) Error() string {
	return "gamma: " + retry.Inner(e.meaning) + ": " + retry.Inner(e.err)
}

func (e *explainedError) Unwrap() []error { return []error{e.meaning, e.err} }

// probablyNotError is [ErrMaybeCreated] after a 503.
type probablyNotError struct{}

func (probablyNotError) Error() string {
	return "gamma: the generation was probably not created, but may have been"
}
func (probablyNotError) Unwrap() error { return ErrMaybeCreated }

type redirectError struct{ why error }

func (e *redirectError) Error() string { return "a redirect " + e.why.Error() + " is not followed" }

var errOtherHost = errors.New("the request is for another host than the base URL's")
