package gamma_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/gamma-sdk/gamma-go"
)

// A short key, as for a fake server, may be a word of the response.
func TestShortKeysAreNotRedacted(t *testing.T) {
	const body = `{"generationId":"gen1","status":"completed","gammaUrl":"https://gamma.app/docs/my-test-deck"}`
	for _, key := range []string{"test", "status", "gen1", "completed"} {
		client, err := gamma.NewClient(key, gamma.WithHTTPClient(&http.Client{Transport: responds(func() *http.Response {
			return reply(200, "application/json", body, "X-Test", "my-test")
		})}))
		if err != nil {
			t.Fatal(err)
		}
		rsp, err := get(t, client)
		if err != nil || rsp.JSON200.Status != "completed" || rsp.JSON200.GammaURL != "https://gamma.app/docs/my-test-deck" || rsp.HTTPResponse.Header.Get("X-Test") != "my-test" {
			t.Errorf("key %q: %+v, %v", key, rsp, err)
		}
	}
}

// The key is removed from a response that echoes it.
func TestEchoedKey(t *testing.T) {
	rsp, err := get(t, newFakeClient(t, responds(func() *http.Response {
		r := reply(200, "application/json", `{"generationId":"gen1","status":"failed","error":{"message":`+quoted("bad "+key)+`,"statusCode":401},"gammaUrl":"\u0073k-gamma-7Zq\u0026\u003c>\u0022\u005csecret"}`, "X-Echo", key, key, "x")
		r.Status, r.Trailer = "200 "+key, http.Header{"X-Echo": {key}}
		return r
	})))
	if err != nil {
		t.Fatal(err)
	}
	checkNoKey(t, rsp.JSON200)
	checkNoKey(t, *rsp.JSON200.Error)
	checkNoKey(t, rsp.HTTPResponse.Header)
	checkNoKey(t, rsp.HTTPResponse.Trailer)
	checkNoKey(t, rsp.HTTPResponse.Status)
	checkNoKey(t, string(rsp.Body))
	if rsp.JSON200.Error.StatusCode != 401 {
		t.Errorf("%+v", rsp.JSON200.Error)
	}
}

// net/http changes the case of a header's name.
func TestEchoedKeyAsName(t *testing.T) {
	const key = "sk-gamma-abcDEF0123"
	client, err := gamma.NewClient(key, gamma.WithHTTPClient(&http.Client{Transport: responds(func() *http.Response {
		r := reply(200, "application/json", `{"generationId":"gen1","status":"pending"}`)
		r.Header.Set("X-"+key, "1")
		return r
	})}))
	if err != nil {
		t.Fatal(err)
	}
	rsp, err := get(t, client)
	if err != nil {
		t.Fatal(err)
	}
	if dump := fmt.Sprint(rsp.HTTPResponse.Header); strings.Contains(strings.ToLower(dump), strings.ToLower(key)) {
		t.Error(dump)
	}
}

// A fake transport may use one header for all responses.
func TestSharedHeader(t *testing.T) {
	shared := http.Header{"Content-Type": {"application/json"}}
	client := newFakeClient(t, func(*http.Request) (*http.Response, error) {
		r := reply(200, "", `{"generationId":"gen1","status":"pending"}`)
		r.Header = shared
		return r, nil
	})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := client.GetGenerationStatusWithResponse(t.Context(), "gen1"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// The message of a truncated error body is still used.
func TestEchoedKeyInCutBody(t *testing.T) {
	body := `{"message":` + quoted("bad "+key) + `}` + strings.Repeat(" ", 17<<10)
	_, err := get(t, newFakeClient(t, responds(func() *http.Response { return reply(400, "application/json", body) })))
	var apiErr *gamma.APIError
	if !errors.As(err, &apiErr) {
		t.Fatalf("%v, want an APIError", err)
	}
	checkText(t, err)
	checkNoKey(t, apiErr)
}

// A truncated error body may end with the start of the key.
func TestEchoedKeyAtTheCut(t *testing.T) {
	for n := 1; n < len(key); n++ {
		body := strings.Repeat(" ", 16<<10-n) + key
		_, err := get(t, newFakeClient(t, responds(func() *http.Response { return reply(400, "text/plain", body) })))
		var apiErr *gamma.APIError
		if !errors.As(err, &apiErr) {
			t.Fatalf("%v, want an APIError", err)
		}
		if got := strings.TrimSpace(string(apiErr.Body)); len(got) >= 8 && strings.HasPrefix(key, got) {
			t.Errorf("the body has %d characters of the key", len(got))
		}
	}
}

// encoding/json merges two objects of one name, and drops the first of two strings.
func TestEchoedKeyInDuplicate(t *testing.T) {
	const escaped = `\u0073k-gamma-7Zq\u0026\u003c>\u0022\u005csecret`
	for _, body := range []string{
		`{"generationId":"gen1","status":"failed","error":{"message":"` + escaped + `"},"error":{"statusCode":401}}`,
		`{"generationId":"gen1","status":"failed","error":{"message":"a","\\":"` + escaped + `","message":"\"` + escaped + `"}}`,
		`{"generationId":"gen1","status":"failed","error":{"message":"` + escaped + escaped + `"},"` + escaped + `":0.10}`,
	} {
		rsp, err := get(t, newFakeClient(t, responds(func() *http.Response { return reply(200, "application/json", body) })))
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		checkNoKey(t, *rsp.JSON200.Error)
		checkNoKey(t, string(rsp.Body))
		if bytes.Contains(rsp.Body, []byte("sec")) {
			t.Errorf("the body has a part of the key: %s", rsp.Body)
		}
		if bytes.Contains(rsp.Body, []byte("0.1")) != bytes.Contains(rsp.Body, []byte("0.10")) {
			t.Errorf("the rest of the body has changed: %s", rsp.Body)
		}
	}
}

// A body that is not JSON is returned too.
func TestEchoedKeyInInvalidJSON(t *testing.T) {
	for _, end := range []string{``, ` and more`, `"`, `\\`} {
		body := `{"generationId":"\u0073k-gamma-7Zq\u0026\u003c>\u0022\u005csecret` + end
		rsp, err := get(t, newFakeClient(t, responds(func() *http.Response { return reply(200, "application/json", body) })))
		if !errors.Is(err, gamma.ErrUnexpectedResponse) || rsp == nil || bytes.Contains(rsp.Body, []byte("7Zq")) {
			t.Errorf("%s: %v, %v", body, rsp, err)
		}
	}
}

// The trailer is read after the body.
func TestEchoedKeyInTrailer(t *testing.T) {
	url := rawServer(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nTrailer: X-Echo\r\n\r\n"+
			"2c\r\n"+`{"generationId":"gen1","status":"completed"}`+"\r\n0\r\nX-Echo: "+key+"\r\n\r\n")
		_ = c.Close()
	})
	rsp, err := get(t, newClient(t, url))
	if err != nil {
		t.Fatal(err)
	}
	if v := rsp.HTTPResponse.Trailer.Get("X-Echo"); v != "[API key]" {
		t.Errorf("the trailer has %q", v)
	}
}
