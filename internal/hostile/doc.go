// Package hostile holds no code, only tests: it runs every public entry of the SDK
// against servers that misbehave, over real sockets.
//
// An attack is what a server does, an entry is what a program calls. Each row
// of a table says which end a user must see, by the kind of entry; what must hold
// whatever the server does is checked around every case, see rig.check.
package hostile
