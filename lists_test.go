package gamma_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/test/sample"
)

// library is a transport that serves pages by cursor. It records each path and query.
func library(pages map[string]string, queries *[]string) roundTripper {
	return func(req *http.Request) (*http.Response, error) {
		*queries = append(*queries, req.URL.Path+"?"+req.URL.Query().Encode()) // sorted
		return reply(200, "application/json", pages[req.URL.Query().Get("after")]), nil
	}
}

// An optional property of an unexpected type hides neither the theme nor the others.
func TestThemesWithUnexpectedTypes(t *testing.T) {
	client := newFakeClient(t, responds(func() *http.Response {
		return reply(200, "application/json", `{"data":[{"id":"a","name":"A","type":"standard","colorKeywords":"red"},{"id":"b","name":"B","type":"custom"}],"hasMore":false,"nextCursor":null}`)
	}))
	var ids []string
	for theme, err := range client.Themes(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, theme.ID)
	}
	if !slices.Equal(ids, []string{"a", "b"}) {
		t.Error(ids)
	}
}

func TestPages(t *testing.T) {
	theme := func(id string) string { return fmt.Sprintf(`{"id":%q,"name":"n","type":"newer"}`, id) }
	tests := []struct {
		name   string
		pages  map[string]string
		params *api.ListThemesParams
		want   string
		failed bool
		sent   []string
	}{
		{"no themes", map[string]string{"": `{"data":[],"hasMore":false,"nextCursor":null}`}, nil, "", false, []string{"/v1.0/themes?"}},
		{"three pages", map[string]string{
			"":  `{"data":[` + theme("1") + `,` + theme("2") + `],"hasMore":true,"nextCursor":"a"}`,
			"a": `{"data":[],"hasMore":true,"nextCursor":"b"}`,
			"b": `{"data":[` + theme("3") + `],"hasMore":false,"nextCursor":"c"}`,
		}, sample.As[*api.ListThemesParams](map[string]any{"limit": 2, "query": "dark"}), "123", false,
			[]string{"/v1.0/themes?limit=2&query=dark", "/v1.0/themes?after=a&limit=2&query=dark", "/v1.0/themes?after=b&limit=2&query=dark"}},
		{"from a cursor", map[string]string{"a": `{"data":[` + theme("1") + `],"hasMore":false,"nextCursor":null}`}, &api.ListThemesParams{After: "a"}, "1", false, []string{"/v1.0/themes?after=a"}},
		{"hasMore is missing or null, with a cursor", map[string]string{
			"":  `{"data":[` + theme("1") + `],"nextCursor":"a"}`,
			"a": `{"data":[` + theme("2") + `],"hasMore":null,"nextCursor":"b"}`,
			"b": `{"data":[` + theme("3") + `]}`,
		}, nil, "123", false, []string{"/v1.0/themes?", "/v1.0/themes?after=a", "/v1.0/themes?after=b"}},
		{"hasMore is missing and the cursor is repeated", map[string]string{
			"":  `{"data":[` + theme("1") + `],"nextCursor":"a"}`,
			"a": `{"data":[` + theme("2") + `],"nextCursor":"a"}`,
		}, nil, "12", true, []string{"/v1.0/themes?", "/v1.0/themes?after=a"}},
		{"hasMore is the string false, with a cursor", map[string]string{"": `{"data":[` + theme("1") + `],"hasMore":"false","nextCursor":"a"}`}, nil, "1", false, []string{"/v1.0/themes?"}},
		{"hasMore is false in another case, with a cursor", map[string]string{"": `{"data":[` + theme("1") + `],"HasMore":false,"nextCursor":"a"}`}, nil, "1", false, []string{"/v1.0/themes?"}},
		{"a cursor is repeated", map[string]string{
			"":  `{"data":[` + theme("1") + `],"hasMore":true,"nextCursor":"a"}`,
			"a": `{"data":[` + theme("2") + `],"hasMore":true,"nextCursor":"a"}`,
		}, nil, "12", true, []string{"/v1.0/themes?", "/v1.0/themes?after=a"}},
		{"the first cursor is repeated", map[string]string{"a": `{"data":[` + theme("1") + `],"hasMore":true,"nextCursor":"a"}`}, &api.ListThemesParams{After: "a"}, "1", true, []string{"/v1.0/themes?after=a"}},
		{"no cursor", map[string]string{"": `{"data":[` + theme("1") + `],"hasMore":true,"nextCursor":null}`}, nil, "1", true, []string{"/v1.0/themes?"}},
		{"no data", map[string]string{"": `{"items":[` + theme("1") + `],"hasMore":false,"nextCursor":null}`}, nil, "", true, []string{"/v1.0/themes?"}},
		{"no data on the second page", map[string]string{
			"":  `{"data":[` + theme("1") + `],"hasMore":true,"nextCursor":"a"}`,
			"a": `{"hasMore":false}`,
		}, nil, "1", true, []string{"/v1.0/themes?", "/v1.0/themes?after=a"}},
		{"data is null", map[string]string{"": `{"data":null,"hasMore":false}`}, nil, "", false, []string{"/v1.0/themes?"}},
		{"not a list", map[string]string{"": `{"message":"x"}`}, nil, "", true, []string{"/v1.0/themes?"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var sent []string
			client := newFakeClient(t, library(tt.pages, &sent))
			got, failed := "", false
			for item, err := range client.Themes(t.Context(), tt.params) {
				if got += item.ID; err != nil {
					failed = true
					checkText(t, err)
					if !errors.Is(err, gamma.ErrUnexpectedResponse) {
						t.Error(err)
					}
				}
			}
			if got != tt.want || failed != tt.failed || fmt.Sprint(sent) != fmt.Sprint(tt.sent) {
				t.Errorf("got %q, failed %v, sent %q", got, failed, sent)
			}
		})
	}
	// Empty pages, each with a new cursor, end with an error.
	n := 0
	client := newFakeClient(t, func(*http.Request) (*http.Response, error) {
		n++
		return reply(200, "application/json", fmt.Sprintf(`{"data":[],"hasMore":true,"nextCursor":"c%d"}`, n)), nil
	})
	for _, err := range client.Folders(t.Context(), nil) {
		if !errors.Is(err, gamma.ErrUnexpectedResponse) || n != 10 {
			t.Errorf("%v after %d pages", err, n)
		}
	}
	// A loop that breaks requests no more pages, and an error is that of the request.
	n = 0
	client = newFakeClient(t, func(*http.Request) (*http.Response, error) {
		n++
		if n > 1 {
			return reply(401, "", ""), nil
		}
		return reply(200, "application/json", `{"data":[{"id":"f1","name":"n"},{"id":"f2","name":"n"}],"hasMore":true,"nextCursor":"c"}`), nil
	})
	for range client.Folders(t.Context(), nil) {
		break
	}
	if n != 1 {
		t.Errorf("%d requests", n)
	}
	n = 0
	got := ""
	for item, err := range client.Folders(t.Context(), &api.ListFoldersParams{Query: "q"}) {
		if got += item.ID; err != nil && !errors.Is(err, gamma.ErrUnauthorized) {
			t.Error(err)
		}
	}
	if got != "f1f2" || n != 2 {
		t.Errorf("got %q, %d requests", got, n)
	}
}
