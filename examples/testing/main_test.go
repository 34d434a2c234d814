package main

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/gammatest"
)

// The steps are the life of every generation. In a bubble of testing/synctest a wait of
// minutes takes no time; the client is made inside it.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, g := gammatest.NewClient(t, gammatest.PendingFor(4*time.Minute), gammatest.Drop(), gammatest.Completed(""))
		start := time.Now()
		url, err := run(t.Context(), client, "A short history of tea")
		if err != nil || url == "" {
			t.Errorf("%q, %v", url, err)
		}
		if took := time.Since(start); took < 4*time.Minute {
			t.Errorf("took %v", took)
		}
		// The fake has validated every request already. This is what only the program knows.
		if body := string(g.Requests()[0].Body); !strings.Contains(body, `"format":"document"`) {
			t.Errorf("sent %s", body)
		}
	})
}

// OnCreate chooses the life of a generation by its request, or by its number.
func TestFailures(t *testing.T) {
	failed, completed := gammatest.Failed(422, "No luck."), gammatest.Completed("")
	for _, tt := range []struct {
		name    string
		lives   []gammatest.Step // of the first generation, the second, ...
		creates int
		ok      bool
	}{
		{"completes", []gammatest.Step{completed}, 1, true},
		{"fails once", []gammatest.Step{failed, completed}, 2, true},
		{"fails twice", []gammatest.Step{failed, failed}, 2, false},
		{"is lost", []gammatest.Step{gammatest.ForCreate(gammatest.Drop()), completed}, 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, g := gammatest.NewClient(t)
				creates := 0
				g.OnCreate(func(api.GenerationRequest) []gammatest.Step {
					creates++
					return tt.lives[creates-1 : creates]
				})
				_, err := run(t.Context(), client, "A short history of tea")
				if (err == nil) != tt.ok || creates != tt.creates {
					t.Errorf("%v after %d creates", err, creates)
				}
			})
		})
	}
}

// Next gives the response to the next request for one operation.
func TestNoCredits(t *testing.T) {
	client, g := gammatest.NewClient(t)
	g.Next("createGeneration", gammatest.Status(402))
	if _, err := run(t.Context(), client, "A short history of tea"); !errors.Is(err, gamma.ErrInsufficientCredits) {
		t.Error(err)
	}
}
