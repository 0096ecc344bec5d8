package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/initrd"
	"github.com/kstage/kstage/internal/atomicfile"
)

// reporter is one run of kstage report.
type reporter struct {
	*ui
	kernel        kernelFlags
	maxSize       maxSize
	maxModuleSize byteSize
	noCache       bool
	output        string

	page page
}

func newReport(u *ui) *cobra.Command {
	r := &reporter{ui: u}
	cmd := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "report IMAGE|ROOT [-o FILE]",
		Short:                 "Write a page that shows what is in an initrd or a directory",
		Long: `Write one HTML page about an initrd, or a directory that is to become one: what takes
the space, the modules with what they need and who needs them, versions, and what
kstage check and kstage verify find. It opens in any browser, from a file, by mail or
as an artifact of a build: all is in it, and it asks the network for nothing.

The modules are checked against the kernel as kstage check does: --kernel names it,
and without it that of a ROOT is looked for in the same places. An image that is
damaged gets its page too, as far as it can be read.

The same input gives the same bytes. The exit status is 0 when the page is written,
whatever it says.`,
		Example: `  kstage report initrd.img
  kstage report ./initrd-rv64 --kernel arch/riscv/boot/Image -o report.html
  kstage report initrd.img -o - > report.html`,
		Args: operands(cobra.ExactArgs(1), "name an image or a directory"),
		RunE: func(cmd *cobra.Command, args []string) error { return r.run(cmd.Context(), cmd.UseLine(), args[0]) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&r.output, "output", "o", "report.html", "write the page to `FILE`, - for standard output")
	r.kernel.add(flags)
	flags.Var(&r.maxModuleSize, "max-module-size", "largest unpacked module, such as 512M (default 1G)")
	r.maxSize.add(flags)
	cacheFlag(flags, &r.noCache)
	return cmd
}

func (r *reporter) run(ctx context.Context, usage, name string) error {
	kind, err := operandKind(name)
	switch {
	case name == "-":
		return &usageError{line: usage, err: withHint(errors.New("standard input can be read only once, and the page needs more"), "save the image to a file first")}
	case err != nil:
		return withHint(errors.Unwrap(err), "name an initrd, or a directory with lib/modules")
	case kind == kindModule:
		return &usageError{line: usage, err: withHint(fmt.Errorf("%s is a module, not an image or a directory", name), "kstage modinfo and kstage check tell about a module")}
	}
	if r.output != "-" {
		source := sourceSet{sourceFlags: sourceFlags{names: []string{name}}}
		if err := source.spares(r.output); err != nil {
			return err
		}
	}
	if _, err := r.kernel.alone(); err != nil { // rather now than when all is read
		return err
	}
	// The page is the same wherever the tree lies.
	if real, err := filepath.Abs(name); err == nil {
		r.page.Name = escape(filepath.Base(real))
	}
	if kind == kindDirectory {
		err = r.directory(ctx, name)
	} else {
		err = r.image(ctx, name)
	}
	if err != nil {
		return err
	}
	r.page.sortFindings()
	return r.write()
}

// directory gathers what there is to say about a directory.
func (r *reporter) directory(ctx context.Context, name string) error {
	root, err := openRoot(name)
	if err != nil {
		return err
	}
	defer root.Close()
	s := sizer{ui: r.ui}
	if err := s.directory(name); err != nil {
		return err
	}
	r.page.addFiles(&s)
	return r.kernels(ctx, name, root)
}

// image gathers what there is to say about an image, as far as it can be read.
func (r *reporter) image(ctx context.Context, name string) error {
	f, err := openImage(ctx, name)
	if err != nil {
		return err
	}
	verified, err := initrd.Verify(f, initrd.Kernel{})
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %w", shownName(name), err)
	}
	r.page.addVerified(verified)
	s := sizer{ui: r.ui}
	s.segments, err = eachEntry(ctx, name, s.entry)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil { // else it is not known how much the last segment shrinks
		s.shares()
	} else if verified.Whole() || len(s.segments) == 0 {
		return err // nothing on the page would tell, or it is no image
	}
	r.page.addFiles(&s)
	image, err := r.maxSize.unpack(ctx, name)
	var stop *initrd.StopError
	switch {
	case errors.As(err, &stop):
		return nil // the page tells why there are no modules
	case err != nil:
		return err
	}
	defer image.close()
	return r.kernels(ctx, shownName(name), image.tree.FS())
}

// kernels gathers what there is to say about the modules of each kernel version.
func (r *reporter) kernels(ctx context.Context, name string, root fs.FS) error {
	dirs, err := depmod.Find(root)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, dir := range dirs {
		if err := r.kernelVersion(ctx, root, dir); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// write writes the page, whole or not at all.
func (r *reporter) write() error {
	render := func(w io.Writer) error { return r.page.render(w) }
	if r.output == "-" {
		return render(r.out)
	}
	var length int64
	err := atomicfile.Write(r.output, 0o644, func(f *os.File) error {
		err := render(f)
		if info, serr := f.Stat(); serr == nil {
			length = info.Size()
		}
		return err
	})
	if err != nil {
		return err
	}
	r.say("%s: %s, %s; %s", r.output, size(length), r.page.sentence(), cmp.Or(r.page.Verdict(), "nothing was found wrong"))
	return nil
}
