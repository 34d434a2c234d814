// Package gamma is a client for the Gamma Public API, which turns text into
// presentations, documents, web pages and social posts. It is not affiliated with
// Gamma.
//
//	client, err := gamma.NewClientFromEnv()
//	...
//	created, err := client.CreateGeneration(ctx, api.GenerationRequest{InputText: text, ExportAs: api.ExportAsPDF})
//	...
//	gen, err := poller.New(client).WaitExport(ctx, created.GenerationID)
//	...
//	err = client.DownloadFile(ctx, gen.ExportURL, "deck.pdf")
//
// A [Client] has a method for every operation of the vendor's OpenAPI document. The
// models are in package api, which is generated from it. Package poller waits for
// generations.
//
// # Authentication
//
// The API key is sent in the X-API-KEY header, only to the scheme, host and port of the
// base URL. Redirects are not followed, and plain http is refused except for loopback
// hosts. Error texts and returned values never contain a key of 16 characters or more,
// even if a server echoes it. A transport passed to [WithHTTPClient] sees the key.
//
// # Requests
//
// A request that violates the OpenAPI document is not sent; the error is an
// [*InvalidRequestError]. Enum values are not checked, so that values newer than this
// version can be used. Optional fields with a zero value are omitted. A path parameter must
// have 1 to 256 URL-unreserved characters (RFC 3986, section 2.3) and not only dots.
//
// # Responses
//
// If a 2xx response is not the documented JSON, the error matches
// [ErrUnexpectedResponse]. If an operation has one documented 2xx status, a 201 or 202
// with the same JSON is accepted in its place. An optional property of an unexpected type
// is ignored. Numbers and booleans are pointers, nil if absent, except where zero means
// the same. A body is limited to 1 MiB after decompression, and a header to 256 KiB.
//
// # Errors
//
// Any other status is an [*APIError]; test for its kind with [errors.Is]. If there is no
// response, the error wraps that of the transport, such as [context.DeadlineExceeded] or
// a type of package net. An error text is one line that names the operation. It contains
// neither the URL nor the body, except for the body's message, escaped.
//
// # Rate limits
//
// A [Client] learns the rate limit from responses; see [Client.RateLimit]. Creates,
// Themes, Folders and the Pollers of package poller take turns and wait until it allows a
// request. Every other request is counted and sent at once.
//
// # Retries
//
// A create is retried only if it cannot have cost credits. Downloads are resumed, and
// package poller retries polls. Any other request is sent once, except that net/http may
// retry one without a body after a lost connection.
package gamma
