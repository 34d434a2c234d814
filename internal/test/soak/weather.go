package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/gammatest"
)

// weather is a proxy at one address that sometimes misbehaves.
type weather struct {
	settings
	random   *rand.Rand
	upstream string
	listen   string
	proxy    *toxiproxy.Proxy
	faults   map[string]int
}

func newWeather(s settings, random *rand.Rand, upstream string) *weather {
	return &weather{settings: s, random: random, upstream: upstream, listen: "127.0.0.1:0", faults: make(map[string]int)}
}

// start starts the proxy with toxics in the JSON of toxiproxy. It replaces a proxy that runs,
// which also breaks the connections: adding toxics to a proxy with connections, or removing
// them, may block it forever if one of the two ends is closed.
func (w *weather) start(toxics ...string) error {
	if w.proxy != nil {
		w.proxy.Stop()
	}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	w.proxy = toxiproxy.NewProxy(server, "soak", w.listen, w.upstream)
	for _, toxic := range toxics {
		if _, err := w.proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			return fmt.Errorf("soak: the toxic %s: %w", toxic, err)
		}
	}
	// In the meantime, another connection may have the port.
	err := w.proxy.Start()
	for deadline := time.Now().Add(10 * time.Second); err != nil && time.Now().Before(deadline); err = w.proxy.Start() {
		time.Sleep(50 * time.Millisecond)
	}
	w.listen = w.proxy.Listen
	return err
}

// blow alternates between faults and normal operation until ctx is done.
func (w *weather) blow(ctx context.Context) error {
	spell := w.part(60, 300*time.Millisecond, 10*time.Second)
	for ctx.Err() == nil {
		if w.random.IntN(7) == 0 {
			w.faults["down"]++
			w.proxy.Stop()
			pause(ctx, w.upTo(min(spell, 4*time.Second)))
		} else {
			kind, toxic := w.toxic()
			w.faults[kind]++
			toxics := []string{toxic}
			if other, toxic := w.toxic(); other != kind {
				w.faults[other]++
				toxics = append(toxics, toxic)
			}
			if err := w.start(toxics...); err != nil {
				return err
			}
			pause(ctx, spell/4+w.upTo(spell*3/4))
		}
		if err := w.start(); err != nil {
			return err
		}
		pause(ctx, spell/4+w.upTo(spell/2))
	}
	w.proxy.Stop()
	return nil
}

// toxic returns a random toxic and its kind.
func (w *weather) toxic() (kind, toxic string) {
	n := func(least, most int) int { return least + w.random.IntN(most-least+1) }
	var attributes string
	switch w.random.IntN(6) {
	case 0:
		ms := n(20, 400)
		kind, attributes = "latency", fmt.Sprintf(`"latency": %d, "jitter": %d`, ms, ms/2)
	case 1: // 0 is forever
		kind, attributes = "timeout", fmt.Sprintf(`"timeout": %d`, n(0, 1)*n(100, 2000))
	case 2:
		kind, attributes = "reset_peer", fmt.Sprintf(`"timeout": %d`, n(0, 300))
	case 3:
		kind, attributes = "slicer", fmt.Sprintf(`"average_size": %d, "size_variation": %d, "delay": %d`, n(16, 256), n(0, 15), n(0, 200))
	case 4:
		kind, attributes = "limit_data", fmt.Sprintf(`"bytes": %d`, n(50, 20_000))
	case 5:
		kind, attributes = "bandwidth", fmt.Sprintf(`"rate": %d`, n(1, 50))
	}
	direction := []string{"upstream", "downstream"}[w.random.IntN(2)]
	return kind, fmt.Sprintf(`{"type": %q, "stream": %q, "toxicity": %.1f, "attributes": {%s}}`, kind, direction, 0.3+0.7*w.random.Float64(), attributes)
}

func (w *weather) upTo(d time.Duration) time.Duration { return upTo(w.random, d) }

func upTo(random *rand.Rand, d time.Duration) time.Duration {
	return time.Duration(random.Int64N(int64(max(d, 1))))
}

// script chooses the steps of every generation that is created, and which creates and
// downloads fail, until ctx is done.
func (s settings) script(ctx context.Context, server *gammatest.Server) {
	const tick = 10 * time.Millisecond
	random, lives := s.rand(-1), s.rand(-4)
	server.OnCreate(func(api.GenerationRequest) []gammatest.Step { return s.life(lives) })
	// One create in twenty fails, while they last.
	seldom := max(int64(s.Time*12/time.Duration(s.Generations)/tick), 1)
	for ctx.Err() == nil {
		if random.Int64N(seldom) == 0 {
			server.Next("createGeneration", refusal(random))
			server.NextDownload(gammatest.Times(1+random.IntN(3), gammatest.CutAfter(random.IntN(100_000), gammatest.Usual())))
		}
		pause(ctx, tick)
	}
}

// life returns the steps of a generation: pending for a time, with up to three faults, then
// completed or failed.
func (s settings) life(random *rand.Rand) []gammatest.Step {
	most := s.Time / 15
	if random.IntN(10) == 0 {
		most = s.Time * 4 / 10
	}
	var steps []gammatest.Step
	faults := random.IntN(4)
	for range faults {
		steps = append(steps, gammatest.PendingFor(upTo(random, most)/time.Duration(faults+1)), s.fault(random))
	}
	steps = append(steps, gammatest.PendingFor(upTo(random, most)/time.Duration(faults+1)))
	if random.IntN(10) < 3 {
		return append(steps, gammatest.Failed(422, "Failed to generate text. Check your inputs and try again."))
	}
	return append(steps, gammatest.Completed(""))
}

// fault returns a step without a status, or with a slow response.
func (s settings) fault(random *rand.Rand) gammatest.Step {
	switch random.IntN(5) {
	case 0:
		return gammatest.Cut(gammatest.Pending(1))
	case 1:
		return gammatest.Cut(gammatest.Completed(""))
	case 2:
		return gammatest.Delay(upTo(random, s.part(150, time.Second, 5*time.Second)), gammatest.Pending(1))
	}
	return refusal(random)
}

// refusal returns a faulty response to any request.
func refusal(random *rand.Rand) gammatest.Step {
	const page = "<html><body><h1>Bad gateway</h1></body></html>"
	if random.IntN(10) == 0 { // seldom, because it stops every poll
		return gammatest.RateLimited(time.Second)
	}
	refusals := []gammatest.Step{
		gammatest.Status(500),
		gammatest.Status(502),
		gammatest.Status(503),
		gammatest.Malformed(`{"generationId": "gen`),
		gammatest.Drop(),
		gammatest.Raw(502, "text/html", page),
		gammatest.Raw(200, "text/html", page),
	}
	return refusals[random.IntN(len(refusals))]
}
