package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/modinfo"
)

func newModinfo(u *ui) *cobra.Command {
	o := &infoOptions{buildID: true}
	cmd := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "modinfo [OPTION]… FILE|DIR|MODULE…",
		Short:                 "Show what kernel modules say about themselves",
		Long: `Show what kernel modules say about themselves: module files, all module files
below a directory, or modules by name or alias, as kmod's modinfo prints it.`,
		Example: `  kstage modinfo drivers/net/foo.ko.xz
  kstage modinfo -F firmware ./initrd-rv64/lib/modules
  kstage modinfo -b ./initrd-rv64 --json virtio_net | jq .imports`,
		Args: operands(cobra.MinimumNArgs(1), "name at least one module, by its file or its name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.json && (o.filtered || o.null) {
				return &usageError{line: cmd.UseLine(), err: errors.New("--json prints all fields, in its own form: no -F, -0 and the like")}
			}
			return o.run(cmd.Context(), u, args)
		},
	}
	o.add(cmd.Flags())
	return cmd
}

func (o *infoOptions) add(flags *pflag.FlagSet) {
	flags.SortFlags = false
	flags.VarP(&fieldFlag{o: o}, "field", "F", "print only the values of the field `KEY`")
	for _, f := range modinfoOptions {
		if key, ok := shortFields[f.short]; ok {
			flags.VarPF(&fieldFlag{o, key}, f.long, string(f.short), "the same as -F "+key).NoOptDefVal = "true"
		}
	}
	flags.BoolVarP(&o.null, "null", "0", false, "end each item with NUL instead of newline")
	flags.BoolVarP(&o.byName, "modname", "m", false, "take MODULE for a name, not for a file or an alias")
	flags.StringVarP(&o.version, "set-version", "k", "", "look names up for the kernel `VERSION`, not for the running one")
	flags.StringVarP(&o.base, "basedir", "b", "", "the `ROOT` below which lib/modules stands")
	flags.BoolVar(&o.json, "json", false, "print one JSON object a line for each module, with symbols and sections")
}

// fieldFlag is an option that asks for one field; the last one counts.
type fieldFlag struct {
	o   *infoOptions
	key string // "": the option's value names it
}

func (f *fieldFlag) String() string { return "" }

// Type names the value in the help.
func (f *fieldFlag) Type() string {
	if f.key != "" {
		return "bool" // no value is shown
	}
	return "KEY"
}

// Set takes the option.
func (f *fieldFlag) Set(value string) error {
	f.o.filtered, f.o.field = true, f.key
	if f.key == "" {
		f.o.field = value
	}
	return nil
}

// run shows the modules that the operands stand for. An error with one of them
// is no reason to leave out the others.
func (o *infoOptions) run(ctx context.Context, u *ui, args []string) error {
	var last error
	fail := func(err error) {
		if last != nil {
			u.error(last)
		}
		last = err
	}
	var modules []found
	finder := finder{infoOptions: o}
	for _, arg := range args {
		some, err := finder.find(arg)
		if errors.Is(err, fs.ErrNotExist) && !strings.ContainsAny(arg, "/.") && o.base == "" {
			err = withHint(err, "for the modules of another machine, -b names its tree and -k the kernel's version")
		}
		if err != nil {
			fail(err)
		}
		modules = append(modules, some...)
	}
	w := bufio.NewWriter(u.out)
	err := o.showAll(ctx, modules, func(m found, s shown) error {
		for _, f := range s.invalid {
			u.line("warning", "%s: %s=%s: no colon follows the parameter's name", m.title(), f.Key, f.Value)
		}
		if s.err != nil {
			fail(fmt.Errorf("%s: %w", m.title(), s.err))
		}
		_, err := w.Write(s.text)
		return err
	})
	return cmp.Or(err, w.Flush(), last)
}

// showAll reads modules side by side and hands what is to be printed to each, in
// their order, until it returns an error.
func (o *infoOptions) showAll(ctx context.Context, modules []found, each func(found, shown) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type job struct {
		module found
		result chan shown
	}
	workers := min(runtime.GOMAXPROCS(0), len(modules))
	jobs, queue := make(chan job), make(chan job, 2*workers)
	for range workers {
		go func() {
			r := modinfo.Reader{WithoutSymbols: !o.json, WithSignature: true, WithSections: o.json}
			for j := range jobs {
				j.result <- o.show(&r, j.module)
			}
		}()
	}
	go func() {
		defer close(queue)
		defer close(jobs)
		for _, m := range modules {
			if ctx.Err() != nil {
				return
			}
			j := job{m, make(chan shown, 1)}
			queue <- j // blocks while the printing is behind
			jobs <- j
		}
	}()
	var err error
	for j := range queue {
		if s := <-j.result; err == nil {
			if err = each(j.module, s); err != nil {
				cancel()
			}
		}
	}
	return cmp.Or(err, context.Cause(ctx))
}

// A finder finds what operands stand for.
type finder struct {
	*infoOptions
	dir *moduleDir // once it was needed
}

// find gives the modules of one operand: those in and below a directory, that in
// a file, or those that a name or an alias stands for.
func (f *finder) find(operand string) ([]found, error) {
	if f.byName {
		return f.lookUp(operand)
	}
	info, err := os.Stat(operand)
	isPath := strings.ContainsAny(operand, "/"+string(os.PathSeparator)) || isModuleName(operand)
	switch {
	case err == nil && info.IsDir():
		return modulesBelow(operand)
	case err == nil && isPath && !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: is neither a file nor a directory", operand)
	case err == nil && isPath:
		m, err := fileModule(operand)
		return []found{m}, err
	case isPath && !strings.Contains(operand, ":"): // an alias may have a slash, but has a colon too
		return nil, fmt.Errorf("%s: %w", operand, pathReason(err))
	}
	return f.lookUp(operand)
}

// pathReason is an error without the path in it.
func pathReason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// modulesBelow finds the module files in a directory, sorted. Links to
// directories are not followed: "build" leads to all of the kernel's sources.
func modulesBelow(dir string) ([]found, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	var modules []found
	var errs error
	fsys := os.DirFS(dir)
	_ = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			errs = errors.Join(errs, fmt.Errorf("%s: %w", path.Join(dir, name), pathReason(err)))
			return nil // the rest is still to be seen
		}
		if info, err := fs.Stat(fsys, name); isModuleName(d.Name()) && err == nil && info.Mode().IsRegular() {
			modules = append(modules, found{name: moduleName(name), path: filepath.Join(abs, filepath.FromSlash(name))})
		}
		return nil
	})
	slices.SortFunc(modules, func(a, b found) int { return strings.Compare(a.path, b.path) })
	if len(modules) == 0 && errs == nil {
		errs = fmt.Errorf("%s: there are no modules below this directory", dir)
	}
	return modules, errs
}

// lookUp finds modules by their name or an alias.
func (f *finder) lookUp(operand string) ([]found, error) {
	if f.dir == nil {
		dir, err := f.openDir()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", operand, err)
		}
		f.dir = dir
	}
	var modules []found
	var err error
	if f.byName {
		modules = f.dir.lookupName(operand)
	} else if modules, err = f.dir.lookup(operand); err != nil {
		return nil, fmt.Errorf("%s: %w", operand, err)
	}
	if len(modules) == 0 {
		return nil, f.notFound(operand)
	}
	var errs error
	for _, m := range modules {
		if m.lost {
			errs = withHint(fmt.Errorf("%s: it stands for %s, of which there is no file in %s", operand, m.name, f.dir.path),
				"kstage depmod makes the indexes anew")
		}
	}
	return slices.DeleteFunc(modules, func(m found) bool { return m.lost }), errs
}

func (f *finder) notFound(operand string) error {
	what := "module, alias or file"
	if f.byName {
		what = "module"
	}
	err := fmt.Errorf("%s: there is no such %s; names were looked up in %s", operand, what, f.dir.path)
	if len(f.dir.errs) > 0 {
		return withHint(fmt.Errorf("%w, of which an index cannot be used: %w", err, f.dir.errs[0]), "kstage depmod makes the indexes anew")
	}
	if _, statErr := os.Stat(f.dir.path + "/modules.dep.bin"); statErr != nil {
		return withHint(err, "it has no modules.dep.bin: kstage depmod makes the indexes")
	}
	return err
}

// openDir finds the module directory that was meant: without -k the only one
// below ROOT, or that of the running kernel.
func (f *finder) openDir() (*moduleDir, error) {
	if f.version == "" && f.base == "" {
		f.version = runningKernel()
	}
	if f.version != "" {
		dir, err := f.moduleDir()
		if err == nil {
			_, err = os.Stat(dir.path)
		}
		return dir, err
	}
	const hint = "-k VERSION tells which kernel is meant, -b ROOT where its lib/modules stands"
	if f.base == "" {
		return nil, withHint(errors.New("it is no file, and no Linux kernel runs here whose modules could be meant"), hint)
	}
	dirs, err := depmod.Find(os.DirFS(f.base))
	if err != nil {
		return nil, err
	}
	if len(dirs) != 1 {
		return nil, withHint(fmt.Errorf("below %s there are modules of %s", f.base, count(len(dirs), "kernel", "kernels")), hint)
	}
	base, err := absolute(f.base)
	return newModuleDir(base + "/" + dirs[0]), err
}

// title names a module in messages.
func (m found) title() string {
	if m.path == "" {
		return m.name
	}
	return m.path
}
