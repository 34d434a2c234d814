package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// groups are the commands in the order of the help.
var groups = []struct {
	title    string
	commands []func(*app) *cobra.Command
}{
	{"Create and wait", []func(*app) *cobra.Command{newCreate, newWait, newStatus}},
	{"Check, list and archive", []func(*app) *cobra.Command{newCheck, newThemes, newFolders, newArchive}},
	{"Develop without a key", []func(*app) *cobra.Command{newServe, newDemo}},
	{"Other", []func(*app) *cobra.Command{newCompletion, newVersion}},
}

var progressModes = []string{"auto", "live", "plain", "none"}

// newRoot returns the command tree.
func newRoot(a *app) *cobra.Command {
	cobra.EnableCommandSorting = false
	root := &cobra.Command{
		Use:                        "gamma",
		Short:                      "Make presentations, documents and web pages with the Gamma API",
		SilenceErrors:              true,
		SuggestionsMinimumDistance: 2,
		SilenceUsage:               true,
		CompletionOptions:          cobra.CompletionOptions{DisableDefaultCmd: true},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	flags := root.PersistentFlags()
	flags.BoolVar(&a.json, "json", false, "print results as JSON, one object per line (default: text)")
	flags.StringVar(&a.progress, "progress", "auto", "progress on standard error, `MODE`: auto, live, plain, or none for errors only")
	flags.StringVar(&a.keyFile, "key-file", "", "read the API key from the first line of `FILE` (default: from GAMMA_API_KEY)")
	flags.StringVar(&a.keyCommand, "key-command", "", "read the API key from the output of the shell command `CMD` (default: from GAMMA_API_KEY)")
	_ = root.RegisterFlagCompletionFunc("progress", cobra.FixedCompletions(progressModes, cobra.ShellCompDirectiveNoFileComp))
	for _, group := range groups {
		root.AddGroup(&cobra.Group{ID: group.title, Title: group.title})
		for _, command := range group.commands {
			cmd := command(a)
			cmd.GroupID = group.title
			a.prepare(cmd)
			root.AddCommand(cmd)
		}
	}
	root.AddCommand(exitCodes())
	help := newHelp()
	help.GroupID = "Other"
	root.SetHelpCommand(help)
	usual := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		if cmd == root {
			cmd.Print(overview(root))
			return
		}
		usual(cmd, args)
	})
	return root
}

// prepare makes cmd check the flags that all commands have, and set a.started.
func (a *app) prepare(cmd *cobra.Command) {
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !slices.Contains(progressModes, a.progress) {
			return fmt.Errorf("--progress is %q, not auto, live, plain or none", a.progress)
		}
		var empty error // an empty value, as of an unset variable in a script, is not the default
		cmd.Flags().Visit(func(f *pflag.Flag) {
			if f.Value.String() == "" {
				empty = fmt.Errorf("--%s is empty", f.Name)
			}
		})
		if empty != nil {
			return empty
		}
		a.started = true
		return run(cmd, args)
	}
}

// overview returns the help of the root command, which fits into 80 by 24 characters.
func overview(root *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\nUsage: gamma COMMAND [flags]\n", root.Short)
	for _, group := range root.Groups() {
		fmt.Fprintf(&b, "%s:\n", group.Title)
		for _, cmd := range root.Commands() {
			if cmd.GroupID == group.ID {
				use, _, _ := strings.Cut(cmd.Use, " |") // the other forms are in the command's own help
				fmt.Fprintf(&b, "  %-20s %s\n", use, cmd.Short)
			}
		}
	}
	b.WriteString("The API key comes from GAMMA_API_KEY, --key-file FILE or --key-command CMD.\n")
	b.WriteString("All commands have --json, --progress auto|live|plain|none, and --help.\n")
	return b.String()
}

// oneLine returns the text of an error from cobra as one line, with the help to see.
func oneLine(cmd *cobra.Command, err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	see := "gamma help"
	if cmd.HasParent() && cmd.Name() != "help" {
		see += " " + cmd.Name()
	}
	return strings.TrimPrefix(text, "gamma: ") + fmt.Sprintf(" (see %q)", see)
}

func unknownCommand(root *cobra.Command, name string) error {
	text := fmt.Sprintf("unknown command %q", name)
	if s := root.SuggestionsFor(name); len(s) > 0 {
		text += ", did you mean " + strings.Join(s, " or ") + "?"
	}
	return usage("%s", text)
}

// arguments checks the number of arguments. A negative maximum means any number. what names
// the first argument.
func arguments(minimum, maximum int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < minimum:
			return fmt.Errorf("%s is missing", what)
		case maximum >= 0 && len(args) > maximum:
			return fmt.Errorf("too many arguments: %d, want at most %d", len(args), maximum)
		}
		return nil
	}
}
