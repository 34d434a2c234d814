// Package gammatest is a fake of the Gamma API for the tests of programs that use
// the SDK. It serves every operation of the OpenAPI document and the files of
// exports, in memory or over loopback sockets, and fails the test if a request is
// invalid.
//
// A test of a program takes five lines. [NewClient] returns a client of a new fake,
// which the program uses like any other client:
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
// The steps given to NewClient are the life of every generation that is created:
// each [Step] responds to one poll or more, and the last one repeats. Without steps a
// generation is pending for two polls, then completed. [API.OnCreate] makes the life
// depend on the request. [API.Add] adds a generation with a given id, for a program
// that resumes a wait.
//
// These steps are states of a generation:
//
//   - [Pending] and [PendingFor]: pending for a number of polls, or for a time
//   - [ExportPendingFor]: completed, but the link to the export is not there yet
//   - [Completed] and [Failed]: the end
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
// response that the fake gives anyway: here the first create works, and the second
// fails for lack of credits:
//
//	client, g := gammatest.NewClient(t)
//	g.Next("createGeneration", gammatest.Usual(), gammatest.Status(402))
//
// The fake has three themes and two folders, see [API.SetThemes] and
// [API.SetFolders]. It makes up the response of an operation that it does not know
// from the OpenAPI document. It accepts the API key [Key], see [API.SetKey], and
// limits no rate, see [API.Budget]. [API.Requests] returns what it received.
//
// # Exports
//
// A generation that was created with an export has a link to a file once it is
// completed. The file comes from another host, which fails the test if it receives
// the API key. [API.NextDownload] gives steps to the next downloads; here the
// connection breaks twice:
//
//	g.NextDownload(gammatest.Times(2, gammatest.CutAfter(10_000, gammatest.Usual())))
//
// [ForDownload] does the same for one generation. A link expires after a week, see
// [API.SetLinkLifetime] and [API.ExpireLinks]. [API.Export] returns the bytes of the file.
//
// # Time
//
// In a bubble of [testing/synctest] a wait of minutes takes no time. Make the client
// inside the bubble. A [Server] has sockets, which block a bubble: use it outside, for
// a program that runs as another process or takes a base URL, with short times. A
// [Transport] is for a client with options; it works in both places. A [Handler] is for
// a server at an address of your choice, such as that of "gamma serve".
//
// # Validation
//
// The fake validates every request against the OpenAPI document of the SDK, and its
// own responses too, except faults and error statuses that the document does not list. A
// violation is an error of the test, with the request in its text: its line number is
// in this package, because net/http is between the fake and the test. The client
// receives status 400, or 500 if the response is invalid.
//
// The fake is more tolerant than the document in three places: it accepts any value of
// an enumeration in a request, as the client does, ignores patterns that are not valid
// in Go, and may send null for the warnings of a create, as the API does.
//
// # Lifetime
//
// A fake ends with the t that it was made with. Parallel subtests that share one must
// make it with the t of their parent. [Program] takes the place of t in a program that
// is not a test. A fake keeps every request that it receives, see [API.KeepRequests].
//
// All functions and methods are safe for concurrent use. The package is in a separate
// module, so that a program that does not import it downloads none of its dependencies.
package gammatest
