// Cron looks once at each generation of a file, saves what has finished, and exits:
//
//	echo '[{"file": "tea.pdf", "progress": {"id": "gen000001", "export": true}}]' >decks.json
//	GAMMA_API_KEY=... go run ./cron decks.json
//	go build -o look ./cron && crontab -e # and add these two lines, with your directory:
//	GAMMA_API_KEY=...
//	* * * * * cd /srv/decks && flock -n decks.lock ./look decks.json
//
// Notice that Check sends nothing before the NextPoll in the file. Without flock, the changes
// of one of two runs are lost. A program that adds a deck to the file needs the lock, too.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"os"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/poller"
)

type deck struct {
	File     string          `json:"file"`
	Progress poller.Progress `json:"progress"`
	Outcome  string          `json:"outcome,omitempty"` // "saved" or why it failed; empty while it waits
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: cron FILE.json")
	}
	client, err := gamma.NewClientFromEnv()
	if err == nil {
		err = run(context.Background(), client, os.Args[1])
	}
	if err != nil {
		log.Fatal(err) // cron mails it
	}
}

func run(ctx context.Context, client *gamma.Client, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var decks []deck
	if err := json.Unmarshal(data, &decks); err != nil {
		return err
	}
	p, errs := poller.New(client), []error{}
	for i := range decks {
		if decks[i].Outcome == "" {
			errs = append(errs, look(ctx, client, p, &decks[i]))
		}
	}
	f, err := os.OpenFile(file+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err == nil {
		err = errors.Join(json.NewEncoder(f).Encode(decks), f.Sync(), f.Close())
	}
	if err == nil {
		err = os.Rename(file+".new", file) // in one step, also in a power failure: the old file or the new one
	}
	return errors.Join(append(errs, err)...)
}

// look polls d once. After an error that is not the outcome, the next run looks again.
func look(ctx context.Context, client *gamma.Client, p *poller.Poller, d *deck) error {
	gen, next, err := p.Check(ctx, &d.Progress)
	switch failed := new(poller.FailedError); {
	case errors.As(err, &failed), errors.Is(err, gamma.ErrNotFound), errors.Is(err, poller.ErrNoExport):
		d.Outcome = err.Error()
	case err == nil && next == 0:
		if err = client.DownloadFile(ctx, gen.ExportURL, d.File); err == nil {
			d.Outcome = "saved"
		}
	}
	return err
}
