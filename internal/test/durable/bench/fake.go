package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// fake is a fake of the API over HTTP/1.1 that uses little CPU time and sends no rate-limit
// headers. It has the generations 0 to len(last)-1.
type fake struct {
	finished atomic.Int64 // generations below this number have completed
	exports  atomic.Bool  // they have an export

	last  []atomic.Int64 // when each was last polled, in nanoseconds since 1970
	seen  []atomic.Int64 // the mark at the last poll of each
	mark  atomic.Int64
	fresh atomic.Int64 // generations polled since the mark

	polls     atomic.Int64
	intervals atomic.Int64 // between two polls of a generation
	sum       atomic.Int64 // of the intervals, in nanoseconds
}

func newFake(generations int) *fake {
	f := &fake{last: make([]atomic.Int64, generations), seen: make([]atomic.Int64, generations)}
	f.exports.Store(true)
	return f
}

// generationID returns the id of a generation, as long as those of nanoid.
func generationID(n int) string { return fmt.Sprintf("gen%018d", n) }

// reset starts counting again.
func (f *fake) reset() {
	f.mark.Add(1)
	for _, n := range []*atomic.Int64{&f.fresh, &f.polls, &f.intervals, &f.sum} {
		n.Store(0)
	}
}

// forget also discards when each generation was last polled.
func (f *fake) forget() {
	for i := range f.last {
		f.last[i].Store(0)
	}
	f.reset()
}

func (f *fake) interval() time.Duration {
	return time.Duration(f.sum.Load() / max(f.intervals.Load(), 1))
}

// door is an address of the fake. Each process has another one, so the fake knows who polls.
type door struct {
	fake  *fake
	l     net.Listener
	first atomic.Int64 // time of the first poll since it was set to 0, in nanoseconds since 1970
	gate  sync.RWMutex // locked after vanish
}

func (f *fake) open(ctx context.Context) (*door, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	d := &door{fake: f, l: l}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go d.serve(conn)
		}
	}()
	return d, nil
}

func (d *door) url() string { return "http://" + d.l.Addr().String() }

func (d *door) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	r := bufio.NewReader(conn)
	var out bytes.Buffer
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		_, path, _ := strings.Cut(line, "/generations/gen")
		number, _, _ := strings.Cut(path, " ")
		for blank := false; !blank; {
			header, err := r.ReadSlice('\n')
			if err != nil {
				return
			}
			blank = len(header) <= 2
		}
		d.gate.RLock()
		n, err := strconv.Atoi(number)
		status := 200
		if err != nil || n >= len(d.fake.last) {
			status = 404
		} else {
			d.count(n)
		}
		out.Reset()
		body := d.fake.body(n, status)
		fmt.Fprintf(&out, "HTTP/1.1 %d .\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
		_, err = conn.Write(out.Bytes())
		d.gate.RUnlock()
		if err != nil {
			return
		}
	}
}

func (d *door) count(n int) {
	f, now := d.fake, time.Now().UnixNano()
	d.first.CompareAndSwap(0, now)
	f.polls.Add(1)
	if last := f.last[n].Swap(now); last != 0 {
		f.intervals.Add(1)
		f.sum.Add(now - last)
	}
	if mark := f.mark.Load(); f.seen[n].Swap(mark) != mark {
		f.fresh.Add(1)
	}
}

func (f *fake) body(n, status int) string {
	switch {
	case status != 200:
		return `{"message":"Generation ID not found.","statusCode":404}`
	case int64(n) >= f.finished.Load():
		return `{"generationId":"` + generationID(n) + `","status":"pending"}`
	}
	s := `{"generationId":"` + generationID(n) + `","status":"completed",` +
		`"gammaUrl":"https://gamma.app/docs/4k2m9x7qh1s8d3f","credits":{"deducted":15,"remaining":2985}`
	if !f.exports.Load() {
		return s + "}"
	}
	return s + `,"gammaId":"g_4k2m9x7qh1s8d3f",` +
		`"exportUrl":"https://assets.api.gamma.app/export/pdf/4k2m9x7qh1s8d3f/0f343b0931126a20f133d67c2b018a3b/A-short-history-of-tea.pdf"}`
}

// vanish stops responding, and closes nothing.
func (d *door) vanish() { d.gate.Lock() }
