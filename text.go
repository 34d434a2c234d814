package gamma

import "github.com/gamma-sdk/gamma-go/internal/wire"

// Printable returns text fit for one line of a terminal or a log, at most about 512
// bytes: control characters, line breaks, terminal escapes, bidirectional overrides and
// invalid UTF-8 are escaped as in a Go string, and what is longer is cut. Error texts
// of this module are printable; use Printable for the fields of a response, such as a
// theme's name, which come from the server as they are.
func Printable(text string) string { return wire.Printable(text) }
