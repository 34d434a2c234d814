package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestUnsetIsNotSent(t *testing.T) {
	req, err := NewCreateThingRequest("https://api.example", &CreateThingParams{}, Thing{Name: "x", Labels: map[string]string{"a": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"labels":{"a":"b"},"name":"x"}`; string(body) != want {
		t.Errorf("sent %s, want %s", body, want)
	}
	if req.URL.RawQuery != "" || len(req.Header) != 1 {
		t.Errorf("sent the query %q and the headers %v", req.URL.RawQuery, req.Header)
	}
}

func TestPathParametersAreChecked(t *testing.T) {
	req, err := NewPutPartRequest("https://api.example/base/", "a.b", "7", nil, PutPartJSONRequestBody{})
	if err != nil || req.URL.String() != "https://api.example/base/v1.0/things/a.b/parts/7" {
		t.Errorf("%+v, %v", req, err)
	}
	for _, id := range []string{"", "..", "a/b", "a b", "%2e"} {
		if req, err := NewDeleteThingRequest("https://api.example/", id); err == nil {
			t.Errorf("%q gave %s", id, req.URL)
		}
	}
}

// doer responds with one status, content type and body.
type doer struct {
	status            int
	contentType, body string
}

func (d doer) Do(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: d.status, Header: http.Header{"Content-Type": {d.contentType}}, Body: io.NopCloser(strings.NewReader(d.body))}, nil
}

// The methods that return models, for every kind of success that a document may have.
func TestModels(t *testing.T) {
	put := func(c *ClientWithResponses) (any, error) {
		return c.PutPart(context.Background(), "a", "1", nil, PutPartJSONRequestBody{})
	}
	get := func(c *ClientWithResponses) (any, error) { return c.GetGenerationStatus(context.Background(), "a") }
	table := func(c *ClientWithResponses) (any, error) { return c.GetTable(context.Background(), "a") }
	state := func(c *ClientWithResponses) (any, error) { return c.GetState(context.Background(), "a") }
	nothing := func(c *ClientWithResponses) (any, error) { return "", c.DeleteThing(context.Background(), "a") }
	upload := func(c *ClientWithResponses) (any, error) {
		return "", c.Upload(context.Background(), "application/pdf", strings.NewReader("%PDF"))
	}
	const js = "application/json"
	tests := []struct {
		name string
		call func(*ClientWithResponses) (any, error)
		rsp  doer
		want string // as JSON, empty for an error
	}{
		{"the first success", put, doer{200, js, `{"id":"x"}`}, `{"id":"x"}`},
		{"a success without a body", put, doer{201, "", ""}, `{"id":""}`},
		{"a success with another model", put, doer{203, js, `["a"]`}, ""},
		{"an error with a model", put, doer{404, js, `{"message":"x","statusCode":404}`}, ""},
		{"not JSON", put, doer{200, "text/html", `<html>`}, ""},
		{"bytes", table, doer{200, "text/csv", "a,b"}, `"YSxi"`},
		{"bytes with another status", table, doer{500, "text/csv", "a,b"}, ""},
		{"the default", state, doer{200, js, `{"id":"x"}`}, `{"id":"x"}`},
		{"the default of an error", state, doer{400, js, `{"id":"x"}`}, ""},
		{"201 in place of the only success", get, doer{201, js, `{"generationId":"x","status":"pending"}`}, `{"generationId":"x","status":"pending"}`},
		{"202 in place of the only success", get, doer{202, js, `{"generationId":"x","status":"pending"}`}, `{"generationId":"x","status":"pending"}`},
		{"202 without JSON in place of the only success", get, doer{202, "text/plain", `{"generationId":"x","status":"pending"}`}, ""},
		{"203 in place of the only success", get, doer{203, js, `{"generationId":"x","status":"pending"}`}, ""},
		{"201 in place of the only success, which has no JSON", table, doer{201, js, `{"id":"x"}`}, ""},
		{"nothing", nothing, doer{204, "", ""}, `""`},
		{"nothing, refused", nothing, doer{403, "", ""}, ""},
		{"a body of another type", upload, doer{204, "", ""}, `""`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client, err := NewClientWithResponses("https://api.example", WithHTTPClient(tt.rsp))
			if err != nil {
				t.Fatal(err)
			}
			model, err := tt.call(client)
			got, _ := json.Marshal(model)
			if (err == nil) != (tt.want != "") || err == nil && string(got) != tt.want {
				t.Errorf("%s, %v, want %s", got, err, tt.want)
			}
		})
	}
}
