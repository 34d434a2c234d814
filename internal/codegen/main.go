// Command codegen merges the documents that the vendor publishes into openapi.json, and
// generates package api from it. make spec and make generate run it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

const usage = `usage: make spec FROM="page.md document.yaml ..." [CHECK=1] [SERVERS=keep|take] [DROP="operationId ..."]`

type settings struct {
	check   bool     // only report
	servers string   // if they differ: "keep" those of openapi.json or "take" the new ones
	drop    []string // operationIds to remove
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := command(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string, w io.Writer) error {
	var s settings
	var drop string
	flags := flag.NewFlagSet("codegen", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	root := flags.String("root", "../..", "the directory of openapi.json")
	only := flags.Bool("generate", false, "only generate api/ from openapi.json")
	flags.BoolVar(&s.check, "check", false, "only report")
	flags.StringVar(&s.servers, "servers", "", "keep or take")
	flags.StringVar(&drop, "drop", "", "operationIds to remove")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("make spec: %w\n%s", err, usage)
	}
	s.drop = strings.Fields(drop)
	switch {
	case *only:
		if err := generateHere(ctx, *root); err != nil {
			return fmt.Errorf("make generate: %w", err)
		}
		return nil
	case s.servers != "" && s.servers != "keep" && s.servers != "take":
		return fmt.Errorf("make spec: SERVERS must be keep or take, not %q\n%s", s.servers, usage)
	case flags.NArg() == 0 && len(s.drop) == 0:
		return errors.New(usage)
	}
	if err := update(ctx, *root, flags.Args(), s, w); err != nil {
		return fmt.Errorf("make spec: no file was changed: %w", err)
	}
	return nil
}
