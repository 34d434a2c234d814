package gamma

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/apiruntime"
	"github.com/gamma-sdk/gamma-go/internal/ratelimit"
	"github.com/gamma-sdk/gamma-go/internal/retry"
)

// createTimeout bounds a create whose context has no deadline.
const createTimeout = 5 * time.Minute

// Created is the response to a create.
type Created struct {
	// GenerationID is the id of the new generation, for package poller.
	GenerationID string

	// Warnings says what Gamma ignored or changed in the request, escaped and cut to
	// about 512 bytes. It is usually empty.
	Warnings string
}

// CreateGeneration starts a generation from a text. A generation costs credits, so
// CreateGeneration retries only if the server cannot have acted on the request:
//
//   - After a 429, until ctx is done: when Retry-After has passed, or without it after 30,
//     60, then 120 seconds.
//   - After a failure to connect, or an HTTP/2 stream that the server refused, up to four
//     times: after 1, 2, 4 and 8 seconds. An unknown host and an invalid certificate are
//     not retried.
//
// Up to a fifth of the pause, at most a minute, is added at random; [WithOnRetry] observes
// the pauses. A ctx without a deadline gets one of 5 minutes. If a pause would end after the
// deadline, CreateGeneration returns the last error at once. Before each request it waits
// until the rate limit of the client allows it.
//
// The error is an [*InvalidRequestError] if the request violates the OpenAPI document, an
// [*APIError] if the server refused it, and matches [ErrMaybeCreated] if the outcome is
// unknown. On error, Created is zero, except that GenerationID is set if the response was
// cut off after it.
//
// Save the id first: a generation cannot be found without it. Then wait with package
// poller.
func (c *Client) CreateGeneration(ctx context.Context, request api.GenerationRequest) (Created, error) {
	return c.doer.create(ctx, "POST /v1.0/generations", func(ctx context.Context) ([]byte, error) {
		rsp, err := c.CreateGenerationWithResponse(ctx, request)
		if rsp == nil {
			return nil, err
		}
		return rsp.Body, err
	})
}

// CreateFromTemplateGeneration is like [Client.CreateGeneration], but starts a generation
// from a template.
func (c *Client) CreateFromTemplateGeneration(ctx context.Context, request api.TemplateGenerationRequest) (Created, error) {
	return c.doer.create(ctx, "POST /v1.0/generations/from-template", func(ctx context.Context) ([]byte, error) {
		rsp, err := c.CreateFromTemplateGenerationWithResponse(ctx, request)
		if rsp == nil {
			return nil, err
		}
		return rsp.Body, err
	})
}

// create calls send, which returns the body of a 2xx response, until the outcome is known
// or cannot be known.
func (d *doer) create(ctx context.Context, operation string, send func(context.Context) ([]byte, error)) (Created, error) {
	isBatch := retry.PausesOf(ctx).Send != nil
	if _, ok := ctx.Deadline(); !ok && !isBatch { // each request has a timeout
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, createTimeout)
		defer cancel()
	}
	for refused, failed := 0, 0; ; {
		body, err := send(d.budget.With(ctx, ratelimit.Waits))
		created, err := readCreated(operation, body, err)
		if err == nil {
			return created, nil
		}
		var pause time.Duration
		var apiErr *APIError
		var exchange *exchangeError
		unsent := errors.As(err, &exchange) && exchange.unsent
		switch {
		case errors.As(err, &apiErr) && apiErr.StatusCode == http.StatusTooManyRequests:
			if pause = apiErr.RetryAfter; pause == 0 {
				pause = retry.Backoff(30*time.Second, 2*time.Minute, refused)
			}
			refused++
		case unsent && !retry.Permanent(err) && failed < 4:
			pause = retry.Backoff(time.Second, time.Minute, failed)
			failed++
		default:
			if !unsent {
				err = maybeCreated(err)
			}
			return created, err
		}
		pause += retry.Jitter(pause/5, rand.Float64())
		if deadline, ok := ctx.Deadline(); ctx.Err() != nil || ok && pause > time.Until(deadline) {
			return Created{}, err
		}
		if ended := d.retry(ctx, Retry{operation, refused + failed, err, pause}); ended != nil {
			return Created{}, &explainedError{ended, err}
		}
	}
}

// readCreated reads the response to operation. body is what was received of it. The id
// has been paid for, so it is returned from any 2xx response that has it, also from one
// that is cut off or has other faults.
func readCreated(operation string, body []byte, err error) (Created, error) {
	var exchange *exchangeError
	if errors.As(err, &exchange) {
		body = exchange.partialBody
	}
	properties := completeProperties(body)
	var id string
	_ = json.Unmarshal(apiruntime.Member(properties, "generationId"), &id) // empty if it is not a string
	switch ok := apiruntime.CheckPathParam("", id) == nil; {
	case ok && (err == nil || json.Valid(body)):
		return Created{id, warnings(apiruntime.Member(properties, "warnings"))}, nil
	case ok:
		return Created{GenerationID: id}, &exchangeError{text: fmt.Sprintf("gamma: %s (id %s; response cut off)", retry.Inner(err), id), err: err}
	case id != "":
		err = &exchangeError{text: "gamma: " + operation + ": the generation id in the response is not a valid id: " + apiruntime.Printable(id), err: ErrUnexpectedResponse}
	case err == nil:
		err = &exchangeError{text: "gamma: " + operation + ": the response has no generation id", err: ErrUnexpectedResponse}
	}
	return Created{}, err
}

// completeProperties returns the properties of the JSON object in body that are complete,
// up to the first that is not.
func completeProperties(body []byte) map[string]json.RawMessage {
	properties := map[string]json.RawMessage{}
	object := json.NewDecoder(bytes.NewReader(body))
	if start, _ := object.Token(); start != json.Delim('{') {
		return nil
	}
	for object.More() {
		key, _ := object.Token()
		name, ok := key.(string)
		var value json.RawMessage
		if !ok || object.Decode(&value) != nil {
			break
		}
		properties[name] = value
	}
	return properties
}

// warnings returns the text in raw. The document says that it is a string; the vendor's
// newer engine sends a list.
func warnings(raw json.RawMessage) string {
	var text string
	var list []string
	switch {
	case len(raw) == 0 || json.Unmarshal(raw, &text) == nil:
	case json.Unmarshal(raw, &list) == nil:
		text = strings.Join(list, "; ")
	default:
		text = string(raw)
	}
	return apiruntime.Printable(text)
}

// maybeCreated returns an error that matches [ErrMaybeCreated] and wraps err, or err itself
// if the server cannot have acted on the request.
func maybeCreated(err error) error {
	var apiErr *APIError
	var invalid *InvalidRequestError
	switch {
	case errors.As(err, &apiErr):
		switch c := apiErr.StatusCode; c {
		case http.StatusFound, http.StatusSeeOther: // the server may have processed the POST
		case http.StatusRequestTimeout:
		case http.StatusServiceUnavailable:
			return &explainedError{probablyNotError{}, err}
		default:
			if c/100 == 3 || c/100 == 4 {
				return err
			}
		}
	case errors.As(err, &invalid), errors.Is(err, errOtherHost):
		return err
	}
	return &explainedError{ErrMaybeCreated, err}
}
