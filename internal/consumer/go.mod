module github.com/gamma-sdk/gamma-go/internal/consumer

go 1.25.0

require github.com/gamma-sdk/gamma-go v0.0.0

replace github.com/gamma-sdk/gamma-go => ../..
