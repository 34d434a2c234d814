package screen

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// env returns a Getenv with these variables; LANG is UTF-8 unless it is one of them.
func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		if name == "LANG" {
			return "en_US.UTF-8"
		}
		return ""
	}
}

// buffer is a writer that can be read at any time.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// seen returns the permanent and the live lines that a terminal of any size shows after out.
func seen(t *testing.T, out string) string {
	t.Helper()
	up := regexp.MustCompile(`\x1b\[(\d+)A\x1b\[J`)
	for {
		at := up.FindStringSubmatchIndex(out)
		if at == nil {
			return out
		}
		before, rest := strings.SplitAfter(out[:at[0]], "\n"), out[at[1]:]
		n, _ := strconv.Atoi(out[at[2]:at[3]])
		if before[len(before)-1] != "" || len(before) <= n {
			t.Fatalf("the cursor moves up %d lines from the end of %q", n, before)
		}
		out = strings.Join(before[:len(before)-1-n], "") + rest
	}
}

func check(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\ngot:\n%s\nwant:\n%s", what, got, want)
	}
}

func TestResolve(t *testing.T) {
	for _, test := range []struct {
		name     string
		mode     Mode
		terminal bool
		env      []string
		want     Mode
	}{
		{"a terminal", Auto, true, nil, Live},
		{"empty means auto", "", true, nil, Live},
		{"a pipe", Auto, false, nil, Plain},
		{"TERM=dumb", Auto, true, []string{"TERM", "dumb"}, Plain},
		{"ACCESSIBLE", Auto, true, []string{"ACCESSIBLE", "1"}, Plain},
		{"CI", Auto, true, []string{"CI", "true"}, Plain},
		{"the flag has precedence over the environment", Live, true, []string{"TERM", "dumb", "ACCESSIBLE", "1", "CI", "1"}, Live},
		{"live into a pipe", Live, false, nil, Live},
		{"plain on a terminal", Plain, true, nil, Plain},
		{"none", None, true, nil, None},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.mode.resolve(test.terminal, env(test.env...)); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestNewLook(t *testing.T) {
	for _, test := range []struct {
		name string
		goos string
		env  []string
		want look
	}{
		{"UTF-8", "linux", nil, look{color: true}},
		{"no locale", "linux", []string{"LANG", ""}, look{ascii: true, color: true}},
		{"LC_CTYPE has precedence over LANG", "linux", []string{"LC_CTYPE", "C"}, look{ascii: true, color: true}},
		{"LC_ALL has precedence over LC_CTYPE", "linux", []string{"LC_ALL", "C.utf8", "LC_CTYPE", "C"}, look{color: true}},
		{"NO_COLOR", "linux", []string{"NO_COLOR", "1"}, look{}},
		{"a dumb terminal", "linux", []string{"TERM", "dumb"}, look{}},
		{"Japanese", "linux", []string{"LANG", "ja_JP.UTF-8"}, look{color: true, wide: true}},
		{"Windows", "windows", []string{"LANG", ""}, look{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := newLook(test.goos, env(test.env...)); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestNilDoesNothing(t *testing.T) {
	var out buffer
	d := New(Options{Mode: None, Out: &out})
	if d != nil {
		t.Error("None has a display")
	}
	printed := false
	d.Total(1)
	d.Start("a")
	d.Wait("a", "id", time.Time{})
	d.Poll("id", 1, time.Time{})
	d.Save("id")
	d.Pause("rate limit", time.Now().Add(time.Hour))
	d.End("a", "saved", true)
	d.Print(func() { printed = true })
	d.Close()
	check(t, "standard error", out.String(), "")
	if !printed {
		t.Error("Print did not run its function")
	}
}

func TestPlain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out buffer
		d := New(Options{Out: &out, Getenv: env()})
		d.Total(3)
		d.Start("a.md")
		d.Start("b.md")
		time.Sleep(2 * time.Second)
		d.Wait("a.md", "idA", time.Now())
		d.Pause("rate limit", time.Now().Add(10*time.Second)) // too short for a line
		time.Sleep(9 * time.Second)
		d.Wait("b.md", "idB", time.Time{})
		d.Poll("idA", 2, time.Now().Add(20*time.Second))
		d.Poll("unknown", 2, time.Now())
		d.Pause("the server is down", time.Now().Add(45*time.Second))
		d.Pause("the server is down", time.Now().Add(50*time.Second))
		time.Sleep(9 * time.Second)
		d.Save("idA")
		d.End("a.md", "a.md: saved a.pdf", true)
		d.End("no-start.md", "no-start.md: skipped", true)
		time.Sleep(11 * time.Second)
		d.Pause("", time.Time{})
		d.Print(func() { fmt.Fprintln(&out, "b.md failed") })
		d.End("b.md", "", false)
		time.Sleep(30 * time.Second)
		d.Start("c.md")
		d.Close()
		d.Close()
		d.End("c.md", "c.md: too late", true)
		end := time.Date(2000, 1, 1, 0, 0, 56, 0, time.UTC).In(time.Now().Location())
		clock := func(d time.Duration) string { return end.Add(d).Format("15:04:05") }
		check(t, "standard error", out.String(), strings.NewReplacer("TIME+5", clock(5*time.Second), "TIME", clock(0)).Replace(`pausing until TIME (45s): the server is down
done: a.md: saved a.pdf (18s)
done: no-start.md: skipped
30s: 2/3: creating 0, waiting 1, saving 0, done 2, failed 0; pausing until TIME+5 (31s): the server is down; slowest b.md, 30s, 0 polls
b.md failed
1m00s: 3/3: creating 0, waiting 0, saving 0, done 2, failed 1
`))
	})
}

func TestLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out buffer
		d := New(Options{Mode: Live, Out: &out, Getenv: env("NO_COLOR", "1")})
		settle := func() string {
			time.Sleep(refresh + time.Millisecond)
			synctest.Wait()
			return seen(t, out.String())
		}
		d.Total(2)
		d.Start("a.md")
		d.Start("b.md")
		d.Wait("b.md", "idB", time.Now().Add(-time.Minute))
		check(t, "before the first frame", seen(t, out.String()), "")
		check(t, "the first frame", settle(), `░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░  0/2  0%  1s
creating 1, waiting 1, saving 0, done 0, failed 0
b.md  1m01s, 0 polls
a.md  1s, creating
`)
		frames := out.String()
		if settle(); out.String() != frames {
			t.Error("a frame was painted that is equal to the last")
		}
		d.Save("idB")
		d.End("b.md", "b.md: saved b.pdf", true)
		check(t, "after an end", settle(), `done: b.md: saved b.pdf (1m01s)
████████████████████░░░░░░░░░░░░░░░░░░░░  1/2  50%  1s
creating 1, waiting 0, saving 0, done 1, failed 0
a.md  1s, creating
`)
		d.End("a.md", "a.md: the key has no credits\x1b[2J", false)
		d.Print(func() {
			check(t, "while Print runs", seen(t, out.String()), `done: b.md: saved b.pdf (1m01s)
failed: a.md: the key has no credits\x1b[2J (1s)
`)
			fmt.Fprintln(&out, "a result")
		})
		check(t, "after Print", seen(t, out.String()), `done: b.md: saved b.pdf (1m01s)
failed: a.md: the key has no credits\x1b[2J (1s)
a result
████████████████████████████████████████  2/2  100%  1s
creating 0, waiting 0, saving 0, done 1, failed 1
`)
		d.Close()
		d.Close()
		d.Start("c.md")
		d.Print(func() { fmt.Fprintln(&out, "after Close") })
		check(t, "at the end", settle(), `done: b.md: saved b.pdf (1m01s)
failed: a.md: the key has no credits\x1b[2J (1s)
a result
after Close
`)
		if strings.Contains(out.String(), "\x1b[?") {
			t.Error("a mode of the terminal was changed, such as the cursor being hidden")
		}
	})
}

// A panic in the function of Print is propagated. The display works after it.
func TestPrintPanics(t *testing.T) {
	for _, mode := range []Mode{Live, Plain} {
		t.Run(string(mode), func(t *testing.T) {
			var out buffer
			d := New(Options{Mode: mode, Out: &out, Getenv: env()})
			func() {
				defer func() { recover() }()
				d.Print(func() { panic("in Print") })
			}()
			d.End("a.md", "a.md", true)
			d.Close()
			check(t, "standard error", seen(t, out.String()), "done: a.md\n")
		})
	}
}

// broken is a writer that fails after a number of writes.
type broken struct{ capacity, after int }

func (b *broken) Write(p []byte) (int, error) {
	if b.capacity--; b.capacity < 0 {
		b.after++
		return 0, errors.New("broken")
	}
	return len(p), nil
}

func TestBrokenOutput(t *testing.T) {
	closed, err := os.Create(t.TempDir() + "/closed")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for _, mode := range []Mode{Live, Plain} {
		for _, test := range []struct {
			name string
			w    io.Writer
		}{
			{"fails at once", &broken{}},
			{"fails later", &broken{capacity: 2}},
			{"is closed", closed},
		} {
			t.Run(string(mode)+" "+test.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					d := New(Options{Mode: mode, Out: test.w, Getenv: env()})
					printed := 0
					for i := range 100 {
						name := strconv.Itoa(i)
						d.Start(name)
						d.Wait(name, name, time.Now())
						time.Sleep(refresh)
						d.End(name, name+" saved", true)
						d.Print(func() { printed++ })
					}
					time.Sleep(2 * period)
					d.Close()
					if printed != 100 {
						t.Errorf("Print ran %d of 100 functions", printed)
					}
					if b, ok := test.w.(*broken); ok && b.after != 1 {
						t.Errorf("%d writes after the output broke, want 1", b.after)
					}
				})
			})
		}
	}
}

// All methods may be called concurrently. The counts are right at the end.
func TestConcurrentUse(t *testing.T) {
	const workers, each = 8, 200
	for _, mode := range []Mode{Live, Plain} {
		t.Run(string(mode), func(t *testing.T) {
			var out buffer
			d := New(Options{Mode: mode, Out: &out, Getenv: env()})
			d.Total(workers * each)
			var results int
			var wg sync.WaitGroup
			for w := range workers {
				wg.Go(func() {
					for i := range each {
						name := fmt.Sprintf("%d-%d", w, i)
						d.Start(name)
						d.Wait(name, "id"+name, time.Now())
						d.Pause("rate limit", time.Now().Add(time.Millisecond))
						d.Poll("id"+name, 1, time.Now())
						d.Save("id" + name)
						d.End(name, name+" saved", i%2 == 0)
						d.Print(func() { results++ })
					}
				})
			}
			wg.Wait()
			d.mu.Lock()
			if n := len(d.names) + len(d.ids) + len(d.state.open); n != 0 || d.state.counts != [steps]int{} {
				t.Errorf("not forgotten: %d, %v", n, d.state.counts)
			}
			d.mu.Unlock()
			d.Close()
			text := seen(t, out.String())
			if results != workers*each {
				t.Errorf("Print ran %d functions", results)
			}
			if n := strings.Count(text, "done: ") + strings.Count(text, "failed: "); n != workers*each {
				t.Errorf("%d permanent lines, want %d", n, workers*each)
			}
		})
	}
}

func TestOldestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(Options{Mode: Plain, Out: io.Discard, Getenv: env()})
		defer d.Close()
		now := time.Now()
		order := func() (names string) {
			for _, j := range d.state.open {
				names += j.name
			}
			return names
		}
		d.Start("a")
		d.Start("b")
		d.Start("a") // sent again
		d.Wait("c", "idC", now.Add(-time.Minute))
		d.Wait("d", "idD", now.Add(-2*time.Minute))
		d.Wait("c", "idC", now.Add(-time.Minute))
		check(t, "order", order(), "dcab")
		d.Wait("b", "idB", now.Add(-time.Hour))
		check(t, "order after a resume", order(), "bdca")
		d.End("d", "", true)
		d.End("d", "", true)
		check(t, "order after an end", order(), "bca")
		if want := [steps]int{creating: 1, waiting: 2}; d.state.counts != want {
			t.Errorf("counts %v, want %v", d.state.counts, want)
		}
	})
}

// An update and a frame, with 100,000 waiting generations.
func BenchmarkDisplay(b *testing.B) {
	const n = 100_000
	open := func() *Display {
		d := New(Options{Mode: Live, Out: io.Discard, Getenv: env()})
		b.Cleanup(d.Close)
		for i := range n {
			d.Wait(strconv.Itoa(i), strconv.Itoa(i), time.Now())
		}
		return d
	}
	b.Run("frame", func(b *testing.B) {
		d := open()
		b.ReportAllocs()
		for b.Loop() {
			d.out.(*live).frame()
		}
	})
	b.Run("Poll", func(b *testing.B) {
		d := open()
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			d.Poll(strconv.Itoa(i%n), i, time.Time{})
			i++
		}
	})
	b.Run("End of the oldest and Wait", func(b *testing.B) {
		d := open()
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			d.End(strconv.Itoa(i), "", true)
			d.Wait(strconv.Itoa(i+n), strconv.Itoa(i+n), time.Now())
			i++
		}
	})
	b.Run("Print", func(b *testing.B) {
		d := open()
		b.ReportAllocs()
		for b.Loop() {
			d.Print(func() {})
		}
	})
}
