// Command table waits for generations with a table of the program in SQLite or PostgreSQL,
// without a workflow engine.
//
//	go run . decks.db "A short history of tea"                  # create, and insert a row
//	go run . decks.db                                           # wait for all rows
//	go run . "postgres://localhost/decks?sslmode=disable"       # the same in PostgreSQL
//
// The key is in GAMMA_API_KEY. The part to copy is watch.go. The rest is the schema, the lock
// of either database, and an example of what follows an outcome: a row in another table.
//
// # How it works
//
// A wait is a row whose outcome is null. One process has a lock and watches: it reads the
// table every second, passes new rows to Poller.All, and writes each outcome in the
// transaction of what follows, with UPDATE ... WHERE outcome IS NULL. If a process is killed
// at any time, no row is lost, each has one outcome, and what follows is committed once.
// Other processes stand by. There is no cursor over ids or times, so a row is found even if
// its transaction commits late.
//
// These are outcomes: the generation completed or failed, Gamma did not find it twice in a
// row, or its deadline has passed, 24 hours after the row was inserted. The watcher waits for
// exports. The end of the process, an outage, a wrong key and an exhausted rate limit are no
// outcomes; neither is the deadline while the rate limit allows no poll, as after a weekend
// when no process watched.
//
// What follows may be tried several times, until its transaction is committed, and later
// outcomes wait for it. So it should only write rows, such as jobs or mails to send. A failed
// try costs a poll, because the generation is polled again.
//
// # Limits
//
//   - One table for each API key, with its own number in lockPostgres: a key has one rate
//     limit, so it needs one watcher.
//   - SQLite: all processes on one machine, and the files on a local disk.
//   - PostgreSQL 14 or later, and no transaction pooler between it and the watcher, because
//     the lock belongs to the session.
//   - A process that is killed between the response to a create and the insert of its row
//     has paid for a generation that is in no row; its id is lost. Package batch prevents that.
package main
