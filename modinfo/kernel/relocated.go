package kernel

import (
	"bytes"
	"debug/elf"
)

const (
	// relaSize is the size of an Elf64_Rela: 0 place, 8 type and symbol, 16 addend.
	relaSize     = 24
	rvRelative   = 3 // R_RISCV_RELATIVE: the base plus the addend
	minRelatives = 64
)

// relocated gives the data of an image with its pointers in place. A riscv kernel that
// can be moved in memory (RELOCATABLE) has zeros in the file instead, and relocates
// itself at boot from a list that it has in it (.rela.dyn; relocate_kernel in
// arch/riscv/mm/init.c).
func relocated(m *Image) []byte {
	start, end := relatives(m)
	if end-start < minRelatives*relaSize {
		return m.Data
	}
	data := bytes.Clone(m.Data)
	for at := start; at < end; at += relaSize {
		if place := bytesAt(data, le.Uint64(m.Data[at:])-m.Base, 8); place != nil {
			copy(place, m.Data[at+16:at+relaSize])
		}
	}
	return data
}

// relatives finds the longest list of relocations by the base.
func relatives(m *Image) (start, end uint64) {
	if m.Machine != elf.EM_RISCV {
		return 0, 0
	}
	for at := uint64(0); at+relaSize <= uint64(len(m.Data)); at += 8 {
		first := at
		for at+relaSize <= uint64(len(m.Data)) && le.Uint64(m.Data[at+8:]) == rvRelative && m.holds(le.Uint64(m.Data[at:])) {
			at += relaSize
		}
		if at-first > end-start {
			start, end = first, at
		}
	}
	return start, end
}
