package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/cmd/gamma/internal/screen"
	"github.com/gamma-sdk/gamma-go/poller"
	"github.com/spf13/cobra"
)

// maxSaves is how many exports are saved at once.
const maxSaves = 4

// maxLine is the length of the longest line of input.
const maxLine = 4 << 20

func newWait(a *app) *cobra.Command {
	w := wait{app: a}
	cmd := &cobra.Command{
		Use:   "wait ID... | -",
		Short: "Wait for generations, and save their exports",
		Long: `Waits until each generation has finished. With --dir it also waits for the exports, and
saves each as ID.pdf, ID.pptx, or ID.zip for png.

With - the ids are read from standard input: one per line, or the output of create or
wait, with or without --json. A line of JSON without an id, such as an error of create, is
skipped; its error counts for the exit code.

Standard output has a line for each generation that completes: the id, the status, and the
path of the export or else the URL of the Gamma, separated by tabs.

If a wait ends early, nothing is lost: run the same command again.`,
		Example: `  gamma wait abc123
  gamma wait --dir out abc123 def456
  gamma create --no-wait --json *.md | gamma wait --dir out -`,
		Args:              arguments(1, -1, "the id of a generation, or -,"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return w.run(cmd.Context(), args)
		},
	}
	cmd.Flags().StringVar(&w.dir, "dir", "", "save the exports in `DIR` (default: save none)")
	cmd.Flags().DurationVar(&w.timeout, "timeout", time.Hour, "wait at most `TIME`; 0 means no limit")
	return cmd
}

// wait is the command wait.
type wait struct {
	*app
	dir     string
	timeout time.Duration
	client  *gamma.Client
	display *screen.Display

	mu                  sync.Mutex // of the fields below; exports are saved in the background
	finished, completed int

	codes []int
	err   error // of standard output; after it nothing is printed
}

// job is a generation to wait for.
type job struct{ id, input string }

func (w *wait) run(ctx context.Context, args []string) error {
	if w.timeout < 0 {
		return usage("--timeout must not be negative")
	}
	jobs, err := w.jobs(args)
	if err != nil {
		return err
	}
	ctx, release := w.interrupts(ctx, nil)
	defer release()
	if w.client, err = w.app.client(ctx); err != nil {
		return err
	}
	if w.dir != "" {
		if err := os.MkdirAll(w.dir, 0o777); err != nil {
			return usage("--dir: %w", err)
		}
	}
	return w.all(ctx, newPoller(w.client, w.timeout), jobs)
}

// newPoller returns a poller with the timeout of --timeout, where 0 means none.
func newPoller(client *gamma.Client, timeout time.Duration) *poller.Poller {
	p := poller.New(client)
	p.Timeout = timeout
	if timeout == 0 {
		p.Timeout = -1
	}
	return p
}

// showPolls returns an OnPoll that shows polls on d.
func showPolls(d *screen.Display) func(poller.Event) {
	return func(e poller.Event) {
		d.Poll(e.ID, e.Polls, e.NextPoll)
		if errors.Is(e.Err, gamma.ErrRateLimited) {
			d.Pause(reason(e.Err), e.NextPoll)
		}
	}
}

// all waits for jobs, and prints each as it ends.
func (w *wait) all(ctx context.Context, p *poller.Poller, jobs []job) error {
	inputs := make(map[string]string, len(jobs))
	for _, j := range jobs {
		inputs[j.id] = j.input
	}
	waits := func(yield func(poller.Progress) bool) {
		for _, j := range jobs {
			w.display.Wait(cmp.Or(j.input, j.id), j.id, time.Time{})
			if !yield(poller.Progress{ID: j.id, Export: w.dir != ""}) {
				return
			}
		}
	}
	w.display = w.app.display()
	defer w.display.Close()
	w.display.Total(len(jobs))
	start := time.Now()
	p.OnPoll = showPolls(w.display)
	var saves sync.WaitGroup
	capacity := make(chan struct{}, maxSaves)
	for result := range p.All(ctx, waits) {
		switch {
		case errors.Is(result.Err, errInterrupted):
			if result.ID != "" {
				w.end(recordOf(result, inputs))
			}
		case result.ID == "":
			w.end(record{Err: result.Err})
		case result.Err == nil && w.dir != "":
			capacity <- struct{}{}
			saves.Go(func() {
				defer func() { <-capacity }()
				w.save(ctx, recordOf(result, inputs))
			})
		default:
			w.end(recordOf(result, inputs))
		}
		if w.failed() {
			break
		}
	}
	saves.Wait()
	w.display.Close()
	if ctx.Err() != nil && w.interrupted() {
		w.note("interrupted: %d of %d generations have finished; run the same command to wait for the others", w.finished, len(jobs))
		return exitError{exitOther}
	}
	if w.err != nil {
		return w.err
	}
	if w.progress != "none" {
		w.note("%d of %d generations completed in %s", w.completed, len(jobs), screen.Duration(time.Since(start)))
	}
	return exit(w.codes)
}

func recordOf(result poller.Result, inputs map[string]string) record {
	return record{Input: inputs[result.ID], GenerationID: result.ID, Generation: result.Generation, Err: result.Err}
}

// save saves the export of r, and prints r.
func (w *wait) save(ctx context.Context, r record) {
	w.display.Save(r.GenerationID)
	link := r.Generation.ExportURL
	name := filepath.Join(w.dir, r.GenerationID+extension(link))
	if err := w.client.DownloadFile(ctx, link, name); err != nil {
		r.Err = saveError{err}
	} else {
		r.Saved = name
	}
	w.end(r)
}

// end prints r. It prints an interrupted wait only with --json.
func (w *wait) end(r record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.err != nil:
		return
	case errors.Is(r.Err, errInterrupted):
		if w.json {
			w.err = w.print(r)
		}
		return
	}
	w.finished++
	if r.Err == nil {
		w.completed++
	}
	w.codes = append(w.codes, exitCode(r.Err))
	w.err = w.app.end(w.display, r)
}

func (w *wait) failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err != nil
}

var extensions = regexp.MustCompile(`^\.[A-Za-z0-9]{1,8}$`)

// extension returns the extension of the file behind link, with its dot; none if the link
// has none.
func extension(link string) string {
	u, err := url.Parse(link)
	if err != nil {
		return ""
	}
	if ext := path.Ext(u.Path); extensions.MatchString(ext) {
		return strings.ToLower(ext)
	}
	return ""
}

// jobs returns the generations of args, each id once.
func (w *wait) jobs(args []string) ([]job, error) {
	var jobs []job
	if args[0] == "-" && len(args) == 1 {
		var err error
		if jobs, err = w.read(w.in); err != nil {
			return nil, err
		}
	} else {
		for i, id := range args {
			if id == "-" {
				return nil, usage("- and ID cannot be used together")
			}
			if err := checkID(id); err != nil {
				return nil, usage("argument %d: %w", i+1, err)
			}
			jobs = append(jobs, job{id: id})
		}
	}
	seen := make(map[string]bool, len(jobs))
	return slices.DeleteFunc(jobs, func(j job) bool {
		again := seen[j.id]
		seen[j.id] = true
		return again
	}), nil
}

// read reads lines of in: an id, an id and a tab and more, or a JSON object with
// "generationId". The error of an object without one counts for the exit status.
func (w *wait) read(in io.Reader) (jobs []job, err error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(strings.TrimPrefix(lines.Text(), byteOrderMark))
		if line == "" {
			continue
		}
		var j job
		if strings.HasPrefix(line, "{") {
			var object struct {
				GenerationID string `json:"generationId"`
				Input        string `json:"input"`
				Error        struct {
					Code    string `json:"code"`
					Message string `json:"message"`
				} `json:"error"`
			}
			if json.Unmarshal([]byte(line), &object) != nil {
				return nil, usage("standard input, line %d: not a JSON object of a generation", n)
			}
			j = job{object.GenerationID, object.Input}
			if j.id == "" {
				why := record{Input: j.input}.name() + gamma.Printable(object.Error.Message)
				w.note("standard input, line %d has no generation, skipped: %s", n, why)
				w.codes = append(w.codes, exitOfCode(object.Error.Code))
				continue
			}
		} else {
			j.id, _, _ = strings.Cut(line, "\t")
			j.id = strings.TrimSpace(j.id)
		}
		if err := checkID(j.id); err != nil {
			return nil, usage("standard input, line %d: %w", n, err)
		}
		jobs = append(jobs, j)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("gamma: standard input: %w", err)
	}
	if len(jobs) == 0 && len(w.codes) == 0 {
		return nil, usage("standard input has no id")
	}
	return jobs, nil
}

// exitOfCode returns the exit status that goes with the code of a JSON error.
func exitOfCode(code string) int {
	if i := slices.IndexFunc(kinds, func(k kind) bool { return k.code == code }); i >= 0 {
		return kinds[i].exit
	}
	return exitOther
}
