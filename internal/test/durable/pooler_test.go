//go:build unix

package durable

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/poller/riverwait"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// bouncer starts a PgBouncer for the database of w and returns its port. It skips the test
// if PgBouncer is not installed.
func (w *world) bouncer(mode, more string) uint16 {
	w.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/pgbouncer"); err != nil {
			w.Skip("PgBouncer is not installed")
		}
	}
	at := w.pool.Config().ConnConfig
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	dir, err := os.MkdirTemp("", "bouncer")
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = os.RemoveAll(dir) })
	file := filepath.Join(dir, "pgbouncer.ini")
	err = errors.Join(
		os.Chmod(dir, 0o755), // it does not run as root
		os.WriteFile(filepath.Join(dir, "users"), fmt.Appendf(nil, "%q \"\"\n", at.User), 0o644),
		os.WriteFile(file, fmt.Appendf(nil, "[databases]\n* = host=%s port=%d user=%s\n"+
			"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir =\nauth_type = trust\nauth_file = %s/users\npool_mode = %s\n%s\n",
			at.Host, at.Port, at.User, port, dir, mode, more), 0o644))
	if err != nil {
		w.Fatal(err)
	}
	cmd := exec.Command(program, file)
	if os.Getuid() == 0 {
		cmd.Args = append(cmd.Args, "-u", "postgres")
	}
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	w.eventually("PgBouncer accepts connections", func() bool {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
	return uint16(port)
}

// TestPooler connects watchers through a pooler, which could pass the settings and the lock of
// a watcher to other clients.
func TestPooler(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]func(w *world, config *pgxpool.Config){
		"a pooler that ignores the setting": func(_ *world, config *pgxpool.Config) {
			config.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
				delete(c.RuntimeParams, "idle_session_timeout")
				return nil
			}
		},
		"PgBouncer for transactions": func(w *world, config *pgxpool.Config) {
			config.ConnConfig.Port = w.bouncer("transaction", "")
		},
		"PgBouncer for sessions": func(w *world, config *pgxpool.Config) {
			config.ConnConfig.Port = w.bouncer("session", "")
		},
		"PgBouncer that ignores the setting": func(w *world, config *pgxpool.Config) {
			config.ConnConfig.Port = w.bouncer("transaction", "ignore_startup_parameters = idle_session_timeout")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			config := w.pool.Config()
			config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec // PgBouncer may not keep statements
			at(w, config)
			pool, err := pgxpool.NewWithConfig(context.Background(), config)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(pool.Close)
			const settings = `SELECT concat_ws(' ', current_setting('lock_timeout'), current_setting('statement_timeout'),
				current_setting('tcp_user_timeout'), current_setting('idle_session_timeout'), (SELECT count(*) FROM pg_locks
				WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())))`
			var before string
			if err := pool.QueryRow(context.Background(), settings).Scan(&before); err != nil {
				t.Fatal(err)
			}
			w.fake.Add("g", gammatest.Completed(""))
			w.insert("g")
			var stops []func()
			for range 2 {
				watcher, stop := w.watch(func(r *riverwait.Watcher) { r.Pool = pool })
				stops = append(stops, stop)
				w.eventually("the status tells of it", func() bool {
					s := watcher.Status()
					return s.LastError != nil && strings.Contains(s.LastError.Error(), "goes through a pooler")
				})
				if watcher.Status().Watching {
					t.Error("it watches")
				}
			}
			for range 20 {
				var now string
				if err := pool.QueryRow(context.Background(), settings).Scan(&now); err != nil || now != before {
					t.Fatalf("another client gets the settings %q, %v, want %q", now, err, before)
				}
			}
			for _, stop := range stops {
				stop()
			}
			w.watch() // directly
			w.eventually("the job is available", func() bool {
				return value[int](w, "SELECT count(*) FROM river_job WHERE state = 'available'") == 1
			})
		})
	}
}
