//go:build linux || darwin

package command

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"

	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/gammatest"
)

// session is a command in a pseudo-terminal.
type session struct {
	t           *testing.T
	cmd         *exec.Cmd
	master, tty *os.File
	vt          *vt.Emulator
	raw         []byte // all that was received
	read        int    // of raw, by vt
	frames      int    // that were compared
	resized     int    // frames until the first that was made for the new size
	late        bool   // a frame was made for the old size and shown in the new one
}

// live matches the lines that are painted in place; the first of them has the bar.
var (
	bar  = regexp.MustCompile(`^[█░]* *\d+/200  \d+%`)
	live = regexp.MustCompile(`^[█░]* *\d+/200  |^creating \d|^pausing |^\d+ open, |, \d+ polls?(, next .*)?$|, creating$|, saving$|^and \d+ more$`)
)

// erase is the start of every frame except the first: it moves the cursor up to the first live
// line, and erases the lines below.
var erase = regexp.MustCompile(`\x1b\[(\d+)A\x1b\[J`)

func startSession(t *testing.T, width, height int, cmd *exec.Cmd) *session {
	t.Helper()
	master, tty, err := pty.Open()
	if err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	t.Cleanup(func() { master.Close(); tty.Close() })
	s := &session{t: t, cmd: cmd, master: master, tty: tty, vt: vt.NewEmulator(width, height)}
	s.setSize(width, height)
	cmd.Env = append(cmd.Env, "TERM=xterm-256color", "LC_ALL=C.UTF-8", "CI=", "ACCESSIBLE=", "NO_COLOR=")
	cmd.Stdout, cmd.Stderr = tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 1} // standard output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return s
}

func (s *session) setSize(width, height int) {
	s.t.Helper()
	if err := pty.Setsize(s.tty, &pty.Winsize{Cols: uint16(width), Rows: uint16(height)}); err != nil {
		s.t.Fatal(err)
	}
}

// until receives until done returns true.
func (s *session) until(what string, done func() bool) {
	s.t.Helper()
	buf := make([]byte, 4096)
	for !done() {
		n, err := s.master.Read(buf)
		if err != nil {
			s.t.Fatalf("no %s in %q: %v", what, s.raw, err)
		}
		s.raw = append(s.raw, buf[:n]...)
		s.show(false)
	}
}

// show passes what was received to the emulator, and compares the screen before each frame,
// when the last frame is complete. Until everything is received, it stops at the start of the
// last frame, which may not be complete.
func (s *session) show(all bool) {
	s.t.Helper()
	for {
		at := erase.FindSubmatchIndex(s.raw[s.read:])
		if at == nil {
			break
		}
		s.vt.Write(s.raw[s.read : s.read+at[0]])
		n, _ := strconv.Atoi(string(s.raw[s.read+at[2] : s.read+at[3]]))
		s.frame(n)
		s.vt.Write(s.raw[s.read+at[0] : s.read+at[1]])
		s.read += at[1]
	}
	if all {
		s.vt.Write(s.raw[s.read:])
		s.read = len(s.raw)
	}
}

// frame compares a frame of n live lines.
func (s *session) frame(n int) {
	s.t.Helper()
	switch err := s.compare(n); {
	case s.late:
	case s.resized == 2: // the last frame of the old size, cut by the emulator
		s.resized--
	case s.resized == 1 && err != nil:
		// A command cannot learn of a change between asking for the size and painting.
		s.late = true
	case err != nil:
		s.t.Fatal(err)
	default:
		s.resized = 0
		s.frames++
	}
}

// compare returns an error unless the screen has exactly n live lines, above the cursor.
func (s *session) compare(n int) error {
	rows, cursor := s.rows(), s.vt.CursorPosition()
	top := cursor.Y - n
	if n < 1 || n > 9 || cursor.X != 0 || top < 0 {
		return fmt.Errorf("%d live lines above the cursor at %v:\n%s", n, cursor, strings.Join(rows, "\n"))
	}
	for y, row := range rows {
		var ok bool
		switch {
		case y < top:
			ok = !live.MatchString(row)
		case y == top:
			ok = bar.MatchString(row)
		case y < cursor.Y:
			ok = live.MatchString(row) && !bar.MatchString(row)
		default:
			ok = row == ""
		}
		if !ok {
			return fmt.Errorf("frame %d with %d lines: line %d:\n%s", s.frames, n, y, strings.Join(rows, "\n"))
		}
	}
	return nil
}

// rows returns the lines on the screen.
func (s *session) rows() []string {
	rows := make([]string, s.vt.Height())
	for y := range rows {
		var b strings.Builder
		for x := range s.vt.Width() {
			if cell := s.vt.CellAt(x, y); cell != nil {
				b.WriteString(cell.Content)
			}
		}
		rows[y] = strings.TrimRight(b.String(), " ")
	}
	return rows
}

// all returns the lines in the scrollback and on the screen.
func (s *session) all() []string {
	var lines []string
	for _, line := range s.vt.Scrollback().Lines() {
		var b strings.Builder
		for _, cell := range line {
			b.WriteString(cell.Content)
		}
		lines = append(lines, strings.TrimRight(b.String(), " "))
	}
	return append(lines, s.rows()...)
}

// stopped runs f while the command is stopped, after all of its output was received.
func (s *session) stopped(f func()) {
	s.t.Helper()
	pid := s.cmd.Process.Pid
	var status syscall.WaitStatus
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		s.t.Fatal(err)
	}
	s.drain(func() error {
		_, err := syscall.Wait4(pid, &status, syscall.WUNTRACED, nil)
		return err
	})
	if !status.Stopped() {
		s.t.Fatalf("the command has ended: %v", status)
	}
	f()
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		s.t.Fatal(err)
	}
}

// mark is the end of a drain, a sequence that terminals ignore.
var mark = []byte("\x1b]777;mark\x07")

// drain receives all that was written to the terminal before written returned.
func (s *session) drain(written func() error) {
	s.t.Helper()
	result := make(chan error, 1)
	go func() { // the terminal may be full
		err := written()
		_, failed := s.tty.Write(mark)
		result <- errors.Join(err, failed)
	}()
	s.until("mark", func() bool { return bytes.HasSuffix(s.raw, mark) })
	if err := <-result; err != nil {
		s.t.Fatal(err)
	}
	s.raw = bytes.TrimSuffix(s.raw, mark)
	s.show(true)
}

// resize changes the size of the terminal. It moves the lines above the live lines to the
// scrollback first, because a terminal keeps them, and the emulator does not.
func (s *session) resize(width, height int) {
	s.t.Helper()
	s.stopped(func() {
		top := slices.IndexFunc(s.rows(), bar.MatchString)
		if top > 0 {
			y := s.vt.CursorPosition().Y
			s.vt.WriteString("\x1b[" + strconv.Itoa(s.vt.Height()) + ";1H" + strings.Repeat("\n", top) +
				"\x1b[" + strconv.Itoa(y-top+1) + ";1H")
		}
		s.vt.Resize(width, height)
		s.setSize(width, height)
		s.resized = 2
	})
}

// ended returns the number of generations that have ended, from the last bar.
func (s *session) ended() int {
	end := bytes.LastIndex(s.raw, []byte("/200  "))
	start := end
	for start > 0 && s.raw[start-1] >= '0' && s.raw[start-1] <= '9' {
		start--
	}
	if start < 0 {
		return 0
	}
	n, _ := strconv.Atoi(string(s.raw[start:end]))
	return n
}

// cursorVisible checks that the cursor was never hidden.
func (s *session) cursorVisible() {
	s.t.Helper()
	if s.vt.CursorHidden() || bytes.Contains(s.raw, []byte("\x1b[?")) {
		s.t.Errorf("the cursor is or was hidden, or another mode of the terminal was changed: %q", s.raw)
	}
}

// life returns the steps of the i-th generation: one of ten fails.
func life(i int) []gammatest.Step {
	switch i % 10 {
	case 1:
		return []gammatest.Step{gammatest.Pending(1), gammatest.Completed("")}
	case 3:
		return []gammatest.Step{gammatest.Failed(422, "Failed to generate text.")}
	case 7:
		return []gammatest.Step{gammatest.Status(503), gammatest.Completed("")}
	}
	return []gammatest.Step{gammatest.Completed("")}
}

func terminalCommand(fake *gammatest.Server, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(bin, "gamma"), args...)
	cmd.Env = append(os.Environ(), "GAMMA_BASE_URL="+fake.URL, "GAMMA_API_KEY="+gammatest.Key)
	return cmd
}

// createCommand returns a command that creates 200 generations.
func createCommand(t *testing.T) *exec.Cmd {
	t.Helper()
	fake, dir := gammatest.NewServer(t), t.TempDir()
	fake.OnCreate(func(r api.GenerationRequest) []gammatest.Step {
		i, _ := strconv.Atoi(r.InputText)
		return life(i)
	})
	// The emulator loses a wide character that does not fit at the end of a line; these do.
	args := append([]string{"create", "--dir", "decks"}, numbered(t, dir, "漢字-%03d.md")...)
	cmd := terminalCommand(fake, args...)
	cmd.Dir = dir
	return cmd
}

// numbered writes 200 texts, each its own number, to files of dir, and returns their names.
func numbered(t *testing.T, dir, format string) (names []string) {
	t.Helper()
	for i := range 200 {
		name := fmt.Sprintf(format, i)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strconv.Itoa(i)), 0o600); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}

// waitCommand returns a command that waits for 200 generations.
func waitCommand(t *testing.T) *exec.Cmd {
	t.Helper()
	fake := gammatest.NewServer(t)
	var input strings.Builder
	for i := range 200 {
		id := fmt.Sprintf("id%03d", i)
		fake.Add(id, life(i)...)
		fmt.Fprintf(&input, `{"generationId":%q,"input":"漢字-%03d.md"}`+"\n", id, i)
	}
	cmd := terminalCommand(fake, "wait", "-")
	cmd.Stdin = strings.NewReader(input.String())
	return cmd
}

// At the end the terminal has only the permanent lines, in the order in which they were
// written.
func TestTerminal(t *testing.T) {
	for name, command := range map[string]func(t *testing.T) *exec.Cmd{"create": createCommand, "wait": waitCommand} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 3 {
				if testTerminal(t, command(t)) {
					return
				}
				t.Log("a frame was made just before a resize")
			}
			t.Fatal("frames do not fit after a resize")
		})
	}
}

// testTerminal returns false if a frame was too late to compare.
func testTerminal(t *testing.T, cmd *exec.Cmd) bool {
	t.Helper()
	s := startSession(t, 80, 24, cmd)
	s.until("a quarter", func() bool { return s.ended() >= 50 })
	s.resize(50, 12)
	s.until("half", func() bool { return s.ended() >= 100 })
	s.resize(80, 24)
	if s.late {
		return false
	}
	s.drain(func() error {
		_ = cmd.Wait()
		return nil
	})
	if code := cmd.ProcessState.ExitCode(); code != 3 { // some have failed
		t.Errorf("exit code %d, want 3", code)
	}
	s.cursorVisible()
	if pos := s.vt.CursorPosition(); pos.X != 0 {
		t.Errorf("the cursor is at %v, not at the start of a line", pos)
	}
	if s.frames < 100 {
		t.Errorf("%d frames were compared", s.frames)
	}

	permanent := regexp.MustCompile(`(?m)^(\w+\tcompleted\t.*|gamma: .*)\r$`)
	var want []string
	ended := 0
	for _, line := range permanent.FindAllStringSubmatch(erase.ReplaceAllString(string(s.raw), ""), -1) {
		want = append(want, line[1])
		if strings.Contains(line[1], "漢字-") {
			ended++
		}
	}
	if ended != 200 {
		t.Errorf("%d permanent lines about generations, want 200", ended)
	}
	// Some lines were wrapped.
	dense := func(lines []string) string { return strings.Join(strings.Fields(strings.Join(lines, "")), "") }
	if got := s.all(); dense(got) != dense(want) {
		t.Errorf("the terminal has:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	return true
}

func TestTerminalAfterKill(t *testing.T) {
	t.Parallel()
	s := startSession(t, 80, 24, createCommand(t))
	s.until("a few frames", func() bool { return s.frames >= 3 })
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	s.drain(func() error {
		_ = s.cmd.Wait()
		return nil
	})
	s.cursorVisible()
}
