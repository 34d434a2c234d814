package wire

import (
	"testing"

	"github.com/oapi-codegen/runtime"
)

// The templates put string path parameters into the path as they are. That is
// right only as long as the styling that they skip would not change them.
func TestAcceptedPathParamsNeedNoStyling(t *testing.T) {
	for _, v := range []string{"abc", "a.b-c_d~e", "0", "...x"} {
		if err := CheckPathParam("id", v); err != nil {
			t.Fatalf("CheckPathParam(%q): %v", v, err)
		}
		styled, err := runtime.StyleParamWithOptions("simple", false, "id", v, runtime.StyleParamOptions{ParamLocation: runtime.ParamLocationPath, Type: "string"})
		if err != nil || styled != v {
			t.Errorf("StyleParamWithOptions(%q) = %q, %v; want it unchanged", v, styled, err)
		}
	}
}
