module github.com/gamma-sdk/gamma-go/examples

go 1.25.0

replace (
	github.com/gamma-sdk/gamma-go => ../
	github.com/gamma-sdk/gamma-go/batch => ../batch
	github.com/gamma-sdk/gamma-go/gammatest => ../gammatest
)

require (
	github.com/gamma-sdk/gamma-go v0.1.0
	github.com/gamma-sdk/gamma-go/gammatest v0.1.0
)

require (
	github.com/gofrs/flock v0.13.0 // indirect
	golang.org/x/sys v0.39.0 // indirect
)

require (
	github.com/apapsch/go-jsonmerge/v2 v2.0.0 // indirect
	github.com/gamma-sdk/gamma-go/batch v0.1.0
	github.com/getkin/kin-openapi v0.153.0 // indirect
	github.com/go-openapi/jsonpointer v0.22.5 // indirect
	github.com/go-openapi/swag/jsonname v0.25.5 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/oapi-codegen/runtime v1.8.0 // indirect
	github.com/santhosh-tekuri/jsonschema/v6 v6.0.3 // indirect
	go.yaml.in/yaml/v4 v4.0.0
	golang.org/x/text v0.32.0 // indirect
)
