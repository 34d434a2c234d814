package gamma

import "github.com/gamma-sdk/gamma-go/internal/apiruntime"

// Printable returns text fit for one line of a terminal or a log, cut to about 512
// bytes: control characters, terminal escapes, bidirectional overrides and invalid UTF-8
// are escaped as in a Go string. Error texts of this module are printable already; the
// fields of a response, such as a theme's name, are as the server sent them.
func Printable(text string) string { return apiruntime.Printable(text) }
