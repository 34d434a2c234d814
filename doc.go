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
// The API key is sent in the X-API-KEY header to the scheme, host and port of the base
// URL, and nowhere else. Redirects are not followed, and plain http is refused except
// for loopback hosts. A key of 16 characters or more is in no error text and no value
// that this module returns, even if a server echoes it. A transport that the caller
// supplies sees it.
//
// # Requests
//
// A request that violates the OpenAPI document is not sent; the error is an
// [*InvalidRequestError]. Enumerations are open, so that a value newer than this
// version can be used. The zero value of a field is not sent. Path parameters are 1 to
// 256 URL-unreserved characters (RFC 3986, section 2.3) and not only dots.
//
// # Responses
//
// If a 2xx response is not the documented JSON, the error matches
// [ErrUnexpectedResponse]. If the document has one 2xx status, a 201 or 202 with the
// same JSON is read as that. An optional property of an unexpected type is left out, so
// that it does not hide the rest. Numbers and booleans are pointers, nil if unknown,
// except where zero means the same. A body is limited to 1 MiB, decoded, and the header
// to 256 KiB.
//
// # Errors
//
// Any other status is an [*APIError]; test for its kind with [errors.Is]. Without a
// response, the error wraps that of the transport, such as
// [context.DeadlineExceeded] or a type of package net. Error texts are one line that
// names the operation, never the URL, and no part of a body except its message, escaped.
//
// # Rate limits
//
// A [Client] learns the rate limit from the responses, see [Client.RateLimit]. Creates,
// Themes, Folders and the Pollers of package poller wait until it allows a request, in
// turn. Every other request is counted, and sent at once.
//
// # Retries
//
// Creates retry what cannot have cost credits, downloads resume, and package poller
// retries polls. Any other request is sent once, except that net/http may retry one
// without a body after a lost connection.
package gamma
