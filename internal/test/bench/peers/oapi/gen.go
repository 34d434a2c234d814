// Package oapi is the client as oapi-codegen generates it by default.
package oapi

//go:generate env GOWORK=off go tool -modfile=../../../../tools/oapi-codegen/go.mod oapi-codegen -config oapi-codegen.yaml ../../../../../openapi.json
