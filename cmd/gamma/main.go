// Command gamma works with the Gamma Public API from a shell. See "gamma help".
package main

import "os"

func main() {
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv}
	os.Exit(a.run(os.Args[1:]))
}
