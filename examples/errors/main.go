// Errors makes a deck and tells for every kind of error what to do, with an exit code:
//
//	GAMMA_API_KEY=... go run ./errors "A short history of tea"
//
// Notice the order in explain. One error can match several: a canceled create also matches
// ErrMaybeCreated, a WaitError its Cause. What costs money comes first, the general last.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	client, err := gamma.NewClientFromEnv()
	if err == nil {
		err = run(ctx, client, strings.Join(os.Args[1:], " "))
	}
	stop()
	if err != nil {
		code, advice := explain(err)
		fmt.Fprintf(os.Stderr, "%v\n%s\n", err, advice)
		os.Exit(code)
	}
}

func run(ctx context.Context, client *gamma.Client, text string) error {
	created, err := client.CreateGeneration(ctx, api.GenerationRequest{InputText: text, ExportAs: api.ExportAsPDF})
	if err != nil {
		return err
	}
	gen, err := poller.New(client).WaitExport(ctx, created.GenerationID)
	if err != nil {
		return err
	}
	return client.DownloadFile(ctx, gen.ExportURL, "deck.pdf")
}

func explain(err error) (code int, advice string) {
	var invalid *gamma.InvalidRequestError
	var failed *poller.FailedError
	var wait *poller.WaitError
	switch {
	case errors.Is(err, gamma.ErrMaybeCreated):
		return 3, "It may have cost credits: look at https://gamma.app before you create it again."
	case errors.As(err, &invalid):
		return 4, "Nothing was sent: correct " + invalid.Field + "."
	case errors.As(err, &failed):
		return 5, "Gamma could not make it: change the text, then create it again."
	case errors.Is(err, gamma.ErrUnauthorized):
		return 6, "Check the API key."
	case errors.Is(err, gamma.ErrInsufficientCredits):
		return 7, "Buy credits."
	case errors.Is(err, gamma.ErrLinkExpired): // before ErrForbidden, which it may match
		return 8, "Wait for the generation again: its status has a new link."
	case errors.Is(err, gamma.ErrForbidden), errors.Is(err, gamma.ErrNotFound):
		return 9, "Check the id, the plan, and the rights of the key."
	case errors.Is(err, poller.ErrNoExport):
		return 10, "The deck is at Gamma, its file is not: wait again, or export it by hand."
	case errors.Is(err, poller.ErrPause), errors.Is(err, gamma.ErrRateLimited):
		return 11, "The rate limit is used up: try again later."
	case errors.As(err, &wait): // a deadline, Ctrl-C, or a server that cannot be reached
		return 12, "Nothing is lost: resume generation " + wait.ID + " with wait.Progress."
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return 13, "It was stopped: run it again."
	}
	return 1, "Correct what the error says, and run it again."
}
