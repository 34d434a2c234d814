// Package batch makes one generation for each of many inputs, exactly once each, and
// saves the exports.
//
//	b := &batch.Batch{Client: client, Dir: "decks"}
//	for r := range b.Run(ctx, inputs) {
//		fmt.Println(r.Key, r.Saved, r.Err)
//	}
//
// An [Input] is the caller's own key and a request. Running the same batch again resumes
// it, whatever ended it: a crash, a full disk, a canceled context.
//
// # The journal
//
// The journal is a file of JSON lines, gamma.jsonl in Dir. It has a line for each step of
// each input, which is on disk before the next step: before a create is sent, after its
// response, when the generation has finished, when its export is saved. It has no API key
// and no export URL. A line that a crash cut off is dropped. Any other line that is not
// valid is an error: it may stand for a generation that was paid for.
//
// What Run does for an input depends on what the journal has of its key:
//
//   - Nothing, or another request: create it.
//   - An id: wait for it, save its export.
//   - Finished, and its export saved: nothing. An export that is no longer there is saved
//     again.
//   - Failed: nothing, the error is that of the earlier run. See [Failed].
//   - A create without a response: nothing, since it may have been created and paid for.
//     The error matches [gamma.ErrMaybeCreated]. See [Uncertain].
//
// A create that was refused does not change what the journal has of the key. Requests are
// compared as JSON, whatever the order of their fields. A key that is no longer among the
// inputs is left alone.
//
// A journal belongs to one server. One Run at a time may use it; a second one, in this
// process or another, gets [ErrLocked]. The lock is on a file beside the journal, and ends
// with the process. Network file systems without locks are not supported.
//
// # Rate limits
//
// Creates, polls and lists of a client share its rate limit. At most four creates and four
// downloads are in flight at once. The first create is alone for up to two seconds, because
// its response has the rate limit. A create waits for the rate limit, and after a 429 as
// [gamma.Client.CreateGeneration] does, until the context ends. After a status 401 or 402,
// when the journal cannot be written, and when three creates in a row had no usable
// response, nothing more is created: each input that needs a create yields that error, the
// others are waited for.
//
// # Stopping
//
// [Batch.Stop] starts nothing more. Creates in flight finish, because their responses have
// ids; so do downloads. The end of the context ends everything at once, and leaves a create
// in flight uncertain.
package batch
