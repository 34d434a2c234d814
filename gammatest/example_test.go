package gammatest_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/poller"
)

func ExampleNewClient() {
	var t gammatest.Program // in a test, its *testing.T
	defer t.Close()
	client, g := gammatest.NewClient(&t)
	g.Add("gen1", gammatest.Pending(2), gammatest.Drop(), gammatest.Failed(422, "Failed to generate text."))

	p := poller.New(client)
	p.Interval = time.Millisecond // in a bubble of testing/synctest the default takes no time
	_, err := p.Wait(context.Background(), "gen1")
	var failed *poller.FailedError
	fmt.Println(errors.As(err, &failed), failed.Message)
	fmt.Println(len(g.Requests()), "polls")
	// Output:
	// true Failed to generate text.
	// 4 polls
}

func ExampleNewServer() {
	var t gammatest.Program // in a test, its *testing.T
	defer t.Close()
	g := gammatest.NewServer(&t)
	g.Add("gen1", gammatest.Completed("https://example.com/deck.pdf"))

	client, err := gamma.NewClient(gammatest.Key, gamma.WithBaseURL(g.URL))
	if err != nil {
		fmt.Println(err)
		return
	}
	gen, err := poller.New(client).Wait(context.Background(), "gen1")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(gen.GammaURL, gen.ExportURL)
	// Output: https://gamma.app/docs/g_gen1 https://example.com/deck.pdf
}

func ExampleAPI_Next() {
	var t gammatest.Program // in a test, its *testing.T
	defer t.Close()
	client, g := gammatest.NewClient(&t)
	g.Next("listFolders", gammatest.Usual(), gammatest.Status(401))

	for range 3 {
		n := 0
		for _, err := range client.Folders(context.Background(), nil) {
			if err != nil {
				fmt.Println("unauthorized:", errors.Is(err, gamma.ErrUnauthorized))
				break
			}
			n++
		}
		fmt.Println(n, "folders")
	}
	// Output:
	// 2 folders
	// unauthorized: true
	// 0 folders
	// 2 folders
}

func ExampleProgram() {
	var program gammatest.Program
	transport := gammatest.NewTransport(&program)
	transport.Add("gen1", gammatest.Status(1)) // a mistake

	if err := program.Close(); err != nil {
		fmt.Println(err)
	}
	// Output: gammatest: generation gen1: 1 is not a response status
}
