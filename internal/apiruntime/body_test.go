package apiruntime

import (
	"encoding/json"
	"testing"
)

// decoded returns what Decode reads, as JSON.
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

func TestExactNameCounts(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"exact name first", `{"id":"a","status":"pending","STATUS":"failed"}`, `{"id":"a","status":"pending"}`},
		{"exact name last", `{"id":"a","STATUS":"failed","status":"pending"}`, `{"id":"a","status":"pending"}`},
		{"exact name between", `{"id":"a","Status":"x","status":"pending","STATUS":"y"}`, `{"id":"a","status":"pending"}`},
		{"only the other spelling", `{"ID":"a","Status":"failed"}`, `{"id":"a","status":"failed"}`},
		{"two other spellings", `{"id":"a","cost":{},"Status":"x","STATUS":"y"}`, `{"id":"a","status":"x","cost":{}}`},
		{"an empty name", `{"":"b","ID":"a","status":"x"}`, `{"id":"a","status":"x"}`},
		{"exact name twice", `{"id":"a","status":"x","status":"y"}`, `{"id":"a","status":"y"}`},
		{"long s", `{"id":"a","status":"pending","ſtatus":"failed"}`, `{"id":"a","status":"pending"}`},
		{"only the long s", `{"id":"a","ſtatus":"failed"}`, `{"id":"a","status":"failed"}`},
		{"Kelvin sign", `{"id":"a","status":"x","task":"t","tasK":"K","tas` + "\u212a" + `":"K"}`, `{"id":"a","status":"x","task":"t"}`},
		{"another spelling with an escape", `{"id":"a","status":"pending","\u0053tatus":"failed"}`, `{"id":"a","status":"pending"}`},
		{"exact name with an escape", `{"id":"a","\u0073tatus":"pending","Status":"failed"}`, `{"id":"a","status":"pending"}`},
		{"spaces before the colon", "{\"id\":\"a\",\"status\" \r\n\t: \"pending\",\"STATUS\" \r\n\t: \"failed\"}", `{"id":"a","status":"pending"}`},
		{"an exact name that is null", `{"id":"a","STATUS":"failed","status":null}`, `{"id":"a","status":""}`},
		{"another spelling of another type", `{"id":"a","status":"pending","STATUS":5}`, `{"id":"a","status":"pending"}`},
		{"a value that reads like a name", `{"id":"STATUS","status":"\"STATUS\":1\\"}`, `{"id":"STATUS","status":"\"STATUS\":1\\"}`},
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
		t.Errorf("a list alone is %s, want %s", got, want)
	}
}

func TestNumbersAndBooleansInStrings(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"a number", `{"paid":"40"}`, `{"paid":40}`},
		{"a fraction", `{"paid":"-1.5e1"}`, `{"paid":-15}`},
		{"a boolean", `{"free":"false"}`, `{"free":false}`},
		{"a number beside the rest", `{"paid":"40","free":true,"kind":"x"}`, `{"paid":40,"free":true,"kind":"x"}`},
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
			// Whatever credits are, the rest of the status can be read.
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

// A property that is left out does not take others with it.
func TestOddListsAndMaps(t *testing.T) {
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

// BenchmarkDecode reads the statuses that a poll gets.
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
