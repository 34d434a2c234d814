package hostile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gamma-sdk/gamma-go/api"
)

// Bodies that are JSON, or nearly. A wait completes in spite of fields that it does not need.
func TestJSON(t *testing.T) {
	const (
		id   = `"generationId":"gen1"`
		done = id + `,"status":"completed"`
	)
	pending := ends{completes, deadline, completes, unchecked}
	garbled := ends{fails, givesUp, maybe, unchecked}
	// of: the operation returns the body, and the wait and the create end as given.
	of := func(wait, create end) ends { return ends{completes, wait, create, unchecked} }
	done1 := of(completes, completes)
	nested := func(open, inner, end string, n int) string {
		return strings.Repeat(open, n) + inner + strings.Repeat(end, n)
	}
	type row struct {
		name, body string
		ends
	}
	rows := []row{
		{"valid", `{` + done + `}`, done1},
		{"spaces", " \r\n\t{" + done + "}\n\n", done1},
		{"a BOM", "\ufeff{" + done + "}", garbled},
		{"UTF-16", "\xff\xfe{\x00}\x00", garbled},
		{"garbage after it", `{` + done + `}x`, garbled},
		{"a second document", `{` + done + `}{` + done + `}`, garbled},
		{"lines of documents", "{" + done + "}\n{" + done + "}\n", garbled},
		{"cut", `{` + done, garbled},
		{"a comma too many", `{` + done + `,}`, garbled},
		{"a comment", `{` + done + `/* */}`, garbled},
		{"single quotes", `{'generationId':'gen1','status':'completed'}`, garbled},
		{"NaN", `{` + done + `,"credits":{"deducted":NaN,"remaining":1}}`, garbled},
		{"Infinity", `{` + done + `,"credits":{"deducted":-Infinity,"remaining":1}}`, garbled},
		{"a leading zero", `{` + done + `,"credits":{"deducted":01,"remaining":1}}`, garbled},
		{"a raw control character", "{" + done + ",\"gammaUrl\":\"a\x01\"}", garbled},
		{"an unknown escape", `{` + done + `,"gammaUrl":"\x41"}`, garbled},
		{"null", `null`, garbled},
		{"a string", `"completed"`, garbled},
		{"a number", `1`, garbled},
		{"true", `true`, garbled},
		{"a list", `[{` + done + `}]`, garbled},
		{"an empty object", `{}`, garbled},
		{"an empty list", `[]`, garbled},
		{"an error in a success", `{"message":"no","statusCode":500}`, garbled},
		{"an object in data", `{"data":{` + done + `}}`, garbled},

		{"invalid UTF-8", "{" + done + ",\"gammaUrl\":\"https://x/\xff\xfe\"}", done1},
		{"half a surrogate", `{` + done + `,"gammaUrl":"https://x/\ud800"}`, done1},
		{"a NUL", `{` + done + `,"gammaUrl":"https://x/\u0000"}`, done1},
		{"unknown properties", `{` + done + `,"":1,"x":{"y":[null]},"\u0000":0}`, done1},
		{"nulls", `{` + done + `,"gammaUrl":null,"exportUrl":null,"credits":null,"error":null,"gammaId":null}`, done1},
		{"everything of another type", `{` + done + `,"gammaUrl":1,"exportUrl":{},"credits":[1],"error":true,"gammaId":[]}`, done1},
		{"credits as strings", `{` + done + `,"credits":{"deducted":"1","remaining":"2"}}`, done1},
		{"credits beyond 2^53", `{` + done + `,"credits":{"deducted":9007199254740993,"remaining":18446744073709551616}}`, done1},
		{"credits beyond everything", `{` + done + `,"credits":{"deducted":1e999,"remaining":-1e999}}`, done1},
		{"a number of many digits", `{` + done + `,"credits":{"deducted":` + strings.Repeat("9", 100000) + `}}`, done1},
		{"an error as a string", `{` + done + `,"error":"none"}`, done1},
		{"an empty error", `{` + done + `,"error":{}}`, done1},
		{"names in another case", `{"GENERATIONID":"gen1","Status":"completed"}`, done1},
		{"status twice, completed last", `{` + id + `,"status":"pending","status":"completed"}`, done1},
		{"status twice, pending last", `{` + id + `,"status":"completed","status":"pending"}`, pending},
		{"status in two cases, oddities too", `{` + id + `,"status":"pending","credits":1,"STATUS":"completed"}`, pending},
		{"status in two cases the other way", `{` + id + `,"STATUS":"completed","credits":1,"status":"pending"}`, pending},
		{"an id twice", `{"generationId":"gen2",` + done + `}`, done1},
		{"10,000 properties", `{` + done + strings.Repeat(`,"x":1`, 10000) + `}`, done1},
		{"5,000 credits", `{` + done + strings.Repeat(`,"credits":{"deducted":1}`, 5000) + `}`, done1},
		{"20,000 credits", `{` + done + strings.Repeat(`,"credits":{"deducted":1}`, 20000) + `}`, ends{fails, givesUp, completes, unchecked}},
		{"9,000 brackets", `{` + done + `,"x":` + nested("[", "", "]", 9000) + `}`, done1},
		{"9,000 brackets in credits", `{` + done + `,"credits":` + nested("[", "", "]", 9000) + `}`, done1},
		{"100,000 brackets", `{` + done + `,"x":` + nested("[", "", "]", 100000) + `}`, garbled},
		{"100,000 objects", `{` + done + `,"x":` + nested(`{"a":`, "1", "}", 100000) + `}`, garbled},
		{"500,000 open brackets", strings.Repeat("[", 500000), garbled},

		{"pending", `{` + id + `,"status":"pending"}`, pending},
		{"pending with a link", `{` + id + `,"status":"pending","gammaUrl":"https://x"}`, pending},
		{"pending with an error", `{` + id + `,"status":"pending","error":{"message":"m","statusCode":500}}`, pending},
		{"an unknown status", `{` + id + `,"status":"queued"}`, pending},
		{"a status in capitals", `{` + id + `,"status":"COMPLETED"}`, pending},
		{"a status with spaces", `{` + id + `,"status":" completed "}`, pending},
		{"a status with escapes", `{` + id + `,"status":"\u001b[31m\n"}`, pending},
		{"an unknown status and an error", `{` + id + `,"status":"dead","error":{"message":"m","statusCode":500}}`, of(failed, completes)},
		{"an unknown status and an error as a string", `{` + id + `,"status":"dead","error":"m"}`, pending},
		{"failed", `{` + id + `,"status":"failed","error":{"message":"m","statusCode":422}}`, of(failed, completes)},
		{"failed without a reason", `{` + id + `,"status":"failed"}`, of(failed, completes)},
		{"failed with another reason", `{` + id + `,"status":"failed","error":["m"]}`, of(failed, completes)},
		{"failed with a status of another type", `{` + id + `,"status":"failed","error":{"message":"m","statusCode":"422"}}`, of(failed, completes)},
		{"failed with a message of another type", `{` + id + `,"status":"failed","error":{"message":{"a":1},"statusCode":422}}`, of(failed, completes)},
		{"failed with an absurd status", `{` + id + `,"status":"failed","error":{"message":"m","statusCode":1e300}}`, of(failed, completes)},
		{"failed with escapes", `{` + id + `,"status":"failed","error":{"message":"\u001b[31m\r\n\u202e\u0000\ud800","statusCode":-1}}`, of(failed, completes)},
		{"failed at length", `{` + id + `,"status":"failed","error":{"message":"` + strings.Repeat(`\u001b`, 100000) + `","statusCode":0}}`, of(failed, completes)},
		{"failed with the key", `{` + id + `,"status":"failed","error":{"message":"\u0073k-gamma-7Zq\u0026\u003c>\u0022\u005csecret","statusCode":0}}`, of(failed, completes)},
		{"failed, and with links", `{` + id + `,"status":"failed","gammaUrl":"https://x/` + secret + `","exportUrl":"https://x/` + secret + `"}`, of(failed, completes)},

		{"an empty status", `{` + id + `,"status":""}`, of(givesUp, completes)},
		{"no status", `{` + id + `}`, of(givesUp, completes)},
		{"a null status", `{` + id + `,"status":null}`, of(givesUp, completes)},
		{"a status of another type", `{` + id + `,"status":1}`, ends{fails, givesUp, completes, unchecked}},
		{"a status in a list", `{` + id + `,"status":["completed"]}`, ends{fails, givesUp, completes, unchecked}},
		{"another id", `{"generationId":"gen2","status":"completed"}`, of(givesUp, completes)},
		{"an id in another case", `{"generationId":"GEN1","status":"completed"}`, of(givesUp, completes)},
		{"an empty id", `{"generationId":"","status":"completed"}`, of(givesUp, maybe)},
		{"no id", `{"status":"completed"}`, of(givesUp, maybe)},
		{"an id of another type", `{"generationId":1,"status":"completed"}`, garbled},
		{"an id with a slash", `{"generationId":"../gen1","status":"completed"}`, of(givesUp, maybe)},
		{"an id with a line break", `{"generationId":"gen1\n","status":"completed"}`, of(givesUp, maybe)},
		{"an id of all letters", `{"generationId":"A-z_0.9~","status":"completed"}`, of(givesUp, completes)},
		{"an id of 257 letters", `{"generationId":"` + strings.Repeat("x", 257) + `","status":"completed"}`, of(givesUp, maybe)},
	}
	for _, link := range []string{"javascript:alert(1)", "http://169.254.169.254/", "https://user:pass@x/", "//x", "\u202e", strings.Repeat("x", 500000)} {
		rows = append(rows, row{"a link to " + link[:min(len(link), 20)], fmt.Sprintf(`{%s,"exportUrl":%q,"gammaUrl":%q}`, done, link, link), done1})
	}
	var attacks []attack
	for _, r := range rows {
		attacks = append(attacks, attack{name: r.name, handle: sends(json200(r.body)), ends: r.ends})
	}
	run(t, attacks, some("status", "Wait", "All", "Check", "CreateGeneration"))
}

// Fields of a wrong type are skipped; the others are kept.
func TestWrongTypesAreSkipped(t *testing.T) {
	const body = `{"generationId":"gen1","status":"completed","gammaUrl":5,"exportUrl":"https://x","credits":{"deducted":"a","remaining":9007199254740992}}`
	r := newRig(t, serve(t, "tcp", "127.0.0.1:0", "http", sends(json200(body))), settings{})
	o := r.call(t, t.Context(), some("Wait")[0])
	gen, _ := o.value.(*api.GenerationStatusResponse)
	if o.err != nil || gen == nil || gen.ExportURL != "https://x" || gen.Credits == nil || gen.Credits.Deducted != nil || gen.Credits.Remaining == nil || *gen.Credits.Remaining != 1<<53 {
		t.Errorf("%+v, %v", gen, o.err)
	}
}

// Themes and Folders end, also if the pages have no end.
func TestPages(t *testing.T) {
	item := `{"id":"a","name":"b","type":"standard"}`
	page := func(items, rest string) string { return `{"data":` + items + `,` + rest + `}` }
	always := func(body string) handler { return sends(json200(body)) }
	counting := func(items string) handler {
		return http1(func(x *exchange) {
			x.send(json200(page(items, fmt.Sprintf(`"hasMore":true,"nextCursor":"c%d"`, x.n))))
		})
	}
	ok, bad := ends{operation: completes}, ends{operation: fails}
	run(t, []attack{
		{name: "one page", handle: always(page(`[`+item+`]`, `"hasMore":false,"nextCursor":null`)), ends: ok},
		{name: "no items", handle: always(page(`null`, `"hasMore":false,"nextCursor":""`)), ends: ok},
		{name: "the same cursor forever", handle: always(page(`[`+item+`]`, `"hasMore":true,"nextCursor":"c"`)), ends: bad},
		{name: "two cursors forever", handle: http1(func(x *exchange) {
			x.send(json200(page(`[`+item+`]`, fmt.Sprintf(`"hasMore":true,"nextCursor":"c%d"`, x.n%2))))
		}), ends: bad},
		{name: "no cursor", handle: always(page(`[`+item+`]`, `"hasMore":true`)), ends: bad},
		{name: "a null cursor", handle: always(page(`[`+item+`]`, `"hasMore":true,"nextCursor":null`)), ends: bad},
		{name: "a cursor of another type", handle: always(page(`[`+item+`]`, `"hasMore":true,"nextCursor":5`)), ends: bad},
		{name: "an odd cursor", handle: always(page(`[`+item+`]`, `"hasMore":true,"nextCursor":"\u001b[31m&after=\r\n\u0000"`)), ends: bad},
		{name: "a long cursor", handle: always(page(`[`+item+`]`, `"hasMore":true,"nextCursor":"`+strings.Repeat("c", 200000)+`"`)), ends: bad},
		{name: "empty pages forever", handle: counting(`[]`), ends: bad},
		{name: "a string for the items", handle: always(page(`"x"`, `"hasMore":false`)), ends: bad},
		{name: "items of another type", handle: always(page(`[1,"x",null,[]]`, `"hasMore":false`)), ends: bad},
		{name: "hasMore of another type", handle: always(page(`[]`, `"hasMore":"true"`)), ends: bad},
		{name: "500 after the first page", handle: http1(func(x *exchange) {
			if x.n == 1 {
				x.send(json200(page(`[`+item+`]`, `"hasMore":true,"nextCursor":"c"`)))
			} else {
				x.send(full("500 Oops", "text/html", "<html>"))
			}
		}), ends: bad},
		{name: "a reset after the first page", handle: http1(func(x *exchange) {
			x.send(json200(page(`[`+item+`]`, `"hasMore":true,"nextCursor":"c"`)))
			reset(x.Conn)
		}), ends: bad},
		{name: "pages forever", handle: counting(`[` + item + `]`), ends: bad, budget: soon},
	}, some("Themes", "Folders"))
}
