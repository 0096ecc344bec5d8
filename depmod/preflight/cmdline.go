package preflight

import (
	"iter"
	"strings"
)

// arguments yields the words of a kernel's or a module's arguments, each as name and
// value; bare ones have no value. Blanks part the words, but not between double
// quotes; quotes around a word or a value are taken off (lib/cmdline.c, next_arg).
func arguments(text string) iter.Seq2[string, *string] {
	return func(yield func(string, *string) bool) {
		for {
			text = strings.TrimLeft(text, " \t\n\v\f\r")
			if text == "" {
				return
			}
			var word string
			word, text = nextWord(text)
			name, value := nameValue(unquoted(word))
			if !yield(name, value) {
				return
			}
		}
	}
}

// nameValue parts a word at its first "=", which cannot be its first byte.
func nameValue(word string) (name string, value *string) {
	if word == "" {
		return "", nil
	}
	at := strings.IndexByte(word[1:], '=')
	if at < 0 {
		return word, nil
	}
	text := unquoted(word[at+2:])
	return word[:at+1], &text
}

// afterDashes gives what follows a word "--".
func afterDashes(text string) (rest string, found bool) {
	const blanks = " \t\n\v\f\r"
	for text = strings.TrimLeft(text, blanks); text != ""; text = strings.TrimLeft(text, blanks) {
		var word string
		if word, text = nextWord(text); unquoted(word) == "--" {
			return strings.TrimLeft(text, blanks), true
		}
	}
	return "", false
}

func nextWord(text string) (word, rest string) {
	quoted := false
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"':
			quoted = !quoted
		case !quoted && strings.IndexByte(" \t\n\v\f\r", c) >= 0:
			return text[:i], text[i:]
		}
	}
	return text, ""
}

func unquoted(s string) string {
	if rest, ok := strings.CutPrefix(s, `"`); ok {
		return strings.TrimSuffix(rest, `"`)
	}
	return s
}

// same compares names of parameters, for which dashes are underscores.
func same(a, b string) bool { return underscored(a) == underscored(b) }

func underscored(s string) string { return strings.ReplaceAll(s, "-", "_") }

// kernelArgument gives the last value of an argument on the kernel's command line;
// "1" for one without a value.
func (c *Check) kernelArgument(name string) (value string, given bool) {
	for n, v := range arguments(c.Cmdline) {
		switch {
		case n == "--" && v == nil: // the rest is for init
			return value, given
		case !same(n, name):
		case v == nil:
			value, given = "1", true
		default:
			value, given = *v, true
		}
	}
	return value, given
}

// parseBool reads a truth value as the kernel does (lib/kstrtox.c, kstrtobool).
func parseBool(s string) (value, ok bool) {
	switch {
	case s == "":
		return false, false
	case strings.IndexByte("yYtT1", s[0]) >= 0:
		return true, true
	case strings.IndexByte("nNfF0", s[0]) >= 0:
		return false, true
	case len(s) > 1 && (s[0] == 'o' || s[0] == 'O'):
		return s[1] == 'n' || s[1] == 'N', strings.IndexByte("nNfF", s[1]) >= 0
	}
	return false, false
}
