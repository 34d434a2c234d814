package poller_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

// An outage of the API is not made worse by its clients, whichever way they wait,
// and loses nothing.
func TestOutage(t *testing.T) {
	const n, from, to = 1000, 30 * s, 90 * s
	ways := map[string]func(context.Context, *poller.Poller) error{
		"All": func(ctx context.Context, p *poller.Poller) (err error) {
			for _, e := range p.All(ctx, sequence(n)) {
				err = errors.Join(err, e)
			}
			return err
		},
		"Wait": func(ctx context.Context, p *poller.Poller) error {
			var wg sync.WaitGroup
			errs := make([]error, n)
			for i := range n {
				wg.Go(func() { _, errs[i] = p.Wait(ctx, fmt.Sprintf("gen%d", i)) })
			}
			wg.Wait()
			return errors.Join(errs...)
		},
	}
	outages := map[string]func(context.Context) error{
		"none":       nil,
		"503":        func(context.Context) error { return &gamma.APIError{StatusCode: 503} },
		"no answers": func(ctx context.Context) error { sleepCtx(ctx, 15*s); return context.DeadlineExceeded },
	}
	for way, wait := range ways {
		requests, meanwhile := map[string]int64{}, map[string]int64{}
		for name, outage := range outages {
			synctest.Test(t, func(t *testing.T) {
				f := newFarm()
				f.trip = 50 * time.Millisecond
				for i, d := range lognormal(n) {
					f.done[fmt.Sprintf("gen%d", i)] = d
				}
				var all, down atomic.Int64
				p := poller.New(stub(func(ctx context.Context, id string) (*api.GetGenerationStatusHTTPResponse, error) {
					all.Add(1)
					if at := time.Since(f.start); at >= from && at < to {
						down.Add(1)
						if outage != nil {
							return nil, outage(ctx)
						}
					}
					return f.GetGenerationStatusWithResponse(ctx, id)
				}))
				p.Timeout = -1
				if err := wait(t.Context(), p); err != nil {
					t.Errorf("%s, outage %s: %v", way, name, err)
				}
				requests[name], meanwhile[name] = all.Load(), down.Load()
			})
		}
		for name := range outages {
			t.Logf("%s, outage %s: %d requests, %.2f of those without; %d within its minute", way, name, requests[name], float64(requests[name])/float64(requests["none"]), meanwhile[name])
			if requests[name] > requests["none"]*11/10 {
				t.Errorf("%s, outage %s: %d requests, more than a tenth more than %d", way, name, requests[name], requests["none"])
			}
			if name != "none" && meanwhile[name] > meanwhile["none"]/3 {
				t.Errorf("%s, outage %s: %d requests within its minute, more than a third of %d", way, name, meanwhile[name], meanwhile["none"])
			}
		}
	}
}

// Good answers refill the retry budget, a tenth of a retry each.
func TestRetryBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var bad bool
		p := poller.New(stub(func(_ context.Context, id string) (*api.GetGenerationStatusHTTPResponse, error) {
			if bad {
				return nil, &gamma.APIError{StatusCode: 503}
			}
			return &api.GetGenerationStatusHTTPResponse{JSON200: &api.GenerationStatusResponse{GenerationID: id, Status: api.GenerationStatusPending}}, nil
		}))
		check := func() time.Duration {
			_, next, err := p.Check(t.Context(), &poller.Progress{ID: "gen1"})
			if err != nil {
				t.Fatal(err)
			}
			return next
		}
		quick := func() (n int) {
			bad = true
			for check() < 30*s {
				n++
			}
			bad = false
			return n
		}
		if n := quick(); n != 100 {
			t.Errorf("%d quick retries at first", n)
		}
		for range 35 {
			check()
		}
		if n := quick(); n != 3 {
			t.Errorf("%d quick retries after 35 good answers", n)
		}
		for range 2000 {
			check()
		}
		if n := quick(); n != 100 {
			t.Errorf("%d quick retries after 2000 good answers", n)
		}
	})
}
