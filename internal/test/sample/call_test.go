package sample_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/test/sample"
)

func TestNewRequest(t *testing.T) {
	d := document(operations)
	for id, want := range map[string]string{
		"getB":       `GET https://x/b/1/a%20b?tags=string&tags=string X-Version=v1 `,
		"make":       `POST https://x/a Content-Type=application/json {"name":"string"}`,
		"patchForm":  `PATCH https://x/a Content-Type=application/x-www-form-urlencoded tags=string&tags=string`,
		"deleteForm": `DELETE https://x/a Content-Type=application/x-www-form-urlencoded note=string`,
		"PutRaw":     `PUT https://x/a Content-Type=text/plain string`,
	} {
		o, ok := d.Operation(id)
		r, err := d.NewRequest(t.Context(), "https://x", o, sample.Mode{}, map[string]any{"key": "a b"})
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		got := r.Method + " " + r.URL.String()
		for name, values := range r.Header {
			got += " " + name + "=" + strings.Join(values, ",")
		}
		var body []byte
		if r.Body != nil {
			body, _ = io.ReadAll(r.Body)
		}
		if got += " " + string(body); got != want {
			t.Errorf("%s is\n%s, want\n%s", id, got, want)
		}
	}
}

// client has methods as oapi-codegen makes them.
type client struct{ got string }

type params struct {
	Limit   int      `json:"limit,omitempty"`
	Tags    []string `json:"tags"`
	Version string   `json:"X-Version"`
}

type rsp struct{}

func (c *client) GetBWithResponse(_ context.Context, id int, key string, p *params, _ ...int) (*rsp, error) {
	c.got = fmt.Sprintf("%d %s %+v", id, key, *p)
	return nil, errors.New("none")
}

func (c *client) MakeWithBodyWithResponse(context.Context, string, io.Reader, ...int) (*rsp, error) {
	panic("there is a better one")
}

func (c *client) MakeWithResponse(_ context.Context, body struct{ Name, Note string }, _ ...int) (*rsp, error) {
	c.got = fmt.Sprintf("%+v", body)
	return &rsp{}, nil
}

func (c *client) PutRawWithBodyWithResponse(_ context.Context, contentType string, body io.Reader, _ ...int) (*rsp, error) {
	data, err := io.ReadAll(body)
	c.got = fmt.Sprintf("%s %s", contentType, data)
	return &rsp{}, err
}

func (c *client) PutRaw(_ context.Context, contentType string, body io.Reader) error {
	_, err := c.PutRawWithBodyWithResponse(context.Background(), contentType, body)
	return err
}

func (c *client) PatchFormWithBodyWithResponse(_ context.Context, contentType string, body io.Reader, _ ...int) (*rsp, error) {
	return c.PutRawWithBodyWithResponse(context.Background(), contentType, body)
}

func (c *client) PatchForm(_ context.Context, body struct{ Tags []string }) error {
	c.got = fmt.Sprintf("%+v", body)
	return nil
}

func TestCall(t *testing.T) {
	d := document(operations)
	for id, want := range map[string]string{
		"get_b":     "<nil> none: 7 string {Limit:0 Tags:[string string] Version:v1}",
		"make":      "&{} <nil>: {Name:string Note:}",
		"putRaw":    "&{} <nil>: text/plain string",
		"patchForm": "&{} <nil>: application/x-www-form-urlencoded tags=string&tags=string",
	} {
		var c client
		o, _ := d.Operation(id)
		rsp, err := d.Call(t.Context(), &c, o, sample.Mode{}, map[string]any{"id": 7})
		if got := fmt.Sprintf("%v %v: %s", rsp, err, c.got); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
	for id, want := range map[string]string{"putRaw": "text/plain string", "patchForm": "{Tags:[string string]}"} {
		var c client
		o, _ := d.Operation(id)
		if model, err := d.Model(t.Context(), &c, o, sample.Mode{}, nil); model != nil || err != nil || c.got != want {
			t.Errorf("%s: %v %v: %s, want %s", id, model, err, c.got, want)
		}
	}
	o, _ := d.Operation("make")
	if _, err := d.Call(t.Context(), struct{}{}, o, sample.Mode{}, nil); err == nil {
		t.Error("called a method that does not exist")
	}
	o.BodyType = ""
	if _, err := d.Call(t.Context(), &client{}, o, sample.Mode{}, nil); err == nil {
		t.Error("called a method with too few arguments")
	}
}

// Request adds what the document requires and keeps what is set.
func TestRequest(t *testing.T) {
	d := sample.New(gamma.OpenAPI())
	request := sample.Request(d, "createFromTemplateGeneration", api.TemplateGenerationRequest{Prompt: "tea"})
	if request.Prompt != "tea" || request.GammaID == "" {
		t.Errorf("%+v", request)
	}
	defer func() {
		if recover() == nil {
			t.Error("an operation that is not there has a request")
		}
	}()
	sample.Request(d, "nothing", request)
}
