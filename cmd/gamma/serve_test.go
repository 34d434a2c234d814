package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/internal/test/sample"
	"github.com/gamma-sdk/gamma-go/poller"
)

// request returns a request that any version of the OpenAPI document accepts.
func request(input string) api.GenerationRequest {
	return sample.Request(sample.New(gamma.OpenAPI()), "createGeneration", api.GenerationRequest{InputText: input, ExportAs: "pdf"})
}

func TestServeFlags(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"a share without a percent sign", []string{"--failures", "10"}, "not a share from 0% to 100%"},
		{"a share above 100%", []string{"--broken-downloads=101%"}, "not a share from 0% to 100%"},
		{"a share below 0%", []string{"--faults=-1%"}, "not a share from 0% to 100%"},
		{"a share that is no number", []string{"--faults=NaN%"}, "not a share from 0% to 100%"},
		{"a time without a unit", []string{"--duration", "20"}, "not a time such as 20s"},
		{"two times in the wrong order", []string{"--duration", "60s-20s"}, "not a time such as 20s"},
		{"three times", []string{"--duration", "1s-2s-3s"}, "not a time such as 20s"},
		{"a time without its end", []string{"--duration", "1s-"}, "not a time such as 20s"},
		{"a negative time", []string{"--export-after=-1s"}, "--export-after must not be negative"},
		{"a rate without a time", []string{"--rate-limit", "30"}, "not a number of requests per time"},
		{"a rate of 0 requests", []string{"--rate-limit", "0/10s"}, "not a number of requests per time"},
		{"a rate per 0s", []string{"--rate-limit", "30/0s"}, "not a number of requests per time"},
		{"an address without a port", []string{"--addr", "localhost"}, `--addr is "localhost", not a host and a port`},
		{"a port that is a name", []string{"--addr", "localhost:http"}, `--addr is "localhost:http", not a host and a port`},
		{"a port that is too high", []string{"--addr", "localhost:65536"}, `--addr is "localhost:65536", not a host and a port`},
		{"a negative seed", []string{"--seed", "-1"}, "--seed"},
		{"an argument", []string{"8080"}, "argument"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, stdout, stderr := newTestApp(nil)
			if code := a.run(append([]string{"serve"}, tt.args...)); code != exitUsage || stdout.Len() > 0 || !strings.Contains(stderr.String(), tt.want) {
				t.Errorf("exit status %d, %q and %q, want %q", code, stdout, stderr, tt.want)
			}
		})
	}
}

func TestServeFlagsRoundTrip(t *testing.T) {
	for _, tt := range []struct {
		flag       interface{ Set(string) error }
		text, want string
	}{
		{new(share), "10%", "10%"},
		{new(share), "2.5%", "2.5%"},
		{new(share), "100%", "100%"},
		{new(share), "0%", "0%"},
		{new(span), "20s", "20s"},
		{new(span), "0", "0s"},
		{new(span), "90s-2m", "1m30s-2m0s"},
		{new(rate), "30/10s", "30/10s"},
	} {
		if err := tt.flag.Set(tt.text); err != nil || fmt.Sprint(tt.flag) != tt.want {
			t.Errorf("%s: %v, %v, want %s", tt.text, tt.flag, err, tt.want)
		}
	}
}

func TestServeAnnounces(t *testing.T) {
	at := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 4321}
	const key = "export GAMMA_API_KEY=" + gammatest.Key + "\n"
	for host, want := range map[string]string{
		"127.0.0.1":   key + "export GAMMA_BASE_URL=http://127.0.0.1:4321\n",
		"localhost":   key + "export GAMMA_BASE_URL=http://localhost:4321\n",
		"::1":         key + "export GAMMA_BASE_URL=http://[::1]:4321\n",
		"":            key + "export GAMMA_BASE_URL=http://127.0.0.1:4321\n",
		"0.0.0.0":     key + "export GAMMA_BASE_URL=http://127.0.0.1:4321\n",
		"::":          key + "export GAMMA_BASE_URL=http://127.0.0.1:4321\n",
		"192.168.1.9": key + "export GAMMA_BASE_URL=http://192.168.1.9:4321\nexport GAMMA_INSECURE_HTTP=1\n",
		"fake.lan":    key + "export GAMMA_BASE_URL=http://fake.lan:4321\nexport GAMMA_INSECURE_HTTP=1\n",
	} {
		t.Run(host, func(t *testing.T) {
			a, stdout, stderr := newTestApp(nil)
			s := server{app: a}
			if err := s.announce("linux", host, at); err != nil || stdout.String() != want {
				t.Errorf("%v\n%swant\n%s", err, stdout, want)
			}
			everywhere := host == "" || host == "0.0.0.0" || host == "::"
			if strings.Contains(stderr.String(), "from another machine") != everywhere {
				t.Errorf("standard error: %s", stderr)
			}
		})
	}
	a, stdout, _ := newTestApp(nil)
	s := server{app: a}
	if err := s.announce("windows", "localhost", at); err != nil || !strings.Contains(stdout.String(), "$env:GAMMA_BASE_URL = 'http://localhost:4321'\n") {
		t.Errorf("%v\n%s", err, stdout)
	}
	a, stdout, _ = newTestApp(nil)
	a.json = true
	s = server{app: a}
	if err := s.announce("linux", "localhost", at); err != nil || stdout.String() != `{"GAMMA_API_KEY":"`+gammatest.Key+`","GAMMA_BASE_URL":"http://localhost:4321"}`+"\n" {
		t.Errorf("%v\n%s", err, stdout)
	}
}

// serve runs the command until the test ends it, and returns its URL.
func serve(t *testing.T, a *app, args ...string) (url string, end func() error) {
	t.Helper()
	out, w := io.Pipe()
	a.out = w
	ctx, cancel := context.WithCancel(t.Context())
	cmd := newServe(a)
	cmd.SetArgs(append([]string{"--addr", "127.0.0.1:0"}, args...))
	ended := make(chan error, 1)
	go func() {
		err := cmd.ExecuteContext(ctx)
		_ = w.CloseWithError(io.EOF)
		ended <- err
	}()
	buffer := make([]byte, 1000)
	n, _ := out.Read(buffer)
	if url = regexp.MustCompile(`http://[\d.:]+`).FindString(string(buffer[:n])); url == "" {
		t.Fatalf("no URL in %q", buffer[:n])
	}
	return url, func() error {
		cancel()
		return <-ended
	}
}

// writes is a writer that passes on what is written.
type writes chan string

func (w writes) Write(p []byte) (int, error) {
	w <- string(p)
	return len(p), nil
}

// Requests by hand, with mistakes, and the lines about them.
func TestServeLogsRequests(t *testing.T) {
	const key = gammatest.Key
	for _, tt := range []struct {
		name, method, path, key, contentType, body string
		text, json                                 string // a pattern of standard error, without the time
	}{
		{"a response", "GET", "/v1.0/themes?limit=1", key, "", "", `GET /v1.0/themes 200 \d+ms`, `{"method":"GET","ms":\d+,"path":"/v1.0/themes","status":200,"time":"[^"]+"}`},
		{"no key", "GET", "/v1.0/themes", "", "", "", `GET /v1.0/themes 401 \d+ms header X-API-KEY is missing`, `{.*"remark":"header X-API-KEY is missing","status":401,.*}`},
		{"another key", "GET", "/v1.0/themes", "sk-gamma-real", "", "", `GET /v1.0/themes 401 \d+ms header X-API-KEY is not the key of this fake`, `{.*"status":401,.*}`},
		{"a form, as of curl -d", "POST", "/v1.0/generations", key, "application/x-www-form-urlencoded", "{}",
			`gamma: the request POST /v1.0/generations is invalid: header Content-Type is "application/x-www-form-urlencoded"; the OpenAPI document says application/json\n.* 400 \d+ms`,
			`{"time":"[^"]+","violation":"the request POST /v1.0/generations is invalid: header Content-Type is .*"}\n{.*"status":400,.*}`},
		{"the key in the URL", "GET", "/v1.0/themes?key=" + key, "", "", "",
			`gamma: the request GET /v1.0/themes is invalid: query parameter "key" is not documented\n.* 400 \d+ms`, `.*\n.*`},
		{"the key in the path", "GET", "/v1.0/" + key, key, "", "", `gamma: .*no such operation.*\n.*GET /v1.0/KEY 400 \d+ms`, `.*\n.*`},
		{"a real key in the path", "GET", "/v1.0/generations/sk-gamma-real", "sk-gamma-real", "", "", `GET /v1.0/generations/KEY 401 \d+ms header X-API-KEY is not the key of this fake`, `{.*"path":"/v1.0/generations/KEY",.*}`},
		{"a real key in the query", "GET", "/v1.0/themes?sk-gamma-real", "", "", "", `gamma: .* query parameter "KEY" is not documented\n.* 400 \d+ms`, `.*\n.*`},
		{"control characters", "GET", "/v1.0/themes/%1b%5b2J\u202e", key, "", "", `gamma: .*\n.*GET /v1.0/themes/%1[bB]\S* 400 \d+ms`, `.*\n.*`},
	} {
		for _, asJSON := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, JSON %v", tt.name, asJSON), func(t *testing.T) {
				a, _, _ := newTestApp(nil)
				a.json = asJSON
				written := make(writes, 10)
				a.err = written
				url, end := serve(t, a)
				request, err := http.NewRequestWithContext(t.Context(), tt.method, url+tt.path, strings.NewReader(tt.body))
				if err != nil {
					t.Fatal(err)
				}
				for name, value := range map[string]string{"X-API-KEY": tt.key, "Content-Type": tt.contentType} {
					if value != "" {
						request.Header.Set(name, value)
					}
				}
				rsp, err := http.DefaultClient.Do(request)
				if err != nil {
					t.Fatal(err)
				}
				_ = rsp.Body.Close()
				var stderr strings.Builder
				for !regexp.MustCompile(`\d+ms|"ms":`).MatchString(stderr.String()) { // the line of the request is the last
					stderr.WriteString(<-written)
				}
				if err := end(); err != nil {
					t.Error(err)
				}
				want := `(?s)^gamma: this is a fake [^\n]*\n(\d\d:\d\d:\d\d )?` + tt.text + "\n$"
				if asJSON {
					want = `^` + tt.json + "\n$"
				}
				if got := stderr.String(); !regexp.MustCompile(want).MatchString(got) || strings.Contains(got, key) || strings.Contains(got, "sk-gamma-real") || strings.ContainsAny(got, "\x1b\u202e") {
					t.Errorf("standard error\n%swant\n%s", got, want)
				}
				if asJSON {
					for line := range strings.Lines(stderr.String()) {
						if !json.Valid([]byte(line)) {
							t.Errorf("not JSON: %s", line)
						}
					}
				}
			})
		}
	}
}

func TestServeAtAnAddressInUse(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	a, stdout, stderr := newTestApp(nil)
	code := a.run([]string{"serve", "--addr", listener.Addr().String()})
	if code != exitOther || stdout.Len() > 0 || !strings.HasPrefix(stderr.String(), "gamma: cannot listen; try another --addr: ") {
		t.Errorf("exit status %d, %q and %q", code, stdout, stderr)
	}
}

// brokenWriter is a writer to a full disk.
type brokenWriter struct{}

var errFull = errors.New("full")

func (brokenWriter) Write([]byte) (int, error) { return 0, errFull }

func TestServeToAFullDisk(t *testing.T) {
	a, _, stderr := newTestApp(nil)
	a.out = brokenWriter{}
	if code := a.run([]string{"serve", "--addr", "127.0.0.1:0"}); code != exitOther || stderr.String() != "gamma: standard output: full\n" {
		t.Errorf("exit status %d, %q", code, stderr)
	}
}

// Dropped connections and truncated responses are logged.
func TestServeLogsFaults(t *testing.T) {
	a, _, stderr := newTestApp(nil)
	s := server{app: a}
	g := gammatest.NewHandler(t)
	g.Next("listThemes", gammatest.Drop(), gammatest.Cut(gammatest.Usual()), gammatest.Slow(1<<20, gammatest.Usual()))
	logged, done := s.logged(g), make(chan bool, 1)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		logged.ServeHTTP(w, r)
		done <- true
	}))
	for range 3 {
		request, err := http.NewRequestWithContext(t.Context(), "POST", web.URL+"/v1.0/themes", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		request.Method = "GET"
		request.Header.Set("X-API-KEY", gammatest.Key)
		request.Close = true // so that nothing is repeated
		if rsp, err := http.DefaultClient.Do(request); err == nil {
			_, _ = io.Copy(io.Discard, rsp.Body)
			_ = rsp.Body.Close()
		}
		<-done
	}
	web.Close()
	want := `^\S+ GET /v1.0/themes - \d+ms connection lost\n\S+ GET /v1.0/themes 200 \d+ms cut off\n\S+ GET /v1.0/themes 200 \d+ms\n$`
	if !regexp.MustCompile(want).MatchString(stderr.String()) {
		t.Errorf("standard error\n%swant\n%s", stderr, want)
	}
}

func TestLines(t *testing.T) {
	var got []string
	_, _ = lines(func(line string) { got = append(got, line) }).Write([]byte("one\ntwo\n"))
	if !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("%q", got)
	}
}

// tell returns what happens to each text if they are created in the given order.
func tell(s story, texts []string) map[string][]fate {
	fates := make(map[string][]fate)
	for _, text := range texts {
		fates[text] = append(fates[text], s.draw(text))
	}
	return fates
}

func TestSameSeedSameResults(t *testing.T) {
	var texts []string
	for i := range 500 {
		texts = append(texts, fmt.Sprint("tea ", i), fmt.Sprint("tea ", i%100))
	}
	s := story{seed: 1, duration: span{time.Second, time.Minute}, failures: 0.3, broken: 0.3, faults: 0.3}
	first := tell(s, texts)
	rand.Shuffle(len(texts), func(i, j int) { texts[i], texts[j] = texts[j], texts[i] })
	second := tell(s, texts)
	another := s
	another.seed = 2
	third := tell(another, texts)
	differ := 0
	for text, fates := range first {
		if !slices.Equal(second[text], fates) {
			t.Errorf("%s: %+v, in another order %+v", text, fates, second[text])
		}
		if !slices.Equal(third[text], fates) {
			differ++
		}
		if len(fates) == 2 && fates[0] == fates[1] {
			t.Errorf("%s: the same twice", text)
		}
	}
	if differ < 450 {
		t.Errorf("another seed changes %d of 500", differ)
	}
	// The flags are independent.
	fewer := s
	fewer.broken, fewer.faults = 0, 0
	for text, fates := range tell(fewer, texts) {
		for i, f := range fates {
			if f.failed != first[text][i].failed || f.pending != first[text][i].pending || f.cuts+f.create+f.poll > 0 {
				t.Errorf("%s: %+v, with other flags %+v", text, f, first[text][i])
			}
		}
	}
}

func TestShares(t *testing.T) {
	s := story{seed: 1, duration: span{20 * time.Second, 60 * time.Second}, failures: 0.1, broken: 0.2, faults: 0.05}
	var failed, broken, create, poll int
	var sum time.Duration
	const n = 20_000
	count := func(n *int, hit bool) {
		if hit {
			*n++
		}
	}
	for i := range n {
		f := s.draw(fmt.Sprint(i))
		if f.pending < 20*time.Second || f.pending > 60*time.Second {
			t.Fatalf("pending for %v", f.pending)
		}
		sum += f.pending
		count(&failed, f.failed)
		count(&broken, f.cuts > 0)
		count(&create, f.create > 0)
		count(&poll, f.poll > 0)
	}
	for what, tt := range map[string]struct {
		got  int
		want float64
	}{"failed": {failed, 0.1}, "broken": {broken, 0.2}, "creates": {create, 0.05}, "polls": {poll, 0.05}, "seconds": {int(sum.Seconds()), 40}} {
		if part := float64(tt.got) / n; part < 0.9*tt.want || part > 1.1*tt.want {
			t.Errorf("%s: %v, want about %v", what, part, tt.want)
		}
	}
}

// A client that retries sees all faults of 60 generations.
func TestServeFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := story{seed: 1, duration: span{20 * time.Second, 60 * time.Second}, exportAfter: 30 * time.Second, failures: 0.2, broken: 1, faults: 1}
		twin := s
		client, g := gammatest.NewClient(t)
		g.OnCreate(s.life)
		p := poller.New(client)
		p.Interval = time.Second
		n := 0 // creates that worked, whatever the client has learned
		for i := range 60 {
			input := fmt.Sprint("tea ", i)
			created, err := client.CreateGeneration(t.Context(), request(input))
			f := twin.draw(input)
			if !errors.Is(err, gamma.ErrMaybeCreated) {
				t.Errorf("%s: %+v, %+v, %v", input, f, created, err)
			}
			if f.create != 3 {
				continue
			}
			n++
			id := fmt.Sprintf("gen%06d", n)
			before, start := len(g.Downloads()), time.Now()
			gen, err := p.WaitExport(t.Context(), id)
			took := time.Since(start)
			var failure *poller.FailedError
			if f.failed {
				if !errors.As(err, &failure) || failure.StatusCode != 422 || took < f.pending {
					t.Errorf("%s: %v after %v, want a failure after %v", input, err, took, f.pending)
				}
				continue
			}
			if err != nil || took < f.pending+s.exportAfter || took > f.pending+s.exportAfter+10*time.Second {
				t.Errorf("%s: %v after %v, want an export after %v", input, err, took, f.pending+s.exportAfter)
				continue
			}
			var file bytes.Buffer
			if err := client.Download(t.Context(), gen.ExportURL, &file); err != nil || !bytes.Equal(file.Bytes(), g.Export(id)) || len(g.Downloads())-before != 1+f.cuts {
				t.Errorf("%s: %v after %d downloads, want %d", input, err, len(g.Downloads())-before, 1+f.cuts)
			}
		}
	})
}
