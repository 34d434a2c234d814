package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/batch"
	"github.com/gamma-sdk/gamma-go/poller"
)

// record is what one line of standard output has about a generation. Empty fields are not
// printed.
type record struct {
	Input        string // the input's key
	GenerationID string
	Generation   *api.GenerationStatusResponse // nil: not known, or not finished
	Warnings     string                        // of the create
	Saved        string                        // the path of the export
	Err          error
}

func batchRecord(r batch.Result) record {
	return record{Input: r.Key, GenerationID: r.GenerationID, Generation: r.Generation, Warnings: r.Warnings, Saved: r.Saved, Err: r.Err}
}

// print prints r. With --json that is one object on standard output. Without it a success is
// one line there, with tabs between the id, the status, the saved path or the URL of the
// Gamma, and the input if there is one; an error and warnings are lines on standard error. It
// returns a [writeError] if standard output cannot be written.
func (a *app) print(r record) error {
	if a.json {
		return a.printJSON(r.fields())
	}
	if r.Warnings != "" {
		a.note("%swarning: %s", r.name(), gamma.Printable(r.Warnings))
	}
	if r.Err != nil {
		text := message(r.Err)
		if r.GenerationID != "" && !strings.Contains(text, r.GenerationID) {
			text += " (generation " + gamma.Printable(r.GenerationID) + ")"
		}
		a.note("%s%s", r.name(), text)
		return nil
	}
	columns := []string{r.GenerationID, "", r.Saved}
	if g := r.Generation; g != nil {
		columns[1] = string(g.Status)
		if r.Saved == "" {
			columns[2] = g.GammaURL
		}
	}
	if r.Input != "" {
		columns = append(columns, r.Input)
	}
	return a.printLine(columns...)
}

// name returns the start of a line on standard error.
func (r record) name() string {
	switch {
	case r.Input != "":
		return gamma.Printable(r.Input) + ": "
	case r.GenerationID != "" && r.Err == nil:
		return gamma.Printable(r.GenerationID) + ": "
	}
	return ""
}

// fields returns r as a JSON object: the fields of the API, and additional ones. It has the
// link to an export only if the export was not saved.
func (r record) fields() map[string]any {
	fields := make(map[string]any)
	if r.Generation != nil {
		fields = object(r.Generation)
	}
	if r.GenerationID != "" {
		fields["generationId"] = r.GenerationID
	}
	if r.Input != "" {
		fields["input"] = r.Input
	}
	if r.Warnings != "" {
		fields["warnings"] = r.Warnings
	}
	if r.Saved != "" {
		fields["saved"] = r.Saved
		delete(fields, "exportUrl")
	}
	if r.Err != nil {
		fields["error"] = errorFields(r.Err, fields["error"])
	}
	return fields
}

// errorFields returns err as a JSON object, added to own, the error of the API, if any.
func errorFields(err error, own any) map[string]any {
	fields, ok := own.(map[string]any)
	if !ok {
		fields = make(map[string]any)
	}
	fields["code"] = errorCode(err)
	if _, ok := fields["message"]; !ok {
		fields["message"] = message(err)
	}
	if e := (*gamma.APIError)(nil); errors.As(err, &e) {
		fields["statusCode"] = e.StatusCode
		if e.RequestID != "" {
			fields["requestId"] = e.RequestID
		}
	}
	if e := (*gamma.InvalidRequestError)(nil); errors.As(err, &e) && e.Field != "" {
		fields["field"] = e.Field
	}
	if e := (*poller.FailedError)(nil); errors.As(err, &e) && e.StatusCode != 0 {
		fields["statusCode"] = e.StatusCode
	}
	return fields
}

// printError prints an error that belongs to no generation as a JSON object.
func (a *app) printError(err error) error {
	return a.printJSON(map[string]any{"error": errorFields(err, nil)})
}

// printJSON prints v as one line. Characters that a terminal may act on are escaped.
func (a *app) printJSON(v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("gamma: %w", err)
	}
	return a.result(escape(b.String()))
}

// printLine prints columns with tabs between them, each printable, "-" for an empty one.
func (a *app) printLine(columns ...string) error {
	for i, column := range columns {
		if columns[i] = printable(column); column == "" {
			columns[i] = "-"
		}
	}
	return a.result(strings.Join(columns, "\t") + "\n")
}

// printable is [gamma.Printable] for text of any length.
func printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return gamma.Printable(s)
	}
	return s
}

func (a *app) result(text string) error {
	if err := a.write(a.out, text); err != nil {
		return writeError{err}
	}
	return nil
}

// escape escapes what is not printable in JSON text, except the line feed at its end.
func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			r1, r2 := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, r1, r2)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// object returns v as a JSON object. The names of fields may differ between OpenAPI documents.
func object(v any) map[string]any {
	fields := make(map[string]any)
	text, err := json.Marshal(v)
	if err != nil {
		return fields
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	_ = dec.Decode(&fields)
	return fields
}
