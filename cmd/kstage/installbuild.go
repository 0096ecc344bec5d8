package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/depmod/install"
	kernelinfo "github.com/kstage/kstage/modinfo/kernel"
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
