package gammatest

import (
	"io"
	"strings"
	"testing"
)

// An error names the header, the parameter or the field, and the rule of the document.
func TestViolationsInWords(t *testing.T) {
	c, err := parse([]byte(`{"openapi":"3.0.0","info":{"title":"T","version":"1"},"paths":{
		"/g":{"post":{"operationId":"createGeneration",
			"parameters":[
				{"name":"page","in":"query","schema":{"type":"integer","maximum":9}},
				{"name":"X-Size","in":"header","schema":{"type":"integer"}}],
			"requestBody":{"required":true,"content":{"application/json":{"schema":{"type":"object","required":["text"],"additionalProperties":false,"properties":{
				"text":{"type":"string","maxLength":5},
				"cards":{"type":"number","minimum":1},
				"open":{"type":"boolean"},
				"ids":{"type":"array","items":{"type":"string"}},
				"mixed":{"allOf":[{"type":"object","properties":{"tone":{"type":"string"},"deep":{"allOf":[{"type":"object","required":["end"]}]}}}]},
				"either":{"oneOf":[{"type":"string"},{"type":"number"}]},
				"both":{"type":"object","required":["a","b"]}
			}}}}},
			"responses":{"200":{"description":"OK"}}}},
		"/a/{id}":{"get":{"operationId":"other","parameters":[{"name":"id","in":"path","required":true,"schema":{"type":"string"}},{"name":"q","in":"query","required":true,"schema":{"type":"string"}}],"responses":{"200":{"description":"OK"}}}}
	}}`))
	if err != nil {
		t.Fatal(err)
	}
	const (
		j          = "application/json"
		operations = "no such operation; the OpenAPI document has GET /a/{id}, POST /g"
	)
	for name, tt := range map[string]struct {
		method, target, contentType, body string
		want                              string
		size                              string // the header X-Size
	}{
		"another path":           {"POST", "/v1/g", j, "{}", operations, ""},
		"another method":         {"PUT", "/g", j, "{}", operations, ""},
		"form, as of curl -d":    {"POST", "/g", "application/x-www-form-urlencoded", `{"text":"tea"}`, `header Content-Type is "application/x-www-form-urlencoded"; the OpenAPI document says application/json`, ""},
		"no content type":        {"POST", "/g", "", `{"text":"tea"}`, "header Content-Type is missing; the OpenAPI document says application/json", ""},
		"no body":                {"POST", "/g", j, "", "the body is missing", ""},
		"truncated body":         {"POST", "/g", j, `{"text":`, "the body is not application/json: unexpected EOF", ""},
		"not an object":          {"POST", "/g", j, `[]`, "the body must be an object, not an array", ""},
		"missing":                {"POST", "/g", j, `{}`, "field text is missing", ""},
		"misspelt":               {"POST", "/g", j, `{"text":"tea","crads":1}`, "field crads is not documented", ""},
		"null":                   {"POST", "/g", j, `{"text":null}`, "field text must not be null", ""},
		"too long":               {"POST", "/g", j, `{"text":"coffee"}`, "field text: maximum string length is 5", ""},
		"too small":              {"POST", "/g", j, `{"text":"tea","cards":0}`, "field cards: number must be at least 1", ""},
		"two mistakes":           {"POST", "/g", j, `{"text":7,"cards":"5"}`, "field cards must be a number, not a string; field text must be a string, not a number", ""},
		"a boolean":              {"POST", "/g", j, `{"text":true}`, "field text must be a string, not a boolean", ""},
		"an object":              {"POST", "/g", j, `{"text":{}}`, "field text must be a string, not an object", ""},
		"in a list":              {"POST", "/g", j, `{"text":"tea","ids":["a",7]}`, "field ids.1 must be a string, not a number", ""},
		"nested":                 {"POST", "/g", j, `{"text":"tea","mixed":{"tone":["a"]}}`, "field mixed.tone must be a string, not an array", ""},
		"nested twice":           {"POST", "/g", j, `{"text":"tea","mixed":{"deep":{}}}`, "field mixed.deep.end is missing", ""},
		"two missing":            {"POST", "/g", j, `{"text":"tea","both":{}}`, "field both.a is missing; field both.b is missing", ""},
		"neither of two":         {"POST", "/g", j, `{"text":"tea","either":true}`, `field either: value doesn't match any schema from "oneOf" (field either must be a string, not a boolean, or field either must be a number, not a boolean)`, ""},
		"query not a number":     {"POST", "/g?page=one", j, `{"text":"tea"}`, `query parameter "page" is an invalid integer`, ""},
		"query too large":        {"POST", "/g?page=10", j, `{"text":"tea"}`, `query parameter "page": number must be at most 9`, ""},
		"query missing":          {"GET", "/a/1", "", "", `query parameter "q" is missing`, ""},
		"query unknown":          {"GET", "/a/1?q=1&r=1", "", "", `query parameter "r" is not documented`, ""},
		"header not a number":    {"POST", "/g", j, `{"text":"tea"}`, "header X-Size is an invalid integer", "large"},
		"a body for none":        {"GET", "/a/1?q=1", j, "{}", "a request body is not documented", ""},
		"a slash at the end":     {"POST", "/g/", j, "{}", "the path is not exactly that of /g", ""},
		"a parameter and a body": {"POST", "/g?page=10", j, `{}`, `query parameter "page": number must be at most 9; field text is missing`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			request := newRequest(t, t.Context(), tt.method, "https://x"+tt.target)
			if tt.body != "" {
				request.Body = io.NopCloser(strings.NewReader(tt.body))
			}
			if tt.contentType != "" {
				request.Header.Set("Content-Type", tt.contentType)
			}
			if tt.size != "" {
				request.Header.Set("X-Size", tt.size)
			}
			if _, err := c.request(request); err == nil || err.Error() != tt.want {
				t.Errorf("%v\nwant %s", err, tt.want)
			}
		})
	}
}

func FuzzViolations(f *testing.F) {
	o, _ := document.Operation("createGeneration")
	f.Add("", "application/json", `{"inputText":"tea"}`)
	f.Add("a=b", "application/json; charset=utf-8", `{"inputText":7,"x\n":{}}`)
	f.Add("%zz", "text/plain", "[")
	f.Fuzz(func(t *testing.T, query, contentType, body string) {
		request := newRequest(t, t.Context(), o.Method, "https://x"+o.Path)
		request.URL.RawQuery = query
		request.Header["Content-Type"] = []string{contentType}
		request.Body = io.NopCloser(strings.NewReader(body))
		if _, err := published().request(request); err != nil && (err.Error() == "" || strings.ContainsAny(err.Error(), "\n\r")) {
			t.Errorf("%q", err)
		}
	})
}
