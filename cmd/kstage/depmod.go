package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/internal/atomicfile"
	"github.com/kstage/kstage/internal/rootfs"
)

// depmodCommand is one run of kstage depmod.
type depmodCommand struct {
	*ui
	index                                  indexFlags
	base, out, moduleDir                   string
	symvers, systemMap, prefix, compat     string
	check, quick, show, warn, verbose, all bool
	depfile                                string
	inputs                                 *inputs
}

func newDepmod(u *ui) *cobra.Command {
	d := &depmodCommand{ui: u}
	cmd := &cobra.Command{
		Use:                   "depmod [-b ROOT] [-o OUTDIR] [VERSION]",
		DisableFlagsInUseLine: true,
		Short:                 "Write the indexes of kernel modules (modules.dep and the rest)",
		Long: `Write the indexes of the kernel modules below ROOT: modules.dep, modules.alias
and the other files that modprobe and udev read, the same bytes as kmod's depmod
writes. modules.order, modules.builtin and modules.builtin.modinfo are made where
they are missing. Without VERSION all versions below ROOT are indexed. depmod.d is
ROOT's own.

Called by the name depmod (by a link or a copy), kstage is kmod's depmod.`,
		Example: `  kstage depmod -b ./initrd-rv64
  kstage depmod -b ./rootfs -o ./out 6.12.0 --kernel-build ../linux
  kstage depmod -b ./rootfs -e -E ../linux/Module.symvers`,
		Args: operands(cobra.MaximumNArgs(1), ""),
		RunE: func(cmd *cobra.Command, args []string) error { return d.run(cmd, args) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&d.base, "basedir", "b", "/", "the `ROOT` below which lib/modules stands")
	flags.StringVarP(&d.out, "outdir", "o", "", "write below `OUTDIR` instead of ROOT")
	flags.StringVarP(&d.moduleDir, "moduledir", "m", "", "the `DIR` below ROOT that holds the versions (lib/modules or usr/lib/modules)")
	flags.StringArrayVarP(&d.index.config, "config", "C", nil, "read depmod.d from this `PATH` of the host instead of ROOT's own")
	flags.BoolVarP(&d.check, "errsyms", "e", false, "report symbols that nobody has, with -E or -F")
	flags.StringVarP(&d.symvers, "symvers", "E", "", "the kernel's Module.symvers `FILE`")
	flags.StringVarP(&d.systemMap, "filesyms", "F", "", "the kernel's System.map `FILE`")
	flags.StringVarP(&d.prefix, "symbol-prefix", "P", "", "the `CHAR` that symbols begin with on some machines")
	flags.BoolVarP(&d.show, "dry-run", "n", false, "print the text files to standard output, write nothing")
	flags.BoolVarP(&d.quick, "quick", "A", false, "do nothing where the index is up to date")
	flags.BoolVarP(&d.all, "all", "a", false, "index all modules (always so)")
	flags.BoolVarP(&d.warn, "warn", "w", false, "report entries that an index holds twice")
	flags.BoolVarP(&d.verbose, "verbose", "v", false, "print who needs whom for which symbol")
	flags.StringVar(&d.compat, "compat", "34", "write what kmod `RELEASE` writes: 30, 33 or 34")
	depfileFlag(flags, &d.depfile, "modules.dep")
	d.index.add(flags)
	u.jsonFlag(cmd)
	return cmd
}

func (d *depmodCommand) run(cmd *cobra.Command, args []string) error {
	if err := d.settle(cmd); err != nil {
		return err
	}
	root, err := openRoot(d.base)
	if err != nil {
		return err
	}
	defer root.Close()
	watched := d.inputs.watch(d.base, root)
	dirs, err := d.versions(watched, args)
	if err != nil {
		return err
	}
	if dirs, err = d.stale(watched, dirs); err != nil {
		return err
	}
	if d.mayBeSame() {
		d.index.out = d.out
	}
	// until the files are written: the collector would run as soon as this ends
	defer boundMemory(indexMemory)()
	kernels, err := d.index.index(cmd.Context(), d.ui, watched, dirs)
	if err != nil {
		return err
	}
	if err := d.output(kernels); err != nil {
		return err
	}
	if err := d.tellInputs(kernels); err != nil {
		return err
	}
	return errors.Join(d.report(map[string]any{"kernels": kernels}), d.index.verdict(kernels))
}

// settle finds out what is wrong with the options before any work is done.
func (d *depmodCommand) settle(cmd *cobra.Command) error {
	wrong := func(format string, args ...any) error {
		return &usageError{line: cmd.UseLine(), err: fmt.Errorf(format, args...)}
	}
	compat, known := map[string]int{"30": 30, "33": 33, "34": 34}[d.compat]
	switch {
	case !known:
		return wrong("--compat takes 30, 33 or 34, not %s", d.compat)
	case len(d.prefix) > 1:
		return wrong("-P takes one character, not %q", d.prefix)
	case d.check && d.symvers == "" && d.systemMap == "":
		return wrong("-e needs the kernel's symbols: -E Module.symvers or -F System.map")
	case d.json && (d.show || d.verbose):
		return wrong("--json wants standard output for itself")
	case d.depfile == "-":
		return &usageError{line: cmd.UseLine(), err: errDepfile}
	case d.depfile != "" && (d.show || d.quick):
		return wrong("--depfile tells what modules.dep was made from; with -n or -A it need not be made")
	}
	d.inputs = newInputs(d.depfile)
	d.index.inputs = d.inputs
	d.inputs.add(d.symvers, d.systemMap)
	o := &d.index.options
	o.Compat, o.Check, o.Host = compat, d.check, d.inputs.watch("", hostFS())
	if d.prefix != "" {
		o.Prefix = d.prefix[0]
	}
	if d.out == "" {
		d.out = d.base
	}
	return d.readKernel(o)
}

// readKernel reads the kernel's symbols; a System.map that has none is worth one
// line, not one for every symbol of every module.
func (d *depmodCommand) readKernel(o *depmod.Options) error {
	if d.symvers == "" && d.systemMap == "" {
		return nil
	}
	kernel, problems, err := readKernelSymbols(d.symvers, d.systemMap, o.Prefix)
	if err != nil {
		return err
	}
	d.ui.problems("", problems)
	if kernel.Stub {
		if !d.json {
			d.line("warning", "%s is a stub without the kernel's symbols, so they are not checked", d.systemMap)
			d.hint("name the Module.symvers of the kernel's headers package with -E")
		}
		return nil
	}
	o.Kernel = kernel
	return nil
}

func (d *depmodCommand) versions(root fs.FS, args []string) ([]string, error) {
	if d.moduleDir != "" {
		return versions(root, d.base, args, strings.Trim(d.moduleDir, "/"))
	}
	return versions(root, d.base, args)
}

// stale leaves out, with -A, the versions whose index is up to date.
func (d *depmodCommand) stale(root fs.FS, dirs []string) ([]string, error) {
	if !d.quick {
		return dirs, nil
	}
	var stale []string
	for _, dir := range dirs {
		config, _, err := d.index.readConfig(root, path.Base(dir))
		if err != nil {
			return nil, err
		}
		fresh, err := depmod.UpToDate(root, dir, depmod.Options{Config: config})
		switch {
		case err != nil:
			return nil, err
		case fresh:
			d.say("  %s: up to date", path.Base(dir))
		default:
			stale = append(stale, dir)
		}
	}
	return stale, nil
}

// mayBeSame tells whether nothing is wanted but the files.
func (d *depmodCommand) mayBeSame() bool { return !d.show && !d.verbose && !d.warn }

// output writes the files, or prints them.
func (d *depmodCommand) output(kernels []*kernel) error {
	for _, k := range kernels {
		if d.warn {
			repeated := k.tree.Repeated()
			d.ui.problems(k.Dir+"/", repeated)
			k.Problems = append(k.Problems, repeated...)
		}
		if d.verbose {
			printNeeds(d.ui.out, k.tree, filepath.Join(d.base, k.Dir))
		}
		var err error
		if d.show {
			err = printText(d.ui.out, k.files)
		} else {
			err = k.write(d.out)
			k.cache.save()
		}
		if err != nil {
			return err
		}
	}
	if !d.show && len(kernels) > 0 {
		d.say("%s", d.out)
		d.kernels(kernels)
	}
	return nil
}

// tellInputs writes the file of --depfile. modules.dep becomes new after it: the indexes
// and that file may lie in directories that were read, and make would find them newer.
func (d *depmodCommand) tellInputs(kernels []*kernel) error {
	if d.inputs == nil {
		return nil
	}
	var targets []string
	for _, k := range kernels {
		targets = append(targets, within(d.out, k.Dir+"/modules.dep"))
		for _, m := range k.tree.Modules { // what is remembered of one is not read again
			dir := d.base
			if path.IsAbs(m.Path) { // from outside
				dir = ""
			}
			d.inputs.add(within(dir, m.File()))
		}
	}
	for _, name := range d.index.config {
		if abs, err := filepath.Abs(name); err == nil {
			d.inputs.rename(filepath.ToSlash(abs), filepath.ToSlash(name))
		}
	}
	if err := d.inputs.write(d.depfile, targets...); err != nil {
		return err
	}
	now := time.Now()
	for _, name := range targets {
		if err := os.Chtimes(name, now, now); err != nil {
			return err
		}
	}
	return nil
}

// openRoot opens a directory that no link inside it can lead out of.
func openRoot(dir string) (*rootfs.FS, error) {
	root, err := rootfs.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, withHint(fmt.Errorf("%s: there is no such directory", dir), "name the directory that holds init, bin and lib/modules")
	}
	if err != nil {
		if info, statErr := os.Stat(dir); statErr == nil && !info.IsDir() {
			return nil, fmt.Errorf("%s: is not a directory", dir)
		}
		return nil, err
	}
	return root, nil
}

// versions finds the module directories that are meant: all, or that of one
// version.
func versions(root fs.FS, base string, args []string, tops ...string) ([]string, error) {
	dirs, err := depmod.Find(root, tops...)
	if err != nil {
		return nil, err
	}
	if len(dirs) == 0 {
		return nil, withHint(fmt.Errorf("%s: there is no lib/modules/VERSION and no usr/lib/modules/VERSION", base),
			"-b names the root of the tree, not the module directory")
	}
	if len(args) == 0 {
		return dirs, nil
	}
	var there, chosen []string
	for _, dir := range dirs {
		there = append(there, path.Base(dir))
		if path.Base(dir) == args[0] {
			chosen = append(chosen, dir)
		}
	}
	if info, err := os.Stat(args[0]); len(chosen) == 0 && err == nil && info.IsDir() && args[0] != base {
		return nil, withHint(fmt.Errorf("%s: there are no modules of %s", base, args[0]), "-b names the root of a tree: -b "+args[0])
	}
	if len(chosen) == 0 {
		return nil, withHint(fmt.Errorf("%s: there are no modules of %s", base, args[0]), "there are: "+strings.Join(there, ", "))
	}
	return chosen, nil
}

// write puts the files of one kernel into its module directory below out, each
// of them whole or not at all, unless it is as it should be.
func (k *kernel) write(out string) error {
	dir := filepath.Join(out, filepath.FromSlash(k.Dir))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var sums indexSums
	for i, err := range eachFile(k.files, func(f depmod.File) error {
		_, err := atomicfile.Update(filepath.Join(dir, f.Name), indexMode, sums.writing(f))
		return err
	}) {
		if err != nil {
			return fmt.Errorf("%s: %w", k.files[i].Name, err)
		}
	}
	for part, from := range k.tree.Made {
		if from != (depmod.Sum{}) && !k.tree.Same[part] {
			k.cache.facts.SetMade(from, sums.sum(depmod.Part(part)))
		}
	}
	return k.renew(filepath.Join(dir, "modules.dep"))
}

// renew makes modules.dep new when a module is newer: by that depmod -A tells whether
// there is work.
func (k *kernel) renew(path string) error {
	info, err := os.Stat(path)
	if err != nil || !k.tree.Modified.After(info.ModTime()) {
		return err
	}
	now := time.Now()
	return os.Chtimes(path, now, now)
}

// eachFile does something with files, with several at once, and gives the error of
// each.
func eachFile(files []depmod.File, do func(depmod.File) error) []error {
	errs := make([]error, len(files))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0) + 1) // one may wait for the disk
	for i, file := range files {
		group.Go(func() error {
			errs[i] = do(file)
			return nil
		})
	}
	_ = group.Wait() // the errors are in errs
	return errs
}
