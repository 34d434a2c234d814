// Package otel shows how a program traces its waits with OpenTelemetry. It is a separate
// module: the SDK does not depend on OpenTelemetry. OnPoll and a transport of the program
// are all that tracing needs.
package otel
