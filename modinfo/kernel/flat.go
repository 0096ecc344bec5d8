package kernel

import (
	"bytes"
	"debug/elf"
	"fmt"
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
	{linuxPE, elf.EM_LOONGARCH, 0, "loongarch64 Image"},
}

const (
	// linuxPE marks EFI programs that are kernels, whatever the machine
	// (include/linux/pe.h). Only loongarch has nothing better.
	linuxPE     = "\xcd\x23\x82\x81"
	peLoongarch = 0x6264
)

const flatHeader = 64

// flatImage reads a kernel without a wrapping; nil when it is none.
func flatImage(data []byte) (*Image, error) {
	h := bytesAt(data, 0, flatHeader)
	if h == nil || string(h[56:60]) == linuxPE && peMachine(data) != peLoongarch || string(h[4:8]) == "zimg" {
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
//	header    0 "PE\0\0" | 4 machine, 2 bytes | 6 sections, 2 bytes | 20 size of what comes between, 2 bytes
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
			return cutOff(fmt.Sprintf("section %s", name), off, size, uint64(len(data)))
		}
	}
	return nil
}

// peMachine gives the machine that an EFI program is for, 0 when it is none.
func peMachine(data []byte) uint16 {
	if h := bytesAt(data, uint64(le.Uint32(data[60:])), 24); h != nil && string(h[:4]) == "PE\x00\x00" {
		return le.Uint16(h[4:])
	}
	return 0
}
