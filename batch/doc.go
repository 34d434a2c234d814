// Package batch creates a generation for each of many inputs, waits for it and saves its
// export. It creates no input twice unless told to, see [Retry].
//
//	b := &batch.Batch{Client: client, Dir: "decks"}
//	for r := range b.Run(ctx, inputs) {
//		fmt.Println(r.Key, r.Saved, r.Err)
//	}
//
// An [Input] has a key, which the caller chooses, and a request. To resume a batch, run it
// again, also after a crash, a full disk or a canceled context.
//
// # The journal
//
// The journal is a file of JSON lines, gamma.jsonl in Dir. Every step of an input adds a
// line, which is on disk before the next step: before a create is sent, after its response,
// when the generation has finished, and when its export is saved. The journal contains no
// API key and no export URL. If a crash cut off the last line, that line is ignored. Any
// other invalid line is an error, because it may record a generation that was paid for.
//
// What Run does for an input depends on what the journal has for its key:
//
//   - Nothing, or another request: create it.
//   - A generation id: wait for it, and save its export.
//   - Finished, and its export saved: nothing. If the file is no longer there, the export
//     is saved again.
//   - Failed: nothing. The error is that of the earlier run. See [Failed].
//   - A create without a response: nothing, because it may have been created and paid for.
//     The error matches [gamma.ErrMaybeCreated]. See [Uncertain].
//
// A create that was refused does not change what the journal has for the key. Requests are
// compared as JSON; the order of fields does not matter. A key that is no longer among the
// inputs is ignored.
//
// A journal belongs to one server. Only one Run can use it at a time: another Run, in this
// process or a different one, gets [ErrLocked]. The lock is on a file beside the journal,
// and is released when the process ends. Network file systems without locks are not
// supported.
//
// # Rate limits
//
// Creates, polls and lists of a client share its rate limit. At most four downloads are in
// flight at once, and at most four creates unless Creates sets another number. For up to two
// seconds the first create is the only one, because its response reports the rate limit. A
// create waits for the rate limit, and is retried after a 429 as in
// [gamma.Client.CreateGeneration], until the context is done.
//
// After a status 401 or 402, after a failure to write the journal, and after three creates
// in a row without a usable response, nothing more is created. Each input that is not
// created yields that error. The run waits for the other inputs.
//
// # Stopping
//
// [Batch.Stop] lets creates and downloads in flight finish, and starts nothing more. A
// context that is done ends everything at once: a create in flight is then uncertain.
package batch
