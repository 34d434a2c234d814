// Package fake is a small fake of the Gamma API for the examples of this module, which
// cannot import module gammatest.
package fake

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
)

// Key is the API key that the fake accepts.
const Key = "sk-gamma-example-0123456789"

// Main sets GAMMA_API_KEY and GAMMA_BASE_URL to those of a fake, runs the tests of m and
// exits.
func Main(m *testing.M) {
	server := httptest.NewServer(&api{polls: map[string]int{}})
	_ = os.Setenv("GAMMA_API_KEY", Key)
	_ = os.Setenv("GAMMA_BASE_URL", server.URL)
	code := m.Run()
	server.Close()
	os.Exit(code)
}

// api serves generations by the start of their id: "deck" is pending once and then completed,
// "odd" the same after a response that is not JSON, "done" is completed, "bad" has failed.
type api struct {
	mu    sync.Mutex
	polls map[string]int // by id
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/files/") {
		w.Header().Set("Content-Type", "application/pdf")
		_, _ = io.WriteString(w, "%PDF-1.7 ...")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-RateLimit-Remaining-Burst", "9994")
	if r.Header.Get("X-API-KEY") != Key {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"message":"Invalid API key.","statusCode":401}`)
		return
	}
	id, isStatus := strings.CutPrefix(r.URL.Path, "/v1.0/generations/")
	switch {
	case r.Method == http.MethodPost:
		a.create(w, r)
	case isStatus:
		a.status(w, r, id)
	case r.URL.Query().Get("after") == "":
		_, _ = io.WriteString(w, `{"data":[{"id":"t1","name":"Ash","type":"standard"}],"hasMore":true,"nextCursor":"c1"}`)
	default:
		_, _ = io.WriteString(w, `{"data":[{"id":"t2","name":"Oak","type":"custom"}],"hasMore":false,"nextCursor":null}`)
	}
}

func (a *api) create(w http.ResponseWriter, r *http.Request) {
	var request struct {
		NumCards float64 `json:"numCards"`
	}
	_ = json.NewDecoder(r.Body).Decode(&request)
	warnings := "null"
	if request.NumCards > 60 {
		warnings = `"numCards was lowered to 60"`
	}
	_, _ = io.WriteString(w, `{"generationId":"deck1","warnings":`+warnings+`}`)
}

func (a *api) status(w http.ResponseWriter, r *http.Request, id string) {
	a.mu.Lock()
	a.polls[id]++
	n := a.polls[id]
	a.mu.Unlock()
	if strings.HasPrefix(id, "odd") {
		n--
	}
	body := map[string]any{"generationId": id, "status": "completed"}
	switch {
	case n == 0:
		_, _ = io.WriteString(w, "not JSON")
		return
	case strings.HasPrefix(id, "bad"):
		body["status"] = "failed"
		body["error"] = map[string]any{"message": "Failed to generate text.", "statusCode": 422}
	case n == 1 && !strings.HasPrefix(id, "done"):
		body["status"] = "pending"
	default:
		body["gammaUrl"] = "https://gamma.app/docs/" + id
		body["exportUrl"] = "http://" + r.Host + "/files/" + id + ".pdf"
		body["credits"] = map[string]any{"deducted": 25, "remaining": 4975}
	}
	_ = json.NewEncoder(w).Encode(body)
}
