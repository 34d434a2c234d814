package main

import (
	"errors"
	"fmt"
	"strconv"
)

// creation is a call of Create.
type creation struct {
	id      string // empty if Create returned none
	lost    bool   // Create returned ErrMaybeCreated
	refused int    // responses with status 429
}

// ledger is what the program knows. It is compared with the report of the server.
type ledger struct {
	creations         []creation          // by number
	outcomes          map[string][]string // how the waits for an id ended
	downloads         []string            // ids
	completed, failed int
}

// created returns the number of ids and of creates without a response.
func (l *ledger) created() (ids, lost int) {
	for _, c := range l.creations {
		switch {
		case c.id != "":
			ids++
		case c.lost:
			lost++
		}
	}
	return ids, lost
}

// check returns an error with every contradiction between l and r.
func (l *ledger) check(r report) error {
	var errs []error
	violated := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if r.Errors != "" {
		violated("the fake server: %s", r.Errors)
	}
	known := make(map[string]bool, len(l.creations))
	for n, c := range l.creations {
		// A create may be retried only after a 429.
		if posts := r.Posts[strconv.Itoa(n)]; posts > c.refused+1 {
			violated("create %d: %d requests arrived, after %d refusals", n, posts, c.refused)
		}
		if c.id == "" {
			if !c.lost {
				violated("create %d: neither an id nor ErrMaybeCreated", n)
			}
			continue
		}
		outcomes := l.outcomes[c.id]
		switch {
		case known[c.id]:
			violated("create %d: the id %s for the second time", n, c.id)
		case r.Outcomes[c.id] == "":
			violated("%s: the server does not know it", c.id)
		case len(outcomes) == 0:
			violated("%s: lost, no wait for it ended", c.id)
		case len(outcomes) > 1:
			violated("%s: ended %d times, %q", c.id, len(outcomes), outcomes)
		case outcomes[0] != r.Outcomes[c.id]:
			violated("%s: %s for the program, %s for the server", c.id, outcomes[0], r.Outcomes[c.id])
		}
		known[c.id] = true
	}
	for id := range l.outcomes {
		if !known[id] {
			violated("%s: ended, but was not created", id)
		}
	}
	ids, lost := l.created()
	if n := len(r.Outcomes); n > ids+lost {
		violated("the server has %d generations, for %d ids and %d creates without a response", n, ids, lost)
	}
	return errors.Join(errs...)
}
