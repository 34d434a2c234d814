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

// kind is what entries have in common in how they end.
type kind int

const (
	operation kind = iota // sends one request
	foreign               // the same, and may not be able to read answer
	waiting               // sends as many as it takes
	checking              // one step of it
	creating              // costs credits
	fetching              // from a host of files
)

// Requests of each kind, with what the document requires.
var (
	published = sample.New(gamma.OpenAPI())
	text      = sample.Request(published, "createGeneration", api.GenerationRequest{InputText: "tea"})
	template  = sample.Request(published, "createFromTemplateGeneration", api.TemplateGenerationRequest{GammaID: "g1", Prompt: "tea"})
)

// readers are the names of the operations that can read answer.
var readers = map[string]string{
	"getGenerationStatus":          "status",
	"createGeneration":             "create",
	"createFromTemplateGeneration": "template",
	"listThemes":                   "themes",
	"listFolders":                  "folders",
	"archiveGamma":                 "archive",
	"deleteGamma":                  "delete",
}

// entries are all operations of the document, and what the SDK adds to them.
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
			o.err = errors.New("All yielded another number of results than 1")
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

// operations are the entries of the generated methods.
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

// some picks entries by name.
func some(names ...string) (picked []entry) {
	for _, e := range entries {
		if slices.Contains(names, e.name) {
			picked = append(picked, e)
		}
	}
	return picked
}

// brief stands for all entries where the rest would show no more.
var brief = some("status", "create", "Themes", "Wait", "All", "Check", "CreateGeneration", "DownloadFile")

// few are for what costs much.
var few = some("status", "Wait", "CreateGeneration")

// generated looks at what a generated method returned, also beside an error.
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
			default: // what was read, by status
				value = append(value, v)
			}
		}
		o.value = value
	}
	return o
}

// clipped spares the tests to print what is padded.
func clipped(body []byte) string { return string(body[:min(len(body), 64<<10)]) }

// dump is what a program may print of rsp.
func dump(rsp *http.Response) any {
	return []any{rsp.Status, rsp.Header, rsp.Trailer, rsp.Request.Header, *rsp}
}

func (r *rig) poller() *poller.Poller {
	p := poller.New(r.client)
	p.Interval, p.MaxFailures = interval, 5
	return p
}

// wrong says why o, after a number of requests, is not how a call must end.
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
			return "the pause is not for this"
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
			return "another number of polls"
		case want == late && (errors.Is(o.err, poller.ErrPause) || errors.Is(o.err, context.DeadlineExceeded)):
		case errors.Is(o.err, poller.ErrPause) != (want == paused || want == heldBack):
			return "another cause"
		case want == paused:
			if errors.Is(stop.Last, context.DeadlineExceeded) != errors.Is(o.err, context.DeadlineExceeded) {
				return "the deadline has not come"
			}
		case want.isLate():
			if !errors.Is(o.err, context.DeadlineExceeded) || stop.Last != nil && errors.Is(o.err, stop.Last) {
				return "another cause"
			}
		case stop.Last == nil || !errors.Is(o.err, stop.Last):
			return "the cause is not the last error"
		}
	case creating:
		if want == maybe != errors.Is(o.err, gamma.ErrMaybeCreated) {
			return "ErrMaybeCreated"
		}
		if requests > 1 {
			return "it may have paid twice"
		}
	case operation, foreign, fetching:
	}
	return ""
}

// briefly ends a call before it would have tried again for seconds.
func briefly(call func(context.Context, *rig) outcome) func(context.Context, *rig) outcome {
	return func(ctx context.Context, r *rig) outcome {
		ctx, cancel := context.WithTimeout(ctx, 2*soon)
		defer cancel()
		return call(ctx, r)
	}
}

// soon is the time until a call's deadline where it must be reached.
const soon = 150 * time.Millisecond
