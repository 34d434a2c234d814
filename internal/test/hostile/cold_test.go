package hostile

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gamma-sdk/gamma-go"
)

// coldRig is a client and a server in memory. It counts the connections.
type coldRig struct {
	client *gamma.Client
	dialed atomic.Int32
	dial   func(n int, ctx context.Context) error // called before each connection, if not nil
}

// newColdRig returns a coldRig for a bubble of testing/synctest. Its server calls respond, if
// not nil, and then sends a pending generation.
func newColdRig(t *testing.T, protocol string, respond func(*http.Request)) *coldRig {
	t.Helper()
	skipSharedChannels(t, protocol)
	r := &coldRig{}
	l := &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
	config := with(serverCert())
	config.NextProtos = []string{protocol}
	server := &http.Server{TLSConfig: config, Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if respond != nil {
			respond(req)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, waits)
	})}
	go func() { _ = server.ServeTLS(l, "", "") }()
	transport := gamma.NewTransport()
	transport.Proxy, transport.TLSClientConfig = nil, trusted()
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		n := int(r.dialed.Add(1))
		if r.dial != nil {
			if err := r.dial(n, ctx); err != nil {
				return nil, err
			}
		}
		return l.dial(ctx, network, address)
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		time.Sleep(time.Hour) // both sides end by themselves
	})
	client, err := gamma.NewClient(key, gamma.WithBaseURL("https://"+address.String()), gamma.WithHTTPClient(&http.Client{Transport: transport}))
	if err != nil {
		t.Fatal(err)
	}
	r.client = client
	return r
}

// poll sends n requests at once and returns the errors and how long each took.
func (r *coldRig) poll(ctx context.Context, n int) (errs []error, took []time.Duration) {
	errs, took = make([]error, n), make([]time.Duration, n)
	start := time.Now()
	var requests sync.WaitGroup
	for i := range n {
		requests.Go(func() {
			_, errs[i] = r.client.GetGenerationStatus(ctx, "gen1")
			took[i] = time.Since(start)
		})
	}
	requests.Wait()
	return errs, took
}

// Concurrent first requests share one HTTP/2 connection, also after it was closed because it
// was idle.
func TestManyFirstRequests(t *testing.T) {
	_ = serverCert() // outside the bubble, whose clock is another
	synctest.Test(t, func(t *testing.T) {
		r := newColdRig(t, "h2", nil)
		for range 3 {
			errs, took := r.poll(t.Context(), 200)
			if err := errors.Join(errs...); err != nil {
				t.Error(err)
			}
			for _, d := range took {
				if d != 0 {
					t.Errorf("a request took %v", d)
				}
			}
			time.Sleep(40 * time.Second)
		}
		if n := r.dialed.Load(); n > 6 {
			t.Errorf("%d connections", n)
		}
	})
}

// With HTTP/1, all requests are sent as soon as the first has a connection.
func TestManyFirstRequestsOfHTTP1(t *testing.T) {
	_ = serverCert()
	synctest.Test(t, func(t *testing.T) {
		const requests = 50
		var arrived atomic.Int32
		all := make(chan struct{})
		r := newColdRig(t, "http/1.1", func(*http.Request) {
			if arrived.Add(1) == requests {
				close(all)
			}
			<-all
		})
		r.dial = func(int, context.Context) error { time.Sleep(100 * time.Millisecond); return nil }
		errs, took := r.poll(t.Context(), requests)
		if err := errors.Join(errs...); err != nil {
			t.Error(err)
		}
		for _, d := range took {
			if d != 200*time.Millisecond { // the first connection, then the others in parallel
				t.Errorf("a request took %v", d)
			}
		}
	})
}

// The first request delays the others by at most a second, not after it has failed, and not
// beyond their contexts.
func TestFirstRequestHangs(t *testing.T) {
	_ = serverCert()
	const others = 50
	hangs := func(_ int, ctx context.Context) error { // as a dial does; net/http does not always cancel it
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Second):
			return context.DeadlineExceeded
		}
	}
	for name, tt := range map[string]struct {
		dial   func(n int, ctx context.Context) error
		wait   time.Duration // before the first request is canceled; 0: it is not canceled
		within time.Duration // of the others' context
		want   time.Duration
		fails  bool
	}{
		"first dial hangs": {dial: func(n int, ctx context.Context) error {
			if n == 1 {
				return hangs(n, ctx)
			}
			return nil
		}, within: time.Minute, want: time.Second},
		"first TLS handshake hangs": {dial: func(n int, _ context.Context) error {
			if n == 1 {
				time.Sleep(10 * time.Second)
			}
			return nil
		}, within: time.Minute, want: time.Second},
		"first request is canceled": {dial: func(n int, ctx context.Context) error {
			if n == 1 {
				return hangs(n, ctx)
			}
			return nil
		}, wait: 300 * time.Millisecond, within: time.Minute, want: 300 * time.Millisecond},
		"every dial hangs, others time out": {dial: hangs, within: 500 * time.Millisecond, want: 500 * time.Millisecond, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newColdRig(t, "h2", nil)
				r.dial = tt.dial
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go func() { _, _ = r.client.GetGenerationStatus(ctx, "gen1") }()
				synctest.Wait()
				if tt.wait > 0 {
					time.AfterFunc(tt.wait, cancel)
				}
				ctx, cancel = context.WithTimeout(t.Context(), tt.within)
				defer cancel()
				errs, took := r.poll(ctx, others)
				for i, err := range errs {
					if (err != nil) != tt.fails || took[i] != tt.want {
						t.Fatalf("%v after %v, want %v", err, took[i], tt.want)
					}
				}
			})
		})
	}
}

// A slow response to the first request does not delay the others.
func TestFirstResponseIsSlow(t *testing.T) {
	_ = serverCert()
	synctest.Test(t, func(t *testing.T) {
		var arrived atomic.Int32
		r := newColdRig(t, "h2", func(*http.Request) {
			if arrived.Add(1) == 1 {
				time.Sleep(10 * time.Second)
			}
		})
		_, took := r.poll(t.Context(), 50)
		late := 0
		for _, d := range took {
			if d > time.Second {
				late++
			}
		}
		if n := r.dialed.Load(); late != 1 || n > 5 {
			t.Errorf("%d requests took more than a second, over %d connections", late, n)
		}
	})
}
