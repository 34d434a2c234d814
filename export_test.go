package gamma

import "net/http"

// CheckRequest checks req against document.
func CheckRequest(document string, req *http.Request) error {
	return parse(document).checkRequest(req, "")
}

// Limits returns the limits of each operation and schema, in the whole document and in
// requests.gen.json.
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
