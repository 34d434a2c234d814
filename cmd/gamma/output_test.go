package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

func generation(t *testing.T, text string) *api.GenerationStatusResponse {
	t.Helper()
	gen := new(api.GenerationStatusResponse)
	if err := json.Unmarshal([]byte(text), gen); err != nil {
		t.Fatal(err)
	}
	return gen
}

func TestPrint(t *testing.T) {
	completed := generation(t, `{"generationId":"gen1","status":"completed","gammaUrl":"https://gamma.app/docs/x","exportUrl":"https://secret.example/x.pdf"}`)
	failed := generation(t, `{"generationId":"gen1","status":"failed","error":{"message":"No text.","statusCode":422}}`)
	for _, tt := range []struct {
		name         string
		record       record
		stdout, json string
		stderr       string
	}{
		{
			"completed", record{GenerationID: "gen1", Generation: completed},
			"gen1\tcompleted\thttps://gamma.app/docs/x\n",
			`{"exportUrl":"https://secret.example/x.pdf","gammaUrl":"https://gamma.app/docs/x","generationId":"gen1","status":"completed"}`, "",
		},
		{
			"saved", record{Input: "a.md", GenerationID: "gen1", Generation: completed, Saved: "out/a.pdf"},
			"gen1\tcompleted\tout/a.pdf\ta.md\n",
			`{"gammaUrl":"https://gamma.app/docs/x","generationId":"gen1","input":"a.md","saved":"out/a.pdf","status":"completed"}`, "",
		},
		{
			"created, with a warning", record{Input: "a.md", GenerationID: "gen1", Warnings: "numCards ignored"},
			"gen1\t-\t-\ta.md\n",
			`{"generationId":"gen1","input":"a.md","warnings":"numCards ignored"}`, "gamma: a.md: warning: numCards ignored\n",
		},
		{
			"failed", record{Input: "a.md", GenerationID: "gen1", Generation: failed, Err: failure("gen1", failed)},
			"",
			`{"error":{"code":"failed","message":"No text.","statusCode":422},"generationId":"gen1","input":"a.md","status":"failed"}`,
			"gamma: a.md: generation gen1 failed: No text. (422 Unprocessable Entity)\n",
		},
		{
			"failed without a reason", record{GenerationID: "gen1", Err: &poller.FailedError{Progress: poller.Progress{ID: "gen1"}}},
			"",
			`{"error":{"code":"failed","message":"generation gen1 failed"},"generationId":"gen1"}`, "gamma: generation gen1 failed\n",
		},
		{
			"not saved", record{GenerationID: "gen1", Generation: completed, Err: saveError{&gamma.APIError{Operation: "GET export", StatusCode: 500, RequestID: "r1"}}},
			"",
			`{"error":{"code":"save_failed","message":"GET export: 500 Internal Server Error (request r1)","requestId":"r1","statusCode":500},"exportUrl":"https://secret.example/x.pdf","gammaUrl":"https://gamma.app/docs/x","generationId":"gen1","status":"completed"}`,
			"gamma: GET export: 500 Internal Server Error (request r1) (generation gen1)\n",
		},
		{
			"a request that the document forbids", record{Input: "a.md", Err: &gamma.InvalidRequestError{Operation: "POST x", Field: "numCards", Reason: "is too large"}},
			"",
			`{"error":{"code":"invalid_request","field":"numCards","message":"POST x: numCards is too large"},"input":"a.md"}`,
			"gamma: a.md: POST x: numCards is too large\n",
		},
		{
			"control characters", record{Input: "a\x1b[2J\u202e.md", GenerationID: "gen1"},
			"gen1\t-\t-\ta\\x1b[2J\\u202e.md\n",
			`{"generationId":"gen1","input":"a\u001b[2J\u202e.md"}`, "",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, stdout, stderr := newTestApp(nil)
			if err := a.print(tt.record); err != nil || stdout.String() != tt.stdout || stderr.String() != tt.stderr {
				t.Errorf("%v\n%q, want\n%q\nand %q, want\n%q", err, stdout, tt.stdout, stderr, tt.stderr)
			}
			a, stdout, stderr = newTestApp(nil)
			a.json = true
			if err := a.print(tt.record); err != nil || stdout.String() != tt.json+"\n" || stderr.Len() > 0 {
				t.Errorf("%v %q\n%s, want\n%s", err, stderr, stdout, tt.json)
			}
		})
	}
}

// JSON output can be decoded to the same value, and has only printable characters.
func FuzzPrintJSON(f *testing.F) {
	f.Add("a\u202e\u009b\U000e0001\x7f\xff\n\u2028<&>")
	f.Fuzz(func(t *testing.T, input string) {
		a, stdout, _ := newTestApp(nil)
		if err := a.printJSON(map[string]string{"input": input}); err != nil {
			t.Fatal(err)
		}
		if strings.Count(stdout.String(), "\n") != 1 || printable(strings.TrimSuffix(stdout.String(), "\n")) != strings.TrimSuffix(stdout.String(), "\n") {
			t.Errorf("%q", stdout)
		}
		var back map[string]string
		if err := json.Unmarshal(stdout.Bytes(), &back); err != nil || back["input"] != strings.ToValidUTF8(input, "\ufffd") && back["input"] != fixed(input) {
			t.Errorf("%v %q, want %q", err, back["input"], input)
		}
	})
}

// fixed replaces each invalid byte, as encoding/json does.
func fixed(s string) string { return string([]rune(s)) }

func TestErrorWithoutGeneration(t *testing.T) {
	a, stdout, stderr := newTestApp(nil)
	a.json = true
	if code := a.finish(errors.New("gamma: no such thing")); code != 1 || stderr.Len() > 0 ||
		stdout.String() != `{"error":{"code":"other","message":"no such thing"}}`+"\n" {
		t.Errorf("%d %q %q", code, stdout, stderr)
	}
}
