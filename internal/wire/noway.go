package wire

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
)

// NoWay reports whether err says that there is no way to the server, now or a
// moment later: its certificate does not verify, or there is no such host.
func NoWay(err error) bool {
	var (
		dnsErr  *net.DNSError
		certErr *tls.CertificateVerificationError
		// What a client other than crypto/tls reports.
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	return errors.As(err, &certErr) || errors.As(err, &authority) || errors.As(err, &hostname) || errors.As(err, &invalid) ||
		errors.As(err, &dnsErr) && dnsErr.IsNotFound
}
