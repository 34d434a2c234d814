// Package hostile has only tests. They call every public entry point of the SDK against
// servers that misbehave, over real sockets. Cases that end by a timeout run in a bubble of
// testing/synctest, over connections in memory, so that their results do not depend on the
// speed of the machine.
//
// An attack is what a server does; an entry is what a program calls. Each row of a table
// has the expected result for each kind of entry. Rules that hold for every server are
// checked after every call; see rig.check.
package hostile
