package preflight

import (
	"cmp"
	"debug/elf"
	"fmt"
	"slices"
	"strings"

	"github.com/kstage/kstage/internal/elf64"
	"github.com/kstage/kstage/modinfo/kernel"
)

// A handling is what a loader does with one type of relocation.
type handling uint8

const (
	unhandled    handling = iota // there is no handler
	doubtful                     // it is not known whether there is one
	applied                      // nothing can go wrong
	refusedAlign                 // riscv: handlers that only refuse
	refusedTLS
	refusedDynamic
	refusedLoong // loongarch: for types that it knows and does not support
	got          // riscv, and below
	pcRelative
	call
	near
	lowerHalf
	absolute
	summed    // parts of ULEB128, added up before they are written
	word32    // an unsigned word that an address does not fit into
	signed32  // x86: a signed one, into which addresses of the kernel do
	blank4    // x86: the place must be zero
	blank8    // x86
	overflows // arm64: too narrow for an address
)

// A problem is a kind of trouble with relocations. Each becomes one finding, however
// often it is there.
type problem uint8

const (
	noHandler problem = iota
	maybeNoHandler
	alignment
	threadLocal
	dynamicLinking
	loongRefuses
	noGOT
	maybeNoGOT
	lowModel
	lowModelRefused
	tooFar
	maybeTooFar
	weakTooFar
	truncated
	orphan
	narrow
	notBlank
	errorValue
	noAddends
	damagedRela
	noRoom
	loneSum
	endlessULEB
)

// A trouble is a problem where it was first met.
type trouble struct {
	problem problem
	at      int    // its place among all relocations of the file
	section string // that is relocated
	rela    elf64.Rela
	symbol  string
	weak    bool
	value   uint64 // of symbol and addend, when known
	known   bool
	count   int
	types   []typesIn // of noHandler and maybeNoHandler
}

// typesIn are the types of relocations of one section, in the order of the file.
type typesIn struct {
	section string
	types   []uint32
}

// Bounds of what is listed.
const (
	maxTypes    = 64
	maxSections = 16
)

// A relocScan goes over all relocations of a module.
type relocScan struct {
	m         *module
	handlings []handling // by type; what lies behind it is unhandled
	used      []bool     // types that were met
	troubles  []trouble

	target  *elf64.Section // that is relocated
	index   uint32         // its number
	content []byte
	relas   elf64.Relas
	before  int      // so many relocations in earlier sections
	at      int      // the one that is looked at
	uppers  []uint64 // riscv: places of upper halves, for their lower halves
	sums    []sum    // riscv: of ULEB128
}

// checkRelocations is apply_relocations: section by section, but only of what is
// loaded. The loader stops at the first that it cannot apply.
func checkRelocations(_ *Check, m *module) []Finding {
	s := &relocScan{m: m, handlings: m.handlings()}
	if s.handlings == nil {
		m.used = append(m.used, kernel.Unknown)
		return nil
	}
	s.used = make([]bool, len(s.handlings))
	for i := 1; i < len(m.elf.Sections); i++ {
		section := &m.elf.Sections[i]
		s.target, s.index = m.elf.Linked(section.Info), section.Info
		const livepatch elf.SectionFlag = 0x00100000 // applied when the patched module is there
		if s.target == nil || !isRelocated(s.target) || section.Flags&livepatch != 0 {
			continue
		}
		switch section.Type {
		case elf.SHT_REL:
			s.at = s.before
			s.before++
			s.found(trouble{problem: noAddends})
		case elf.SHT_RELA:
			s.relas, s.content = elf64.Relas(m.elf.Content(section)), m.elf.Content(s.target)
			s.scan()
			s.before += s.relas.Len()
		}
	}
	m.noteRelocationFacts(s)
	slices.SortStableFunc(s.troubles, func(a, b trouble) int { return cmp.Compare(a.at, b.at) })
	findings := make([]Finding, 0, len(s.troubles))
	for i := range s.troubles {
		findings = append(findings, m.relocFinding(&s.troubles[i]))
	}
	return findings
}

// isRelocated tells whether the loader relocates a section: those that it keeps
// (rewrite_section_headers and layout_and_allocate take some out).
func isRelocated(s *elf64.Section) bool {
	if s.Flags&elf.SHF_ALLOC == 0 {
		return false
	}
	switch s.Name {
	case ".modinfo", versionsSection, extCRCsSection, extNamesSection, ".data..percpu":
		return false
	}
	return true
}

// scan goes over the relocations of one section. There are three million of them in
// the modules of a distribution, of which a handful matters.
func (s *relocScan) scan() {
	symbols := uint32(min(s.m.symbols.Len(), 1<<31))
	constants := len(s.m.constants) > 0
	s.uppers = s.uppers[:0]
	pending := 0
	s.sums = s.sums[:0]
	for i := range s.relas.Len() {
		s.at = s.before + i
		b := s.relas[i*elf64.RelaSize:][:elf64.RelaSize]
		off, typ, symbol := elf64.Order.Uint64(b), elf64.Order.Uint32(b[8:]), elf64.Order.Uint32(b[12:])
		if symbol >= symbols || off >= s.target.Size {
			s.found(trouble{problem: damagedRela, rela: s.relas.At(i)})
			continue
		}
		how := unhandled
		if typ < uint32(len(s.handlings)) {
			how, s.used[typ] = s.handlings[typ], true
		}
		if constants && !s.checkConstant(i) || how == applied {
			continue
		}
		if how == summed {
			s.sum(i)
			continue
		}
		if how == lowerHalf {
			pending += s.lowerHalf(i)
			continue
		}
		if how == pcRelative || how == got {
			s.uppers = append(s.uppers, off)
		}
		s.check(i, how)
	}
	if pending > 0 {
		s.findOrphans()
	}
	s.findEndless()
	s.checkLone()
}

// constant gives the value that a relocation writes or aims at, when its symbol is
// not an address: none, an absolute one, or one that is not there.
func (s *relocScan) constant(r elf64.Rela) (value uint64, known bool) {
	if r.Symbol == 0 {
		return uint64(r.Addend), true
	}
	value, known = s.m.constants[r.Symbol]
	return value + uint64(r.Addend), known
}

// checkConstant is the first look of riscv's and loongarch's loaders: a symbol whose
// value looks like an error is unknown, or left out when it is weak.
func (s *relocScan) checkConstant(i int) (goOn bool) {
	r := s.relas.At(i)
	value, ok := s.m.constants[r.Symbol]
	const maxErrno = 4095
	if !ok || value < -maxErrno&(1<<64-1) || s.m.elf.Machine != elf.EM_RISCV && s.m.elf.Machine != elf.EM_LOONGARCH {
		return true
	}
	if s.m.symbols.At(int(r.Symbol)).Bind() != elf.STB_WEAK {
		s.found(trouble{problem: errorValue, rela: r})
	}
	return false
}

// check looks at a relocation of a type of which not each can be applied.
func (s *relocScan) check(i int, how handling) {
	r := s.relas.At(i)
	t := trouble{rela: r}
	t.value, t.known = s.constant(r)
	var bad bool
	switch how {
	case unhandled:
		t.problem, bad = noHandler, true
	case doubtful:
		t.problem, bad = maybeNoHandler, true
	case refusedAlign:
		t.problem, bad = alignment, true
	case refusedTLS:
		t.problem, bad = threadLocal, true
	case refusedDynamic:
		t.problem, bad = dynamicLinking, true
	case refusedLoong:
		t.problem, bad = loongRefuses, true
	case got, pcRelative, call, near, absolute:
		t.problem, bad = s.checkRISCV(r, how, t.value, t.known)
	case word32:
		t.problem, bad = narrow, !t.known || t.value>>32 != 0
	case signed32:
		t.problem, bad = narrow, t.known && uint64(int64(int32(t.value))) != t.value
	case overflows:
		t.problem, bad = narrow, !t.known
	}
	if bad {
		s.found(t)
		return
	}
	switch {
	case s.m.elf.Machine != elf.EM_X86_64:
	case how == blank8:
		s.checkBlank(r, 8)
	default:
		s.checkBlank(r, 4)
	}
}

// found notes a trouble with a relocation.
func (s *relocScan) found(t trouble) {
	for i := range s.troubles {
		if have := &s.troubles[i]; have.problem == t.problem {
			have.count++
			have.addType(s.target.Name, t.rela.Type)
			return
		}
	}
	t.count, t.at, t.section = 1, s.at, s.target.Name
	if uint64(t.rela.Symbol) < uint64(s.m.symbols.Len()) {
		symbol := s.m.symbols.At(int(t.rela.Symbol))
		t.symbol, t.weak = s.symbolWords(symbol), symbol.Bind() == elf.STB_WEAK
	}
	t.addType(s.target.Name, t.rela.Type)
	s.troubles = append(s.troubles, t)
}

// symbolWords names a symbol; sections and labels have no names worth it.
func (s *relocScan) symbolWords(symbol elf64.Symbol) string {
	if symbol.Type() == elf.STT_SECTION {
		if section := s.m.elf.Linked(uint32(symbol.Section)); section != nil {
			return section.Name
		}
	}
	return strings.TrimSpace(string(s.m.symbolName(symbol)))
}

// addType notes a type that has no handler, or may have none.
func (t *trouble) addType(section string, typ uint32) {
	if t.problem != noHandler && t.problem != maybeNoHandler {
		return
	}
	last := len(t.types) - 1
	if last < 0 || t.types[last].section != section {
		if len(t.types) == maxSections {
			return
		}
		t.types = append(t.types, typesIn{section: section})
		last++
	}
	in := &t.types[last]
	for _, have := range in.types {
		if have == typ {
			return
		}
	}
	if len(in.types) < maxTypes {
		in.types = append(in.types, typ)
	}
}

// words lists the types: ".eh_frame: 57 (R_RISCV_32_PCREL), 53 (R_RISCV_SET6)".
func (t *trouble) words(machine elf.Machine) string {
	var sections []string
	for _, in := range t.types {
		var types []string
		for _, typ := range in.types {
			types = append(types, relocWords(machine, typ))
		}
		sections = append(sections, in.section+": "+strings.Join(types, ", "))
	}
	return strings.Join(sections, "; ")
}

// allTypes gives the types of all sections.
func (t *trouble) allTypes() (all []uint32) {
	for _, in := range t.types {
		all = append(all, in.types...)
	}
	return all
}

// relocWords names a type: "57 (R_RISCV_32_PCREL)".
func relocWords(machine elf.Machine, typ uint32) string {
	var name string
	switch machine {
	case elf.EM_RISCV:
		if name = riscvNames[typ]; name == "" {
			name = elf.R_RISCV(typ).String()
		}
	case elf.EM_X86_64:
		name = elf.R_X86_64(typ).String()
	case elf.EM_AARCH64:
		name = elf.R_AARCH64(typ).String()
	case elf.EM_LOONGARCH:
		name = elf.R_LARCH(typ).String()
	}
	if !strings.HasPrefix(name, "R_") || strings.Contains(name, "+") { // 70 would be R_X86_64_...+28
		return fmt.Sprint(typ)
	}
	return fmt.Sprintf("%d (%s)", typ, name)
}
