// Package gammatest is a fake of the Gamma API for the tests of programs that use
// the SDK. It serves every operation of the OpenAPI document and the files of
// exports, in memory or over loopback sockets, and fails the test if a request is
// invalid.
//
// [NewClient] returns a client of a new fake, which the program uses like any other client:
//
//	func TestRun(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) { // minutes take milliseconds
//			client, _ := gammatest.NewClient(t, gammatest.PendingFor(4*time.Minute), gammatest.Completed(""))
//			if err := run(t.Context(), client); err != nil { // your program
//				t.Error(err)
//			}
//		})
//	}
//
// # Generations
//
// The steps given to NewClient are the life of every generation that is created: each
// [Step] responds to one poll or more, and the last one repeats. Without steps a generation
// is pending for two polls, then completed. [API.OnCreate] chooses the life by the request.
// [API.Add] adds a generation with a given id, for a program that resumes a wait.
//
// These steps are states of a generation:
//
//   - [Pending] and [PendingFor]: pending for a number of polls, or for a time
//   - [ExportPendingFor]: completed, but without the link to the export
//   - [Completed] and [Failed]: finished
//   - [JSON]: any other state
//
// These are faults:
//
//   - [Status], [RateLimited]: an error of the API
//   - [Malformed], [Raw]: anything else that a server or a gateway may send
//   - [Drop]: the connection breaks
//   - [Hang]: no response
//
// These change a step:
//
//   - [Times]: repeats it
//   - [Delay], [Slow]: its response starts late, or arrives slowly
//   - [Cut], [CutAfter]: its response is cut off
//   - [Header]: sets or removes a header
//   - [ForCreate], [ForDownload]: it responds to the create, or to a download of the
//     export, and not to a poll
//
// # Other operations
//
// [API.Next] gives steps to the next requests for any operation. [Usual] is the
// response of the fake without a step. Here the first create succeeds, and the second fails
// because there are no credits:
//
//	client, g := gammatest.NewClient(t)
//	g.Next("createGeneration", gammatest.Usual(), gammatest.Status(402))
//
// The fake has three themes and two folders, see [API.SetThemes] and [API.SetFolders]. For
// an operation that it does not know, it makes up the response from the OpenAPI document.
// It accepts the API key [Key], see [API.SetKey], and has no rate limit, see [API.Budget].
// [API.Requests] returns the requests that it received.
//
// # Exports
//
// A generation that was created with an export has a link to a file when it is completed.
// The file is at another host, which fails the test if it receives the API key.
// [API.NextDownload] gives steps to the next downloads. Here the connection breaks twice:
//
//	g.NextDownload(gammatest.Times(2, gammatest.CutAfter(10_000, gammatest.Usual())))
//
// [ForDownload] does the same for one generation. A link expires after a week, see
// [API.SetLinkLifetime] and [API.ExpireLinks]. [API.Export] returns the bytes of the file.
//
// # Time
//
// In a bubble of [testing/synctest] a wait of minutes takes no time. Create the client
// inside the bubble. A [Server] has sockets, which block a bubble: use it outside, with
// short times, for a program that runs as another process or takes a base URL. A [Transport]
// is for a client with options; it works inside and outside. A [Handler] is for a server at
// an address of your choice.
//
// # Validation
//
// The fake validates every request against the OpenAPI document of the SDK. It validates
// its responses, too, except faults and error statuses that the document does not list. A
// violation is an error of the test, which names the request; its line number is in this
// package. The client receives status 400, or 500 if the response is invalid.
//
// There are three exceptions: the fake accepts any value of an enumeration in a request, as
// the client does; it ignores patterns that are not valid in Go; and it may send null for
// the warnings of a create, as the API does.
//
// # Lifetime
//
// A fake is closed when the test t that it was created with ends. Parallel subtests that
// share a fake must create it with the t of their parent. [Program] replaces t in a program
// that is not a test. A fake keeps every request that it receives, see [API.KeepRequests].
//
// All functions and methods are safe for concurrent use. The package is a separate module,
// so that a program that does not import it does not download its dependencies.
package gammatest
