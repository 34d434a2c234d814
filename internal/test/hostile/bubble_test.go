package hostile

import (
	"context"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// inMemory is serve over connections in memory, for a bubble of testing/synctest, whose
// time passes only while all goroutines wait.
func inMemory(t testing.TB, scheme string, handle handler) *server {
	t.Helper()
	l := &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
	s := serveOn(t, l, scheme, handle)
	s.dial = l.dial
	return s
}

// skipSharedChannels skips a test that runs the HTTP/2 server of net/http in a bubble: with
// Go 1.25 all such servers share a pool of channels, and a channel belongs to one bubble.
func skipSharedChannels(t *testing.T, protocol string) {
	t.Helper()
	if protocol == "h2" && strings.HasPrefix(runtime.Version(), "go1.25") {
		t.Skip("Go 1.25 does not support two HTTP/2 servers in bubbles")
	}
}

type listener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error   { close(l.closed); return nil }
func (l *listener) Addr() net.Addr { return address }

var address = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}

func (l *listener) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	there, back := newFlow(), newFlow()
	select {
	case l.conns <- &memoryConn{in: there, out: back}:
		return &memoryConn{in: back, out: there}, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Net: network, Addr: address, Err: syscall.ECONNREFUSED}
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: network, Addr: address, Err: ctx.Err()}
	}
}

// memoryConn is one end of a connection. It has buffers, as a kernel has: without them,
// two ends that both write first would block each other.
type memoryConn struct {
	in, out *flow
	resets  bool
}

func (c *memoryConn) LocalAddr() net.Addr  { return address }
func (c *memoryConn) RemoteAddr() net.Addr { return address }

func (c *memoryConn) Read(p []byte) (int, error)  { return c.in.read(p) }
func (c *memoryConn) Write(p []byte) (int, error) { return c.out.write(p) }

// SetLinger is for reset.
func (c *memoryConn) SetLinger(int) error { c.resets = true; return nil }

func (c *memoryConn) Close() error {
	end, gone := io.EOF, error(syscall.EPIPE)
	if c.resets {
		end, gone = opError("read", syscall.ECONNRESET), syscall.ECONNRESET
	}
	c.in.change(func(f *flow) {
		f.unread, f.readErr = nil, opError("read", net.ErrClosed)
		if f.writeErr == nil {
			f.writeErr = opError("write", gone)
		}
	})
	c.out.change(func(f *flow) {
		f.writeErr = opError("write", net.ErrClosed)
		if f.end == nil {
			f.end = end
		}
	})
	return nil
}

func (c *memoryConn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *memoryConn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(func(f *flow) { f.readBy = t }, t)
	return nil
}

func (c *memoryConn) SetWriteDeadline(t time.Time) error {
	c.out.setDeadline(func(f *flow) { f.writeBy = t }, t)
	return nil
}

func opError(op string, err error) error { return &net.OpError{Op: op, Net: "tcp", Err: err} }

// flow is one direction of a connection.
type flow struct {
	mu                sync.Mutex
	changed           *sync.Cond
	unread            []byte
	end               error // what the reader gets after unread
	readErr, writeErr error // what calls return immediately
	readBy, writeBy   time.Time
}

func newFlow() *flow {
	f := &flow{}
	f.changed = sync.NewCond(&f.mu)
	return f
}

func (f *flow) change(change func(*flow)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
	f.changed.Broadcast()
}

// setDeadline sets one of the deadlines and wakes the blocked calls at t. The zero time is
// no deadline.
func (f *flow) setDeadline(set func(*flow), t time.Time) {
	f.change(set)
	if !t.IsZero() {
		time.AfterFunc(time.Until(t), func() { f.change(func(*flow) {}) })
	}
}

func (f *flow) read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		switch {
		case f.readErr != nil:
			return 0, f.readErr
		case passed(f.readBy):
			return 0, opError("read", os.ErrDeadlineExceeded)
		case len(f.unread) > 0:
			n := copy(p, f.unread)
			f.unread = f.unread[n:]
			f.changed.Broadcast()
			return n, nil
		case f.end != nil:
			return 0, f.end
		}
		f.changed.Wait()
	}
}

func (f *flow) write(p []byte) (n int, err error) {
	const most = 64 << 10
	f.mu.Lock()
	defer f.mu.Unlock()
	for n < len(p) {
		switch capacity := most - len(f.unread); {
		case f.writeErr != nil:
			return n, f.writeErr
		case passed(f.writeBy):
			return n, opError("write", os.ErrDeadlineExceeded)
		case capacity > 0:
			some := p[n:min(n+capacity, len(p))]
			f.unread = append(f.unread, some...)
			n += len(some)
			f.changed.Broadcast()
			continue
		}
		f.changed.Wait()
	}
	return n, f.writeErr
}

func passed(deadline time.Time) bool { return !deadline.IsZero() && !time.Now().Before(deadline) }
