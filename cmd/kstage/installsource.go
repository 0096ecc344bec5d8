package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/depmod/install"
	"github.com/kstage/kstage/internal/chroot"
	kernelinfo "github.com/kstage/kstage/modinfo/kernel"
	"github.com/kstage/kstage/modinfo/slim"
)

// kernels installs the kernel's own modules.
func (i *installer) kernels(ctx context.Context) error {
	build, err := i.readBuild()
	if err != nil {
		return err
	}
	i.modules = build.Modules
	config, err := i.buildConfig()
	if err != nil {
		return err
	}
	if err := errors.Join(i.symbols(), i.check(ctx, i.index.kernelBuild)); err != nil {
		return err
	}
	i.unsigned(config)
	i.options.Whole = true
	s, err := i.directory(build.Release)
	if err != nil {
		return err
	}
	if err := i.stage(ctx, s); err != nil {
		return err
	}
	for _, list := range build.Lists {
		if err := s.put(list.Name, list.Data); err != nil {
			return err
		}
	}
	if err := i.link(s, i.index.kernelBuild); err != nil {
		return err
	}
	return i.finish(ctx, []*staged{s})
}

func (i *installer) readBuild() (*install.Build, error) {
	build, err := install.ReadBuild(os.DirFS(i.index.kernelBuild))
	switch {
	case errors.Is(err, install.ErrNotBuilt):
		return nil, withHint(fmt.Errorf("%s: %w", i.index.kernelBuild, err), "run make modules first; the directory is that in which make is run (O=)")
	case err != nil:
		return nil, fmt.Errorf("%s: %w", i.index.kernelBuild, err)
	case i.release != "" && i.release != build.Release:
		return nil, fmt.Errorf("%s has built %s, not %s", i.index.kernelBuild, build.Release, i.release)
	}
	return build, nil
}

// buildConfig reads the kernel's configuration, and settles what it settles.
func (i *installer) buildConfig() (kernelinfo.Config, error) {
	if i.index.kernelBuild == "" {
		return nil, nil
	}
	f, err := os.Open(filepath.Join(i.index.kernelBuild, ".config"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	config, err := kernelinfo.ParseConfig(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	if i.options.Packing == nil {
		i.options.Packing = new(install.Packing(config))
	}
	return config, nil
}

// symbols has the index tell of symbols that the kernel has not, as make modules_install
// does. Module.symvers tells their versions too, which System.map does not.
func (i *installer) symbols() error {
	if i.index.kernelBuild == "" {
		return nil
	}
	var names [2]string
	for n, name := range []string{"Module.symvers", "System.map"} {
		name = filepath.Join(i.index.kernelBuild, name)
		if _, err := os.Stat(name); err == nil {
			names[n] = name
		}
	}
	if names == [2]string{} {
		return nil
	}
	kernel, problems, err := readKernelSymbols(names[0], names[1], 0)
	if err != nil {
		return err
	}
	for _, p := range problems {
		i.problem(p)
	}
	if !kernel.Stub {
		i.index.options.Kernel, i.index.options.Check = kernel, true
	}
	return nil
}

// link makes the link to the build directory, which out-of-tree modules are built with.
func (i *installer) link(s *staged, build string) error {
	to, err := filepath.Abs(build)
	if err != nil {
		return err
	}
	changed, err := s.target.Link("build", to)
	if err != nil {
		i.problem(depmod.Problem{Rule: "build-link", Severity: depmod.Warning, Path: path.Join(s.Dir, "build"), Text: "cannot be made: " + err.Error(), Err: err})
	} else if changed {
		s.Lists = append(s.Lists, "build")
	}
	return nil
}

// unsigned tells that a kernel whose modules are signed on installing has some that
// are not.
func (i *installer) unsigned(config kernelinfo.Config) {
	without := 0
	for _, m := range i.modules {
		if !m.Signed {
			without++
		}
	}
	if config["MODULE_SIG_ALL"] != "y" || without == 0 {
		return
	}
	p := depmod.Problem{Rule: "unsigned", Severity: depmod.Warning, Path: i.index.kernelBuild,
		Text: count(without, "module is", "modules are") + " not signed: make modules_install would do it (MODULE_SIG_ALL), kstage has no keys",
		Hint: "run scripts/sign-file of the kernel on the modules of the build directory before, if the kernel wants signatures"}
	if config["MODULE_SIG_FORCE"] == "y" {
		p.Severity = depmod.Error
		p.Text += "; this kernel loads no unsigned ones (MODULE_SIG_FORCE)"
	}
	i.problem(p)
}

// outside installs modules from outside the kernel.
func (i *installer) outside(cmd *cobra.Command, args []string) error {
	ctx := cmd.Context()
	for _, name := range args {
		if err := i.operand(name); err != nil {
			return err
		}
	}
	if first, second := install.Twice(i.modules); first != nil {
		return withHint(fmt.Errorf("%s and %s are the same module", first.File, second.File), "name the files that are meant, one by one")
	}
	if len(i.modules) == 0 {
		return fmt.Errorf("%s: there are no modules", strings.Join(args, ", "))
	}
	if err := i.check(ctx, strings.Join(args, ", ")); err != nil {
		return err
	}
	if _, err := i.buildConfig(); err != nil {
		return err
	}
	if err := i.symbols(); err != nil {
		return err
	}
	version, err := i.version()
	if err != nil {
		return err
	}
	i.strangers(version)
	s, err := i.directory(version)
	if err != nil {
		return err
	}
	if err := i.stage(ctx, s); err != nil {
		return err
	}
	return i.finish(ctx, []*staged{s})
}

// operand takes a module's file, or all below a directory.
func (i *installer) operand(name string) error {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return withHint(openError(name, err), "name module files, or a directory with some")
	case !info.IsDir() && !isModuleName(name):
		return withHint(fmt.Errorf("%s: is no module's file by its name", name), "a module is called FILE.ko, FILE.ko.gz, FILE.ko.xz or FILE.ko.zst")
	case !info.IsDir():
		dir, base := filepath.Split(name)
		plain := strings.TrimSuffix(base, depmod.ModuleSuffix(base)) + ".ko"
		i.modules = append(i.modules, install.Module{Path: path.Join(i.under, plain), FS: os.DirFS(filepath.Clean(dir)), File: base})
		return nil
	}
	root, err := openRoot(name)
	if err != nil {
		return err
	}
	i.closers = append(i.closers, root.Close)
	if _, err := install.BuildRelease(root); err == nil {
		return withHint(fmt.Errorf("%s: is a kernel's build directory", name), "--kernel-build "+name+" installs its modules")
	}
	modules, problems, err := install.ReadDir(root, i.under)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, p := range problems {
		p.Path = path.Join(filepath.ToSlash(name), p.Path)
		i.problem(p)
	}
	i.modules = append(i.modules, slices.DeleteFunc(modules, i.inRoot(name))...)
	return nil
}

// inRoot tells of modules below dir that are in the tree already, which may be a part
// of the directory.
func (i *installer) inRoot(dir string) func(install.Module) bool {
	above, err1 := filepath.EvalSymlinks(dir)
	root, err2 := filepath.EvalSymlinks(i.base)
	rel, err3 := filepath.Rel(above, root)
	if errors.Join(err1, err2, err3) != nil || !filepath.IsLocal(rel) || rel == "." {
		return func(install.Module) bool { return false }
	}
	return func(m install.Module) bool { return strings.HasPrefix(m.File, filepath.ToSlash(rel)+"/") }
}

// check refuses modules that cannot be read before anything is written.
func (i *installer) check(ctx context.Context, name string) error {
	o := i.options
	o.Progress = i.step("reading modules")
	if err := install.Check(ctx, i.modules, o); err != nil {
		return err
	}
	for _, m := range i.modules {
		if m.Err != nil {
			return withHint(fmt.Errorf("%s: %s: %w", name, m.File, m.Err), "build the module again; nothing was written")
		}
	}
	return nil
}

// directory opens the module directory of a kernel version, which may not exist.
func (i *installer) directory(version string) (*staged, error) {
	if !depmod.IsRelease(version) || strings.Contains(version, "/") {
		return nil, fmt.Errorf("%q is no kernel release: it must begin with two numbers, as in 6.12.0", version)
	}
	if err := os.MkdirAll(i.base, 0o755); err != nil { // as make modules_install does
		return nil, err
	}
	root, err := openRoot(i.base)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	dirs, err := depmod.Find(root)
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		if path.Base(dir) == version {
			return i.open(version, dir)
		}
	}
	top := "lib/modules"
	if _, err := chroot.Resolve(root, "lib"); errors.Is(err, fs.ErrNotExist) {
		if _, err := chroot.Resolve(root, "usr/lib/modules"); err == nil {
			top = "usr/lib/modules"
		}
	}
	return i.open(version, path.Join(top, version))
}

// convert packs the modules of the tree anew.
func (i *installer) convert(ctx context.Context) error {
	root, err := openRoot(i.base)
	if err != nil {
		return err
	}
	defer root.Close()
	var only []string
	if i.release != "" {
		only = []string{i.release}
	}
	dirs, err := versions(root, i.base, only)
	if err != nil {
		return err
	}
	i.options.LeaveBad = true
	var all []*staged
	for _, dir := range dirs {
		i.modules, err = install.ReadTree(root, dir)
		if errors.Is(err, install.ErrAmbiguous) {
			return withHint(err, "remove the one that is not wanted, or let kstage depmod -b "+i.base+" decide")
		}
		if err != nil {
			return err
		}
		s, err := i.open(path.Base(dir), dir)
		if err != nil {
			return err
		}
		if err := i.stage(ctx, s); err != nil {
			return err
		}
		all = append(all, s)
	}
	for _, s := range all {
		if err := i.relink(s); err != nil {
			return err
		}
	}
	return i.finish(ctx, all)
}

// stripping has the modules stripped when they are staged in s. Those that cannot be
// stripped stay as they are.
func (i *installer) stripping(ctx context.Context, s *staged, o *install.Options) error {
	root, err := openRoot(i.base)
	if err != nil {
		return err
	}
	defer root.Close()
	flags := kernelFlags{build: i.index.kernelBuild}
	side, err := flags.in(root, s.Dir)
	if err != nil {
		return err
	}
	if why := i.strip.refusal(side); why != nil {
		if err := install.Check(ctx, i.modules, *o); err != nil {
			return err
		}
		signed := 0
		for _, m := range i.modules {
			if m.Signed {
				signed++
			}
		}
		if signed > 0 {
			return signaturesNeeded(s.Dir, signed, why)
		}
	}
	o.Strip = func(module []byte) ([]byte, error) {
		stripped, report, err := slim.Strip(module)
		if err != nil {
			s.unstripped.Add(1)
			return module, nil
		}
		if report.Unsigned {
			s.signatures.Add(1)
		}
		return stripped, nil
	}
	return nil
}

// relink lets links to modules follow them, once all have their new names.
func (i *installer) relink(s *staged) error {
	if i.options.Packing == nil {
		return nil
	}
	links, err := s.target.Relink(*i.options.Packing)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Dir, err)
	}
	s.Removed = append(s.Removed, links...)
	return nil
}

// version finds out which kernel modules from outside are for.
func (i *installer) version() (string, error) {
	there, err := i.there()
	if err != nil {
		return "", err
	}
	if i.index.kernelBuild != "" {
		build, err := install.BuildRelease(os.DirFS(i.index.kernelBuild))
		if err != nil {
			return "", withHint(fmt.Errorf("%s: %w", i.index.kernelBuild, err), "name the directory in which make was run (O=)")
		}
		if i.release != "" && i.release != build {
			return "", fmt.Errorf("%s has built %s, not %s", i.index.kernelBuild, build, i.release)
		}
		return build, nil
	}
	if i.release != "" {
		return i.release, nil
	}
	var named []string
	for _, m := range i.modules {
		if m.Release != "" && !slices.Contains(named, m.Release) {
			named = append(named, m.Release)
		}
	}
	if len(named) == 1 && (len(there) == 0 || slices.Contains(there, named[0])) {
		return named[0], nil
	}
	if len(there) == 1 {
		return there[0], nil
	}
	const hint = "name the kernel with --kernel-release, or its build directory with --kernel-build"
	if len(there) == 0 {
		return "", withHint(fmt.Errorf("the modules do not tell which kernel they are for: their vermagic names %s", listed(named)), hint)
	}
	return "", withHint(fmt.Errorf("%s has modules of %s; these are for %s", i.base, strings.Join(there, ", "), listed(named)), hint)
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, " and ")
}

// there lists the kernel versions of the tree.
func (i *installer) there() ([]string, error) {
	root, err := openRoot(i.base)
	if err != nil {
		return nil, nil // it will be made
	}
	defer root.Close()
	dirs, err := depmod.Find(root)
	var names []string
	for _, dir := range dirs {
		names = append(names, path.Base(dir))
	}
	return slices.Compact(names), err
}

// strangers tells of modules that are for another kernel.
func (i *installer) strangers(version string) {
	for _, m := range i.modules {
		if m.Release == "" || m.Release == version {
			continue
		}
		i.problem(depmod.Problem{Rule: "vermagic", Severity: depmod.Warning, Path: m.File,
			Text: fmt.Sprintf("is built for kernel %s; that of the tree is %s, which will refuse it", m.Release, version),
			Hint: "build it against that kernel: make -C BUILD_DIR M=$PWD modules; kstage check tells more"})
	}
}
