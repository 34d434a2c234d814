// Package conformance tests the SDK against servers that others have written.
//
//   - Prism, a mock server that knows nothing but openapi.json. It must accept every
//     request of the SDK, and the SDK must read every response that it makes up.
//   - NestJS with @nestjs/throttler, whose rate-limit headers have the names of Gamma's.
//   - nginx in front of a server: closed connections, reloads, timeouts, its own errors.
//
// The tests run with make conformance, which installs the servers or skips those that are
// missing. Otherwise they are skipped.
package conformance
