// Web makes decks on a page that shows the progress by server-sent events. A double click
// creates once. A page survives a reload and a restart. Put a login in front of it.
//
//	GAMMA_API_KEY=... go run ./web    # then open http://localhost:8081/decks/
package main

import (
	"context"
	"crypto/rand"
	_ "embed"
	"html/template"
	"log"
	"net/http"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

//go:embed page.html
var html string
var page = template.Must(template.New("").Parse(html))

func handler(ctx context.Context, client *gamma.Client, p *poller.Poller) http.Handler {
	creates, decks, mux := new(sync.Map), new(sync.Map), http.NewServeMux() // by token and text; by id
	mux.HandleFunc("GET /decks/{id...}", func(w http.ResponseWriter, r *http.Request) {
		_ = page.Execute(w, map[string]any{"ID": r.PathValue("id"), "Token": rand.Text()})
	})
	mux.HandleFunc("POST /decks/", func(w http.ResponseWriter, r *http.Request) {
		text, key := r.PostFormValue("text"), r.PostFormValue("token")+r.PostFormValue("text")
		create, _ := creates.LoadOrStore(key, sync.OnceValues(func() (gamma.Created, error) {
			time.AfterFunc(time.Hour, func() { creates.Delete(key) })
			return client.CreateGeneration(context.WithoutCancel(r.Context()), api.GenerationRequest{InputText: text})
		}))
		if created, err := create.(func() (gamma.Created, error))(); created.GenerationID != "" { // also with some errors
			http.Redirect(w, r, "/decks/"+created.GenerationID, http.StatusSeeOther)
		} else {
			_ = page.Execute(w, map[string]any{"Err": err, "Text": text, "Token": rand.Text()})
		}
	})
	wait := func(id string) { // one for all pages of a deck
		for ev, err := range p.Watch(context.Background(), poller.Progress{ID: id}) { // continues without pages
			ev.Err = err
			decks.Store(id, ev)
		}
		time.AfterFunc(time.Minute, func() { decks.Delete(id) }) // a later page waits again
	}
	mux.HandleFunc("GET /decks/{id}/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("X-Accel-Buffering", "no") // nginx passes on each event
		for ev := (poller.Event{Next: 1}); ev.Next > 0 && ctx.Err() == nil && r.Context().Err() == nil; time.Sleep(time.Second) {
			now, found := decks.LoadOrStore(r.PathValue("id"), ev)
			if !found {
				go wait(r.PathValue("id"))
			}
			ev = now.(poller.Event)
			_ = page.ExecuteTemplate(w, "event", ev)
			_ = http.NewResponseController(w).Flush()
		}
	})
	return http.NewCrossOriginProtection().Handler(http.MaxBytesHandler(mux, 1<<20))
}

func main() {
	client, err := gamma.NewClientFromEnv()
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	server := &http.Server{Addr: "localhost:8081", Handler: handler(ctx, client, poller.New(client)), ReadHeaderTimeout: time.Minute}
	context.AfterFunc(ctx, func() { stop(); _ = server.Shutdown(ctx) }) // accepts no more; a second Ctrl-C kills
	if err := server.ListenAndServe(); ctx.Err() == nil {               // no WriteTimeout: it would end the streams
		log.Fatal(err)
	}
	_ = server.Shutdown(context.Background()) // waits for creates in flight
}
