package hostile

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/test/sample"
	"github.com/gamma-sdk/gamma-go/poller"
)

// entry is what a program calls.
type entry struct {
	name string
	kind kind
	call func(context.Context, *rig) outcome
}

// kind groups entries by their expected results.
type kind int

const (
	operation kind = iota // sends one request
	foreign               // the same, but may not accept okBody
	waiting               // polls until the end
	checking              // polls once
	creating              // costs credits
	fetching              // downloads a file
)

// Requests of each kind, with the fields that the OpenAPI document requires.
var (
	published = sample.New(gamma.OpenAPI())
	text      = sample.Request(published, "createGeneration", api.GenerationRequest{InputText: "tea"})
	template  = sample.Request(published, "createFromTemplateGeneration", api.TemplateGenerationRequest{GammaID: "g1", Prompt: "tea"})
)

// readers are the names of the operations that accept okBody.
var readers = map[string]string{
	"getGenerationStatus":          "status",
	"createGeneration":             "create",
	"createFromTemplateGeneration": "template",
	"listThemes":                   "themes",
	"listFolders":                  "folders",
	"archiveGamma":                 "archive",
	"deleteGamma":                  "delete",
}

// entries are all operations of the OpenAPI document and the methods that the SDK adds.
var entries = append(operations(), []entry{
	{"GetGenerationStatus", operation, func(ctx context.Context, r *rig) outcome {
		gen, err := r.client.GetGenerationStatus(ctx, "gen1")
		return outcome{value: gen, err: err}
	}},
	{"Themes", operation, func(ctx context.Context, r *rig) (o outcome) {
		for item, err := range r.client.Themes(ctx, nil) {
			o = outcome{value: item, err: err}
		}
		return o
	}},
	{"Folders", operation, func(ctx context.Context, r *rig) (o outcome) {
		for item, err := range r.client.Folders(ctx, nil) {
			o = outcome{value: item, err: err}
		}
		return o
	}},
	{"Wait", waiting, func(ctx context.Context, r *rig) outcome {
		gen, err := r.poller().Wait(ctx, "gen1")
		return outcome{value: gen, err: err}
	}},
	{"WaitExport", waiting, func(ctx context.Context, r *rig) outcome {
		gen, err := r.poller().WaitExport(ctx, "gen1")
		return outcome{value: gen, err: err}
	}},
	{"Watch", waiting, func(ctx context.Context, r *rig) (o outcome) {
		for ev, err := range r.poller().Watch(ctx, poller.Progress{ID: "gen1"}) {
			o = outcome{value: ev, err: err}
		}
		return o
	}},
	{"All", waiting, func(ctx context.Context, r *rig) (o outcome) {
		o.err = errors.New("All yielded nothing")
		n := 0
		for result := range r.poller().All(ctx, poller.IDs("gen1")) {
			o = outcome{value: result, err: result.Err}
			n++
		}
		if n != 1 {
			o.err = errors.New("All did not yield exactly one result")
		}
		return o
	}},
	{"Check", checking, func(ctx context.Context, r *rig) outcome {
		gen, next, err := r.poller().Check(ctx, &poller.Progress{ID: "gen1"})
		return outcome{gen, err, next}
	}},
	{"CreateGeneration", creating, func(ctx context.Context, r *rig) outcome {
		created, err := r.client.CreateGeneration(ctx, text)
		return outcome{value: created, err: err}
	}},
	{"CreateFromTemplateGeneration", creating, func(ctx context.Context, r *rig) outcome {
		created, err := r.client.CreateFromTemplateGeneration(ctx, template)
		return outcome{value: created, err: err}
	}},
	{"Download", fetching, func(ctx context.Context, r *rig) outcome {
		var b bytes.Buffer
		err := r.client.Download(ctx, r.url+"/deck.pdf?"+secret, &b)
		return outcome{value: b.Len(), err: err}
	}},
	{"DownloadFile", fetching, func(ctx context.Context, r *rig) outcome {
		dir := r.dir()
		path := filepath.Join(dir, "deck.pdf")
		err := r.client.DownloadFile(ctx, r.url+"/deck.pdf?"+secret, path)
		files, _ := os.ReadDir(dir)
		switch {
		case err == nil && len(files) == 1 && files[0].Name() == "deck.pdf":
			info, err := files[0].Info()
			return outcome{value: info.Size(), err: err}
		case err == nil || len(files) > 0:
			panic(fmt.Sprint("DownloadFile leaves ", files, " with the error ", err))
		}
		return outcome{err: err}
	}},
}...)

// operations returns the entries of the generated methods.
func operations() (all []entry) {
	for _, o := range published.Operations {
		e := entry{readers[o.ID], operation, func(ctx context.Context, r *rig) outcome {
			rsp, err := published.Call(ctx, r.client, o, sample.Mode{}, nil)
			return generated(rsp, err)
		}}
		if e.name == "" || o.Status != http.StatusOK {
			e.name, e.kind = cmp.Or(e.name, o.ID), foreign
		}
		all = append(all, e)
	}
	return all
}

// some returns entries by name.
func some(names ...string) (picked []entry) {
	for _, e := range entries {
		if slices.Contains(names, e.name) {
			picked = append(picked, e)
		}
	}
	return picked
}

// brief is for attacks where the other entries behave like these.
var brief = some("status", "create", "Themes", "Wait", "All", "Check", "CreateGeneration", "DownloadFile")

// few is for expensive attacks.
var few = some("status", "Wait", "CreateGeneration")

// generated returns the outcome of a generated method: all that its response prints.
func generated(rsp any, err error) outcome {
	o := outcome{err: err}
	if rsp != nil {
		var value []any
		fields := reflect.ValueOf(rsp).Elem()
		for i := range fields.NumField() {
			switch v := fields.Field(i).Interface().(type) {
			case []byte:
				value = append(value, clipped(v))
			case *http.Response:
				value = append(value, dump(v))
			default: // the decoded body, by status
				value = append(value, v)
			}
		}
		o.value = value
	}
	return o
}

// clipped returns body without most of its padding.
func clipped(body []byte) string { return string(body[:min(len(body), 64<<10)]) }

// dump returns what a program may print of rsp.
func dump(rsp *http.Response) any {
	return []any{rsp.Status, rsp.Header, rsp.Trailer, rsp.Request.Header, *rsp}
}

func (r *rig) poller() *poller.Poller {
	p := poller.New(r.client)
	p.Interval, p.MaxFailures = interval, 5
	return p
}

// wrong says how o, after a number of requests, differs from the expected result. It returns
// an empty string if it does not.
func (k kind) wrong(o outcome, want end, requests int) string {
	var failure *poller.FailedError
	var stop *poller.WaitError
	isStop := errors.As(o.err, &stop)
	switch {
	case want == completes && o.err != nil && k != foreign:
		return "it failed"
	case want != completes && o.err == nil && k != checking:
		return "it did not fail"
	case want == failed && !errors.As(o.err, &failure):
		return "not a FailedError"
	}
	switch k {
	case checking:
		again := want == givesUp || want == missing || want.isLate()
		if again != (o.err == nil && o.next > 0) {
			return "the pause does not match"
		}
		if want == atOnce && !isStop {
			return "not a WaitError"
		}
	case waiting:
		polls := map[end]int{atOnce: 1, givesUp: 5, missing: 2}[want]
		switch {
		case want == completes || want == failed:
		case !isStop:
			return "not a WaitError"
		case polls > 0 && stop.Polls != polls:
			return "wrong number of polls"
		case want == late && (errors.Is(o.err, poller.ErrPause) || errors.Is(o.err, context.DeadlineExceeded)):
		case errors.Is(o.err, poller.ErrPause) != (want == paused || want == heldBack):
			return "wrong cause"
		case want == paused:
			if errors.Is(stop.Last, context.DeadlineExceeded) != errors.Is(o.err, context.DeadlineExceeded) {
				return "the deadline has not come"
			}
		case want.isLate():
			if !errors.Is(o.err, context.DeadlineExceeded) || stop.Last != nil && errors.Is(o.err, stop.Last) {
				return "wrong cause"
			}
		case stop.Last == nil || !errors.Is(o.err, stop.Last):
			return "the cause is not the last error"
		}
	case creating:
		if want == maybe != errors.Is(o.err, gamma.ErrMaybeCreated) {
			return "ErrMaybeCreated"
		}
		if requests > 1 {
			return "it may have been charged twice"
		}
	case operation, foreign, fetching:
	}
	return ""
}

// briefly limits the time of a call that would retry for seconds.
func briefly(call func(context.Context, *rig) outcome) func(context.Context, *rig) outcome {
	return func(ctx context.Context, r *rig) outcome {
		ctx, cancel := context.WithTimeout(ctx, 2*soon)
		defer cancel()
		return call(ctx, r)
	}
}

// soon is the timeout of calls that must reach it.
const soon = 150 * time.Millisecond
