package preflight

import (
	"bytes"
	"cmp"
	"debug/elf"
	"fmt"
	"path"

	"github.com/kstage/kstage/internal/elf64"
	"github.com/kstage/kstage/modinfo/kernel"
)

const (
	// maxSymbolName bounds the names that are looked up. The kernel's own end at 512
	// bytes (KSYM_NAME_LEN).
	maxSymbolName = 1024
	// maxSymbolFindings bounds what is said of one module's symbols.
	maxSymbolFindings = 4096
)

// readSymbols takes the symbol table, the checksums of the symbols that are needed,
// and those that are exported. What is wrong with them, later steps say.
func readSymbols(c *Check, m *module) []Finding {
	table := m.elf.Symtab()
	if table == nil {
		return nil
	}
	m.symbols = elf64.Symbols(m.elf.Content(table))
	if names := m.elf.Linked(table.Link); names != nil {
		m.strings = m.elf.Content(names)
	}
	m.placeless = placeless(m.symbols)
	m.readVersions(c)
	m.exports = m.readExports()
	return nil
}

// placeless gives the numbers of those symbols that lie in no section of the module:
// undefined, absolute, common. A riscv64 module has ten thousand others for each.
func placeless(s elf64.Symbols) (list []uint32) {
	const size, sectionAt = elf64.SymbolSize, 6
	apart := func(b []byte, at int) bool { // its section is 0, or one of the reserved numbers
		return elf64.Order.Uint16(b[at+sectionAt:])-1 >= uint16(elf.SHN_LORESERVE)-1
	}
	i := uint32(0)
	for ; len(s) >= 4*size; s, i = s[4*size:], i+4 { // together, since nearly all of them are labels
		b := s[:4*size]
		if !apart(b, 0) && !apart(b, size) && !apart(b, 2*size) && !apart(b, 3*size) {
			continue
		}
		for j := range uint32(4) {
			if apart(b, int(j)*size) && i+j > 0 {
				list = append(list, i+j)
			}
		}
	}
	for ; len(s) >= size; s, i = s[size:], i+1 {
		if apart(s, 0) && i > 0 {
			list = append(list, i)
		}
	}
	return list
}

// symbolName gives the name of a symbol, empty when it lies outside the strings. It
// aliases the module's bytes.
func (m *module) symbolName(s elf64.Symbol) []byte { return textAt(m.strings, uint64(s.Name)) }

// textAt gives the NUL-terminated text at an offset.
func textAt(b []byte, off uint64) []byte {
	if off >= uint64(len(b)) {
		return nil
	}
	b = b[off:]
	b = b[:min(len(b), maxSymbolName)]
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return b
}

// checkSymbols is simplify_symbols: each undefined symbol is looked for, in the order
// of the symbol table. All are reported, and the errno of the last one counts.
func checkSymbols(_ *Check, m *module) []Finding {
	r := &resolver{m: m, gpl: m.gpl, from: m.facts.ExportsFrom.Source}
	m.constants = make(map[uint32]uint64)
	for _, i := range m.placeless {
		s := m.symbols.At(int(i))
		switch elf.SectionIndex(s.Section) {
		case elf.SHN_COMMON:
			r.common(m.symbolName(s))
		case elf.SHN_ABS:
			if s.Type() != elf.STT_FILE {
				m.constants[i] = s.Value
			}
		case elf.SHN_UNDEF:
			if !r.resolve(m.symbolName(s), s.Bind() == elf.STB_WEAK) {
				m.constants[i] = s.Value
			}
		}
	}
	if r.unknown > 0 {
		m.used = append(m.used, kernel.Unknown)
		r.add(Finding{Rule: UnknownSymbol, Severity: Info,
			Text: fmt.Sprintf("%d symbols that it needs could not be looked for: what the kernel exports is not known", r.unknown),
			Hint: "name the kernel's image, its Module.symvers or its System.map"})
	} else if r.needed {
		m.used = append(m.used, r.from)
	}
	return r.findings
}

// A resolver looks for the symbols that a module needs.
type resolver struct {
	m        *module
	from     kernel.Source // of the kernel's own exports
	gpl      bool          // symbols for GPL compatible modules are shown to it
	usesGPL  bool          // it has got one of them
	needed   bool          // there is an undefined symbol
	unknown  int           // so many could not be looked for
	findings []Finding
}

// add notes a finding. The kernel reports all that fail.
func (r *resolver) add(f Finding) {
	f.Reported = f.Severity == Fail
	if len(r.findings) < maxSymbolFindings {
		r.findings = append(r.findings, f)
		return
	}
	if f.Reported {
		r.findings[maxSymbolFindings-1] = f // its errno counts
	}
}

func (r *resolver) common(name []byte) {
	if bytes.HasPrefix(name, []byte("__gnu_lto")) {
		return
	}
	r.add(Finding{Rule: UnknownSymbol, Severity: Fail, Errno: ENOEXEC, Symbol: string(name),
		Text:  fmt.Sprintf("%s is a common symbol: a variable that was left for the linker to place", name),
		Hint:  "compile with -fno-common",
		Dmesg: []string{r.m.name + ": please compile with -fno-common"}})
}

// found is a symbol that somebody exports.
type found struct {
	export
	owner *loadedModule // nil is the kernel itself
}

// resolve looks for one symbol (resolve_symbol). It is false when the symbol will
// have the value of the symbol table, 0: a weak one that is not there.
func (r *resolver) resolve(name []byte, weak bool) bool {
	// GNU as before 2.37 leaves it in objects for x86 (ignore_undef_symbol).
	if r.m.elf.Machine == elf.EM_X86_64 && string(name) == "_GLOBAL_OFFSET_TABLE_" {
		return true
	}
	r.needed = true
	f, ok := r.find(name, r.gpl)
	if !ok {
		return r.missing(name, weak)
	}
	if f.gpl {
		r.usesGPL = true
	}
	if !r.inheritTaint(f) {
		return true
	}
	if f.hasCRC && r.m.comparesVersions() {
		if text, dmesg, ok := r.m.compareVersion(name, f.crc); !ok {
			r.fail(name, Finding{Rule: CRC, Errno: EINVAL, Text: text, From: r.source(f), Dmesg: dmesg})
			return true
		} else if len(dmesg) > 0 {
			r.add(Finding{Rule: CRC, Severity: Info, Text: text, From: r.source(f), Dmesg: dmesg, Symbol: string(name)})
		}
	}
	r.checkNamespace(f)
	return true
}

// source tells what is known of a symbol from where: of a module's, from its file.
func (r *resolver) source(f found) kernel.Source {
	if f.owner != nil {
		return kernel.Unknown
	}
	return r.from
}

// find looks among the exports of the kernel, then those of the modules that are
// loaded. Symbols for GPL compatible modules are not there for others.
func (r *resolver) find(name []byte, gpl bool) (found, bool) {
	if e, ok := r.m.facts.Exports[string(name)]; ok {
		if !e.HasGPL && !gpl {
			r.unknown++ // it may be for GPL compatible modules only
		}
		if !e.GPL || gpl {
			return found{export: export{string(name), e.GPL, e.Namespace, e.CRC, e.HasCRC}}, true
		}
	}
	if e, ok := r.m.loaded.export(string(name)); ok && (!e.gpl || gpl) {
		return found(e), true
	}
	return found{}, false
}

// fail adds a finding of severity Fail, with the line that ends each of them.
func (r *resolver) fail(name []byte, f Finding) {
	f.Severity, f.Symbol = Fail, string(name)
	f.Dmesg = append(f.Dmesg, fmt.Sprintf("%s: Unknown symbol %s (err -%d)", r.m.name, name, f.Errno))
	r.add(f)
}

// missing says why a symbol is not there.
func (r *resolver) missing(name []byte, weak bool) bool {
	hidden, isHidden := r.find(name, true)
	other, isOther := r.m.facts.ModuleExports[string(name)]
	f := Finding{Rule: UnknownSymbol, Errno: ENOENT, From: r.from}
	switch {
	case weak && (r.m.facts.Exports != nil || isHidden || isOther):
		return false
	case isHidden:
		f.Rule, f.From = GPLOnly, r.source(hidden)
		f.Text = fmt.Sprintf("%s is for modules with a GPL compatible license only, and it has %s", name, licenseWords(r.m))
		f.Hint = "set MODULE_LICENSE(\"GPL\") if that is the license, or do without the symbol; the kernel's log does not tell it from one that does not exist"
	case isOther:
		f.Rule, f.From = DepNotStaged, kernel.FromSymvers
		f.Text = fmt.Sprintf("%s is a symbol of the module %s, which is not loaded", name, path.Base(other.Provider))
		f.Hint = fmt.Sprintf("put %s.ko there too, and load it first", other.Provider)
	case r.m.facts.Exports == nil:
		r.unknown++
		return true
	default:
		f.Text = fmt.Sprintf("%s is exported neither by the kernel nor by a module that is loaded", name)
		f.Hint = "add the module that exports it and load it first, set the option of the kernel that brings it, or build for this kernel's interfaces"
	}
	r.fail(name, f)
	return true
}

func licenseWords(m *module) string {
	if license, ok := m.modinfo["license"]; ok {
		return fmt.Sprintf("the license %q", license)
	}
	return "none"
}

// inheritTaint is what comes of a symbol of a proprietary module: who uses one is
// proprietary too, which does not go together with symbols for GPL compatible ones.
func (r *resolver) inheritTaint(f found) bool {
	if f.owner == nil || f.owner.gpl {
		return true
	}
	m, name := r.m, []byte(f.name)
	if r.usesGPL {
		r.fail(name, Finding{Rule: GPLOnly, Errno: ENOENT,
			Text:  fmt.Sprintf("it uses symbols for GPL compatible modules, and %s of the proprietary module %s", name, f.owner.name),
			Hint:  "no module can use both",
			Dmesg: []string{fmt.Sprintf("%s: module using GPL-only symbols uses symbols %s from proprietary module %s.", m.name, name, f.owner.name)}})
		return false
	}
	if r.gpl {
		r.gpl = false
		r.add(Finding{Rule: Taint, Severity: Info, Symbol: f.name,
			Text:  fmt.Sprintf("it uses %s of the proprietary module %s, and counts as proprietary too", name, f.owner.name),
			Dmesg: []string{fmt.Sprintf("%s: module uses symbols %s from proprietary module %s, inheriting taint.", m.name, name, f.owner.name)}})
	}
	return true
}

// checkNamespace is verify_namespace_is_imported.
func (r *resolver) checkNamespace(f found) {
	m := r.m
	if m.mayUse(f.namespace) {
		return
	}
	option := m.facts.Option("MODULE_ALLOW_MISSING_NAMESPACE_IMPORTS")
	finding := Finding{Rule: Namespace, Errno: EINVAL, From: cmp.Or(option.From.Source, r.source(f)),
		Text:  fmt.Sprintf("it uses %s of the namespace %s, which it does not import", f.name, f.namespace),
		Hint:  fmt.Sprintf("add MODULE_IMPORT_NS(\"%s\") to its sources, without the quotes before 6.13", f.namespace),
		Dmesg: []string{fmt.Sprintf("%s: module uses symbol (%s) from namespace %s, but does not import it.", m.name, f.name, f.namespace)}}
	if names, ok := moduleNamespace(f.namespace); ok {
		finding.Text = fmt.Sprintf("%s is for the modules %s only", f.name, names)
		finding.Hint = "do without it: such symbols cannot be imported"
	}
	if option.No() {
		r.fail([]byte(f.name), finding)
		return
	}
	finding.Severity, finding.Errno, finding.Symbol = Warn, 0, f.name
	if !option.Known() {
		m.used = append(m.used, kernel.Unknown)
		finding.Text += "; refused unless the kernel has MODULE_ALLOW_MISSING_NAMESPACE_IMPORTS"
	}
	r.add(finding)
}
