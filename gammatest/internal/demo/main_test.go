package main

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	gamma "github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/poller"
)

// matches checks out against patterns, each of which must be found, and the
// first at its very beginning.
func matches(t *testing.T, out string, patterns ...string) {
	t.Helper()
	for i, p := range patterns {
		re := regexp.MustCompile("(?m)^" + p + "$")
		loc := re.FindStringIndex(out)
		if loc == nil || i == 0 && loc[0] != 0 {
			t.Errorf("the output has no line %q", p)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

func TestFakeServer(t *testing.T) {
	// The environment must not matter without an id.
	t.Setenv("GAMMA_API_KEY", "sk-gamma-real")
	t.Setenv("GAMMA_BASE_URL", "https://example.invalid")
	for name, args := range map[string][]string{"no id": nil, "empty id": {""}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // the Retry-After of one whole second is real
			var out bytes.Buffer
			if err := run(t.Context(), &out, args, 5*time.Millisecond); err != nil {
				t.Error(err)
			}
			// What it took would say more of the machine.
			var pauses float64
			for _, p := range regexp.MustCompile(`next poll in ([\d.]+)s`).FindAllStringSubmatch(out.String(), -1) {
				seconds, err := strconv.ParseFloat(p[1], 64)
				if err != nil {
					t.Error(err)
				}
				pauses += seconds
			}
			if pauses < 1 || pauses > 4 { // each of the three waits may pause for the 429
				t.Errorf("it paused for %.1f s", pauses)
			}
			matches(t, out.String(),
				`This talks to an embedded fake server at http://127\.0\.0\.1:\d+, not to Gamma\.`,
				`Themes: Ash, Oak, House style`,
				`Created gen000001 from a text, to be exported as a PDF\n  with a warning: numCards was lowered to 40\.`,
				` +\d+\.\d\ds  gen000001   pending, next poll in \d+\.\ds`,
				` +\d+\.\d\ds  gen000001   completed, no more polls`,
				` +\d+\.\d\ds  gen000002   failed, no more polls`,
				` +\d+\.\d\ds  gen000003   GET /v1\.0/generations/\{\w+\}: 429 Too Many Requests .*, next poll in 1\.\ds`,
				` +\d+\.\d\ds  gen000003   GET /v1\.0/generations/\{\w+\}: .*unexpected EOF, next poll in 0\.0s`,
				` +\d+\.\d\ds  gen000003   completed, no more polls`,
				`gen000001 completed\n  URL      https://gamma\.app/docs/g_gen000001\n  export   http://127\.0\.0\.1:\d+/exports/gen000001\.pdf\?signature=1\n  credits  40 deducted, 2960 remaining`,
				`gen000002 failed, found with errors\.As as a \*poller\.FailedError\n  Message     Failed to generate text\. Check your inputs and try again\.\n  StatusCode  422\n  credits  0 deducted, 3000 remaining`,
				`gen000003 completed\n  URL      https://gamma\.app/docs/g_gen000003\n  export   \S+\n  credits  40 deducted, 2960 remaining`,
				` +\d+\.\d\ds   40000 of 102400 bytes`,
				` +\d+\.\d\ds  102400 of 102400 bytes`,
				`Saved as .*tea\.pdf`,
			)
			if n := strings.Count(out.String(), "s  gen0"); n != 12 {
				t.Errorf("%d polls, want 12", n)
			}
		})
	}
}

// trigger runs f when text is written.
type trigger struct {
	text string
	f    func()
}

func (w trigger) Write(p []byte) (int, error) {
	if strings.Contains(string(p), w.text) {
		w.f()
	}
	return len(p), nil
}

func TestUnexpectedOutcome(t *testing.T) {
	for text, want := range map[string]string{
		"This talks":        "/v1.0/themes",
		"Themes":            "/v1.0/generations: ",
		"Created gen000003": "demo: the generation gen000002 did not go as scripted",
		"Downloading":       "GET export: ",
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel() // as above
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			err := run(ctx, trigger{text, cancel}, nil, time.Millisecond)
			if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), want) {
				t.Error(err)
			}
		})
	}
}

func TestViolationOfTheContract(t *testing.T) {
	p := new(gammatest.Program)
	g := gammatest.NewServer(p)
	g.Add("gen1", gammatest.Status(1))
	if err := p.Close(); err == nil || !strings.Contains(err.Error(), "gen1") {
		t.Error(err)
	}
}

// atFake makes a fake server the API of the environment.
func atFake(t *testing.T, key string) *gammatest.Server {
	g := gammatest.NewServer(t)
	t.Setenv("GAMMA_API_KEY", key)
	t.Setenv("GAMMA_BASE_URL", g.URL)
	return g
}

func TestGamma(t *testing.T) {
	g := atFake(t, gammatest.Key)
	g.Add("gen1", gammatest.Completed("https://example.com/x.pdf"))
	var out bytes.Buffer
	if err := run(t.Context(), &out, []string{"gen1"}, time.Hour); err != nil {
		t.Error(err)
	}
	matches(t, out.String(),
		`This waits for the generation gen1 at http://127\.0\.0\.1:\d+\. .*`,
		` +\d+\.\d\ds  gen1        completed, no more polls`,
		`gen1 completed\n  URL      https://gamma\.app/docs/g_gen1\n  export   https://example\.com/x\.pdf\n  credits  40 deducted, 2960 remaining`,
	)
}

func TestGammaFails(t *testing.T) {
	g := atFake(t, gammatest.Key)
	g.Add("gen1", gammatest.Failed(402, "\x1b[2JNo \"credits\"."))
	var out bytes.Buffer
	err := run(t.Context(), &out, []string{"gen1"}, time.Hour)
	var failed *poller.FailedError
	if !errors.As(err, &failed) {
		t.Error(err)
	}
	matches(t, out.String(), `This waits for .*`, `gen1 failed, .*`, `  StatusCode  402`)
	if strings.Contains(out.String(), "\x1b") {
		t.Errorf("the output steers the terminal: %q", out.String())
	}
}

func TestGammaWithAWrongKey(t *testing.T) {
	atFake(t, "sk-gamma-wrong")
	var out bytes.Buffer
	err := run(t.Context(), &out, []string{"gen1"}, time.Hour)
	if !errors.Is(err, gamma.ErrUnauthorized) {
		t.Error(err)
	}
	matches(t, out.String(), `This waits for .*`, ` .*  gen1        GET .*: 401 Unauthorized: Invalid API key\..*, no more polls`, `The wait for gen1 ended, .*`)
}

// interrupter is a writer that ends the context once a poll is printed.
type interrupter struct {
	bytes.Buffer
	cancel context.CancelFunc
}

func (i *interrupter) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("next poll")) {
		i.cancel()
	}
	return i.Buffer.Write(p)
}

func TestGammaInterrupted(t *testing.T) {
	g := atFake(t, gammatest.Key)
	g.Add("gen1")
	ctx, cancel := context.WithCancel(t.Context())
	out := &interrupter{cancel: cancel}
	if err := run(ctx, out, []string{"gen1"}, time.Hour); err != nil {
		t.Error(err)
	}
	matches(t, out.String(),
		`This waits for .*`,
		` +\d+\.\d\ds  gen1        pending, next poll in [56]\.\ds`,
		`The wait for gen1 ended, the generation did not\. .*\n\{"id":"gen1","since":"[^"]+","nextPoll":"[^"]+","polls":1,"status":"pending"\}`,
	)
}

func TestWhole(t *testing.T) {
	integer, number := 2_960_000, 2_960_000.0
	if a, b, c := whole(&integer), whole(&number), whole[float64](nil); a != "2960000" || b != a || c != "unknown" {
		t.Errorf("%s, %s and %s", a, b, c)
	}
}

func TestBadArguments(t *testing.T) {
	for name, tt := range map[string]struct {
		key, base string
		args      []string
		want      string
	}{
		"no key":        {"", "", []string{"gen1"}, "GAMMA_API_KEY is not set"},
		"two ids":       {"k", "", []string{"gen1", "gen2"}, "usage"},
		"bad id":        {"k", "", []string{"../x"}, "generation id"},
		"bad base URL":  {"k", "ftp://x", []string{"gen1"}, "a scheme other than https and http"},
		"terminal code": {"k", "", []string{"\x1b[2J"}, "generation id"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GAMMA_API_KEY", tt.key)
			t.Setenv("GAMMA_BASE_URL", tt.base)
			var out bytes.Buffer
			err := run(t.Context(), &out, tt.args, time.Hour)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error()+out.String(), "\x1b") {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}
