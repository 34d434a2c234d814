// Package api is the generated client and the models, for every operation of the
// document.
//
// Programs make a client with [github.com/gamma-sdk/gamma-go.NewClient], which adds
// the API key, the checks and the limits. [NewClient] and [NewClientWithResponses]
// of this package make the bare client without them.
package api

// This file sorts before the generated one, so that go doc prints its comment first.
