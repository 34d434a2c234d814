package retry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		soon, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		for _, tt := range []struct {
			name string
			ctx  context.Context
			d    time.Duration
			want bool
			took time.Duration
		}{
			{"deadline before the end", soon, time.Minute, false, time.Second}, // first, since the clock runs
			{"no deadline", t.Context(), time.Minute, true, time.Minute},
			{"zero", t.Context(), 0, true, 0},
			{"negative", t.Context(), -time.Hour, true, 0},
			{"zero, canceled", canceled, 0, false, 0},
			{"canceled", canceled, time.Minute, false, 0},
		} {
			start := time.Now()
			if got := Sleep(tt.ctx, tt.d); got != tt.want || time.Since(start) != tt.took {
				t.Errorf("%s: %v after %v", tt.name, got, time.Since(start))
			}
		}
	})
}

func TestBackoff(t *testing.T) {
	var got []string
	for n := range 6 {
		got = append(got, Backoff(time.Second, 10*time.Second, n).String())
	}
	if s := strings.Join(got, " "); s != "1s 2s 4s 8s 10s 10s" {
		t.Error(s)
	}
	if d := Backoff(time.Second, time.Hour, 1<<30); d != time.Hour {
		t.Error(d)
	}
	if d := Backoff(time.Minute, time.Second, 0); d != time.Second {
		t.Error(d)
	}
}

func TestJitter(t *testing.T) {
	for _, tt := range []struct {
		most   time.Duration
		random float64
		want   time.Duration
	}{
		{time.Second, 0, 0},
		{time.Second, 0.5, 500 * time.Millisecond},
		{time.Hour, 0.5, 30 * time.Second},
	} {
		if got := Jitter(tt.most, tt.random); got != tt.want {
			t.Errorf("Jitter(%v, %v) = %v", tt.most, tt.random, got)
		}
	}
}

func TestTransientStatus(t *testing.T) {
	for status, want := range map[int]bool{
		200: false, 302: false, 400: false, 401: false, 404: false, 408: true, 409: false, 425: true, 429: true,
		500: true, 501: false, 502: true, 503: true, 504: true, 505: false, 511: false, 520: true, 599: true,
	} {
		if TransientStatus(status) != want {
			t.Errorf("status %d: %v", status, !want)
		}
	}
}

func TestPermanent(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want bool
	}{
		{"nil", nil, false},
		{"unexpected EOF", io.ErrUnexpectedEOF, false},
		{"unknown host", &net.OpError{Op: "dial", Err: &net.DNSError{IsNotFound: true}}, true},
		{"a name server that is down", &net.DNSError{IsTemporary: true}, false},
		{"a certificate that does not verify", fmt.Errorf("x: %w", &tls.CertificateVerificationError{Err: io.EOF}), true},
		{"an unknown authority", x509.UnknownAuthorityError{}, true},
		{"another host's certificate", x509.HostnameError{Certificate: &x509.Certificate{}}, true},
		{"an expired certificate", x509.CertificateInvalidError{Reason: x509.Expired}, true},
		{"a proxy's 403", fmt.Errorf("x: %w", NewProxyError("p:1", 403)), true},
		{"a proxy's 407", NewProxyError("p:1", 407), true},
		{"a proxy's 429", NewProxyError("p:1", 429), false},
		{"a proxy's 503", NewProxyError("p:1", 503), false},
	} {
		if got := Permanent(tt.err); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestCanceled(t *testing.T) {
	why := errors.New("shut down")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if err := Canceled(ctx); !errors.Is(err, why) || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	plain, stop := context.WithCancel(t.Context())
	stop()
	if err := Canceled(plain); err != context.Canceled {
		t.Error(err)
	}
}

func TestInner(t *testing.T) {
	if got := Inner(errors.New("gamma: one\ntwo\x1b")); got != `one\ntwo\x1b` {
		t.Error(got)
	}
}

func TestUntilNext(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		name                     string
		pause, remaining, margin time.Duration
		want                     time.Duration
	}{
		{"no deadline", 5 * s, Never, s, 5 * s},
		{"deadline long after the pause", 5 * s, time.Minute, s, 5 * s},
		{"pause ends when the last poll is due", 5 * s, 6 * s, s, 5 * s},
		{"pause ends after the last poll is due", 5 * s, 6*s - 1, s, 5*s - 1},
		{"pause ends after the deadline", time.Hour, 6 * s, s, 5 * s},
		{"just enough time for a last poll", 5 * s, 2 * s, s, s},
		{"too little time for a last poll", 5 * s, 2*s - 1, s, 2*s - 1},
		{"no poll follows", Never, time.Minute, s, time.Minute},
		{"at the deadline", 5 * s, 0, s, 0},
		{"after the deadline", 5 * s, -s, s, -s},
		{"no pause", 0, time.Minute, s, 0},
		{"no pause, just enough time for a last poll", 0, 2 * s, s, 0},
	} {
		if got := UntilNext(tt.pause, tt.remaining, tt.margin); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestUnknown(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want bool
	}{
		{"nil", nil, false},
		{"unexpected EOF", io.ErrUnexpectedEOF, false},
		{"no such host", fmt.Errorf("x: %w", &net.OpError{Op: "dial", Err: &net.DNSError{IsNotFound: true}}), true},
		{"a name server that is down", &net.DNSError{IsTemporary: true}, false},
		{"a name server that does not respond", &net.DNSError{IsTimeout: true}, false},
		{"a refused connection", &net.OpError{Op: "dial", Err: errors.New("connection refused")}, false},
		{"a certificate that does not verify", fmt.Errorf("x: %w", &tls.CertificateVerificationError{Err: io.EOF}), true},
		{"an unknown authority", x509.UnknownAuthorityError{}, true},
		{"another host's certificate", x509.HostnameError{Certificate: &x509.Certificate{}}, true},
		{"an expired certificate", x509.CertificateInvalidError{Reason: x509.Expired}, true},
		{"a proxy's 403, whose host is known", NewProxyError("p:1", 403), false},
	} {
		if got := Unknown(tt.err); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
