// Command kstage turns a directory into a bootable initrd, with its kernel
// modules indexed.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitProblems    = 3 // done, but --strict or verify found what must not be
	exitInterrupted = 130
)

func main() { os.Exit(dispatch(os.Args, os.Stdout, os.Stderr)) }

// dispatch lets the name that the program was called by decide what it is.
func dispatch(argv []string, stdout, stderr io.Writer) int {
	switch strings.TrimSuffix(filepath.Base(argv[0]), ".exe") {
	case "depmod":
		return depmodMain(argv[0], argv[1:], stdout, stderr)
	case "modinfo":
		return modinfoMain(argv[0], argv[1:], stdout, stderr)
	}
	return run(argv[1:], stdout, stderr)
}

// run is kstage itself.
func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	u := newUI(stdout, stderr)
	root := newRootFor(u, args)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	u.endProgress()
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errProblems):
		return exitProblems
	case ctx.Err() != nil, errors.Is(err, errInterrupted):
		u.line("error", "interrupted, %s", cmp.Or(u.begun, "nothing was written"))
		return exitInterrupted
	}
	var usage *usageError
	if errors.As(err, &usage) {
		u.error(err)
		fmt.Fprintf(stderr, "usage: %s\n", usage.line)
		return exitUsage
	}
	u.error(err)
	return exitFailed
}

// commands make each command there is.
var commands = []struct {
	name string
	make func(*ui) *cobra.Command
}{
	{"boot", newBoot}, {"cat", newCat}, {"check", newCheck}, {"completion", newCompletion}, {"depmod", newDepmod},
	{"deps", newDeps}, {"diff", newDiff}, {"explain", newExplain}, {"extract", newExtract}, {"install", newInstall},
	{"ls", newLs}, {"man", newMan}, {"modinfo", newModinfo}, {"pack", newPack}, {"report", newReport},
	{"size", newSize}, {"verify", newVerify},
}

// newRootFor is newRoot without the commands that are not called, which makes a start a
// tenth shorter.
func newRootFor(u *ui, args []string) *cobra.Command {
	if len(args) == 0 || args[0] == "completion" || args[0] == "man" { // which tell about the others
		return newRoot(u)
	}
	for _, c := range commands {
		if c.name == args[0] {
			root := bareRoot(u)
			root.AddCommand(c.make(u))
			return root
		}
	}
	return newRoot(u)
}

func newRoot(u *ui) *cobra.Command {
	root := bareRoot(u)
	for _, c := range commands {
		root.AddCommand(c.make(u))
	}
	complete(root)
	return root
}

func bareRoot(u *ui) *cobra.Command {
	root := &cobra.Command{
		Use:           "kstage",
		Short:         "Turn a directory into a bootable initrd, with its kernel modules indexed",
		Version:       versionText(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &usageError{line: usageLine(cmd), err: withHint(fmt.Errorf("there is no command %q", args[0]),
					suggest(cmd, args[0]))}
			}
			return cmd.Help()
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{line: usageLine(cmd), err: withHint(err, suggestOption(cmd, err))}
	})
	root.SetHelpCommand(newHelp(u))
	root.SetUsageFunc(usageText)
	root.CompletionOptions.DisableDefaultCmd = true // newCompletion is it
	return root
}

// A usageError is a call that cannot be understood; line shows the right form.
type usageError struct {
	line string
	err  error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// operands makes the wrong number of operands a usage error.
func operands(check cobra.PositionalArgs, missing string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if check(cmd, args) == nil {
			return nil
		}
		text := fmt.Sprintf("too many operands: %q", args)
		if len(args) == 0 || check(cmd, append(slices.Clone(args), "")) == nil { // none takes more than two
			text = missing
		}
		return &usageError{line: cmd.UseLine(), err: errors.New(text)}
	}
}

// errProblems ends a command that did its work but found what --strict forbids, or what
// keeps a kernel from unpacking an image.
var errProblems = errors.New("problems were found")
