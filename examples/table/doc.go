// Command table waits for generations with a table of your own, without an engine: in
// SQLite, or in PostgreSQL.
//
//	go run . decks.db "A short history of tea"                  # create, and insert a row
//	go run . decks.db                                           # wait for all rows
//	go run . "postgres://localhost/decks?sslmode=disable"       # the same in PostgreSQL
//
// The key is in GAMMA_API_KEY. The part to copy is watch.go; the rest is the schema, the
// lock of either database, and one example of what follows, a row in another table.
//
// # How it works
//
// A wait is a row whose outcome is null. One process has a lock and watches: it looks at
// the table every second, gives all rows that it does not know yet to Poller.All, and
// writes each outcome in the transaction of what follows, with UPDATE ... WHERE outcome IS
// NULL. So whatever is killed when, a row is never lost and has one outcome, and what
// follows is committed once. Other processes stand by. A row is found however late its
// transaction commits, because there is no cursor over ids or times.
//
// An outcome is an end of the generation: completed, failed, unknown to Gamma twice in a
// row, or its deadline, 24 hours after the row was inserted. Exports that come late are
// waited for. The end of the process, an outage, a wrong key or a spent rate limit is no
// outcome; nor is the deadline while the rate limit allows no poll, as after a weekend
// when nothing watched.
//
// What follows may be tried several times, until its transaction is committed, and holds
// up the outcomes after it. So let it only write rows, such as jobs or mails to send. A
// try that fails costs a poll, because the generation is asked about again.
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
