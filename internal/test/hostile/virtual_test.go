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

// network is a server in memory, for what takes minutes. It is told the number of
// the request and the time since the first.
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

// silent is a server that does not answer.
func silent(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// How waits end with servers that misbehave for minutes, in the time of the vendor's
// interval. Every row runs with Wait, Watch and All, and with Check and a scheduler.
func TestMinutes(t *testing.T) {
	const minute = time.Minute
	every := func(n int, bad network) network {
		return func(req *http.Request, i int, since time.Duration) (*http.Response, error) {
			if i%n != 0 {
				return bad(req, i, since)
			}
			if since > 10*minute {
				return reply(200, answer)
			}
			return reply(200, waits)
		}
	}
	until := func(end time.Duration, bad network) network {
		return func(req *http.Request, n int, since time.Duration) (*http.Response, error) {
			if since < end {
				return bad(req, n, since)
			}
			return reply(200, answer)
		}
	}
	down := func(*http.Request, int, time.Duration) (*http.Response, error) { return nil, errDown }
	says := func(status int, body string, headers ...string) network {
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
		{"only every tenth gets a response", every(10, down), 0, completes, 10 * minute, 20 * minute, 100},
		{"only every tenth gets a response, and five failures are too many", every(10, down), 5, givesUp, 30 * time.Second, 2 * minute, 5},
		{"only every tenth gets a response, the rest hangs", every(10, hangs), 0, completes, 10 * minute, 20 * minute, 100},
		{"only every tenth gets a response, the rest is 502", every(10, says(502, "<html>")), 20, completes, 10 * minute, 20 * minute, 100},
		{"only every tenth gets a response, the rest is 429", every(10, says(429, "")), 0, completes, 10 * minute, 40 * minute, 100},
		{"only every fourth is answered", every(4, down), 0, completes, 10 * minute, 13 * minute, 140},
		{"only every other is a 404", every(2, says(404, "{}")), 0, completes, 10 * minute, 13 * minute, 140},
		{"down for four minutes", until(4*minute, down), 0, completes, 4 * minute, 5 * minute, 20},
		{"down for ever", down, 0, deadline, 59 * minute, time.Hour, 125},
		{"silent for ever", hangs, 0, deadline, 59 * minute, time.Hour, 85},
		{"silent for ever, and five failures are too many", hangs, 5, givesUp, minute, 3 * minute, 5},
		{"429 for an hour", says(429, ""), 0, late, 55 * minute, time.Hour, 50},
		{"429 and Retry-After of a minute", until(10*minute, says(429, "", "Retry-After", "60")), 0, completes, 10 * minute, 12 * minute, 12},
		{"429 and Retry-After of a day", says(429, "", "Retry-After", "86400"), 0, paused, 0, minute, 1},
		{"429 and a date by a slow clock", until(10*minute, func(*http.Request, int, time.Duration) (*http.Response, error) {
			return reply(429, "", "Date", stamp(-1000*time.Hour), "Retry-After", stamp(-1000*time.Hour+minute))
		}), 0, completes, 10 * minute, 13 * minute, 12},
		{"429 and a date by a fast clock", until(10*minute, func(*http.Request, int, time.Duration) (*http.Response, error) {
			return reply(429, "", "Date", stamp(1000*time.Hour), "Retry-After", stamp(1000*time.Hour+minute))
		}), 0, completes, 10 * minute, 13 * minute, 12},
		{"pending and Retry-After of 30 s", until(10*minute, says(200, waits, "Retry-After", "30")), 0, completes, 10 * minute, 12 * minute, 22},
		{"503 and Retry-After of 2 minutes", until(10*minute, says(503, "", "Retry-After", "120")), 0, completes, 10 * minute, 13 * minute, 8},
		{"pending for ever", says(200, waits), 0, deadline, 59 * minute, time.Hour, 722},
		{"pending and a burst that is nearly spent", says(200, waits, "X-Ratelimit-Limit-Burst", "10000", "X-Ratelimit-Remaining-Burst", "1"), 0, deadline, 59 * minute, time.Hour, 722},
		{"pending and an hour that is nearly spent", says(200, waits, "X-Ratelimit-Limit", "40000", "X-Ratelimit-Remaining", "1"), 0, deadline, 59 * minute, time.Hour, 66},
		{"pending and an hour that is spent", says(200, waits, "X-Ratelimit-Limit", "40000", "X-Ratelimit-Remaining", "0"), 0, heldBack, 59 * minute, time.Hour, 66},
	} {
		for _, way := range []string{"Wait", "Watch", "All", "Check"} {
			if way == "Check" && tt.want.isLate() {
				continue // it has none
			}
			t.Run(tt.name+"/"+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					client, at := tt.network.client(t)
					p := poller.New(client)
					p.MaxFailures = tt.maxFailures
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					defer cancel()
					start := time.Now()
					var o outcome
					k := waiting
					switch way {
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

// Creating pauses as it is told, and never asks twice for what may have been done.
func TestCreateForMinutes(t *testing.T) {
	limited := func(headers ...string) network {
		return func(_ *http.Request, n int, _ time.Duration) (*http.Response, error) {
			if n <= 3 {
				return reply(429, "", headers...)
			}
			return reply(200, answer)
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
		{"429 and Retry-After", limited("Retry-After", "10"), completes, 30 * time.Second, 37 * time.Second, 4},
		{"429 and Retry-After of 0", limited("Retry-After", "0"), completes, 210 * time.Second, 255 * time.Second, 4},
		{"429 and an endless Retry-After", limited("Retry-After", "99999999999999999999"), refused, 0, 0, 1},
		{"silence", func(req *http.Request, _ int, _ time.Duration) (*http.Response, error) { return silent(req) }, maybe, 5 * time.Minute, 5 * time.Minute, 1},
		{"503 and Retry-After", func(*http.Request, int, time.Duration) (*http.Response, error) {
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

// A generation from its creation to its end, with a server that fails in between.
func TestCreateAndWaitForMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, at := network(func(req *http.Request, n int, since time.Duration) (*http.Response, error) {
			switch {
			case req.Method == "POST" && n == 1:
				return reply(429, "")
			case req.Method == "POST":
				return reply(200, answer)
			case n%3 == 0:
				return nil, errDown
			case since < 4*time.Minute:
				return reply(200, waits)
			}
			return reply(200, answer)
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

// A download that stalls is taken up again, and given up in bounded time.
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

// stalling is a body that says start and then nothing.
func stalling(ctx context.Context, start string) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		_, _ = io.WriteString(w, start)
		<-ctx.Done()
		_ = w.CloseWithError(ctx.Err())
	}()
	return r
}
