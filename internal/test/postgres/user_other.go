//go:build !unix

package postgres

import "syscall"

func attributes() (*syscall.SysProcAttr, error) {
	return nil, ErrNotInstalled // there is no sh
}
