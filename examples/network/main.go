// Network makes a deck through a proxy with a private certificate authority, and prints
// OpenTelemetry spans. otelhttp is not used: it records URLs, and that of an export is a secret.
//
//	export GAMMA_API_KEY=sk-gamma-... HTTPS_PROXY=http://user:password@proxy:3128
//	go run ./network ca.pem "A short history of tea" tea.pdf >spans.json
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log"
	"net/http"
	"os"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

type propagator struct{ http.RoundTripper } // creates use kept connections then: see gamma.WithHTTPClient

func (p propagator) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context()) // a RoundTripper must not change its request
	propagation.TraceContext{}.Inject(r.Context(), propagation.HeaderCarrier(r.Header))
	return p.RoundTripper.RoundTrip(r)
}

func end(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, err.Error()) // has no key, no URL and no body
	}
	span.End()
}

func run(tracer trace.Tracer, ca, text, path string) (err error) {
	ctx, deck := tracer.Start(context.Background(), "deck")
	defer func() { end(deck, err) }()
	transport := gamma.NewTransport()                                                                  // it uses HTTPS_PROXY
	transport.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12} // trusts only ca; x509.SystemCertPool() has the system's
	if pem, err := os.ReadFile(ca); err != nil || !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
		return errors.Join(errors.New("no certificate in "+ca), err)
	}
	client, err := gamma.NewClientFromEnv(gamma.WithHTTPClient(&http.Client{Transport: propagator{transport}}))
	if err != nil {
		return err
	}
	created, err := client.CreateGeneration(ctx, api.GenerationRequest{InputText: text, ExportAs: api.ExportAsPDF})
	if err != nil {
		return err
	}
	waitCtx, wait := tracer.Start(ctx, "wait")
	var ev poller.Event
	for ev, err = range poller.New(client).Watch(waitCtx, poller.Progress{ID: created.GenerationID, Export: true}) {
		wait.AddEvent("poll", trace.WithAttributes(attribute.Int("polls", ev.Polls), attribute.String("status", string(ev.Status))))
	}
	if end(wait, err); err != nil {
		return err
	}
	return client.DownloadFile(ctx, ev.Generation.ExportURL, path)
}

func main() {
	exporter, err := stdouttrace.New() // for a collector: otlptracehttp.New(ctx)
	if err != nil || len(os.Args) != 4 {
		log.Fatal("usage: network CA TEXT FILE")
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter))
	if err := errors.Join(run(provider.Tracer("network"), os.Args[1], os.Args[2], os.Args[3]), provider.Shutdown(context.Background())); err != nil {
		log.Fatal(err)
	}
}
