package gamma

import "net/http"

// CheckRequest holds req to another document than the SDK's.
func CheckRequest(document string, req *http.Request) error {
	return parse(document).checkRequest(req, "")
}

// Limits returns what requests are checked against: for each operation, and for each
// schema, in the whole document and in the part of it that is in every program.
func Limits() (whole, part map[string]any) {
	all := func(document string) map[string]any {
		c, limits := parse(document), map[string]any{}
		for operation, l := range c.limits {
			limits[operation] = l
		}
		for name, s := range c.Components.Schemas {
			limits[name] = s
		}
		return limits
	}
	return all(document), all(requests)
}

// OwnTransport returns the transport that NewClient made for c.
func OwnTransport(c *Client) *http.Transport { return c.doer.own }
