package preflight

import (
	"debug/elf"
	"slices"

	"github.com/kstage/kstage/internal/elf64"
	"github.com/kstage/kstage/modinfo/kernel"
)

// Types of riscv that debug/elf has no names for (riscv-elf-psabi).
var riscvNames = map[uint32]string{
	58: "R_RISCV_IRELATIVE", 59: "R_RISCV_PLT32", 60: "R_RISCV_SET_ULEB128", 61: "R_RISCV_SUB_ULEB128",
}

// riscvTypes is the number of types that any kernel has a handler for, and more.
const riscvTypes = 64

// riscvHandlings are what a loader with all handlers does (arch/riscv/kernel/module.c).
// Types that are not in it have none in any kernel; 0 is among them.
var riscvHandlings = func() (h [riscvTypes]handling) {
	for _, t := range []elf.R_RISCV{
		elf.R_RISCV_64, elf.R_RISCV_LO12_I, elf.R_RISCV_LO12_S, elf.R_RISCV_ADD8, elf.R_RISCV_ADD16, elf.R_RISCV_ADD32,
		elf.R_RISCV_ADD64, elf.R_RISCV_SUB8, elf.R_RISCV_SUB16, elf.R_RISCV_SUB32, elf.R_RISCV_SUB64, elf.R_RISCV_RELAX,
		elf.R_RISCV_SUB6, elf.R_RISCV_SET6, elf.R_RISCV_SET8, elf.R_RISCV_SET16, elf.R_RISCV_SET32, elf.R_RISCV_32_PCREL,
	} {
		h[t] = applied
	}
	h[setULEB], h[subULEB] = summed, summed
	for _, t := range []elf.R_RISCV{elf.R_RISCV_BRANCH, elf.R_RISCV_JAL, elf.R_RISCV_RVC_BRANCH, elf.R_RISCV_RVC_JUMP} {
		h[t] = near
	}
	for t := elf.R_RISCV_RELATIVE; t <= elf.R_RISCV_TLS_TPREL64; t++ {
		h[t] = refusedDynamic
	}
	h[58] = refusedDynamic
	for _, t := range []elf.R_RISCV{
		elf.R_RISCV_TLS_GOT_HI20, elf.R_RISCV_TLS_GD_HI20, elf.R_RISCV_TPREL_HI20, elf.R_RISCV_TPREL_LO12_I, elf.R_RISCV_TPREL_LO12_S, elf.R_RISCV_TPREL_ADD,
	} {
		h[t] = refusedTLS
	}
	h[elf.R_RISCV_32] = word32
	h[elf.R_RISCV_CALL], h[elf.R_RISCV_PCREL_HI20] = pcRelative, pcRelative
	h[elf.R_RISCV_CALL_PLT], h[59] = call, call
	h[elf.R_RISCV_GOT_HI20] = got
	h[elf.R_RISCV_PCREL_LO12_I], h[elf.R_RISCV_PCREL_LO12_S] = lowerHalf, lowerHalf
	h[elf.R_RISCV_HI20] = absolute
	h[elf.R_RISCV_ALIGN] = refusedAlign
	return h
}()

// firstRISCV are the types that the first loader (4.15) had handlers for, and each since.
var firstRISCV = []uint32{2, 16, 17, 19, 23, 24, 25, 51}

// handlings gives what this kernel's loader does with each type; nil for machines
// that nothing is known of.
func (m *module) handlings() []handling {
	switch m.elf.Machine {
	case elf.EM_RISCV:
		return m.riscvHandlings()
	case elf.EM_X86_64:
		return x86Handlings
	case elf.EM_AARCH64:
		return arm64Handlings
	case elf.EM_LOONGARCH:
		return loongHandlings(m.facts)
	}
	return nil
}

func (m *module) riscvHandlings() []handling {
	h := riscvHandlings
	slots := m.facts.Relocations
	for t := range h {
		switch {
		case slots != nil:
			if !slots[uint32(t)] {
				h[t] = unhandled
			} else if h[t] == unhandled {
				h[t] = applied // a kernel with more than any other has
			}
		case h[t] == refusedAlign || h[t] == refusedTLS || h[t] == refusedDynamic || h[t] == unhandled:
			// no loader applies them
		case !slices.Contains(firstRISCV, uint32(t)):
			h[t] = doubtful
		}
	}
	return h[:]
}

// noteRelocationFacts tells what the verdict rests on: on the loader's table, when
// there are types that not every kernel knows.
func (m *module) noteRelocationFacts(s *relocScan) {
	if m.elf.Machine != elf.EM_RISCV {
		return
	}
	for t, used := range s.used {
		if used && !slices.Contains(firstRISCV, uint32(t)) {
			m.used = append(m.used, m.facts.RelocationsFrom.Source)
			return
		}
	}
}

// checkRISCV looks at the types that depend on the symbol or on an option.
func (s *relocScan) checkRISCV(r elf64.Rela, how handling, value uint64, known bool) (problem, bool) {
	sections := s.m.facts.Option("MODULE_SECTIONS")
	switch how {
	case got:
		switch {
		case sections.No():
			return noGOT, true
		case s.target.Flags&elf.SHF_EXECINSTR == 0:
			return noRoom, sections.Yes()
		}
		return maybeNoGOT, !sections.Known()
	case pcRelative, call:
		// Modules lie up to 2 GiB below the kernel's end, which is the end of all
		// addresses: nothing below -4 GiB is near enough to any of them.
		const reachable = 1<<64 - 4<<30
		near := known && value >= reachable || !known && r.Addend > -8<<30 && r.Addend < 8<<30
		switch {
		case near:
			return 0, false
		case how == call && sections.Yes():
			return noRoom, s.target.Flags&elf.SHF_EXECINSTR == 0
		case how == call && !sections.Known():
			return maybeTooFar, true
		case s.m.symbols.At(int(r.Symbol)).Bind() == elf.STB_WEAK:
			return weakTooFar, true
		}
		return tooFar, true
	case near: // no loader looks whether the target is near enough
		section := s.m.symbols.At(int(r.Symbol)).Section
		return truncated, section == uint16(elf.SHN_UNDEF)
	case absolute:
		if s.m.facts.Option("CMODEL_MEDLOW").Yes() {
			return lowModelRefused, true
		}
		return lowModel, !known || uint64(int64(int32(value))) != value
	}
	return 0, false
}

const setULEB, subULEB = 60, 61

// A sum is what a ULEB128 at one place will be: so many addresses, and a number.
type sum struct {
	off       uint64
	addresses int
	number    int64
}

// sum adds one part: the loader adds them up by place.
func (s *relocScan) sum(i int) {
	r := s.relas.At(i)
	at := slices.IndexFunc(s.sums, func(x sum) bool { return x.off == r.Off })
	if at < 0 {
		s.sums = append(s.sums, sum{off: r.Off})
		at = len(s.sums) - 1
	}
	part := sum{off: r.Off, number: r.Addend}
	if value, known := s.constant(r); known {
		part.number = int64(value)
	} else {
		part.addresses = 1
		part.number += int64(s.m.symbols.At(int(r.Symbol)).Value)
	}
	if r.Type == subULEB {
		part.addresses, part.number = s.sums[at].addresses-part.addresses, s.sums[at].number-part.number
	}
	s.sums[at] = part
}

// findEndless looks for ULEB128 that would be negative, as addresses are: the loader
// writes them without end. Of the difference of two sections nothing is known.
func (s *relocScan) findEndless() {
	for _, x := range s.sums {
		if x.addresses > 0 || x.addresses == 0 && x.number < 0 {
			s.found(trouble{problem: endlessULEB, rela: elf64.Rela{Off: x.off, Type: setULEB}})
		}
	}
}

// checkLone looks for a section with one relocation, of a kind that the loader adds
// up by place since 6.7: its table of places has no bits then, and it looks outside.
func (s *relocScan) checkLone() {
	if s.relas.Len() != 1 || s.m.elf.Machine != elf.EM_RISCV || !s.m.facts.Relocations[setULEB] {
		return
	}
	r := s.relas.At(0)
	switch t := elf.R_RISCV(r.Type); {
	case t >= elf.R_RISCV_ADD8 && t <= elf.R_RISCV_SUB64, t >= elf.R_RISCV_SUB6 && t <= elf.R_RISCV_SET32, t == setULEB, t == subULEB:
		s.found(trouble{problem: loneSum, rela: r})
	}
}

// lowerHalf looks for the upper half that a PCREL_LO12 belongs to: its symbol is the
// place of that, in the same section. It gives 1 when it has not come yet.
func (s *relocScan) lowerHalf(i int) int {
	place, ok := s.upperPlace(s.relas.At(i))
	if ok {
		// The upper half is nearly always one of the last.
		for j := len(s.uppers) - 1; j >= max(0, len(s.uppers)-8); j-- {
			if s.uppers[j] == place {
				return 0
			}
		}
	}
	return 1
}

// upperPlace gives the place of the upper half; false when it is in another section.
func (s *relocScan) upperPlace(r elf64.Rela) (uint64, bool) {
	symbol := s.m.symbols.At(int(r.Symbol))
	return symbol.Value, uint32(symbol.Section) == s.index
}

// findOrphans looks for the upper halves that were not near.
func (s *relocScan) findOrphans() {
	if !slices.IsSorted(s.uppers) {
		slices.Sort(s.uppers)
	}
	for i := range s.relas.Len() {
		s.at = s.before + i
		if t := s.relas.Type(i); t >= uint32(len(s.handlings)) || s.handlings[t] != lowerHalf {
			continue
		}
		r := s.relas.At(i)
		if uint64(r.Symbol) >= uint64(s.m.symbols.Len()) || r.Off >= s.target.Size {
			continue
		}
		place, ok := s.upperPlace(r)
		if ok {
			_, ok = slices.BinarySearch(s.uppers, place)
		}
		if !ok {
			s.found(trouble{problem: orphan, rela: r})
		}
	}
}

// checkPLT is riscv's module_frob_arch_sections, which a kernel with MODULE_SECTIONS
// has: the linker script of such a kernel makes room for the tables.
func checkPLT(_ *Check, m *module) []Finding {
	option := m.facts.Option("MODULE_SECTIONS")
	if m.elf.Machine != elf.EM_RISCV || !option.Yes() {
		return nil
	}
	for _, t := range []struct{ name, words string }{{".plt", "PLT"}, {".got", "GOT"}, {".got.plt", "GOT.PLT"}} {
		if m.elf.Section(t.name) != nil {
			continue
		}
		return []Finding{{Rule: RelocGOT, Severity: Fail, Errno: ENOEXEC, From: option.From.Source,
			Text:  "it has no section " + t.name + ", which kernels with MODULE_SECTIONS want",
			Hint:  "rebuild it against this kernel, whose linker script for modules makes the section",
			Dmesg: []string{m.name + ": module " + t.words + " section(s) missing"}}}
	}
	return nil
}

// unwindTables tells whether all types without a handler are in unwind tables.
func (t *trouble) unwindTables() bool {
	for _, in := range t.types {
		if in.section != ".eh_frame" {
			return false
		}
	}
	return len(t.types) > 0
}

// noHandlerHint tells what to do about types that the loader does not know, and the
// first kernel that knows them all.
func (m *module) noHandlerHint(t *trouble) string {
	release, commit := kernel.RelocatesSince(m.elf.Machine, t.allTypes())
	switch {
	case release != "" && t.unwindTables():
		return UnwindCure
	case release == "":
		return "rebuild it with the kernel's own Makefiles and flags; no kernel knows all of them"
	case commit != "":
		return "rebuild it against this kernel with its own flags, or take a kernel with " + commit + " (mainline " + release + ")"
	}
	return "rebuild it against this kernel with its own flags, or take a kernel since mainline " + release
}
