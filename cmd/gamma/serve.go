package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/spf13/cobra"
)

func newServe(a *app) *cobra.Command {
	s := server{app: a, addr: "127.0.0.1:8080", story: story{duration: span{5 * time.Second, 5 * time.Second}}}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a fake of the API for programs in any language",
		Long: `Runs a fake of the Gamma API until Ctrl-C, for programs in any language. It costs nothing
and needs no key and no network. It validates every request against the OpenAPI document.

Standard output has the environment variables to set, as shell commands. Standard error
has a line for each request (time, method, path, status, milliseconds), and one for each
invalid request: the field or header, and the rule of the document. With --json, both have
one JSON object per line.

Without flags every generation completes after 5 seconds, and has its export at once: a
file of random bytes, not a document. What happens to a generation depends on the seed,
on its text, and on how often that text was created before. It does not depend on the
order of the requests, so that the same seed has the same results. Generations are kept
in memory.

The exit code is 130 after Ctrl-C, 143 after SIGTERM, and 1 if the address is in use.`,
		Example: `  gamma serve
  gamma serve --duration 20s-60s --failures 10% --rate-limit 30/10s --export-after 30s
  gamma serve --broken-downloads 20% --faults 5% --seed 7`,
		Args:              arguments(0, 0, ""),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return s.run(cmd) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&s.addr, "addr", s.addr, "listen on `HOST:PORT`; port 0 means any free port")
	flags.Var(&s.story.duration, "duration", "how long a generation is pending, such as 20s or 20s-60s")
	flags.Var(&s.story.failures, "failures", "the share of generations that fail, such as 10%")
	flags.DurationVar(&s.story.exportAfter, "export-after", 0, "the `TIME` from the end of a generation to its export (default 0s)")
	flags.Var(&s.story.broken, "broken-downloads", "the share of exports whose download breaks off")
	flags.Var(&s.rate, "rate-limit", "respond with 429 to more requests, such as 30/10s (default none)")
	flags.Var(&s.story.faults, "faults", "the share of creates, and of waits, with a 503 or a lost connection")
	flags.Uint64Var(&s.story.seed, "seed", 1, "the number `N` that decides what happens to each generation")
	return cmd
}

// server is the command serve.
type server struct {
	*app
	addr  string
	rate  rate
	story story
}

func (s *server) run(cmd *cobra.Command) error {
	if s.story.exportAfter < 0 {
		return usage("--export-after must not be negative")
	}
	host, port, err := net.SplitHostPort(s.addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return usage("--addr is %q, not a host and a port such as 127.0.0.1:8080", s.addr)
	}
	ctx, release := s.interrupts(cmd.Context(), nil)
	defer release()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.addr)
	if err != nil {
		return fmt.Errorf("gamma: cannot listen; try another --addr: %w", err)
	}
	defer func() { _ = listener.Close() }()

	t := &violations{report: s.violation}
	fake := gammatest.NewHandler(t)
	fake.KeepRequests(0)
	fake.OnCreate(s.story.life)
	if s.rate.n > 0 {
		fake.Budget(s.rate.n, s.rate.per)
	}
	if err := s.announce(runtime.GOOS, host, listener.Addr()); err != nil {
		return errors.Join(err, t.Close())
	}
	web := &http.Server{
		Handler:           s.logged(fake),
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(lines(s.violation), "", 0), // a panic, say
	}
	served := make(chan error, 1)
	go func() { served <- web.Serve(listener) }()
	select {
	case err = <-served:
	case <-ctx.Done(): // the exit code is that of the signal
		_ = web.Close()
		err = nil
	}
	return errors.Join(err, t.Close())
}

// announce prints how to use the fake that listens at host, for the usual shell of goos.
func (s *server) announce(goos, host string, at net.Addr) error {
	everywhere := false
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host, everywhere = "127.0.0.1", true
	}
	base := host
	if tcp, ok := at.(*net.TCPAddr); ok {
		base = net.JoinHostPort(host, strconv.Itoa(tcp.Port))
	}
	variables := [][2]string{{"GAMMA_API_KEY", gammatest.Key}, {"GAMMA_BASE_URL", "http://" + base}}
	if !loopback(host) {
		variables = append(variables, [2]string{"GAMMA_INSECURE_HTTP", "1"})
	}
	if s.json {
		object := make(map[string]string)
		for _, v := range variables {
			object[v[0]] = v[1]
		}
		return s.printJSON(object)
	}
	var text strings.Builder
	for _, v := range variables {
		text.WriteString(assignment(goos, v[0], v[1]))
	}
	if err := s.result(text.String()); err != nil {
		return err
	}
	s.note("this is a fake of the Gamma API: nothing costs credits; Ctrl-C stops it")
	if everywhere {
		s.note("from another machine, use its name for 127.0.0.1, and set GAMMA_INSECURE_HTTP=1 too")
	}
	return nil
}

// assignment returns a line for the usual shell of an operating system.
func assignment(goos, name, value string) string {
	if goos == "windows" {
		return fmt.Sprintf("$env:%s = '%s'\n", name, value)
	}
	return fmt.Sprintf("export %s=%s\n", name, value)
}

// loopback reports whether the SDK sends plain http to host.
func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() || strings.EqualFold(host, "localhost")
}

// logged prints a line for each request that next responds to. The line contains no header, no
// query and no body.
func (s *server) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		seen := &observer{ResponseWriter: w}
		defer func() { // also after a panic that ends the connection
			s.request(start, r, seen)
		}()
		next.ServeHTTP(seen, r)
	})
}

func (s *server) request(start time.Time, r *http.Request, seen *observer) {
	remark := ""
	key := r.Header.Get("X-Api-Key")
	switch {
	case seen.dropped:
		remark = "connection lost"
	case seen.written < seen.length && r.Method != http.MethodHead:
		remark = "cut off"
	case seen.status == http.StatusUnauthorized && key == "":
		remark = "header X-API-KEY is missing"
	case seen.status == http.StatusUnauthorized && key != gammatest.Key:
		remark = "header X-API-KEY is not the key of this fake"
	}
	path := withoutKey(r.URL.EscapedPath())
	ms := time.Since(start).Milliseconds()
	if s.json {
		object := map[string]any{"time": start.UTC(), "method": r.Method, "path": path, "ms": ms}
		if seen.status > 0 {
			object["status"] = seen.status
		}
		if remark != "" {
			object["remark"] = remark
		}
		s.event(object)
		return
	}
	status := "-"
	if seen.status > 0 {
		status = strconv.Itoa(seen.status)
	}
	line := fmt.Sprintf("%s %s %s %s %dms", start.Format("15:04:05"), r.Method, printable(path), status, ms)
	if remark != "" {
		line += " " + remark
	}
	_ = s.write(s.err, line+"\n") // there is no other place to report an error
}

// violation prints why a request is invalid.
func (s *server) violation(text string) {
	text = withoutKey(text)
	if s.json {
		s.event(map[string]any{"time": time.Now().UTC(), "violation": text})
		return
	}
	s.note("%s", printable(text))
}

// event prints an object on standard error.
func (s *server) event(v map[string]any) {
	text, _ := json.Marshal(v) // of strings and numbers
	_ = s.write(s.err, escape(string(text))+"\n")
}

// violations is the TB of the fake. It reports errors at once.
type violations struct {
	gammatest.Program
	report func(string)
}

func (v *violations) Errorf(format string, args ...any) {
	v.report(strings.TrimPrefix(fmt.Sprintf(format, args...), "gammatest: "))
}

// lines is a writer that calls a function with each line.
type lines func(string)

func (f lines) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		f(strings.TrimSuffix(line, "\n"))
	}
	return len(p), nil
}

// observer records the status and the length of a response.
type observer struct {
	http.ResponseWriter
	status          int
	length, written int
	dropped         bool
}

func (o *observer) WriteHeader(status int) {
	o.status = status
	o.length, _ = strconv.Atoi(o.Header().Get("Content-Length"))
	o.ResponseWriter.WriteHeader(status)
}

func (o *observer) Write(p []byte) (int, error) {
	n, err := o.ResponseWriter.Write(p)
	o.written += n
	return n, err
}

// Hijack is called to drop the connection.
func (o *observer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	o.dropped = true
	return http.NewResponseController(o.ResponseWriter).Hijack()
}

// Unwrap is for [http.ResponseController].
func (o *observer) Unwrap() http.ResponseWriter { return o.ResponseWriter }

// story decides what happens to each generation.
type story struct {
	seed                     uint64
	duration                 span
	exportAfter              time.Duration
	failures, broken, faults share

	created map[[sha256.Size]byte]int // how often, by the hash of the text
}

// fate is what happens to one generation.
type fate struct {
	pending  time.Duration
	failed   bool
	cuts     int // of its download
	position int // of each, in bytes
	create   int // fault of the create; 0: none
	poll     int // fault of a poll; 0: none
}

// draw returns the fate of a generation with text. It depends on the seed, on text, and on
// how often text was drawn before. It is not safe for concurrent use.
func (s *story) draw(text string) fate {
	if s.created == nil {
		s.created = make(map[[sha256.Size]byte]int)
	}
	hash := sha256.Sum256([]byte(text))
	s.created[hash]++
	dice := rand.New(rand.NewChaCha8(sha256.Sum256(fmt.Appendf(nil, "%d %d %x", s.seed, s.created[hash], hash))))
	// All numbers are always drawn, in the same order, so that the flags are independent.
	f := fate{pending: s.duration.draw(dice), failed: s.failures.hits(dice)}
	for _, d := range []struct {
		what   *int
		share  share
		values int
	}{{&f.cuts, s.broken, 2}, {&f.create, s.faults, 3}, {&f.poll, s.faults, 2}} {
		hit, value := d.share.hits(dice), 1+dice.IntN(d.values)
		if hit {
			*d.what = value
		}
	}
	f.position = dice.IntN(50_000)
	return f
}

// life returns what happens to the generation that request creates.
func (s *story) life(request api.GenerationRequest) []gammatest.Step {
	f := s.draw(request.InputText)
	unavailable, none := gammatest.Status(http.StatusServiceUnavailable), gammatest.Step{}
	steps := []gammatest.Step{
		[]gammatest.Step{
			none,
			gammatest.ForCreate(unavailable),
			gammatest.ForCreate(gammatest.Drop()), // nothing is created, but the client cannot know
			gammatest.ForCreate(gammatest.Cut(gammatest.Usual())), // it is created
		}[f.create],
		gammatest.PendingFor(f.pending),
		[]gammatest.Step{none, unavailable, gammatest.Drop()}[f.poll],
		gammatest.ForDownload(gammatest.Times(f.cuts, gammatest.CutAfter(f.position, gammatest.Usual()))),
	}
	if f.failed {
		return append(steps, gammatest.Failed(http.StatusUnprocessableEntity, "Failed to generate text. Check your inputs and try again."))
	}
	return append(steps, gammatest.ExportPendingFor(s.exportAfter), gammatest.Completed(""))
}

// share is a flag: a part from 0 to 1, written in percent.
type share float64

func (s *share) String() string { return strconv.FormatFloat(float64(*s)*100, 'g', -1, 64) + "%" }
func (*share) Type() string     { return "PERCENT" }

func (s *share) Set(text string) error {
	number, ok := strings.CutSuffix(text, "%")
	percent, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(percent >= 0 && percent <= 100) { // NaN is neither
		return errors.New("not a share from 0% to 100%")
	}
	*s = share(percent / 100)
	return nil
}

func (s *share) hits(dice *rand.Rand) bool { return dice.Float64() < float64(*s) }

// span is a flag: a duration, or the shortest and the longest one.
type span struct{ least, most time.Duration }

func (*span) Type() string { return "TIME" }

func (s *span) String() string {
	if s.least == s.most {
		return s.least.String()
	}
	return s.least.String() + "-" + s.most.String()
}

func (s *span) Set(text string) error {
	from, to, two := strings.Cut(text, "-")
	if !two {
		to = from
	}
	least, err1 := time.ParseDuration(from)
	most, err2 := time.ParseDuration(to)
	if err1 != nil || err2 != nil || least < 0 || most < least {
		return errors.New("not a time such as 20s, or two such as 20s-60s")
	}
	s.least, s.most = least, most
	return nil
}

func (s *span) draw(dice *rand.Rand) time.Duration {
	return s.least + time.Duration(dice.Float64()*float64(s.most-s.least))
}

// rate is a flag: a number of requests per time. The zero value means no limit.
type rate struct {
	n   int
	per time.Duration
}

func (*rate) Type() string { return "N/TIME" }

func (r *rate) String() string {
	if r.n == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%v", r.n, r.per)
}

func (r *rate) Set(text string) error {
	number, window, _ := strings.Cut(text, "/")
	n, err1 := strconv.Atoi(number)
	per, err2 := time.ParseDuration(window)
	if err1 != nil || err2 != nil || n <= 0 || per <= 0 {
		return errors.New("not a number of requests per time, such as 30/10s")
	}
	r.n, r.per = n, per
	return nil
}
