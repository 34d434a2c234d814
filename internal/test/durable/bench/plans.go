package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// plan is a query of the watcher, as PostgreSQL has run it.
type plan struct {
	ms   float64
	text string
}

var duration = regexp.MustCompile(`^([0-9.]+) ms  plan:`)

// log is where PostgreSQL logs.
func (b *bench) log(ctx context.Context) (string, error) {
	var data string
	err := b.pool.QueryRow(ctx, "SHOW data_directory").Scan(&data)
	return filepath.Join(filepath.Dir(data), "log"), err
}

// queries returns those that auto_explain has logged beyond the offset, of one kind.
func queries(log string, offset int64, kind string) ([]plan, error) {
	text, err := os.ReadFile(log) //nolint:gosec // the log of our own server
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

var node = regexp.MustCompile(`(?:->  |^)([A-Z][A-Za-z ]+?)(?: (?:using|on) (\w+)[^(;]*?)? +\(cost`)

// nodes are the names of what a plan does, from the outside in.
func (p plan) nodes() string {
	var names []string
	for _, m := range node.FindAllStringSubmatch(strings.ReplaceAll(p.text, "; ", "\n"), -1) {
		names = append(names, strings.TrimSpace(m[1]+" "+strings.TrimPrefix(m[2], "river_job_")))
	}
	return strings.Join(names, ", ")
}

func (b *bench) plans(ctx context.Context) (t table, err error) {
	t = table{
		title: fmt.Sprintf("The queries of the watcher with %d known pending jobs", b.sizes.waiting),
		head:  []string{"in the table, statistics", "all known after, s", "list each second, ms", "plan", "look for ended jobs each minute, ms"},
		note:  "As auto_explain tells with ANALYZE and without timing. The list: median, least and most in parentheses, with nothing new to list. Autovacuum is off for the table.",
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
	name := func(s string) string {
		return strings.NewReplacer("W", strconv.Itoa(b.sizes.waiting), "C", strconv.Itoa(b.completed)).Replace(s)
	}
	for _, c := range []struct {
		name      string
		completed bool
		analyze   string // after: "", empty, pending, all
	}{
		{name("W pending, analyzed"), false, "all"},
		{name("W pending, never analyzed"), false, ""},
		{name("and C completed, analyzed"), true, "all"},
		{name("and C completed, analyzed before they were inserted"), true, "pending"},
		{name("and C completed, analyzed when the table was empty"), true, "empty"},
		{name("and C completed, never analyzed"), true, ""},
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
				return t, err // the one that is not completed
			}
		}
		if err := analyze("all"); err != nil {
			return t, err
		}
		b.fake.forget()
		begin := time.Now()
		p, err := b.start(ctx)
		if err != nil {
			return t, err
		}
		if err := until(ctx, func() (bool, error) {
			r, err := p.ask("status")
			return r.Waiting >= b.sizes.waiting, err
		}); err != nil {
			return t, err
		}
		known := time.Since(begin)
		info, err := os.Stat(log)
		if err != nil {
			return t, err
		}
		if err := pause(ctx, max(0, b.planTime())); err != nil {
			return t, err
		}
		b.end(p)
		lists, err := queries(log, info.Size(), "unnest(")
		if err != nil {
			return t, err
		}
		gone, err := queries(log, info.Size(), "id = ANY ($")
		if err != nil {
			return t, err
		}
		list, look, nodes := figures{format: "%.0f"}, figures{format: "%.0f"}, ""
		for _, p := range lists {
			list.add(p.ms)
			nodes = p.nodes()
		}
		for _, p := range gone {
			if strings.Contains(p.text, "Limit") {
				look.add(p.ms)
			}
		}
		t.add(c.name, fmt.Sprintf("%.1f", known.Seconds()), &list, nodes, &look)
	}
	return t, nil
}

// planTime is long enough for a look for ended jobs, unless all is quick.
func (b *bench) planTime() time.Duration {
	if b.measure < 10*time.Second {
		return b.measure
	}
	return 65 * time.Second
}
