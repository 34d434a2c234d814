package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go/examples/internal/process"
	"github.com/gamma-sdk/gamma-go/gammatest"
)

const (
	host     = "api.gamma.test" // no DNS has it, so that only a proxy reaches it
	password = "proxy-password-0123456789"
)

// certificate returns a certificate for name, and its PEM form. It is signed by parent, or
// is an authority if that is nil.
func certificate(t *testing.T, name string, parent *tls.Certificate) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	signer, signerKey := template, any(key)
	if parent == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	} else {
		template.DNSNames = []string{name}
		signer, signerKey = parent.Leaf, parent.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer, key.Public(), signerKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// startProxy returns the URL of a proxy that tunnels to address, whatever host is asked for.
// It counts the tunnels, and the requests that it refuses for lack of the password.
func startProxy(t *testing.T, address string, tunnels, refused *atomic.Int64) *url.URL {
	t.Helper()
	authorization := "Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+password))
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Proxy-Authorization") != authorization {
			refused.Add(1)
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		if r.Method != http.MethodConnect || r.Host != host+":443" {
			t.Errorf("the proxy was asked for %s %s", r.Method, r.Host)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		server, err := net.Dial("tcp", address)
		if err != nil {
			t.Error(err)
			return
		}
		defer server.Close()
		client, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer client.Close()
		tunnels.Add(1)
		io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n")
		var sides sync.WaitGroup
		sides.Go(func() { io.Copy(server, buffered); server.Close() })
		sides.Go(func() { io.Copy(client, server); client.Close() })
		sides.Wait()
	}))
	t.Cleanup(proxy.Close)
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("user", password)
	return u
}

// span is what the test reads of a span on standard output.
type span struct {
	Name        string
	SpanContext struct{ TraceID, SpanID string }
	Events      []struct {
		Name       string
		Attributes []struct {
			Key   string
			Value struct{ Value any }
		}
	}
	Status struct{ Code, Description string }
}

func TestNetwork(t *testing.T) {
	dir := t.TempDir()
	program := process.Build(t)
	authority, ca := certificate(t, "A private authority", nil)
	leaf, _ := certificate(t, host, &authority)
	_, otherCA := certificate(t, "Another authority", nil)
	files := map[string]string{}
	for name, content := range map[string][]byte{"ca.pem": ca, "other.pem": otherCA, "empty.pem": nil} {
		files[name] = filepath.Join(dir, name)
		if err := os.WriteFile(files[name], content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files["missing.pem"] = filepath.Join(dir, "missing.pem")

	for name, tt := range map[string]struct {
		ca      string
		change  func(proxy *url.URL)
		steps   []gammatest.Step
		spans   []string // with their events
		status  string   // of the first span
		stderr  string   // "": the program succeeds
		tunnels bool
	}{
		"everything goes through the proxy": {
			ca: "ca.pem", steps: []gammatest.Step{gammatest.RateLimited(time.Second), gammatest.Completed("")},
			spans: []string{"wait: poll 1 , poll 2 completed", "deck:"}, status: "Unset", tunnels: true,
		},
		"the generation fails": {
			ca: "ca.pem", steps: []gammatest.Step{gammatest.Failed(422, "Failed to generate text.")},
			spans: []string{"wait: poll 1 failed", "deck:"}, status: "Error", stderr: "Failed to generate text.", tunnels: true,
		},
		"another authority": {ca: "other.pem", spans: []string{"deck:"}, status: "Error", stderr: "certificate signed by unknown authority", tunnels: true},
		"no authority":      {ca: "empty.pem", spans: []string{"deck:"}, status: "Error", stderr: "no certificate in "},
		"no file":           {ca: "missing.pem", spans: []string{"deck:"}, status: "Error", stderr: "no certificate in "},
		"a wrong password":  {ca: "ca.pem", change: func(u *url.URL) { u.User = url.UserPassword("user", password+"x") }, spans: []string{"deck:"}, status: "Error", stderr: "407 Proxy Authentication Required"},
	} {
		t.Run(name, func(t *testing.T) {
			handler := gammatest.NewHandler(t, tt.steps...)
			server := httptest.NewUnstartedServer(handler)
			server.TLS = &tls.Config{Certificates: []tls.Certificate{leaf}}
			server.Config.ErrorLog = log.New(io.Discard, "", 0) // it says that the client does not trust it
			server.StartTLS()
			defer server.Close()
			var tunnels, refused atomic.Int64
			proxy := startProxy(t, server.Listener.Addr().String(), &tunnels, &refused)
			if tt.change != nil {
				tt.change(proxy)
			}

			pdf := filepath.Join(t.TempDir(), "tea.pdf")
			cmd := exec.CommandContext(t.Context(), program, files[tt.ca], "A short history of tea", pdf)
			cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
				name, _, _ := strings.Cut(strings.ToUpper(v), "=")
				return strings.HasSuffix(name, "_PROXY") || strings.HasPrefix(name, "GAMMA_")
			}), "HTTPS_PROXY="+proxy.String(), "GAMMA_BASE_URL=https://"+host, "GAMMA_API_KEY="+gammatest.Key)
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			start := time.Now()
			err := cmd.Run()
			if (err == nil) != (tt.stderr == "") || !strings.Contains(stderr.String(), tt.stderr) || tt.stderr == "" && stderr.Len() != 0 {
				t.Fatalf("%v, and standard error is %s", err, &stderr)
			}
			if (tunnels.Load() > 0) != tt.tunnels {
				t.Errorf("%d tunnels, and %d refused", tunnels.Load(), refused.Load())
			}
			for what, secret := range map[string]string{"the key": gammatest.Key, "an export": "/exports/", "the password": password, "the encoded password": base64.StdEncoding.EncodeToString([]byte("user:" + password))} {
				if strings.Contains(stdout.String()+stderr.String(), secret) {
					t.Errorf("the output has %s:\n%s%s", what, &stdout, &stderr)
				}
			}

			var spans []span
			for decoder := json.NewDecoder(&stdout); ; {
				var s span
				if err := decoder.Decode(&s); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
				spans = append(spans, s)
			}
			var texts []string
			for _, s := range spans {
				events := []string{}
				for _, event := range s.Events {
					text := event.Name
					for _, a := range event.Attributes {
						text += " " + strings.TrimSpace(strings.Trim(string(must(json.Marshal(a.Value.Value))), `"`))
					}
					events = append(events, text)
				}
				texts = append(texts, strings.TrimSpace(s.Name+": "+strings.Join(events, ", ")))
			}
			if !slices.Equal(texts, tt.spans) || spans[0].Status.Code != tt.status {
				t.Errorf("the spans are %q, the first with %v; want %q with %s", texts, spans[0].Status, tt.spans, tt.status)
			}
			for _, r := range slices.Concat(handler.Requests(), handler.Downloads()) {
				if trace := r.Header.Get("Traceparent"); !strings.Contains(trace, spans[0].SpanContext.TraceID) {
					t.Errorf("%s %s has the traceparent %q", r.Method, r.Path, trace)
				}
			}
			if tt.stderr != "" {
				if took := time.Since(start); took > 30*time.Second {
					t.Errorf("it took %v", took)
				}
				return
			}
			got, err := os.ReadFile(pdf)
			if want := handler.Export(strings.TrimPrefix(handler.Requests()[1].Path, "/v1.0/generations/")); err != nil || !bytes.Equal(got, want) {
				t.Errorf("the file has %d bytes, %v, want %d", len(got), err, len(want))
			}
			if len(handler.Requests()) != 3 || len(handler.Downloads()) != 1 {
				t.Errorf("%d requests and %d downloads", len(handler.Requests()), len(handler.Downloads()))
			}
		})
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}
