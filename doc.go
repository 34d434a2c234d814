// Package gamma is a client for the Gamma Public API, which turns text into
// presentations, documents, web pages and social posts. It is not affiliated with
// Gamma.
//
//	client, err := gamma.NewClientFromEnv()
//	...
//	created, err := gamma.Create(ctx, client, api.GenerationRequest{InputText: text})
//	...
//	gen, err := poller.New(client).Wait(ctx, created.GenerationID)
//
// [NewClient] returns the client in package api, which is generated from the
// vendor's OpenAPI document: one method for every operation. Under all of them
// lies one hand-written layer with the rules below. The [poller] package waits
// for a generation on top of it. Three things more are written by hand because a
// plain request is not enough: [Create], [Themes] with [Folders], and [Download].
//
// # Authentication
//
// The API key goes into the X-API-KEY header of requests to the base URL's
// scheme, host and port, and nowhere else: a redirect is never followed, plain
// http is for loopback hosts only, and a request editor that points a request
// elsewhere gets an error. The key is in no error, no log line and no dump of a
// value that this module hands out, also when a server echoes it. A transport
// that the caller supplies sees it, and so does a proxy in front of a loopback
// address.
//
// # Requests
//
// Path parameters are 1 to 256 URL-unreserved characters (RFC 3986, section 2.3)
// and not only dots. Anything else is an error before a byte is sent. So is a
// request that breaks a limit of the document, an [*InvalidRequestError] that
// names the field: lengths, counts, required fields and closed enumerations. Image
// models are an open set; everything an answer enumerates is, too. Every request
// is bounded by 15 seconds ([WithRequestTimeout]) and by its context.
//
// In a request, the zero value of a field means that it is not sent. Booleans are
// pointers, since false differs from unset.
//
// # Answers
//
// A success is returned only if it is the JSON that the document promises; any
// other is an error that is [ErrUnexpectedResponse], beside the response. An
// optional property of an unexpected type is left out, so that it cannot hide the
// rest. A body of more than 1 MiB, decoded, is [ErrResponseTooLarge]; a header of
// more than 256 KiB is an error of the transport.
//
// # Errors
//
// Every other status is an [*APIError]. Ask [errors.Is] for [ErrUnauthorized],
// [ErrInsufficientCredits], [ErrForbidden], [ErrNotFound] and [ErrRateLimited].
// An exchange that failed wraps the error of the transport, so that
// [context.DeadlineExceeded], [context.Canceled] and the types of package net can
// be found in it. Error texts are one line, start with "gamma:", name the
// operation and not the URL, and hold no part of a body but its message, made
// printable.
//
// # Retries
//
// The client sends every request once. net/http repeats by itself one that has no
// body, when its connection ends before an answer in certain ways; with [NewTransport]
// it pauses after eight connections, and ends after twelve. Waiting and retrying is
// what package poller is for. Create repeats what surely did nothing, and never what
// may have cost credits.
//
// # Concurrency
//
// Everything in this package is safe for concurrent use. One client is enough for
// a program; it keeps up to 1,024 idle connections.
//
// [poller]: https://pkg.go.dev/github.com/gamma-sdk/gamma-go/poller
package gamma
