package closure

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/depmod/index"
)

// ConfigPaths are the places of modprobe.d, the first one ruling.
var ConfigPaths = []string{"etc/modprobe.d", "run/modprobe.d", "usr/local/lib/modprobe.d", "usr/lib/modprobe.d", "lib/modprobe.d"}

// RuleConfig is the [depmod.Problem] of a line of modprobe.d that makes no sense.
const RuleConfig = "modprobe-config"

// Config is what modprobe.d(5) files say. The zero value is what holds without any.
//
//	alias PATTERN MODULE     the module is also known by that name
//	blacklist MODULE         the module's own aliases do not count
//	options MODULE TEXT      parameters that modprobe loads it with
//	install MODULE COMMAND   modprobe runs this instead
//	remove MODULE COMMAND    likewise when it is to be removed
//	softdep MODULE pre: MODULE... post: MODULE...
//	weakdep MODULE MODULE...
//
// "include" and "config" are accepted and ignored, as kmod does. Names of modules
// are kept with underscores for dashes.
type Config struct {
	Aliases   []Alias
	Blacklist map[string]bool
	Options   map[string][]string // of several lines all count
	Install   map[string]string   // of several lines the first counts
	Remove    map[string]string
	// Softdeps are the texts after the module's name. kmod takes only the first
	// line for a module, and that for the one in the module itself; here all
	// count, so that a file too many is taken rather than one too few.
	Softdeps map[string][]string
	Weakdeps map[string][]string
}

// An Alias is a further name for a module.
type Alias struct{ Pattern, Module string }

// ReadConfig reads the configuration from paths below the root of fsys, each of them
// a file or a directory of *.conf files; missing ones are passed over. Of files with
// one base name the first counts.
func ReadConfig(fsys fs.FS, paths []string) (Config, []depmod.Problem, error) {
	var c Config
	files, problems, err := depmod.ConfigFiles(fsys, paths)
	for _, f := range files {
		problems = append(problems, c.Parse(f.Path, f.Data)...)
	}
	return c, problems, err
}

// Parse adds what one configuration file says. name stands in the findings only.
func (c *Config) Parse(name string, data []byte) []depmod.Problem {
	var problems []depmod.Problem
	for number, line := range depmod.ConfigLines(string(data)) {
		word, rest := cutWord(line)
		if word == "" || word == "include" || word == "config" {
			continue
		}
		if first, rest := cutWord(rest); first == "" || !c.directive(word, first, rest) {
			problems = append(problems, depmod.Problem{Rule: RuleConfig, Severity: depmod.Warning, Path: name,
				Text: fmt.Sprintf("line %d is ignored: %.40q is unknown or lacks words", number, word)})
		}
	}
	return problems
}

// directive takes one line; false if it makes no sense.
func (c *Config) directive(word, first, rest string) bool {
	module := underscores(first)
	switch {
	case word == "blacklist":
		put(&c.Blacklist, module, true)
		return true
	case rest == "":
		return false
	case word == "alias":
		pattern, err := index.Normalize(first)
		if err != nil {
			return false
		}
		target, _ := cutWord(rest)
		c.Aliases = append(c.Aliases, Alias{pattern, underscores(target)})
	case word == "options":
		put(&c.Options, module, append(c.Options[module], rest))
	case word == "softdep":
		put(&c.Softdeps, module, append(c.Softdeps[module], rest))
	case word == "weakdep":
		put(&c.Weakdeps, module, append(c.Weakdeps[module], rest))
	case word == "install" && c.Install[module] == "":
		put(&c.Install, module, rest)
	case word == "remove" && c.Remove[module] == "":
		put(&c.Remove, module, rest)
	case word != "install" && word != "remove":
		return false
	}
	return true
}

func put[V any](m *map[string]V, key string, value V) {
	if *m == nil {
		*m = make(map[string]V)
	}
	(*m)[key] = value
}

const blanks = " \t"

// cutWord takes the first word off a line.
func cutWord(line string) (word, rest string) {
	line = strings.Trim(line, blanks)
	if i := strings.IndexAny(line, blanks); i >= 0 {
		return line[:i], strings.TrimLeft(line[i:], blanks)
	}
	return line, ""
}

func underscores(name string) string { return strings.ReplaceAll(name, "-", "_") }

// softdeps cuts the text of a softdep into its words. Words before the first "pre:"
// or "post:" mean nothing to kmod; modules that are declared so (cifs names the
// ciphers it asks the kernel for) are weak dependencies here.
func softdeps(text string, yield func(Kind, string)) {
	kind := Weak
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ' ' || r == '\t' || r == '\n' }) {
		switch word {
		case "pre:":
			kind = Pre
		case "post:":
			kind = Post
		default:
			yield(kind, word)
		}
	}
}
