// Command wait waits for a generation with the SDK, as bare does without it.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/poller"
)

func main() {
	client, err := gamma.NewClientFromEnv()
	if err != nil {
		log.Fatal(err)
	}
	gen, err := poller.New(client).Wait(context.Background(), os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("Gamma: ", gen.GammaURL)
	fmt.Println("Export:", gen.ExportURL)
}
