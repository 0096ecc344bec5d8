package main

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/kstage/kstage/depmod"
	kernelinfo "github.com/kstage/kstage/modinfo/kernel"
)

// A bootKernel is a kernel in a form that qemu takes.
type bootKernel struct {
	name   string // as it is called
	path   string // of the file for qemu
	format string
}

// findKernel finds the kernel and makes it ready for qemu.
func (b *booter) findKernel(ctx context.Context, kind int) (bootKernel, error) {
	if b.kernel != "" {
		f, err := os.Open(b.kernel)
		if err != nil {
			return bootKernel{}, openError(b.kernel, err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err == nil && info.IsDir() {
			err = fmt.Errorf("%s: is a directory", b.kernel)
		}
		if err != nil {
			return bootKernel{}, withHint(err, factFiles[0].hint)
		}
		return b.readyKernel(io.NewSectionReader(f, 0, info.Size()), b.kernel, b.kernel)
	}
	if kind == kindDirectory {
		root, err := openRoot(b.operand)
		if err != nil {
			return bootKernel{}, err
		}
		defer root.Close()
		return b.kernelIn(root)
	}
	image, err := b.maxSize.unpack(ctx, b.operand)
	if err != nil {
		return bootKernel{}, err
	}
	defer image.close()
	return b.kernelIn(image.tree.FS())
}

// kernelIn takes the only kernel of a tree.
func (b *booter) kernelIn(root fs.FS) (bootKernel, error) {
	names, err := treeKernels(root)
	if err != nil {
		return bootKernel{}, fmt.Errorf("%s: %w", b.operand, err)
	}
	switch len(names) {
	case 0:
		return bootKernel{}, withHint(fmt.Errorf("%s: there is no kernel in it: no boot/Image, no boot/vmlinuz-VERSION, no lib/modules/VERSION/vmlinuz", b.operand),
			"--kernel FILE names a kernel for riscv64, such as Image or vmlinuz")
	case 1:
	default:
		return bootKernel{}, withHint(fmt.Errorf("%s: there are %d kernels in it: %s", b.operand, len(names), strings.Join(names, ", ")),
			"--kernel FILE chooses one")
	}
	data, err := fs.ReadFile(root, names[0])
	if err != nil {
		return bootKernel{}, fmt.Errorf("%s: %w", b.operand, err)
	}
	r := bytes.NewReader(data)
	return b.readyKernel(io.NewSectionReader(r, 0, r.Size()), names[0], "")
}

// treeKernels finds the kernels of a tree: one for each version of modules, else
// whatever is called like a kernel in boot/.
func treeKernels(root fs.FS) ([]string, error) {
	dirs, err := depmod.Find(root)
	if err != nil {
		return nil, err
	}
	var names []string
	seen := make(map[string]bool)
	take := func(candidates ...string) {
		for _, name := range candidates {
			if info, err := fs.Stat(root, name); err == nil && info.Mode().IsRegular() {
				if !seen[name] {
					seen[name] = true
					names = append(names, name)
				}
				return
			}
		}
	}
	for _, dir := range dirs {
		place := strings.NewReplacer("VERSION", path.Base(dir), "DIR", dir)
		var candidates []string
		for _, name := range factFiles[0].places {
			candidates = append(candidates, place.Replace(name))
		}
		take(candidates...)
	}
	if len(names) > 0 {
		return names, nil
	}
	if take("boot/Image", "boot/vmlinux", "boot/vmlinuz"); len(names) > 0 {
		return names, nil
	}
	for _, pattern := range []string{"boot/vmlinux-*", "boot/vmlinuz-*", "boot/Image-*", "boot/Image.*"} {
		found, _ := fs.Glob(root, pattern) // the pattern is not a bad one
		for _, name := range found {
			take(name)
		}
	}
	return names, nil
}

// The header of a flat kernel (Documentation/arch/riscv/boot-image-header.rst):
//
//	8 where it wants to lie, from the beginning of the memory | 56 "RSC\x05"
//
// A kernel of 32 bits wants to lie at 4 MiB, one of 64 at 2 MiB
// (arch/riscv/kernel/head.S).
const (
	flatMagicAt  = 56
	flatMagic    = "RSC\x05"
	flatOffsetAt = 8
	offset32     = 4 << 20
)

// readyKernel refuses a kernel of another machine, and writes one that is packed, or a
// vmlinux, flat to a temporary file, as every qemu takes it. File is where the kernel
// lies on this host, if it does.
func (b *booter) readyKernel(r *io.SectionReader, name, file string) (k bootKernel, err error) {
	image, err := kernelinfo.ReadImage(r, r.Size())
	if err != nil {
		return k, withHint(fmt.Errorf("%s: %w", name, err), factFiles[0].hint)
	}
	k = bootKernel{name: name, path: file, format: image.Format}
	machine, _, _ := strings.Cut(image.Format, " ")
	flat := len(image.Data) >= flatMagicAt+len(flatMagic) && string(image.Data[flatMagicAt:][:len(flatMagic)]) == flatMagic
	if flat && binary.LittleEndian.Uint64(image.Data[flatOffsetAt:]) == offset32 {
		machine = "riscv32"
	}
	switch {
	case machine != "riscv64":
		return k, withHint(fmt.Errorf("%s: is a kernel for %s, and the machine is a riscv64", name, machine),
			"build it with ARCH=riscv, or name the riscv64 kernel of the distribution with --kernel")
	case !flat && beginsELF(r) && file != "":
		return k, nil // not linked as Linux is: qemu knows what to do with ELF files
	case !flat:
		return k, errors.New(name + ": has no header of a riscv kernel at its beginning, so qemu cannot start it")
	case image.Format == "riscv64 Image" && file != "":
		return k, nil
	}
	k.path = filepath.Join(b.dir, "Image")
	return k, os.WriteFile(k.path, image.Data, 0o600)
}

func beginsELF(r io.ReaderAt) bool {
	magic := make([]byte, len(elf.ELFMAG))
	_, err := r.ReadAt(magic, 0)
	return err == nil && string(magic) == elf.ELFMAG
}
