// Package ogen is the client as ogen generates it.
package ogen

//go:generate env GOWORK=off go tool -modfile=../../tools/ogen/go.mod ogen -config ogen.yml -package ogen -target . ../../../../../openapi.json
