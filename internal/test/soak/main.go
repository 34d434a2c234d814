// Command soak runs generations through proxies that fail often. It checks that no generation
// is lost, created twice or reported twice, that every download is complete, and that memory
// does not grow:
//
//	go run . -time 10m -seed 1
//
// The seed chooses the faults and their order; which requests they hit depends on timing. The
// fake server and its proxies run in a separate process, which is this program again.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"time"
)

func main() {
	if asWorld() {
		return
	}
	var s settings
	flag.DurationVar(&s.Time, "time", 10*time.Minute, "about how long to run")
	flag.IntVar(&s.Generations, "generations", 2000, "how many generations to create")
	flag.Uint64Var(&s.Seed, "seed", 1, "seed of the random faults")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout, s)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// settings are those of both processes.
type settings struct {
	Time        time.Duration
	Generations int
	Seed        uint64
}

// part returns an nth of the time, between least and most.
func (s settings) part(n int, least, most time.Duration) time.Duration {
	return min(max(s.Time/time.Duration(n), least), most)
}

// rand returns a random source, a different one for each stream.
func (s settings) rand(stream int) *rand.Rand {
	return rand.New(rand.NewPCG(s.Seed, uint64(stream)))
}

// run runs the program. Its error has all violations.
func run(ctx context.Context, w io.Writer, s settings) (err error) {
	if s.Time <= 0 || s.Generations <= 0 {
		return errors.New("soak: the time and the number of generations must be positive")
	}
	// Whatever has not ended by then is stuck.
	ctx, cancel := context.WithTimeout(ctx, 2*s.Time+time.Minute)
	defer cancel()
	world, err := startWorld(ctx, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, world.stop()) }()
	dir, err := os.MkdirTemp("", "gamma-soak-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	start := time.Now()
	k, err := newSoak(s, world.addresses, dir)
	if err != nil {
		return err
	}
	memory := watchMemory(s.part(100, 200*time.Millisecond, 5*time.Second))
	k.run(ctx)
	k.transport.CloseIdleConnections()
	leaks := memory.end()
	took := time.Since(start)
	report, err := world.end()
	if err != nil {
		return fmt.Errorf("soak: the fake server: %w", err)
	}
	err = errors.Join(k.err, context.Cause(ctx), k.check(report), k.checkFiles(report), memory.flat(), leaks)
	if err != nil {
		err = fmt.Errorf("soak: seed %d: %w", s.Seed, err)
	}
	k.summary(w, report, memory, took)
	return err
}
