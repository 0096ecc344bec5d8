package kernel

import (
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"slices"
)

// gapsPerByte bounds what is between the parts of an ELF file that are loaded: at
// most so many times what they have. Parts are aligned to 2 MiB, of a kernel that
// has several MB.
const gapsPerByte = 4

var errNothingLoaded = errors.New("no part of it is loaded; take the boot image, or a vmlinux that has more than debug data")

// openELF takes the parts of an ELF file that are loaded, at their addresses.
func openELF(r io.ReaderAt, size, limit int64) (*Image, error) {
	f, err := elf.NewFile(io.NewSectionReader(r, 0, size))
	if err != nil {
		return nil, fmt.Errorf("ELF file: %w", err)
	}
	parts := loadedParts(f)
	if len(parts) == 0 {
		return nil, fmt.Errorf("ELF file: %w", errNothingLoaded)
	}
	m := &Image{Format: machineName(f.Machine, f.Class) + " vmlinux", Machine: f.Machine, Base: parts[0].Vaddr}
	span, err := spanOf(parts, uint64(size))
	if err != nil {
		return nil, fmt.Errorf("ELF file: %w", err)
	}
	if span > uint64(limit) {
		return nil, fmt.Errorf("ELF file: %w", tooLarge(limit))
	}
	m.Data = make([]byte, span)
	for _, p := range parts {
		if got, err := r.ReadAt(m.Data[p.Vaddr-m.Base:][:p.Filesz], int64(p.Off)); uint64(got) < p.Filesz {
			return nil, fmt.Errorf("ELF file: byte %d cannot be read: %w", p.Off+uint64(got), err)
		}
	}
	for _, s := range f.Sections {
		if s.Flags&elf.SHF_ALLOC != 0 {
			m.Sections = append(m.Sections, ImageSection{s.Name, s.Addr, s.Size})
		}
	}
	return m, nil
}

// loadedParts gives what is loaded and in the file, by address. x86 kernels have
// the variables of each processor at address 0 (until 6.15), which are left out.
func loadedParts(f *elf.File) []*elf.Prog {
	var parts []*elf.Prog
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Filesz > 0 && p.Vaddr != 0 {
			parts = append(parts, p)
		}
	}
	slices.SortStableFunc(parts, func(a, b *elf.Prog) int { return cmp.Compare(a.Vaddr, b.Vaddr) })
	return parts
}

// spanOf tells how many bytes there are from the first to the end of the last part.
// It is at most gapsPerByte+1 times the size of the file.
func spanOf(parts []*elf.Prog, size uint64) (uint64, error) {
	base, span, held := parts[0].Vaddr, uint64(0), uint64(0)
	for _, p := range parts {
		if p.Off > size || p.Filesz > size-p.Off {
			return 0, cutOff("a part that is loaded", p.Off, p.Filesz, size)
		}
		if held += p.Filesz; held > size {
			return 0, fmt.Errorf("the parts that are loaded take more than the file's %d bytes", size)
		}
		at := p.Vaddr - base
		if at < span || at-span > gapsPerByte*held-(span-(held-p.Filesz)) {
			return 0, fmt.Errorf("the part at byte %d belongs to address %#x, which does not go with those before, from %#x to %#x", p.Off, p.Vaddr, base, base+span)
		}
		span = at + p.Filesz
	}
	return span, nil
}

// machineName gives the name that people use: "riscv64".
func machineName(m elf.Machine, class elf.Class) string {
	switch {
	case m == elf.EM_RISCV && class == elf.ELFCLASS64:
		return "riscv64"
	case m == elf.EM_RISCV:
		return "riscv32"
	case m == elf.EM_AARCH64:
		return "arm64"
	case m == elf.EM_X86_64:
		return "x86_64"
	case m == elf.EM_LOONGARCH && class == elf.ELFCLASS64:
		return "loongarch64"
	}
	return m.String()
}
