package poller

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/retry"
)

// The table of docs/waiting.md is what decide does: each row has one or more responses
// that a Poller treats alike, however often they come.
func TestWaitingTable(t *testing.T) {
	status := func(s string) response {
		return response{gen: &api.GenerationStatusResponse{Status: api.GenerationStatus(s)}}
	}
	withError := func(s string) response {
		r := status(s)
		r.gen.Error = new(api.ErrorResponse)
		return r
	}
	withExport := status("completed")
	withExport.gen.ExportURL = "x"
	codes := func(codes ...int) (responses []response) {
		for _, code := range codes {
			responses = append(responses, response{err: &gamma.APIError{StatusCode: code}})
		}
		return responses
	}
	allExcept := func(first, last int, exceptions ...int) (all []int) {
		for code := first; code <= last; code++ {
			if !slices.Contains(exceptions, code) {
				all = append(all, code)
			}
		}
		return all
	}
	transient := append([]int{408, 425}, allExcept(500, 599, 501, 505, 511)...)
	retryAfter := func(responses ...response) []response {
		for i := range responses {
			responses[i].retryAfter = 90 * time.Second
		}
		return responses
	}
	err := func(errs ...error) (responses []response) {
		for _, err := range errs {
			responses = append(responses, response{err: err})
		}
		return responses
	}
	unverified := err(&net.DNSError{IsNotFound: true}, &tls.CertificateVerificationError{Err: errors.New("x")})
	rows := []struct {
		name      string
		responses []response
		export    bool
		at        situation
	}{
		{name: "`pending`", responses: []response{status("pending"), withError("pending")}},
		{name: "`completed`", responses: []response{status("completed"), withError("completed")}},
		{name: "`completed`, with the export that was asked for", responses: []response{withExport}, export: true},
		{name: "`completed`, without it", responses: []response{status("completed")}, export: true},
		{name: "`failed`", responses: []response{status("failed"), withError("failed")}},
		{name: "a status that the OpenAPI document does not list", responses: []response{status("rendering")}},
		{name: "such a status with an `error`", responses: []response{withError("exploded")}},
		{name: "429", responses: codes(429)},
		{name: "429 with `Retry-After: 90`", responses: retryAfter(codes(429)...)},
		{name: "408, 425, 5xx except 501, 505 and 511", responses: codes(transient...)},
		{name: "the same with `Retry-After: 90`", responses: retryAfter(codes(transient...)...)},
		{name: "no response, a timeout, a 2xx that is not the documented JSON", responses: err(io.ErrUnexpectedEOF, &net.OpError{Op: "dial", Err: errors.New("refused")}, os.ErrDeadlineExceeded, gamma.ErrUnexpectedResponse)},
		{name: "any of these failures without Retry-After, when the retry budget is spent", responses: append(codes(transient...), err(io.ErrUnexpectedEOF, gamma.ErrUnexpectedResponse)...), at: situation{overspent: true}},
		{name: "404", responses: codes(404)},
		{name: "no such host, a certificate that does not verify", responses: unverified},
		{name: "the same, and the Poller has had a good response before", responses: unverified, at: situation{reached: true}},
		{name: "400, 401, 402, 403 and every other 4xx", responses: codes(allExcept(400, 499, 404, 408, 425, 429)...)},
		{name: "501, 505, 511", responses: codes(501, 505, 511)},
		{name: "a redirect or another 1xx or 3xx", responses: codes(append(allExcept(100, 199), allExcept(300, 399)...)...)},
		{name: "a body above 1 MiB, a proxy that refuses to connect", responses: err(gamma.ErrResponseTooLarge, retry.NewProxyError("proxy:1", 403))},
	}
	var table strings.Builder
	table.WriteString("| response | the wait | with `KeepWaiting` | `Failures` |\n|---|---|---|---|\n")
	for _, row := range rows {
		var cells [3]string
		for i, r := range row.responses {
			r.kind = classify(r.err)
			got := [3]string{
				course(policy{interval: defaultInterval}, r, row.export, row.at),
				course(policy{interval: defaultInterval, keepWaiting: true}, r, row.export, row.at),
				failures(r, row.export, row.at),
			}
			if got[1] == got[0] {
				got[1] = "the same"
			}
			if i > 0 && got != cells {
				t.Errorf("%s: response %d means %q, and others %q", row.name, i, got, cells)
			}
			cells = got
		}
		fmt.Fprintf(&table, "| %s | %s |\n", row.name, strings.Join(cells[:], " | "))
	}
	page, readErr := os.ReadFile("../docs/waiting.md")
	if readErr != nil {
		t.Fatal(readErr)
	}
	if !strings.Contains(string(page), "\n\n"+table.String()+"\n") {
		t.Errorf("docs/waiting.md does not have the table of what decide does:\n%s", table.String())
	}
}

// course returns what a wait does if r comes each time.
func course(c policy, r response, export bool, at situation) string {
	start := time.Date(2026, 4, 24, 12, 0, 0, 0, time.UTC)
	at.now, at.remaining = start, retry.Never
	p := Progress{ID: "gen1", Export: export}
	var pauses []time.Duration
	for range 100 {
		var d decision
		p, d = c.decide(p, r, at)
		last := ""
		switch d.verdict {
		case again:
			pauses = append(pauses, d.pause)
			at.now = at.now.Add(d.pause)
			continue
		case completed:
			last = "returns the generation"
		case failed:
			last = "returns the generation and a `*FailedError`"
		case ended:
			last = "ends with a `*WaitError`"
			if errors.Is(d.cause, ErrNoExport) {
				last += " for `ErrNoExport`"
			}
		}
		switch len(pauses) {
		case 0:
			return last
		case 1:
			return fmt.Sprintf("polls again after %s; the second in a row %s", seconds(pauses[0]), last)
		}
		return fmt.Sprintf("polls again after %s; %s after %s", seconds(pauses[0]), last, seconds(at.now.Sub(start)))
	}
	text := "polls again after "
	for i, pause := range pauses {
		if pause == pauses[len(pauses)-1] {
			if i > 0 {
				text += "then "
			}
			return text + seconds(pause)
		}
		text += seconds(pause) + ", "
	}
	return text
}

func seconds(d time.Duration) string { return fmt.Sprintf("%g s", d.Seconds()) }

// failures returns what r does to the number of failures in a row.
func failures(r response, export bool, at situation) string {
	const before = 3
	at.remaining = retry.Never
	p, d := policy{interval: defaultInterval}.decide(Progress{ID: "gen1", Export: export, Failures: before}, r, at)
	switch {
	case d.verdict != again:
		return ""
	case p.Failures == 0:
		return "0"
	case p.Failures > before:
		return "one more"
	}
	return "as before"
}
