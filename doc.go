// Package gamma is a client for the Gamma Public API, which turns text into
// presentations, documents, web pages and social posts. It is not affiliated with
// Gamma.
//
//	client, err := gamma.NewClientFromEnv()
//	...
//	created, err := client.CreateGeneration(ctx, api.GenerationRequest{InputText: text, ExportAs: api.ExportAsPDF})
//	...
//	gen, err := poller.New(client).Wait(ctx, created.GenerationID)
//	...
//	err = client.DownloadFile(ctx, gen.ExportURL, "deck.pdf")
//
// A [Client] has a method for every operation of the vendor's OpenAPI document; its
// models are in package api, which is generated from the document. The [poller]
// package waits for generations. All requests share one transport with the guarantees
// below.
//
// # Authentication
//
// The API key is sent in the X-API-KEY header of requests to the scheme, host and port
// of the base URL, and nowhere else. Redirects are not followed, plain http is refused
// except for loopback hosts, and a request editor that points a request to another
// host gets an error. The key is in no error text and no dump of a value that this
// module returns, even if a server echoes it. A transport that the caller supplies
// sees it, and so does a proxy in front of a loopback address.
//
// # Requests
//
// A request that violates the OpenAPI document is not sent: lengths, counts, formats
// and required fields are checked, and that text is UTF-8; the error is an
// [*InvalidRequestError] that names the field. Enumerations are open, so that a value newer than this version can be
// used. Path parameters are 1 to 256 URL-unreserved characters (RFC 3986, section 2.3)
// and not only dots.
//
// In a request, the zero value of a field means that it is not sent. Booleans are
// pointers, since false differs from unset.
//
// # Responses
//
// If a 2xx response is not the documented JSON, the error matches
// [ErrUnexpectedResponse]; methods with the suffix WithResponse return the response
// too. An optional property of an unexpected type is left out, so that it does not hide
// the rest. Numbers and booleans are pointers, nil if unknown, except where zero means
// the same. Responses may contain enumeration values that this version does not know.
// A body of more than 1 MiB, decoded, is [ErrResponseTooLarge]; a header of more than
// 256 KiB is an error of the transport.
//
// # Errors
//
// Any other status is an [*APIError]. Use [errors.Is] to test for [ErrUnauthorized],
// [ErrInsufficientCredits], [ErrForbidden], [ErrNotFound] and [ErrRateLimited]. Without
// a response, the error wraps that of the transport, so that
// [context.DeadlineExceeded], [context.Canceled] and the types of package net can be
// found in it. Error texts are one line, start with "gamma:", name the operation and
// not the URL, and contain no part of a body except its message, escaped.
//
// # Retries
//
// The client sends each request once, except for [Client.CreateGeneration], which
// retries what cannot have cost credits, and [Client.Download], which resumes. Package
// poller retries polls. net/http may retry a request without a body after a lost
// connection; with [NewTransport] it uses at most twelve connections for it. A request
// with a body has a connection for itself, see [WithHTTPClient].
//
// [poller]: https://pkg.go.dev/github.com/gamma-sdk/gamma-go/poller
package gamma
