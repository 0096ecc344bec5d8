package preflight

import (
	"debug/elf"

	"github.com/kstage/kstage/internal/elf64"
	"github.com/kstage/kstage/modinfo/kernel"
)

// x86Handlings are what arch/x86/kernel/module.c does; the list is the same since 5.x.
var x86Handlings = func() []handling {
	h := make([]handling, elf.R_X86_64_PC64+1)
	h[elf.R_X86_64_NONE] = applied
	h[elf.R_X86_64_64], h[elf.R_X86_64_PC64] = blank8, blank8
	h[elf.R_X86_64_PC32], h[elf.R_X86_64_PLT32] = blank4, blank4
	h[elf.R_X86_64_32], h[elf.R_X86_64_32S] = word32, signed32
	return h
}()

// checkBlank wants zeros where x86's loader writes, so that nothing is relocated twice.
func (s *relocScan) checkBlank(r elf64.Rela, n uint64) {
	if r.Off > uint64(len(s.content)) || n > uint64(len(s.content))-r.Off {
		return // of a section without content: zeros
	}
	for _, b := range s.content[r.Off:][:n] {
		if b != 0 {
			value, known := s.constant(r)
			s.found(trouble{problem: notBlank, rela: r, value: value, known: known})
			return
		}
	}
}

// arm64Handlings are what arch/arm64/kernel/module.c does: one switch, the same from
// 6.1 to 7.2.
var arm64Handlings = func() []handling {
	h := make([]handling, elf.R_AARCH64_LDST128_ABS_LO12_NC+1)
	h[elf.R_AARCH64_NONE], h[elf.R_AARCH64_NULL] = applied, applied
	for t := elf.R_AARCH64_ABS64; t <= elf.R_AARCH64_CONDBR19; t++ {
		h[t] = applied
	}
	h[elf.R_AARCH64_ABS32], h[elf.R_AARCH64_ABS16] = overflows, overflows
	h[elf.R_AARCH64_JUMP26], h[elf.R_AARCH64_CALL26] = applied, applied
	const prelG3 = 293 // MOVW_PREL_G0 to G3 stand behind LDST64; debug/elf has no names for them
	for t := elf.R_AARCH64_LDST16_ABS_LO12_NC; t <= prelG3; t++ {
		h[t] = applied
	}
	h[elf.R_AARCH64_LDST128_ABS_LO12_NC] = applied
	return h
}()

// loongLast is the last type that the loader has in its table, by release: those that
// it does not support have a handler that says so (arch/loongarch/kernel/module.c).
const (
	loongLast5 = elf.R_LARCH_RELAX    // 5.19
	loongLast  = elf.R_LARCH_64_PCREL // 6.1.y and later
)

// loongHandlings are what loongarch's loader does, by release.
func loongHandlings(f *kernel.Facts) []handling {
	major, minor, known := release(f)
	at := major<<16 | minor
	last := loongLast
	if known && at < 6<<16|1 {
		last = loongLast5
	}
	h := make([]handling, last+1)
	for t := range h {
		h[t] = refusedLoong
	}
	set := func(how handling, first, last elf.R_LARCH) {
		for t := first; t <= last && int(t) < len(h); t++ {
			h[t] = how
		}
	}
	set(applied, elf.R_LARCH_NONE, elf.R_LARCH_64)
	set(applied, elf.R_LARCH_MARK_LA, elf.R_LARCH_SOP_PUSH_DUP)
	set(applied, elf.R_LARCH_SOP_PUSH_PLT_PCREL, elf.R_LARCH_SOP_PUSH_PLT_PCREL)
	set(applied, elf.R_LARCH_SOP_SUB, elf.R_LARCH_SOP_POP_32_U)
	set(applied, elf.R_LARCH_ADD32, elf.R_LARCH_ADD64)
	set(refusedLoong, elf.R_LARCH_SUB8, elf.R_LARCH_SUB24)
	set(applied, elf.R_LARCH_SUB32, elf.R_LARCH_SUB64)
	since := func(from, to int, first, last elf.R_LARCH) { // there at to, not yet at from
		switch {
		case !known || at > from && at < to:
			set(doubtful, first, last)
		case at >= to:
			set(applied, first, last)
		}
	}
	since(6<<16, 6<<16|1, elf.R_LARCH_B26, elf.R_LARCH_B26)
	since(6<<16, 6<<16|1, elf.R_LARCH_PCALA_HI20, elf.R_LARCH_GOT_PC_LO12)
	since(6<<16|1, 6<<16|12, elf.R_LARCH_32_PCREL, elf.R_LARCH_32_PCREL)
	since(6<<16|1, 6<<16|12, elf.R_LARCH_64_PCREL, elf.R_LARCH_64_PCREL)
	return h
}
