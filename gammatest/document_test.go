package gammatest

import (
	"testing"

	"github.com/gamma-sdk/gamma-go"
	"github.com/getkin/kin-openapi/openapi3"
)

// make check-document runs this test by its name.
func TestDocumentIsValidOpenAPI(t *testing.T) {
	document, err := openapi3.NewLoader().LoadFromData(gamma.OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	// The vendor's examples are known to contradict the schemas beside them, and
	// nothing is generated from an example. The syntax of a pattern is not Go's.
	if err := document.Validate(t.Context(), openapi3.DisableExamplesValidation(), openapi3.DisableSchemaPatternValidation()); err != nil {
		t.Error(err)
	}
}
