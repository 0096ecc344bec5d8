package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/depmod/install"
	"github.com/kstage/kstage/modinfo"
)

// installer is one run of kstage install.
type installer struct {
	*ui
	index         indexFlags
	base, release string
	under         string // where modules from outside the kernel belong
	compress      packing
	strip         stripFlags

	modules  []install.Module
	options  install.Options
	problems []depmod.Problem
	closers  []func() error
}

func newInstall(u *ui) *cobra.Command {
	i := &installer{ui: u, problems: []depmod.Problem{}}
	cmd := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "install -b ROOT [--kernel-build DIR] [--compress FORMAT] [FILE.ko|DIR...]",
		Short:                 "Put kernel modules into a tree and index them, as make modules_install does",
		Long: `Put kernel modules into the tree below ROOT and write their indexes.

With --kernel-build and no operand these are the kernel's own: what its build directory
lists in modules.order goes into lib/modules/VERSION/kernel, as make modules_install has
it, with modules.builtin and modules.builtin.modinfo, and the link build to that
directory; modules in kernel/ that the build does not list are removed. Modules are
packed as the kernel's configuration says. They are not signed.

Operands are modules from outside the kernel: files, or directories with all modules
below them. They go into lib/modules/VERSION/updates. VERSION is what --kernel-build has
built, else what the modules' vermagic names, else the only one that the tree has.

With --compress or --strip alone the modules that the tree has are treated so. --strip
leaves out what nothing reads, see kstage pack. Packed files are
such that the kernel can unpack them itself (MODULE_DECOMPRESS), if it knows the format.

A file is replaced in one step, and goes when the one that takes its place is
complete: foo.ko.xz when foo.ko.zst is there. What is right already is left alone, so a
second run changes nothing.`,
		Example: `  kstage install -b ./rootfs --kernel-build ../linux
  kstage install -b ./rootfs --kernel-build ../linux hello.ko
  kstage install -b ./rootfs --mod-dir extra ./drivers
  kstage install -b ./rootfs --compress zstd --strip`,
		RunE: func(cmd *cobra.Command, args []string) error { return i.run(cmd, args) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&i.base, "basedir", "b", "/", "the `ROOT` below which lib/modules stands")
	flags.StringVar(&i.release, "kernel-release", "", "the kernel `VERSION` whose modules are meant")
	flags.StringVar(&i.under, "mod-dir", "updates", "the `DIR` below lib/modules/VERSION for modules from outside the kernel, like make's INSTALL_MOD_DIR")
	flags.Var(&i.compress, "compress", "pack modules with `FORMAT`: none, gzip, xz or zstd (default what --kernel-build is configured to, else as they are)")
	i.strip.add(flags)
	i.index.add(flags)
	flags.Lookup("kernel-build").Usage = "the kernel's build `DIR`, in which make was run (O=)"
	u.jsonFlag(cmd)
	return cmd
}

// packing is a way to pack modules as an option.
type packing struct{ format *modinfo.Compression }

func packingNames() []string {
	var names []string
	for c := modinfo.None; c <= modinfo.Zstd; c++ {
		names = append(names, c.String())
	}
	return names
}

func (p *packing) String() string {
	if p.format == nil {
		return ""
	}
	return p.format.String()
}

// Type names the value in the help.
func (p *packing) Type() string { return "FORMAT" }

// Set reads the value.
func (p *packing) Set(s string) error {
	for c := modinfo.None; c <= modinfo.Zstd; c++ {
		if s == c.String() {
			p.format = &c
			return nil
		}
	}
	return fmt.Errorf("%q is none of %s", s, strings.Join(packingNames(), ", "))
}

func (i *installer) run(cmd *cobra.Command, args []string) error {
	defer i.close()
	if !fs.ValidPath(i.under) || i.under == "." {
		return &usageError{line: cmd.UseLine(), err: fmt.Errorf("--mod-dir %s is no directory below lib/modules/VERSION", i.under)}
	}
	i.options = install.Options{Packing: i.compress.format, MaxModuleSize: int64(i.index.maxModuleSize)}
	switch {
	case len(args) > 0:
		return i.outside(cmd, args)
	case i.index.kernelBuild != "":
		return i.kernels(cmd.Context())
	case i.compress.format != nil || i.strip.strip:
		return i.convert(cmd.Context())
	}
	return &usageError{line: cmd.UseLine(), err: withHint(errors.New("there is nothing to install"),
		"name module files, the kernel's build directory with --kernel-build, or a format for the modules of the tree with --compress")}
}

func (i *installer) close() {
	for _, c := range i.closers {
		_ = c() // only read from
	}
}

// A staged is what has been done to one module directory.
type staged struct {
	Version   string           `json:"version"`
	Dir       string           `json:"dir"`
	Written   []string         `json:"written"`   // module files that are new or changed
	Unchanged int              `json:"unchanged"` // module files that were right already
	Removed   []string         `json:"removed"`   // module files that others have taken the place of
	Lists     []string         `json:"lists"`     // modules.* files and links that are new or changed
	Problems  []depmod.Problem `json:"problems"`

	files  map[string]bool // all module files
	target *install.Target

	signatures, unstripped atomic.Int64 // modules that lost one, that stay as they are
}

// open opens the module directory of a kernel version.
func (i *installer) open(version, dir string) (*staged, error) {
	target, err := install.OpenTarget(i.base, dir)
	if err != nil {
		return nil, err
	}
	i.closers = append(i.closers, target.Close)
	return &staged{Version: version, Dir: target.Dir(), target: target, Written: []string{}, Removed: []string{}, Lists: []string{}}, nil
}

// stage brings the modules into a module directory.
func (i *installer) stage(ctx context.Context, s *staged) error {
	o := i.options
	o.Progress = i.step("staging modules of " + s.Version)
	if i.strip.strip {
		if err := i.stripping(ctx, s, &o); err != nil {
			return err
		}
	}
	i.begun = filepath.Join(i.base, filepath.FromSlash(s.Dir)) + " may have some of the modules, each of them whole; the same command again does the rest"
	report, err := s.target.Stage(ctx, i.modules, o)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Dir, err)
	}
	s.Written, s.Removed = append(s.Written, report.Written...), append(s.Removed, report.Removed...)
	s.files = make(map[string]bool)
	for _, file := range report.Files {
		if file != "" {
			s.files[file] = true
		}
	}
	s.Unchanged = len(s.files) - len(s.Written)
	return nil
}

// put writes a file beside the modules, if it is not right already.
func (s *staged) put(name string, data []byte) error {
	changed, err := s.target.Put(name, data)
	if err != nil {
		return fmt.Errorf("%s: %w", path.Join(s.Dir, name), err)
	}
	if changed {
		s.Lists = append(s.Lists, name)
	}
	return nil
}

// finish indexes the module directories and tells what has been done.
func (i *installer) finish(ctx context.Context, all []*staged) error {
	root, err := openRoot(i.base)
	if err != nil {
		return err
	}
	defer root.Close()
	var dirs []string
	for _, s := range all {
		dirs = append(dirs, s.Dir)
	}
	kernels, err := i.index.index(ctx, i.ui, root, dirs)
	if err != nil {
		return withHint(err, "the modules are there, but not their index: kstage depmod -b "+i.base+" makes it")
	}
	for n, k := range kernels {
		if err := i.writeIndex(all[n], k); err != nil {
			return err
		}
		all[n].Problems = append([]depmod.Problem{}, overruled(all[n], k.tree)...)
		i.ui.problems(k.Dir+"/", all[n].Problems)
		k.Problems = append(k.Problems, all[n].Problems...)
		i.summarize(all[n])
	}
	i.ui.kernels(kernels)
	err = i.report(map[string]any{"staged": all, "kernels": kernels, "problems": i.problems})
	return errors.Join(err, i.index.verdict(append(kernels, &kernel{Problems: i.problems})))
}

// writeIndex writes the index of a module directory. When modules have changed all of it
// is written, so that no part is older than they are, which depmod -A looks at.
func (i *installer) writeIndex(s *staged, k *kernel) error {
	if len(s.Written)+len(s.Removed) > 0 {
		return k.write(i.base)
	}
	for _, file := range k.files {
		var data bytes.Buffer
		if err := file.Write(&data); err != nil {
			return fmt.Errorf("%s/%s: %w", k.Dir, file.Name, err)
		}
		if err := s.put(file.Name, data.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// overruled tells of modules that were staged, but that modprobe would not take.
func overruled(s *staged, tree *depmod.Tree) (problems []depmod.Problem) {
	taken := make(map[string]string)
	for _, m := range tree.Modules {
		taken[m.Name] = m.Path
	}
	for file := range s.files {
		if by := taken[depmod.ModuleName(file)]; by != file && !strings.HasPrefix(by, "updates/") {
			problems = append(problems, depmod.Problem{Rule: "overruled", Severity: depmod.Warning, Path: file,
				Text: "modprobe takes " + cmp.Or(by, "none") + " instead",
				Hint: fmt.Sprintf("install it into updates/, or write into etc/depmod.d/local.conf of the tree: search %s updates built-in", strings.Split(file, "/")[0])})
		}
	}
	return problems
}

func (i *installer) summarize(s *staged) {
	text := count(len(s.Written), "module", "modules") + " written"
	if len(s.Written) == 0 {
		text = "no module written"
	}
	if s.Unchanged > 0 {
		text += fmt.Sprintf(", %d as they were", s.Unchanged)
	}
	if n := int(s.signatures.Load()); n > 0 && len(s.Written) > 0 {
		text += ", " + count(n, "signature is gone", "signatures are gone")
	}
	if n := int(s.unstripped.Load()); n > 0 {
		text += fmt.Sprintf(", %d of them cannot be stripped", n)
	}
	if len(s.Removed) > 0 {
		text += ", " + count(len(s.Removed), "superseded file", "superseded files") + " removed"
	}
	i.say("%s: %s", filepath.Join(i.base, filepath.FromSlash(s.Dir)), text)
}

// problem keeps a finding, and tells it.
func (i *installer) problem(p depmod.Problem) {
	i.problems = append(i.problems, p)
	i.ui.problems("", []depmod.Problem{p})
}
