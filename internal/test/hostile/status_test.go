package hostile

import (
	"fmt"
	"net/http"
	"testing"
)

// statusEnds is what must come of a status, by the API's table of errors and the
// poller's policy.
func statusEnds(status int) ends {
	e := ends{fails, atOnce, refused, fails}
	switch status {
	case 200, 201:
		return ends{fails, givesUp, completes, fails} // unless the rest is good, too
	case http.StatusFound, http.StatusSeeOther:
		e.create = maybe
	case http.StatusTooManyRequests:
		e.wait, e.create = paused, deadline
	case http.StatusNotFound:
		e.wait = missing
	case http.StatusRequestTimeout:
		e.wait, e.create = givesUp, maybe
	case http.StatusTooEarly:
		e.wait = givesUp
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported, http.StatusNetworkAuthenticationRequired:
		e.create = maybe
	default:
		switch status / 100 {
		case 2:
			e.wait, e.create = givesUp, maybe
		case 3, 4:
		case 5:
			e.wait, e.create = givesUp, maybe
		default:
			e.create = maybe
		}
	}
	return e
}

// Every status, with every sort of body.
func TestStatuses(t *testing.T) {
	var statuses []int
	for _, span := range [][2]int{{0, 1}, {99, 99}, {101, 101}, {200, 208}, {226, 226}, {299, 308}, {399, 431}, {444, 451}, {499, 511}, {520, 527}, {599, 600}, {700, 700}, {999, 999}} {
		for status := span[0]; status <= span[1]; status++ {
			statuses = append(statuses, status)
		}
	}
	bodies := []struct{ name, contentType, body string }{
		{"JSON", "application/json", answer},
		{"JSON with a charset", "application/json;charset=UTF-8", answer},
		{"a problem", "application/problem+json", `{"message":"\u001b[31mno\n","statusCode":1}`},
		{"JSON as text", "text/plain", answer},
		{"JSON without a type", "", answer},
		{"JSON of a broken type", ";;/\x7f", answer},
		{"HTML", "text/html; charset=utf-8", "<html><body>Bad gateway " + key + "</body></html>"},
		{"HTML as JSON", "application/json", "<html>"},
		{"nothing", "application/json", ""},
		{"bytes", "application/octet-stream", "\x00\xff\xfe\x1b[31m"},
		{"bytes as JSON", "application/json", "\x00\xff\xfe\x1b[31m"},
		{"null", "application/json", "null"},
		{"a list", "application/json", "[]"},
		{"a message of another type", "application/json", `{"message":{"a":["` + key + `"]},"statusCode":"x"}`},
	}
	usual := map[int]bool{200: true, 201: true, 202: true, 204: true, 302: true, 401: true, 429: true, 502: true}
	for _, status := range statuses {
		var attacks []attack
		for i, b := range bodies {
			if i%7 != 0 && !usual[status] {
				continue // JSON and HTML say enough of the others
			}
			a := attack{name: fmt.Sprintf("%03d with %s", status, b.name), ends: statusEnds(status)}
			body := b.body
			if status == 204 || status == 304 {
				body = "" // as the protocol has it
			}
			a.handle = says(full(fmt.Sprintf("%03d Odd \x1b[31m", status), b.contentType, body))
			if b.contentType == ";;/\x7f" {
				a.handle = says(full(fmt.Sprintf("%03d Odd", status), ";;/", body))
			}
			isJSON := b.name == "JSON" || b.name == "JSON with a charset" || b.name == "JSON without a type"
			switch {
			case status == 200 && isJSON:
				a.ends = good
			case status == 200 && body == answer:
				a.file = completes
			case status == 200 && b.name != "HTML" && body != "":
				a.file, a.create = completes, maybe
			case status == 200 || status == 201 && body != answer:
				a.create = maybe
			}
			if b.name == "JSON with a charset" || b.name == "a problem" {
				a.file = fails // and see typed
			}
			if (status == 201 || status == 202) && isJSON {
				a.ends.operation, a.wait = completes, completes
			}
			if status/100 == 2 && body == answer {
				a.create = completes // the id is what was paid for
			}
			attacks = append(attacks, a)
		}
		run(t, attacks, some("status", "Wait", "Check", "CreateGeneration", "Download"))
	}
}
