package main

import (
	"fmt"
	"strings"
)

// The drop-ins take their options as kmod's programs do, by GNU getopt_long:
// short ones may be joined, long ones cut short, options and operands mixed, and
// "--" ends the options. pflag has other rules and other messages.

// An option is one that a drop-in knows.
type option struct {
	short byte   // 0: it has no short form
	long  string // "": it has no long form
	arg   bool   // it wants an argument
}

// A given option is one that was met in the arguments.
type given struct {
	option
	value string
}

// getopt takes args apart. Options that come before a wrong one are returned
// with the error, whose text is glibc's.
func getopt(program string, known []option, args []string) (options []given, operands []string, err error) {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		var met []given
		switch {
		case arg == "--":
			return options, append(operands, args...), nil
		case strings.HasPrefix(arg, "--"):
			met, args, err = longOption(known, arg[2:], args)
		case len(arg) > 1 && arg[0] == '-':
			met, args, err = shortOptions(known, arg[1:], args)
		default:
			operands = append(operands, arg)
		}
		options = append(options, met...)
		if err != nil {
			return options, operands, fmt.Errorf("%s: %w", program, err)
		}
	}
	return options, operands, nil
}

func shortOptions(known []option, letters string, args []string) (met []given, rest []string, err error) {
	for i := range len(letters) {
		o, ok := findShort(known, letters[i])
		switch {
		case !ok:
			return met, args, fmt.Errorf("invalid option -- '%c'", letters[i])
		case !o.arg:
			met = append(met, given{option: o})
		case i+1 < len(letters):
			return append(met, given{o, letters[i+1:]}), args, nil
		case len(args) > 0:
			return append(met, given{o, args[0]}), args[1:], nil
		default:
			return met, args, fmt.Errorf("option requires an argument -- '%c'", letters[i])
		}
	}
	return met, args, nil
}

func findShort(known []option, letter byte) (option, bool) {
	for _, o := range known {
		if o.short == letter {
			return o, true
		}
	}
	return option{}, false
}

func longOption(known []option, text string, args []string) (met []given, rest []string, err error) {
	name, value, hasValue := strings.Cut(text, "=")
	o, err := findLong(known, name, text)
	switch {
	case err != nil:
		return nil, args, err
	case hasValue && !o.arg:
		return nil, args, fmt.Errorf("option '--%s' doesn't allow an argument", o.long)
	case hasValue || !o.arg:
		return []given{{o, value}}, args, nil
	case len(args) == 0:
		return nil, args, fmt.Errorf("option '--%s' requires an argument", o.long)
	}
	return []given{{o, args[0]}}, args[1:], nil
}

// findLong takes an exact name, or the only one that begins so; several names of
// one and the same short option are no conflict.
func findLong(known []option, name, typed string) (option, error) {
	var found []option
	for _, o := range known {
		if o.long == name && name != "" {
			return o, nil
		}
		if o.long != "" && strings.HasPrefix(o.long, name) {
			found = append(found, o)
		}
	}
	switch {
	case len(found) == 0:
		return option{}, fmt.Errorf("unrecognized option '--%s'", typed)
	case len(found) == 1 || sameShort(found):
		return found[0], nil
	}
	var names strings.Builder
	for _, o := range found {
		names.WriteString(" '--" + o.long + "'")
	}
	return option{}, fmt.Errorf("option '--%s' is ambiguous; possibilities:%s", typed, &names)
}

func sameShort(options []option) bool {
	for _, o := range options {
		if o.short != options[0].short || o.short == 0 {
			return false
		}
	}
	return true
}
