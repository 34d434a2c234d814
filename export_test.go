package gamma

import "net/http"

// CheckRequest holds req to another document than the SDK's.
func CheckRequest(document string, req *http.Request) error {
	return parse(document).checkRequest(req, "")
}
