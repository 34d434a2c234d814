package hostile

import (
	"fmt"
	"net/http"
	"testing"
)

// statusEnds returns the expected results of a status, by the table of errors in the API's
// documentation and the policy of package poller.
func statusEnds(status int) ends {
	e := ends{fails, atOnce, refused, fails}
	switch status {
	case 200, 201:
		return ends{fails, givesUp, completes, fails} // unless the body is valid
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

// Every status with every kind of body.
func TestStatuses(t *testing.T) {
	var statuses []int
	for _, span := range [][2]int{{0, 1}, {99, 99}, {101, 101}, {200, 208}, {226, 226}, {299, 308}, {399, 431}, {444, 451}, {499, 511}, {520, 527}, {599, 600}, {700, 700}, {999, 999}} {
		for status := span[0]; status <= span[1]; status++ {
			statuses = append(statuses, status)
		}
	}
	bodies := []struct {
		name, contentType, body string
		valid                   bool // for the operation and a wait
		file                    bool // for a download; see typed
	}{
		{"JSON", "application/json", okBody, true, true},
		{"JSON with a charset", "application/json;charset=UTF-8", okBody, true, false},
		{"a problem", "application/problem+json", `{"message":"\u001b[31mno\n","statusCode":1}`, false, false},
		{"JSON as text", "text/plain", okBody, false, true},
		{"JSON without a type", "", okBody, true, true},
		{"JSON with a malformed type", ";;/", okBody, false, true},
		{"HTML", "text/html; charset=utf-8", "<html><body>Bad gateway " + key + "</body></html>", false, false},
		{"HTML as JSON", "application/json", "<html>", false, true},
		{"an empty body", "application/json", "", false, false},
		{"bytes", "application/octet-stream", "\x00\xff\xfe\x1b[31m", false, true},
		{"bytes as JSON", "application/json", "\x00\xff\xfe\x1b[31m", false, true},
		{"null", "application/json", "null", false, true},
		{"a list", "application/json", "[]", false, true},
		{"a message of another type", "application/json", `{"message":{"a":["` + key + `"]},"statusCode":"x"}`, false, true},
	}
	usual := map[int]bool{200: true, 201: true, 202: true, 204: true, 302: true, 401: true, 429: true, 502: true}
	for _, status := range statuses {
		var attacks []attack
		for i, b := range bodies {
			if i%7 != 0 && !usual[status] {
				continue // JSON and HTML are enough for the others
			}
			a := attack{name: fmt.Sprintf("%03d with %s", status, b.name), ends: statusEnds(status)}
			body := b.body
			if status == 204 || status == 304 {
				body = "" // required by the protocol
			}
			a.handle = sends(full(fmt.Sprintf("%03d Odd \x1b[31m", status), b.contentType, body))
			switch {
			case status/100 == 2 && body == okBody:
				a.create = completes // it has the id
			case status == 200 || status == 201:
				a.create = maybe
			}
			if b.valid && (status == 200 || status == 201 || status == 202) {
				a.ends.operation, a.wait = completes, completes
			}
			if b.file && status == 200 {
				a.file = completes
			}
			attacks = append(attacks, a)
		}
		run(t, attacks, some("status", "Wait", "Check", "CreateGeneration", "Download"))
	}
}
