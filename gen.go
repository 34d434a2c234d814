package gamma

//go:generate env GOWORK=off go run -C internal/spec -buildvcs=false . -generate
