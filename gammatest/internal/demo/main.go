// Command demo shows the SDK at work. Without arguments it lists the themes of an
// embedded fake server, creates three generations there, waits for them and downloads
// an export:
//
//	go run ./internal/demo
//
// With an id, and the API key in GAMMA_API_KEY, it waits for that generation at
// Gamma:
//
//	GAMMA_API_KEY=sk-gamma-... go run ./internal/demo <id>
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/internal/sample"
	"github.com/gamma-sdk/gamma-go/poller"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, os.Args[1:], 500*time.Millisecond)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run is the program. interval is between polls of the fake server; at Gamma it is the
// default.
func run(ctx context.Context, w io.Writer, args []string, interval time.Duration) error {
	if len(args) > 1 {
		return errors.New("demo: usage: demo [generation id]")
	}
	screen := &screen{w: w, start: time.Now()}
	// make hands over an empty id where none is given.
	if len(args) == 1 && args[0] != "" {
		return waitAtGamma(ctx, screen, args[0])
	}
	return tellStory(ctx, screen, interval)
}

// waitAtGamma waits for the generation id at the API itself.
func waitAtGamma(ctx context.Context, screen *screen, id string) error {
	client, err := gamma.NewClientFromEnv()
	if err != nil {
		return fmt.Errorf("demo: waiting for a generation at Gamma: %w", err)
	}
	host := "Gamma"
	if base := os.Getenv("GAMMA_BASE_URL"); base != "" {
		host = base
	}
	screen.printf("This waits for the generation %s at %s. Ctrl-C ends the wait, not the generation.\n", gamma.Printable(id), host)

	p := poller.New(client)
	p.OnPoll = screen.poll
	gen, err := p.Wait(ctx, id)
	screen.result(id, gen, err)
	if errors.Is(err, context.Canceled) {
		return nil // as the user wished
	}
	return err
}

// job is a generation whose life the fake server is told.
type job struct {
	what    string
	steps   []gammatest.Step
	request func() (gamma.Created, error)
	wait    func(*poller.Poller, context.Context, string) (*api.GenerationStatusResponse, error)
	check   func(*api.GenerationStatusResponse, error) bool

	id  string
	gen *api.GenerationStatusResponse
	err error
}

// tellStory shows what the SDK does, at the fake server: it lists the themes, creates
// three generations, waits for them at once, checks that each ends as it is scripted
// to, and downloads an export.
func tellStory(ctx context.Context, screen *screen, interval time.Duration) (err error) {
	program := new(gammatest.Program)
	defer func() { err = errors.Join(err, program.Close()) }()
	g := gammatest.NewServer(program)
	screen.printf("This talks to an embedded fake server at %s, not to Gamma.\n", g.URL)
	client, err := gamma.NewClient(gammatest.Key, gamma.WithBaseURL(g.URL))
	if err != nil {
		return err
	}

	var theme string
	var names []string
	for t, err := range client.Themes(ctx, nil) {
		if err != nil {
			return err
		}
		theme, names = t.ID, append(names, gamma.Printable(t.Name))
	}
	screen.printf("\nThemes: %s\n", strings.Join(names, ", "))

	// The demo must run with any document, whatever else that requires.
	document := sample.New(gamma.OpenAPI())
	jobs := []*job{{
		what:  "a text, to be exported as a PDF",
		steps: []gammatest.Step{gammatest.Pending(3), gammatest.Completed("")},
		request: func() (gamma.Created, error) {
			return client.CreateGeneration(ctx, sample.Request(document, "createGeneration", api.GenerationRequest{
				InputText: "A short history of tea",
				NumCards:  50,
				ThemeID:   theme,
				ExportAs:  "pdf",
			}))
		},
		wait:  (*poller.Poller).WaitExport,
		check: func(gen *api.GenerationStatusResponse, err error) bool { return err == nil && gen.ExportURL != "" },
	}, {
		what:  "a text, which will fail",
		steps: []gammatest.Step{gammatest.Pending(2), gammatest.Failed(422, "Failed to generate text. Check your inputs and try again.")},
		request: func() (gamma.Created, error) {
			return client.CreateGeneration(ctx, sample.Request(document, "createGeneration", api.GenerationRequest{InputText: "?"}))
		},
		wait: (*poller.Poller).Wait,
		check: func(_ *api.GenerationStatusResponse, err error) bool {
			var failed *poller.FailedError
			return errors.As(err, &failed) && failed.StatusCode == http.StatusUnprocessableEntity
		},
	}, {
		what:  "a template, with a 429 and a dropped connection on the way",
		steps: []gammatest.Step{gammatest.Pending(1), gammatest.RateLimited(time.Second), gammatest.Drop(), gammatest.Pending(1), gammatest.Completed("")},
		request: func() (gamma.Created, error) {
			return client.CreateFromTemplateGeneration(ctx, sample.Request(document, "createFromTemplateGeneration", api.TemplateGenerationRequest{
				GammaID: "g_template",
				Prompt:  "A short history of coffee",
			}))
		},
		wait: (*poller.Poller).Wait,
		check: func(_ *api.GenerationStatusResponse, err error) bool {
			return err == nil && screen.limited == 1 && screen.dropped == 1
		},
	}}
	for _, job := range jobs {
		g.OnCreate(func(api.GenerationRequest) []gammatest.Step { return job.steps })
		c, err := job.request()
		if err != nil {
			return err
		}
		job.id = c.GenerationID
		screen.printf("Created %s from %s\n", c.GenerationID, job.what)
		if c.Warnings != "" {
			screen.printf("  with a warning: %s\n", c.Warnings)
		}
	}
	screen.printf("\n")

	p := poller.New(client)
	p.Interval, p.Timeout, p.OnPoll = interval, 14*time.Second, screen.poll
	var waits sync.WaitGroup
	for _, job := range jobs {
		waits.Go(func() { job.gen, job.err = job.wait(p, ctx, job.id) })
	}
	waits.Wait()
	for _, job := range jobs {
		screen.result(job.id, job.gen, job.err)
		if !job.check(job.gen, job.err) {
			err = errors.Join(err, fmt.Errorf("demo: the generation %s did not go as scripted", job.id), job.err)
		}
	}
	if err != nil {
		return err
	}
	g.NextDownload(gammatest.CutAfter(40_000, gammatest.Usual()))
	return download(ctx, client, screen, jobs[0].gen.ExportURL)
}

// download fetches the export to a file, and removes it again: it is not a real one.
func download(ctx context.Context, client *gamma.Client, screen *screen, link string) error {
	dir, err := os.MkdirTemp("", "gamma-demo-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "tea.pdf")
	screen.printf("\nDownloading the export; the connection will break once\n")
	err = client.DownloadFile(ctx, link, path, gamma.WithProgress(func(written, total int64) {
		screen.printf("%6.2fs  %6d of %d bytes\n", time.Since(screen.start).Seconds(), written, total)
	}))
	if err != nil {
		return err
	}
	screen.printf("Saved as %s\n", path)
	return nil
}

// screen is where concurrent waits write.
type screen struct {
	start time.Time

	mu      sync.Mutex
	w       io.Writer
	limited int // polls with status 429
	dropped int // polls without a response
}

func (s *screen) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(s.w, format, args...)
}

// poll prints the line of one poll.
func (s *screen) poll(ev poller.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	what := gamma.Printable(string(ev.Status))
	if ev.Err != nil {
		what = strings.TrimPrefix(ev.Err.Error(), "gamma: ")
		var apiErr *gamma.APIError
		switch {
		case errors.Is(ev.Err, gamma.ErrRateLimited):
			s.limited++
		case !errors.As(ev.Err, &apiErr):
			s.dropped++
		}
	}
	next := "no more polls"
	if ev.Next > 0 {
		next = fmt.Sprintf("next poll in %.1fs", ev.Next.Seconds())
	}
	s.printf("%6.2fs  %-10s  %s, %s\n", time.Since(s.start).Seconds(), ev.ID, what, next)
}

// result prints how the wait for the generation id ended.
func (s *screen) result(id string, gen *api.GenerationStatusResponse, err error) {
	var (
		failed *poller.FailedError
		ended  *poller.WaitError
	)
	switch {
	case err == nil:
		s.printf("\n%s completed\n", gamma.Printable(id))
		s.printf("  URL      %s\n", orNone(gen.GammaURL))
		s.printf("  export   %s\n", orNone(gen.ExportURL))
	case errors.As(err, &failed):
		s.printf("\n%s failed, found with errors.As as a *poller.FailedError\n", failed.ID)
		s.printf("  Message     %s\n", orNone(failed.Message))
		s.printf("  StatusCode  %d\n", failed.StatusCode)
	case errors.As(err, &ended):
		token, _ := json.Marshal(ended.Progress) // plain data
		s.printf("\nThe wait for %s ended, the generation did not. To resume, pass this Progress to Poller.Watch:\n%s\n", ended.ID, token)
	}
	if gen != nil && gen.Credits != nil {
		s.printf("  credits  %s deducted, %s remaining\n", whole(gen.Credits.Deducted), whole(gen.Credits.Remaining))
	}
}

// whole prints a number in digits, whether it is an integer in the document or not.
func whole[N int | int32 | int64 | float32 | float64](n *N) string {
	if n == nil {
		return "unknown"
	}
	return strconv.FormatFloat(float64(*n), 'f', 0, 64)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return gamma.Printable(s)
}
