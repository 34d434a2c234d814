// Resume makes the deck NAME. After a crash, run it again: it never creates a deck twice.
//
//	GAMMA_API_KEY=... go run ./resume tea "A short history of tea"
//
// Notice that tea.json is made, empty, before the create is sent. If the program dies before
// it has the id, there may be a deck that no program can find: the next run stops.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"os"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

func main() {
	client, err := gamma.NewClientFromEnv()
	if err != nil || len(os.Args) != 3 {
		log.Fatal(errors.Join(err, errors.New("usage: resume NAME TEXT")))
	}
	if err := run(context.Background(), client, os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, client *gamma.Client, name, text string) error {
	file, progress := name+".json", poller.Progress{Export: true}
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		progress.ID, err = create(ctx, client, file, text)
	} else if err == nil && json.Unmarshal(data, &progress) != nil {
		err = errors.New(file + " has no id: look for the deck at https://gamma.app; remove the file if it is not there")
	}
	if err != nil {
		return err
	}
	var gen *api.GenerationStatusResponse // its ExportURL is a secret: each run asks for it again
	for ev, waitErr := range poller.New(client).Watch(ctx, progress) {
		if err := errors.Join(waitErr, save(file, ev.Progress)); err != nil {
			return err
		}
		gen = ev.Generation
	}
	return client.DownloadFile(ctx, gen.ExportURL, name+".pdf")
}

func create(ctx context.Context, client *gamma.Client, file, text string) (string, error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL, 0o600) // of two processes, one succeeds
	if err == nil {
		err = errors.Join(f.Sync(), f.Close()) // it survives a power failure, too
	}
	if err != nil {
		return "", err
	}
	created, err := client.CreateGeneration(ctx, api.GenerationRequest{InputText: text, ExportAs: api.ExportAsPDF})
	if id := created.GenerationID; id != "" { // perhaps with an error, if the response was cut off
		log.Print("created ", id)
		return id, save(file, poller.Progress{ID: id, Export: true})
	}
	if !errors.Is(err, gamma.ErrMaybeCreated) { // nothing was created
		err = errors.Join(err, os.Remove(file))
	}
	return "", err
}

func save(file string, progress poller.Progress) error {
	f, err := os.OpenFile(file+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err == nil {
		err = errors.Join(json.NewEncoder(f).Encode(progress), f.Sync(), f.Close())
	}
	if err == nil {
		err = os.Rename(file+".new", file) // in one step: the old file or the new one
	}
	return err
}
