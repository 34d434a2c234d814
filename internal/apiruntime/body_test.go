package apiruntime

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// decoded returns the result of Decode as JSON.
func decoded[T any](t *testing.T, in string) string {
	t.Helper()
	var got T
	if err := Decode([]byte(in), &got); err != nil {
		return "error"
	}
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

type job struct {
	ID     string            `json:"id"`
	Status string            `json:"status"`
	Task   string            `json:"task,omitempty"`
	Cost   *cost             `json:"cost,omitempty"`
	Parts  []cost            `json:"parts,omitempty"`
	ByName map[string]cost   `json:"byName,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
}

type cost struct {
	Paid *float64 `json:"paid,omitempty"`
	Free *bool    `json:"free,omitempty"`
	Kind string   `json:"kind,omitempty"`
}

func TestDecodeExactName(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"exact name first", `{"id":"a","status":"pending","STATUS":"failed"}`, `{"id":"a","status":"pending"}`},
		{"exact name last", `{"id":"a","STATUS":"failed","status":"pending"}`, `{"id":"a","status":"pending"}`},
		{"exact name between", `{"id":"a","Status":"x","status":"pending","STATUS":"y"}`, `{"id":"a","status":"pending"}`},
		{"only another case", `{"ID":"a","Status":"failed"}`, `{"id":"a","status":"failed"}`},
		{"two other cases", `{"id":"a","cost":{},"Status":"x","STATUS":"y"}`, `{"id":"a","status":"x","cost":{}}`},
		{"an empty name", `{"":"b","ID":"a","status":"x"}`, `{"id":"a","status":"x"}`},
		{"exact name twice", `{"id":"a","status":"x","status":"y"}`, `{"id":"a","status":"y"}`},
		{"long s", `{"id":"a","status":"pending","ſtatus":"failed"}`, `{"id":"a","status":"pending"}`},
		{"only the long s", `{"id":"a","ſtatus":"failed"}`, `{"id":"a","status":"failed"}`},
		{"Kelvin sign", `{"id":"a","status":"x","task":"t","tasK":"K","tas` + "\u212a" + `":"K"}`, `{"id":"a","status":"x","task":"t"}`},
		{"another case with an escape", `{"id":"a","status":"pending","\u0053tatus":"failed"}`, `{"id":"a","status":"pending"}`},
		{"exact name with an escape", `{"id":"a","\u0073tatus":"pending","Status":"failed"}`, `{"id":"a","status":"pending"}`},
		{"spaces before the colon", "{\"id\":\"a\",\"status\" \r\n\t: \"pending\",\"STATUS\" \r\n\t: \"failed\"}", `{"id":"a","status":"pending"}`},
		{"exact name is null", `{"id":"a","STATUS":"failed","status":null}`, `{"id":"a","status":""}`},
		{"another case of another type", `{"id":"a","status":"pending","STATUS":5}`, `{"id":"a","status":"pending"}`},
		{"a value that looks like a name", `{"id":"STATUS","status":"\"STATUS\":1\\"}`, `{"id":"STATUS","status":"\"STATUS\":1\\"}`},
		{"in an object", `{"id":"a","status":"x","cost":{"paid":1,"Paid":2,"FREE":true}}`, `{"id":"a","status":"x","cost":{"paid":1,"free":true}}`},
		{"in a list", `{"id":"a","status":"x","parts":[{"paid":1,"Paid":2},{"PAID":3}]}`, `{"id":"a","status":"x","parts":[{"paid":1},{"paid":3}]}`},
		{"in a map", `{"id":"a","status":"x","byName":{"Paid":{"paid":1,"Paid":2},"paid":{"PAID":3}}}`, `{"id":"a","status":"x","byName":{"Paid":{"paid":1},"paid":{"paid":3}}}`},
		{"names of a map", `{"id":"a","status":"x","labels":{"status":"1","STATUS":"2"}}`, `{"id":"a","status":"x","labels":{"STATUS":"2","status":"1"}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := decoded[job](t, tt.in); got != tt.want {
				t.Errorf("Decode(%s) = %s, want %s", tt.in, got, tt.want)
			}
		})
	}
	if got, want := decoded[[]cost](t, `[{"kind":"a","Kind":"b"}]`), `[{"kind":"a"}]`; got != want {
		t.Errorf("a list: %s, want %s", got, want)
	}
}

func TestDecodeNumbersAndBooleansInStrings(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"a number", `{"paid":"40"}`, `{"paid":40}`},
		{"a fraction", `{"paid":"-1.5e1"}`, `{"paid":-15}`},
		{"a boolean", `{"free":"false"}`, `{"free":false}`},
		{"a number and other properties", `{"paid":"40","free":true,"kind":"x"}`, `{"paid":40,"free":true,"kind":"x"}`},
		{"null", `{"paid":null}`, `{}`},
		{"null in a string", `{"paid":"null"}`, `{}`},
		{"an empty string", `{"paid":""}`, `{}`},
		{"spaces around a number", `{"paid":" 40"}`, `{}`},
		{"a plus sign", `{"paid":"+40"}`, `{}`},
		{"a leading zero", `{"paid":"040"}`, `{}`},
		{"a hexadecimal number", `{"paid":"0x28"}`, `{}`},
		{"not a number", `{"paid":"NaN"}`, `{}`},
		{"a number that is too large", `{"paid":"1e400"}`, `{}`},
		{"a boolean for a number", `{"paid":"true"}`, `{}`},
		{"a number for a boolean", `{"free":"1"}`, `{}`},
		{"a boolean in capitals", `{"free":"TRUE"}`, `{}`},
		{"an object", `{"paid":{"amount":40}}`, `{}`},
		{"a list", `{"paid":[40]}`, `{}`},
		{"a string in a string", `{"kind":"40"}`, `{"kind":"40"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// The other properties are read whatever cost is.
			in, want := `{"id":"a","status":"completed","cost":`+tt.in+`}`, `{"id":"a","status":"completed","cost":`+tt.want+`}`
			if got := decoded[job](t, in); got != want {
				t.Errorf("Decode(%s) = %s, want %s", in, got, want)
			}
		})
	}
	type page struct {
		More bool    `json:"more"`
		Size int     `json:"size"`
		Rate float64 `json:"rate"`
	}
	for in, want := range map[string]string{
		`{"more":"true","size":"3","rate":"0.5"}`: `{"more":true,"size":3,"rate":0.5}`,
		`{"more":"yes","size":3,"rate":1}`:        "error",
		`{"more":true,"size":"3.5","rate":1}`:     "error",
	} {
		if got := decoded[page](t, in); got != want {
			t.Errorf("Decode(%s) = %s, want %s", in, got, want)
		}
	}
}

// A property that is ignored does not affect the others.
func TestDecodeListsAndMapsOfUnexpectedTypes(t *testing.T) {
	for in, want := range map[string]string{
		`"parts":[{"kind":1,"paid":2}]`:           `,"parts":[{"paid":2}]`,
		`"parts":[{"kind":"a"},5]`:                ``,
		`"parts":null,"byName":null,"cost":5`:     ``,
		`"byName":{"a":{"paid":2},"b":null}`:      `,"byName":{"a":{"paid":2},"b":{}}`,
		`"byName":{"a":5},"parts":[{"kind":"a"}]`: `,"parts":[{"kind":"a"}]`,
		`"byName":[],"labels":{"a":1},"Task":"t"`: `,"task":"t"`,
	} {
		in = `{"id":"a","status":"x",` + in + `}`
		want = `{"id":"a","status":"x"` + want + `}`
		if got := decoded[job](t, in); got != want {
			t.Errorf("Decode(%s) = %s, want %s", in, got, want)
		}
	}
}

// BenchmarkDecode decodes the responses to polls.
func BenchmarkDecode(b *testing.B) {
	type poll struct {
		Credits      *struct{ Deducted, Remaining *float64 } `json:"credits,omitempty"`
		Error        *status                                 `json:"error,omitempty"`
		ExportURL    string                                  `json:"exportUrl,omitempty"`
		GammaID      string                                  `json:"gammaId,omitempty"`
		GammaURL     string                                  `json:"gammaUrl,omitempty"`
		GenerationID string                                  `json:"generationId"`
		Status       string                                  `json:"status"`
	}
	for _, bb := range []struct{ name, body string }{
		{"pending", `{"generationId":"gen1","status":"pending"}`},
		{"with other properties", `{"generationId":"gen1","status":"pending","title":"t","progress":5,"stage":"text"}`},
		{"completed", `{"generationId":"gen1","status":"completed","gammaId":"g_abcdef123456","gammaUrl":"https://gamma.app/docs/abcdef123456","exportUrl":"https://assets.api.gamma.app/export/pdf/abcdef123456/0123456789abcdef/Deck.pdf?signature=0123456789abcdef","credits":{"deducted":25,"remaining":4975}}`},
	} {
		b.Run(bb.name, func(b *testing.B) {
			data := []byte(bb.body)
			b.ReportAllocs()
			for b.Loop() {
				var got poll
				if err := Decode(data, &got); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type credits struct {
	Deducted float64 `json:"deducted"`
}

type status struct {
	ID      string   `json:"id"`
	Ready   bool     `json:"ready"`
	Note    string   `json:"note,omitempty"`
	Credits *credits `json:"credits,omitempty"`
	Tags    []string `json:"tags,omitzero"`
}

func TestDecode(t *testing.T) {
	tests := []struct {
		in   string
		want string // as JSON; empty for an error
	}{
		{`{"id":"a","ready":true}`, `{"id":"a","ready":true}`},
		{`{"ready":false}`, `{"id":"","ready":false}`},
		{`{"id":"a","note":1,"credits":"x","tags":{}}`, `{"id":"a","ready":false}`},
		{`{"id":"a","NOTE":1,"Credits":[]}`, `{"id":"a","ready":false}`},
		{`{"id":"a","note":"n","credits":{"deducted":"x"},"tags":["t"]}`, `{"id":"a","ready":false,"note":"n","credits":{"deducted":0},"tags":["t"]}`},
		{`{"id":"a","credits":{"deducted":1e400}}`, `{"id":"a","ready":false,"credits":{"deducted":0}}`},
		{`{"id":"a","note":null,"credits":null}`, `{"id":"a","ready":false}`},
		{`{"id":1,"note":"n"}`, ``},
		{`{"note":1,"id":1}`, ``},
		{`{"note":"n"}`, ``},
		{`{"note":5}`, ``},
		{`{"id":"a","ID":"b","note":1,"Id":"c"}`, `{"id":"a","ready":false}`},
		{`{"Id":"c","ID":"b","note":1,"id":"a"}`, `{"id":"a","ready":false}`},
		{` {"id":"a","id":"b","note":1}`, `{"id":"b","ready":false}`},
		{`{"id":"a","note":1,"ID":1}`, `{"id":"a","ready":false}`},
		{`{"id":1,"note":1,"ID":"a"}`, ``},
		{`{"id":null}`, ``},
		{`{}`, ``},
		{`null`, ``},
		{`[]`, ``},
		{`"a"`, ``},
		{``, ``},
		{`{"id":"a"`, ``},
		{`{"id":"a"}}`, ``},
	}
	for _, tt := range tests {
		var got status
		err := Decode([]byte(tt.in), &got)
		text, _ := json.Marshal(got)
		if (err == nil) != (tt.want != "") || err == nil && string(text) != tt.want {
			t.Errorf("Decode(%s) = %s, %v, want %q", tt.in, text, err, tt.want)
		}
	}
	var many status
	if err := Decode([]byte(`{"id":"a","note":"`+strings.Repeat(`,[{\"`, 20000)+`"}`), &many); err != nil || len(many.Note) != 80000 {
		t.Errorf("a long string: %v", err)
	}
	if err := Decode([]byte(`{"id":"a","tags":[`+strings.Repeat(`"",`, 20000)+`""]}`), &many); err == nil {
		t.Error("20,000 values: no error")
	}
	var list []credits
	if err := Decode([]byte(`[{"deducted":1}]`), &list); err != nil || len(list) != 1 {
		t.Errorf("a list: %v, %v", list, err)
	}
	if err := Decode([]byte(`[1]`), &list); err == nil {
		t.Error("a list of another type: no error")
	}
	if err := Decode([]byte(` null `), &list); err == nil {
		t.Error("null for a list: no error")
	}
	if err := Decode([]byte(`null`), new(string)); err == nil {
		t.Error("null for a string: no error")
	}
	type page struct {
		Data []status `json:"data"`
	}
	for in, want := range map[string]string{
		`{"data":[{"id":"a","note":1},{"id":"b","note":"n"}]}`: `{"data":[{"id":"a","ready":false},{"id":"b","ready":false,"note":"n"}]}`,
		`{"data":[]}`:                            `{"data":[]}`,
		`{"data":[{"id":"a"},{},null]}`:          `{"data":[{"id":"a","ready":false},{"id":"","ready":false},{"id":"","ready":false}]}`,
		`{"data":[{"id":"a","note":1},{},null]}`: `{"data":[{"id":"a","ready":false},{"id":"","ready":false},{"id":"","ready":false}]}`,
		`{"data":[{"id":"a"},{"id":7}]}`:         ``,
		`{"data":[{"id":"a"},7]}`:                ``,
		`{"data":{"id":"a"}}`:                    ``,
	} {
		var got page
		err := Decode([]byte(in), &got)
		text, _ := json.Marshal(got)
		if (err == nil) != (want != "") || err == nil && string(text) != want {
			t.Errorf("Decode(%s) = %s, %v, want %q", in, text, err, want)
		}
	}
	var optional struct {
		Note string `json:"note,omitempty"`
	}
	if err := Decode([]byte(`{}`), &optional); err != nil {
		t.Errorf("an object without required properties: %v", err)
	}
	if err := Decode([]byte(`null`), &optional); err == nil {
		t.Error("null for an object: no error")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"id":"a","ready":true,"note":1,"credits":{"deducted":"x"},"tags":[1]}`))
	f.Add([]byte(`{"id":1}`))
	f.Add([]byte(`{"ID":"a","iD":2,"credits":{"DEDUCTED":[]}}`))
	f.Add([]byte(`{"id":"a","\u0049d":"b","ready":"true","credits":{"deducted":"-1.5e3","deducteD":2}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var got status
		err := Decode(data, &got)
		if err == nil && !json.Valid(data) {
			t.Fatalf("%q is not JSON: no error", data)
		}
		// Without repeated names and names in another case, the result is that of
		// encoding/json.
		var object map[string]any
		if err != nil || json.Unmarshal(data, &object) != nil {
			return
		}
		data, err = json.Marshal(object)
		var fast, slow status
		if err != nil || json.Unmarshal(data, &fast) != nil || hasOtherSpelling(data, properties(reflect.TypeFor[status]()).names) {
			return
		}
		if err := decode(data, reflect.ValueOf(&slow).Elem(), false); err != nil || !reflect.DeepEqual(fast, slow) {
			t.Fatalf("%s: %+v, %v, want %+v", data, slow, err, fast)
		}
	})
}

func TestReadBody(t *testing.T) {
	if data, err := ReadBody(&http.Response{Body: io.NopCloser(strings.NewReader("body"))}); string(data) != "body" || err != nil {
		t.Errorf("ReadBody = %q, %v", data, err)
	}
	body := []byte("body")
	rsp := &http.Response{Body: NewBody(body)}
	data, err := ReadBody(rsp)
	if err != nil || &data[0] != &body[0] {
		t.Errorf("a Body was copied, or %v", err)
	}
	if again, err := io.ReadAll(rsp.Body); string(again) != "body" || err != nil || rsp.Body.Close() != nil {
		t.Errorf("reading a Body gave %q, %v", again, err)
	}
	broken := io.MultiReader(strings.NewReader("x"), iotest.ErrReader(io.ErrUnexpectedEOF))
	if _, err := ReadBody(&http.Response{Body: io.NopCloser(broken)}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a truncated body: %v", err)
	}
}

func TestIsJSON(t *testing.T) {
	for value, want := range map[string]bool{
		"application/json":                   true,
		"application/json; charset=utf-8":    true,
		"APPLICATION/JSON;charset=x":         true,
		"application/problem+json":           true,
		"application/json; bad parameter ;":  true,
		"text/html":                          false,
		"text/json+html; x=application/json": false,
		"application/jsonx":                  false,
		"image/svg+json":                     false,
		"":                                   false,
		"/":                                  false,
	} {
		rsp := &http.Response{Header: http.Header{"Content-Type": {value}}}
		if got := IsJSON(rsp); got != want {
			t.Errorf("IsJSON(%q) = %v", value, got)
		}
	}
	if !IsJSON(&http.Response{}) {
		t.Error("no Content-Type: not JSON")
	}
}

func TestUnexpected(t *testing.T) {
	rsp := &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/html\x1b"}}}
	cause := errors.New("quotes the body")
	for _, tt := range []struct {
		cause error
		want  string
	}{
		{nil, `gamma: GET /x: status 200 with a body of type "text/html\x1b"`},
		{cause, `gamma: GET /x: status 200 with a body that is not the documented JSON`},
	} {
		err := Unexpected("GET /x", rsp, tt.cause)
		if err.Error() != tt.want || !errors.Is(err, ErrUnexpectedResponse) || tt.cause != nil && !errors.Is(err, tt.cause) {
			t.Errorf("Unexpected = %q, want %q", err, tt.want)
		}
	}
}
