//go:build unix

package postgres

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// attributes returns those of the supervisor: a new session, where no Ctrl-C
// arrives, and for root another user, as whom PostgreSQL agrees to run.
func attributes() (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Setsid: true}
	if os.Getuid() != 0 {
		return attr, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("%w; it does not run as root, and there is no user postgres: %w", ErrNotInstalled, err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("gamma: PostgreSQL: the user postgres: %w", err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("gamma: PostgreSQL: the user postgres: %w", err)
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attr, nil
}
