// Command bench measures gamma-go against other clients, and against itself as the number
// of generations grows. Run it in its own directory:
//
//	go run .                 measures everything, in about 50 minutes on 2 cores
//	go run . -only 1,3       measures the cost of a poll and the pacing
//	go run . -quick          tries everything in a minute; its figures mean little
//
// It prints Markdown tables, and writes them to docs/performance.md, with the pictures
// there. Clients that are compared are measured in turn (A B C A B C ...), and a ratio is
// the median of the ratios of the turns, so that a machine that slows down affects all of
// them. It needs a Unix system; the certificate of its HTTP/2 server is trusted through
// SSL_CERT_FILE, which macOS does not read.
//
// The other clients are requirements of this module only, not of the SDK.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/gamma-sdk/gamma-go/internal/test/performance"
)

// measurement makes the tables of a section of docs/performance.md.
type measurement struct {
	section string
	measure func(context.Context, scale) ([]performance.Table, error)
}

// measurements are numbered for the flag -only.
var measurements = map[string]measurement{
	"1": {"cost", cost},
	"2": {"memory", memory},
	"3": {"pacing", pacing},
	"4": {"growth", growth},
	"5": {"size", programSize},
}

// scale is how much is measured.
type scale struct {
	quick bool
}

// pick returns full, or quick in a quick run.
func pick[T any](s scale, full, quick T) T {
	if s.quick {
		return quick
	}
	return full
}

func main() {
	if child() {
		return
	}
	log.SetFlags(0)
	log.SetPrefix("bench: ")
	set := flag.NewFlagSet("bench", flag.ExitOnError)
	only := set.String("only", strings.Join(slices.Sorted(maps.Keys(measurements)), ","), "the `measurements`: 1 cost of a poll, 2 memory, 3 pacing, 4 growth, 5 size of a program")
	quick := set.Bool("quick", false, "measure too little, to try the program; write nothing")
	docs := set.String("docs", "../../../docs", "the `directory` with performance.md")
	_ = set.Parse(os.Args[1:]) // it exits on an error
	if *quick {
		*docs = ""
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, strings.Split(*only, ","), scale{*quick}, *docs); err != nil {
		log.Fatal(err) //nolint:gocritic // nothing is lost without stop
	}
}

// run makes the measurements, and writes the tables of each as soon as they are there: to
// out, and to the page in docs unless that is empty.
func run(ctx context.Context, out io.Writer, only []string, s scale, docs string) error {
	for _, number := range only {
		if _, ok := measurements[number]; !ok {
			return fmt.Errorf("there is no measurement %q", number)
		}
	}
	slices.Sort(only)
	for _, number := range slices.Compact(only) {
		m := measurements[number]
		start := time.Now()
		tables, err := m.measure(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", m.section, err)
		}
		for _, t := range tables {
			if _, err := fmt.Fprintln(out, t); err != nil {
				return err
			}
		}
		log.Printf("%s took %v", m.section, time.Since(start).Round(time.Second))
		if docs == "" {
			continue
		}
		if err := performance.Write(docs, m.section, performance.Machine(start), tables); err != nil {
			return err
		}
	}
	return nil
}
