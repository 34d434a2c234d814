package main

import (
	"context"
	"fmt"
	"log"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

func main() {
	client, err := gamma.NewClientFromEnv() // the key is in GAMMA_API_KEY
	if err != nil {
		log.Fatal(err)
	}
	if err := run(context.Background(), client); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, client *gamma.Client) error {
	created, err := client.CreateGeneration(ctx, api.GenerationRequest{
		InputText: "A short history of tea",
		NumCards:  5,
		ExportAs:  api.ExportAsPDF,
	})
	if err != nil {
		return err
	}
	log.Print("waiting for ", created.GenerationID) // keep it: nothing is lost with it
	gen, err := poller.New(client).WaitExport(ctx, created.GenerationID)
	if err != nil {
		return err
	}
	fmt.Println("Gamma:", gen.GammaURL)
	if err := client.DownloadFile(ctx, gen.ExportURL, "tea.pdf"); err != nil {
		return err
	}
	fmt.Println("Saved: tea.pdf")
	return nil
}
