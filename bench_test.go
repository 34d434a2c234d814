package gamma_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gamma-sdk/gamma-go/api"
)

var bodies = []struct{ name, body string }{
	{"pending", `{"generationId":"gen1","status":"pending"}`},
	{"completed", `{"generationId":"gen1","status":"completed","gammaId":"g_abcdef123456","gammaUrl":"https://gamma.app/docs/abcdef123456","exportUrl":"https://assets.api.gamma.app/export/pdf/abcdef123456/0123456789abcdef/Deck.pdf?signature=0123456789abcdef","credits":{"deducted":25,"remaining":4975}}`},
}

func answer(body string) roundTripper {
	return func(req *http.Request) (*http.Response, error) {
		return &http.Response{
			Status: "200 OK", StatusCode: 200, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
			Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
		}, nil
	}
}

// BenchmarkGet compares one status request in memory with the same request
// written by hand on net/http and encoding/json.
func BenchmarkGet(b *testing.B) {
	for _, bb := range bodies {
		b.Run(bb.name+"/net_http", func(b *testing.B) {
			client := &http.Client{Transport: answer(bb.body)}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bare(b.Context(), client, "gen1"); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(bb.name+"/gamma", func(b *testing.B) {
			client := answering(b, answer(bb.body))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := client.GetGenerationStatusWithResponse(b.Context(), "gen1"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func bare(ctx context.Context, client *http.Client, id string) (*api.GenerationStatusResponse, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://public-api.gamma.app/v1.0/generations/"+id, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-API-KEY", key)
	rsp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rsp.Body.Close() }()
	body, err := io.ReadAll(rsp.Body)
	if err != nil {
		return nil, err
	}
	var gen api.GenerationStatusResponse
	return &gen, json.Unmarshal(body, &gen)
}
