package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/gammatest"
)

// A batch of 200 texts with a limit of 30 requests in 10 seconds, which is killed and restarted
// twice, results in 200 files, 200 creates and at most 20 refused requests. 200 creates and a
// poll for each take at least 133 seconds with that limit.
func TestFolderOf200(t *testing.T) {
	if testing.Short() || runtime.GOOS == "windows" {
		t.Skip("takes three minutes and a kill")
	}
	t.Parallel()
	const texts = 200
	var mu sync.Mutex
	refused, created := 0, make(map[string]int)

	fake := gammatest.NewServer(t)
	fake.Budget(30, 10*time.Second)
	fake.OnCreate(func(request api.GenerationRequest) []gammatest.Step {
		mu.Lock()
		defer mu.Unlock()
		created[request.InputText]++
		return []gammatest.Step{gammatest.PendingFor(20 * time.Second), gammatest.Completed("")}
	})
	target, err := url.Parse(fake.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(r *http.Response) error {
			mu.Lock()
			defer mu.Unlock()
			if r.StatusCode == http.StatusTooManyRequests {
				refused++
			}
			return nil
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }, // the client was killed
	})
	t.Cleanup(proxy.Close)

	dir := t.TempDir()
	args := []string{"create", "--json", "--export", "pdf", "--dir", filepath.Join(dir, "out")}
	for i := range texts {
		name := filepath.Join(dir, fmt.Sprintf("text-%03d.md", i))
		if err := os.WriteFile(name, []byte(name), 0o666); err != nil {
			t.Fatal(err)
		}
		args = append(args, name)
	}
	run := func(created int) (stdout, stderr string, err error) {
		cmd := exec.Command(filepath.Join(bin, "gamma"), args...)
		cmd.Env = append(os.Environ(), "GAMMA_API_KEY="+gammatest.Key, "GAMMA_BASE_URL="+proxy.URL)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		for killed := created == 0; ; {
			select {
			case err := <-ended:
				return out.String(), errs.String(), err
			case <-time.After(10 * time.Millisecond):
			}
			if lines, _ := os.ReadFile(filepath.Join(dir, "out", "gamma.jsonl")); !killed && bytes.Count(lines, []byte(`"state":"created"`)) >= created {
				killed = true
				_ = cmd.Process.Kill()
			}
		}
	}
	for _, n := range []int{60, 130} {
		if _, stderr, err := run(n); err == nil || err.Error() != "signal: killed" {
			t.Fatalf("not killed, but %v:\n%s", err, stderr)
		}
	}
	stdout, stderr, err := run(0)

	mu.Lock()
	defer mu.Unlock()
	// A create may be in flight at a kill. Its text has an error, and is not created again.
	var lost []string
	saved := 0
	for decoder := json.NewDecoder(strings.NewReader(stdout)); decoder.More(); {
		var line struct {
			Input, GenerationID, Saved string
			Error                      struct{ Code string }
		}
		if err := decoder.Decode(&line); err != nil {
			t.Fatal(err)
		}
		switch file, err := os.ReadFile(line.Saved); {
		case line.Error.Code == "maybe_created":
			lost = append(lost, line.Input)
		case err != nil || !bytes.Equal(file, fake.Export(line.GenerationID)):
			t.Errorf("%+v: not the file of its generation: %v", line, err)
		default:
			saved++
		}
	}
	if code := (*exec.ExitError)(nil); len(lost) == 0 && err != nil || len(lost) > 0 && (!errors.As(err, &code) || code.ExitCode() != 6) {
		t.Errorf("%v with %d texts uncertain:\n%s", err, len(lost), stderr)
	}
	want := texts
	for _, name := range lost {
		if created[name] == 0 {
			want--
		}
	}
	if len(lost) > 8 || len(created) != want {
		t.Errorf("%d texts were created and %q are uncertain, want %d created", len(created), lost, want)
	}
	for text, n := range created {
		if n != 1 {
			t.Errorf("%s was created %d times", text, n)
		}
	}
	if files, err := filepath.Glob(filepath.Join(dir, "out", "text-*.pdf")); err != nil || len(files) != texts-len(lost) || saved != len(files) {
		t.Errorf("%d files, %d of them known, and %v; want %d", len(files), saved, err, texts-len(lost))
	}
	if refused > 20 {
		t.Errorf("%d 429 responses, want at most 20", refused)
	}
	t.Logf("%d requests, %d 429 responses, uncertain: %q", len(fake.Requests()), refused, lost)
}
