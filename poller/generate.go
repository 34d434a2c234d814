package poller

import (
	"context"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
)

// GenerateClient is the generated methods that [Generate] needs. A client of
// [gamma.NewClient] has them.
type GenerateClient interface {
	Client
	gamma.Creator
}

// Generate creates a generation as [gamma.Create] does, and waits for it as a new
// Poller's Wait does, with a FirstPoll of 20 seconds. Errors are those of the two:
// a [*FailedError] or a [*WaitError] when it was created, and has the id; any other
// when it was not, or [gamma.ErrMaybeCreated].
//
// Each of created, which may be left out or nil, is called with the id and the warnings
// before the wait starts: keep the id there, so that a crash loses nothing. So is it
// with the id that came beside [gamma.ErrMaybeCreated]; Generate does not wait then.
//
// For other settings, or to wait elsewhere, call [gamma.Create] and a Poller: many
// waits with one key should share a Poller. Generate is safe for concurrent use.
func Generate[R gamma.Request](ctx context.Context, client GenerateClient, request R, created ...func(gamma.Created)) (*api.GenerationStatusResponse, error) {
	c, err := gamma.Create(ctx, client, request)
	if err != nil && c.GenerationID == "" {
		return nil, err
	}
	for _, report := range created {
		if report != nil {
			report(c)
		}
	}
	if err != nil {
		return nil, err
	}
	p := New(client)
	p.FirstPoll = 20 * time.Second
	return p.Wait(ctx, c.GenerationID)
}
