package gammatest

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

// The environment does not matter, nor does the network.
func TestNewClient(t *testing.T) {
	t.Setenv("GAMMA_API_KEY", "sk-gamma-other")
	t.Setenv("GAMMA_BASE_URL", "https://example.invalid")
	resolver := net.DefaultResolver
	net.DefaultResolver = nil
	defer func() { net.DefaultResolver = resolver }()
	test := func(t *testing.T) {
		client, g := NewClient(t, Pending(1), Completed(""))
		created, err := client.CreateGeneration(t.Context(), text(api.GenerationRequest{InputText: "tea", ExportAs: "pdf"}))
		if err != nil {
			t.Fatal(err)
		}
		p := poller.New(client)
		p.Interval = time.Millisecond
		gen, err := p.Wait(t.Context(), created.GenerationID)
		if err != nil {
			t.Fatal(err)
		}
		if err := client.DownloadFile(t.Context(), gen.ExportURL, t.TempDir()+"/deck.pdf"); err != nil {
			t.Error(err)
		}
		if len(g.Requests()) != 3 || len(g.Downloads()) != 1 {
			t.Errorf("%d requests, %d downloads", len(g.Requests()), len(g.Downloads()))
		}
	}
	t.Run("in a bubble", func(t *testing.T) { synctest.Test(t, test) })
	t.Run("outside", test)
}
