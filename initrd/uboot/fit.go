package uboot

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/kstage/kstage/internal/fdt"
)

// FIT is a flattened image tree: a device tree blob that holds a ramdisk and,
// if wanted, the kernel and the device tree it belongs to, each with its
// SHA-256, and one configuration that names them:
//
//	/ {
//		description, timestamp, #address-cells
//		images {
//			kernel-1  { description, type = "kernel", arch, os, compression, load, entry, data, hash-1 {…} }
//			ramdisk-1 { description, type = "ramdisk", arch, os, compression, data, hash-1 {…} }
//			fdt-1     { description, type = "flat_dt", arch, compression, data, hash-1 {…} }
//		}
//		configurations {
//			default = "conf-1"
//			conf-1 { description, kernel, ramdisk, fdt }
//		}
//	}
//
// The device tree comes last: U-Boot that uses it in place lets it grow over
// what follows.
type FIT struct {
	// Name is the description, which U-Boot prints.
	Name string

	// Time is when the image was made, in seconds since 1970.
	Time uint32

	// Ramdisk, Kernel and DeviceTree are read twice. Kernel and DeviceTree may
	// be nil.
	Ramdisk, Kernel, DeviceTree *io.SectionReader

	// Load is where U-Boot puts the kernel before it jumps there: an address
	// in the board's memory, a multiple of 2 MiB, most often the second one in
	// it. There is no default: the kind kernel_noload, which has none, U-Boot
	// starts where it lies, and that is no such multiple.
	Load uint64
}

// part is one node below /images.
type part struct {
	node, role, kind string // ramdisk-1, its name in the configuration, the property type
	description      string
	linux            bool // has the property os
	load             []byte
	data             *io.SectionReader
	sum              []byte
}

func (f FIT) parts() []*part {
	var parts []*part
	if f.Kernel != nil {
		parts = append(parts, &part{node: "kernel-1", role: "kernel", kind: "kernel", description: "Linux kernel",
			linux: true, load: address(f.Load), data: f.Kernel})
	}
	parts = append(parts, &part{node: "ramdisk-1", role: "ramdisk", kind: "ramdisk", description: "initrd",
		linux: true, data: f.Ramdisk})
	if f.DeviceTree != nil {
		parts = append(parts, &part{node: "fdt-1", role: "fdt", kind: "flat_dt", description: "device tree",
			data: f.DeviceTree})
	}
	for _, p := range parts {
		p.sum = make([]byte, sha256.Size) // until it is known
	}
	return parts
}

// address is one cell, or two for what lies above 4 GiB.
func address(a uint64) []byte {
	if a > math.MaxUint32 {
		return binary.BigEndian.AppendUint64(nil, a)
	}
	return binary.BigEndian.AppendUint32(nil, uint32(a))
}

// Size returns how many bytes [FIT.Write] will write. What would not work is an
// error: a kernel that is no riscv Image, an address it cannot run at, a device
// tree that is none, and more than 2 GiB, which U-Boot's libfdt counts with an
// int.
func (f FIT) Size() (int64, error) {
	if err := f.check(); err != nil {
		return 0, err
	}
	_, total := f.tree(f.parts()).Finish()
	if total > math.MaxInt32 {
		return 0, fmt.Errorf("fit: would have %d bytes, at most %d work", total, math.MaxInt32)
	}
	return total, nil
}

// Write writes the tree. The end of ctx is an error.
func (f FIT) Write(ctx context.Context, w io.Writer) error {
	if _, err := f.Size(); err != nil {
		return err
	}
	parts := f.parts()
	for _, p := range parts {
		h := sha256.New()
		if err := copySection(ctx, h, p.data); err != nil {
			return fmt.Errorf("fit: %s: %w", p.role, err)
		}
		p.sum = h.Sum(nil)
	}
	b := f.tree(parts)
	head, _ := b.Finish()
	if _, err := w.Write(head); err != nil {
		return fmt.Errorf("fit: %w", err)
	}
	for _, piece := range b.Pieces {
		if piece.Section != nil {
			p := parts[0] // the sections come in the order of the parts
			parts = parts[1:]
			if err := copyAgain(ctx, w, p.data, sha256.New(), p.sum); err != nil {
				return fmt.Errorf("fit: %s: %w", p.role, err)
			}
		} else if _, err := w.Write(piece.Bytes); err != nil {
			return fmt.Errorf("fit: %w", err)
		}
	}
	if _, err := w.Write(b.Names); err != nil {
		return fmt.Errorf("fit: %w", err)
	}
	return nil
}

func (f FIT) tree(parts []*part) *fdt.Builder {
	b := new(fdt.Builder)
	b.Begin("")
	b.Text("description", f.Name)
	b.Number("timestamp", f.Time)
	b.Number("#address-cells", max(1, uint32(len(address(f.Load))/4)))
	b.Begin("images")
	for _, p := range parts {
		p.add(b)
	}
	b.End()
	b.Begin("configurations")
	b.Text("default", "conf-1")
	b.Begin("conf-1")
	b.Text("description", f.Name)
	for _, p := range parts {
		b.Text(p.role, p.node)
	}
	b.End()
	b.End()
	b.End()
	return b
}

func (p *part) add(b *fdt.Builder) {
	b.Begin(p.node)
	b.Text("description", p.description)
	b.Text("type", p.kind)
	b.Text("arch", "riscv")
	if p.linux {
		b.Text("os", "linux")
	}
	b.Text("compression", "none")
	if p.load != nil {
		b.Property("load", p.load)
		b.Property("entry", p.load)
	}
	b.Section("data", p.data, dataAlign)
	b.Begin("hash-1")
	b.Text("algo", "sha256")
	b.Property("value", p.sum)
	b.End()
	b.End()
}

// dataAlign is what the data of the images in a tree is aligned to.
//
// U-Boot hands a device tree on from where it lies when fdt_high says so, as in
// qemu; then the kernel wants it on 8 bytes and is silent otherwise. The kernel
// frees the memory of a ramdisk in whole pages, so none may hold a part of the
// device tree, which it goes on reading.
const dataAlign = 4096

// kernelAlign is what the kernel asks of its address (arch/riscv/boot.rst).
const kernelAlign = 2 << 20

func (f FIT) check() error {
	if f.DeviceTree != nil {
		head := make([]byte, 8)
		if _, err := f.DeviceTree.ReadAt(head, 0); err != nil || binary.BigEndian.Uint32(head) != fdt.Magic {
			return errors.New("fit: the device tree is not a flattened one (a .dtb file)")
		}
		if n := binary.BigEndian.Uint32(head[4:]); int64(n) > f.DeviceTree.Size() {
			return fmt.Errorf("fit: the device tree is cut off: it has %d of %d bytes", f.DeviceTree.Size(), n)
		}
	}
	if f.Kernel == nil {
		return nil
	}
	head := make([]byte, 64) // Documentation/arch/riscv/boot-image-header.rst
	if _, err := f.Kernel.ReadAt(head, 0); err != nil || string(head[56:60]) != "RSC\x05" {
		return errors.New("fit: the kernel is not an uncompressed riscv Image (arch/riscv/boot/Image)")
	}
	if f.Load%kernelAlign != 0 {
		return fmt.Errorf("fit: the kernel cannot run at %#x, which is no multiple of 2 MiB", f.Load)
	}
	return nil
}
