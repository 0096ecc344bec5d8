package main

import (
	"errors"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// known are words by which other programs call what a command does.
var known = map[string]string{
	"build": "pack", "create": "pack", "dracut": "pack", "mkinitramfs": "pack", "mkinitrd": "pack", "update-initramfs": "pack",
	"list": "ls", "lsinitramfs": "ls", "lsinitrd": "ls", "show": "ls", "print": "cat",
	"cpio": "extract", "unmkinitramfs": "extract", "unpack": "extract",
	"insmod": "check", "modprobe": "deps", "modules_install": "install",
	"compare": "diff", "dmesg": "explain", "du": "size", "version": "--version",
}

// suggest names the command that looks most like word.
func suggest(root *cobra.Command, word string) string {
	if name := known[word]; name != "" {
		return "kstage " + name + " does that"
	}
	switch info, err := os.Stat(word); {
	case err == nil && info.IsDir():
		return "a command comes first: kstage pack " + word
	case err == nil:
		return "a command comes first: kstage ls " + word
	}
	var names []string
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	if name := likeliest(names, word); name != "" {
		return "did you mean kstage " + name + "?"
	}
	return "kstage help lists the commands"
}

// likeliest gives the name that word may have been meant to be: one that it begins, else
// the nearest within two letters, of those the one with the same first letter.
func likeliest(names []string, word string) (best string) {
	const most = 2
	least := 2*most + 1
	for _, name := range names {
		if len(word) > 1 && strings.HasPrefix(name, word) {
			return name
		}
		d := distance(name, word)
		if d > most || d >= len(word) {
			continue
		}
		d *= 2
		if name[0] != word[0] {
			d++
		}
		if d < least || d == least && name < best {
			best, least = name, d
		}
	}
	return best
}

// suggestOption names the option that looks most like one that there is not.
func suggestOption(cmd *cobra.Command, err error) string {
	if !cmd.HasParent() {
		return "options stand behind the command; kstage help lists the commands"
	}
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if name := likeliest(names, unknown.GetSpecifiedName()); name != "" {
			return "did you mean --" + name + "?"
		}
	}
	return cmd.CommandPath() + " --help lists the options"
}

// usageLine is the form of a call.
func usageLine(cmd *cobra.Command) string {
	if !cmd.HasParent() {
		return "kstage COMMAND ..."
	}
	return cmd.UseLine()
}
