package postgres

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestMain lets this program be a process that starts a server and is killed.
func TestMain(m *testing.M) {
	if os.Getenv("GAMMA_TEST_START") == "" {
		os.Exit(m.Run())
	}
	s, err := Start()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for in := bufio.NewScanner(os.Stdin); ; {
		fmt.Println(s.port, s.PID())
		if !in.Scan() {
			return // without Stop
		}
		if err := s.Restart(in.Text()); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
}

func start(t *testing.T, settings ...string) *Server {
	t.Helper()
	s, err := Start(settings...)
	Skip(t, err)
	t.Cleanup(s.Stop)
	return s
}

// wait waits until what returns true.
func wait(t *testing.T, text string, what func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !what(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after 30 seconds still not: %s", text)
		}
	}
}

// accepts reports whether a PostgreSQL at the port accepts the user postgres.
func accepts(port int) bool {
	conn, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), 5*time.Second)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	// StartupMessage: length, version 3.0, parameters. The response is AuthenticationOk.
	if _, err := conn.Write([]byte("\x00\x00\x00\x17\x00\x03\x00\x00user\x00postgres\x00\x00")); err != nil {
		return false
	}
	ok := make([]byte, 9)
	_, err = io.ReadFull(conn, ok)
	return err == nil && bytes.Equal(ok, []byte("R\x00\x00\x00\x08\x00\x00\x00\x00"))
}

func TestServer(t *testing.T) {
	t.Parallel()
	s := start(t, "max_connections=7", "application_name=it's")
	if want := fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", s.port); s.URL() != want {
		t.Errorf("URL is %s, want %s", s.URL(), want)
	}
	pid := s.PID()
	if pid <= 0 || !accepts(s.port) {
		t.Fatalf("after Start: PID %d, accepts connections: %v", pid, accepts(s.port))
	}
	if name := filepath.Join(s.dir, ".s.PGSQL."+strconv.Itoa(s.port)); len(name) > 103 {
		t.Errorf("the name of the socket is too long for macOS: %s", name)
	} else if _, err := os.Stat(name); err != nil {
		t.Error(err)
	}
	for _, mode := range []string{"fast", "immediate"} {
		if err := s.Restart(mode); err != nil {
			t.Fatal(err)
		}
		if again := s.PID(); again == pid || !accepts(s.port) {
			t.Errorf("after Restart(%q): PID %d, was %d, accepts connections: %v", mode, again, pid, accepts(s.port))
		}
		pid = s.PID()
	}
	if err := s.Restart("smart"); err == nil {
		t.Error("Restart accepts a mode that waits for clients")
	}
	s.Stop()
	s.Stop()
	if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) || accepts(s.port) || s.PID() != 0 {
		t.Errorf("after Stop: the folder: %v; accepts connections: %v; PID %d", err, accepts(s.port), s.PID())
	}
	if err := s.Restart("fast"); err == nil {
		t.Error("Restart after Stop returns no error")
	}
}

func TestWrongSetting(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{"no value", "two=lines\nport=1", "no_such_setting=1"} {
		s, err := Start(setting)
		if errors.Is(err, ErrNotInstalled) {
			Skip(t, err)
		}
		if err == nil {
			s.Stop()
			t.Errorf("%q is accepted", setting)
		} else if text := err.Error(); !strings.HasPrefix(text, "gamma: PostgreSQL: ") || strings.Contains(text, "\n") {
			t.Errorf("%q: %s", setting, text)
		}
	}
}

func TestGoneWithItsProcess(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		restarts []string
		end      func(*exec.Cmd) error
		early    bool // ends while Start is running
	}{
		{name: "killed", end: kill},
		{name: "killed after restarts", restarts: []string{"fast", "immediate"}, end: kill},
		{name: "killed while it starts", end: kill, early: true},
		{name: "Ctrl-C", end: interrupt},
		{name: "Ctrl-C while it starts", end: interrupt, early: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := programs("/usr/lib/postgresql"); err != nil {
				Skip(t, err)
			}
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "GAMMA_TEST_START=1")
			ownGroup(cmd)
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var port, pid int
			line := func() {
				t.Helper()
				if _, err := fmt.Fscanln(out, &port, &pid); err != nil {
					t.Fatal(err)
				}
			}
			folders := func() []string {
				dirs, _ := filepath.Glob(fmt.Sprintf("/tmp/gamma-postgres-%d-*", cmd.Process.Pid))
				return dirs
			}
			if test.early {
				wait(t, "a folder", func() bool { return folders() != nil })
			} else {
				line()
				if !accepts(port) || !alive(pid) || len(folders()) != 1 {
					t.Fatalf("port %d, PID %d, folders %v", port, pid, folders())
				}
			}
			for _, mode := range test.restarts {
				if _, err := io.WriteString(in, mode+"\n"); err != nil {
					t.Fatal(err)
				}
				line()
			}
			if err := test.end(cmd); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			wait(t, "no folder", func() bool { return folders() == nil })
			if !test.early {
				wait(t, "no postmaster", func() bool { return !alive(pid) })
			}
		})
	}
}

func TestPrograms(t *testing.T) {
	all := []string{"initdb", "pg_ctl", "postgres"}
	for _, test := range []struct {
		name  string
		files map[string][]string // programs in each folder
		link  string              // of bin/initdb, if not empty
		want  string              // the folder, "" for ErrNotInstalled
	}{
		{name: "nothing"},
		{name: "on PATH", files: map[string][]string{"bin": all, "debian/17/bin": all}, want: "bin"},
		{name: "a link on PATH", files: map[string][]string{"bin": nil, "opt/15/bin": all}, link: "opt/15/bin/initdb", want: "opt/15/bin"},
		{name: "initdb alone on PATH", files: map[string][]string{"bin": all[:1], "debian/15/bin": all}, want: "debian/15/bin"},
		{name: "the newest of Debian", files: map[string][]string{"debian/9/bin": all, "debian/15/bin": all, "debian/x/bin": all}, want: "debian/15/bin"},
		{name: "the newest of Debian without a server", files: map[string][]string{"debian/15/bin": all, "debian/17/bin": {"pg_ctl"}}, want: "debian/15/bin"},
	} {
		t.Run(test.name, func(t *testing.T) {
			root, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			for dir, names := range test.files {
				if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
					t.Fatal(err)
				}
				for _, name := range names {
					if err := os.WriteFile(filepath.Join(root, dir, name), nil, 0o755); err != nil {
						t.Fatal(err)
					}
				}
			}
			if test.link != "" {
				if err := os.Symlink(filepath.Join(root, test.link), filepath.Join(root, "bin", "initdb")); err != nil {
					t.Skip(err)
				}
			}
			t.Setenv("PATH", filepath.Join(root, "bin"))
			got, err := programs(filepath.Join(root, "debian"))
			switch {
			case test.want == "" && !errors.Is(err, ErrNotInstalled):
				t.Errorf("got %s, %v", got, err)
			case test.want != "" && (err != nil || got != filepath.Join(root, test.want)):
				t.Errorf("got %s, %v; want %s", got, err, test.want)
			}
		})
	}
}

// recorder is a test that only records how it ends.
type recorder struct {
	testing.TB
	end string
}

func (r *recorder) Helper()      {}
func (r *recorder) Skip(...any)  { r.end = "skipped" }
func (r *recorder) Fatal(...any) { r.end = "failed" }

func TestSkip(t *testing.T) {
	for _, test := range []struct {
		name string
		ci   string
		err  error
		want string
	}{
		{"no error", "", nil, ""},
		{"not installed", "", ErrNotInstalled, "skipped"},
		{"not installed, wrapped", "", fmt.Errorf("%w for root", ErrNotInstalled), "skipped"},
		{"not installed in CI", "true", ErrNotInstalled, "failed"},
		{"another error", "", io.EOF, "failed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("CI", test.ci)
			r := &recorder{TB: t}
			Skip(r, test.err)
			if r.end != test.want {
				t.Errorf("the test is %q, want %q", r.end, test.want)
			}
		})
	}
}
