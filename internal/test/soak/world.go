package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path"
	"strings"
	"sync"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/poller"
	"github.com/rs/zerolog"
)

// worldVariable makes this program the world: the fake server and its proxies. They run in a
// separate process, so that only the memory of the SDK is measured.
const worldVariable = "GAMMA_SOAK_WORLD"

// createHeader has the number of the call of Create that sent the request.
const createHeader = "X-Soak-Create"

// addresses are the first output of the world: where its proxies listen.
type addresses struct{ API, Exports string }

// report is the last output of the world.
type report struct {
	Outcomes map[string]string // the status of every generation, by id
	Posts    map[string]int    // the requests that arrived, by createHeader
	Polls    int
	Exports  map[string]string // the SHA-256 of what was downloaded, by id
	Faults   map[string]int    // times that a proxy was made to misbehave, by kind
	Errors   string            // violations that the fake server reported
}

// world is the other process.
type world struct {
	addresses
	cmd    *exec.Cmd
	stdin  io.Closer
	stdout *json.Decoder
}

func startWorld(ctx context.Context, s settings) (*world, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	value, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program) //nolint:gosec // it is this program
	cmd.Env = append(os.Environ(), worldVariable+"="+string(value))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	w := &world{cmd: cmd, stdin: stdin, stdout: json.NewDecoder(stdout)}
	if err := w.stdout.Decode(&w.addresses); err != nil {
		return nil, errors.Join(fmt.Errorf("soak: the fake server did not start: %w", err), w.stop())
	}
	return w, nil
}

// end returns the report of the world and stops it.
func (w *world) end() (report, error) {
	var r report
	err := w.stdin.Close()
	if err == nil {
		err = w.stdout.Decode(&r)
	}
	if e := w.stop(); err == nil {
		err = e
	}
	return r, err
}

// stop stops the world. It may be called twice.
func (w *world) stop() error {
	_ = w.stdin.Close()
	if w.cmd.ProcessState != nil {
		return nil
	}
	return w.cmd.Wait()
}

// asWorld runs this program as the world if the variable is set, and reports whether it did.
func asWorld() bool {
	value := os.Getenv(worldVariable)
	if value == "" {
		return false
	}
	var s settings
	err := json.Unmarshal([]byte(value), &s)
	if err == nil {
		err = s.serve()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

// serve runs the world until the end of its standard input.
func (s settings) serve() error {
	program := new(gammatest.Program)
	defer func() { _ = program.Close() }()
	server := gammatest.NewServer(program)
	exports, err := exportsHost(server)
	if err != nil {
		return err
	}
	before := len(server.Requests())
	zerolog.SetGlobalLevel(zerolog.Disabled)
	proxies := []*weather{
		newWeather(s, s.rand(-2), strings.TrimPrefix(server.URL, "http://")),
		newWeather(s, s.rand(-3), exports),
	}
	for _, w := range proxies {
		if err := w.start(); err != nil {
			return err
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(addresses{proxies[0].listen, proxies[1].listen}); err != nil {
		return err
	}

	ctx, cancel := context.WithCancel(context.Background())
	errs := make([]error, len(proxies))
	var working sync.WaitGroup
	for i, w := range proxies {
		working.Go(func() { errs[i] = w.blow(ctx) })
	}
	working.Go(func() { s.script(ctx, server) })
	_, _ = io.Copy(io.Discard, os.Stdin)
	cancel()
	working.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}

	r := report{Posts: make(map[string]int), Exports: make(map[string]string), Faults: make(map[string]int)}
	for _, w := range proxies {
		for kind, n := range w.faults {
			r.Faults[kind] += n
		}
	}
	for _, request := range server.Requests()[before:] {
		if request.Method == http.MethodPost {
			r.Posts[request.Header.Get(createHeader)]++
		} else {
			r.Polls++
		}
	}
	for _, request := range server.Downloads() {
		id := strings.TrimSuffix(path.Base(request.Path), ".pdf")
		if r.Exports[id] == "" {
			sum := sha256.Sum256(server.Export(id))
			r.Exports[id] = hex.EncodeToString(sum[:])
		}
	}
	if r.Outcomes, err = outcomes(server); err != nil {
		return err
	}
	if err := program.Close(); err != nil {
		r.Errors = err.Error()
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// exportsHost returns the address of the exports, which is only in links. It uses the first
// generation for that.
func exportsHost(server *gammatest.Server) (string, error) {
	client, err := gamma.NewClient(gammatest.Key, gamma.WithBaseURL(server.URL))
	if err != nil {
		return "", err
	}
	server.OnCreate(func(api.GenerationRequest) []gammatest.Step { return []gammatest.Step{gammatest.Completed("")} })
	created, err := client.CreateGeneration(context.Background(), text("tea"))
	if err != nil {
		return "", err
	}
	gen, err := poller.New(client).Wait(context.Background(), created.GenerationID)
	if err != nil {
		return "", err
	}
	link, err := url.Parse(gen.ExportURL)
	if err != nil {
		return "", err
	}
	return link.Host, nil
}

// outcomes asks the fake server, without the proxies and the SDK, for the status of every
// generation except the first. Their ids count up. A generation with remaining steps has the
// outcome "unfinished".
func outcomes(server *gammatest.Server) (map[string]string, error) {
	all := make(map[string]string)
	for n := 2; ; n++ {
		id := fmt.Sprintf("gen%06d", n)
		req, err := http.NewRequest(http.MethodGet, server.URL+"/v1.0/generations/"+id, nil) //nolint:noctx // the server is in this process
		if err != nil {
			return nil, err
		}
		req.Header.Set("X-Api-Key", gammatest.Key)
		all[id] = "unfinished"
		rsp, err := http.DefaultClient.Do(req)
		if err != nil {
			continue // a fault of its script
		}
		var gen struct{ Status string }
		err = json.NewDecoder(rsp.Body).Decode(&gen)
		_ = rsp.Body.Close()
		switch {
		case rsp.StatusCode == http.StatusNotFound:
			delete(all, id)
			return all, nil
		case err == nil && rsp.StatusCode == http.StatusOK && gen.Status != "pending":
			all[id] = gen.Status
		}
	}
}
