package gamma

//go:generate env GOWORK=off go run -C internal/codegen -buildvcs=false . -generate
