// Cron looks once at each generation of a file, saves what has finished, and exits:
//
//	echo '[{"file": "tea.pdf", "progress": {"id": "gen000001", "export": true}}]' >decks.json
//	GAMMA_API_KEY=... go run ./cron decks.json
//	crontab -e # and add the line: * * * * * flock -n decks.lock cron decks.json
//
// Notice that Check sends nothing before the NextPoll in the file, so running it too often
// does no harm. Without flock, two runs at a time poll twice, and the changes of the one that
// ends first are lost. Whoever adds a deck to the file needs the lock, too.
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
	var errs []error
	p := poller.New(client)
	for i := range decks {
		if decks[i].Outcome == "" {
			errs = append(errs, look(ctx, client, p, &decks[i]))
		}
	}
	if data, err = json.MarshalIndent(decks, "", "\t"); err == nil {
		err = os.WriteFile(file+".new", data, 0o600)
	}
	if err == nil {
		err = os.Rename(file+".new", file) // in one step: the old file or the new one
	}
	return errors.Join(append(errs, err)...)
}

// look polls d once. After an error that is not the outcome, the next run looks again.
func look(ctx context.Context, client *gamma.Client, p *poller.Poller, d *deck) error {
	gen, next, err := p.Check(ctx, &d.Progress)
	switch failed := new(poller.FailedError); {
	case errors.As(err, &failed), errors.Is(err, gamma.ErrNotFound):
		d.Outcome = err.Error()
	case err == nil && next == 0:
		if err = client.DownloadFile(ctx, gen.ExportURL, d.File); err == nil {
			d.Outcome = "saved"
		}
	}
	return err
}
