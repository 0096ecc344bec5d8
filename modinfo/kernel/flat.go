package kernel

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"slices"
)

// flatFormats are kernels without a wrapping, by the magic in their header of 64
// bytes. All may be EFI programs, which begin with MZ and tell at byte 60 where
// their header is. (arch/riscv/include/asm/image.h, arch/arm64/include/asm/image.h,
// arch/loongarch/kernel/head.S in the kernel)
var flatFormats = []struct {
	magic   string // at byte 56
	machine elf.Machine
	base    uint64
	name    string
}{
	{"RSC\x05", elf.EM_RISCV, riscvBase, "riscv64 Image"},
	{"ARM\x64", elf.EM_AARCH64, 0, "arm64 Image"},
	{"\xcd\x23\x82\x81", elf.EM_LOONGARCH, 0, "loongarch64 Image"},
}

const flatHeader = 64

// flatImage reads a kernel without a wrapping; nil when it is none.
func flatImage(data []byte) (*Image, error) {
	h := bytesAt(data, 0, flatHeader)
	if h == nil || string(h[4:8]) == "zimg" { // which has loongarch's magic, whatever the machine
		return nil, nil
	}
	for _, f := range flatFormats {
		if string(h[56:60]) != f.magic {
			continue
		}
		if err := wholeEFI(data); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		return &Image{Format: f.name, Machine: f.machine, Base: f.base, Data: data}, nil
	}
	return nil, nil
}

// wholeEFI tells whether the sections of an EFI program are all there. Of a kernel
// that is cut off, less could be said than seems. What has no such header is whole
// as far as one can tell.
//
//	header    0 "PE\0\0" | 6 sections, 2 bytes | 20 size of what comes between, 2 bytes
//	section   16 size in the file | 20 offset in the file; 40 bytes in all
//
// (Microsoft Portable Executable and Common Object File Format Specification, 3 and 4)
func wholeEFI(data []byte) error {
	if !bytes.HasPrefix(data, []byte("MZ")) {
		return nil
	}
	at := uint64(le.Uint32(data[60:]))
	h := bytesAt(data, at, 24)
	if h == nil || string(h[:4]) != "PE\x00\x00" {
		return fmt.Errorf("there is no PE header at byte %d", at)
	}
	sections := at + 24 + uint64(le.Uint16(h[20:]))
	for i := range uint64(le.Uint16(h[6:])) {
		s := bytesAt(data, sections+i*40, 40)
		if s == nil {
			return fmt.Errorf("the table of sections at byte %d is cut off", sections)
		}
		size, off := uint64(le.Uint32(s[16:])), uint64(le.Uint32(s[20:]))
		if bytesAt(data, off, size) == nil {
			name, _, _ := bytes.Cut(s[:8], []byte{0})
			return cutOff(fmt.Sprintf("section %s", name), off, size, len(data))
		}
	}
	return nil
}

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
	loads := loadedParts(f)
	if len(loads) == 0 {
		return nil, fmt.Errorf("ELF file: %w", errNothingLoaded)
	}
	m := &Image{Format: "ELF vmlinux, " + machineName(f.Machine, f.Class), Machine: f.Machine, Base: loads[0].Vaddr}
	gaps, held := uint64(0), uint64(0)
	for _, p := range loads {
		held += p.Filesz
		if held > uint64(size) || p.Filesz > uint64(size) || p.Off > uint64(size)-p.Filesz {
			return nil, fmt.Errorf("ELF file: %w", cutOff("a loaded part", p.Off, p.Filesz, int(size)))
		}
		gap := p.Vaddr - m.Base - uint64(len(m.Data))
		if gaps += gap; p.Vaddr-m.Base < uint64(len(m.Data)) || gap > gapsPerByte*held || gaps > gapsPerByte*held {
			return nil, fmt.Errorf("ELF file: the part at byte %d belongs at %#x, which does not go with what is at %#x", p.Off, p.Vaddr, m.Base)
		}
		if uint64(len(m.Data))+gap+p.Filesz > uint64(limit) {
			return nil, tooLarge(limit)
		}
		part, err := readAll(io.NewSectionReader(r, int64(p.Off), int64(p.Filesz)), limit)
		if err != nil {
			return nil, fmt.Errorf("ELF file: byte %d: %w", p.Off, err)
		}
		m.Data = append(append(m.Data, make([]byte, gap)...), part...)
	}
	for _, s := range f.Sections {
		if s.Flags&elf.SHF_ALLOC != 0 {
			m.Sections = append(m.Sections, ImageSection{s.Name, s.Addr, s.Size})
		}
	}
	return m, nil
}

// loadedParts gives what is loaded and in the file, by address. x86 kernels have
// the variables of each processor at address 0 (until 6.15), which is left out.
func loadedParts(f *elf.File) []*elf.Prog {
	var loads []*elf.Prog
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Filesz > 0 && p.Vaddr != 0 {
			loads = append(loads, p)
		}
	}
	slices.SortStableFunc(loads, func(a, b *elf.Prog) int {
		if a.Vaddr < b.Vaddr {
			return -1
		}
		return 1
	})
	return loads
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
