package kernel

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// An Image is a kernel as it lies in memory before it runs.
type Image struct {
	// Format is what the file was, in words: "riscv64 Image, zstd".
	Format  string
	Machine elf.Machine // 0: unknown
	// Base is the address that the kernel was linked for: that of Data[0].
	Base uint64
	// Data is all of it that the file has: what is zero at the start (.bss) may be missing.
	Data []byte
	// Sections are those of an ELF file, nil of another one. They may lie outside of Data.
	Sections []ImageSection
}

// An ImageSection is a named part of an [Image].
type ImageSection struct {
	Name       string
	Addr, Size uint64
}

// At gives n bytes at an address that the kernel was linked for, nil when they are
// not all there.
func (m *Image) At(addr, n uint64) []byte {
	off := addr - m.Base
	if addr < m.Base || off > uint64(len(m.Data)) || n > uint64(len(m.Data))-off {
		return nil
	}
	return m.Data[off : off+n : off+n]
}

// maxImage is the largest kernel in bytes, unpacked. Debian's takes 31 MB; with all
// that there is built in, 200 MB.
const maxImage = 512 << 20

// riscvBase is where each riscv64 kernel with an MMU is linked to
// (KERNEL_LINK_ADDR in arch/riscv/include/asm/pgtable.h: ADDRESS_SPACE_END - 2 GiB + 1).
const riscvBase = 0xffffffff80000000

var le = binary.LittleEndian

// ReadImage reads a kernel from a file of size bytes: a flat Image of riscv64, packed or not.
func ReadImage(r io.ReaderAt, size int64) (*Image, error) {
	data, err := io.ReadAll(io.NewSectionReader(r, 0, min(size, maxImage)))
	if err != nil {
		return nil, fmt.Errorf("kernel image: %w", err)
	}
	packing := ""
	if name := packingOf(data); name != "" {
		if data, err = unpack(name, data); err != nil {
			return nil, fmt.Errorf("kernel image: %s data: %w", name, err)
		}
		packing = ", " + name
	}
	if len(data) >= 64 && bytes.Equal(data[48:56], []byte("RISCV\x00\x00\x00")) && bytes.Equal(data[56:60], []byte("RSC\x05")) {
		return &Image{Format: "riscv64 Image" + packing, Machine: elf.EM_RISCV, Base: riscvBase, Data: data}, nil
	}
	return nil, errors.New("kernel image: not a format that is known")
}
