package gamma

import "github.com/gamma-sdk/gamma-go/internal/apiruntime"

// Printable returns text for one line of a terminal or a log, cut to about 512 bytes.
// Control characters, terminal escapes, bidirectional overrides and invalid UTF-8 are
// escaped as in a Go string. The error texts of this module are already printable. The
// fields of a response, such as a theme's name, are as the server sent them.
func Printable(text string) string { return apiruntime.Printable(text) }
