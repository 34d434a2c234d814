package poller_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/internal/test/fake"
	"github.com/gamma-sdk/gamma-go/poller"
)

// The examples use the fake server that fake.Main puts into the environment.
func TestMain(m *testing.M) { fake.Main(m) }

func ExamplePoller_Wait() {
	client, err := gamma.NewClientFromEnv()
	if err != nil {
		fmt.Println(err)
		return
	}

	gen, err := poller.New(client).Wait(context.Background(), "done1")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(gen.GammaURL)
	if c := gen.Credits; c != nil && c.Deducted != nil && c.Remaining != nil {
		fmt.Printf("%v credits used, %v left\n", *c.Deducted, *c.Remaining)
	}
	// Output:
	// https://gamma.app/docs/done1
	// 25 credits used, 4975 left
}

func ExamplePoller_Wait_errors() {
	client, err := gamma.NewClientFromEnv()
	if err != nil {
		fmt.Println(err)
		return
	}

	_, err = poller.New(client).Wait(context.Background(), "bad1")
	var failed *poller.FailedError
	var stopped *poller.WaitError
	switch {
	case errors.As(err, &failed):
		fmt.Println("the generation failed:", failed.Message, failed.StatusCode)
	case errors.As(err, &stopped):
		fmt.Println("only the wait ended; resume from", stopped.Progress)
	}
	// Output: the generation failed: Failed to generate text. 422
}

func ExamplePoller_Watch() {
	client, err := gamma.NewClientFromEnv()
	if err != nil {
		fmt.Println(err)
		return
	}

	p := poller.New(client)
	p.Interval = time.Millisecond // 5 seconds is right for the real API
	for ev, err := range p.Watch(context.Background(), poller.Progress{ID: "deck2"}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(ev.Polls, ev.Status)
	}
	// Output:
	// 1 pending
	// 2 completed
}

// One process polls once and saves its Progress; another resumes from it.
func ExamplePoller_Check() {
	client, err := gamma.NewClientFromEnv()
	if err != nil {
		fmt.Println(err)
		return
	}
	p := poller.New(client)
	p.Interval = time.Millisecond // 5 seconds is right for the real API

	progress := poller.Progress{ID: "deck3"}
	_, next, err := p.Check(context.Background(), &progress)
	fmt.Println(progress.Status, next > 0, err)
	saved, err := json.Marshal(progress)
	if err != nil {
		fmt.Println(err)
		return
	}

	var resumed poller.Progress
	if err := json.Unmarshal(saved, &resumed); err != nil {
		fmt.Println(err)
		return
	}
	time.Sleep(next) // a Check before resumed.NextPoll sends nothing
	gen, next, err := p.Check(context.Background(), &resumed)
	fmt.Println(gen.Status, resumed.Polls, next, err)
	// Output:
	// pending true <nil>
	// completed 2 0s <nil>
}

func ExamplePoller_All() {
	client, err := gamma.NewClientFromEnv()
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	jobs := make(chan poller.Progress, 1)
	jobs <- poller.Progress{ID: "done4"}
	close(jobs)

	p := poller.New(client)
	p.MaxWaiting = 10000 // take no more jobs while so many are waited for
	for r := range p.All(ctx, poller.FromChan(ctx, jobs)) {
		if r.Err != nil {
			fmt.Println(r.ID, r.Err) // it failed, or the wait for it ended: save r.Progress
			continue
		}
		fmt.Println(r.ID, r.Generation.GammaURL)
	}
	// Output: done4 https://gamma.app/docs/done4
}

// Log every poll. Error messages are safe to log: they contain no key, no URL and no body.
func ExamplePoller_slog() {
	client, err := gamma.NewClientFromEnv()
	if err != nil {
		fmt.Println(err)
		return
	}
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{} // so that the output is always the same
			}
			return a
		},
	}))

	p := poller.New(client)
	p.Interval = time.Millisecond // 5 seconds is right for the real API
	p.OnPoll = func(ev poller.Event) {
		level := slog.LevelInfo
		if ev.Err != nil {
			level = slog.LevelWarn
		}
		log.Log(context.Background(), level, "poll", "id", ev.ID, "polls", ev.Polls, "status", ev.Status, "failures", ev.Failures, "err", ev.Err)
	}
	if _, err := p.Wait(context.Background(), "odd1"); err != nil {
		log.Error("the wait ended", "err", err)
	}
	// Output:
	// level=WARN msg=poll id=odd1 polls=1 status="" failures=1 err="gamma: GET /v1.0/generations/{id}: status 200 with a body that is not the documented JSON"
	// level=INFO msg=poll id=odd1 polls=2 status=pending failures=0 err=<nil>
	// level=INFO msg=poll id=odd1 polls=3 status=completed failures=0 err=<nil>
}
