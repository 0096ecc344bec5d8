package main

import (
	"embed"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

//go:embed topics/*.txt
var topicFiles embed.FS

// topicNames are the concept pages, in the order in which they are best read.
var topicNames = []string{"images", "modules", "checks", "boot"}

// A topic is a concept page; its first line says what it is about.
type topic struct{ name, about, text string }

func topics() []topic {
	var all []topic
	for _, name := range topicNames {
		data, err := topicFiles.ReadFile(path.Join("topics", name+".txt"))
		if err != nil {
			panic(err) // it is part of the program
		}
		about, text, _ := strings.Cut(string(data), "\n")
		all = append(all, topic{name, about, strings.TrimPrefix(text, "\n")})
	}
	return all
}

// newHelp is the help command. A topic that is called like a command comes first,
// since the command tells about itself with --help.
func newHelp(u *ui) *cobra.Command {
	return &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "help [COMMAND|TOPIC]",
		Short:                 "Show what a command does, or a page about images, modules, checks or boot",
		Args:                  operands(cobra.MaximumNArgs(1), ""),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var words []string
			if len(args) == 0 {
				words = helpWords(cmd.Root())
			}
			return words, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Root().Help()
			}
			for _, t := range topics() {
				if t.name == args[0] {
					_, err := fmt.Fprintf(u.out, "%s: %s\n\n%s", t.name, t.about, t.text)
					return err
				}
			}
			if c, _, err := cmd.Root().Find(args); err == nil && c != cmd.Root() {
				c.InitDefaultHelpFlag()
				return c.Help()
			}
			return &usageError{line: cmd.UseLine(), err: withHint(fmt.Errorf("there is no help about %q", args[0]), suggest(cmd.Root(), args[0]))}
		},
	}
}

// helpWords are what help can be asked about, each with a tab and a line about it.
func helpWords(root *cobra.Command) []string {
	var words []string
	for _, t := range topics() {
		words = append(words, t.name+"\t"+t.about)
	}
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			words = append(words, c.Name()+"\t"+c.Short)
		}
	}
	return words
}

// usageText prints the forms, examples, commands and options of a command. That of
// cobra shows each switch as --name[=true|false], and lines of any length.
func usageText(cmd *cobra.Command) error {
	w := cmd.OutOrStdout()
	fmt.Fprintf(w, "Usage:\n  %s\n", usageLine(cmd))
	if cmd.HasExample() {
		fmt.Fprintf(w, "\nExamples:\n%s\n", cmd.Example)
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprint(w, "\nCommands:\n")
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() || c.Name() == "help" {
				fmt.Fprintf(w, "  %-12s %s\n", c.Name(), c.Short)
			}
		}
		fmt.Fprint(w, "\nTopics (kstage help TOPIC):\n")
		for _, t := range topics() {
			fmt.Fprintf(w, "  %-12s %s\n", t.name, t.about)
		}
	}
	fmt.Fprint(w, "\nOptions:\n")
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { writeOption(w, f) })
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(w, "\nkstage COMMAND --help tells more about a command.\n")
	}
	return nil
}

// optionColumn is where the text about an option begins, optionWidth where it ends.
const (
	optionColumn = 30
	optionWidth  = 96
)

func writeOption(w io.Writer, f *pflag.Flag) {
	if f.Hidden {
		return
	}
	name, value, text := optionText(f)
	head := "      --" + name
	if f.Shorthand != "" {
		head = "  -" + f.Shorthand + ", --" + name
	}
	if value != "" {
		head += " " + value
	}
	if len(head) > optionColumn-2 { // the text has lines of its own
		fmt.Fprintln(w, head)
		head = ""
	}
	for _, line := range wrap(text, optionWidth-optionColumn) {
		fmt.Fprintf(w, "%-*s%s\n", optionColumn, head, line)
		head = ""
	}
}

// optionText gives the parts of what is said about an option.
func optionText(f *pflag.Flag) (name, value, text string) {
	value, text = pflag.UnquoteUsage(f)
	switch f.DefValue {
	case "", "false", "0", "[]":
	default:
		text += " (default " + f.DefValue + ")"
	}
	return f.Name, value, text
}

// wrap breaks a text into lines of at most width bytes, where its words allow.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
