package batch_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/batch"
	"github.com/gamma-sdk/gamma-go/internal/test/fake"
	"github.com/gamma-sdk/gamma-go/poller"
)

// childDir is the directory of a batch that this test binary runs instead of its tests.
const childDir = "BATCH_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		for r := range killed(dir, 0).Run(context.Background(), texts(200)) {
			if r.Err != nil && !errors.Is(r.Err, gamma.ErrMaybeCreated) {
				fmt.Fprintln(os.Stderr, r.Err)
				os.Exit(1)
			}
		}
		os.Exit(0)
	}
	fake.Main(m)
}

// killed returns the batch that is killed, with the client of the environment.
func killed(dir string, retry batch.Retry) *batch.Batch {
	client, err := gamma.NewClientFromEnv()
	if err != nil {
		panic(err)
	}
	p := poller.New(client)
	p.Interval = 20 * time.Millisecond
	return &batch.Batch{Client: client, Dir: dir, Poller: p, Retry: retry}
}

func texts(n int) iter.Seq[batch.Input] {
	return func(yield func(batch.Input) bool) {
		for i := range n {
			key := fmt.Sprintf("text-%03d", i)
			if !yield(batch.Input{Key: key, Request: api.GenerationRequest{InputText: key, ExportAs: "pdf"}}) {
				return
			}
		}
	}
}

// killer is a server that kills its client at some request, before or after the request
// has its effect; the client continues until the kill reaches it.
type killer struct {
	url string

	mu      sync.Mutex
	creates map[string]int // by text
	left    int            // requests until the kill; negative: never
	early   bool
	kill    func()
}

func (k *killer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.left--
	due := k.left == 0
	if due && k.early {
		k.kill()
	}
	w.Header().Set("Content-Type", "application/json")
	switch id, isStatus := strings.CutPrefix(r.URL.Path, "/v1.0/generations/"); {
	case r.Method == http.MethodPost:
		var request struct{ InputText string }
		_ = json.NewDecoder(r.Body).Decode(&request)
		k.creates[request.InputText]++
		_, _ = fmt.Fprintf(w, `{"generationId":"g-%s-%d"}`, request.InputText, k.creates[request.InputText])
	case isStatus:
		_, _ = fmt.Fprintf(w, `{"generationId":%q,"status":"completed","exportUrl":"%s/files/%s"}`, id, k.url, id)
	default:
		w.Header().Set("Content-Type", "application/pdf")
		_, _ = io.WriteString(w, "%PDF "+r.URL.Path)
	}
	if due && !k.early {
		k.kill()
	}
}

func (k *killer) counts() map[string]int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.creates)
}

// A batch that is killed twenty times at random moments creates no input twice. The ids
// that it knows and the inputs that it names as uncertain are all there are.
func TestKill(t *testing.T) {
	k := &killer{creates: map[string]int{}}
	server := httptest.NewServer(k)
	t.Cleanup(server.Close)
	k.url = server.URL
	t.Setenv("GAMMA_API_KEY", "sk-gamma-0123456789abcdef")
	t.Setenv("GAMMA_BASE_URL", server.URL)
	dir := t.TempDir()

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	kills := 0
	for kills < 20 {
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Env = append(os.Environ(), childDir+"="+dir)
		child.Stderr = os.Stderr
		k.mu.Lock() // until there is a process to kill
		k.left, k.early, k.kill = 1+random.IntN(45), random.IntN(2) == 0, func() { _ = child.Process.Kill() }
		err := child.Start()
		k.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		if child.Wait() == nil {
			break // all 200 are finished
		}
		if child.ProcessState.Exited() {
			t.Fatal(child.ProcessState)
		}
		kills++
	}
	if kills < 10 {
		t.Errorf("finished after %d kills: they come too late", kills)
	}
	k.mu.Lock()
	k.left = -1
	k.mu.Unlock()

	ids, uncertain := map[string]string{}, map[string]bool{}
	for r := range killed(dir, 0).Run(t.Context(), texts(200)) {
		switch {
		case r.Err == nil:
			ids[r.Key] = r.GenerationID
		case errors.Is(r.Err, gamma.ErrMaybeCreated):
			uncertain[r.Key] = true
		default:
			t.Error(r.Key, r.Err)
		}
	}
	t.Logf("%d kills, %d ids, %d uncertain", kills, len(ids), len(uncertain))
	if len(ids)+len(uncertain) != 200 {
		t.Errorf("%d ids and %d uncertain", len(ids), len(uncertain))
	}
	for text, n := range k.counts() {
		if n != 1 {
			t.Errorf("%s was created %d times", text, n)
		}
	}

	for r := range killed(dir, batch.Uncertain).Run(t.Context(), texts(200)) {
		data, err := os.ReadFile(filepath.Join(dir, r.Key+".pdf"))
		if known := ids[r.Key]; r.Err != nil || known != "" && known != r.GenerationID || err != nil || string(data) != "%PDF /files/"+r.GenerationID {
			t.Errorf("%+v, known as %q: the file has %q, %v", r, known, data, err)
		}
	}
	for text, n := range k.counts() {
		if n > 1 && !uncertain[text] {
			t.Errorf("%s was created %d times and not uncertain", text, n)
		}
	}
}
