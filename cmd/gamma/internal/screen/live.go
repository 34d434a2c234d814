package screen

import (
	"bytes"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/vbauerster/cupwriter"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// refresh is the time between two frames.
const refresh = 200 * time.Millisecond

// live paints the lines of a display in place, below the permanent ones. It implements
// [mpb.ConsoleWriter]: mpb decides when to paint. A frame is one write, and ends with the
// cursor at the start of the line below it. The cursor is never hidden, so that a killed
// process does not leave it hidden.
type live struct {
	d        *Display
	size     func() (width, height int)
	progress *mpb.Progress

	next bytes.Buffer // the frame that mpb assembles

	pendingMu sync.Mutex // of the fields up to the blank line; never held while writing
	pending   []byte     // permanent lines that are not written yet
	failed    bool       // nothing can be written

	mu    sync.Mutex
	w     *cupwriter.Writer
	shown string // the last frame
	err   error
}

func newLive(d *Display, w io.Writer, size func() (int, int)) *live {
	p := &live{d: d, size: size, w: cupwriter.New(w, true)}
	p.progress = mpb.New(mpb.WithConsoleWriter(p), mpb.WithRefreshRate(refresh))
	// One bar, which never completes, has all lines.
	_, _ = p.progress.Add(0, mpb.BarFillerFunc(func(w io.Writer, _ decor.Statistics) error {
		_, err := io.WriteString(w, p.frame())
		return err
	}), mpb.BarFillerTrim())
	return p
}

// frame returns the current lines, without the last line break.
func (p *live) frame() string {
	width, height := p.size()
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	// The last column stays empty: a terminal may wrap a line of its full width.
	return strings.Join(lines(&p.d.state, time.Now(), width-1, height, p.d.look), "\n")
}

// Write adds to the next frame.
func (p *live) Write(b []byte) (int, error) { return p.next.Write(b) }

// ReadFrom adds to the next frame.
func (p *live) ReadFrom(r io.Reader) (int64, error) { return p.next.ReadFrom(r) }

// IsTerminal returns true, so that mpb paints periodically.
func (p *live) IsTerminal() bool { return true }

// GetTermSize returns the size of the terminal.
func (p *live) GetTermSize() (width, height int, err error) {
	width, height = p.size()
	return width, height, nil
}

// Flush paints the next frame. An error ends mpb.
func (p *live) Flush(int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paint(p.next.String())
	p.next.Reset()
	return p.err
}

// paint replaces the live lines by the pending permanent lines and a new frame.
func (p *live) paint(frame string) {
	p.pendingMu.Lock()
	pending := p.pending
	p.pending = nil
	p.pendingMu.Unlock()
	if p.err != nil || frame == p.shown && len(pending) == 0 {
		return
	}
	_, _ = p.w.Write(pending) // to memory
	_, _ = p.w.WriteString(frame)
	p.shown, p.err = frame, p.w.Flush(strings.Count(frame, "\n"))
	if p.err != nil {
		p.pendingMu.Lock()
		p.failed, p.pending = true, nil
		p.pendingMu.Unlock()
	}
}

// line adds a permanent line, which is written with the next frame.
func (p *live) line(text string) {
	if text == "" {
		return
	}
	p.pendingMu.Lock()
	defer p.pendingMu.Unlock()
	if !p.failed {
		p.pending = append(append(p.pending, text...), '\n')
	}
}

func (p *live) print(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paint("")
	defer func() {
		if !p.closed() {
			p.paint(p.frame() + "\n")
		}
	}()
	f()
}

func (p *live) closed() bool {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	return p.d.closed
}

func (p *live) close() {
	p.progress.Shutdown()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paint("")
}

// terminalSize returns the size of a terminal, or 80x24 if that is unknown.
func terminalSize(f *os.File) (width, height int) {
	width, height, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 1 || height < 1 {
		return 80, 24
	}
	return width, height
}
