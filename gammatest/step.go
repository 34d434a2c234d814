package gammatest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"
)

// The credits that the fake charges.
const (
	deducted  = 40
	remaining = 2960
)

// Step is a part of the life of a generation, see [NewClient], [API.OnCreate] and
// [API.Add], or the response to one request, see [API.Next] and [API.NextDownload].
// In a life it responds to polls, unless [ForCreate] or [ForDownload] changes that. Steps
// are values: one can be used in many places. A step that responds to no request, such as
// Pending(0) or the zero Step, is left out.
type Step struct {
	polls  int           // how many polls it responds to,
	span   time.Duration // or for how long
	role   role          // in a life, what it responds to
	usual  bool          // the response is that without a step
	state  bool          // the response is the status of a generation
	export bool          // the response has the link to the export, if there is one
	delay  time.Duration
	hang   bool
	drop   bool
	cut    int // position in the body; notCut, middle
	rate   int // bytes per second; 0: all at once
	fault  bool
	// header holds names, in canonical form, and values.
	header  [][2]string
	err     error
	respond func(id, link string) response
}

// role is what a step of a life responds to.
type role uint8

const (
	forPoll role = iota
	forCreate
	forDownload
)

// Special values of Step.cut. Others are a position plus one, so that 0 is the default.
const (
	notCut = 0
	middle = -1
)

// response is what goes back to the client.
type response struct {
	status      int
	contentType string
	body        []byte
	fault       bool        // not validated
	partial     bool        // to be completed with what the document requires
	header      http.Header // a nil value means no header, not even net/http's default
	rate        int         // as in Step
}

// Pending responds to n polls with the status "pending".
func Pending(n int) Step {
	return Times(n, generation(map[string]any{"status": "pending"}))
}

// PendingFor responds with the status "pending" to any number of polls, for the time d. That
// starts with the last response of the step before, or when the generation is created if
// this is the first step.
func PendingFor(d time.Duration) Step { return lasting(d, Pending(1), "pending") }

// ExportPendingFor responds like Completed(""), but without a link to the export, for the
// time d. Use it before Completed(""), as in
//
//	gammatest.PendingFor(time.Minute), gammatest.ExportPendingFor(90*time.Second), gammatest.Completed("")
//
// Users of Gamma report 30 to 120 seconds between the end of a generation and its export.
// The time starts as in [PendingFor].
func ExportPendingFor(d time.Duration) Step {
	step := Completed("")
	step.export = false
	return lasting(d, step, "export pending")
}

func lasting(d time.Duration, step Step, name string) Step {
	step.polls, step.span = 0, d
	if d < 0 {
		step.err = fmt.Errorf("%s for a negative time: %v", name, d)
	}
	return step
}

// Completed responds to one poll with the status "completed", a URL, and 40 of 3,000 credits
// deducted. If exportURL is empty and the generation was created with an export, the
// response has a link to a file that the fake serves, see [API.Export]; without an export it
// has no link. The fake does not serve the given exportURL.
func Completed(exportURL string) Step {
	state := map[string]any{"status": "completed", "credits": credits(deducted)}
	if exportURL != "" {
		state["exportUrl"] = exportURL
	}
	step := generation(state)
	step.export = exportURL == ""
	return step
}

// Failed responds to one poll with the status "failed", the given error, and no credits
// deducted. The HTTP status is 200; statusCode is part of the error.
func Failed(statusCode int, message string) Step {
	failure := map[string]any{"message": message, "statusCode": statusCode}
	return generation(map[string]any{"status": "failed", "error": failure, "credits": credits(0)})
}

func credits(charged int) map[string]any {
	return map[string]any{"deducted": charged, "remaining": deducted + remaining - charged}
}

// generation responds to one poll with state, and with ids and URLs.
func generation(state map[string]any) Step {
	return Step{polls: 1, state: true, respond: func(id, link string) response {
		state := maps.Clone(state)
		state["generationId"] = id
		if state["status"] == "completed" {
			if link != "" {
				state["exportUrl"] = link
			}
			state["gammaId"] = "g_" + id
			state["gammaUrl"] = "https://gamma.app/docs/g_" + id
		}
		rsp := encode(http.StatusOK, state)
		rsp.partial = true
		return rsp
	}}
}

// JSON responds to one request with status 200 and v as JSON, as in
//
//	gammatest.JSON(api.GenerationStatusResponse{GenerationID: "gen1", Status: api.GenerationStatusCompleted})
//
// Unlike with [Raw], the response is validated.
func JSON(v any) Step {
	body, err := json.Marshal(v)
	return Step{polls: 1, err: err, respond: func(_, _ string) response {
		return response{status: http.StatusOK, contentType: "application/json", body: body}
	}}
}

// Usual responds to one request as the fake does without a step. It is for [API.Next],
// [API.NextDownload], [ForCreate] and [ForDownload]. The request has its usual effect: for
// example, a poll takes the next step in the life of its generation. Functions such as [Cut]
// change only the response: with Cut(Usual()) a generation is created, but the client does
// not learn its id.
func Usual() Step { return Step{polls: 1, usual: true} }

// Status responds to one request with an HTTP status other than success, and the body that
// the API's documentation has for it. Status(404) is the response for an unknown id. For a
// download, Status(403) is the response for an expired link.
func Status(code int) Step {
	step := Raw(code, "", "")
	step.respond = func(id, _ string) response { return status(code, id) }
	return step
}

// RateLimited responds to one request with status 429 and a Retry-After header of whole
// seconds, rounded up. If retryAfter is 0 or less, there is no such header.
func RateLimited(retryAfter time.Duration) Step {
	step := Status(http.StatusTooManyRequests)
	if retryAfter > 0 {
		step = Header("Retry-After", seconds(retryAfter), step)
	}
	return step
}

// Malformed responds to one request with status 200, the Content-Type application/json
// and body, which need not be JSON.
func Malformed(body string) Step { return Raw(http.StatusOK, "application/json", body) }

// Raw responds to one request with the given status, Content-Type and body, such as the HTML
// page of a gateway. The response is not validated. The status must be from 200 to 999.
func Raw(status int, contentType, body string) Step {
	step := Step{polls: 1, fault: true, respond: func(_, _ string) response {
		return response{status: status, contentType: contentType, body: []byte(body)}
	}}
	if status < 200 || status > 999 {
		step.err = fmt.Errorf("%d is not a response status", status)
	}
	return step
}

// Drop closes the connection of one request before the response. Over a socket the client
// receives the status line first: [http.Transport] would retry a GET whose connection was
// closed without a byte, which would hide the fault.
func Drop() Step { return Step{polls: 1, drop: true} }

// Hang never responds to one request, which ends when the client gives up or the fake is
// closed.
func Hang() Step { return Step{polls: 1, hang: true} }

// Cut responds as step does, and closes the connection in the middle of the body.
func Cut(step Step) Step {
	step.cut = middle
	return step
}

// CutAfter responds as step does, and closes the connection after n bytes of the body. A
// body of n bytes or fewer arrives complete. n must not be negative.
func CutAfter(n int, step Step) Step {
	step.cut = n + 1
	if n < 0 {
		step.err = fmt.Errorf("CutAfter(%d): the number must not be negative", n)
	}
	return step
}

// Delay responds as step does, but d later. A negative d is 0. The step is taken, and the
// request has its effect, when the request arrives. The delays of a step are added.
func Delay(d time.Duration, step Step) Step {
	step.delay += max(d, 0)
	return step
}

// Slow responds as step does, with a body that arrives at bytesPerSecond, which must be
// positive. The status and the headers arrive at once.
func Slow(bytesPerSecond int, step Step) Step {
	step.rate = bytesPerSecond
	if bytesPerSecond <= 0 {
		step.err = fmt.Errorf("Slow(%d): the number must be positive", bytesPerSecond)
	}
	return step
}

// Header responds as step does, with one header set to value, or removed if value is
// empty. The header is not validated.
func Header(name, value string, step Step) Step {
	// A step may be in use elsewhere, with other headers.
	step.header = append(step.header[:len(step.header):len(step.header)], [2]string{http.CanonicalHeaderKey(name), value})
	return step
}

// Times repeats step n times. A step with a time, such as [PendingFor], lasts n times as
// long. n must not be negative; 0 leaves the step out.
func Times(n int, step Step) Step {
	step.polls *= n
	step.span *= time.Duration(n)
	if n < 0 {
		step.err = fmt.Errorf("Times(%d): the number must not be negative", n)
	}
	return step
}

// ForCreate makes step, which is a fault or [Usual], respond to the request that creates the
// generation. It is for one request, among the steps that [API.OnCreate] returns or that
// [NewClient] is given. After a fault there is no generation, and OnCreate is called again
// for the next request, even if that is a retry:
//
//	gammatest.ForCreate(gammatest.Status(503))               // nothing is created
//	gammatest.ForCreate(gammatest.Cut(gammatest.Usual()))    // created, but the client does not learn its id
//
// A step of [API.Next] comes first; unless it is Usual, it replaces this one.
func ForCreate(step Step) Step {
	step.role = forCreate
	return step
}

// ForDownload makes step, which is a fault or [Usual], respond to a download of the
// export of the generation; [Times] repeats it. Several steps respond to one download each,
// in order; then the responses are as usual again. The place among the steps for polls does
// not matter:
//
//	gammatest.Pending(2), gammatest.Completed(""), gammatest.ForDownload(gammatest.Times(2, gammatest.Drop()))
//
// A step of [API.NextDownload] comes first; unless it is Usual, it replaces this one.
func ForDownload(step Step) Step {
	step.role = forDownload
	return step
}

// like returns step with the changes that were made to usual, such as a delay.
func (step Step) like(usual Step) Step {
	step.delay += usual.delay
	step.header = append(step.header[:len(step.header):len(step.header)], usual.header...)
	if usual.cut != notCut {
		step.cut = usual.cut
	}
	if usual.rate > 0 {
		step.rate = usual.rate
	}
	return step
}

// finish adds the headers to rsp: h, those that every response has, and those of step.
// It cuts the body as step does.
func (rsp *response) finish(h http.Header, step Step) {
	if rsp.status == http.StatusNoContent || rsp.status == http.StatusNotModified {
		rsp.body = nil
	}
	h["Date"] = []string{time.Now().UTC().Format(http.TimeFormat)}
	h["Content-Type"] = []string{rsp.contentType}
	if rsp.contentType == "" && rsp.body == nil {
		h["Content-Type"] = nil
	}
	h["Content-Length"] = []string{strconv.Itoa(len(rsp.body))}
	switch step.cut {
	case notCut:
	case middle:
		rsp.body = rsp.body[:len(rsp.body)/2]
	default:
		rsp.body = rsp.body[:min(step.cut-1, len(rsp.body))]
	}
	for _, field := range step.header {
		h[field[0]] = nil // also keeps net/http from adding its default
		if field[1] != "" {
			h[field[0]] = []string{field[1]}
		}
	}
	if n, err := strconv.Atoi(h.Get("Content-Length")); err == nil && n >= 0 {
		rsp.body = rsp.body[:min(n, len(rsp.body))] // net/http would send nothing of it
	}
	rsp.header, rsp.rate = h, step.rate
}

// messages are from the API's error table. Other statuses have [http.StatusText].
var messages = map[int]string{
	http.StatusUnauthorized:        "Invalid API key.",
	http.StatusPaymentRequired:     "Insufficient credits",
	http.StatusUnprocessableEntity: "Failed to generate text. Check your inputs and try again.",
	http.StatusTooManyRequests:     "Too many requests",
	http.StatusInternalServerError: "An error occurred while generating the gamma.",
	http.StatusBadGateway:          "Bad gateway",
}

// status returns the API's response with an HTTP status other than success.
func status(code int, id string) response {
	message := messages[code]
	switch {
	case code == http.StatusNotFound:
		message = "Generation ID not found. generationId: " + id
	case message == "":
		message = http.StatusText(code)
	}
	return problem(code, message)
}

// problem returns a response in the API's format for errors.
func problem(code int, message string) response {
	return encode(code, map[string]any{"message": message, "statusCode": code})
}

// encode returns a response with v as JSON.
func encode(status int, v any) response {
	body, _ := json.Marshal(v)
	return response{status: status, contentType: "application/json", body: body}
}
