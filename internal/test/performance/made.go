package performance

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Titles of the tables from which the summary and the pictures are made. The programs in
// internal/test/bench and internal/test/durable/bench write tables with these titles.
const (
	InMemory = "One poll in memory"
	Loopback = "One poll over loopback, HTTP/1.1"
	Memory   = "Live memory per waiting generation"
	Growth   = "CPU time of a poll by number of generations"
	NoBudget = "Pacing 10,000 generations, no rate limit"
	Budget   = "Pacing 10,000 generations, 1,000 requests per 10 s"
	TwoDays  = "Two days at the documented limits"
	Polling  = "CPU time of riverwait"
	Takeover = "Takeover"
	WAL      = "What a generation writes in PostgreSQL"
	Size     = "What a program gains"
)

// reader reads figures from the tables of a page. After an error its figures are useless.
type reader struct {
	tables []Table
	err    error
}

// table returns the table with a title.
func (r *reader) table(title string) Table {
	for _, t := range r.tables {
		if t.Title == title {
			return t
		}
	}
	if r.err == nil {
		r.err = fmt.Errorf("%s has no table %q", pageName, title)
	}
	return Table{}
}

// cell returns a cell of the first row and the first column with these names.
func (r *reader) cell(title, row, column string) string {
	t := r.table(title)
	if i := slices.Index(t.Head, column); i > 0 {
		for _, cells := range t.Rows {
			if cells[0] == row && i < len(cells) {
				return cells[i]
			}
		}
	}
	if r.err == nil {
		r.err = fmt.Errorf("in %s, table %q has no cell %q, %q", pageName, title, row, column)
	}
	return ""
}

// number returns the number that a cell starts with.
func (r *reader) number(cell string) float64 {
	first, _, _ := strings.Cut(cell, " ")
	x, err := strconv.ParseFloat(strings.ReplaceAll(first, ",", ""), 64)
	if (err != nil || x < 0) && r.err == nil {
		r.err = fmt.Errorf("in %s, %q is not a number from zero", pageName, cell)
	}
	return x
}

// bar returns a cell as a bar.
func (r *reader) bar(title, row, column string) bar {
	cell := r.cell(title, row, column)
	return bar{r.number(cell), cell}
}

// made returns the files that are made from the tables of a page, by their names: the page
// with its summary, and the pictures.
func made(page string) (map[string]string, error) {
	start, end, err := find(page, "summary")
	if err != nil {
		return nil, err
	}
	r := &reader{tables: parse(page[:start] + page[end:])}
	for _, title := range []string{InMemory, Loopback, Memory, Growth, NoBudget, Budget, TwoDays, Polling, Takeover, WAL, Size} {
		if len(r.table(title).Rows) < 2 && r.err == nil {
			r.err = fmt.Errorf("in %s, table %q is too short", pageName, title)
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	var summary []string
	for _, t := range r.summary() {
		summary = append(summary, t.String())
	}
	page, err = replace(page, "summary", strings.Join(summary, "\n"))
	if err != nil {
		return nil, err
	}
	files := map[string]string{pageName: page}
	for name, draw := range map[string]func() string{
		"cost":     r.costPicture,
		"memory":   r.memoryPicture,
		"growth":   r.growthPicture,
		"wal":      r.walPicture,
		"budget":   r.budgetPicture,
		"lateness": r.latenessPicture,
	} {
		files["performance-"+name+".svg"] = draw()
	}
	return files, r.err
}
