package gamma_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/apiruntime"
	"github.com/gamma-sdk/gamma-go/internal/test/sample"
)

// Whatever the server answers to whichever operation, nothing panics, pages come to
// an end, and the key shows nowhere.
func FuzzOperations(f *testing.F) {
	f.Add(200, `{"generationId":"gen1","warnings":"numCards was lowered"}`)
	f.Add(201, `{"generationId":"../x","warnings":[{"code":"a"}]}`)
	f.Add(200, `{"data":[{"id":"a","name":"b","type":"standard"}],"hasMore":true,"nextCursor":"c"}`)
	f.Add(200, `{"data":[],"hasMore":true,"nextCursor":null}`)
	f.Add(200, `{"gammaId":"g_1","archived":true,"status":"deleted","message":"`+key+`"}`)
	f.Add(429, `{"message":["a","`+strings.ReplaceAll(key, "s", `\u0073`)+`"]}`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 100 || status > 999 || status == http.StatusTooManyRequests {
			return // Create would wait
		}
		sent := 0
		client := answering(t, func(*http.Request) (*http.Response, error) {
			if sent++; sent > 1000 {
				t.Fatal("it asks for ever")
			}
			return reply(status, "application/json", body), nil
		})
		ctx := t.Context()
		check := func(value any, err error) {
			dump, _ := json.Marshal(value)
			if text := fmt.Sprintf("%s %+v %v", dump, value, err); strings.Contains(text, key) {
				t.Fatalf("the key shows in %s", text)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "gamma: ") {
				t.Fatalf("%q", err)
			}
		}
		created, err := client.CreateGeneration(ctx, generation(api.GenerationRequest{InputText: "x"}))
		check(created, err)
		if err == nil && apiruntime.CheckPathParam("the id", created.GenerationID) != nil {
			t.Fatalf("created %+v", created)
		}
		if err != nil && status/100 == 2 && !errors.Is(err, gamma.ErrMaybeCreated) {
			t.Fatalf("status %d may have created one: %v", status, err)
		}
		for theme, err := range client.Themes(ctx, nil) {
			check(theme, err)
		}
		for folder, err := range client.Folders(ctx, sample.As[*api.ListFoldersParams](map[string]any{"limit": 1})) {
			check(folder, err)
		}
		for _, o := range published.Operations {
			rsp, err := published.Call(ctx, client, o, sample.Mode{}, nil)
			check(rsp, err)
		}
	})
}

// A request is either refused with an error that names a field, or sent as valid
// JSON that says what the caller said.
func FuzzRequest(f *testing.F) {
	f.Add("A short history of tea", "presentation", "tone", "a@example.com", "https://example.com/logo.png", 10)
	f.Add("", "slides", strings.Repeat("x", 501), "@", ":", -1)
	f.Add("\xff\x00", "", "", "", "", 0)
	f.Fuzz(func(t *testing.T, text, format, tone, recipient, src string, cards int) {
		var body []byte
		client := answering(t, func(req *http.Request) (*http.Response, error) {
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
