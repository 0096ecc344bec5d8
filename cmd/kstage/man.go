package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kstage/kstage/internal/atomicfile"
)

//go:generate go run . man ../../docs/man

// writtenByHand are the commands whose manual pages say more than their help: those
// that stand in for kmod's.
var writtenByHand = map[string]bool{"depmod": true, "modinfo": true}

func newMan(*ui) *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the manual pages into a directory",
		Hidden: true,
		Args:   operands(cobra.ExactArgs(1), "name the directory for the pages"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			for name, text := range manPages(cmd.Root()) {
				write := func(w io.Writer) error {
					_, err := io.WriteString(w, text)
					return err
				}
				if _, err := atomicfile.Update(filepath.Join(args[0], name), 0o644, write); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// manPages gives the manual pages by their file names, in man's own macros: see
// groff_man(7).
func manPages(root *cobra.Command) map[string]string {
	pages := make(map[string]string)
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() && !writtenByHand[c.Name()] {
			pages["kstage-"+c.Name()+".1"] = commandPage(c)
		}
	}
	for _, t := range topics() {
		var b strings.Builder
		head(&b, t.name, 7, "Concepts", t.about)
		b.WriteString(".SH DESCRIPTION\n" + roffText(t.text))
		b.WriteString(".SH SEE ALSO\n" + seeAlso)
		pages["kstage-"+t.name+".7"] = b.String()
	}
	return pages
}

const seeAlso = ".BR kstage (1)\n"

// head begins a page. It has no date: that of the build would make each one differ.
func head(b *strings.Builder, name string, section int, group, about string) {
	name = "kstage-" + name
	fmt.Fprintf(b, ".TH %s %d \"\" kstage \"%s\"\n", roffWord(strings.ToUpper(name)), section, group)
	fmt.Fprintf(b, ".SH NAME\n%s \\- %s\n", roffWord(name), roffWord(about))
}

func commandPage(c *cobra.Command) string {
	var b strings.Builder
	head(&b, c.Name(), 1, "User commands", strings.ToLower(c.Short[:1])+c.Short[1:])
	operands := strings.TrimPrefix(c.UseLine(), c.CommandPath())
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n%s\n", roffWord(c.CommandPath()), roffWord(strings.TrimSpace(operands)))
	b.WriteString(".SH DESCRIPTION\n" + roffText(c.Long))
	if c.HasAvailableLocalFlags() {
		b.WriteString(".SH OPTIONS\n")
	}
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && f.Name != "help" {
			roffOption(&b, f)
		}
	})
	b.WriteString(".SH EXIT STATUS\n0 done; 1 failed; 2 wrong usage; 3 done, but there are problems; 130 interrupted.\n")
	if c.HasExample() {
		fmt.Fprintf(&b, ".SH EXAMPLES\n.nf\n%s\n.fi\n", roffLines(strings.ReplaceAll("\n"+c.Example, "\n  ", "\n")[1:]))
	}
	b.WriteString(".SH SEE ALSO\n" + seeAlso)
	return b.String()
}

func roffOption(b *strings.Builder, f *pflag.Flag) {
	name, value, text := optionText(f)
	b.WriteString(".TP\n")
	if f.Shorthand != "" {
		fmt.Fprintf(b, `\fB\-%s\fR, `, f.Shorthand)
	}
	fmt.Fprintf(b, `\fB%s\fR`, roffWord("--"+name))
	if value != "" {
		fmt.Fprintf(b, ` \fI%s\fR`, roffWord(value))
	}
	b.WriteString("\n" + roffLines(text) + "\n")
}

// roffText sets paragraphs; lines that are set in stay lines.
func roffText(text string) string {
	var b strings.Builder
	begun, set := false, false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch in := strings.HasPrefix(line, " "); {
		case in && !set:
			b.WriteString(".RS 2\n.nf\n")
		case !in && set:
			b.WriteString(".fi\n.RE\n")
		}
		set = strings.HasPrefix(line, " ")
		if line == "" && begun {
			b.WriteString(".PP\n")
		} else if line != "" {
			b.WriteString(roffLines(strings.TrimPrefix(line, "  ")) + "\n")
			begun = true
		}
	}
	if set {
		b.WriteString(".fi\n.RE\n")
	}
	return b.String()
}

// roffLines escapes lines: one that begins with a point or an apostrophe would be a
// request.
func roffLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = roffWord(line)
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + lines[i]
		}
	}
	return strings.Join(lines, "\n")
}

// roffWord escapes what roff would change: a hyphen that is no minus could not be
// copied into a shell, an apostrophe would be a curved one.
var roffWord = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`, "…", "...").Replace
