module github.com/gamma-sdk/gamma-go/internal/test/postgres

go 1.25.0
