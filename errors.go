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

// Test for these errors with [errors.Is]. The first five are kinds of [*APIError], as in
// the API's error table.
var (
	// ErrUnauthorized is status 401: the key is missing or wrong.
	ErrUnauthorized = errors.New("gamma: unauthorized")

	// ErrInsufficientCredits is status 402, or status 403 with a message that contains
	// "insufficient credits": the API's documentation has named both.
	ErrInsufficientCredits = errors.New("gamma: insufficient credits")

	// ErrForbidden is any other status 403: the key or its plan has no permission.
	ErrForbidden = errors.New("gamma: forbidden")

	// ErrNotFound is status 404: the id does not exist, or the key has no access to it.
	ErrNotFound = errors.New("gamma: not found")

	// ErrRateLimited is status 429: retry after RetryAfter, or after 30 seconds if that is 0.
	ErrRateLimited = errors.New("gamma: rate limited")

	// ErrUnexpectedResponse is a 2xx status without the documented JSON. The server may
	// have processed the request; retrying is safe for a GET.
	ErrUnexpectedResponse = apiruntime.ErrUnexpectedResponse

	// ErrResponseTooLarge is a body that exceeds its limit. Retrying does not help.
	ErrResponseTooLarge = errors.New("gamma: response too large")

	// ErrMaybeCreated is a create whose outcome is unknown: it may have been sent, but no
	// complete response was received, or the status is 302, 303, 408 or 5xx. Creating again
	// may cost credits twice. The error may also be an *APIError, whose RequestID helps
	// Gamma's support; for a 503 its text says that probably nothing was created.
	ErrMaybeCreated = errors.New("gamma: the generation may have been created")

	// ErrLinkExpired is a download with status 403 or 410, or status 400 with an error that
	// says so. A page of HTML, as from a proxy, does not count. According to the API's
	// documentation a link expires after about a week; poll the generation for a new one.
	ErrLinkExpired = errors.New("gamma: the export link has expired; poll the generation for a new one")
)

// APIError is a response with a status other than 2xx, including redirects. Find it with
// [errors.As].
type APIError struct {
	// Operation is the method and the path template, as in
	// "GET /v1.0/generations/{id}". It has no parameter and no host.
	Operation string

	// StatusCode is the HTTP status.
	StatusCode int

	// Message is the reasons given in the body, escaped and cut to about 512 bytes, or the
	// name of the status if there are none.
	Message string

	// RequestID is the x-request-id header, for Gamma's support. It may be empty.
	RequestID string

	// RetryAfter is the longest of the headers Retry-After, Retry-After-Burst and
	// Retry-After-Daily, rounded up to a second, at most 24 hours; 0 if there is none. A
	// date is relative to the response's Date header.
	RetryAfter time.Duration

	// RateLimit is the rate limit as of this response.
	RateLimit RateLimit

	// Body is the first 16 KiB of the body, nil for a download. The text of the error does
	// not contain it. It may quote the request.
	Body []byte
}

// Error returns one printable line without the URL, the key or the body.
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

// Is reports whether target is the error of this package for e's status.
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

// newAPIError returns the error for rsp. body is the start of its body.
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

// InvalidRequestError is a request that was not sent because it violates the OpenAPI
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
	text        string
	err         error
	unsent      bool   // the server cannot have started to process the request
	partialBody []byte // what was received of a 2xx response to a POST
}

func (e *exchangeError) Error() string { return e.text }
func (e *exchangeError) Unwrap() error { return e.err }

// explainedError is err with what it means for the caller.
type explainedError struct{ meaning, err error }

func (e *explainedError) Error() string {
	return "gamma: " + retry.Inner(e.meaning) + ": " + retry.Inner(e.err)
}

func (e *explainedError) Unwrap() []error { return []error{e.meaning, e.err} }

// probablyNotError is the [ErrMaybeCreated] of a 503.
type probablyNotError struct{}

func (probablyNotError) Error() string {
	return "gamma: the generation was probably not created, but may have been"
}
func (probablyNotError) Unwrap() error { return ErrMaybeCreated }

type redirectError struct{ why error }

func (e *redirectError) Error() string { return "a redirect " + e.why.Error() + " is not followed" }

var errOtherHost = errors.New("the request is for a host other than the base URL's")
