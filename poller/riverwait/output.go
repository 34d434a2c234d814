package riverwait

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

// output is what Result reads from the output of a job, in addition to the response. Members
// may be added, never changed.
type output struct {
	ID   string   `json:"generationId"` // empty if there is no response
	Wait *waitEnd `json:"gammaWait"`    // nil if the generation has finished
}

// waitEnd is a poller.WaitError as JSON. Its Cause is one of the flags, or Status, or else
// only Text.
type waitEnd struct {
	Progress poller.Progress `json:"progress"`

	Deadline bool   `json:"deadline,omitempty"`
	Pause    bool   `json:"pause,omitempty"`
	NoExport bool   `json:"noExport,omitempty"`
	Status   int    `json:"status,omitempty"`
	Message  string `json:"message,omitempty"`
	Request  string `json:"requestId,omitempty"`
	Text     string `json:"text"`
	Last     string `json:"last,omitempty"`
}

// encode returns the output for r.
func encode(r poller.Result) (json.RawMessage, error) {
	object := []byte("{}")
	if r.Generation != nil {
		var err error
		if object, err = json.Marshal(r.Generation); err != nil {
			return nil, err
		}
	}
	var failed *poller.FailedError
	if r.Err != nil && !errors.As(r.Err, &failed) {
		var err error
		if object, err = with(object, "gammaWait", newWaitEnd(r)); err != nil {
			return nil, err
		}
	}
	return withoutNUL(object), nil
}

func newWaitEnd(r poller.Result) waitEnd {
	end := waitEnd{Progress: r.Progress, Text: r.Err.Error()}
	var wait *poller.WaitError
	if errors.As(r.Err, &wait) {
		end.Progress, end.Text = wait.Progress, wait.Cause.Error()
		if wait.Last != nil {
			end.Last = wait.Last.Error()
		}
	}
	end.Deadline = errors.Is(r.Err, context.DeadlineExceeded)
	end.Pause = errors.Is(r.Err, poller.ErrPause)
	end.NoExport = errors.Is(r.Err, poller.ErrNoExport)
	if apiErr := (*gamma.APIError)(nil); errors.As(r.Err, &apiErr) {
		end.Status, end.Message, end.Request = apiErr.StatusCode, apiErr.Message, apiErr.RequestID
	}
	return end
}

// err returns the WaitError that e was made from.
func (e *waitEnd) err() error {
	wait := &poller.WaitError{Progress: e.Progress}
	var causes []error
	switch {
	case e.NoExport:
		causes = append(causes, poller.ErrNoExport)
	case e.Pause:
		causes = append(causes, poller.ErrPause)
	}
	if e.Deadline {
		causes = append(causes, context.DeadlineExceeded)
	}
	if e.Status != 0 {
		causes = append(causes, &gamma.APIError{
			Operation: "GET /v1.0/generations/{id}", StatusCode: e.Status, Message: e.Message, RequestID: e.Request,
		})
	}
	switch {
	case len(causes) == 1:
		wait.Cause = causes[0]
	default:
		wait.Cause = &textError{e.Text, causes}
	}
	switch e.Last {
	case "":
	case e.Text:
		wait.Last = wait.Cause
	default:
		wait.Last = &textError{text: e.Last}
	}
	return wait
}

// textError is an error that was saved as text, with the errors that it matches.
type textError struct {
	text   string
	causes []error
}

func (e *textError) Error() string   { return e.text }
func (e *textError) Unwrap() []error { return e.causes }

// withoutNUL replaces each escaped NUL in encoded JSON by U+FFFD: jsonb cannot hold it.
func withoutNUL(object []byte) []byte {
	if !bytes.Contains(object, []byte(`\u0000`)) {
		return object
	}
	var b strings.Builder
	for s := string(object); s != ""; {
		n := 1
		if s[0] == '\\' {
			n = 2 // an escaped backslash does not start an escaped NUL
		}
		if strings.HasPrefix(s, `\u0000`) {
			b.WriteString(`\ufffd`)
			n = 6
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return []byte(b.String())
}

// errNothing is the error of a replay without a response.
var errNothing = errors.New("gamma: no response")

// replay returns what [poller.Poller.Check] returns for the response gen. Without gen it only
// validates m.
func replay(ctx context.Context, m metadata, gen *api.GenerationStatusResponse) (*api.GenerationStatusResponse, error) {
	progress := poller.Progress{ID: m.ID, Export: m.Export}
	p := poller.New(replayClient{gen})
	p.MaxFailures = 1
	gen, _, err := p.Check(context.WithoutCancel(ctx), &progress)
	if gen != nil && err == nil && !progress.NextPoll.IsZero() {
		return gen, errors.New("gamma: the job's output says that the generation has not finished")
	}
	return gen, err
}

type replayClient struct{ gen *api.GenerationStatusResponse }

func (c replayClient) GetGenerationStatusWithResponse(context.Context, string, ...api.RequestEditorFn) (*api.GetGenerationStatusHTTPResponse, error) {
	if c.gen == nil {
		return nil, errNothing
	}
	return &api.GetGenerationStatusHTTPResponse{JSON200: c.gen}, nil
}
