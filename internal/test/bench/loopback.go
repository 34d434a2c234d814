package main

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// serve serves a fake of the API. It prints its address, and returns when its standard
// input is closed.
func serve(protocol string) error {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		for _, name := range []string{"X-Ratelimit-Limit-Burst", "X-Ratelimit-Remaining-Burst", "X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Limit-Daily", "X-Ratelimit-Remaining-Daily"} {
			h[name] = []string{"1000000"}
		}
		h["X-Request-Id"] = []string{"req-0123456789abcdef"}
		h["Content-Type"] = []string{"application/json"}
		_, _ = io.WriteString(w, pendingBody)
	}))
	if s.EnableHTTP2 = protocol == "h2"; s.EnableHTTP2 {
		s.StartTLS()
	} else {
		s.Start()
	}
	fmt.Println(s.URL)
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// trust adds the servers' certificate to the system's roots, so that every client is used
// with its default settings. All of httptest's servers have the same certificate.
var trust = sync.OnceValue(func() error {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	f, err := os.CreateTemp("", "bench-*.pem")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	if err := errors.Join(pem.Encode(f, &pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), f.Close()); err != nil {
		return err
	}
	if err := os.Setenv("SSL_CERT_FILE", f.Name()); err != nil {
		return err
	}
	// This reads the file, once for the process.
	_, err = x509.SystemCertPool()
	return err
})

// load polls a new server from that many goroutines for d, after a warm-up. It returns the
// CPU time and the wall time per poll, in microseconds.
func load(ctx context.Context, c contestant, protocol string, pollers int, d time.Duration) (cpu, wall float64, err error) {
	if err := trust(); err != nil {
		return 0, 0, err
	}
	// A new server each time: the ports of closed connections stay in use for a while,
	// and the default transport closes most of its connections.
	cmd, stderr, err := task{Serve: protocol}.command(ctx)
	if err != nil {
		return 0, 0, err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return 0, 0, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	defer func() {
		_ = in.Close()
		if end := cmd.Wait(); err == nil && end != nil {
			err = fmt.Errorf("%w: %s", end, stderr)
		}
	}()
	base, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return 0, 0, fmt.Errorf("the server: %w: %s", err, stderr)
	}
	var transport http.RoundTripper
	if t := c.transport(); t != nil {
		defer t.CloseIdleConnections()
		transport = t
	}
	p, err := c.connect(strings.TrimSpace(base), transport)
	if err != nil {
		return 0, 0, err
	}
	return press(ctx, p, pollers, d)
}

// press is the client side of load.
func press(ctx context.Context, p poll, pollers int, d time.Duration) (cpu, wall float64, err error) {
	const warmUp = 5
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var warm, done sync.WaitGroup
	var stop atomic.Bool
	var polls atomic.Int64
	warmedUp := make(chan struct{})
	once := func() bool {
		_, err := p(ctx, "gen1")
		if err != nil {
			cancel(err)
		}
		return err == nil
	}
	warm.Add(pollers)
	for range pollers {
		done.Go(func() {
			for range warmUp {
				once()
			}
			warm.Done()
			<-warmedUp
			n := int64(0)
			for !stop.Load() && once() {
				n++
			}
			polls.Add(n)
		})
	}
	warm.Wait()
	runtime.GC()
	start, used := time.Now(), cpuTime()
	close(warmedUp)
	time.Sleep(d)
	stop.Store(true)
	done.Wait()
	used, elapsed := cpuTime()-used, time.Since(start)
	if ctx.Err() != nil {
		return 0, 0, context.Cause(ctx)
	}
	n := float64(polls.Load()) * float64(time.Microsecond)
	return float64(used) / n, float64(elapsed) / n, nil
}
