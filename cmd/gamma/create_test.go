package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/batch"
	"github.com/gamma-sdk/gamma-go/poller"
)

// Every flag sets its field, and has precedence over the file of --request.
func TestFlagsOfCreate(t *testing.T) {
	folder(t)
	if err := os.WriteFile("request.json", []byte(`{"format": "social", "textOptions": {"tone": "wet", "audience": "all"}, "exportAs": "png"}`), 0o666); err != nil {
		t.Fatal(err)
	}
	a, _, _ := newTestApp(nil)
	cmd := newCreate(a)
	c := create{app: a, cmd: cmd, request: "request.json", export: "pdf"}
	for flag, value := range map[string]string{
		"format": "document", "text-mode": "condense", "num-cards": "7", "card-split": "auto", "theme-id": "t1",
		"additional-instructions": "short", "language": "de", "tone": "dry", "amount": "brief", "image-source": "noImages",
	} {
		if err := cmd.Flags().Set(flag, value); err != nil {
			t.Fatal(err)
		}
	}
	f, err := c.form()
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"additionalInstructions":"short","cardSplit":"auto","exportAs":"pdf","format":"document",` +
		`"imageOptions":{"source":"noImages"},"inputText":"T","numCards":7,"textMode":"condense",` +
		`"textOptions":{"amount":"brief","audience":"all","language":"de","tone":"dry"},"themeId":"t1"}`
	if got, err := sent(f); got != want || err != nil {
		t.Errorf("got %s and %v, want %s", got, err, want)
	}
}

func TestTally(t *testing.T) {
	t.Parallel()
	generation := func(deducted string) *api.GenerationStatusResponse {
		g := new(api.GenerationStatusResponse)
		if err := json.Unmarshal([]byte(`{"credits": {"deducted": `+deducted+`, "remaining": 3000}}`), g); err != nil {
			t.Fatal(err)
		}
		return g
	}
	unknown := fmt.Errorf("gamma: no response: %w", gamma.ErrMaybeCreated)
	canceled := fmt.Errorf("gamma: not created: %w: %w", context.Canceled, batch.ErrStopped)
	notCreated := fmt.Errorf("gamma: batch: not created: %w", batch.ErrStopped)
	refused := errors.New("gamma: refused")
	for _, tt := range []struct {
		name    string
		created int
		total   int
		early   bool
		results []batch.Result
		want    []string
		code    int
	}{
		{"one, saved", 1, 1, false, []batch.Result{{GenerationID: "g", Generation: generation("40"), Saved: "a.pdf"}},
			[]string{"1 input in 1s: 1 created, 1 saved; 40 credits deducted"}, 0},
		{"credits of earlier runs do not count", 1, 2, false,
			[]batch.Result{{GenerationID: "g", Generation: generation("2.5")}, {GenerationID: "h", Generation: generation("40"), Earlier: true}},
			[]string{"2 inputs in 1s: 1 created, 1 done by an earlier run; 2.5 credits deducted"}, 0},
		{"created, without wait", 2, 2, false, []batch.Result{{GenerationID: "g"}, {GenerationID: "h"}},
			[]string{"2 inputs in 1s: 2 created"}, 0},
		{"failed", 1, 1, false, []batch.Result{{GenerationID: "g", Err: &poller.FailedError{}}},
			[]string{"1 input in 1s: 1 created, 1 failed", "to create again what failed, run the same command with --retry failed"}, 3},
		{"uncertain, and not finished", 1, 2, false,
			[]batch.Result{{Err: unknown}, {GenerationID: "g", Err: &poller.WaitError{Cause: context.DeadlineExceeded}}},
			[]string{"2 inputs in 1s: 1 created, 1 uncertain, 1 not finished in time",
				"1 may have been created and paid for: look for them at https://gamma.app; to create them again, run the same command with --retry uncertain",
				"to resume, run the same command again"}, 6},
		{"stopped", 1, 5, true, []batch.Result{{GenerationID: "g", Err: canceled}, {Err: canceled}, {Err: canceled}},
			[]string{"5 inputs in 1s: 1 created, 5 left for another run", "to resume, run the same command again"}, 1},
		{"stopped, with inputs that were not created", 1, 3, true, []batch.Result{{GenerationID: "g"}, {Err: notCreated}, {Err: notCreated}},
			[]string{"3 inputs in 1s: 1 created, 2 left for another run", "to resume, run the same command again"}, 1},
		{"a canceled create may have been received", 0, 1, true, []batch.Result{{Err: errors.Join(unknown, context.Canceled)}},
			[]string{"1 input in 1s: 0 created, 1 uncertain",
				"1 may have been created and paid for: look for them at https://gamma.app; to create them again, run the same command with --retry uncertain",
				"to resume, run the same command again"}, 6},
		{"three inputs with the same error", 0, 3, false, []batch.Result{{Err: refused}, {Err: refused}, {Err: refused}},
			[]string{"2 more: refused", "3 inputs in 1s: 0 created, 3 with another error"}, 1},
	} {
		var got tally
		for _, r := range tt.results {
			got.add(r)
		}
		got.created = tt.created
		if lines := got.lines(tt.total, time.Second, tt.early); !reflect.DeepEqual(lines, tt.want) {
			t.Errorf("%s: got\n%q, want\n%q", tt.name, lines, tt.want)
		}
		if code := worst(got.codes...); code != tt.code {
			t.Errorf("%s: exit code %d, want %d", tt.name, code, tt.code)
		}
	}
}

func TestReason(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		want string
	}{
		{nil, "the rate limit"},
		{&gamma.APIError{StatusCode: 429}, "429 Too Many Requests"},
		{fmt.Errorf("gamma: %w", &gamma.APIError{StatusCode: 503}), "503 Service Unavailable"},
		{errors.New("gamma: the server refused the connection"), "the server refused the connection"},
	} {
		if got := reason(tt.err); got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.err, got, tt.want)
		}
	}
}

// Invalid usage has exit code 2, and needs no key.
func TestUsageOfCreate(t *testing.T) {
	folder(t, "a.md")
	for _, tt := range []struct{ args, want string }{
		{"", "gamma: no text: name files, - for standard input, or use --text\n"},
		{"a.md - ", "gamma: - and FILE cannot be used together; a file with that name is ./-\n"},
		{"a.md --text x", "gamma: --text and FILE cannot be used together\n"},
		{"a.md --retry uncertain,all", "gamma: --retry is \"all\", not uncertain or failed\n"},
		{"a.md --timeout -1s", "gamma: --timeout must not be negative\n"},
		{"-", "gamma: standard input: the text is empty\n"},
	} {
		a, stdout, stderr := newTestApp(nil)
		code := a.run(append([]string{"create"}, strings.Fields(tt.args)...))
		if code != 2 || stdout.Len() > 0 || stderr.String() != tt.want {
			t.Errorf("%q: exit code %d, %q, %q, want %q", tt.args, code, stdout, stderr, tt.want)
		}
	}
}
