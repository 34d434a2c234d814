package hostile

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"
)

// Certificates are made once, inside or outside a bubble of testing/synctest, and are valid
// by the clocks of both.
var (
	longAgo = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	farOff  = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(name string) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: longAgo, NotAfter: farOff,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return &authority{cert, key}
}

// sign returns a certificate for 127.0.0.1, except for what change sets.
func (a *authority) sign(change func(*x509.Certificate)) tls.Certificate {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "server"},
		NotBefore: longAgo, NotAfter: farOff,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}
}

var (
	known      = sync.OnceValue(func() *authority { return newAuthority("known") })
	unknown    = sync.OnceValue(func() *authority { return newAuthority("unknown") })
	serverCert = sync.OnceValue(func() tls.Certificate { return known().sign(nil) })
)

// trusted returns the configuration of a client that trusts one authority.
func trusted() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(known().cert)
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// overTLS does the TLS handshake and calls next.
func overTLS(config *tls.Config, next handler) handler {
	return func(s *server, conn net.Conn) {
		c := tls.Server(conn, config)
		if c.Handshake() == nil {
			next(s, c)
			_ = c.Close()
		}
	}
}

// with returns the configuration of a server with a certificate, for old versions of TLS too.
func with(cert tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS10}
}

func TestTLS(t *testing.T) {
	sends := sends(json200(okBody))
	bad := func(name string, cert tls.Certificate) attack {
		return attack{name: "a certificate " + name, handle: overTLS(with(cert), sends), ends: never, https: true}
	}
	old := with(serverCert())
	old.MaxVersion = tls.VersionTLS11
	wantsCert := with(serverCert())
	wantsCert.ClientAuth, wantsCert.MaxVersion = tls.RequireAnyClientCert, tls.VersionTLS12
	run(t, []attack{
		{name: "a valid certificate", handle: overTLS(with(serverCert()), sends), ends: good, https: true},
		bad("for another name", known().sign(func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"other.example"} })),
		bad("for no name", known().sign(func(c *x509.Certificate) { c.IPAddresses = nil })),
		bad("for a name with the key", known().sign(func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"sk-gamma-7Zq.example"} })),
		bad("that has expired", known().sign(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })),
		bad("that is not valid yet", known().sign(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })),
		bad("of an unknown authority", unknown().sign(nil)),
		bad("for clients", known().sign(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })),
		{name: "an old version", handle: overTLS(old, sends), ends: none, https: true},
		{name: "wants a certificate", handle: overTLS(wantsCert, sends), ends: none, https: true},
		{name: "plain HTTP", handle: func(_ *server, c net.Conn) { send(c, json200(okBody)) }, ends: none, https: true},
		{name: "garbage", handle: func(_ *server, c net.Conn) { flood(c, "\x16\x03\x01\xff\xff"+key) }, ends: none, https: true},
		{name: "an alert", handle: func(_ *server, c net.Conn) { send(c, "\x15\x03\x03\x00\x02\x02\x28") }, ends: none, https: true},
		{name: "reset in the handshake", handle: func(_ *server, c net.Conn) { reset(c) }, ends: none, https: true},
		{name: "closed in the handshake", handle: func(_ *server, c net.Conn) { _ = c.Close() }, ends: none, https: true},
		{name: "TLS for plain http", handle: overTLS(with(serverCert()), sends), ends: lost},
		{name: "a body without length, cut off without close_notify", handle: overTLS(with(serverCert()), http1(func(x *exchange) {
			x.send(head("200 OK", jsonType), okBody[:40])
			_ = x.Conn.(*tls.Conn).NetConn().Close()
		})), ends: ends{fails, givesUp, maybe, completes}, https: true}, // which looks like the end of the file
		{name: "silence in the handshake", handle: func(_ *server, c net.Conn) { _, _ = io.Copy(io.Discard, c) }, ends: none, https: true, slow: true},
	}, entries)
}
