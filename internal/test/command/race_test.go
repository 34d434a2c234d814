//go:build race

package command

func init() { flags = append(flags, "-race") }
