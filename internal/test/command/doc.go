// Package command has the end-to-end tests of the gamma command. They run the program against
// the fake of gammatest: the scripts in testdata/script, the commands in README.md and
// skills/gamma/SKILL.md, and the output in a terminal. script_test.go documents the commands
// that scripts have in addition to those of testscript. The picture in README.md is made with
//
//	go test -run TestPicture -update
package command
