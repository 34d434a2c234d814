package gamma_test

import (
	"encoding/json"
	"os"
	"reflect"
	"testing"

	"github.com/gamma-sdk/gamma-go"
)

// The vendor's page about the operation that the poller rests on is the most
// certain source that there is. What it says must survive every change of the
// document.
func TestStatusOperationIsAsPublished(t *testing.T) {
	published, err := os.ReadFile("testdata/get-generation-status.openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	type document struct {
		Paths      map[string]map[string]any
		Components struct{ Schemas map[string]any }
	}
	var want, got document
	if err := json.Unmarshal(published, &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(gamma.OpenAPI(), &got); err != nil {
		t.Fatal(err)
	}
	const path = "/v1.0/generations/{id}"
	if want.Paths[path]["get"] == nil || !reflect.DeepEqual(got.Paths[path]["get"], want.Paths[path]["get"]) {
		t.Errorf("GET %s is not as published", path)
	}
	if len(want.Components.Schemas) != 4 {
		t.Errorf("%d schemas were published", len(want.Components.Schemas))
	}
	for name, schema := range want.Components.Schemas {
		if !reflect.DeepEqual(got.Components.Schemas[name], schema) {
			t.Errorf("the schema %s is not as published", name)
		}
	}
}
