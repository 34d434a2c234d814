// Folder makes a PDF of every Markdown file of a folder:
//
//	GAMMA_API_KEY=... go run ./folder texts decks
//
// Notice that nothing is paid for twice: the journal decks/gamma.jsonl has every step, so
// the same command resumes after Ctrl-C or a crash. The first Ctrl-C waits for the creates
// in flight, because their responses have the ids. The second one kills.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/batch"
	"github.com/gamma-sdk/gamma-go/poller"
)

func main() {
	again := flag.String("again", "", "create `NAME` again, which has failed or may have been created: look at Gamma first")
	timeout := flag.Duration("timeout", time.Hour, "wait this long for each")
	flag.Parse()
	files, err := filepath.Glob(filepath.Join(flag.Arg(0), cmp.Or(*again, "*")+".md"))
	if err != nil || len(files) == 0 || flag.NArg() != 2 {
		log.Fatal("usage: folder [-again NAME] [-timeout TIME] FOLDER-WITH-MD-FILES FOLDER-FOR-PDF-FILES")
	}
	client, err := gamma.NewClientFromEnv()
	if err != nil {
		log.Fatal(err)
	}
	b := &batch.Batch{Client: client, Poller: poller.New(client), Dir: flag.Arg(1)}
	b.Poller.Timeout, b.Poller.FirstPoll = *timeout, min(20*time.Second, *timeout/10) // few finish sooner
	if *again != "" {
		b.Retry = batch.Uncertain | batch.Failed
	}
	interrupted, kill := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(interrupted, func() { kill(); b.Stop() })
	if err := run(context.Background(), b, files); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, b *batch.Batch, files []string) error {
	var inputs []batch.Input // all of them are read before anything is paid for
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		name := strings.TrimSuffix(filepath.Base(file), ".md")
		inputs = append(inputs, batch.Input{Key: name, File: name, Request: api.GenerationRequest{InputText: string(text), ExportAs: api.ExportAsPDF}})
	}
	remaining := len(inputs)
	for r := range b.Run(ctx, slices.Values(inputs)) {
		if r.Err == nil {
			remaining--
			fmt.Printf("%s: saved as %s\n", r.Key, r.Saved)
			continue
		}
		fmt.Printf("%s: %v\n", r.Key, r.Err)
		if errors.Is(r.Err, gamma.ErrMaybeCreated) {
			fmt.Printf("\tLook for it at https://gamma.app. If it is not there, run with -again %s.\n", r.Key)
		}
	}
	if remaining > 0 {
		return fmt.Errorf("%d of %d are not saved: the same command resumes", remaining, len(inputs))
	}
	return nil
}
