package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/aws/smithy-go/waiter"
	"github.com/cenkalti/backoff/v5"

	"github.com/gamma-sdk/gamma-go/internal/test/performance"
	"github.com/gamma-sdk/gamma-go/poller"
)

// strategies are the ways to wait that are compared with the oracle.
var strategies = []strategy{
	{way: loop("vendor docs' loop, 5 s", docsSample)},
	{way: loop("vendor docs' loop, with its advice on 429", docsLoop)},
	{way: loop("5 s flat, headers not read", flatLoop)},
	{way: loop("AWS waiter, 5 s to 120 s", awsWaiter)},
	{way: loop("azcore, 30 s", azcoreWait)},
	{way: loop("exponential 1.5×, 5 s to 60 s", exponential)},
	{way: way{"gamma-go, a `Wait` for each", byWait.run}},
	{way: way{"gamma-go `All`", byAll.run}},
	{way: way{"gamma-go `All`, first poll after 20 s", byAll.run}, first: 20 * time.Second},
}

type strategy struct {
	way
	first time.Duration
}

func loop(name string, wait func(context.Context, http.RoundTripper, string) error) way {
	return way{name, each(func(ctx context.Context, w *world, _ *poller.Poller, id string) error { return wait(ctx, w, id) })}
}

// seen is what the hand-written loops read of a response.
type seen struct {
	code       int
	status     string
	remaining  int // -1 if there is no such header
	retryAfter time.Duration
}

func (s seen) done() bool { return s.status == "completed" || s.status == "failed" }

func look(ctx context.Context, transport http.RoundTripper, id string) (seen, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fakeURL+path+id, nil)
	if err != nil {
		return seen{}, err
	}
	rsp, err := transport.RoundTrip(req)
	if err != nil {
		return seen{}, err
	}
	defer func() { _ = rsp.Body.Close() }()
	s := seen{code: rsp.StatusCode, remaining: -1}
	if n, err := strconv.Atoi(rsp.Header.Get("X-Ratelimit-Remaining-Burst")); err == nil {
		s.remaining = n
	}
	if n, err := strconv.Atoi(rsp.Header.Get("Retry-After")); err == nil {
		s.retryAfter = time.Duration(n) * time.Second
	}
	if s.code != http.StatusOK {
		return s, nil
	}
	text, err := io.ReadAll(rsp.Body)
	if err != nil {
		return s, err
	}
	var gen struct{ Status string }
	err = json.Unmarshal(text, &gen)
	s.status = gen.Status
	return s, err
}

// docsLoop is the loop in the vendor's documentation with all of its advice: 15 s between
// polls while fewer than 100 requests remain; after a 429 a pause of 30 s, then
// exponential backoff if it repeats, here up to two minutes.
func docsLoop(ctx context.Context, transport http.RoundTripper, id string) error {
	pause, limited := 5*time.Second, 30*time.Second
	for {
		time.Sleep(pause)
		s, err := look(ctx, transport, id)
		if err != nil || s.done() {
			return err
		}
		if s.code == http.StatusTooManyRequests {
			pause, limited = limited, min(2*limited, 2*time.Minute)
			continue
		}
		pause, limited = docsPause(s), 30*time.Second
	}
}

// docsSample is docsLoop as the code in the documentation has it. Only the text there
// mentions the 429.
func docsSample(ctx context.Context, transport http.RoundTripper, id string) error {
	pause := 5 * time.Second
	for {
		time.Sleep(pause)
		s, err := look(ctx, transport, id)
		if err != nil || s.done() {
			return err
		}
		pause = docsPause(s)
	}
}

// flatLoop polls every 5 s, whatever the responses.
func flatLoop(ctx context.Context, transport http.RoundTripper, id string) error {
	for {
		time.Sleep(5 * time.Second)
		if s, err := look(ctx, transport, id); err != nil || s.done() {
			return err
		}
	}
}

func docsPause(s seen) time.Duration {
	if s.remaining >= 0 && s.remaining < 100 {
		return 15 * time.Second
	}
	return 5 * time.Second
}

// awsWaiter is the loop that the AWS SDK for Go v2 generates for each of its waiters, with
// that SDK's delays. A 429 counts as pending.
func awsWaiter(ctx context.Context, transport http.RoundTripper, id string) error {
	const least, most, remaining = 5 * time.Second, 120 * time.Second, time.Hour
	for attempt := int64(1); ; attempt++ {
		if s, err := look(ctx, transport, id); err != nil || s.done() {
			return err
		}
		delay, err := waiter.ComputeDelay(attempt, least, most, remaining)
		if err != nil {
			return err
		}
		time.Sleep(delay)
	}
}

// azcoreWait is azcore's Poller with its retries. When it gives up after a 429, the program
// starts it again after the same pause.
func azcoreWait(ctx context.Context, transport http.RoundTripper, id string) error {
	pipeline := azcorePipeline(transport)
	for {
		p, err := azcorePoller(pipeline, id)
		if err != nil {
			return err
		}
		if _, err = p.PollUntilDone(ctx, nil); err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		time.Sleep(30 * time.Second)
	}
}

// exponential is cenkalti/backoff, whose delays grow by 1.5 by default. It obeys
// Retry-After.
func exponential(ctx context.Context, transport http.RoundTripper, id string) error {
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.MaxInterval = 5*time.Second, 60*time.Second
	_, err := backoff.Retry(ctx, func() (string, error) {
		s, err := look(ctx, transport, id)
		switch {
		case err != nil:
			return "", backoff.Permanent(err)
		case s.done():
			return s.status, nil
		case s.retryAfter > 0:
			return "", backoff.RetryAfter(int(s.retryAfter / time.Second))
		}
		return "", errors.New(s.status)
	}, backoff.WithBackOff(pauses), backoff.WithMaxElapsedTime(0))
	return err
}

// pacing measures in virtual time how late the ways to wait are, and how many requests they
// send. TestScenarios makes the figures, because virtual time exists only in tests.
func pacing(ctx context.Context, s scale) ([]performance.Table, error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file, jobs := filepath.Join(dir, "pacing.json"), pick(s, 10_000, 500)
	names := pick(s, ".", "^(pacing/|days/0.05/clock/All/|at once/1,000/|leaky/100 .* 200 |shared/1,000|creates/)")
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^TestScenarios$", "-count", "1", "-timeout", "3h", ".", //nolint:gosec // no input
		"-args", "-scenario", names, "-jobs", strconv.Itoa(jobs), "-figures", file)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	text, err := os.ReadFile(file) //nolint:gosec // just made
	if err != nil {
		return nil, err
	}
	var results map[string]figures
	if err := json.Unmarshal(text, &results); err != nil {
		return nil, err
	}
	var tables []performance.Table
	for _, section := range sections(jobs) {
		for _, c := range section.scenarios {
			if f, ok := results[c.name]; ok && !s.quick {
				for _, missed := range f.missed(c.bars) {
					log.Printf("%s: %s", c.name, missed)
				}
			}
		}
		tables = append(tables, section.table(results))
	}
	return tables, nil
}
