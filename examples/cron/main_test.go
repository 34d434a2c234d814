package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/examples/internal/process"
	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/poller"
)

func write(t *testing.T, file string, ids ...string) {
	var decks []deck
	for _, id := range ids {
		decks = append(decks, deck{File: filepath.Join(filepath.Dir(file), id+".pdf"), Progress: poller.Progress{ID: id, Export: true}})
	}
	data, err := json.Marshal(decks)
	if err == nil {
		err = os.WriteFile(file, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) (decks []deck) {
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &decks)
	}
	if err != nil {
		t.Fatal(err)
	}
	return decks
}

func TestProcess(t *testing.T) {
	program := process.Build(t)
	g := gammatest.NewServer(t)
	client, err := gamma.NewClient(gammatest.Key, gamma.WithBaseURL(g.URL))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "decks.json")
	write(t, file, create(t, client, g.API, gammatest.Pending(1)),
		create(t, client, g.API, gammatest.Failed(422, "No luck.")), create(t, client, g.API, gammatest.Completed("")))

	for run, want := range []int{1, 0} { // the failure is told once
		if _, stderr, code := process.Start(t, g.URL, t.TempDir(), program, file).End(t); code != want {
			t.Errorf("run %d: exit code %d\n%s", run, code, stderr)
		}
	}
	if n := polls(g.API); n != 3 {
		t.Errorf("%d polls, want one of each: the second run is before NextPoll", n)
	}
	decks := read(t, file)
	if decks[0].Outcome != "" || decks[0].Progress.NextPoll.IsZero() || !strings.Contains(decks[1].Outcome, "No luck.") || decks[2].Outcome != "saved" {
		t.Errorf("%+v", decks)
	}
	if pdf, err := os.ReadFile(decks[2].File); err != nil || !bytes.Equal(pdf, g.Export(decks[2].Progress.ID)) {
		t.Errorf("%d bytes, %v", len(pdf), err)
	}
}

// Every minute in virtual time, until each deck has its outcome.
func TestRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "decks.json")
	synctest.Test(t, func(t *testing.T) {
		client, g := gammatest.NewClient(t)
		lives := map[string][]gammatest.Step{
			"an outage":        {gammatest.PendingFor(3 * time.Minute), gammatest.Times(3, gammatest.Status(503)), gammatest.Completed("")},
			"a late export":    {gammatest.PendingFor(time.Minute), gammatest.ExportPendingFor(90 * time.Second), gammatest.Completed("")},
			"a broken link":    {gammatest.Completed(""), gammatest.ForDownload(gammatest.Status(403))},
			"a pause":          {gammatest.RateLimited(5 * time.Minute), gammatest.Completed("")},
			"a key that fails": {gammatest.Status(401), gammatest.Completed("")},
		}
		var ids []string
		for _, life := range lives {
			ids = append(ids, create(t, client, g, life...))
		}
		noExport := create(t, client, g, gammatest.ExportPendingFor(time.Hour), gammatest.Completed(""))
		write(t, file, append(ids, "missing", noExport)...)

		for minute := 1; ; minute++ {
			_ = run(t.Context(), client, file)
			waiting := 0
			for _, d := range read(t, file) {
				if d.Outcome == "" {
					waiting++
				}
			}
			if waiting == 0 {
				break
			}
			if minute == 20 {
				t.Fatalf("after 20 minutes: %+v", read(t, file))
			}
			time.Sleep(time.Minute)
		}
		for _, d := range read(t, file) {
			pdf, err := os.ReadFile(d.File)
			if d.Progress.ID == "missing" {
				if !strings.Contains(d.Outcome, "404") {
					t.Errorf("%+v", d)
				}
				continue
			}
			if d.Progress.ID == noExport {
				if !strings.Contains(d.Outcome, "no export") {
					t.Errorf("%+v", d)
				}
				continue
			}
			if d.Outcome != "saved" || err != nil || !bytes.Equal(pdf, g.Export(d.Progress.ID)) {
				t.Errorf("%+v: %d bytes, %v", d, len(pdf), err)
			}
		}
		before := len(g.Requests())
		if err := run(t.Context(), client, file); err != nil || len(g.Requests()) != before {
			t.Errorf("with nothing to do: %v, %d requests", err, len(g.Requests())-before)
		}
	})
}

func TestBadFile(t *testing.T) {
	client, g := gammatest.NewClient(t)
	file := filepath.Join(t.TempDir(), "decks.json")
	if err := os.WriteFile(file, []byte("[{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{file, file + ".missing"} {
		if err := run(t.Context(), client, file); err == nil || len(g.Requests()) != 0 {
			t.Errorf("%v after %d requests", err, len(g.Requests()))
		}
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "[{" {
		t.Errorf("the file is now %q, %v", data, err)
	}
}

// create makes a generation with an export that lives by steps.
func create(t *testing.T, client *gamma.Client, g *gammatest.API, steps ...gammatest.Step) string {
	t.Helper()
	g.OnCreate(func(api.GenerationRequest) []gammatest.Step { return steps })
	created, err := client.CreateGeneration(t.Context(), api.GenerationRequest{InputText: "A short history of tea", ExportAs: "pdf"})
	if err != nil {
		t.Fatal(err)
	}
	return created.GenerationID
}

func polls(g *gammatest.API) (n int) {
	for _, r := range g.Requests() {
		if r.Method == "GET" {
			n++
		}
	}
	return n
}
