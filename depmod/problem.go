package depmod

import (
	"fmt"
	"io/fs"
)

// Severity tells how bad a [Problem] is.
type Severity uint8

// Severities, mild to grave.
const (
	Info    Severity = iota // worth knowing
	Warning                 // the result may not be what was wanted
	Error                   // something was left out or is wrong
)

func (s Severity) String() string { return [...]string{"info", "warning", "error"}[s] }

// MarshalText writes the severity's name.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// A Problem is one finding that did not stop the work.
type Problem struct {
	Rule     string   `json:"rule"` // what kind of finding, a stable word
	Severity Severity `json:"severity"`
	Path     string   `json:"path,omitempty"` // the file concerned, below the module directory
	Text     string   `json:"text"`           // what is the matter
	Hint     string   `json:"hint,omitempty"` // what to do about it
	Err      error    `json:"-"`              // the error behind it, if one

	kmod   string      // how kmod words it, where that is not made of the rest
	symbol string      // the symbol concerned
	mode   fs.FileMode // of a special file
}

func (p Problem) String() string {
	if p.Path == "" {
		return p.Text
	}
	return p.Path + ": " + p.Text
}

// Rules of problems.
const (
	RuleModule      = "unreadable-module" // a module that cannot be read; it is listed without facts
	RuleLink        = "dangling-link"     // a link that leads nowhere
	RuleSpecial     = "special-file"      // neither file, directory nor link
	RuleDirectory   = "unreadable-directory"
	RuleLoop        = "directory-loop" // a link to a directory that holds it
	RuleDuplicate   = "duplicate-module"
	RuleOrder       = "modules.order"
	RuleBuiltin     = "modules.builtin"
	RuleBuiltinInfo = "modules.builtin.modinfo"
	RuleBracket     = "unmatched-bracket"
	RuleASCII       = "non-ascii"
	RuleDevname     = "devname"
	RuleConfig      = "config"         // a line of depmod.d that makes no sense
	RuleSymvers     = "module.symvers" // a line of Module.symvers that makes no sense
	RuleSystemMap   = "system.map"     // a line of System.map that makes no sense
	RuleSymbol      = "unknown-symbol" // a module needs what nobody has
	RuleVersion     = "symbol-version" // a module was built against another version
	RuleRepeated    = "repeated-entry" // an index has the same entry twice
)

func warning(rule, path, hint, format string, args ...any) Problem {
	return Problem{Rule: rule, Severity: Warning, Path: path, Hint: hint, Text: fmt.Sprintf(format, args...)}
}

func failure(rule, path string, err error) Problem {
	return Problem{Rule: rule, Severity: Error, Path: path, Text: err.Error(), Err: err}
}
