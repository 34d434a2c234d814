package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/batch"
	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/internal/test/sample"
	"github.com/gamma-sdk/gamma-go/poller"
	"github.com/spf13/cobra"
)

// demoTimeout is the timeout of the demo.
const demoTimeout = 14 * time.Second

func newDemo(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Run a batch against a fake API, with failures",
		Long: `Turns four texts into PDF files with a fake of the Gamma API inside this program. The rate
limit is reached, a text fails, a connection breaks, an export is late, and a download
breaks off. Then it runs the same batch again, as after a crash: nothing is sent twice.

It takes a few seconds, needs no key and no network, and leaves no files behind. With
--json, standard output has only the results, one object per line.`,
		Example:           "  gamma demo",
		Args:              arguments(0, 0, ""),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			ctx, release := a.interrupts(cmd.Context(), nil)
			defer release()
			ctx, cancel := context.WithTimeoutCause(ctx, demoTimeout, fmt.Errorf("gamma: the demo has not ended within %v", demoTimeout))
			defer cancel()
			dir, err := os.MkdirTemp("", "gamma-demo-")
			if err != nil {
				return fmt.Errorf("gamma: %w", err)
			}
			defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
			d := demo{app: a, dir: dir, stop: cancel}
			return d.run(ctx)
		},
	}
}

// demo is the command demo.
type demo struct {
	*app
	dir  string
	stop func() // ends run

	fake  *gammatest.API
	start time.Time

	mu    sync.Mutex
	names map[string]string // of inputs, by the id of the generation
	late  map[string]bool   // names of inputs whose late export was printed
	err   error             // of standard output; the demo stops then
}

// demoInputs are the texts of the demo, and how their generations end.
var demoInputs = []struct{ name, ends string }{
	{"tea.md", "saved"},
	{"coffee.md", "saved"},
	{"milk.md", "saved"},
	{"cocoa.md", "failed"},
}

// demoLife returns what happens to the generation of each text.
func demoLife() func(api.GenerationRequest) []gammatest.Step {
	limited := false
	return func(request api.GenerationRequest) []gammatest.Step {
		switch request.InputText {
		case "tea.md":
			return []gammatest.Step{gammatest.PendingFor(time.Second), gammatest.Completed(""), gammatest.ForDownload(gammatest.CutAfter(40_000, gammatest.Usual()))}
		case "coffee.md":
			return []gammatest.Step{gammatest.PendingFor(time.Second), gammatest.ExportPendingFor(2 * time.Second), gammatest.Completed("")}
		case "milk.md":
			if limited = !limited; limited {
				return []gammatest.Step{gammatest.ForCreate(gammatest.RateLimited(time.Second))}
			}
			return []gammatest.Step{gammatest.Pending(1), gammatest.Drop(), gammatest.Completed("")}
		}
		return []gammatest.Step{gammatest.PendingFor(time.Second), gammatest.Failed(http.StatusUnprocessableEntity, "Failed to generate text.")}
	}
}

func (d *demo) run(ctx context.Context) (err error) {
	program := new(gammatest.Program)
	defer func() {
		switch {
		case d.err != nil:
			err = d.err
		case err != nil && ctx.Err() != nil: // the cause of any other error
			err = context.Cause(ctx)
		}
		err = errors.Join(err, program.Close())
	}()
	client, fake := gammatest.NewClient(program)
	fake.OnCreate(demoLife())
	d.fake = fake
	d.names, d.late, d.start = make(map[string]string), make(map[string]bool), time.Now()
	b := &batch.Batch{Client: client, Dir: d.dir, OnEvent: d.event, Poller: poller.New(client)}
	b.Poller.Interval, b.Poller.OnPoll = 500*time.Millisecond, d.poll

	d.print("", "This is a fake of the Gamma API, inside this program: it costs nothing.")
	d.print("", "Four texts become PDF files. Meanwhile the rate limit is reached, a text fails,")
	d.print("", "a connection breaks, an export is late, and a download breaks off.\n")
	if err := d.batch(ctx, b, false); err != nil {
		return err
	}
	sent := len(d.fake.Requests())
	d.print("", "\nThe same batch again, as after a crash. Its journal knows what was paid:")
	if err := d.batch(ctx, b, true); err != nil {
		return err
	}
	if n := len(d.fake.Requests()); n != sent {
		return fmt.Errorf("gamma: the second run sent %d requests", n-sent)
	}
	d.print("", `
The same with your texts; the third line resumes after Ctrl-C or a crash:

  export GAMMA_API_KEY=sk-gamma-...
  gamma create --export pdf --dir decks texts/*.md
  gamma create --export pdf --dir decks texts/*.md`)
	return nil
}

// batch runs b, and checks how every generation ends.
func (d *demo) batch(ctx context.Context, b *batch.Batch, again bool) error {
	// The demo works with any OpenAPI document, whatever it requires of a request.
	document := sample.New(gamma.OpenAPI())
	ends := make(map[string]string)
	for result := range b.Run(ctx, func(yield func(batch.Input) bool) {
		for _, in := range demoInputs {
			request := sample.Request(document, "createGeneration", api.GenerationRequest{InputText: in.name, ExportAs: "pdf"})
			if !yield(batch.Input{Key: in.name, File: strings.TrimSuffix(in.name, ".md"), Request: request}) {
				return
			}
		}
	}) {
		ends[result.Key] = d.result(result, again)
	}
	for _, in := range demoInputs {
		if ends[in.name] != in.ends {
			return fmt.Errorf("gamma: the generation of %s ended as %q, not %q", in.name, ends[in.name], in.ends)
		}
	}
	return nil
}

// result prints the result of an input, and returns it as a word.
func (d *demo) result(r batch.Result, again bool) string {
	if d.json {
		if err := d.app.print(batchRecord(r)); err != nil {
			d.keep(err)
		}
	}
	var failed *poller.FailedError
	file := filepath.Base(r.Saved)
	downloads := 0
	for _, request := range d.fake.Downloads() {
		if strings.Contains(request.Path, r.GenerationID+".") {
			downloads++
		}
	}
	switch {
	case errors.As(r.Err, &failed) && again:
		d.print(r.Key, "has failed: left alone, --retry failed creates it again")
		return "failed"
	case errors.As(r.Err, &failed):
		d.print(r.Key, "failed: %s", gamma.Printable(failed.Message))
		return "failed"
	case r.Err != nil:
		d.print(r.Key, "%s", message(r.Err))
		return message(r.Err)
	case r.Earlier:
		d.print(r.Key, "is saved already: nothing is sent")
		return "saved"
	case r.Saved != "" && downloads > 1:
		d.print(r.Key, "saved as %s; the download broke off, and was resumed", file)
		return "saved"
	case r.Saved != "":
		d.print(r.Key, "saved as %s", file)
		return "saved"
	}
	return "completed"
}

// event prints a step of the batch.
func (d *demo) event(e batch.Event) {
	switch e.Step {
	case batch.Created:
		d.mu.Lock()
		d.names[e.GenerationID] = e.Key
		d.mu.Unlock()
		d.print(e.Key, "created as %s", gamma.Printable(e.GenerationID))
	case batch.Pausing:
		why := "the rate limit is spent"
		if errors.Is(e.Err, gamma.ErrRateLimited) {
			why = "429, so nothing was created"
		} else if e.Err != nil {
			why = message(e.Err)
		}
		d.print(e.Key, "%s; next try in %.1fs", why, e.Pause.Seconds())
	}
}

// poll prints a poll with a fault or a late export.
func (d *demo) poll(e poller.Event) {
	d.mu.Lock()
	name := d.names[e.ID]
	late := e.Err == nil && e.Generation != nil && string(e.Status) == "completed" && e.Next > 0 && !d.late[name]
	if late {
		d.late[name] = true
	}
	d.mu.Unlock()
	switch {
	case late:
		d.print(name, "completed, but its export is not there yet")
	case e.Err != nil && e.Next > 0:
		d.print(name, "the connection broke; next poll in %.1fs", e.Next.Seconds())
	}
}

// print prints a line about name, or without a name. With --json it prints to standard
// error.
func (d *demo) print(name, format string, args ...any) {
	w := d.out
	if d.json {
		w = d.app.err
	}
	text := fmt.Sprintf(format, args...) + "\n"
	if name != "" {
		text = fmt.Sprintf("%5.1fs  %-10s %s", time.Since(d.start).Seconds(), name, text)
	}
	if err := d.write(w, text); err != nil && !d.json {
		d.keep(writeError{err})
	}
}

// keep keeps the first error of standard output, and stops the demo.
func (d *demo) keep(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil {
		d.err = err
		d.stop()
	}
}
