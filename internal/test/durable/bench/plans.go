package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gamma-sdk/gamma-go/internal/test/performance"
)

// plan is a query of the watcher, as PostgreSQL ran it.
type plan struct {
	ms   float64
	text string
}

var duration = regexp.MustCompile(`^([0-9.]+) ms  plan:`)

// log returns the file to which PostgreSQL logs.
func (b *bench) log(ctx context.Context) (string, error) {
	var data string
	err := b.pool.QueryRow(ctx, "SHOW data_directory").Scan(&data)
	return filepath.Join(filepath.Dir(data), "log"), err
}

// queries returns the queries that auto_explain logged after the offset and that contain
// kind.
func queries(log string, offset int64, kind string) ([]plan, error) {
	text, err := os.ReadFile(log) //nolint:gosec // the log of our server
	if err != nil {
		return nil, err
	}
	var plans []plan
	for _, entry := range strings.Split(string(text[offset:]), "LOG:  duration: ") {
		m := duration.FindStringSubmatch(entry)
		if m == nil || !strings.Contains(entry, kind) {
			continue
		}
		ms, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			return nil, err
		}
		var lines []string
		for line := range strings.Lines(entry) {
			if line = strings.TrimSpace(line); strings.Contains(line, "(cost=") && len(line) < 500 {
				lines = append(lines, line)
			}
		}
		plans = append(plans, plan{ms, strings.Join(lines, "; ")})
	}
	return plans, nil
}

// badPlan matches plans that compare every job with every known one, follow the order of
// ids, or take more than one process of PostgreSQL.
var badPlan = regexp.MustCompile("Nested Loop|Merge|Gather")

var node = regexp.MustCompile(`(?:->  |^)([A-Z][A-Za-z ]+?)(?: (?:using|on) (\w+)[^(;]*?)? +\(cost`)

// nodes returns the nodes of a plan, from the outside in.
func (p plan) nodes() string {
	var names []string
	for _, m := range node.FindAllStringSubmatch(strings.ReplaceAll(p.text, "; ", "\n"), -1) {
		names = append(names, strings.TrimSpace(m[1]+" "+strings.TrimPrefix(m[2], "river_job_")))
	}
	return strings.Join(names, ", ")
}

func (b *bench) plans(ctx context.Context) (t performance.Table, err error) {
	t = performance.Table{
		Title: "The query for new jobs",
		Head:  []string{"in the table", "statistics", "the query, ms", "all known after, s"},
		Note: fmt.Sprintf("Measured by auto_explain for %v, while all pending jobs are known and there are no new ones. All known: from the start of the process until its watcher knows all pending jobs. "+
			"Autovacuum is off for the table.", b.measure),
	}
	log, err := b.log(ctx)
	if err != nil {
		return t, err
	}
	if _, err := b.pool.Exec(ctx, "ALTER TABLE river_job SET (autovacuum_enabled = off)"); err != nil {
		return t, err
	}
	if _, err := b.pool.Exec(ctx, "ALTER SYSTEM SET auto_explain.log_min_duration = 0"); err != nil {
		return t, err
	}
	if _, err := b.pool.Exec(ctx, "SELECT pg_reload_conf()"); err != nil {
		return t, err
	}
	for _, c := range []struct {
		completed  bool
		statistics string
		analyze    string // the rows that are in the table when it is analyzed: empty, pending, all; never if ""
	}{
		{false, "current", "all"},
		{false, "none", ""},
		{true, "current", "all"},
		{true, "of the empty table", "empty"},
		{true, "none", ""},
		{true, "from before the completed jobs", "pending"},
	} {
		analyze := func(when string) error {
			if when != c.analyze {
				return nil
			}
			_, err := b.pool.Exec(ctx, "ANALYZE river_job")
			return err
		}
		// TRUNCATE keeps the statistics, DELETE from pg_statistic does not.
		if _, err := b.pool.Exec(ctx, "TRUNCATE river_job; DELETE FROM pg_statistic WHERE starelid = 'river_job'::regclass"); err != nil {
			return t, err
		}
		if err := analyze("empty"); err != nil {
			return t, err
		}
		if err := b.fill(ctx, 0, b.sizes.waiting, "pending"); err != nil {
			return t, err
		}
		if err := analyze("pending"); err != nil {
			return t, err
		}
		if c.completed {
			if err := b.fill(ctx, b.sizes.waiting, b.sizes.waiting+b.completed, "completed"); err != nil {
				return t, err
			}
			if _, err := b.pool.Exec(ctx, "DELETE FROM river_job WHERE metadata -> 'gamma' ->> 'id' = $1", generationID(b.sizes.waiting)); err != nil {
				return t, err // the first one, which is not completed
			}
		}
		if err := analyze("all"); err != nil {
			return t, err
		}
		b.fake.forget()
		start := time.Now()
		p, err := b.start(ctx)
		if err != nil {
			return t, err
		}
		if err := until(ctx, func() (bool, error) {
			r, err := p.report("status")
			return r.Waiting >= b.sizes.waiting, err
		}); err != nil {
			return t, err
		}
		known := time.Since(start)
		info, err := os.Stat(log)
		if err != nil {
			return t, err
		}
		if err := pause(ctx, b.measure); err != nil {
			return t, err
		}
		b.end(p)
		lists, err := queries(log, info.Size(), "unnest(")
		if err != nil {
			return t, err
		}
		if len(lists) == 0 {
			return t, errors.New("auto_explain has logged no query for new jobs")
		}
		list := figures{}
		for _, p := range lists {
			list.add(p.ms)
		}
		if nodes := lists[len(lists)-1].nodes(); !strings.Contains(nodes, "Anti Join") || badPlan.MatchString(nodes) {
			return t, fmt.Errorf("with statistics %q, the plan of the query is %s", c.statistics, nodes)
		}
		name := count(b.sizes.waiting) + " pending"
		if c.completed {
			name += ", " + count(b.completed) + " completed"
		}
		t.Rows = append(t.Rows, cells(name, c.statistics, &list, performance.Number(known.Seconds(), 1)))
	}
	return t, nil
}
