// Package hostile holds no code, only tests: it runs every public entry of the SDK
// against servers that misbehave, over real sockets. What only time ends runs in a
// bubble of testing/synctest, over connections in memory, so that a slow machine
// changes nothing.
//
// An attack is what a server does, an entry is what a program calls. Each row
// of a table says which end a user must see, by the kind of entry; what must hold
// whatever the server does is checked around every case, see rig.check.
package hostile
