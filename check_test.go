package gamma_test

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
)

// created answers every create, and keeps the last request's body and URL.
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
	return answer(`{"generationId":"gen1","data":[],"hasMore":false,"nextCursor":null}`)(req)
}

func (s *sink) client(t testing.TB) *api.ClientWithResponses {
	t.Helper()
	client, err := gamma.NewClient(key, gamma.WithHTTPClient(&http.Client{Transport: s}))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func ptr[T any](v T) *T { return &v }

func TestRequestsAreCheckedBeforeTheyAreSent(t *testing.T) {
	long := func(n int) string { return strings.Repeat("é", n) } // characters, not bytes
	tests := []struct {
		field   string // "" where the request is fine
		request api.Generation
	}{
		{"", api.Generation{InputText: "x"}},
		{"", api.Generation{InputText: long(400000)}},
		{"inputText", api.Generation{}},
		{"inputText", api.Generation{InputText: long(400001)}},
		{"format", api.Generation{InputText: "x", Format: "slides"}},
		{"", api.Generation{InputText: "x", Format: api.GenerationFormatPresentation}},
		{"numCards", api.Generation{InputText: "x", NumCards: -1}},
		{"", api.Generation{InputText: "x", NumCards: 1}},
		{"title", api.Generation{InputText: "x", Title: long(501)}},
		{"textOptions.language", api.Generation{InputText: "x", TextOptions: &api.TextOptions{Language: "tlh"}}},
		{"textOptions.tone", api.Generation{InputText: "x", TextOptions: &api.TextOptions{Tone: long(501)}}},
		{"", api.Generation{InputText: "x", TextOptions: &api.TextOptions{}}},
		{"", api.Generation{InputText: "x", ImageOptions: &api.ImageOptions{Model: "model-of-next-year"}}},
		{"imageOptions.source", api.Generation{InputText: "x", ImageOptions: &api.ImageOptions{Source: "unsplash"}}},
		{"folderIds", api.Generation{InputText: "x", FolderIDs: make([]string, 11)}},
		{"cardOptions.headerFooter.topLeft.type", api.Generation{InputText: "x", CardOptions: &api.CardOptions{HeaderFooter: &api.HeaderFooter{TopLeft: &api.HeaderFooterElement{}}}}},
		{"cardOptions.headerFooter.topLeft.src", api.Generation{InputText: "x", CardOptions: &api.CardOptions{HeaderFooter: &api.HeaderFooter{TopLeft: &api.HeaderFooterElement{Type: "image", Src: "no address"}}}}},
		{"sharingOptions.emailOptions.recipients", api.Generation{InputText: "x", SharingOptions: &api.SharingOptions{EmailOptions: &api.EmailOptions{}}}},
		{"sharingOptions.emailOptions.recipients", api.Generation{InputText: "x", SharingOptions: &api.SharingOptions{EmailOptions: &api.EmailOptions{Recipients: []string{}}}}},
		{"sharingOptions.emailOptions.recipients[1]", api.Generation{InputText: "x", SharingOptions: &api.SharingOptions{EmailOptions: &api.EmailOptions{Recipients: []string{"a@example.com", "Ann <a@example.com>"}}}}},
		{"sharingOptions.externalAccess", api.Generation{InputText: "x", SharingOptions: &api.SharingOptions{ExternalAccess: "fullAccess"}}},
	}
	for _, tt := range tests {
		var s sink
		_, err := s.client(t).CreateGenerationWithResponse(t.Context(), tt.request)
		checkRefusal(t, &s, err, "POST /v1.0/generations", tt.field)
	}
	var s sink
	_, err := s.client(t).CreateFromTemplateGenerationWithResponse(t.Context(), api.FromTemplateGeneration{Prompt: "x"})
	checkRefusal(t, &s, err, "POST /v1.0/generations/from-template", "gammaId")
}

func TestQueriesAreCheckedBeforeTheyAreSent(t *testing.T) {
	tests := []struct {
		field  string
		params *api.ListThemesParams
	}{
		{"", nil},
		{"", &api.ListThemesParams{Limit: 50, Query: "a&b=c d", After: "c+/=", Type: api.ListThemesParamsTypeCustom}},
		{"limit", &api.ListThemesParams{Limit: 51}},
		{"limit", &api.ListThemesParams{Limit: -1}},
		{"type", &api.ListThemesParams{Type: "mine"}},
	}
	for _, tt := range tests {
		var s sink
		_, err := s.client(t).ListThemesWithResponse(t.Context(), tt.params)
		checkRefusal(t, &s, err, "GET /v1.0/themes", tt.field)
		if tt.field == "" && tt.params != nil {
			if q := s.url.Query(); q.Get("limit") != "50" || q.Get("query") != "a&b=c d" || q.Get("after") != "c+/=" || q.Get("type") != "custom" {
				t.Errorf("sent %s", s.url)
			}
		}
	}
}

func checkRefusal(t *testing.T, s *sink, err error, operation, field string) {
	t.Helper()
	var invalid *gamma.InvalidRequestError
	switch {
	case field == "":
		if err != nil || s.requests != 1 {
			t.Errorf("%s: %v, %d requests", operation, err, s.requests)
		}
	case !errors.As(err, &invalid), invalid.Operation != operation, invalid.Field != field, invalid.Reason == "", s.requests != 0:
		t.Errorf("%s: %v, %d requests, want a refusal of %s", operation, err, s.requests, field)
	default:
		checkText(t, err)
	}
}

func TestBodiesOfTheCallersOwnAreChecked(t *testing.T) {
	for body, field := range map[string]string{
		`{"inputText":"x","unknown":{"a":1},"numCards":10.0}`: "",
		`{"inputText":"x","themeId":null}`:                    "themeId",
		`{"inputText":7}`:                                     "inputText",
		`{"inputText":"x","numCards":"10"}`:                   "numCards",
		`{"inputText":"x","numCards":true}`:                   "numCards",
		`{"inputText":"x","numCards":0}`:                      "numCards",
		`{"inputText":"x","numCards":1e999}`:                  "the body", // JSON that no float64 holds
		`{"inputText":"x","textOptions":[]}`:                  "textOptions",
		`{"inputText":"x","folderIds":{}}`:                    "folderIds",
		`{"inputText":"x","folderIds":["a",7]}`:               "folderIds[1]",
		`[]`:                                                  "the body",
		`null`:                                                "the body",
		`{`:                                                   "the body",
		`{"inputText":"x","cardOptions":{"headerFooter":{"hideFromFirstCard":"no"}}}`: "cardOptions.headerFooter.hideFromFirstCard",
	} {
		var s sink
		_, err := s.client(t).CreateGenerationWithBodyWithResponse(t.Context(), "application/json", strings.NewReader(body))
		checkRefusal(t, &s, err, "POST /v1.0/generations", field)
	}
	// What can be read only once goes out as it is.
	var s sink
	if _, err := s.client(t).CreateGenerationWithBodyWithResponse(t.Context(), "application/json", io.MultiReader(strings.NewReader(`{}`))); err != nil || s.body != `{}` {
		t.Errorf("%v, sent %q", err, s.body)
	}
}

// What the caller did not set is not sent, and what was set is.
func TestBytesOfRequests(t *testing.T) {
	tests := []struct {
		request api.Generation
		want    string
	}{
		{api.Generation{InputText: "x"}, `{"inputText":"x"}`},
		{api.Generation{InputText: "x", NumCards: 12, FolderIDs: []string{"f1"}, TextOptions: &api.TextOptions{Amount: api.TextOptionsAmountBrief}},
			`{"folderIds":["f1"],"inputText":"x","numCards":12,"textOptions":{"amount":"brief"}}`},
		{api.Generation{InputText: "x", CardOptions: &api.CardOptions{HeaderFooter: &api.HeaderFooter{HideFromFirstCard: ptr(false), HideFromLastCard: ptr(true)}}},
			`{"cardOptions":{"headerFooter":{"hideFromFirstCard":false,"hideFromLastCard":true}},"inputText":"x"}`},
		{api.Generation{InputText: "x", SharingOptions: &api.SharingOptions{EmailOptions: &api.EmailOptions{Recipients: []string{"a@example.com"}}}},
			`{"inputText":"x","sharingOptions":{"emailOptions":{"recipients":["a@example.com"]}}}`},
	}
	for _, tt := range tests {
		var s sink
		if _, err := s.client(t).CreateGenerationWithResponse(t.Context(), tt.request); err != nil || s.body != tt.want {
			t.Errorf("%v, sent\n%s\nwant\n%s", err, s.body, tt.want)
		}
	}
	var s sink
	if _, err := s.client(t).ListThemesWithResponse(t.Context(), &api.ListThemesParams{}); err != nil || s.url.RawQuery != "" {
		t.Errorf("%v, sent the query %q", err, s.url.RawQuery)
	}
	if _, err := s.client(t).ArchiveGammaWithResponse(t.Context(), "g_1"); err != nil && !errors.Is(err, gamma.ErrUnexpectedResponse) || s.body != "" {
		t.Errorf("%v, sent %q", err, s.body)
	}
}
