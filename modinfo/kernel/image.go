package kernel

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// An Image is a kernel as it lies in memory before it runs.
type Image struct {
	// Format is what the file was, in words, from the inside out: "riscv64 Image, zstd".
	Format  string
	Machine elf.Machine
	// Base is the address that the kernel was linked for, that of Data[0]. It is 0
	// where the format does not tell: flat images of other machines than riscv64.
	Base uint64
	// Data is all that the file has of it; zeros at the end (.bss) are left out.
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
	if addr < m.Base {
		return nil
	}
	return bytesAt(m.Data, addr-m.Base, n)
}

// bytesAt gives n bytes at off, nil when they are not all there.
func bytesAt(data []byte, off, n uint64) []byte {
	if off > uint64(len(data)) || n > uint64(len(data))-off {
		return nil
	}
	return data[off : off+n : off+n]
}

// maxImage is the most bytes that a kernel may have, packed or unpacked. Debian's
// for riscv64 has 31 MB.
const maxImage = 512 << 20

// maxLayers is how many packings may be around a kernel. Three are made: an Image
// with gzip as the payload of an EFI program inside of a uImage.
const maxLayers = 4

// riscvBase is where every riscv64 kernel with an MMU is linked to: the last 2 GiB
// (KERNEL_LINK_ADDR in arch/riscv/include/asm/pgtable.h).
const riscvBase = 0xffffffff80000000

var le = binary.LittleEndian

// ReadImage reads a kernel from r, which has size bytes. It knows
//
//   - the flat Image of riscv64, arm64 and loongarch64, an EFI program or not
//     (Documentation/arch/riscv/boot-image-header.rst and the like in the kernel),
//   - ELF files, of which the parts are taken that are loaded,
//   - any of these packed with gzip, zstd, xz, lz4, lzma or bzip2,
//   - x86 bzImage (Documentation/arch/x86/boot.rst),
//   - EFI programs that unpack a kernel (CONFIG_EFI_ZBOOT),
//   - one of these in U-Boot's older wrapping, uImage.
//
// A kernel may have at most 512 MiB. No more memory is taken than twice of what is
// really there, unpacked. Errors name the packing and the byte where it is.
func ReadImage(r io.ReaderAt, size int64) (*Image, error) {
	m, err := readImage(r, size, maxImage)
	if err != nil {
		return nil, fmt.Errorf("kernel image: %w", err)
	}
	return m, nil
}

func readImage(r io.ReaderAt, size, limit int64) (*Image, error) {
	magic := make([]byte, len(elf.ELFMAG))
	if n, err := r.ReadAt(magic, 0); n < len(magic) && err != io.EOF {
		return nil, err
	}
	if string(magic) == elf.ELFMAG { // with its debug data it may have a GB
		return openELF(r, size, limit)
	}
	if size > limit {
		return nil, tooLarge(limit)
	}
	data, err := readPart(r, 0, size)
	if err != nil {
		return nil, err
	}
	return openImage(data, limit)
}

// readPart reads n bytes at off. Room is made when the last of them is there.
func readPart(r io.ReaderAt, off, n int64) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	if got, err := r.ReadAt(make([]byte, 1), off+n-1); got == 0 {
		return nil, fmt.Errorf("byte %d cannot be read: %w", off+n-1, err)
	}
	data := make([]byte, n)
	if got, err := r.ReadAt(data, off); got < len(data) {
		return nil, fmt.Errorf("byte %d cannot be read: %w", off+int64(got), err)
	}
	return data, nil
}

// openImage takes off one layer after the other.
func openImage(data []byte, limit int64) (*Image, error) {
	var layers []string
	for range maxLayers + 1 {
		m, err := flatImage(data)
		if err == nil && m == nil && bytes.HasPrefix(data, []byte(elf.ELFMAG)) {
			m, err = openELF(bytes.NewReader(data), int64(len(data)), limit)
		}
		layer := ""
		if err == nil && m == nil {
			data, layer, err = openLayer(data, limit)
		}
		if err != nil {
			return nil, inside(layers, err)
		}
		if m != nil {
			for _, name := range slices.Backward(layers) {
				m.Format += ", " + name
			}
			return m, nil
		}
		layers = append(layers, layer)
	}
	return nil, fmt.Errorf("more than %d packings are around it", maxLayers)
}

// inside tells in which layer an error's offset counts.
func inside(layers []string, err error) error {
	for _, name := range slices.Backward(layers) {
		err = fmt.Errorf("inside of %s: %w", name, err)
	}
	return err
}

// openLayer opens what a kernel is wrapped in.
func openLayer(data []byte, limit int64) (inner []byte, layer string, err error) {
	switch packing := packingOf(data); {
	case packing != "":
		inner, err = unpack(packing, data, limit)
		return inner, packing, err
	case bytes.HasPrefix(data, []byte("MZ")) && string(bytesAt(data, 4, 4)) == "zimg":
		inner, err = zbootPayload(data)
		return inner, "EFI zboot", err
	case string(bytesAt(data, 0x202, 4)) == "HdrS":
		inner, err = bzImagePayload(data)
		return inner, "bzImage", err
	case bytes.HasPrefix(data, []byte{0x27, 0x05, 0x19, 0x56}) && len(data) > uImageHeader:
		return data[uImageHeader:], "uImage", nil
	}
	return nil, "", unknownFormat(data)
}

// uImageHeader is the size of the header of a uImage (include/image.h in U-Boot).
const uImageHeader = 64

func unknownFormat(data []byte) error {
	switch {
	case len(data) == 0:
		return errors.New("the file is empty")
	case bytes.HasPrefix(data, []byte{0xd0, 0x0d, 0xfe, 0xed}):
		return errors.New("it is a device tree or a FIT image; take the kernel out: dumpimage -T flat_dt -p 0 -o Image FILE")
	case bytes.HasPrefix(data, []byte("MZ")):
		return errors.New("it is an EFI program, but no kernel; from a unified kernel image the kernel can be taken out: objcopy -O binary --only-section=.linux FILE Image")
	}
	return fmt.Errorf("no known format: it begins with % x", data[:min(len(data), 8)])
}

// zbootPayload finds the packed kernel in an EFI program
// (drivers/firmware/efi/libstub/zboot-header.S in the kernel):
//
//	0 "MZ" | 4 "zimg" | 8 offset of the payload | 12 its size | 24 name of the packing
func zbootPayload(data []byte) ([]byte, error) {
	h := bytesAt(data, 0, 56)
	if h == nil {
		return nil, fmt.Errorf("EFI zboot: the header is cut off at byte %d", len(data))
	}
	off, size := uint64(le.Uint32(h[8:])), uint64(le.Uint32(h[12:]))
	payload := bytesAt(data, off, size)
	if payload == nil {
		return nil, cutOff("EFI zboot: the packed kernel", off, size, uint64(len(data)))
	}
	if packingOf(payload) == "" {
		name, _, _ := bytes.Cut(h[24:], []byte{0})
		return nil, fmt.Errorf("EFI zboot: the kernel at byte %d is packed with %q, which is not known", off, name)
	}
	return payload, nil
}

// bzImagePayload finds the packed vmlinux in the boot image of x86
// (Documentation/arch/x86/boot.rst in the kernel, "Details of header fields"):
//
//	0x1f1 sectors of the setup | 0x202 "HdrS" | 0x206 version, 2 bytes
//	0x248 offset of the payload behind the setup | 0x24c its size
func bzImagePayload(data []byte) ([]byte, error) {
	h := bytesAt(data, 0, 0x250)
	if h == nil {
		return nil, fmt.Errorf("bzImage: the header is cut off at byte %d", len(data))
	}
	if v := le.Uint16(h[0x206:]); v < 0x208 {
		return nil, fmt.Errorf("bzImage: the header at byte 514 has version %d.%02d; since 2.08 (kernel 2.6.26) it tells where the kernel is", v>>8, v&0xff)
	}
	sectors := uint64(h[0x1f1])
	if sectors == 0 {
		sectors = 4
	}
	off, size := (sectors+1)*512+uint64(le.Uint32(h[0x248:])), uint64(le.Uint32(h[0x24c:]))
	payload := bytesAt(data, off, size)
	switch packing := packingOf(payload); {
	case payload == nil:
		return nil, cutOff("bzImage: the packed kernel", off, size, uint64(len(data)))
	case packing == "":
		return nil, fmt.Errorf("bzImage: the kernel at byte %d is packed in a way that is not known: it begins with % x", off, payload[:min(len(payload), 8)])
	case packing != "gzip" && len(payload) > 4:
		payload = payload[:len(payload)-4] // the unpacked size (scripts/Makefile.lib, size_append)
	}
	return payload, nil
}

func cutOff(what string, off, size, have uint64) error {
	return fmt.Errorf("%s, %d bytes at byte %d, ends outside the file of %d bytes: it is cut off", what, size, off, have)
}
