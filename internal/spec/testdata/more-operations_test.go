package api

import (
	"io"
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
