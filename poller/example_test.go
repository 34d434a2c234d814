package poller_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/poller"
)

// newExampleClient returns a client of a stand-in that gives these answers, one
// after the other.
func newExampleClient(answers ...string) (*gamma.Client, func()) {
	var n atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, answers[min(int(n.Add(1)), len(answers))-1])
	}))
	client, err := gamma.NewClient("sk-gamma-example", gamma.WithBaseURL(server.URL))
	if err != nil {
		panic(err)
	}
	return client, server.Close
}

func ExamplePoller_Wait() {
	client, stop := newExampleClient(
		`{"generationId":"gen1","status":"completed","gammaUrl":"https://gamma.app/docs/x","credits":{"deducted":25,"remaining":4975}}`)
	defer stop()

	gen, err := poller.New(client).Wait(context.Background(), "gen1")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(gen.GammaURL)
	if gen.Credits != nil {
		fmt.Printf("%v credits used, %v left\n", gen.Credits.Deducted, gen.Credits.Remaining)
	}
	// Output:
	// https://gamma.app/docs/x
	// 25 credits used, 4975 left
}

func ExamplePoller_Wait_errors() {
	client, stop := newExampleClient(
		`{"generationId":"gen1","status":"failed","error":{"message":"Failed to generate text.","statusCode":422}}`)
	defer stop()

	_, err := poller.New(client).Wait(context.Background(), "gen1")
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
	client, stop := newExampleClient(
		`{"generationId":"gen1","status":"pending"}`,
		`{"generationId":"gen1","status":"completed"}`)
	defer stop()

	p := poller.New(client)
	p.Interval = time.Millisecond // 5 seconds is right for the real API
	for ev, err := range p.Watch(context.Background(), poller.Progress{ID: "gen1"}) {
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

// One process polls once and saves where it stands; another goes on.
func ExamplePoller_Check() {
	client, stop := newExampleClient(
		`{"generationId":"gen1","status":"pending"}`,
		`{"generationId":"gen1","status":"completed"}`)
	defer stop()
	p := poller.New(client)

	progress := poller.Progress{ID: "gen1"}
	_, next, err := p.Check(context.Background(), &progress)
	fmt.Println(progress.Status, next >= 5*time.Second, err)
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
	gen, next, err := p.Check(context.Background(), &resumed)
	fmt.Println(gen.Status, resumed.Polls, next, err)
	// Output:
	// pending true <nil>
	// completed 2 0s <nil>
}

func ExamplePoller_All() {
	client, stop := newExampleClient(
		`{"generationId":"gen1","status":"completed","gammaUrl":"https://gamma.app/docs/x"}`)
	defer stop()
	ctx := context.Background()
	ids := make(chan string, 1)
	ids <- "gen1"
	close(ids)

	p := poller.New(client)
	p.MaxWaiting = 10000 // take no more ids while so many are under way
	for gen, err := range p.All(ctx, func(yield func(string) bool) {
		for id := range ids {
			if !yield(id) {
				return
			}
		}
	}) {
		if err != nil {
			fmt.Println(err) // one failed, or the wait for it ended: each error has its ID
			continue
		}
		fmt.Println(gen.GenerationID, gen.GammaURL)
	}
	// Output: gen1 https://gamma.app/docs/x
}

// Every poll as a line of a structured log. The message of an error is safe to
// log: it holds no key, no URL and no body.
func ExamplePoller_slog() {
	client, stop := newExampleClient(
		`not JSON`,
		`{"generationId":"gen1","status":"pending"}`,
		`{"generationId":"gen1","status":"completed"}`)
	defer stop()
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
	if _, err := p.Wait(context.Background(), "gen1"); err != nil {
		log.Error("the wait ended", "err", err)
	}
	// Output:
	// level=WARN msg=poll id=gen1 polls=1 status="" failures=1 err="gamma: GET /v1.0/generations/{id}: status 200 with a body that is not the documented JSON"
	// level=INFO msg=poll id=gen1 polls=2 status=pending failures=0 err=<nil>
	// level=INFO msg=poll id=gen1 polls=3 status=completed failures=0 err=<nil>
}
