// Package postgres starts a private PostgreSQL for tests, demos and benchmarks.
package postgres

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// ErrNotInstalled is returned by [Start] where there is no PostgreSQL that it could run.
var ErrNotInstalled = errors.New("gamma: PostgreSQL is not installed: apt-get install postgresql (Debian), or brew install postgresql@17 (macOS) and add its bin folder to PATH")

// Server is a running PostgreSQL. Its methods are safe for concurrent use.
type Server struct {
	dir  string
	port int

	mu         sync.Mutex // one command at a time
	supervisor *exec.Cmd
	commands   io.WriteCloser
	replies    *bufio.Reader
	stop       sync.Once
}

// supervise runs everything, one command after another, so that nothing else is running
// when its input ends: that is, when Stop is called or the process that holds the other
// end of the pipe has ended, however it did. Its arguments are the id of that process and
// the folder of the programs. It ignores signals because a Ctrl-C is for that process, and
// SIGPIPE comes if that process ends before it has read a reply.
const supervise = `
trap '' HUP INT PIPE TERM
PATH=$2:$PATH
dir=$(mktemp -d "/tmp/gamma-postgres-$1-XXXXXX") || exit
cd "$dir"
echo "$dir"
while read -r command mode; do
	case $command in
	initdb) initdb -D data -U postgres --auth=trust -E UTF8 --locale=C --no-sync ;;
	start) pg_ctl -D data -l log -w start ;;
	restart) pg_ctl -D data -l log -w -m "$mode" restart ;;
	esac </dev/null >>log 2>&1
	echo $?
done
pg_ctl -D data -m immediate stop >>log 2>&1
cd /
for i in 1 2 3 4 5; do
	rm -rf "$dir" 2>/dev/null && break
	sleep 1
done
`

// Start makes a new database cluster in a temporary folder and starts it: a private port
// on 127.0.0.1 with trust authentication, and a private socket folder. It is gone after
// Stop, and also when this process ends in any way, SIGKILL included. Settings are those
// of postgresql.conf, such as "max_connections=200". The programs are those on PATH, or
// the newest in Debian's folders; for root they run as the user postgres. The error
// matches [ErrNotInstalled] where there is no PostgreSQL.
func Start(settings ...string) (*Server, error) {
	bin, err := programs("/usr/lib/postgresql")
	if err != nil {
		return nil, err
	}
	attr, err := attributes()
	if err != nil {
		return nil, err
	}
	s := &Server{supervisor: exec.Command("sh", "-c", supervise, "sh", strconv.Itoa(os.Getpid()), bin)} //nolint:gosec,noctx // it must outlive any context; the folder is an argument of the script, not a part of it
	s.supervisor.Dir = "/"
	s.supervisor.Env = append(os.Environ(), "LC_ALL=C")
	s.supervisor.SysProcAttr = attr
	if s.commands, err = s.supervisor.StdinPipe(); err != nil {
		return nil, fmt.Errorf("gamma: PostgreSQL: %w", err)
	}
	out, err := s.supervisor.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("gamma: PostgreSQL: %w", err)
	}
	s.replies = bufio.NewReader(out)
	if err := s.supervisor.Start(); err != nil {
		return nil, fmt.Errorf("gamma: PostgreSQL: %w", err)
	}
	if err := s.start(settings); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

func (s *Server) start(settings []string) error {
	dir, err := s.replies.ReadString('\n')
	if err != nil {
		return fmt.Errorf("gamma: PostgreSQL: no temporary folder: %w", err)
	}
	s.dir = strings.TrimSuffix(dir, "\n")
	if err := s.run("initdb"); err != nil {
		return err
	}
	settings = append([]string{"listen_addresses=127.0.0.1", "unix_socket_directories=" + s.dir}, settings...)
	for try := range 3 {
		if s.port, err = freePort(); err != nil {
			return err
		}
		if err = s.configure(append(settings, "port="+strconv.Itoa(s.port))); err != nil {
			return err
		}
		if err = s.run("start"); err == nil || try == 2 {
			break // otherwise another program may have taken the port
		}
	}
	return err
}

// configure appends settings to postgresql.conf, where the last of a name counts.
func (s *Server) configure(settings []string) error {
	f, err := os.OpenFile(filepath.Join(s.dir, "data", "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("gamma: PostgreSQL: %w", err)
	}
	for _, setting := range settings {
		name, value, ok := strings.Cut(setting, "=")
		if !ok || strings.ContainsAny(setting, "\r\n") {
			_ = f.Close()
			return fmt.Errorf("gamma: PostgreSQL: the setting %q is not name=value", setting)
		}
		if _, err := fmt.Fprintf(f, "%s = '%s'\n", name, strings.ReplaceAll(value, "'", "''")); err != nil {
			_ = f.Close()
			return fmt.Errorf("gamma: PostgreSQL: %w", err)
		}
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("gamma: PostgreSQL: %w", err)
	}
	return nil
}

// run lets the supervisor run one command.
func (s *Server) run(command string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := io.WriteString(s.commands, command+"\n"); err != nil {
		return fmt.Errorf("gamma: PostgreSQL: %s: %w", command, err)
	}
	status, err := s.replies.ReadString('\n')
	if err != nil {
		return fmt.Errorf("gamma: PostgreSQL: %s: %w", command, err)
	}
	if status != "0\n" {
		log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
		text := strings.Join(strings.Fields(string(log[max(0, len(log)-1000):])), " ")
		return fmt.Errorf("gamma: PostgreSQL: %s failed, the end of its log: %s", command, text)
	}
	return nil
}

// URL returns the address of the database postgres, for its superuser.
func (s *Server) URL() string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", s.port)
}

// PID returns the process id of the postmaster, which another one has after Restart; 0
// if the server is stopped.
func (s *Server) PID() int {
	b, err := os.ReadFile(filepath.Join(s.dir, "data", "postmaster.pid"))
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(b), "\n")
	pid, _ := strconv.Atoi(line)
	return pid
}

// Restart stops the server in the given mode, "fast" or "immediate", starts it at the
// same port, and returns once it accepts connections. It also starts a server that has
// crashed.
func (s *Server) Restart(mode string) error {
	if mode != "fast" && mode != "immediate" {
		return fmt.Errorf("gamma: PostgreSQL: the mode %q is not fast or immediate", mode)
	}
	return s.run("restart " + mode)
}

// Stop ends the server and removes its folder. A second call does nothing.
func (s *Server) Stop() {
	s.stop.Do(func() {
		_ = s.commands.Close()
		_ = s.supervisor.Wait()
	})
}

// Skip does nothing if err is nil. If err matches [ErrNotInstalled] it skips the test,
// unless the environment variable CI is set. For any other error the test fails.
func Skip(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case errors.Is(err, ErrNotInstalled) && os.Getenv("CI") == "":
		t.Skip(err)
	default:
		t.Fatal(err)
	}
}

// programs returns the folder of the programs: that of initdb on PATH, or the newest
// among Debian's, which are not on PATH.
func programs(debian string) (string, error) {
	var dirs []string
	if initdb, err := exec.LookPath("initdb"); err == nil {
		// The other programs may be only beside the file that a link points to.
		if initdb, err = filepath.EvalSymlinks(initdb); err == nil {
			dirs = append(dirs, filepath.Dir(initdb))
		}
	}
	entries, _ := os.ReadDir(debian)
	var versions []int
	for _, entry := range entries {
		if version, err := strconv.Atoi(entry.Name()); err == nil {
			versions = append(versions, version)
		}
	}
	slices.Sort(versions)
	for _, version := range slices.Backward(versions) {
		dirs = append(dirs, filepath.Join(debian, strconv.Itoa(version), "bin"))
	}
	for _, dir := range dirs {
		if complete(dir) {
			return filepath.Abs(dir)
		}
	}
	return "", ErrNotInstalled
}

// complete reports whether all programs that are needed are in dir.
func complete(dir string) bool {
	for _, name := range []string{"initdb", "pg_ctl", "postgres"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.IsDir() {
			return false
		}
	}
	return true
}

// freePort returns a free port below those that systems give to outgoing connections, so
// that none of them takes it during a Restart.
func freePort() (int, error) {
	var err error
	for range 100 {
		port := 20000 + rand.IntN(12000)
		var l *net.TCPListener
		if l, err = net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("gamma: PostgreSQL: no free port: %w", err)
}
