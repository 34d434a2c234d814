// Deck makes a deck from a text, waits for it and saves it as a PDF:
//
//	GAMMA_API_KEY=... go run ./deck "A short history of tea"
//	GAMMA_API_KEY=... go run ./deck -o tea.pdf "A short history of tea"
//
// Notice that it prints the id before it waits. Whatever ends the wait, the deck is not
// lost: "gamma wait --dir . ID" saves it.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

func main() {
	log.SetFlags(0)
	file := flag.String("o", "deck.pdf", "save the PDF as `FILE`")
	flag.Parse()
	if flag.NArg() == 0 {
		log.Fatal("usage: deck [-o FILE] TEXT")
	}
	client, err := gamma.NewClientFromEnv() // the key is in GAMMA_API_KEY
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = run(ctx, client, strings.Join(flag.Args(), " "), *file)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, client *gamma.Client, text, file string) error {
	created, err := client.CreateGeneration(ctx, api.GenerationRequest{
		InputText: text,
		ExportAs:  api.ExportAsPDF,
	})
	if err != nil {
		return err
	}
	log.Print("waiting for ", created.GenerationID)
	if created.Warnings != "" {
		log.Print("Gamma warns: ", created.Warnings)
	}
	gen, err := poller.New(client).WaitExport(ctx, created.GenerationID)
	if err != nil {
		return err
	}
	if err := client.DownloadFile(ctx, gen.ExportURL, file); err != nil {
		return err
	}
	fmt.Println("Gamma:", gamma.Printable(gen.GammaURL))
	fmt.Println("Saved:", file)
	return nil
}
