// Package command holds the end-to-end tests of the gamma command, which run the real
// program against the fake of gammatest: the scripts in testdata/script, the commands in
// README.md and skills/gamma/SKILL.md, and what a terminal shows. What a script can do
// besides the commands of testscript is in script_test.go. The picture in README.md is made
// with
//
//	go test -run TestPicture -update
package command
