package depmod

import (
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strings"
)

// Config is what depmod.d(5) files say for one kernel version. The zero value is
// what holds without any.
//
//	search WORD...              directories, best first; also "built-in" and "external"
//	override NAME VERSION DIR   the module NAME is taken from DIR
//	external VERSION DIR        modules outside the module directory
//	exclude NAME...             files and directories of that name are passed over
//
// VERSION is "*" or a POSIX extended regular expression, found anywhere in the
// version. "include" and "make_map_files" are accepted and ignored.
type Config struct {
	Search    []string
	Overrides []string // "DIR/NAME", in the order of the files
	Externals []string // absolute directories, in the order of the files
	Excludes  []string
}

// Parse adds what one configuration file says for version. name stands in the
// findings only.
func (c *Config) Parse(name string, data []byte, version string) []Problem {
	var problems []Problem
	for number, line := range ConfigLines(string(data)) {
		words := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
		if len(words) > 0 && !c.directive(words[0], words[1:], version) {
			problems = append(problems, Problem{Rule: RuleConfig, Severity: Error, Path: name,
				Text: fmt.Sprintf("line %d is ignored: %q is unknown or lacks words", number, words[0]),
				kmod: fmt.Sprintf("%s:%d: ignoring bad line starting with '%s'", name, number, words[0])})
		}
	}
	return problems
}

// ConfigLines yields the lines of a file of depmod.d or modprobe.d with the number of
// the last line they are made of; empty ones and comments are passed over. A
// backslash takes away what is special in the next character, a newline's being to
// end the line.
func ConfigLines(text string) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		var line strings.Builder
		number := 1
		for i := 0; i < len(text); i++ {
			switch {
			case text[i] == '\\' && i+1 < len(text):
				if i++; text[i] == '\n' {
					number++
				} else {
					line.WriteByte(text[i])
				}
			case text[i] == '\n':
				if !yieldLine(yield, number, line.String()) {
					return
				}
				line.Reset()
				number++
			default:
				line.WriteByte(text[i])
			}
		}
		yieldLine(yield, number, line.String())
	}
}

// yieldLine passes over empty lines and those that begin with a '#'.
func yieldLine(yield func(int, string) bool, number int, line string) bool {
	return line == "" || line[0] == '#' || yield(number, line)
}

// directive takes one line; false if it makes no sense.
func (c *Config) directive(word string, args []string, version string) bool {
	wants := map[string]int{"search": 0, "override": 3, "external": 2, "exclude": 0, "include": 0, "make_map_files": 0}
	if n, known := wants[word]; !known || len(args) < n {
		return false
	}
	switch word {
	case "search":
		c.Search = append(c.Search, args...)
	case "exclude":
		c.Excludes = append(c.Excludes, args...)
	case "override":
		if versionMatches(args[1], version) {
			c.Overrides = append(c.Overrides, args[2]+"/"+args[0])
		}
	case "external":
		if versionMatches(args[0], version) {
			c.Externals = append(c.Externals, args[1])
		}
	}
	return true
}

func versionMatches(pattern, version string) bool {
	if pattern == "*" {
		return true
	}
	re, err := regexp.CompilePOSIX(pattern)
	return err == nil && re.MatchString(version)
}

// excluded tells whether a file or directory of that name is passed over.
func (c *Config) excluded(name string) bool {
	return name == "build" || name == "source" || slices.Contains(c.Excludes, name)
}
