module github.com/gamma-sdk/gamma-go/batch

go 1.25.0

require (
	github.com/gamma-sdk/gamma-go v0.1.0
	github.com/gofrs/flock v0.13.0
)

require (
	github.com/apapsch/go-jsonmerge/v2 v2.0.0 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/oapi-codegen/runtime v1.8.0 // indirect
	golang.org/x/sys v0.39.0 // indirect
)

replace github.com/gamma-sdk/gamma-go => ../
