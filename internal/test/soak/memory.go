package main

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
)

// slack is the growth that is allowed, in addition to a tenth.
const slack = 2 << 20 // bytes

// memory samples the memory of this process, which runs only the SDK.
type memory struct {
	heaps      []uint64 // bytes after a garbage collection
	goroutines int      // at the start
	last       uint64   // heap at the end

	quit    chan struct{}
	sampler sync.WaitGroup
}

// watchMemory takes a sample now and every interval.
func watchMemory(interval time.Duration) *memory {
	m := &memory{heaps: []uint64{heap()}, goroutines: runtime.NumGoroutine(), quit: make(chan struct{})}
	m.sampler.Go(func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				m.heaps = append(m.heaps, heap())
			case <-m.quit:
				return
			}
		}
	})
	return m
}

func heap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// end stops sampling. It returns an error if goroutines are left.
func (m *memory) end() error {
	close(m.quit)
	m.sampler.Wait()
	// The goroutines of closed connections take a moment to end.
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > m.goroutines; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 64<<10)
			stacks = stacks[:runtime.Stack(stacks, true)]
			return fmt.Errorf("%d goroutines at the end, %d at the start:\n%s", runtime.NumGoroutine(), m.goroutines, stacks)
		}
	}
	m.last = heap()
	return nil
}

// thirds returns the maximum of each third of the run.
func (m *memory) thirds() (most [3]uint64) {
	for i := range most {
		if part := m.heaps[len(m.heaps)*i/3 : len(m.heaps)*(i+1)/3]; len(part) > 0 {
			most[i] = slices.Max(part)
		}
	}
	return most
}

// flat returns an error if memory has grown from the middle third to the last, or from the
// start to the end.
func (m *memory) flat() error {
	grown := func(what string, before, after uint64) error {
		if after <= before+before/10+slack {
			return nil
		}
		return fmt.Errorf("%s: the heap has grown from %d to %d bytes", what, before, after)
	}
	most := m.thirds()
	return errors.Join(grown("the last third of the run against the middle one", most[1], most[2]), grown("the end against the start", m.heaps[0], m.last))
}
