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
		elf.R_RISCV_SUB6, elf.R_RISCV_SET6, elf.R_RISCV_SET8, elf.R_RISCV_SET16, elf.R_RISCV_SET32, elf.R_RISCV_32_PCREL, 60, 61,
	} {
		h[t] = applied
	}
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
		if sections.No() {
			return noGOT, true
		}
		return maybeNoGOT, !sections.Known()
	case pcRelative, call:
		// Modules lie up to 2 GiB below the kernel's end, which is the end of all
		// addresses: nothing below -4 GiB is near enough to any of them.
		const reachable = 1<<64 - 4<<30
		switch {
		case !known || value >= reachable || how == call && sections.Yes():
			return 0, false
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
	if t.unwindTables() {
		return UnwindCure
	}
	release, commit := kernel.RelocatesSince(m.elf.Machine, t.allTypes())
	switch {
	case release == "":
		return "rebuild it with the kernel's own Makefiles and flags; no kernel knows all of them"
	case commit != "":
		return "rebuild it against this kernel with its own flags, or take a kernel with " + commit + " (mainline " + release + ")"
	}
	return "rebuild it against this kernel with its own flags, or take a kernel since mainline " + release
}
