package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gamma-sdk/gamma-go"
)

// maxKeyFile is the maximum size of a file or an output with a key.
const maxKeyFile = 64 << 10

const fromEnv = "the environment variable GAMMA_API_KEY"

// key returns the API key, and where it comes from: the first line of the file or of the
// output of the command that a flag names, else GAMMA_API_KEY. No error contains a part of the
// key.
func (a *app) key(ctx context.Context) (key, from string, err error) {
	var text []byte
	switch {
	case a.keyFile != "" && a.keyCommand != "":
		return "", "", usage("--key-file and --key-command cannot be used together")
	case a.keyFile != "":
		from = "the file of --key-file"
		if text, err = readKeyFile(a.keyFile); err != nil {
			return "", "", keyError{fmt.Errorf("gamma: --key-file: %w", err)}
		}
	case a.keyCommand != "":
		from = "the output of --key-command"
		cmd := shell(ctx, a.keyCommand)
		cmd.Stderr = a.err
		// A process that it leaves in the background, such as an agent, may keep its output open.
		cmd.WaitDelay = time.Second
		if text, err = cmd.Output(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
			return "", "", keyError{fmt.Errorf("gamma: --key-command: %w", err)}
		}
	default:
		from = fromEnv
		text = []byte(a.getenv("GAMMA_API_KEY"))
	}
	text = bytes.TrimPrefix(text, []byte(byteOrderMark))
	line, _, _ := bytes.Cut(bytes.TrimSpace(text), []byte("\n"))
	key = strings.TrimSpace(string(line))
	switch {
	case key == "" && from == fromEnv:
		return "", "", keyError{errors.New("gamma: no API key: set GAMMA_API_KEY, or use --key-file or --key-command")}
	case key == "":
		return "", "", keyError{fmt.Errorf("gamma: no API key: %s is empty", from)}
	case len(text) > maxKeyFile:
		return "", "", keyError{fmt.Errorf("gamma: %s is not a key: it is too long", from)}
	}
	return key, from, nil
}

func readKeyFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, maxKeyFile+1))
}

// environment returns the options that the environment sets, by the rules of
// [gamma.NewClientFromEnv], and the user agent of the command.
func (a *app) environment() ([]gamma.Option, error) {
	opts := []gamma.Option{gamma.WithUserAgent("gamma/" + gamma.Version + " gamma-go/" + gamma.Version)}
	if base := strings.TrimSpace(a.getenv("GAMMA_BASE_URL")); base != "" {
		opts = append(opts, gamma.WithBaseURL(base))
	}
	if insecure := strings.Trim(strings.TrimSpace(a.getenv("GAMMA_INSECURE_HTTP")), `"'`); insecure != "" {
		on, err := strconv.ParseBool(insecure)
		if err != nil {
			return nil, usage("the environment variable GAMMA_INSECURE_HTTP is not a boolean")
		}
		if on {
			opts = append(opts, gamma.WithInsecureHTTP())
		}
	}
	return opts, nil
}

// keys matches API keys of Gamma.
var keys = regexp.MustCompile(`sk-gamma-[\w-]+`)

// withoutKey replaces keys in s, which may be there by mistake, as in an argument: output may
// be shared.
func withoutKey(s string) string { return keys.ReplaceAllLiteralString(s, "KEY") }
