package riverwait

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

func TestWithoutNUL(t *testing.T) {
	for name, row := range map[string]struct{ in, want string }{
		"none":                     {`{"a":"b"}`, `{"a":"b"}`},
		"one":                      {`{"a":"\u0000"}`, `{"a":"\ufffd"}`},
		"after a backslash":        {`{"a":"\\\u0000"}`, `{"a":"\\\ufffd"}`},
		"a backslash and u0000":    {`{"a":"\\u0000"}`, `{"a":"\\u0000"}`},
		"both":                     {`{"a":"\\u0000\u0000"}`, `{"a":"\\u0000\ufffd"}`},
		"after an escaped quote":   {`{"a":"\"\u0000"}`, `{"a":"\"\ufffd"}`},
		"in a name, and in a list": {`{"\u0000":["\u0000",1]}`, `{"\ufffd":["\ufffd",1]}`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := string(withoutNUL([]byte(row.in))); got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
}

// For any text from the server, the output is JSON that jsonb can hold, with the same text.
func FuzzEncode(f *testing.F) {
	f.Add("no\x00good", `\u0000`, "completed")
	f.Add("\xff", "https://export.example/a?b=c&d=<e>", "failed")
	f.Add(`\`, "\x00\\\x00", "expired")
	f.Fuzz(func(t *testing.T, message, link, status string) {
		encoded, err := encode(poller.Result{Generation: &api.GenerationStatusResponse{
			GenerationID: "g1", Status: api.GenerationStatus(status), ExportURL: link, Error: &api.ErrorResponse{Message: message, StatusCode: 400},
		}})
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(encoded) {
			t.Fatalf("%s is not JSON", encoded)
		}
		var gen api.GenerationStatusResponse
		if err := json.Unmarshal(encoded, &gen); err != nil {
			t.Fatal(err)
		}
		for got, sent := range map[string]string{gen.ExportURL: link, gen.Error.Message: message, string(gen.Status): status} {
			if want := strings.ReplaceAll(strings.ToValidUTF8(sent, "\ufffd"), "\x00", "\ufffd"); strings.ToValidUTF8(sent, "") == sent && got != want {
				t.Errorf("%q became %q", sent, got)
			}
		}
	})
}
