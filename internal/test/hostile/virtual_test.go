package hostile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/poller"
)

// network is a server in memory, for tests that take minutes. It gets the number of the
// request and the time since the start.
type network func(req *http.Request, n int, since time.Duration) (*http.Response, error)

func (f network) client(t *testing.T) (*gamma.Client, *[]time.Duration) {
	t.Helper()
	var at []time.Duration
	start := time.Now()
	client, err := gamma.NewClient(key, gamma.WithHTTPClient(&http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
		at = append(at, time.Since(start))
		rsp, err := f(req, len(at), time.Since(start))
		if rsp != nil {
			rsp.Request = req
		}
		return rsp, err
	})}))
	if err != nil {
		t.Fatal(err)
	}
	return client, &at
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func reply(status int, body string, headers ...string) (*http.Response, error) {
	h := http.Header{"Content-Type": {"application/json"}}
	for i := 0; i < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	return &http.Response{StatusCode: status, Status: fmt.Sprint(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}, nil
}

const waits = `{"generationId":"gen1","status":"pending"}`

var errDown = errors.New("the network is down")

// silent is a server that does not respond.
func silent(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// Waits for a server that misbehaves for minutes, with the default interval. Every row runs
// with Wait, Watch, All and Check.
func TestMinutes(t *testing.T) {
	const minute = time.Minute
	every := func(n int, bad network) network {
		return func(req *http.Request, i int, since time.Duration) (*http.Response, error) {
			if i%n != 0 {
				return bad(req, i, since)
			}
			if since > 10*minute {
				return reply(200, okBody)
			}
			return reply(200, waits)
		}
	}
	until := func(end time.Duration, bad network) network {
		return func(req *http.Request, n int, since time.Duration) (*http.Response, error) {
			if since < end {
				return bad(req, n, since)
			}
			return reply(200, okBody)
		}
	}
	down := func(*http.Request, int, time.Duration) (*http.Response, error) { return nil, errDown }
	responds := func(status int, body string, headers ...string) network {
		return func(*http.Request, int, time.Duration) (*http.Response, error) {
			return reply(status, body, headers...)
		}
	}
	hangs := func(req *http.Request, _ int, _ time.Duration) (*http.Response, error) { return silent(req) }
	stamp := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	for _, tt := range []struct {
		name        string
		network     network
		maxFailures int
		want        end
		from, to    time.Duration // when it ends
		most        int           // requests
	}{
		{"down, except every tenth request", every(10, down), 0, completes, 10 * minute, 20 * minute, 100},
		{"down, except every tenth request, MaxFailures 5", every(10, down), 5, givesUp, 30 * time.Second, 2 * minute, 5},
		{"silent, except every tenth request", every(10, hangs), 0, completes, 10 * minute, 20 * minute, 100},
		{"502, except every tenth request", every(10, responds(502, "<html>")), 20, completes, 10 * minute, 20 * minute, 100},
		{"429, except every tenth request", every(10, responds(429, "")), 0, completes, 10 * minute, 40 * minute, 100},
		{"down, except every fourth request", every(4, down), 0, completes, 10 * minute, 13 * minute, 140},
		{"404 for every other request", every(2, responds(404, "{}")), 0, completes, 10 * minute, 13 * minute, 140},
		{"down for four minutes", until(4*minute, down), 0, completes, 4 * minute, 5 * minute, 20},
		{"down forever", down, 0, deadline, 59 * minute, time.Hour, 125},
		{"silent forever", hangs, 0, deadline, 59 * minute, time.Hour, 85},
		{"silent forever, MaxFailures 5", hangs, 5, givesUp, minute, 3 * minute, 5},
		{"429 for an hour", responds(429, ""), 0, late, 55 * minute, time.Hour, 50},
		{"429, Retry-After of a minute", until(10*minute, responds(429, "", "Retry-After", "60")), 0, completes, 10 * minute, 12 * minute, 12},
		{"429, Retry-After of a day", responds(429, "", "Retry-After", "86400"), 0, paused, 0, minute, 1},
		{"429, Retry-After as a date of a slow clock", until(10*minute, func(*http.Request, int, time.Duration) (*http.Response, error) {
			return reply(429, "", "Date", stamp(-1000*time.Hour), "Retry-After", stamp(-1000*time.Hour+minute))
		}), 0, completes, 10 * minute, 13 * minute, 12},
		{"429, Retry-After as a date of a fast clock", until(10*minute, func(*http.Request, int, time.Duration) (*http.Response, error) {
			return reply(429, "", "Date", stamp(1000*time.Hour), "Retry-After", stamp(1000*time.Hour+minute))
		}), 0, completes, 10 * minute, 13 * minute, 12},
		{"pending, Retry-After of 30 s", until(10*minute, responds(200, waits, "Retry-After", "30")), 0, completes, 10 * minute, 12 * minute, 22},
		{"503, Retry-After of 2 minutes", until(10*minute, responds(503, "", "Retry-After", "120")), 0, completes, 10 * minute, 13 * minute, 8},
		{"pending forever", responds(200, waits), 0, deadline, 59 * minute, time.Hour, 722},
		{"pending, one request remaining in the burst window", responds(200, waits, "X-Ratelimit-Limit-Burst", "10000", "X-Ratelimit-Remaining-Burst", "1"), 0, deadline, 59 * minute, time.Hour, 722},
		{"pending, one request remaining in the hour", responds(200, waits, "X-Ratelimit-Limit", "40000", "X-Ratelimit-Remaining", "1"), 0, deadline, 59 * minute, time.Hour, 66},
		{"pending, none remaining in the hour", responds(200, waits, "X-Ratelimit-Limit", "40000", "X-Ratelimit-Remaining", "0"), 0, heldBack, 59 * minute, time.Hour, 66},
	} {
		for _, method := range []string{"Wait", "Watch", "All", "Check"} {
			if method == "Check" && tt.want.isLate() {
				continue // Check has no deadline
			}
			t.Run(tt.name+"/"+method, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					client, at := tt.network.client(t)
					p := poller.New(client)
					p.MaxFailures = tt.maxFailures
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					defer cancel()
					start := time.Now()
					var o outcome
					k := waiting
					switch method {
					case "Wait":
						gen, err := p.Wait(ctx, "gen1")
						o = outcome{value: gen, err: err}
					case "Watch":
						for ev, err := range p.Watch(ctx, poller.Progress{ID: "gen1"}) {
							checkError(t, ev.Err)
							o = outcome{value: ev, err: err}
						}
					case "All":
						for result := range p.All(ctx, poller.IDs("gen1")) {
							o = outcome{value: result, err: result.Err}
						}
					case "Check":
						progress := poller.Progress{ID: "gen1"}
						for {
							gen, next, err := p.Check(ctx, &progress)
							o = outcome{value: gen, err: err}
							if next == 0 {
								break
							}
							time.Sleep(next)
						}
					}
					checkError(t, o.err)
					spent := time.Since(start)
					if why := k.wrong(o, tt.want, 1); why != "" || spent < tt.from || spent > tt.to || len(*at) > tt.most {
						t.Errorf("%s after %v and %d requests: %v", why, spent, len(*at), o.err)
					}
				})
			})
		}
	}
}

// A create pauses after a 429, and is not retried if the generation may be created.
func TestCreateForMinutes(t *testing.T) {
	limited := func(headers ...string) network {
		return func(_ *http.Request, n int, _ time.Duration) (*http.Response, error) {
			if n <= 3 {
				return reply(429, "", headers...)
			}
			return reply(200, okBody)
		}
	}
	for _, tt := range []struct {
		name     string
		network  network
		want     end
		from, to time.Duration
		requests int
	}{
		{"429", limited(), completes, 210 * time.Second, 255 * time.Second, 4},
		{"429, Retry-After of 10 s", limited("Retry-After", "10"), completes, 30 * time.Second, 37 * time.Second, 4},
		{"429, Retry-After of 0", limited("Retry-After", "0"), completes, 210 * time.Second, 255 * time.Second, 4},
		{"429, Retry-After that overflows", limited("Retry-After", "99999999999999999999"), refused, 0, 0, 1},
		{"silence", func(req *http.Request, _ int, _ time.Duration) (*http.Response, error) { return silent(req) }, maybe, 5 * time.Minute, 5 * time.Minute, 1},
		{"503, Retry-After", func(*http.Request, int, time.Duration) (*http.Response, error) {
			return reply(503, "", "Retry-After", "1")
		}, maybe, 0, 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, at := tt.network.client(t)
				start := time.Now()
				created, err := client.CreateGeneration(t.Context(), text)
				checkError(t, err)
				spent := time.Since(start)
				if (err == nil) != (tt.want == completes) || errors.Is(err, gamma.ErrMaybeCreated) != (tt.want == maybe) || spent < tt.from || spent > tt.to || len(*at) != tt.requests {
					t.Errorf("%v, %v after %v and %d requests", created, err, spent, len(*at))
				}
			})
		})
	}
}

// A create and a wait, with a server that fails in between.
func TestCreateAndWaitForMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, at := network(func(req *http.Request, n int, since time.Duration) (*http.Response, error) {
			switch {
			case req.Method == "POST" && n == 1:
				return reply(429, "")
			case req.Method == "POST":
				return reply(200, okBody)
			case n%3 == 0:
				return nil, errDown
			case since < 4*time.Minute:
				return reply(200, waits)
			}
			return reply(200, okBody)
		}).client(t)
		created, err := client.CreateGeneration(t.Context(), text)
		if err != nil {
			t.Fatal(err)
		}
		gen, err := poller.New(client).Wait(t.Context(), created.GenerationID)
		if err != nil || gen.GenerationID != "gen1" || len(*at) > 70 {
			t.Errorf("%v, %v after %d requests", gen, err, len(*at))
		}
	})
}

// A download that stalls is resumed, and fails after eight attempts without progress.
func TestDownloadForMinutes(t *testing.T) {
	for name, body := range map[string]func(ctx context.Context) io.ReadCloser{
		"after the header": func(ctx context.Context) io.ReadCloser { return stalling(ctx, "") },
		"in the middle":    func(ctx context.Context) io.ReadCloser { return stalling(ctx, "%PDF") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, requests := time.Now(), 0
				client, err := gamma.NewClient(key, gamma.WithHTTPClient(&http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
					requests++
					rsp, _ := reply(200, "", "Etag", `"1"`, "Content-Type", "application/pdf")
					rsp.Body, rsp.ContentLength, rsp.Request = body(req.Context()), 100, req
					return rsp, nil
				})}))
				if err != nil {
					t.Fatal(err)
				}
				err = client.Download(t.Context(), "https://files.example/x?"+secret, io.Discard)
				checkError(t, err)
				if spent := time.Since(start); err == nil || requests > 9 || spent < 5*time.Minute || spent > 6*time.Minute {
					t.Errorf("%v after %v and %d requests", err, spent, requests)
				}
			})
		})
	}
}

// stalling returns a body that stops after start.
func stalling(ctx context.Context, start string) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		_, _ = io.WriteString(w, start)
		<-ctx.Done()
		_ = w.CloseWithError(ctx.Err())
	}()
	return r
}
