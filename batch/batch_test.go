package batch

import (
	"context"
	"errors"
	"iter"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/poller"
)

// moments are the moments at which the tests end a run.
var moments = []struct {
	name     string
	setup    func(f *fake)
	at       time.Duration
	graceful time.Duration // when the run ends after a Stop; 0 for any time
	ids      int           // the least number of known ids then
	saved    int           // the least number of saved exports then
}{

	{name: "creates are in flight", setup: func(f *fake) {
		for _, key := range keys(10) {
			f.hook("create "+key, takes(time.Minute))
		}
	}, at: 30 * time.Second, graceful: time.Minute + firstAlone, ids: 4},
	{name: "creates pause after a 429", setup: func(f *fake) {
		for _, key := range keys(10) {
			f.hook("create "+key, first(1, responds(429, `{}`)))
		}
	}, at: 10 * time.Second, graceful: 10 * time.Second},
	{name: "creates pause after failures to connect", setup: func(f *fake) {
		for _, key := range keys(10) {
			f.hook("create "+key, first(3, unreachable))
		}
	}, at: 2 * time.Second, graceful: 2 * time.Second},
	{name: "one create pauses, others are in flight", setup: func(f *fake) {
		f.hook("create text1", first(1, func(*http.Request, func() *http.Response) (*http.Response, error) {
			time.Sleep(time.Second) // or else it would hold back the others
			return reply(429, `{}`), nil
		}))
		for _, key := range append(keys(1), keys(10)[2:]...) {
			f.hook("create "+key, takes(time.Minute))
		}
	}, at: 10 * time.Second, graceful: time.Minute + firstAlone, ids: 3},
	{name: "creates wait for the rate limit", setup: func(f *fake) { f.limit, f.window = 3, 20*time.Minute }, at: time.Minute, graceful: time.Minute, ids: 3},
	{name: "before the first poll", setup: func(*fake) {}, at: time.Second, graceful: time.Second, ids: 10},
	{name: "generations are waited for", setup: func(f *fake) { f.life = 10 * time.Minute }, at: 5 * time.Minute, graceful: 5 * time.Minute, ids: 10},
	{name: "a poll is in flight", setup: func(f *fake) {
		for _, key := range keys(10) {
			f.hook("poll gen-"+key, hangs)
		}
	}, at: 30 * time.Second, graceful: 30 * time.Second, ids: 10},
	{name: "downloads are in flight", setup: func(f *fake) {
		f.life = time.Second
		for _, key := range keys(10) {
			f.hook("download gen-"+key, takes(20*time.Second))
		}
	}, at: 30 * time.Second, graceful: 0, ids: 10, saved: 4},
	{name: "downloads pause", setup: func(f *fake) {
		f.life = time.Second
		for _, key := range keys(10) {
			f.hook("download gen-"+key, responds(503, ``))
		}
	}, at: 45 * time.Second, ids: 10},
	{name: "new links are waited for", setup: func(f *fake) {
		f.life = time.Second
		for _, key := range keys(10) {
			f.hook("download gen-"+key, responds(403, ``))
		}
	}, at: 35 * time.Second, graceful: 35 * time.Second, ids: 10},
}

func unreachable(*http.Request, func() *http.Response) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
}

// heal removes all hooks and limits.
func (f *fake) heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hooks, f.limit = map[string]hook{}, 0
	clear(f.requests)
}

// nextRun runs a batch of the same directory, whose results may not be finished only for
// keys of which uncertain is true.
func nextRun(t *testing.T, f *fake, b *Batch, uncertain map[string]bool, all ...string) {
	t.Helper()
	f.heal()
	got := collect(t, (&Batch{Client: b.Client, Dir: b.Dir}).Run(t.Context(), pdfs(all...)))
	for _, key := range all {
		if r := got[key]; uncertain[key] {
			if !errors.Is(r.Err, gamma.ErrMaybeCreated) {
				t.Errorf("the next run: %+v", r)
			}
		} else {
			allSaved(t, map[string]Result{key: r}, key)
		}
	}
	f.once(t)
}

// known fails the test unless the journal has the id of each result.
func known(t *testing.T, b *Batch, results map[string]Result) {
	t.Helper()
	ids := map[string]string{}
	for _, l := range linesOf(t, b) {
		if l.ID != "" {
			ids[l.Key] = l.ID
		}
	}
	for key, r := range results {
		if r.GenerationID != ids[key] {
			t.Errorf("%s has the id %q, and in the journal %q", key, r.GenerationID, ids[key])
		}
	}
}

func TestStop(t *testing.T) {
	for _, tt := range moments {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				tt.setup(f)
				b := newBatch(t, f)
				all := keys(10)
				start := time.Now()
				creates := make(chan int, 1) // before Stop returns
				time.AfterFunc(tt.at, func() {
					var calls sync.WaitGroup
					for range 3 { // at once, which is as good as one
						calls.Go(b.Stop)
					}
					calls.Wait()
					creates <- f.count("create")
				})
				got := collect(t, b.Run(t.Context(), pdfs(all...)))
				if took := time.Since(start); tt.graceful > 0 && took != tt.graceful {
					t.Errorf("ended after %v, want %v", took, tt.graceful)
				}
				if n, before := f.count("create"), <-creates; n != before {
					t.Errorf("%d creates sent after Stop", n-before)
				}
				var ids, saved int
				for _, r := range got {
					if r.GenerationID != "" {
						ids++
					}
					if r.Saved != "" {
						saved++
						allSaved(t, map[string]Result{r.Key: r}, r.Key)
					} else if !errors.Is(r.Err, ErrStopped) || errors.Is(r.Err, gamma.ErrMaybeCreated) {
						t.Errorf("%+v", r)
					}
				}
				if ids < tt.ids || saved < tt.saved {
					t.Errorf("%d ids, %d saved", ids, saved)
				}
				known(t, b, got)
				if _, ended := got[""]; ended != (len(got) < 11) && len(got) < 10 {
					t.Errorf("%d results, of which one is of the run: %v", len(got), ended)
				}
				b.Stop()
				nextRun(t, f, b, nil, all...)
			})
		})
	}
}

// After Stop no pause is reported, since no request follows.
func TestNoPauseAfterStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := newBatch(t, f)
		b.OnEvent = func(e Event) {
			if b.Stop(); e.Step == Pausing {
				t.Errorf("%+v", e)
			}
			time.Sleep(time.Second) // until the run has noticed
		}
		if r := collect(t, b.Run(t.Context(), pdfs("tea")))["tea"]; !errors.Is(r.Err, ErrStopped) || f.count("") != 0 {
			t.Errorf("%+v", r)
		}
	})
}

func TestStopBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := newBatch(t, f)
		b.Stop()
		b.Stop()
		for range 2 {
			pulled := 0
			got := collect(t, b.Run(t.Context(), func(yield func(Input) bool) {
				for in := range pdfs(keys(3)...) {
					if pulled++; !yield(in) {
						return
					}
				}
			}))
			if len(got) != pulled+1 || !errors.Is(got[""].Err, ErrStopped) || f.count("") != 0 {
				t.Errorf("%d pulled, %+v", pulled, got)
			}
		}
		nextRun(t, f, b, nil, keys(3)...)
	})
}

// Every input that is pulled has a result, also one that comes late.
func TestStopWhileInputsWait(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(b *Batch, cancel func())
		want error
	}{
		{"stopped", func(b *Batch, _ func()) { b.Stop() }, ErrStopped},
		{"canceled", func(_ *Batch, cancel func()) { cancel() }, context.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				b := newBatch(t, f)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				time.AfterFunc(30*time.Minute, func() { tt.end(b, cancel) })
				got := collect(t, b.Run(ctx, func(yield func(Input) bool) {
					for in := range pdfs(keys(5)...) {
						if !yield(in) {
							return
						}
						time.Sleep(20 * time.Minute)
					}
				}))
				for i, key := range keys(3) {
					switch r, ok := got[key]; {
					case i < 2:
						allSaved(t, map[string]Result{key: r}, key)
					case !ok || !errors.Is(r.Err, tt.want):
						t.Errorf("%v %+v", ok, r)
					}
				}
				if len(got) != 4 || !errors.Is(got[""].Err, tt.want) {
					t.Errorf("%+v", got)
				}
				if f.count("create") != 2 {
					t.Errorf("%d creates", f.count("create"))
				}
			})
		})
	}
}

func TestCanceled(t *testing.T) {
	why := errors.New("changed my mind")
	contexts := []struct {
		name string
		make func(t *testing.T, d time.Duration) context.Context
		want []error
	}{
		{"canceled", func(t *testing.T, d time.Duration) context.Context { return canceledAfter(t, d, why) }, []error{context.Canceled, why}},
		{"past the deadline", func(t *testing.T, d time.Duration) context.Context {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			t.Cleanup(cancel)
			return ctx
		}, nil}, // or that of the last request, where a pause is longer
	}
	for _, tt := range moments {
		for _, c := range contexts {
			t.Run(c.name+" while "+tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFake()
					tt.setup(f)
					b := newBatch(t, f)
					all := keys(10)
					start := time.Now()
					got := collect(t, b.Run(c.make(t, tt.at), pdfs(all...)))
					if took := time.Since(start); took > tt.at || took < tt.at && c.want != nil {
						t.Errorf("ended after %v, want %v", took, tt.at)
					}
					uncertain := map[string]bool{}
					for _, r := range got {
						if r.Saved != "" {
							allSaved(t, map[string]Result{r.Key: r}, r.Key)
							continue
						}
						uncertain[r.Key] = errors.Is(r.Err, gamma.ErrMaybeCreated)
						for _, want := range c.want {
							if !errors.Is(r.Err, want) {
								t.Errorf("%+v", r)
							}
						}
						if r.Err == nil || uncertain[r.Key] != strings.HasSuffix(statesOf(t, b, r.Key), "uncertain") {
							t.Errorf("%+v", r)
						}
					}
					known(t, b, got)
					nextRun(t, f, b, uncertain, all...)
				})
			})
		}
	}
}

// slowly yields inputs and, after d, an invalid one.
func slowly(inputs iter.Seq[Input], d time.Duration) iter.Seq[Input] {
	return func(yield func(Input) bool) {
		start := time.Now()
		for in := range inputs {
			if !yield(in) {
				return
			}
		}
		time.Sleep(d - time.Since(start))
		yield(Input{Key: "last"})
	}
}

// uncertainOf returns the keys whose creates have no outcome in the journal of b.
func uncertainOf(t *testing.T, b *Batch, all ...string) map[string]bool {
	t.Helper()
	uncertain := map[string]bool{}
	for _, key := range all {
		states := statesOf(t, b, key)
		uncertain[key] = strings.HasSuffix(states, "uncertain") || strings.HasSuffix(states, "creating")
	}
	return uncertain
}

func TestBreak(t *testing.T) {
	for _, tt := range moments {
		for _, end := range []string{"break", "panic"} {
			t.Run(end+" while "+tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFake()
					tt.setup(f)
					b := newBatch(t, f)
					all := keys(4) // one for each goroutine that creates
					start := time.Now()
					func() {
						defer func() {
							if p := recover(); (p == "loop") != (end == "panic") {
								t.Errorf("recovered %v", p)
							}
						}()
						for r := range b.Run(t.Context(), slowly(pdfs(all...), tt.at)) {
							if r.Key != "last" {
								continue
							}
							if end == "panic" {
								panic("loop")
							}
							break
						}
					}()
					if took := time.Since(start); took != tt.at {
						t.Errorf("ended after %v, want %v", took, tt.at)
					}
					nextRun(t, f, b, uncertainOf(t, b, all...), all...)
				})
			})
		}
	}
}

// A panic in a callback is propagated to the caller, and the next run resumes the batch.
func TestPanics(t *testing.T) {
	onEvent := func(when func(Event) bool) func(*Batch) {
		return func(b *Batch) {
			b.OnEvent = func(e Event) {
				if when(e) {
					panic("boom")
				}
			}
		}
	}
	at := func(step Step) func(*Batch) { return onEvent(func(e Event) bool { return e.Step == step }) }
	once := func(step Step) func(*Batch) {
		return onEvent(func(e Event) bool { return e.Step == step && e.Key == "text7" })
	}
	for _, tt := range []struct {
		name   string
		setup  func(b *Batch)
		inputs iter.Seq[Input]
	}{
		{"inputs, at once", nil, func(func(Input) bool) { panic("boom") }},
		{"inputs, later", nil, func(yield func(Input) bool) {
			pdfs(keys(10)...)(yield)
			time.Sleep(30 * time.Second)
			panic("boom")
		}},
		{"each create", at(Creating), nil},
		{"one create", once(Creating), nil},
		{"each id", at(Created), nil},
		{"one id", once(Created), nil},
		{"each wait", at(Waiting), nil},
		{"one wait", once(Waiting), nil},
		{"each export", at(Saving), nil},
		{"one export", once(Saving), nil},
		{"more exports than are saved at once", onEvent(func(e Event) bool {
			if e.Step == Saving {
				time.Sleep(time.Minute)
			}
			return e.Step == Saving
		}), nil},
		{"each pause", at(Pausing), nil},
		{"OnPoll", func(b *Batch) {
			b.Poller = poller.New(b.Client)
			b.Poller.OnPoll = func(poller.Event) { panic("boom") }
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.life = 0
				f.hook("create text5", first(1, responds(429, `{}`)))
				b := newBatch(t, f)
				if tt.setup != nil {
					tt.setup(b)
				}
				inputs := tt.inputs
				if inputs == nil {
					inputs = pdfs(keys(10)...)
				}
				func() {
					defer func() {
						if p := recover(); p != "boom" {
							t.Errorf("recovered %v", p)
						}
					}()
					collect(t, b.Run(t.Context(), inputs))
				}()
				nextRun(t, f, b, uncertainOf(t, b, keys(10)...), keys(10)...)
			})
		})
	}
}

// Bad settings and inputs are errors before anything is sent.
func TestSettings(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(b *Batch)
		text   string
		plan   bool // it is an error of Plan, too
	}{
		{"no Client", func(b *Batch) { b.Client = nil }, "gamma: batch: nil Client", false},
		{"a negative number of creates", func(b *Batch) { b.Creates = -1 }, "gamma: batch: Creates must be 0 to 64", true},
		{"too many creates", func(b *Batch) { b.Creates = 65 }, "gamma: batch: Creates must be 0 to 64", true},
		{"a Poller with a negative Interval", func(b *Batch) { b.Poller = poller.New(b.Client); b.Poller.Interval = -1 }, "gamma: the Poller has a negative Interval", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake()
			b := newBatch(t, f)
			tt.change(b)
			var got []Result
			for r := range b.Run(t.Context(), pdfs(keys(3)...)) {
				got = append(got, r)
			}
			if len(got) != 1 || got[0].Key != "" || got[0].Err == nil || !strings.HasPrefix(got[0].Err.Error(), tt.text) {
				t.Fatalf("%+v", got)
			}
			oneLine(t, got[0].Err)
			if exists(b.journalPath()) || f.count("") != 0 {
				t.Error("Run has sent a request or written a journal")
			}
			plans := slices.Collect(b.Plan(pdfs(keys(3)...)))
			if tt.plan != (len(plans) == 1 && plans[0].Key == "" && plans[0].Action == Refuse && plans[0].Err.Error() == got[0].Err.Error()) {
				t.Errorf("the plan is %+v", plans)
			}
		})
	}
	b := newBatch(t, newFake())
	if got := collect(t, b.Run(t.Context(), nil)); got[""].Err == nil {
		t.Errorf("nil inputs: %+v", got)
	}
	for p := range b.Plan(nil) {
		if p.Err == nil || p.Action != Refuse {
			t.Errorf("nil inputs: %+v", p)
		}
	}
}
