package main

import (
	"context"
	"log"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

func main() {
	client, err := gamma.NewClientFromEnv() // the key is in GAMMA_API_KEY
	if err == nil {
		err = run(context.Background(), client)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, client *gamma.Client) error {
	created, err := client.CreateGeneration(ctx, api.GenerationRequest{InputText: "A short history of tea", ExportAs: api.ExportAsPDF})
	if err != nil {
		return err
	}
	log.Print("waiting for ", created.GenerationID) // keep it: nothing is lost with it
	gen, err := poller.New(client).WaitExport(ctx, created.GenerationID)
	if err != nil {
		return err
	}
	log.Print("Gamma: ", gen.GammaURL)
	return client.DownloadFile(ctx, gen.ExportURL, "tea.pdf")
}
