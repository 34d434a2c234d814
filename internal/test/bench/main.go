// Command bench measures gamma-go against what people would use instead, and
// against itself as the number of jobs grows. Run it in its own directory:
//
//	go run .                 every question, about 45 minutes on 2 cores
//	go run . -only 1,3       these questions
//	go run . -quick          a try of a minute; its figures mean little
//
// It prints Markdown, and writes the same tables and a plot to results. What is
// compared is measured in turn (A B C A B C ...), and a ratio is the median of the
// ratios of the turns, so that a machine that slows down slows all of them down.
// It needs a Unix system; the certificate of its HTTP/2 server is trusted through
// SSL_CERT_FILE, which macOS does not read.
//
// The peers live in this module alone: the SDK does not depend on them.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// question is one thing to find out.
type question struct {
	name   string // of the file in results
	answer func(context.Context, scale) ([]table, error)
}

var questions = map[string]question{
	"1": {"cost", cost},
	"2": {"memory", memory},
	"3": {"pacing", pacing},
	"4": {"growth", growth},
}

// scale is how much is measured.
type scale struct {
	quick   bool
	results string // the directory for the plot; none if empty
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
	only := set.String("only", "1,2,3,4", "the `questions`: 1 cost of a poll, 2 memory, 3 pacing, 4 growth")
	quick := set.Bool("quick", false, "measure too little, to try it; write nothing")
	results := set.String("results", "results", "write the tables and the plot to this `directory`")
	_ = set.Parse(os.Args[1:]) // it exits
	s := scale{quick: *quick, results: *results}
	if s.quick {
		s.results = ""
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, strings.Split(*only, ","), s); err != nil {
		log.Fatal(err) //nolint:gocritic // nothing is lost without stop
	}
}

// run answers the questions, and writes each answer as soon as it is there.
func run(ctx context.Context, out io.Writer, only []string, s scale) error {
	for _, number := range only {
		if _, ok := questions[number]; !ok {
			return fmt.Errorf("there is no question %q", number)
		}
	}
	slices.Sort(only)
	for _, number := range slices.Compact(only) {
		q := questions[number]
		start := time.Now()
		tables, err := q.answer(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", q.name, err)
		}
		var b bytes.Buffer
		fmt.Fprintf(&b, "<!-- Made by go run . in internal/test/bench. -->\n\n%s\n", machine(start))
		for _, t := range tables {
			t.write(&b)
		}
		if _, err := fmt.Fprintf(out, "%s\n<!-- %s took %v -->\n\n", b.Bytes(), q.name, time.Since(start).Round(time.Second)); err != nil {
			return err
		}
		if s.results != "" {
			if err := os.WriteFile(filepath.Join(s.results, q.name+".md"), b.Bytes(), 0o644); err != nil { //nolint:gosec // to be read by all
				return err
			}
		}
	}
	return nil
}

// machine is one line about where and when the figures were measured.
func machine(now time.Time) string {
	return fmt.Sprintf("%s, %d cores, %s %s/%s, %s", cpuModel(), runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH, now.Format(time.DateOnly))
}

func cpuModel() string {
	info, _ := os.ReadFile("/proc/cpuinfo") // only Linux has it
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "CPU unknown"
}
