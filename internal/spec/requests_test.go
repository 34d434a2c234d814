package main

import "testing"

// A body in JSON has its limits, whatever parameters its content type has.
func TestLimitsOfContentTypes(t *testing.T) {
	want := string(requests(small(t)))
	document := small(t)
	content := at(document, "paths", "/v1.0/generations", "post", "requestBody", "content")
	content["application/JSON ; charset=utf-8"] = content["application/json"]
	delete(content, "application/json")
	content["multipart/form-data"] = map[string]any{"schema": map[string]any{"type": "object"}}
	if got := string(requests(document)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
