module github.com/gamma-sdk/gamma-go/internal/postgres

go 1.25.0
