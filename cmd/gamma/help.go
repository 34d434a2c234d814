package main

import (
	"fmt"
	"runtime"

	"github.com/gamma-sdk/gamma-go"
	"github.com/spf13/cobra"
)

func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Explain a command, or \"exit-codes\"",
		Args:  arguments(0, 1, "a command"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, c := range cmd.Root().Commands() {
				if len(args) == 0 && !c.Hidden {
					names = append(names, c.Name())
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			if len(args) == 0 {
				return root.Help()
			}
			for _, c := range root.Commands() {
				if c.Name() == args[0] {
					c.InitDefaultHelpFlag()
					return c.Help()
				}
			}
			return unknownCommand(root, args[0])
		},
	}
}

// exitCodes returns the topic of "gamma help exit-codes".
func exitCodes() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "The exit codes of gamma",
		Long: `The exit codes of gamma:

    0  all done
    1  any other error, such as a file that could not be saved
    2  invalid usage or input: nothing was sent
    3  a generation failed
    4  the API key is missing, invalid, without permission or without credits
    5  not finished in time: wait for the printed id again
    6  a generation may have been created: look at Gamma before you create it again
  129  the terminal was closed (SIGHUP)
  130  interrupted (SIGINT, Ctrl-C)
  143  terminated (SIGTERM)

Of several results the first of 6, 4, 1, 3 and 5 counts. After a signal the exit code is
always 129, 130 or 143.

With --json, errors have a stable "code": usage, invalid_request,
unauthorized, forbidden, no_credits, rate_limited, not_found, failed, not_finished,
no_export, maybe_created, link_expired, save_failed, journal, locked, stopped,
interrupted, other.
`,
	}
}

func newCompletion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print a completion script for a shell",
		Long: `Prints a script with which bash, zsh, fish or powershell completes the commands and flags
of gamma. The script for bash needs the package bash-completion.`,
		Example: `  source <(gamma completion bash)
  gamma completion zsh > "${fpath[1]}/_gamma"
  gamma completion fish > ~/.config/fish/completions/gamma.fish
  gamma completion powershell | Out-String | Invoke-Expression`,
		Args:      cobra.MatchAll(arguments(1, 1, "the name of a shell"), cobra.OnlyValidArgs),
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch root := cmd.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.out, true)
			case "zsh":
				return root.GenZshCompletion(a.out)
			case "fish":
				return root.GenFishCompletion(a.out, true)
			default:
				return root.GenPowerShellCompletionWithDesc(a.out)
			}
		},
	}
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "version",
		Short:             "Print the version",
		Long:              "Prints the version of gamma, the version of Go that it was built with, and its platform.",
		Example:           "  gamma version",
		Args:              arguments(0, 0, ""),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			platform := runtime.GOOS + "/" + runtime.GOARCH
			if a.json {
				return a.printJSON(map[string]string{"version": gamma.Version, "go": runtime.Version(), "platform": platform})
			}
			return a.result(fmt.Sprintf("gamma %s %s %s\n", gamma.Version, runtime.Version(), platform))
		},
	}
}
