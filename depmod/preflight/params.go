package preflight

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/kstage/kstage/internal/elf64"
)

// checkParams is parse_args with what the module is given (kernel/params.c). It looks
// at all, and the last that is refused counts.
func checkParams(c *Check, m *module) (findings []Finding) {
	params := m.params()
	refused := false
	for name, value := range arguments(c.Params) {
		if name == "--" && value == nil {
			break
		}
		p, known := params[underscored(name)]
		if !known {
			if f := m.unknownParam(name); f != nil {
				findings = append(findings, *f)
			}
			continue
		}
		if fault := p.fault(value); fault.errno != 0 {
			findings = append(findings, m.paramFinding(name, value, p, fault))
			refused = true
		}
	}
	if rest, found := afterDashes(c.Params); found && !refused {
		findings = append(findings, Finding{Rule: Params, Severity: Warn, Text: "what follows -- is ignored: " + strconv.Quote(rest),
			Dmesg: []string{fmt.Sprintf("%s: parameters '%s' after `--' ignored", m.name, rest)}})
	}
	for i := range findings {
		findings[i].Reported = refused
	}
	return findings
}

// A param is one parameter of a module.
type param struct {
	name  string
	typ   string // as in param_ops_TYPE; empty for kinds of their own
	array bool
	most  uint64 // values of an array, bytes of a string with its NUL; 0: not known
}

// params reads what module_param leaves (include/linux/moduleparam.h; 64 bit), by name
// with underscores. All pointers are relocations:
//
//	struct kernel_param  name 8 bytes, module 8, operations 8, permissions and flags 8, value 8
//	struct kparam_array  most 4, size of each 4, how many 8, operations 8, values 8
//	struct kparam_string size with NUL 4, padding 4, text 8
func (m *module) params() map[string]param {
	const entry, operations, value = 40, 16, 32
	index, table := m.sectionIndex("__param")
	if table == nil {
		return nil
	}
	list := make([]param, table.Size/entry)
	list = list[:min(len(list), len(m.elf.Content(table))/entry)]
	relas := m.relasOf(index)
	for i := range relas.Len() {
		r := relas.At(i)
		if r.Off/entry >= uint64(len(list)) {
			continue
		}
		switch p := &list[r.Off/entry]; r.Off % entry {
		case 0:
			p.name = string(m.pointee(r))
		case operations:
			p.typ = m.operations(r)
		case value: // comes after the operations
			m.readParamValue(p, r)
		}
	}
	params := make(map[string]param, len(list))
	for _, p := range list {
		params[underscored(p.name)] = p
	}
	return params
}

// operations gives the type that operations are for.
func (m *module) operations(r elf64.Rela) string {
	if uint64(r.Symbol) >= uint64(m.symbols.Len()) {
		return ""
	}
	switch name := string(m.symbolName(m.symbols.At(int(r.Symbol)))); name {
	case "param_array_ops":
		return "array"
	default:
		typ, _ := strings.CutPrefix(name, "param_ops_")
		return typ
	}
}

// readParamValue reads what an array and a string have instead of a value.
func (m *module) readParamValue(p *param, r elf64.Rela) {
	if p.typ != "array" && p.typ != "string" || uint64(r.Symbol) >= uint64(m.symbols.Len()) {
		return
	}
	s := m.symbols.At(int(r.Symbol))
	section := m.elf.Linked(uint32(s.Section))
	at := s.Value + uint64(r.Addend)
	if section == nil || at+8 > uint64(len(m.elf.Content(section))) || at+8 < at {
		return
	}
	p.most = uint64(elf64.Order.Uint32(m.elf.Content(section)[at:]))
	if p.typ == "string" {
		return
	}
	p.array, p.typ = true, ""
	const operations = 16
	relas := m.relasOf(uint32(s.Section))
	for i := range relas.Len() {
		if x := relas.At(i); x.Off == at+operations {
			p.typ = m.operations(x)
		}
	}
}

// kind is the type in words.
func (p param) kind() string {
	if p.array {
		return "array of " + p.typ
	}
	return p.typ
}

// A paramFault is what a kernel has against a value.
type paramFault struct {
	errno Errno
	why   string
	line  string // of the log, before the usual one
	shown string // what is left of the value in the log
}

func (m *module) paramFinding(name string, value *string, p param, fault paramFault) Finding {
	text := ""
	if value != nil {
		text = *value
	}
	f := Finding{Rule: Params, Severity: Fail, Errno: fault.errno, Symbol: name,
		Text: fmt.Sprintf("parameter %s, %s, does not take %q: %s", name, p.kind(), text, fault.why)}
	if fault.line != "" {
		f.Dmesg = []string{fault.line}
	}
	verdict := "invalid"
	if fault.errno == ENOSPC {
		verdict = "too large"
	}
	f.Dmesg = append(f.Dmesg, fmt.Sprintf("%s: `%s' %s for parameter `%s'", m.name, fault.shown, verdict, name))
	return f
}

// unknownParam is unknown_module_param_cb: two names are always taken. With
// DYNAMIC_DEBUG what stands before a dot is taken off to look for the second, and
// left off in the log.
func (m *module) unknownParam(name string) *Finding {
	if name == "async_probe" {
		return nil
	}
	debug := m.facts.Option("DYNAMIC_DEBUG")
	shown, rest := name, name
	if before, after, dotted := strings.Cut(name, "."); dotted && debug.Yes() {
		shown, rest = before, after
	}
	f := Finding{Rule: Params, Severity: Warn, Symbol: name}
	switch {
	case rest == "dyndbg" && debug.No():
		f.Text, f.From = "the kernel has no DYNAMIC_DEBUG: dyndbg is ignored", debug.From.Source
		f.Hint = "leave it out"
		f.Dmesg = []string{"dyndbg param is supported only in CONFIG_DYNAMIC_DEBUG builds"}
	case rest == "dyndbg":
		return nil
	default:
		f.Text = "the module has no parameter " + name + ", which is ignored"
		f.Hint = "kstage modinfo shows the parameters"
		f.Dmesg = []string{m.name + ": unknown parameter '" + shown + "' ignored"}
	}
	return &f
}

// fault tells what the kernel would return for a value, and why; errno is 0 when it
// takes it, or when the type is not one of the usual.
func (p param) fault(value *string) paramFault {
	if value == nil {
		_, number := numberBits[p.typ]
		if p.array || number || p.typ == "charp" || p.typ == "string" || p.typ == "invbool" {
			return paramFault{errno: EINVAL, why: "a value is missing"}
		}
		return paramFault{}
	}
	if !p.array {
		fault := p.element(*value)
		fault.shown = *value
		return fault
	}
	// param_array cuts the text at each comma, and so the log has what is before the first.
	first, _, _ := strings.Cut(*value, ",")
	n := uint64(0)
	for v := range strings.SplitSeq(*value, ",") {
		if n == p.most && p.most > 0 {
			return paramFault{EINVAL, fmt.Sprintf("it takes %d values", n), fmt.Sprintf("%s: can only take %d arguments", p.name, n), first}
		}
		n++
		if fault := p.element(v); fault.errno != 0 {
			fault.shown = first
			return fault
		}
	}
	return paramFault{}
}

// element looks at one value.
func (p param) element(value string) (f paramFault) {
	const longest = 1024
	switch p.typ {
	case "bool", "invbool", "bint":
		if _, ok := parseBool(value); !ok {
			f.errno, f.why = EINVAL, "it is none of y, n, 1, 0, on, off"
		}
	case "charp":
		if len(value) > longest {
			f.errno, f.why, f.line = ENOSPC, fmt.Sprintf("it is longer than %d bytes", longest), p.name+": string parameter too long"
		}
	case "string":
		if p.most > 0 && uint64(len(value)) >= p.most {
			f.errno, f.why = ENOSPC, fmt.Sprintf("it is longer than %d bytes", p.most-1)
			f.line = fmt.Sprintf("%s: string doesn't fit in %d chars.", p.name, p.most-1)
		}
	default:
		if bits, ok := numberBits[p.typ]; ok {
			f.errno, f.why = numberFault(value, bits)
		}
	}
	return f
}

// numberBits are the sizes of the types for numbers in bits, negative for signed ones;
// of a long as on machines of 64 bits.
var numberBits = map[string]int{
	"byte": 8, "short": -16, "ushort": 16, "int": -32, "uint": 32, "long": -64, "ulong": 64, "ullong": 64, "hexint": 32,
}

// numberFault is kstrtoint and its kind (lib/kstrtox.c): decimal, 0x… or 0…, one sign,
// one newline at the end.
func numberFault(s string, bits int) (Errno, string) {
	s = strings.TrimSuffix(s, "\n")
	digits, negative := strings.CutPrefix(s, "-")
	if !negative {
		digits = strings.TrimPrefix(s, "+")
	}
	if negative && bits > 0 {
		return EINVAL, "it is negative"
	}
	base := 10
	switch lower := strings.ToLower(digits); {
	case strings.HasPrefix(lower, "0x") && len(digits) > 2:
		base, digits = 16, digits[2:]
	case strings.HasPrefix(digits, "0"):
		base = 8
	}
	n, err := strconv.ParseUint(digits, base, 64)
	limit := uint64(1)<<(abs(bits)-1)<<1 - 1
	if bits < 0 {
		limit = uint64(1)<<(-bits-1) - 1
		if negative {
			limit++
		}
	}
	switch {
	case errors.Is(err, strconv.ErrRange), err == nil && n > limit:
		return ERANGE, fmt.Sprintf("it does not fit into %d bits", abs(bits))
	case err != nil:
		return EINVAL, "it is not a number"
	}
	return 0, ""
}

func abs(n int) int { return max(n, -n) }

// Those that only parameters return.
const (
	ENOSPC Errno = 28
	ERANGE Errno = 34
)
