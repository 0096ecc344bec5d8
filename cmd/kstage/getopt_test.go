package main

import (
	"fmt"
	"strings"
	"testing"
)

// The texts are those of glibc 2.36, seen with kmod's depmod.
func TestGetopt(t *testing.T) {
	known := []option{{'a', "all", false}, {'b', "basedir", true}, {'n', "show", false}, {'n', "dry-run", false},
		{'E', "symvers", true}, {'v', "verbose", false}, {'V', "version", false}, {'P', "symbol-prefix", true}}
	for _, c := range []struct{ args, want string }{
		{"", ""},
		{"-a 6.1", "a | 6.1"},
		{"6.1 -a file", "a | 6.1 file"},
		{"-an", "a n | "},
		{"-ab /x", "a b=/x | "},
		{"-b/x -vv", "b=/x v v | "},
		{"--basedir /x --basedir=/y --base=/z --b=", "b=/x b=/y b=/z b= | "},
		{"--show --dry --sho", "n n n | "},
		{"-a -- -b -- x", "a | -b -- x"},
		{"- -a", "a | -"},
		{"-aZ -n", "a | : depmod: invalid option -- 'Z'"},
		{"-b", " | : depmod: option requires an argument -- 'b'"},
		{"--basedir", " | : depmod: option '--basedir' requires an argument"},
		{"--all=1", " | : depmod: option '--all' doesn't allow an argument"},
		{"--foo=1", " | : depmod: unrecognized option '--foo=1'"},
		{"x --sy", " | x: depmod: option '--sy' is ambiguous; possibilities: '--symvers' '--symbol-prefix'"},
		{"--ver", " | : depmod: option '--ver' is ambiguous; possibilities: '--verbose' '--version'"},
	} {
		options, operands, err := getopt("depmod", known, strings.Fields(c.args))
		var words []string
		for _, o := range options {
			if word := string(o.short); o.arg {
				words = append(words, word+"="+o.value)
			} else {
				words = append(words, word)
			}
		}
		got := strings.Join(words, " ") + " | " + strings.Join(operands, " ")
		if err != nil {
			got += fmt.Sprintf(": %v", err)
		}
		if c.args == "" {
			got = strings.TrimPrefix(got, " | ")
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.args, got, c.want)
		}
	}
}
