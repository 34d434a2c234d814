package gamma

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gamma-sdk/gamma-go/internal/retry"
	"github.com/gamma-sdk/gamma-go/internal/wire"
)

// What a caller can do about an [APIError] depends on which of these it is;
// ask with [errors.Is]. The rules are those of the API's error table.
var (
	// ErrUnauthorized is status 401: the key is missing or wrong.
	ErrUnauthorized = errors.New("gamma: unauthorized")

	// ErrInsufficientCredits is status 402, or status 403 with a message that
	// says so: the API's documentation has named both.
	ErrInsufficientCredits = errors.New("gamma: insufficient credits")

	// ErrForbidden is any other status 403: the key or its plan lacks the right.
	ErrForbidden = errors.New("gamma: forbidden")

	// ErrNotFound is status 404: no such thing, or none that the key may see.
	ErrNotFound = errors.New("gamma: not found")

	// ErrRateLimited is status 429: wait for RetryAfter, or 30 s without one.
	ErrRateLimited = errors.New("gamma: rate limited")
)

var (
	// ErrUnexpectedResponse is a successful status with something other than
	// the documented JSON. The request may have had its effect. Asking again is
	// safe for a GET.
	ErrUnexpectedResponse = wire.ErrUnexpectedResponse

	// ErrResponseTooLarge is a body of more than 1 MiB. Asking again is no use.
	ErrResponseTooLarge = errors.New("gamma: response too large")
)

// APIError is a response with a status other than success, redirects included:
// they are never followed. Find it with [errors.As].
type APIError struct {
	// Operation is the method and the path template, as in
	// "GET /v1.0/generations/{id}". It never holds a parameter or a host.
	Operation string

	// StatusCode is the HTTP status.
	StatusCode int

	// Message has the reasons that the body gives, those for a field with its name,
	// separated by "; ", made printable and cut to about 512 bytes. It is never empty:
	// without a reason it is the name of the status.
	Message string

	// RequestID is the x-request-id header, which Gamma's support asks for. It
	// is empty when the response has none.
	RequestID string

	// RetryAfter is how long the server asks to wait, rounded up to a second, at most
	// 24 hours; 0 when it does not say. A date is read against the response's Date. Of
	// Retry-After, Retry-After-Burst and Retry-After-Daily the longest counts.
	RetryAfter time.Duration

	// RateLimit is the budget as of this response.
	RateLimit RateLimit

	// Body is the response body as received, at most its first 16 KiB, with the API
	// key replaced. It is nil if there was none, and after a download. It is no part
	// of Error.
	Body []byte
}

// Error returns one printable line. It holds no URL, no key and no body other
// than Message.
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

// Is reports whether target is the sentinel of e's status.
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
		RequestID:  wire.Printable(rsp.Header.Get("X-Request-Id")),
		RetryAfter: wire.RetryAfter(rsp.Header, time.Now()),
		RateLimit:  RateLimitOf(rsp.Header),
		Body:       body,
	}
}

// ErrMaybeCreated says that it is not known whether a generation was created: the
// request may have reached the server, and no complete response was received. It may cost
// credits, and creating it again may cost them twice. The error that wraps it
// wraps what is known too, such as an [*APIError] with the request id that Gamma's
// support asks for. The API has no way to look for the generation.
var ErrMaybeCreated = errors.New("gamma: the generation may have been created")

// ErrLinkExpired says that an export URL is no longer good: status 403 or 410 without a
// page of HTML, or status 400 with an error in XML that says so. By the API's
// documentation the links last about a week. Poll the generation again: the API may
// give a new one.
var ErrLinkExpired = errors.New("gamma: the export link has expired, the generation's status may have a new one")

// InvalidRequestError says that a request violates the OpenAPI document, so that the
// server would refuse it, or has text that is not UTF-8. It was not sent. Every
// operation of the client may return it; find it with [errors.As].
type InvalidRequestError struct {
	// Operation is the method and the path template, as in
	// "POST /v1.0/generations".
	Operation string

	// Field is the property or the query parameter, as the API names it, as in
	// "textOptions.tone" or "folderIds[3]".
	Field string

	// Reason says what is wrong with it, without its value.
	Reason string
}

// Error returns one printable line without the field's value.
func (e *InvalidRequestError) Error() string {
	return "gamma: " + e.Operation + ": " + e.Field + " " + e.Reason
}

// exchangeError is a request without a usable response.
type exchangeError struct {
	text   string
	err    error
	unsent bool   // the server has surely not begun with the request
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

type redirectError struct{ why error }

func (e *redirectError) Error() string { return "a redirect " + e.why.Error() + " is not followed" }

var errOtherHost = errors.New("the request is for another host than the base URL's")
