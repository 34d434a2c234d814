package gamma

import (
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestMessage(t *testing.T) {
	const max60 = "numCards must not be greater than 60"
	for _, tt := range []struct{ name, body, want string }{
		{"a string", `{"message":"no"}`, "no"},
		{"a list of strings", `{"message":["a is required"," ","b is too long"]}`, "a is required; b is too long"},
		{"the same reason twice", `{"message":["no","no"],"error":"no"}`, "no"},
		{"NestJS", `{"statusCode":400,"message":["` + max60 + `"],"error":"Bad Request"}`, max60},
		{"NestJS without a reason", `{"statusCode":400,"message":"Bad Request"}`, "Bad Request"},
		{"message and error", `{"message":"no","error":"Validation failed"}`, "no; Validation failed"},
		{"class-validator", `{"message":[{"property":"numCards","value":99,"target":{"inputText":"secret"},"constraints":{"max":"` + max60 + `"},"children":[]}]}`, max60},
		{"class-validator, two constraints", `{"message":[{"property":"numCards","constraints":{"min":"numCards must not be less than 1","isInt":"numCards must be an integer"}}]}`, "numCards must be an integer; numCards must not be less than 1"},
		{"class-validator, a text that does not name the field", `{"message":[{"property":"numCards","constraints":{"max":"too many"}}]}`, "numCards: too many"},
		{
			"class-validator, nested",
			`{"message":[{"property":"textOptions","children":[{"property":"tone","constraints":{"maxLength":"tone is too long"}},{"property":"amount","constraints":{"isEnum":"no such amount"}}]}]}`,
			"textOptions.tone: tone is too long; textOptions.amount: no such amount",
		},
		{"class-validator, no constraints", `{"message":[{"property":"numCards","target":{"inputText":"secret"}}]}`, "Bad Request"},
		{"a list without an object", `["a is required","b is too long"]`, "a is required; b is too long"},
		{"a list of objects without an object", `[{"property":"numCards","constraints":{"max":"` + max60 + `"}}]`, max60},
		{"an object as the message", `{"message":{"message":"no","code":"limit"}}`, "no"},
		{"a map as the message", `{"message":{"numCards":["is too large"],"textOptions":{"tone":"is too long"}}}`, "numCards: is too large; textOptions.tone: is too long"},
		{"a map with the field title as the message", `{"message":{"title":"is empty","numCards":"is too large"}}`, "numCards: is too large; title: is empty"},
		{"an object without strings as the message", `{"message":{"a":1,"b":[null,true]}}`, "Bad Request"},
		{"message and errors", `{"errors":["a is required"],"message":"no"}`, "no; a is required"},
		{"message and errors as objects", `{"message":"no","errors":[{"field":"numCards","message":"is too large","code":"x"},{"path":"title","message":"is empty"}]}`, "no; numCards: is too large; title: is empty"},
		{"errors by field", `{"errors":{"title":["is empty"],"numCards":"is too large","message":"is not a field"}}`, "message: is not a field; numCards: is too large; title: is empty"},
		{"Zod", `{"statusCode":400,"message":"Validation failed","errors":[{"code":"too_big","maximum":60,"path":["numCards"],"message":"Too big"},{"code":"custom","path":["recipients",0],"message":"Invalid"},{"path":[],"message":"no"}]}`, "Validation failed; numCards: Too big; recipients.0: Invalid; no"},
		{"Zod without NestJS", `{"success":false,"error":{"issues":[{"code":"invalid_type","received":"undefined","path":["inputText"],"message":"Required"}],"name":"ZodError"}}`, "inputText: Required"},
		{"FastAPI", `{"detail":[{"loc":["body","numCards"],"msg":"is too large","type":"value_error","input":"secret"}]}`, "body.numCards: is too large"},
		{"a JSON pointer", `{"title":"Not valid","errors":[{"detail":"is too large","pointer":"#/numCards"}]}`, "#/numCards: is too large; Not valid"},
		{"details", `{"error":{"code":"invalid","message":"no","details":[{"field":"numCards","message":"is too large"}]}}`, "no; numCards: is too large"},
		{"GraphQL", `{"errors":[{"message":"no","path":["gamma","id"],"extensions":{"code":"BAD_USER_INPUT"}}],"data":null}`, "gamma.id: no"},
		{"API Gateway", `{"Message":"User is not authorized"}`, "User is not authorized"},
		{"errors without a message", `{"errors":[{"message":"no"}]}`, "no"},
		{"error with a message", `{"error":{"code":"limit","message":"no"}}`, "no"},
		{"error as a string", `{"error":"no such folder"}`, "no such folder"},
		{"RFC 9457", `{"type":"https://example.com/limit","title":"Out of range","status":400,"detail":"` + max60 + `","instance":"/x"}`, max60 + "; Out of range"},
		{"RFC 9457, the name of the status as the title", `{"type":"about:blank","title":"Bad Request","status":400}`, "Bad Request"},
		{"the path of the request", `{"message":"no","path":"/v1.0/generations","timestamp":"2026-04-24T12:00:00Z"}`, "no"},
		{"the path of the request, nested", `{"error":{"message":"no","path":"/v1.0/generations/gen1"}}`, "no"},
		{"a JSON string", `"no"`, "no"},
		{"escapes", `{"message":["a\u001b[31m","\u202eb"]}`, `a\x1b[31m; \u202eb`},
		{"other properties", `{"code":"x","ok":false}`, "Bad Request"},
		{"null", `null`, "Bad Request"},
		{"a number", `{"message":7}`, "Bad Request"},
		{"HTML", `<html>no</html>`, "Bad Request"},
		{"truncated after the reason", `{"statusCode":400,"message":["a is required"],"stack":"Error: `, "a is required"},
		{"truncated in another string", `{"message":"a, \"{\\","statusCode":400,"stack":"b, \"`, `a, "{\`},
		{"truncated list", `["a","b`, "Bad Request"},
		{"truncated in the reason", `{"message":"no`, "Bad Request"},
		{"empty", ``, "Bad Request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := message(400, []byte(tt.body)); got != tt.want {
				t.Errorf("%s gave %q, want %q", tt.body, got, tt.want)
			}
		})
	}
	if got := message(400, []byte(`{"message":["`+strings.Repeat("a", 400)+`","`+strings.Repeat("b", 400)+`"]}`)); len(got) > 520 || !strings.HasSuffix(got, "bbb...") {
		t.Errorf("long texts gave %q", got)
	}
	if got := newAPIError("GET /x", &http.Response{StatusCode: 403}, nil); got.Body != nil || got.Message != "Forbidden" {
		t.Errorf("without a body: %+v", got)
	}
}

// FuzzMessage checks that the message of any body is one printable line and not empty.
func FuzzMessage(f *testing.F) {
	f.Add(400, []byte(`{"message":[{"property":"a","constraints":{"max":"b\u001b"},"children":[{"property":"c","constraints":{"x":"d"}}]}],"error":"Bad Request"}`))
	f.Add(400, []byte(`{"errors":{"a":["b"],"":{"":"c"}},"error":{"message":"d"},"detail":"e","title":"f"}`))
	f.Add(422, []byte(`["a",{"field":"b","message":["c"]}]`))
	f.Add(599, []byte("<html>"))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		got := message(status, body)
		if got == "" || len(got) > 528 || !utf8.ValidString(got) || strings.ContainsAny(got, "\n\r\t\x1b\x00\u202e\u2028") {
			t.Fatalf("%d with %q gave %q", status, body, got)
		}
		if again := message(status, body); again != got {
			t.Fatalf("%q, then %q", got, again)
		}
	})
}
