package otel_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/poller"
)

// propagator is a transport that sends the span of a request to the server.
type propagator struct{ base http.RoundTripper }

func (p propagator) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context()) // a transport must not change what it is given
	propagation.TraceContext{}.Inject(req.Context(), propagation.HeaderCarrier(req.Header))
	return p.base.RoundTrip(req)
}

// waits is a Poller that makes a span of every wait, with an event for each poll.
type waits struct {
	*poller.Poller
	tracer trace.Tracer
	spans  sync.Map // by generation id
}

func newWaits(client poller.Client, tracer trace.Tracer) *waits {
	w := &waits{Poller: poller.New(client), tracer: tracer}
	w.OnPoll = func(ev poller.Event) {
		span, ok := w.spans.Load(ev.ID)
		if !ok {
			return
		}
		attributes := []attribute.KeyValue{
			attribute.Int("gamma.polls", ev.Polls),
			attribute.String("gamma.status", string(ev.Status)),
		}
		if ev.Err != nil { // its text holds no key, no URL and no body
			attributes = append(attributes, attribute.String("error.message", ev.Err.Error()))
		}
		span.(trace.Span).AddEvent("poll", trace.WithAttributes(attributes...))
	}
	return w
}

func (w *waits) wait(ctx context.Context, id string) error {
	ctx, span := w.tracer.Start(ctx, "gamma.wait", trace.WithAttributes(attribute.String("gamma.generation", id)))
	defer span.End()
	w.spans.Store(id, span)
	defer w.spans.Delete(id)
	_, err := w.Wait(ctx, id)
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	}
	return err
}

func Example() {
	var program gammatest.Program
	defer program.Close()
	fake := gammatest.NewTransport(&program) // a program has gamma.NewTransport()
	fake.Add("gen1", gammatest.Pending(2), gammatest.Completed(""))

	exporter := tracetest.NewInMemoryExporter() // use one for your collector
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
	client, err := gamma.NewClient(gammatest.Key,
		gamma.WithHTTPClient(&http.Client{Transport: propagator{fake}}))
	if err != nil {
		fmt.Println(err)
		return
	}
	w := newWaits(client, provider.Tracer("example"))
	w.Interval = time.Millisecond // 5 seconds is right for the real API
	if err := w.wait(context.Background(), "gen1"); err != nil {
		fmt.Println(err)
	}

	for _, span := range exporter.GetSpans() {
		fmt.Println(span.Name, span.Status.Code)
		for _, event := range span.Events {
			fmt.Println("  ", event.Name, event.Attributes[0].Value.String(), event.Attributes[1].Value.String())
		}
	}
	for _, request := range fake.Requests() {
		fmt.Println(request.Method, "with the span:", request.Header.Get("Traceparent") != "")
	}
	// Output:
	// gamma.wait Unset
	//    poll 1 pending
	//    poll 2 pending
	//    poll 3 completed
	// GET with the span: true
	// GET with the span: true
	// GET with the span: true
}
