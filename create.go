package gamma

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/wire"
)

// ErrMaybeCreated says that it is not known whether a generation was created: the
// request may have reached the server, and no whole answer came back. It may cost
// credits, and creating it again may cost them twice. The error that wraps it
// wraps what is known too, such as an [*APIError] with the request id that Gamma's
// support asks for. The API has no way to look for the generation.
var ErrMaybeCreated = errors.New("gamma: the generation may have been created")

// Creator is the generated methods that [Create] needs. A client of [NewClient]
// has them.
type Creator interface {
	CreateGenerationWithResponse(ctx context.Context, body api.CreateGenerationJSONRequestBody, reqEditors ...api.RequestEditorFn) (*api.CreateGenerationHTTPResponse, error)
	CreateFromTemplateGenerationWithResponse(ctx context.Context, body api.CreateFromTemplateGenerationJSONRequestBody, reqEditors ...api.RequestEditorFn) (*api.CreateFromTemplateGenerationHTTPResponse, error)
}

// Request is what a generation is created from: a text or a template.
type Request interface {
	api.GenerationRequest | api.TemplateGenerationRequest
}

// Created is a generation that Gamma has begun.
type Created struct {
	// GenerationID is what to wait for. It is never empty.
	GenerationID string

	// Warnings says what Gamma ignored or changed in the request, made printable
	// and cut to about 512 bytes; empty when there is nothing to say.
	Warnings string
}

// Create begins a generation. It costs credits, so a request that may have reached
// the server is never sent again: an answer that got lost, also behind a status
// 5xx, is an error that is [ErrMaybeCreated].
//
// A request that surely did nothing is sent again, for as long as ctx lets it, or
// for 5 minutes if ctx has no deadline: after 429, when Retry-After says or after
// 30, 60, then 120 seconds; after a connection that could not be made, after 1, 2,
// 4 and 8 seconds, and not more. Any other error is returned at once: an
// [*InvalidRequestError] or an [*APIError], among others. Beside an error Created is
// empty, but for an [ErrMaybeCreated] whose answer broke after the id: it has the id,
// and so has the text of the error.
//
// Keep the id before anything else: a generation cannot be found without it. Then
// wait with package poller, whose Generate does both. Create is safe for
// concurrent use.
func Create[R Request](ctx context.Context, client Creator, request R) (Created, error) {
	if wire.IsNil(client) {
		return Created{}, errors.New("gamma: Create: nil client")
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 5*time.Minute)
		defer cancel()
	}
	for refused, unsent := 0, 0; ; {
		way := new(progress)
		created, err := create(way.trace(ctx), client, request)
		if err == nil {
			return created, nil
		}
		var pause time.Duration
		var apiErr *APIError
		nothing := way.unsent(err)
		switch {
		case errors.As(err, &apiErr) && apiErr.StatusCode == http.StatusTooManyRequests:
			refused++
			if pause = apiErr.RetryAfter; pause == 0 {
				pause = 15 * time.Second << min(refused, 3)
			}
		case nothing && !wire.NoWay(err) && unsent < 4:
			pause = time.Second << unsent
			unsent++
		default:
			if !nothing {
				err = doubt(err)
			}
			return created, err
		}
		pause += time.Duration(rand.Float64() * float64(min(pause/5, time.Minute)))
		if deadline, _ := ctx.Deadline(); ctx.Err() != nil || pause > time.Until(deadline) {
			return Created{}, err
		}
		if !sleep(ctx, pause) {
			return Created{}, &explainedError{canceled(ctx), err}
		}
	}
}

// create sends one request.
func create[R Request](ctx context.Context, client Creator, request R) (Created, error) {
	var body []byte
	var err error
	switch request := any(request).(type) {
	case api.GenerationRequest:
		var rsp *api.CreateGenerationHTTPResponse
		if rsp, err = client.CreateGenerationWithResponse(ctx, request); rsp != nil {
			body = rsp.Body
		}
	case api.TemplateGenerationRequest:
		var rsp *api.CreateFromTemplateGenerationHTTPResponse
		if rsp, err = client.CreateFromTemplateGenerationWithResponse(ctx, request); rsp != nil {
			body = rsp.Body
		}
	}
	// The id is what was paid for: it counts in any successful answer, whatever
	// the rest of it, and also where that broke before its formal end.
	var broken *exchangeError
	if errors.As(err, &broken) {
		body = broken.part
	}
	answer := whole(body)
	var id string
	_ = json.Unmarshal(answer["generationid"], &id) // of another type, it is none
	switch ok := wire.CheckPathParam("", id) == nil; {
	case ok && (err == nil || json.Valid(body)):
		return Created{id, warnings(answer["warnings"])}, nil
	case ok:
		return Created{GenerationID: id}, fmt.Errorf("its id is %s, but the answer broke: %w", id, err)
	case id != "":
		err = fmt.Errorf("%w: the answer's generation id cannot be asked for: %s", ErrUnexpectedResponse, wire.Printable(id))
	case err == nil:
		err = fmt.Errorf("%w: the answer has no generation id", ErrUnexpectedResponse)
	}
	return Created{}, err
}

// whole returns the properties of the JSON object in body, by their names in lower
// case, as far as they came whole.
func whole(body []byte) map[string]json.RawMessage {
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
		properties[strings.ToLower(name)] = value // as encoding/json does, the last of a name
	}
	return properties
}

// warnings returns the text in raw, which the document says is a string and the
// vendor's newer engine makes a list.
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
	return wire.Printable(text)
}

// doubt makes err an [ErrMaybeCreated] unless the server has surely done nothing.
func doubt(err error) error {
	var apiErr *APIError
	var invalid *InvalidRequestError
	switch {
	case errors.As(err, &apiErr):
		switch c := apiErr.StatusCode; c {
		case http.StatusFound, http.StatusSeeOther: // as may be said after a POST was done
		case http.StatusRequestTimeout:
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

// explainedError is a second error and what it means for the caller.
type explainedError struct{ meaning, err error }

func (e *explainedError) Error() string {
	return "gamma: " + inner(e.meaning) + ": " + inner(e.err)
}

func (e *explainedError) Unwrap() []error { return []error{e.meaning, e.err} }

// inner is the text of an error inside another's.
func inner(err error) string { return strings.TrimPrefix(err.Error(), "gamma: ") }

// progress is how far a request has come.
type progress struct{ started, connected atomic.Bool }

// trace returns ctx with what the transport tells of its connections.
func (p *progress) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { p.started.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { p.connected.Store(true) },
	})
}

// unsent reports whether a request that ended with err surely has not left: the
// transport looked for a connection, as it told or as its error tells, and had none.
func (p *progress) unsent(err error) bool {
	var exchange *exchangeError
	if errors.As(err, &exchange) && exchange.unsent {
		return true
	}
	var opErr *net.OpError
	return !p.connected.Load() && (p.started.Load() || errors.As(err, &opErr) && opErr.Op == "dial")
}
