// Package screen shows the progress of many generations on standard error.
package screen

import (
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Options are the settings of a [Display].
type Options struct {
	Mode   Mode                // one of the constants; empty means Auto
	Out    io.Writer           // nil means os.Stderr
	Getenv func(string) string // nil means os.Getenv
}

// period is the time between two summaries of Plain, and the shortest pause that it reports.
const period = 30 * time.Second

// Display shows the progress of a batch. Its methods are safe for concurrent use. The methods
// of a nil Display do nothing, except that Print runs its argument. After an error of Out a
// Display writes nothing more.
type Display struct {
	look look

	mu        sync.Mutex // of the fields up to the blank line; never held while writing
	state     state
	names     map[string]*job
	ids       map[string]*job
	arrived   int
	announced time.Time // Plain: the end of the last pause that was written
	closed    bool

	out output
}

// output is where a Display writes.
type output interface {
	line(text string) // a permanent line
	print(f func())   // runs f, which writes to the same terminal
	close()
}

// New starts a display and returns it, or nil for None. The caller must call Close.
func New(o Options) *Display {
	if o.Out == nil {
		o.Out = os.Stderr
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	file, isTerminal := terminal(o.Out)
	mode := o.Mode.resolve(isTerminal, o.Getenv)
	if mode == None {
		return nil
	}
	d := &Display{
		look:  newLook(runtime.GOOS, o.Getenv),
		state: state{total: -1, started: time.Now()},
		names: make(map[string]*job),
		ids:   make(map[string]*job),
	}
	if mode == Live {
		size := func() (int, int) { return 80, 24 }
		if isTerminal {
			size = func() (int, int) { return terminalSize(file) }
		}
		d.out = newLive(d, o.Out, size)
	} else {
		d.out = newPlain(d, o.Out)
	}
	return d
}

// Total sets the number of inputs. -1, the default, means unknown.
func (d *Display) Total(n int) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state.total = max(n, -1)
}

// Start records that the create of name is being sent.
func (d *Display) Start(name string) {
	d.update(func() { d.enter(name, "", creating, time.Time{}) })
}

// Wait records that name is a generation with an id, and that its wait starts or resumes.
// A zero since means the time of Start, or now.
func (d *Display) Wait(name, id string, since time.Time) {
	d.update(func() { d.enter(name, id, waiting, since) })
}

// Poll records a poll of the generation: the number of polls so far, and the time of the next
// one, where zero means unknown. It ignores an id without a Wait.
func (d *Display) Poll(id string, polls int, next time.Time) {
	d.update(func() {
		if j := d.ids[id]; j != nil {
			j.polls, j.next = polls, next
		}
	})
}

// Save records that the export of the generation is being downloaded.
func (d *Display) Save(id string) {
	d.update(func() {
		if j := d.ids[id]; j != nil {
			d.setStep(j, saving)
		}
	})
}

// Pause shows why no requests are sent, and until when. Of two pauses it shows the one that
// ends last. A zero until ends the pause.
func (d *Display) Pause(why string, until time.Time) {
	if d == nil {
		return
	}
	d.out.line(d.pause(why, until))
}

// pause returns the line that Plain writes about a pause, if any.
func (d *Display) pause(why string, until time.Time) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, now := &d.state, time.Now()
	if d.closed || !until.IsZero() && until.Before(s.until) {
		return ""
	}
	s.why, s.until = why, until
	if _, isPlain := d.out.(*plain); !isPlain || until.Sub(now) < period || now.Before(d.announced) {
		return ""
	}
	d.announced = until
	return s.pause(now, math.MaxInt, d.look)
}

// End records that name has ended, and whether it succeeded. It writes line, which is
// permanent, unless it is empty.
func (d *Display) End(name, line string, ok bool) {
	if d == nil {
		return
	}
	d.out.line(d.end(name, line, ok))
}

// end returns the line that End writes, if any.
func (d *Display) end(name, line string, ok bool) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ""
	}
	elapsed := ""
	if j := d.names[name]; j != nil {
		d.leave(j)
		elapsed = " (" + Duration(time.Since(j.since)) + ")"
	}
	mark := "done: "
	if ok {
		d.state.done++
	} else {
		d.state.failed++
		mark = "failed: "
	}
	if line == "" {
		return ""
	}
	return mark + d.look.printable(line) + elapsed
}

// Print runs f, which may write whole lines to the terminal, so that they do not mix with the
// live lines. f must not use d.
func (d *Display) Print(f func()) {
	if d == nil {
		f()
		return
	}
	d.out.print(f)
}

// Close erases the live lines and stops the display. It prints no summary. A second call
// and all later calls of other methods do nothing, except that Print runs its argument.
func (d *Display) Close() {
	if d == nil {
		return
	}
	d.mu.Lock()
	closed := d.closed
	d.closed = true
	d.mu.Unlock()
	if !closed {
		d.out.close()
	}
}

// update runs f, which changes the state.
func (d *Display) update(f func()) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		f()
	}
}

// enter adds name with a step, or sets its step.
func (d *Display) enter(name, id string, to step, since time.Time) {
	j := d.names[name]
	if j == nil {
		j = &job{name: name, step: to, index: d.arrived, since: since}
		if since.IsZero() {
			j.since = time.Now()
		}
		d.arrived++
		d.names[name] = j
		d.state.counts[to]++
		d.insert(j)
	} else {
		d.setStep(j, to)
		if !since.IsZero() && !since.Equal(j.since) {
			d.remove(j)
			j.since = since
			d.insert(j)
		}
	}
	if id != "" && j.id != id {
		delete(d.ids, j.id)
		j.id = id
		d.ids[id] = j
	}
}

// leave removes a job that has ended.
func (d *Display) leave(j *job) {
	delete(d.names, j.name)
	if d.ids[j.id] == j {
		delete(d.ids, j.id)
	}
	d.state.counts[j.step]--
	d.remove(j)
}

func (d *Display) setStep(j *job, to step) {
	d.state.counts[j.step]--
	d.state.counts[to]++
	j.step = to
}

// insert inserts j by age. Most jobs are the youngest.
func (d *Display) insert(j *job) {
	i, _ := slices.BinarySearchFunc(d.state.open, j, older)
	d.state.open = slices.Insert(d.state.open, i, j)
}

func (d *Display) remove(j *job) {
	if i, found := slices.BinarySearchFunc(d.state.open, j, older); found {
		d.state.open = slices.Delete(d.state.open, i, i+1)
	}
}

// older orders jobs by age, and jobs of the same age by arrival.
func older(a, b *job) int {
	if c := a.since.Compare(b.since); c != 0 {
		return c
	}
	return a.index - b.index
}
