package gammatest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"time"
)

// What the stand-in charges.
const (
	deducted  = 40
	remaining = 2960
)

// Step is one line of a script, see [API.Add]. Steps are values: one can be
// used in many scripts. A step that answers no poll, the zero Step among them, is
// left out.
type Step struct {
	polls int           // how many polls it answers,
	span  time.Duration // or for how long
	delay time.Duration
	hang  bool
	drop  bool
	cut   bool
	fault bool // deliberate, so not held to the contract
	// header holds names, in canonical form, and values.
	header [][2]string
	err    error
	answer func(id, link string) answer // link is that of its export, if it has one
}

// answer is what goes back to the client.
type answer struct {
	status      int
	contentType string
	body        []byte
	fault       bool
	partial     bool        // lacks what only the document knows
	header      http.Header // a nil value: none, and no default either
}

// Pending answers n polls with the status "pending".
func Pending(n int) Step {
	return Times(n, generation(map[string]any{"status": "pending"}))
}

// PendingFor answers with the status "pending" for a time, however often it is
// asked. The time starts with the last answer of the step before, and with
// [API.Add] where it is the first step.
func PendingFor(d time.Duration) Step {
	step := Pending(0)
	step.span = d
	if d < 0 {
		step.err = fmt.Errorf("pending for %v", d)
	}
	return step
}

// Completed answers one poll with the status "completed", a URL, and 40 credits
// deducted of 3,000. exportURL is empty for a generation without an export, and for
// one that was created with an export: the stand-in then gives a link of its own.
func Completed(exportURL string) Step {
	state := map[string]any{"status": "completed", "credits": credits(deducted)}
	if exportURL != "" {
		state["exportUrl"] = exportURL
	}
	return generation(state)
}

// Failed answers one poll with the status "failed", the given error and no
// credits deducted of 3,000. The HTTP status is 200; statusCode is the job's own.
func Failed(statusCode int, message string) Step {
	failure := map[string]any{"message": message, "statusCode": statusCode}
	return generation(map[string]any{"status": "failed", "error": failure, "credits": credits(0)})
}

func credits(charged int) map[string]any {
	return map[string]any{"deducted": charged, "remaining": deducted + remaining - charged}
}

// generation answers one poll with state and the ids that belong to it.
func generation(state map[string]any) Step {
	return Step{polls: 1, answer: func(id, link string) answer {
		state := maps.Clone(state)
		state["generationId"] = id
		if state["status"] == "completed" {
			if state["exportUrl"] == nil && link != "" {
				state["exportUrl"] = link
			}
			state["gammaId"] = "g_" + id
			state["gammaUrl"] = "https://gamma.app/docs/g_" + id
		}
		a := encode(http.StatusOK, state)
		a.partial = true
		return a
	}}
}

// JSON answers one poll with status 200 and v as JSON, as in
//
//	gammatest.JSON(api.GenerationStatusResponse{GenerationID: "gen1", Status: api.GenerationStatusCompleted})
//
// Unlike that of [Raw], the answer must keep the contract.
func JSON(v any) Step {
	body, err := json.Marshal(v)
	return Step{polls: 1, err: err, answer: func(_, _ string) answer {
		return answer{status: http.StatusOK, contentType: "application/json", body: body}
	}}
}

// Status answers one poll with an HTTP status other than success, and the body
// that the API's documentation gives for it. Status(404) is what an unknown id
// gets.
func Status(code int) Step {
	step := Raw(code, "", "")
	step.answer = func(id, _ string) answer { return status(code, id) }
	return step
}

// RateLimited answers one poll with status 429 and a Retry-After header of whole
// seconds, rounded up; 0 is for none.
func RateLimited(retryAfter time.Duration) Step {
	step := Status(http.StatusTooManyRequests)
	if retryAfter > 0 {
		step = Header("Retry-After", seconds(retryAfter), step)
	}
	return step
}

// Malformed answers one poll with status 200 and a body that is called JSON.
func Malformed(body string) Step { return Raw(http.StatusOK, "application/json", body) }

// Raw answers one poll with exactly this, as a gateway would with a page of HTML.
// The contract is not looked at.
func Raw(status int, contentType, body string) Step {
	step := Step{polls: 1, fault: true, answer: func(_, _ string) answer {
		return answer{status: status, contentType: contentType, body: []byte(body)}
	}}
	if status < 200 || status > 999 {
		step.err = fmt.Errorf("%d is not the status of an answer", status)
	}
	return step
}

// Drop closes the connection of one poll before an answer. Over a socket the
// client sees the first line of one: a GET on a connection that was closed without
// a byte is sent once more by [http.Transport] itself, which would hide the fault.
func Drop() Step { return Step{polls: 1, drop: true} }

// Hang takes one poll and never answers it, until the client gives up or the
// test ends.
func Hang() Step { return Step{polls: 1, hang: true} }

// Cut answers as step does and closes the connection in the middle of the body.
func Cut(step Step) Step {
	step.cut = true
	return step
}

// Delay answers as step does, d later. The step is chosen when the poll arrives.
func Delay(d time.Duration, step Step) Step {
	step.delay += max(d, 0)
	return step
}

// Header answers as step does, with one header set to value, or removed where
// value is empty. It is not held to the contract.
func Header(name, value string, step Step) Step {
	// A step may be in use elsewhere, with other headers.
	step.header = append(step.header[:len(step.header):len(step.header)], [2]string{http.CanonicalHeaderKey(name), value})
	return step
}

// Times repeats step n times.
func Times(n int, step Step) Step {
	step.polls *= n
	step.span *= time.Duration(n)
	if n < 0 {
		step.err = fmt.Errorf("a step %d times", n)
	}
	return step
}

// messages are those of the API's error table. http.StatusText stands in for the
// rest.
var messages = map[int]string{
	http.StatusUnauthorized:        "Invalid API key.",
	http.StatusPaymentRequired:     "Insufficient credits",
	http.StatusUnprocessableEntity: "Failed to generate text. Check your inputs and try again.",
	http.StatusTooManyRequests:     "Too many requests",
	http.StatusInternalServerError: "An error occurred while generating the gamma.",
	http.StatusBadGateway:          "Bad gateway",
}

// status is the API's answer with an HTTP status other than success.
func status(code int, id string) answer {
	message := messages[code]
	switch {
	case code == http.StatusNotFound:
		message = "Generation ID not found. generationId: " + id
	case message == "":
		message = http.StatusText(code)
	}
	return problem(code, message)
}

// problem is an answer in the API's envelope for errors.
func problem(code int, message string) answer {
	return encode(code, map[string]any{"message": message, "statusCode": code})
}

// encode is an answer with v, which can be encoded.
func encode(status int, v any) answer {
	body, _ := json.Marshal(v)
	return answer{status: status, contentType: "application/json", body: body}
}
