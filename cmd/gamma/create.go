package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/batch"
	"github.com/gamma-sdk/gamma-go/cmd/gamma/internal/screen"
)

// firstPoll is the time from a create to the first poll. Few generations finish sooner.
const firstPoll = 20 * time.Second

// create is the command create.
type create struct {
	*app
	cmd *cobra.Command

	text, dir, export, request string
	retry                      []string
	timeout                    time.Duration
	noWait, dryRun             bool
}

// fieldFlags are the fields of a request that have a flag; --request has them all.
var fieldFlags = []struct{ name, field, usage string }{
	{"format", "format", "`KIND`: presentation, document, webpage or social (default: presentation)"},
	{"text-mode", "textMode", "`MODE`: generate, condense or preserve the text (default: Gamma's)"},
	{"card-split", "cardSplit", "`HOW`: auto, or inputTextBreaks to split at --- lines (default: auto)"},
	{"theme-id", "themeId", "`ID` of a theme, see gamma themes (default: the workspace's)"},
	{"additional-instructions", "additionalInstructions", "more guidance in free `TEXT` (default: none)"},
	{"language", "textOptions.language", "`CODE` of the language to write, such as pt-br (default: Gamma's)"},
	{"tone", "textOptions.tone", "tone of the writing in free `TEXT` (default: Gamma's)"},
	{"amount", "textOptions.amount", "`SIZE`: brief, medium, detailed or extensive (default: Gamma's)"},
	{"image-source", "imageOptions.source", "`SOURCE` of the images, such as aiGenerated or noImages (default: Gamma's)"},
}

var exports = []string{"pdf", "pptx", "png"}

func newCreate(a *app) *cobra.Command {
	c := &create{app: a}
	c.cmd = &cobra.Command{
		Use:   "create FILE... | - | --text TEXT",
		Short: "Create generations from texts, wait, save exports",
		Long: `Creates a generation from each FILE, from the text on standard input (-) or from TEXT,
and waits until it has finished. With --export it saves the export in --dir, with the name
of FILE.

The journal gamma.jsonl in --dir records every step. To resume, run the same command
again: it skips what is finished, and waits for what was created. Without --retry it does
not repeat a create that failed or may have been paid for. A text that has changed is
created again. All texts are checked before anything is sent.

Standard output has a line for each generation that completes: the id, the status, the
path of the export or else the URL of the Gamma, and FILE, separated by tabs.

The first Ctrl-C waits for the creates in flight, because their responses have the ids.
The second stops at once.`,
		Example: `  gamma create --export pdf --dir decks texts/*.md
  gamma create --text "A talk about tea" --num-cards 5
  gamma create --dry-run --request deck.json notes.md`,
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args) },
	}
	flags := c.cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&c.text, "text", "", "create from `TEXT` instead of a file (default: none)")
	flags.StringVar(&c.dir, "dir", ".", "`DIR` for the journal and the exports, created if missing")
	flags.StringVar(&c.export, "export", "", "save as `TYPE`: pdf, pptx, or png in a zip (default: save nothing)")
	flags.StringVar(&c.request, "request", "", "JSON `FILE` with any fields of the request; flags win (default: none)")
	flags.BoolVar(&c.noWait, "no-wait", false, "only create; to wait later, run it again without this flag, or gamma wait (default: wait)")
	flags.BoolVar(&c.dryRun, "dry-run", false, "check, and print what would be done, but send and write nothing (default: do it)")
	flags.StringSliceVar(&c.retry, "retry", nil, "create again `WHAT`: uncertain, failed, or uncertain,failed (default: nothing)")
	flags.DurationVar(&c.timeout, "timeout", time.Hour, "wait for each generation at most `TIME`; 0 means no limit")
	flags.Int("num-cards", 0, "`NUMBER` of cards (default: Gamma's)")
	for _, f := range fieldFlags {
		flags.String(f.name, "", f.usage)
	}
	for name, values := range map[string][]string{"export": exports, "retry": {"uncertain", "failed"}} {
		_ = c.cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	return c.cmd
}

func (c *create) run(ctx context.Context, args []string) error {
	b := &batch.Batch{Dir: c.dir, NoWait: c.noWait}
	f, sources, err := c.prepare(b, args)
	if err != nil {
		return err
	}
	if c.dryRun { // a client, so that Plan checks the server of the journal
		if b.Client, err = c.clientOf("sends nothing"); err != nil {
			return err
		}
	}
	if err := c.plan(b, f, sources); err != nil || c.dryRun {
		return err
	}
	if b.Client, err = c.client(ctx); err != nil {
		return err
	}
	b.Poller = newPoller(b.Client, c.timeout)
	b.Poller.FirstPoll = firstPoll
	if c.timeout > 0 { // so that there is time for more than one poll
		b.Poller.FirstPoll = min(firstPoll, c.timeout/10)
	}
	return c.batch(ctx, b, f, sources)
}

// prepare validates the command line, and returns the request and the inputs.
func (c *create) prepare(b *batch.Batch, args []string) (form, []source, error) {
	if c.export != "" && !slices.Contains(exports, c.export) {
		return form{}, nil, usage("--export is %q, not pdf, pptx or png", c.export)
	}
	if c.timeout < 0 {
		return form{}, nil, usage("--timeout must not be negative")
	}
	for _, retry := range c.retry {
		switch retry {
		case "uncertain":
			b.Retry |= batch.Uncertain
		case "failed":
			b.Retry |= batch.Failed
		default:
			return form{}, nil, usage("--retry is %q, not uncertain or failed", retry)
		}
	}
	f, err := c.form()
	if err != nil {
		return form{}, nil, err
	}
	sources, errs := c.sources(f, args)
	switch len(errs) {
	case 0:
		return f, sources, nil
	case 1:
		return form{}, nil, usageError{errs[0]}
	}
	for _, err := range errs {
		c.note("%s", message(err))
	}
	return form{}, nil, usage("nothing was sent: %d of %d inputs are invalid", len(errs), len(args))
}

// form returns the request of the flags and of the file of --request.
func (c *create) form() (form, error) {
	f := form{fields: map[string]any{}}
	if c.request != "" {
		text, err := source{path: c.request}.read()
		if err == nil {
			f, err = readForm(text)
		}
		if err != nil {
			return form{}, usage("--request: %w", about(c.request, err))
		}
	}
	flags := c.cmd.Flags()
	var err error
	set := func(field string, value any) { err = cmp.Or(err, f.set(field, value)) }
	for _, flag := range fieldFlags {
		if flags.Changed(flag.name) {
			set(flag.field, flags.Lookup(flag.name).Value.String())
		}
	}
	if flags.Changed("num-cards") {
		n, _ := flags.GetInt("num-cards")
		set("numCards", n)
	}
	if c.export != "" {
		set("exportAs", c.export)
	}
	if err = cmp.Or(err, f.check()); err != nil {
		return form{}, usage("the request: %w", err)
	}
	return f, nil
}

// sources returns the inputs, and an error for each invalid one of args.
func (c *create) sources(f form, args []string) ([]source, []error) {
	given := c.cmd.Flags().Changed("text")
	one := func(s source, err error) ([]source, []error) {
		if err != nil {
			return nil, []error{err}
		}
		return []source{s}, nil
	}
	wrong := func(text string) ([]source, []error) { return one(source{}, errors.New(text)) }
	own := f.hasText()
	switch {
	case given && len(args) > 0:
		return wrong("--text and FILE cannot be used together")
	case own != "" && (given || len(args) > 0):
		return wrong("the file of --request has " + own + " already: it cannot be used together with FILE or --text")
	case given:
		text, err := readText(strings.NewReader(c.text))
		if err != nil {
			err = fmt.Errorf("--text: %w", err)
		}
		return one(textSource(text), err)
	case len(args) == 1 && args[0] == "-" && (c.keyFile == "/dev/stdin" || c.keyFile == "/dev/fd/0"):
		return wrong("standard input cannot have both the key and the text")
	case len(args) == 1 && args[0] == "-":
		text, err := readText(c.in)
		if err != nil {
			err = fmt.Errorf("standard input: %w", err)
		}
		return one(textSource(text), err)
	case len(args) > 0:
		for _, arg := range args {
			if arg == "-" {
				return wrong("- and FILE cannot be used together; a file with that name is ./-")
			}
		}
		return fileSources(args, f.fields["exportAs"] != nil)
	case c.request != "": // validated later, with the other limits of the API
		path := filepath.Clean(c.request)
		return one(source{key: filepath.ToSlash(path), name: exportName(path)}, nil)
	}
	return wrong("no text: name files, - for standard input, or use --text")
}

// plan reads every text. With --dry-run it prints what a run would do for it. It prints
// each invalid input, and returns an error if there is one.
func (c *create) plan(b *batch.Batch, f form, sources []source) error {
	found, again := make(map[batch.Action]int), 0
	refuse := func(key string, err error) error {
		found[batch.Refuse]++
		var invalid *gamma.InvalidRequestError
		if !errors.As(err, &invalid) {
			err = usageError{err}
		} else if !c.json { // without the operation
			err = fmt.Errorf("%s %s", invalid.Field, invalid.Reason)
		}
		return c.print(record{Input: key, Err: err})
	}
	var err error
	failed := func(s source, unreadable error) { err = cmp.Or(err, refuse(s.key, unreadable)) }
	for p := range b.Plan(f.inputs(sources, failed)) {
		switch {
		case err != nil:
		case p.Key == "":
			return journalError{p.Err}
		case p.Action == batch.Refuse:
			err = refuse(p.Key, p.Err)
		default:
			found[p.Action]++
			if p.Action == batch.Create && p.GenerationID != "" {
				again++
			}
			if c.dryRun {
				err = c.printPlan(p)
			}
		}
		if err != nil {
			return err
		}
	}
	if again > 0 && found[batch.Refuse] == 0 {
		c.note("%d to create again, which costs credits again: the text or the flags have changed, or --retry asks for it", again)
	}
	if c.dryRun {
		c.note("dry run: %d to create%s", found[batch.Create], counts([]count{
			{found[batch.Wait], "to wait for"},
			{found[batch.Skip], "done by an earlier run"},
			{found[batch.Leave], "to leave alone: see --retry"},
			{found[batch.Refuse], "invalid"},
		}))
	}
	switch n := found[batch.Refuse]; {
	case err != nil || n == 0:
		return err
	case len(sources) == 1:
		return exitError{exitUsage}
	default:
		return usage("nothing was sent: %d of %d inputs are invalid", n, len(sources))
	}
}

func (c *create) printPlan(p batch.Plan) error {
	if !c.json {
		return c.printLine(string(p.Action), p.GenerationID, p.Key)
	}
	fields := record{Input: p.Key, GenerationID: p.GenerationID, Err: p.Err}.fields()
	fields["action"] = p.Action
	return c.printJSON(fields)
}

// batch runs b and prints its results.
func (c *create) batch(ctx context.Context, b *batch.Batch, f form, sources []source) error {
	d := c.display()
	defer d.Close()
	d.Total(len(sources))
	var created atomic.Int64
	b.OnEvent = func(e batch.Event) {
		switch e.Step {
		case batch.Creating:
			d.Start(e.Key)
		case batch.Created:
			created.Add(1)
		case batch.Waiting:
			d.Wait(e.Key, e.GenerationID, time.Time{})
		case batch.Saving:
			d.Save(e.GenerationID)
		case batch.Pausing:
			d.Pause(reason(e.Err), time.Now().Add(e.Pause))
		}
	}
	b.Poller.OnPoll = showPolls(d)
	ctx, release := c.interrupts(ctx, func() {
		c.note("stopping after the creates in flight; press Ctrl-C again to stop at once")
		b.Stop()
	})
	defer release()

	start := time.Now()
	var t tally
	var broken error // standard output
	report := func(r batch.Result) {
		switch {
		case r.Err == nil:
		case r.Key == "" && !stopped(r.Err):
			r.Err = journalError{r.Err}
		case r.Generation != nil: // unless the generation failed, which counts first
			r.Err = saveError{r.Err}
		}
		t.add(r)
		var err error
		switch {
		case r.Key != "" && !stopped(r.Err) && (c.json || !t.again(r)):
			err = c.end(d, batchRecord(r))
		case r.Key == "" && !stopped(r.Err), c.json:
			err = c.print(batchRecord(r))
		case !stopped(r.Err):
			d.End(r.Key, "", false)
		}
		if err != nil && broken == nil {
			broken = err
			b.Stop() // the ids of creates in flight still get into the journal
		}
	}
	var mu sync.Mutex
	var unreadable []batch.Result
	inputs := f.inputs(sources, func(s source, err error) {
		mu.Lock()
		defer mu.Unlock()
		unreadable = append(unreadable, batch.Result{Key: s.key, Err: err})
	})
	for r := range b.Run(ctx, inputs) {
		report(r)
	}
	for _, r := range unreadable {
		report(r)
	}
	d.Close()

	t.created = int(created.Load())
	if broken != nil {
		t.codes = append(t.codes, c.finish(broken))
	}
	elapsed := time.Since(start)
	if c.progress == "none" {
		elapsed = 0
	}
	for _, line := range t.lines(len(sources), elapsed, c.interrupted() || broken != nil) {
		c.note("%s", line)
	}
	return exit(t.codes)
}

// tally counts the results.
type tally struct {
	created, done, saved, skipped, failed, uncertain, unfinished, stopped, other int

	deducted float64        // credits
	charged  bool           // deducted is known
	seen     map[string]int // errors without a generation, and how often each occurred
	codes    []int          // exit statuses
}

func (t *tally) add(r batch.Result) {
	if credits, ok := object(r.Generation)["credits"].(map[string]any); ok && !r.Earlier {
		if n, ok := credits["deducted"].(json.Number); ok {
			deducted, err := n.Float64()
			t.deducted, t.charged = t.deducted+deducted, t.charged || err == nil
		}
	}
	if r.Err != nil {
		t.codes = append(t.codes, exitCode(r.Err))
		if r.GenerationID == "" && !stopped(r.Err) && !errors.Is(r.Err, gamma.ErrMaybeCreated) {
			if t.seen == nil {
				t.seen = make(map[string]int)
			}
			t.seen[message(r.Err)]++
		}
	}
	switch {
	case r.Err == nil && r.Earlier:
		t.skipped++
	case r.Err == nil:
		t.done++
		if r.Saved != "" {
			t.saved++
		}
	case stopped(r.Err):
		t.stopped++
	case exitCode(r.Err) == exitMaybeCreated:
		t.uncertain++
	case exitCode(r.Err) == exitFailed:
		t.failed++
	case exitCode(r.Err) == exitNotFinished:
		t.unfinished++
	default:
		t.other++
	}
}

// again reports whether r, the last result that was added, has the same error as an earlier
// one, such as an invalid key. It is counted, but not printed again.
func (t *tally) again(r batch.Result) bool {
	return r.Err != nil && r.GenerationID == "" && t.seen[message(r.Err)] > 1
}

// stopped reports whether err means that the run ended before the input, so that the next run
// resumes it.
func stopped(err error) bool {
	return is(batch.ErrStopped, context.Canceled)(err) && !errors.Is(err, gamma.ErrMaybeCreated)
}

// lines returns the summary of total inputs, and what to do next. It has no counts if elapsed
// is 0. early reports whether the run was stopped.
func (t *tally) lines(total int, elapsed time.Duration, early bool) (lines []string) {
	for _, text := range slices.Sorted(maps.Keys(t.seen)) {
		if n := t.seen[text] - 1; n > 0 {
			lines = append(lines, fmt.Sprintf("%d more: %s", n, text))
		}
	}
	text := fmt.Sprintf("%d inputs", total)
	if total == 1 {
		text = "1 input"
	}
	text += fmt.Sprintf(" in %s: %d created", screen.Duration(elapsed), t.created) + counts([]count{
		{t.saved, "saved"},
		{t.skipped, "done by an earlier run"},
		{t.failed, "failed"},
		{t.uncertain, "uncertain"},
		{t.unfinished, "not finished in time"},
		{t.other, "with another error"},
		{total - t.done - t.skipped - t.failed - t.uncertain - t.unfinished - t.other, "left for another run"},
	})
	if t.charged {
		text += fmt.Sprintf("; %v credits deducted", t.deducted)
	}
	if elapsed > 0 {
		lines = append(lines, text)
	}
	if t.uncertain > 0 {
		lines = append(lines, fmt.Sprintf("%d may have been created and paid for: look for them at https://gamma.app; to create them again, run the same command with --retry uncertain", t.uncertain))
	}
	if t.failed > 0 {
		lines = append(lines, "to create again what failed, run the same command with --retry failed")
	}
	if early || t.stopped+t.unfinished > 0 {
		lines = append(lines, "to resume, run the same command again")
	}
	return lines
}

type count struct {
	n    int
	text string
}

// counts returns all that is not 0, with a comma before each.
func counts(all []count) string {
	var text strings.Builder
	for _, c := range all {
		if c.n > 0 {
			fmt.Fprintf(&text, ", %d %s", c.n, c.text)
		}
	}
	return text.String()
}

// reason returns why a request is delayed because of err, where nil means the rate limit.
func reason(err error) string {
	var apiErr *gamma.APIError
	switch {
	case err == nil:
		return "the rate limit"
	case errors.As(err, &apiErr) && apiErr.StatusCode == http.StatusTooManyRequests:
		return "429 Too Many Requests"
	case errors.As(err, &apiErr):
		return fmt.Sprintf("%d %s", apiErr.StatusCode, http.StatusText(apiErr.StatusCode))
	}
	return message(err)
}
