package preflight

import (
	"cmp"
	"debug/elf"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/internal/lazyregexp"
)

// An Explanation is what one line of a kernel's log, or of a tool that loads
// modules, is about.
type Explanation struct {
	Text    string   // the message, without what the log puts in front
	Module  string   // whose it is; empty when the text does not tell
	Symbol  string   // the symbol that the text names
	Tool    bool     // a tool says so, of what the system call returned: the kernel's log has more
	Rule    Rule     // what [Check] calls it; empty for what it does not predict
	Errno   Errno    // what the system call returned; 0 when the module loads all the same
	Decoded []string // the numbers of the text in words: "relocation type 57 is R_RISCV_32_PCREL"
	Meaning string
	Causes  []Cause // the likely ones first
}

// A Cause is one reason for a message, and what to do about it.
type Cause struct {
	Rule Rule // the finding of [Check] that proves it; empty when there is none
	Text string
	Cure string
}

// Explain explains a line of a log, as dmesg, a serial console, a journal or the
// shell show it; ok is false when it is not of the module loader. Upper and lower
// case do not count: logs are retyped. Machine tells whose relocations the numbers
// are where the text does not, 0 for riscv.
func Explain(line string, machine elf.Machine) (e Explanation, ok bool) {
	line = strings.TrimSpace(colour().ReplaceAllString(line, ""))
	p, at := find(line, machine)
	if p == nil {
		return Explanation{}, false
	}
	return p.explain(line, at, machine), true
}

// find finds the message in a line and the places of its groups. One of another
// machine counts only when there is no better: they share texts.
func find(line string, machine elf.Machine) (other *pattern, otherAt []int) {
	lower := strings.ToLower(line)
	all := patterns()
	for i := range all {
		p := &all[i]
		if !strings.Contains(lower, p.literal) {
			continue
		}
		at := p.re.FindStringSubmatchIndex(line)
		switch {
		case at == nil:
		case machine == 0 || p.machine == 0 || p.machine == machine:
			return p, at
		case other == nil:
			other, otherAt = p, at
		}
	}
	return other, otherAt
}

// colour is what dmesg --color writes.
var colour = lazyregexp.New("\x1b\\[[0-9;]*m")

// A pattern is a message made ready to be found.
type pattern struct {
	*message
	literal string // its longest part without braces, in lower case
	re      *regexp.Regexp
	names   []string // of the groups
}

// patterns are made when they are first wanted: most runs explain nothing.
var patterns = sync.OnceValue(func() []pattern { return compile(messages) })

// placeholders are the regular expressions for the words in braces. {module} at
// the beginning must be a whole word.
var placeholders = map[string]string{
	"module": `([\w.-]+)`, "symbol": `([^\s()']+)`, "text": `(.*?)`, "number": `(-?\d+)`, "address": `([0-9a-f]+|\S+)`,
	"errno": `(-\d+)`, "machine": `(\d+)`, "type": `(\d+)\b`,
	"unwind": `(33|37|5[2-7])\b`, "tls": `(21|22|29|30|31|32)\b`, "dynamic": `([3-9]|1[01]|58)\b`,
	"tool": `(?:could not insert|can't insert|can't load module|failed to insert|error inserting)(?: module)? '?([^\s':]+)'?(?: \([^)]*\))?: (?:-1 )?`,
}

var brace = lazyregexp.New(`\{(\w+)\}`)

func compile(all []message) []pattern {
	out := make([]pattern, len(all))
	for i := range all {
		p := &out[i]
		p.message = &all[i]
		expr, at := `(?i)(?:^|[\s\]>:])`, 0
		literal := func(s string) {
			expr += regexp.QuoteMeta(s)
			if len(s) > len(p.literal) {
				p.literal = strings.ToLower(s)
			}
		}
		for _, m := range brace().FindAllStringSubmatchIndex(p.text, -1) {
			name := p.text[m[2]:m[3]]
			literal(p.text[at:m[0]])
			expr += placeholders[name]
			p.names = append(p.names, name)
			at = m[1]
		}
		literal(p.text[at:])
		p.re = regexp.MustCompile(expr)
	}
	return out
}

// explain fills in what the line says at the places of the pattern's groups.
func (p *pattern) explain(line string, at []int, machine elf.Machine) Explanation {
	e := Explanation{Text: strings.TrimLeft(line[at[0]:], " \t]>:"), Rule: p.rule, Errno: p.errno, Causes: slices.Clone(p.causes)}
	e.Meaning = cmp.Or(p.meaning, p.rule.Meaning())
	if len(e.Causes) == 0 && p.rule.Cure() != "" {
		e.Causes = because(p.rule)
	}
	for i, name := range p.names {
		value := line[at[2*i+2]:at[2*i+3]]
		switch name {
		case "module":
			e.Module = cmp.Or(e.Module, value)
		case "tool":
			e.Module, e.Tool = depmod.ModuleName(value), true
		case "symbol":
			e.Symbol = value
		default:
			e.decode(name, value, cmp.Or(p.machine, machine, elf.EM_RISCV))
		}
	}
	if e.Errno != 0 {
		e.Decoded = append(e.Decoded, fmt.Sprintf("the call returns %v (%d, %q)", e.Errno, uint16(e.Errno), e.Errno.Text()))
	}
	return e
}

// decode words a number that stands for something.
func (e *Explanation) decode(name, value string, machine elf.Machine) {
	n, err := strconv.ParseUint(strings.TrimPrefix(value, "-"), 10, 16)
	if err != nil {
		return
	}
	switch name {
	case "errno":
		e.Errno = Errno(n)
	case "machine":
		word := fmt.Sprintf("machine %d is %s", n, machineName(elf.Machine(n)))
		if elf.Machine(n) == elf.EM_RISCV {
			word += "; a riscv64 kernel says so of a module with 32 bits"
		}
		e.Decoded = append(e.Decoded, word)
	case "type", "unwind", "tls", "dynamic":
		if word := relocationName(machine, uint32(n)); word != "" {
			e.Decoded = append(e.Decoded, fmt.Sprintf("relocation type %d is %s", n, word))
		}
	}
}

// relocationName names a type of a machine's relocations; empty when it has none.
func relocationName(machine elf.Machine, n uint32) string {
	var s string
	switch machine {
	case elf.EM_RISCV:
		s = elf.R_RISCV(n).String()
	case elf.EM_X86_64:
		s = elf.R_X86_64(n).String()
	case elf.EM_AARCH64:
		s = elf.R_AARCH64(n).String()
	case elf.EM_LOONGARCH:
		s = elf.R_LARCH(n).String()
	case elf.EM_ARM:
		s = elf.R_ARM(n).String()
	}
	if !strings.HasPrefix(s, "R_") || strings.Contains(s, "+") { // the nearest one that has a name
		return ""
	}
	return s
}
