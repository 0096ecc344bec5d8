package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// suggest names the command that looks most like word.
func suggest(root *cobra.Command, word string) string {
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
