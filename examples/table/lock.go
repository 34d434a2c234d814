package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib" // PostgreSQL
	"modernc.org/sqlite"
)

// database is a SQLite or PostgreSQL database.
type database struct {
	*sql.DB
	schema string
	// lock returns a session and a function that ends it if this process has the lock now,
	// and a nil session if another process has it.
	lock func(context.Context) (*sql.Conn, func(), error)
}

// open opens the database of a URL such as postgres://localhost/decks, or a SQLite file.
func open(name string) (*database, error) {
	if strings.HasPrefix(name, "postgres://") || strings.HasPrefix(name, "postgresql://") {
		db, err := sql.Open("pgx", name)
		return &database{db, strings.Replace(schema, " TIMESTAMP ", " timestamptz ", 1), func(ctx context.Context) (*sql.Conn, func(), error) {
			return lockPostgres(ctx, db)
		}}, err
	}
	db, err := sql.Open("sqlite", "file:"+name+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)&_txlock=immediate")
	return &database{db, schema, func(ctx context.Context) (*sql.Conn, func(), error) {
		return lockSQLite(ctx, db, name+".lock")
	}}, err
}

// lockPostgres takes a lock that PostgreSQL releases when the session ends. PostgreSQL ends
// the session 15 seconds after its machine vanished or its process was suspended.
func lockPostgres(ctx context.Context, db *sql.DB) (*sql.Conn, func(), error) {
	session, err := db.Conn(ctx)
	if err != nil {
		return nil, nil, err
	}
	// One number for each table: other programs in the database have locks, too.
	const query = "SELECT pg_try_advisory_lock(20241126), set_config('idle_session_timeout', '15s', false)"
	var locked bool
	if err := session.QueryRowContext(ctx, query).Scan(&locked, new(string)); err != nil || !locked {
		return nil, nil, errors.Join(err, session.Close())
	}
	// Close would return the session to the pool, with the lock.
	return session, func() { _ = session.Raw(func(any) error { return driver.ErrBadConn }) }, nil
}

// lockSQLite locks a file beside the database. The system releases it when the process ends.
func lockSQLite(ctx context.Context, db *sql.DB, name string) (*sql.Conn, func(), error) {
	file, err := sql.Open("sqlite", "file:"+name)
	if err != nil {
		return nil, nil, err
	}
	file.SetMaxOpenConns(1) // the one that has the lock
	if _, err := file.ExecContext(ctx, "BEGIN EXCLUSIVE"); err != nil {
		const busy = 5
		if failed := (*sqlite.Error)(nil); errors.As(err, &failed) && failed.Code()&0xff == busy {
			err = nil
		}
		return nil, nil, errors.Join(err, file.Close())
	}
	session, err := db.Conn(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return session, func() { _, _ = session.Close(), file.Close() }, nil
}
