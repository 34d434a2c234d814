package screen

import (
	"io"
	"sync"
	"time"
)

// plain writes lines that are never changed.
type plain struct {
	mu   sync.Mutex
	w    io.Writer
	err  error
	stop chan struct{}
	done sync.WaitGroup
}

func newPlain(d *Display, w io.Writer) *plain {
	p := &plain{w: w, stop: make(chan struct{})}
	p.done.Go(func() {
		ticker := time.NewTicker(period)
		defer ticker.Stop()
		for {
			select {
			case now := <-ticker.C:
				d.mu.Lock()
				text := d.state.summary(now, d.look)
				d.mu.Unlock()
				p.line(text)
			case <-p.stop:
				return
			}
		}
	})
	return p
}

func (p *plain) line(text string) {
	if text == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		_, p.err = io.WriteString(p.w, text+"\n")
	}
}

func (p *plain) print(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *plain) close() {
	close(p.stop)
	p.done.Wait()
}
