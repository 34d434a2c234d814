package gamma_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/test/sample"
)

// sink is a transport that has one response and keeps the body and the URL of the last
// request.
type sink struct {
	requests int
	body     string
	url      *url.URL
}

func (s *sink) RoundTrip(req *http.Request) (*http.Response, error) {
	s.requests++
	s.url = req.URL
	if req.Body != nil {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		s.body = string(body)
	}
	return respondsJSON(`{"generationId":"gen1","data":[],"hasMore":false,"nextCursor":null}`)(req)
}

func (s *sink) client(t testing.TB) *gamma.Client {
	t.Helper()
	client, err := gamma.NewClient(key, gamma.WithHTTPClient(&http.Client{Transport: s}))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// failed reports whether err is other than ErrUnexpectedResponse: the response of a sink is
// not the documented one of every operation.
func failed(err error) bool { return err != nil && !errors.Is(err, gamma.ErrUnexpectedResponse) }

// published is the document that the SDK was generated from.
var published = sample.New(gamma.OpenAPI())

// generation returns request with the fields that the document requires.
func generation(request api.GenerationRequest) api.GenerationRequest {
	return sample.Request(published, "createGeneration", request)
}

// request is generation for a body in JSON, which may have fields of any document.
func request(body string) api.GenerationRequest {
	return generation(sample.As[api.GenerationRequest](json.RawMessage(body)))
}

// A request without a required field is not sent.
func TestRequiredFields(t *testing.T) {
	var s sink
	text := generation(api.GenerationRequest{})
	text.InputText = ""
	_, err := s.client(t).CreateGenerationWithResponse(t.Context(), text)
	checkRefusal(t, &s, err, "POST /v1.0/generations", "inputText")
	template := sample.Request(published, "createFromTemplateGeneration", api.TemplateGenerationRequest{})
	template.GammaID = ""
	_, err = s.client(t).CreateFromTemplateGenerationWithResponse(t.Context(), template)
	checkRefusal(t, &s, err, "POST /v1.0/generations/from-template", "gammaId")
}

// A request that the document allows is sent.
func TestValidRequestsAreSent(t *testing.T) {
	for _, o := range published.Operations {
		for _, m := range []sample.Mode{{}, {Full: true}} {
			var s sink
			_, err := published.Call(t.Context(), s.client(t), o, m, nil)
			if failed(err) || s.requests != 1 {
				t.Errorf("%s, %+v: %v, %d requests", o.ID, m, err, s.requests)
			}
			if (o.BodyType == "") != (s.body == "") {
				t.Errorf("%s, %+v: sent %q", o.ID, m, s.body)
			}
		}
	}
}

// An enum value that the document does not have is sent.
func TestNewEnumValuesAreSent(t *testing.T) {
	var s sink
	request := generation(api.GenerationRequest{InputText: "x", ExportAs: "of next year"})
	if _, err := s.client(t).CreateGenerationWithResponse(t.Context(), request); failed(err) || !strings.Contains(s.body, `"exportAs":"of next year"`) {
		t.Errorf("%v, sent %q", err, s.body)
	}
}

// limits is a document with every kind of limit.
const limits = `{"paths":{
	"/things":{
		"summary":"prose",
		"post":{"requestBody":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/Thing"}}}}},
		"get":{"parameters":[
			{"name":"limit","in":"query","schema":{"type":"number","minimum":1,"maximum":50}},
			{"name":"page","in":"query","schema":{"$ref":"#/components/schemas/Count"}},
			{"name":"type","in":"query","schema":{"type":"string","enum":["standard","custom"]}},
			{"name":"all","in":"query","schema":{"type":"boolean"}},
			{"name":"tags","in":"query","schema":{"type":"array","maxItems":2,"items":{"type":"string","enum":["a","b"]}}},
			{"name":"ids","in":"query","explode":false,"schema":{"type":"array","maxItems":2,"items":{"type":"integer","maximum":9}}},
			{"name":"words","in":"query","style":"pipeDelimited","explode":false,"schema":{"type":"array","maxItems":1,"items":{"type":"string"}}},
			{"name":"after","in":"header","schema":{"type":"number"}}]}},
	"/any":{"post":{"requestBody":{"content":{"application/json":{"schema":{}}}}}},
	"/circle":{"post":{"requestBody":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/Left"}}}}}}
},"components":{"schemas":{
	"Count":{"type":"integer","minimum":1},
	"Color":{"type":"string","enum":["red","green"]},
	"Named":{"type":"object","required":["name"],"properties":{"name":{"type":"string"}}},
	"Alias":{"$ref":"#/components/schemas/Color"},
	"Self":{"$ref":"#/components/schemas/Self"},
	"Left":{"allOf":[{"$ref":"#/components/schemas/Right"}]},
	"Right":{"allOf":[{"$ref":"#/components/schemas/Left"}],"type":"object","required":["x"]},
	"Thing":{"type":"object","required":["text","id","level"],"properties":{
		"text":{"type":"string","minLength":1,"maxLength":5,"pattern":"^(?!no)"},
		"id":{"type":"string","readOnly":true},
		"level":{"readOnly":true,"allOf":[{"$ref":"#/components/schemas/Count"}]},
		"count":{"$ref":"#/components/schemas/Count"},
		"most":{"type":"number","maximum":3},
		"flag":{"type":"boolean"},
		"color":{"$ref":"#/components/schemas/Alias"},
		"shade":{"nullable":true,"allOf":[{"$ref":"#/components/schemas/Color"}]},
		"tint":{"type":"string","enum":["light",null]},
		"note":{"type":"string","nullable":true},
		"self":{"$ref":"#/components/schemas/Self"},
		"ids":{"type":"array","items":{"type":"string"},"maxItems":2},
		"mails":{"type":"array","items":{"type":"string","format":"email"},"minItems":1},
		"link":{"type":"string","format":"uri"},
		"both":{"allOf":[{"$ref":"#/components/schemas/Named"},{"required":["size","by"],"properties":{"name":{"maxLength":2},"size":{"nullable":true},"by":{"readOnly":true}}}]}
	}}
}}}`

func TestLimitsOfBodies(t *testing.T) {
	for _, tt := range []struct{ path, body, field string }{ // field is empty for a valid request
		{"/things", `{"text":"x"}`, ""},
		{"/things", `{}`, "text"},
		{"/things", `{"text":""}`, "text"},
		{"/things", `{"text":null}`, "text"},
		{"/things", `{"text":7}`, "text"},
		{"/things", `{"text":"ééééé"}`, ""}, // characters, not bytes
		{"/things", `{"text":"éééééé"}`, "text"},
		{"/things", `{"text":"no"}`, ""}, // a pattern is not checked
		{"/things", `{"text":"x","unknown":{"a":1}}`, ""},
		{"/things", `{"text":"x","count":1.0}`, ""},
		{"/things", `{"text":"x","count":0}`, "count"},
		{"/things", `{"text":"x","count":"1"}`, "count"},
		{"/things", `{"text":"x","count":true}`, "count"},
		{"/things", `{"text":"x","count":null}`, "count"},
		{"/things", `{"text":"x","count":1e999}`, "the body"}, // out of the range of float64
		{"/things", `{"text":"x","most":4}`, "most"},
		{"/things", `{"text":"x","flag":"no"}`, "flag"},
		{"/things", `{"text":"x","color":"red"}`, ""},
		{"/things", `{"text":"x","color":"of next year"}`, ""}, // enum values are not checked
		{"/things", `{"text":"x","color":null}`, "color"},
		{"/things", `{"text":"x","shade":null}`, ""},
		{"/things", `{"text":"x","shade":"of next year"}`, ""},
		{"/things", `{"text":"x","tint":null}`, ""},
		{"/things", `{"text":"x","tint":"of next year"}`, ""},
		{"/things", `{"text":"x","tint":7}`, "tint"},
		{"/things", `{"text":"x","note":null}`, ""},
		{"/things", `{"text":"x","self":{"any":7}}`, ""},
		{"/things", `{"text":"x","ids":["a","b"]}`, ""},
		{"/things", `{"text":"x","ids":["a","b","c"]}`, "ids"},
		{"/things", `{"text":"x","ids":["a",7]}`, "ids[1]"},
		{"/things", `{"text":"x","ids":{}}`, "ids"},
		{"/things", `{"text":"x","mails":[]}`, "mails"},
		{"/things", `{"text":"x","mails":["a@example.com","Ann <a@example.com>"]}`, "mails[1]"},
		{"/things", `{"text":"x","link":"https://example.com"}`, ""},
		{"/things", `{"text":"x","link":"no address"}`, "link"},
		{"/things", `{"text":"x","both":{"name":"a","size":null}}`, ""},
		{"/things", `{"text":"x","both":{"name":"a"}}`, "both.size"},
		{"/things", `{"text":"x","both":{"size":1}}`, "both.name"},
		{"/things", `{"text":"x","both":{"name":"abc","size":1}}`, "both.name"},
		{"/things", `{"text":"x","both":[]}`, "both"},
		{"/things", `[]`, "the body"},
		{"/things", `null`, "the body"},
		{"/things", `{`, "the body"},
		{"/any", `null`, ""},
		{"/any", `[7]`, ""},
		{"/circle", `{"x":1}`, ""},
		{"/circle", `{}`, "x"},
	} {
		req, err := http.NewRequest(http.MethodPost, "https://x"+tt.path, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		t.Run(tt.body, func(t *testing.T) { checkInvalid(t, gamma.CheckRequest(limits, req), "POST "+tt.path, tt.field) })
	}
}

func TestLimitsOfQueries(t *testing.T) {
	for query, field := range map[string]string{
		"limit=50&type=custom&all=true": "",
		"limit=51":                      "limit",
		"limit=-1":                      "limit",
		"limit=many":                    "limit",
		"page=0":                        "page",
		"page=x":                        "page",
		"type=mine":                     "", // enum values are not checked
		"all=some":                      "all",
		"tags=a&tags=b":                 "",
		"tags=a&tags=c":                 "",
		"tags=a&tags=b&tags=a":          "tags",
		"ids=1,9":                       "",
		"ids=1,10":                      "ids[1]",
		"ids=1,x":                       "ids",
		"ids=1,2,3":                     "ids",
		"words=a,b|c":                   "",
		"after=x":                       "", // a parameter of the header
	} {
		req, err := http.NewRequest(http.MethodGet, "https://x/things?"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(query, func(t *testing.T) { checkInvalid(t, gamma.CheckRequest(limits, req), "GET /things", field) })
	}
}

// Text that is not UTF-8 would be changed by encoding/json.
func TestTextMustBeUTF8(t *testing.T) {
	const create, themes = "POST /v1.0/generations", "GET /v1.0/themes"
	for _, tt := range []struct {
		name  string
		set   func(*api.GenerationRequest)
		field string // empty for a valid request
	}{
		{"a string", func(r *api.GenerationRequest) { r.InputText = "Caf\xe9" }, "inputText"},
		{"a truncated character", func(r *api.GenerationRequest) { r.InputText = "日本"[:4] }, "inputText"},
		{"a surrogate", func(r *api.GenerationRequest) { r.InputText = "\xed\xa0\x80" }, "inputText"},
		{"an enum value", func(r *api.GenerationRequest) { r.ExportAs = "pd\xff" }, "exportAs"},
		{"a replacement character", func(r *api.GenerationRequest) { r.InputText = "Caf\uFFFD" }, ""},
		{"the text of an escape", func(r *api.GenerationRequest) { r.InputText = `Caf\ufffd \\ufffd` }, ""},
		{"other escapes", func(r *api.GenerationRequest) { r.InputText = "\"\\\t\u2028<é日\U0001F600" }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s sink
			request := generation(api.GenerationRequest{InputText: "x"})
			tt.set(&request)
			_, err := s.client(t).CreateGenerationWithResponse(t.Context(), request)
			if tt.field != "" {
				checkRefusal(t, &s, err, create, tt.field)
			} else if failed(err) || s.requests != 1 {
				t.Errorf("%v, %d requests", err, s.requests)
			}
		})
	}
	o, _ := published.Operation("createGeneration")
	full := sample.As[api.GenerationRequest](published.Value(o.Body, sample.Mode{Full: true}))
	fields := map[string]bool{}
	eachText(reflect.ValueOf(&full).Elem(), "", func(field string, text reflect.Value) {
		var s sink
		valid := text.String()
		text.SetString(valid + "\xff")
		_, err := s.client(t).CreateGenerationWithResponse(t.Context(), full)
		checkRefusal(t, &s, err, create, field)
		text.SetString(valid)
		fields[field] = true
	})
	if !fields["inputText"] {
		t.Errorf("tried %v", fields)
	}
	var s sink
	_, err := s.client(t).ListThemesWithResponse(t.Context(), &api.ListThemesParams{Query: "Caf\xe9"})
	checkRefusal(t, &s, err, themes, "query")
	if _, err := s.client(t).ListThemesWithResponse(t.Context(), &api.ListThemesParams{Query: "Caf\uFFFD"}); err != nil || s.url.Query().Get("query") != "Caf\uFFFD" {
		t.Errorf("%v, sent %v", err, s.url)
	}
}

// eachText calls visit with each string in v and its JSON name.
func eachText(v reflect.Value, name string, visit func(field string, text reflect.Value)) {
	switch v.Kind() {
	case reflect.String:
		visit(name, v)
	case reflect.Pointer:
		eachText(v.Elem(), name, visit)
	case reflect.Slice:
		for i := range v.Len() {
			eachText(v.Index(i), fmt.Sprintf("%s[%d]", name, i), visit)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			if name != "" {
				field = name + "." + field
			}
			eachText(v.Field(i), field, visit)
		}
	}
}

// A body that is not built from the types of package api is checked too.
func TestBodiesMustBeUTF8(t *testing.T) {
	for _, tt := range []struct{ name, body, field string }{
		{"a string", "{\"text\":\"x\",\"note\":\"\xff\"}", "note"},
		{"the name of a property", "{\"text\":\"x\",\"map\":{\"caf\xe9\":\"a\"}}", "map.caf\ufffd"},
		{"an escaped name", `{"text":"x","map":{"caf\ufffd":"a"}}`, "map.caf\ufffd"},
		{"a list of objects", `{"text":"x","list":[[],[7,{"a":"\ufffd"}]]}`, "list[1][1].a"},
		{"the first of two", `{"text":"\ufffd","note":"\ufffd"}`, "note"},
		{"an escaped surrogate", `{"text":"x","note":"\ud800"}`, "note"},
		{"names with a replacement character and an escaped backslash", "{\"text\":\"x\",\"\ufffd\":{\"\\\\ufffd\":1}}", ""},
		{"an escape after a backslash", `{"text":"x","note":"\\\ufffd"}`, "note"},
	} {
		req, err := http.NewRequest(http.MethodPost, "https://x/things", strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		t.Run(tt.name, func(t *testing.T) { checkInvalid(t, gamma.CheckRequest(limits, req), "POST /things", tt.field) })
	}
	req, err := http.NewRequest(http.MethodPost, "https://x/any", strings.NewReader("\"\xff\""))
	if err != nil {
		t.Fatal(err)
	}
	checkInvalid(t, gamma.CheckRequest(limits, req), "POST /any", "the body")
	for query, field := range map[string]string{
		"tags=a&tags=%ff": "tags[1]",
		"type=%ff":        "type",
		"type=%ef%bf%bd":  "",
	} {
		req, err := http.NewRequest(http.MethodGet, "https://x/things?"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(query, func(t *testing.T) { checkInvalid(t, gamma.CheckRequest(limits, req), "GET /things", field) })
	}
}

// checkInvalid checks that err is an InvalidRequestError for field, or nil if field is empty.
func checkInvalid(t *testing.T, err error, operation, field string) {
	t.Helper()
	var invalid *gamma.InvalidRequestError
	switch {
	case field == "" && err == nil:
	case field == "" || !errors.As(err, &invalid) || invalid.Operation != operation || invalid.Field != field || invalid.Reason == "":
		t.Errorf("%v, want an InvalidRequestError for %q", err, field)
	default:
		checkText(t, err)
	}
}

// A query that the document has no limits for is sent unchanged.
func TestQueriesAreSentUnchanged(t *testing.T) {
	var s sink
	params := &api.ListThemesParams{Query: "a&b=c d", After: "c+/="}
	if _, err := s.client(t).ListThemesWithResponse(t.Context(), params); err != nil {
		t.Fatal(err)
	}
	if q := s.url.Query(); q.Get("query") != params.Query || q.Get("after") != params.After || len(q) != 2 {
		t.Errorf("sent %s", s.url)
	}
	if _, err := s.client(t).ListThemesWithResponse(t.Context(), &api.ListThemesParams{}); err != nil || s.url.RawQuery != "" {
		t.Errorf("%v, sent the query %q", err, s.url.RawQuery)
	}
}

// checkRefusal checks that err is an InvalidRequestError for field and that s got no request.
func checkRefusal(t *testing.T, s *sink, err error, operation, field string) {
	t.Helper()
	if err == nil || s.requests != 0 {
		t.Errorf("%s: %v, %d requests", operation, err, s.requests)
	}
	checkInvalid(t, err, operation, field)
}

// A body without GetBody is not checked.
func TestBodiesWithoutGetBodyAreSent(t *testing.T) {
	var s sink
	if _, err := s.client(t).CreateGenerationWithBodyWithResponse(t.Context(), "application/json", io.MultiReader(strings.NewReader(`{}`))); failed(err) || s.body != `{}` {
		t.Errorf("%v, sent %q", err, s.body)
	}
	s = sink{}
	_, err := s.client(t).CreateGenerationWithBodyWithResponse(t.Context(), "application/json", strings.NewReader(`{}`))
	if err == nil || s.requests != 0 {
		t.Errorf("%v, sent %q", err, s.body)
	}
}

// A body that is not JSON is not checked.
func TestBodiesOfAnotherTypeAreNotChecked(t *testing.T) {
	for kind, field := range map[string]string{
		"":                                "text",
		"application/json; charset=utf-8": "text",
		"application/merge-patch+json":    "text",
		"multipart/form-data; boundary=x": "",
	} {
		req, err := http.NewRequest(http.MethodPost, "https://x/things", strings.NewReader(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		if kind != "" {
			req.Header.Set("Content-Type", kind)
		}
		t.Run(kind, func(t *testing.T) { checkInvalid(t, gamma.CheckRequest(limits, req), "POST /things", field) })
	}
}

// A request has the fields that the caller set, and no others.
func TestRequestBodies(t *testing.T) {
	o, _ := published.Operation("createGeneration")
	for _, body := range []string{
		`{"inputText":"x"}`,
		`{"inputText":"x","numCards":12,"textOptions":{"amount":"brief"}}`,
		`{"cardOptions":{"headerFooter":{"hideFromFirstCard":false,"hideFromLastCard":true}},"inputText":"x"}`,
		`{"inputText":"x","sharingOptions":{"emailOptions":{"recipients":["a@example.com"]}}}`,
	} {
		var set any
		if err := json.Unmarshal([]byte(body), &set); err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(published.Complete(o.Body, sample.Mode{}, set))
		if err != nil {
			t.Fatal(err)
		}
		var s sink
		if _, err := s.client(t).CreateGenerationWithResponse(t.Context(), request(body)); failed(err) || s.body != string(want) {
			t.Errorf("%v, sent\n%s\nwant\n%s", err, s.body, want)
		}
	}
}

// FuzzRequest checks that a request is either not sent, with an error that names a field,
// or sent as JSON with the caller's values.
func FuzzRequest(f *testing.F) {
	f.Add("A short history of tea", "presentation", "tone", "a@example.com", "https://example.com/logo.png", 10)
	f.Add("", "slides", strings.Repeat("x", 501), "@", ":", -1)
	f.Add("\xff\x00", "", "", "", "", 0)
	f.Fuzz(func(t *testing.T, text, format, tone, recipient, src string, cards int) {
		var body []byte
		client := newFakeClient(t, func(req *http.Request) (*http.Response, error) {
			body, _ = io.ReadAll(req.Body)
			return reply(200, "application/json", `{"generationId":"gen1"}`), nil
		})
		request := generation(sample.As[api.GenerationRequest](map[string]any{
			"format":         format,
			"numCards":       cards,
			"textOptions":    map[string]any{"tone": tone},
			"sharingOptions": map[string]any{"emailOptions": map[string]any{"recipients": []string{recipient}}},
			"cardOptions":    map[string]any{"headerFooter": map[string]any{"topLeft": map[string]any{"type": "image", "src": src}}},
		}))
		request.InputText = text
		_, err := client.CreateGeneration(t.Context(), request)
		var invalid *gamma.InvalidRequestError
		if err != nil {
			if !errors.As(err, &invalid) || invalid.Field == "" || body != nil {
				t.Fatalf("%v, sent %q", err, body)
			}
			return
		}
		if !utf8.ValidString(text) {
			t.Fatalf("sent %q for %q", body, text)
		}
		var sent, want any
		whole, _ := json.Marshal(request)
		if json.Unmarshal(body, &sent) != nil || json.Unmarshal(whole, &want) != nil || fmt.Sprint(sent) != fmt.Sprint(want) {
			t.Fatalf("sent %q, want %q", body, whole)
		}
	})
}
