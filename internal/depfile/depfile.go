// Package depfile writes what a file was made from, in the words of make that ninja
// reads too: the rules that compilers write for -MD -MP.
//
//	initrd.img: \
//	  rootfs \
//	  rootfs/init
//
//	rootfs \
//	  rootfs/init:
//
// The second rule keeps make from stopping when one of the files is gone: it has nothing
// to make it with, and takes what depends on it as out of date.
package depfile

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Write writes the rules by which targets were made from files and directories, sorted
// and each once. It writes nothing if there is a name that make and ninja do not both
// understand: make ends a name at some characters, takes others for patterns and
// functions, and the two do not undo the same escapes (GNU make's read.c, ninja's
// depfile_parser.in.cc).
//
// A name with an equals sign stands behind the others and not in the second rule, where
// make would define a variable: without such a file make stops.
func Write(w io.Writer, targets, from []string) error {
	from = slices.Compact(slices.Sorted(slices.Values(from)))
	for _, name := range slices.Concat(targets, from) {
		if why := unsayable(name); why != "" {
			return &NameError{name, why}
		}
	}
	assigns := func(name string) bool { return strings.Contains(name, "=") }
	safe := slices.DeleteFunc(slices.Clone(from), assigns)
	if i := slices.IndexFunc(targets, assigns); i >= 0 {
		return &NameError{targets[i], "an equals sign"}
	}
	if len(safe) == 0 && len(from) > 0 {
		return &NameError{from[0], "an equals sign, and no other stands before it"}
	}
	if len(safe) > 0 && !strings.Contains(safe[0], "/") {
		safe[0] = "./" + safe[0] // where make has words of its own, such as export or include
	}
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "%s:", listed(targets))
	if len(from) > 0 {
		all := append(safe, slices.DeleteFunc(from, func(name string) bool { return !assigns(name) })...)
		fmt.Fprintf(out, " \\\n  %s\n\n%s:", listed(all), listed(safe))
	}
	fmt.Fprintln(out)
	return out.Flush()
}

// A NameError tells of a name that cannot be written.
type NameError struct {
	Name string
	Has  string // what hinders
}

func (e *NameError) Error() string {
	return fmt.Sprintf("the name %q cannot be told to make and ninja: it has %s", e.Name, e.Has)
}

// unsayable tells what a name has that cannot be written.
func unsayable(name string) string {
	for i, c := range []byte(name) {
		switch {
		case c < ' ' || c == 0x7f:
			return fmt.Sprintf("the control character %q", c)
		case strings.IndexByte("%&'*;<>?^`|\"", c) >= 0:
			return fmt.Sprintf("the character %c", c)
		case c == '\\' && (i+1 == len(name) || strings.IndexByte(` #:\`, name[i+1]) >= 0):
			return `a backslash before one of space, #, : and \ or at its end`
		case c == ':' && (i+1 == len(name) || name[i+1] == ' '):
			return "a colon before a space or at its end"
		}
	}
	switch {
	case name == "":
		return "no characters"
	case name[0] == '~', name[0] == '=':
		return fmt.Sprintf("the character %c in front", name[0])
	case strings.HasSuffix(name, " "):
		return "a space at its end"
	case strings.HasSuffix(name, ")") && strings.Contains(name, "("):
		return "brackets at its end, as a member of an archive"
	}
	return ""
}

var escapes = strings.NewReplacer(" ", `\ `, "#", `\#`, "$", "$$", ":", `\:`)

// listed writes names, each on a line of its own.
func listed(names []string) string {
	var all []string
	for _, name := range names {
		all = append(all, escapes.Replace(name))
	}
	return strings.Join(all, " \\\n  ")
}
