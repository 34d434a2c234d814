package otel_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/poller"
)

// propagator is a transport that tells the server of the span that a request
// belongs to.
type propagator struct{ base http.RoundTripper }

func (p propagator) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context()) // a transport must not change what it is given
	propagation.TraceContext{}.Inject(req.Context(), propagation.HeaderCarrier(req.Header))
	return p.base.RoundTrip(req)
}

// waits shows every wait of a Poller as a span, and its polls as events of it.
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
	polls := 0
	traced := map[bool]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		polls++
		traced[r.Header.Get("Traceparent") != ""]++
		w.Header().Set("Content-Type", "application/json")
		status := "pending"
		if polls == 3 {
			status = "completed"
		}
		_, _ = io.WriteString(w, `{"generationId":"gen1","status":"`+status+`"}`)
	}))
	defer server.Close()

	exporter := tracetest.NewInMemoryExporter() // use one for your collector
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
	client, err := gamma.NewClient("sk-gamma-example",
		gamma.WithBaseURL(server.URL),
		gamma.WithHTTPClient(&http.Client{Transport: propagator{gamma.NewTransport()}}))
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
	fmt.Println("requests with the span:", traced[true], "without:", traced[false])
	// Output:
	// gamma.wait Unset
	//    poll 1 pending
	//    poll 2 pending
	//    poll 3 completed
	// requests with the span: 3 without: 0
}
