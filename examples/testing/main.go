// Testing makes a handout, and once more if Gamma fails at the first one:
//
//	GAMMA_API_KEY=... go run ./testing "A short history of tea"
//	go test -v ./testing
//
// Notice main_test.go beside it: that is the example. It tests the program without a key,
// without the network, and in a few milliseconds.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

func main() {
	client, err := gamma.NewClientFromEnv()
	if err != nil {
		log.Fatal(err)
	}
	url, err := run(context.Background(), client, strings.Join(os.Args[1:], " "))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(gamma.Printable(url))
}

// run takes the client that it uses, so that a test can give it one of a fake.
func run(ctx context.Context, client *gamma.Client, text string) (string, error) {
	url, err := handout(ctx, client, text)
	var failed *poller.FailedError
	if errors.As(err, &failed) { // no other error is a reason to create again
		url, err = handout(ctx, client, text)
	}
	return url, err
}

func handout(ctx context.Context, client *gamma.Client, text string) (string, error) {
	created, err := client.CreateGeneration(ctx, api.GenerationRequest{InputText: text, Format: "document"})
	if err != nil {
		return "", err
	}
	gen, err := poller.New(client).Wait(ctx, created.GenerationID)
	if err != nil {
		return "", err
	}
	return gen.GammaURL, nil
}
