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
)

// Server is the stand-in at a loopback address, made by [NewServer].
type Server struct {
	*API

	// URL is the base URL, such as http://127.0.0.1:43210.
	URL string
}

// NewServer returns a Server whose generations that a client creates go through the
// steps of life, see [API.Created]. For the id of any other that was not added it
// answers 404. It accepts [Key] and refuses no request for its rate. What breaks the
// contract is reported through t.Errorf until t runs its cleanups. They also close
// the sockets, and end every answer that is still held back.
func NewServer(t TB, life ...Step) *Server {
	t.Helper()
	s := newAPI(t, life)
	socket, files := httptest.NewServer(http.HandlerFunc(s.serve)), httptest.NewServer(http.HandlerFunc(s.serveFile))
	s.sockets = []*httptest.Server{socket, files}
	s.files.base = files.URL
	return &Server{s, socket.URL}
}

// Transport is the stand-in as an [http.RoundTripper], made by [NewTransport]. It
// answers every request in the goroutine of the caller, whatever the request's host
// is, and uses no socket. A request whose context ends, also while its answer is held
// back, returns the cause of that; a dropped one returns an error like that of a
// reset connection.
type Transport struct{ *API }

// NewTransport returns a Transport. For the rest it is like [NewServer].
func NewTransport(t TB, life ...Step) *Transport {
	t.Helper()
	s := newAPI(t, life)
	s.files.base = "https://" + filesHost
	return &Transport{s}
}

// serve answers r by socket.
func (s *API) serve(w http.ResponseWriter, r *http.Request) {
	a, err := s.reply(r)
	if err != nil {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n") // see Drop
		_ = conn.Close()
		return
	}
	h := w.Header()
	for name, values := range a.header {
		h[name] = values
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // short of Content-Length, it makes net/http close the connection
}

// RoundTrip answers r, see [Transport].
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer func() { _ = r.Body.Close() }()
	}
	if r.Context().Err() != nil {
		return nil, context.Cause(r.Context())
	}
	if r.URL.Host == filesHost {
		return t.roundTripFile(r), nil
	}
	a, err := t.reply(r.WithContext(r.Context())) // a copy: the caller's stays as it is
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
	rsp.Body = io.NopCloser(bytes.NewReader(a.body))
	if n, err := strconv.ParseInt(a.header.Get("Content-Length"), 10, 64); err == nil && n >= 0 {
		rsp.ContentLength = n
		if n > int64(len(a.body)) {
			rsp.Body = truncated(rsp.Body)
		}
	}
	return rsp, nil
}

// truncated ends body as a connection does that was closed too early.
func truncated(body io.Reader) io.ReadCloser {
	return io.NopCloser(io.MultiReader(body, truncation{}))
}

type truncation struct{}

func (truncation) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
