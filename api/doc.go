// Package api has the models and the client that are generated from Gamma's OpenAPI
// document.
//
// To make a client, use [github.com/gamma-sdk/gamma-go.NewClient]: it adds the API
// key, checks requests and limits responses. [NewClient] and
// [NewClientWithResponses] of this package return the client without any of that.
package api
