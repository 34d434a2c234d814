package gammatest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"syscall"
	"time"

	"github.com/gamma-sdk/gamma-go"
)

// NewClient returns a client of a new fake, and the API that controls the fake. The client
// uses no socket, no DNS and no environment variable. It works inside and outside a bubble
// of [testing/synctest]; so do downloads of exports.
//
// The steps are the life of every generation that is created, see [API.OnCreate]. Without
// steps it is pending for two polls, then completed. The fake reports violations with
// t.Errorf until the cleanups of t close it, which ends delayed responses.
//
// Use [NewTransport] for a client with options, and [NewServer] for real sockets.
func NewClient(t TB, steps ...Step) (*gamma.Client, *API) {
	t.Helper()
	transport := NewTransport(t, steps...)
	client, err := gamma.NewClient(Key, gamma.WithHTTPClient(&http.Client{Transport: transport}))
	if err != nil {
		panic(err) // the key and the option are valid
	}
	return client, transport.API
}

// Server is a fake at a loopback address. Exports are at a second address, because Gamma
// has them at another host. Create one with [NewServer].
type Server struct {
	*API

	// URL is the base URL, such as http://127.0.0.1:43210.
	URL string
}

// NewServer returns a Server. Use it outside a bubble of [testing/synctest]. Pass its URL to
// [gamma.WithBaseURL], or to a program in GAMMA_BASE_URL, with [Key] in GAMMA_API_KEY. For
// the steps see [NewClient].
func NewServer(t TB, steps ...Step) *Server {
	t.Helper()
	s := newAPI(t, steps)
	listen := func() string {
		socket := httptest.NewServer(&Handler{s})
		s.sockets = append(s.sockets, socket)
		return socket.URL
	}
	s.files.base = listen() // first: a handler of the other reads it
	return &Server{s, listen()}
}

// Handler is a fake as an [http.Handler], for a server at an address of the caller's choice.
// Exports are under /exports/ at the host that the poll was sent to. Their links have https
// if the poll came over TLS, or has the header "X-Forwarded-Proto: https" of a reverse
// proxy, which must keep the Host header. Create one with [NewHandler].
type Handler struct{ *API }

// NewHandler returns a Handler. See [API.KeepRequests] for a server that runs for a long
// time. For the steps see [NewClient].
func NewHandler(t TB, steps ...Step) *Handler {
	t.Helper()
	return &Handler{newAPI(t, steps)}
}

// Transport is a fake as an [http.RoundTripper]. It responds to requests for any host, in
// the goroutine of the caller, without a socket. If the context of a request is done, also
// during a delay, RoundTrip returns the cause. For a dropped request it returns the error of
// a connection that was reset. Create one with [NewTransport].
type Transport struct{ *API }

// NewTransport returns a Transport, for a client with options:
//
//	transport := gammatest.NewTransport(t)
//	client, err := gamma.NewClient(gammatest.Key, gamma.WithUserAgent("deckbot/1"),
//		gamma.WithHTTPClient(&http.Client{Transport: transport}))
//
// For the steps see [NewClient].
func NewTransport(t TB, steps ...Step) *Transport {
	t.Helper()
	s := newAPI(t, steps)
	s.files.base = "https://" + filesHost
	return &Transport{s}
}

// ServeHTTP responds to r, see [Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rsp, err := h.reply(r)
	if err != nil {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n") // see Drop
		_ = conn.Close()
		return
	}
	for name, values := range rsp.header {
		w.Header()[name] = values
	}
	w.WriteHeader(rsp.status)
	// net/http closes the connection after a body that is shorter than Content-Length.
	if rsp.rate == 0 {
		_, _ = w.Write(rsp.body)
		return
	}
	flusher := http.NewResponseController(w)
	_ = flusher.Flush()
	body, buffer := h.slow(r, rsp), make([]byte, 32<<10)
	for {
		n, err := body.Read(buffer)
		_, _ = w.Write(buffer[:n])
		_ = flusher.Flush()
		if err == io.EOF {
			return
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	}
}

// RoundTrip responds to r, see [Transport].
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer func() { _ = r.Body.Close() }()
	}
	if r.Context().Err() != nil {
		return nil, context.Cause(r.Context())
	}
	a, err := t.reply(r.WithContext(r.Context())) // a copy: a RoundTripper must not change r
	switch {
	case errors.Is(err, errDropped):
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	case err != nil:
		return nil, err
	}
	rsp := &http.Response{
		Status:        strconv.Itoa(a.status) + " " + http.StatusText(a.status),
		StatusCode:    a.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        a.header,
		ContentLength: -1,
		Request:       r,
	}
	for name, values := range a.header {
		if values == nil {
			delete(a.header, name)
		}
	}
	var body io.Reader = bytes.NewReader(a.body)
	if a.rate > 0 {
		body = t.slow(r, a)
	}
	if n, err := strconv.ParseInt(a.header.Get("Content-Length"), 10, 64); err == nil && n >= 0 {
		rsp.ContentLength = n
		if n > int64(len(a.body)) {
			body = io.MultiReader(body, truncation{})
		}
	}
	rsp.Body = io.NopCloser(body)
	return rsp, nil
}

// truncation is the end of a body whose connection was closed too early.
type truncation struct{}

func (truncation) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// slow returns the body of rsp, the response to r, at its rate.
func (s *API) slow(r *http.Request, rsp response) io.Reader {
	return &slowBody{ctx: r.Context(), closed: s.closed, rate: rsp.rate, body: rsp.body}
}

// slowBody is a body that arrives at a rate, in bytes per second.
type slowBody struct {
	ctx    context.Context
	closed <-chan struct{}
	rate   int
	body   []byte // what remains
}

func (b *slowBody) Read(p []byte) (int, error) {
	if len(b.body) == 0 {
		return 0, io.EOF
	}
	n := min(len(p), len(b.body), max(b.rate/10, 1))
	select {
	case <-time.After(time.Duration(n) * time.Second / time.Duration(b.rate)):
	case <-b.closed:
		return 0, io.ErrUnexpectedEOF
	case <-b.ctx.Done():
		return 0, context.Cause(b.ctx)
	}
	copy(p, b.body[:n])
	b.body = b.body[n:]
	return n, nil
}
