package poller_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
)

// BenchmarkAll measures what All itself costs, against a client that responds at
// once: the live memory for each waiting job after its first poll, ids of 21 bytes
// included, and the time for each poll.
func BenchmarkAll(b *testing.B) {
	for _, jobs := range []int{1000, 100000} {
		b.Run(fmt.Sprintf("jobs=%d", jobs), func(b *testing.B) {
			var bytes, polls float64
			var took time.Duration
			for b.Loop() {
				n, d, perJob := benchmarkAll(b, jobs)
				polls, took, bytes = polls+float64(n), took+d, perJob
			}
			b.ReportMetric(bytes, "B/job")
			b.ReportMetric(float64(took)/polls, "ns/poll")
			b.ReportMetric(0, "ns/op") // which would be the interval
		})
	}
}

func benchmarkAll(b *testing.B, jobs int) (polls int64, took time.Duration, bytesPerJob float64) {
	var pulled, count atomic.Int64
	header := http.Header{}
	p := poller.New(stub(func(_ context.Context, id string) (*api.GetGenerationStatusHTTPResponse, error) {
		count.Add(1)
		return &api.GetGenerationStatusHTTPResponse{
			HTTPResponse: &http.Response{StatusCode: http.StatusOK, Header: header},
			JSON200:      &api.GenerationStatusResponse{GenerationID: id, Status: api.GenerationStatusPending},
		}, nil
	}))
	p.Interval = time.Millisecond // as fast as it goes
	p.Timeout = -1
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	before := heap()
	go func() {
		defer close(done)
		for range p.All(ctx, func(yield func(poller.Progress) bool) {
			for i := range jobs {
				pulled.Add(1)
				if !yield(poller.Progress{ID: fmt.Sprintf("gen-%017d", i)}) {
					return
				}
			}
		}) {
			break // the first of the canceled ones
		}
	}()
	await := func(n *atomic.Int64, target int) {
		for n.Load() < int64(target) {
			time.Sleep(time.Millisecond)
		}
	}
	await(&pulled, jobs)
	first, start := count.Load(), time.Now()
	await(&count, int(first)+2*jobs) // so that each had one: the longest without goes first
	took = time.Since(start)
	polls = count.Load() - first
	bytesPerJob = float64(heap()-before) / float64(jobs)
	cancel()
	<-done
	return polls, took, bytesPerJob
}

// heap is the live memory.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
