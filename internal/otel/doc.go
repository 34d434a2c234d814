// Package otel shows how a program traces its waits with OpenTelemetry. It is a
// module of its own: the SDK does not depend on OpenTelemetry, and needs no more
// than OnPoll and a transport of the program's for it.
package otel
