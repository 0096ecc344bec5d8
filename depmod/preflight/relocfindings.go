package preflight

import (
	"debug/elf"
	"fmt"

	"github.com/kstage/kstage/modinfo/kernel"
)

// addressWords stands for an address that nobody can know before.
const addressWords = "<address>"

// valueWords writes a value as %016llx does, when it is known.
func (t *trouble) valueWords() string {
	if !t.known {
		return addressWords
	}
	return fmt.Sprintf("%016x", t.value)
}

// more tells how often a problem is there besides: " (and 3 more)".
func (t *trouble) more() string {
	if t.count == 1 {
		return ""
	}
	return fmt.Sprintf(" (and %d more)", t.count-1)
}

// relocFinding words one problem.
func (m *module) relocFinding(t *trouble) Finding {
	f := Finding{Severity: Fail, Errno: EINVAL, Section: t.section, Symbol: t.symbol, Offset: t.rela.Off}
	name := relocWords(m.elf.Machine, t.rela.Type)
	switch t.problem {
	case noHandler, maybeNoHandler, loongRefuses:
		m.handlerFinding(&f, t)
	case alignment, threadLocal, dynamicLinking:
		m.refusedFinding(&f, t, name)
	case noGOT, maybeNoGOT, lowModel, lowModelRefused:
		m.modelFinding(&f, t, name)
	case tooFar, maybeTooFar, weakTooFar, truncated:
		m.distanceFinding(&f, t, name)
	case noRoom, loneSum, endlessULEB:
		m.faultFinding(&f, t, name)
	case orphan:
		f.Rule = RelocRange
		f.Text = fmt.Sprintf("%s has no upper half (HI20) in its section%s", name, t.more())
		f.Hint = "a tool that changed the file has parted them, or it was assembled so: rebuild it"
		f.Dmesg = []string{m.name + ": Can not find HI20 relocation information"}
	case narrow:
		m.narrowFinding(&f, t, name)
	case notBlank:
		f.Rule, f.Errno = RelocRange, ENOEXEC
		f.Text = "there is something already where " + name + " writes" + t.more()
		f.Hint = "take the original file: it was relocated before, or changed"
		f.Dmesg = []string{fmt.Sprintf("module: x86/modules: Invalid relocation target, existing value is nonzero for type %d, loc %s, val %s", t.rela.Type, addressWords, hexWords(t))}
	case errorValue:
		f.Rule, f.Errno = RelocRange, ENOENT
		f.Text = fmt.Sprintf("%s has a value that looks like an error, and counts as unknown%s", t.symbol, t.more())
		f.Dmesg = []string{m.loongPrefix() + m.name + ": Unknown symbol " + t.symbol}
	case noAddends:
		f.Rule, f.Errno, f.Symbol = RelocRange, ENOEXEC, ""
		f.Text = "relocations of " + t.section + " have no addends (SHT_REL), which no loader of this machine takes"
		f.Hint = "rebuild it with the kernel's own toolchain"
		f.Dmesg = []string{"module " + m.name + ": REL relocation unsupported"}
	case damagedRela:
		m.used = append(m.used, kernel.Unknown)
		f.Rule, f.Severity, f.Errno = ELFHeader, Warn, 0
		f.Text = "a relocation is of a place or a symbol that there is not" + t.more() + ": nobody looks, and what comes of it cannot be known"
		f.Hint = "the file is damaged: copy it again, or rebuild it"
	}
	return f
}

// handlerFinding is for types without a handler: all of them, with the line of the first.
func (m *module) handlerFinding(f *Finding, t *trouble) {
	f.Rule, f.From = RelocUnsupported, m.facts.RelocationsFrom.Source
	f.Text = "relocation types that the loader of this kernel does not know: " + t.words(m.elf.Machine)
	f.Hint = m.noHandlerHint(t)
	typ := t.rela.Type
	if m.elf.Machine == elf.EM_RISCV && t.problem == noHandler && riscvRefused(t.allTypes()) {
		f.Rule = RelocTLSDynamic
		f.Hint = f.Rule.Cure()
	}
	switch m.elf.Machine {
	case elf.EM_RISCV:
		f.Dmesg = []string{fmt.Sprintf("%s: Unknown relocation type %d", m.name, typ)}
	case elf.EM_X86_64:
		f.Errno, f.From = ENOEXEC, kernel.Unknown
		f.Dmesg = []string{fmt.Sprintf("module: %s: Unknown rela relocation: %d", m.name, typ)}
	case elf.EM_AARCH64:
		f.Errno, f.From = ENOEXEC, kernel.Unknown
		f.Dmesg = []string{fmt.Sprintf("%smodule %s: unsupported RELA relocation: %d", m.arm64Prefix(), m.name, typ)}
	case elf.EM_LOONGARCH:
		f.From = m.facts.Release.From.Source
		f.Dmesg = []string{fmt.Sprintf("kmod: %s: Unknown relocation type %d", m.name, typ)}
	}
	switch t.problem {
	case loongRefuses:
		f.Text = "the loader of this kernel does not support relocations of type " + relocWords(m.elf.Machine, typ) + t.more()
		f.Dmesg = []string{fmt.Sprintf("kmod: %s: Unsupport relocation type %d%s", m.name, typ, loongRest(typ))}
	case maybeNoHandler:
		m.used = append(m.used, kernel.Unknown)
		f.Severity, f.Errno, f.Dmesg = Warn, 0, nil
		f.Text = "not every loader knows these relocation types, and which this kernel's knows is not known: " + t.words(m.elf.Machine)
	}
}

// loongRest ends the line: the handler of ADD and SUB words it shorter.
func loongRest(typ uint32) string {
	if t := elf.R_LARCH(typ); t >= elf.R_LARCH_ADD32 && t <= elf.R_LARCH_SUB64 {
		return ""
	}
	return ", please add its support."
}

// riscvRefused tells whether newer loaders have refusals for all of the types.
func riscvRefused(types []uint32) bool {
	for _, t := range types {
		if t >= riscvTypes || riscvHandlings[t] != refusedTLS && riscvHandlings[t] != refusedDynamic {
			return false
		}
	}
	return true
}

// faultFinding is for what the loader of riscv itself faults at.
func (m *module) faultFinding(f *Finding, t *trouble, name string) {
	f.Rule, f.Severity, f.Errno, f.From = RelocRange, Crash, 0, m.facts.RelocationsFrom.Source
	f.Hint = "rebuild it with the kernel's own toolchain and flags: no compiler writes this"
	switch t.problem {
	case noRoom:
		f.Text = fmt.Sprintf("%s stands in %s, which is no code: the loader makes room in its tables for code only, and stops with a BUG%s", name, t.section, t.more())
	case loneSum:
		f.Text = fmt.Sprintf("%s is the only relocation of %s, and the loader faults at such a one", name, t.section)
	default:
		f.Text = fmt.Sprintf("a ULEB128 number in %s would be negative, and the loader writes without end%s", t.section, t.more())
	}
}

// refusedFinding is for types that riscv's loader has handlers for, to say why not.
func (m *module) refusedFinding(f *Finding, t *trouble, name string) {
	f.Rule = RelocTLSDynamic
	line := "Thread local storage not supported in kernel modules PC = "
	switch t.problem {
	case alignment:
		f.Rule, line = RelocAlign, "The unexpected relocation type 'R_RISCV_ALIGN' from PC = "
		f.Text = "it was left to the linker to shorten, which the loader cannot do: relocation type " + name + t.more()
	case dynamicLinking:
		line = "Dynamic linking not supported in kernel modules PC = "
		f.Text = "it was linked as a shared library: relocation type " + name + t.more()
	default:
		f.Text = "it has thread-local data, which the kernel does not know: relocation type " + name + t.more()
	}
	f.Hint = f.Rule.Cure()
	if m.facts.Relocations != nil {
		f.From = m.facts.RelocationsFrom.Source
	}
	f.Dmesg = []string{m.name + ": " + line + addressWords}
}

// modelFinding is for code of another model than the kernel's.
func (m *module) modelFinding(f *Finding, t *trouble, name string) {
	f.Rule, f.From = RelocGOT, m.facts.Option("MODULE_SECTIONS").From.Source
	switch t.problem {
	case noGOT, maybeNoGOT:
		f.Text = fmt.Sprintf("it is position-independent code (%s%s), for which this kernel builds no table of addresses", name, t.more())
		f.Hint = "add 'ccflags-y += -fno-pic' to the module's Makefile and rebuild it, or set CONFIG_MODULE_SECTIONS=y in the kernel"
		f.Dmesg = []string{fmt.Sprintf("%s: can not generate the GOT entry for symbol = %s from PC = %s", m.name, t.valueWords(), addressWords)}
		if t.problem == maybeNoGOT {
			m.used = append(m.used, kernel.Unknown)
			f.Severity, f.Errno, f.Dmesg = Warn, 0, nil
			f.Text = fmt.Sprintf("it is position-independent code (%s%s), which only kernels with MODULE_SECTIONS load", name, t.more())
		}
	case lowModel:
		f.Rule, f.Severity, f.Errno, f.From = RelocMedlow, Crash, 0, kernel.Unknown
		f.Text = fmt.Sprintf("it was compiled for low addresses (%s%s): the loader drops the upper half of an address without a word, and the code faults", name, t.more())
		f.Hint = RelocMedlow.Cure()
	case lowModelRefused:
		f.Rule, f.From = RelocMedlow, m.facts.Option("CMODEL_MEDLOW").From.Source
		f.Text = fmt.Sprintf("this kernel does not take absolute addresses in code (%s%s)", name, t.more())
		f.Hint = RelocMedlow.Cure()
		f.Dmesg = []string{m.farLine(t)}
	}
}

// farLine is what riscv's loader says of a target that is too far away.
func (m *module) farLine(t *trouble) string {
	return fmt.Sprintf("%s: target %s can not be addressed by the 32-bit offset from PC = %s", m.name, t.valueWords(), addressWords)
}

// distanceFinding is for targets that are too far from the code.
func (m *module) distanceFinding(f *Finding, t *trouble, name string) {
	f.Rule = RelocRange
	f.Dmesg = []string{m.farLine(t)}
	what := fmt.Sprintf("0x%x", t.value)
	if t.symbol != "" {
		what = t.symbol
	}
	f.Text = fmt.Sprintf("%s cannot be reached from the code by %s%s", what, name, t.more())
	f.Hint = f.Rule.Cure()
	if t.weak {
		f.Rule, f.From = WeakUnresolved, m.facts.ExportsFrom.Source
		f.Text = fmt.Sprintf("the optional symbol %s is not there, and the code cannot reach the 0 that stands for it (%s%s)", what, name, t.more())
		f.Hint = "guard its use with IS_ENABLED() or take symbol_get(), or have what exports it"
	}
	switch t.problem {
	case maybeTooFar:
		m.used = append(m.used, kernel.Unknown)
		f.Severity, f.Errno, f.Dmesg = Warn, 0, nil
		f.Text += "; kernels with MODULE_SECTIONS help themselves"
	case truncated:
		f.Severity, f.Errno, f.Dmesg = Crash, 0, nil
		f.Text = fmt.Sprintf("%s is too far away for %s%s: the loader does not look, and the code jumps elsewhere", what, name, t.more())
		f.Hint = RelocRange.Cure()
	}
}

// narrowFinding is for addresses in places that are too small for them.
func (m *module) narrowFinding(f *Finding, t *trouble, name string) {
	f.Rule = RelocRange
	f.Text = fmt.Sprintf("an address does not fit into %s%s", name, t.more())
	f.Hint = f.Rule.Cure()
	switch m.elf.Machine {
	case elf.EM_RISCV:
		f.Dmesg = []string{fmt.Sprintf("%s: value %s out of range for 32-bit field", m.name, t.valueWords())}
	case elf.EM_X86_64:
		f.Errno = ENOEXEC
		f.Hint = "compile it with -mcmodel=kernel, as kbuild does"
		f.Dmesg = []string{fmt.Sprintf("module: overflow in relocation type %d val %s", t.rela.Type, hexWords(t)),
			fmt.Sprintf("module: `%s' likely not compiled with -mcmodel=kernel", m.name)}
	case elf.EM_AARCH64:
		f.Errno = ENOEXEC
		f.Dmesg = []string{fmt.Sprintf("%smodule %s: overflow in relocation type %d val %s", m.arm64Prefix(), m.name, t.rela.Type, hexWords(t))}
	}
}

// hexWords writes a value as %Lx does, when it is known.
func hexWords(t *trouble) string {
	if !t.known {
		return addressWords
	}
	return fmt.Sprintf("%x", t.value)
}

// arm64Prefix begins arm64's lines since 6.5.
func (m *module) arm64Prefix() string {
	if major, minor, known := release(m.facts); known && (major < 6 || major == 6 && minor < 5) {
		return ""
	}
	return "Modules: "
}

// loongPrefix begins loongarch's lines.
func (m *module) loongPrefix() string {
	if m.elf.Machine == elf.EM_LOONGARCH {
		return "kmod: "
	}
	return ""
}
