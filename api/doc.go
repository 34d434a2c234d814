// Package api has the models and the client that are generated from Gamma's OpenAPI
// document.
//
// To create a client, use [github.com/gamma-sdk/gamma-go.NewClient]. It adds the API key,
// checks requests and limits the size of responses. [NewClient] and
// [NewClientWithResponses] of this package return a client that does none of that.
package api
