package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/kstage/kstage/initrd"
	"github.com/kstage/kstage/initrd/uboot"
	"github.com/kstage/kstage/internal/atomicfile"
)

// formatFlags say what the boot loader wants around the image.
type formatFlags struct {
	format      string
	kernel, dtb string // files that go into a FIT
	load        uint64

	kernelFile, dtbFile *os.File
	title               string // what U-Boot prints
}

func (f *formatFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.format, "format", "cpio", "`FORMAT` of the image: cpio, or for U-Boot uimage (a legacy header) or fit")
	flags.StringVar(&f.kernel, "fit-kernel", "", "put the kernel, an uncompressed riscv Image `FILE`, into the fit")
	flags.StringVar(&f.dtb, "fit-dtb", "", "put the board's device tree, a .dtb `FILE`, into the fit")
	flags.Uint64Var(&f.load, "fit-load", 0, "memory address `ADDR` to which U-Boot copies the kernel, such as 0x80200000")
}

// check finds wrong calls.
func (f *formatFlags) check() error {
	switch f.format {
	case "cpio", "uimage", "fit":
	default:
		return fmt.Errorf("--format %q is none of cpio, uimage, fit", f.format)
	}
	for _, given := range []struct {
		name string
		yes  bool
	}{{"--fit-kernel", f.kernel != ""}, {"--fit-dtb", f.dtb != ""}, {"--fit-load", f.load != 0}} {
		if given.yes && f.format != "fit" {
			return fmt.Errorf("%s is for --format fit", given.name)
		}
	}
	if (f.kernel != "") != (f.load != 0) {
		return withHint(errors.New("--fit-kernel and --fit-load go together"),
			"where the board's memory begins, and 2 MiB: 0x80200000 for qemu's virt, 0x40200000 for a JH7110")
	}
	if f.load%(2<<20) != 0 {
		return withHint(fmt.Errorf("--fit-load %#x is no multiple of 2 MiB, as riscv kernels need", f.load),
			"0x begins a hexadecimal number; U-Boot itself writes none")
	}
	return nil
}

// plain tells whether the image is a bare archive.
func (f *formatFlags) plain() bool { return f.format == "cpio" }

// output makes the default name, that of a bare archive, one of the format.
func (f *formatFlags) output(archive string) string {
	name := archive[:strings.LastIndex(archive, ".cpio")]
	return map[string]string{"cpio": archive, "uimage": name + ".uInitrd", "fit": name + ".itb"}[f.format]
}

// open opens the files that go into the image besides the archive, and finds
// out whether they will do.
func (f *formatFlags) open() (err error) {
	if f.kernel != "" {
		if f.kernelFile, err = os.Open(f.kernel); err != nil {
			return err
		}
	}
	if f.dtb != "" {
		if f.dtbFile, err = os.Open(f.dtb); err != nil {
			return err
		}
	}
	if f.plain() {
		return nil
	}
	w, err := f.wrapper(nil, 0, 0)
	if err == nil {
		_, err = w.Size()
	}
	return err
}

func (f *formatFlags) close() {
	for _, file := range []*os.File{f.kernelFile, f.dtbFile} {
		if file != nil {
			_ = file.Close() // only read from
		}
	}
}

// A wrapper is what is written around an archive.
type wrapper interface {
	Size() (int64, error)
	Write(ctx context.Context, w io.Writer) error
}

// wrapper returns the one for an archive of size bytes.
func (f *formatFlags) wrapper(archive io.ReaderAt, size int64, time uint32) (wrapper, error) {
	ramdisk := io.NewSectionReader(archive, 0, size)
	if f.format == "uimage" {
		return uboot.Legacy{Name: f.title, Time: time, Ramdisk: ramdisk}, nil
	}
	fit := uboot.FIT{Name: f.title, Time: time, Ramdisk: ramdisk, Load: f.load}
	var err error
	if fit.Kernel, err = section(f.kernelFile); err != nil {
		return nil, err
	}
	fit.DeviceTree, err = section(f.dtbFile)
	return fit, err
}

func section(file *os.File) (*io.SectionReader, error) {
	if file == nil {
		return nil, nil
	}
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(file, 0, info.Size()), nil
}

// name sets what U-Boot prints. It depends on the tree alone.
func (f *formatFlags) name(kernels []*kernel) {
	f.title = "initrd"
	if len(kernels) == 1 {
		f.title += " " + kernels[0].Version
	}
}

// label tells people the format, after the image's size.
func (f *formatFlags) label() string {
	return map[string]string{"uimage": " uImage", "fit": " FIT"}[f.format]
}

// say tells a person how U-Boot takes the image.
func (f *formatFlags) say(u *ui) {
	switch {
	case f.plain():
	case f.kernel != "" && f.dtb != "":
		u.say("  in U-Boot: bootm ADDR")
	case f.kernel != "":
		u.say("  in U-Boot: bootm ADDR ADDR FDT_ADDR")
	default:
		u.say("  in U-Boot: booti KERNEL_ADDR ADDR FDT_ADDR")
	}
}

// writeWrapped writes the image with something around the archive.
func (p *packer) writeWrapped(ctx context.Context, tree *initrd.Tree, o initrd.Options) (sum initrd.Summary, err error) {
	switch {
	case p.dryRun:
		if sum, err = initrd.Write(ctx, io.Discard, tree, o); err != nil {
			return sum, err
		}
		var w wrapper
		if w, err = p.format.wrapper(nil, sum.Compressed, o.ModTime); err == nil {
			sum.Compressed, err = w.Size()
		}
		return sum, err
	case p.output == "-":
		return p.wrap(ctx, p.out, "", tree, o)
	}
	err = atomicfile.Write(p.output, 0, func(out *os.File) error {
		if sum, err = p.wrap(ctx, out, filepath.Dir(p.output), tree, o); err != nil {
			return err
		}
		return unwraps(out)
	})
	return sum, err
}

// wrap writes the archive into a directory of its own below dir, "" for that of
// temporary files, and from there with its wrapper to out: the sums of the
// archive stand before it, and out may be a pipe.
func (p *packer) wrap(ctx context.Context, out io.Writer, dir string, tree *initrd.Tree, o initrd.Options) (sum initrd.Summary, err error) {
	if dir, err = os.MkdirTemp(dir, ".kstage-"); err != nil {
		return sum, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "archive")
	if sum, err = initrd.WriteFile(ctx, path, tree, o); err != nil {
		return sum, err
	}
	archive, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	defer archive.Close() // only read from
	w, err := p.format.wrapper(archive, sum.Compressed, o.ModTime)
	if err == nil {
		err = w.Write(ctx, out)
	}
	if err == nil {
		sum.Compressed, err = w.Size()
	}
	return sum, err
}

// unwraps reads back what was written; the archive in it has been compared.
func unwraps(out *os.File) error {
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	image, err := uboot.Open(out)
	if err == nil {
		_, err = io.Copy(io.Discard, image)
	}
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	return nil
}
