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
)

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
