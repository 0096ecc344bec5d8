package main

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	kernelinfo "github.com/kstage/kstage/modinfo/kernel"
)

// kernelFlags name the files that tell of the kernel that modules are for.
type kernelFlags struct {
	image, config, symvers, systemMap, build string
	inputs                                   *inputs // keeps what is read of build
}

func (k *kernelFlags) add(flags *pflag.FlagSet) {
	k.addImage(flags)
	flags.StringVar(&k.config, "config", "", "the kernel's configuration `FILE`: .config, /boot/config-VERSION or /proc/config.gz")
	flags.StringVar(&k.config, "kernel-config", "", "the same as --config")
	_ = flags.MarkHidden("kernel-config") // it is there
	flags.StringVar(&k.symvers, "symvers", "", "the kernel's Module.symvers `FILE`: the symbols of it and of its modules")
	flags.StringVar(&k.systemMap, "system-map", "", "the kernel's System.map `FILE`, which tells less than its image")
	flags.StringVar(&k.build, "kernel-build", "", "take all of this from the kernel's build `DIR`")
}

func (k *kernelFlags) addImage(flags *pflag.FlagSet) {
	flags.StringVar(&k.image, "kernel", "", "the kernel's image `FILE`, such as Image, vmlinuz or vmlinux")
}

// A kernelSide is what is known of one kernel.
type kernelSide struct {
	facts   *kernelinfo.Facts
	version string            // of the modules; empty for files
	unused  []kernelinfo.Note // of files in the tree
	files   []string          // that were read
}

// A factFile is a kind of file that tells of a kernel.
type factFile struct {
	add    func(f *kernelinfo.Facts, r *io.SectionReader, name string) error
	places []string // in a tree; VERSION and DIR stand for the kernel's
	hint   string   // what the file looks like
}

// factFiles are the kinds, in the order of the flags.
var factFiles = []factFile{
	{addImage, []string{"boot/vmlinux-VERSION", "boot/vmlinuz-VERSION", "boot/Image-VERSION", "DIR/vmlinuz", "DIR/vmlinux", "DIR/Image",
		"boot/Image", "boot/vmlinux", "boot/vmlinuz"},
		"a kernel image is called Image, vmlinuz-VERSION or vmlinux"},
	{addConfig, []string{"boot/config-VERSION", "boot/config-VERSION.gz", "DIR/config", "DIR/config.gz", "DIR/build/.config"},
		"the file is called .config in a build directory, /boot/config-VERSION or /proc/config.gz where a kernel is installed"},
	{addSymvers, []string{"DIR/Module.symvers", "DIR/build/Module.symvers"},
		"the file is called Module.symvers in a build directory and in a package of kernel headers"},
	{addSystemMap, []string{"boot/System.map-VERSION", "DIR/System.map"},
		"the file is called System.map in a build directory, /boot/System.map-VERSION where a kernel is installed"},
}

func addImage(f *kernelinfo.Facts, r *io.SectionReader, name string) error {
	image, err := kernelinfo.ReadImage(r, r.Size())
	if err == nil {
		f.AddImage(image, name)
	}
	return err
}

func addConfig(f *kernelinfo.Facts, r *io.SectionReader, name string) error {
	config, err := kernelinfo.ParseConfig(r)
	if err == nil {
		f.AddConfig(config, name)
	}
	return err
}

func addSymvers(f *kernelinfo.Facts, r *io.SectionReader, name string) error {
	return f.AddSymvers(r, name)
}

func addSystemMap(f *kernelinfo.Facts, r *io.SectionReader, name string) error {
	return f.AddSystemMap(r, name)
}

// given are the files of the flags, in the order of factFiles.
func (k *kernelFlags) given() []string { return []string{k.image, k.config, k.symvers, k.systemMap} }

// alone is the kernel of the flags. A file that cannot be read is an error: who
// names it wants it to count.
func (k *kernelFlags) alone() (*kernelSide, error) {
	s := &kernelSide{facts: new(kernelinfo.Facts)}
	for i, name := range k.given() {
		if name == "" {
			continue
		}
		if err := s.addFile(factFiles[i], name); err != nil {
			return nil, withHint(err, factFiles[i].hint)
		}
	}
	return s, k.addBuild(s)
}

func (s *kernelSide) addFile(kind factFile, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return openError(name, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = errors.New("is a directory")
	}
	if err == nil {
		err = kind.add(s.facts, io.NewSectionReader(f, 0, info.Size()), filepath.Base(name))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	s.files = append(s.files, filepath.Base(name))
	return nil
}

// in is the kernel for the modules in a directory of a tree: that of the flags, and
// what the tree has of the same kernel besides.
func (k *kernelFlags) in(root fs.FS, dir string) (*kernelSide, error) {
	s, err := k.alone()
	if err != nil {
		return nil, err
	}
	s.version = path.Base(dir)
	if release := s.facts.Release.Value; release != "" && release != s.version {
		return s, nil // what the tree has is of another kernel
	}
	for i, kind := range factFiles {
		if k.given()[i] == "" {
			s.search(root, dir, kind)
		}
	}
	s.facts.AddRelease(s.version)
	if f, err := root.Open(path.Join(dir, "modules.builtin")); err == nil {
		if err := s.facts.AddBuiltIn(f); err != nil {
			s.skip(path.Join(dir, "modules.builtin"), err.Error())
		}
		_ = f.Close() // only read from
	}
	return s, nil
}

// search takes the first file of a kind that a tree has for its kernel.
func (s *kernelSide) search(root fs.FS, dir string, kind factFile) {
	place := strings.NewReplacer("VERSION", s.version, "DIR", dir)
	for _, name := range kind.places {
		name = place.Replace(name)
		data, err := fs.ReadFile(root, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var alone kernelinfo.Facts
		r := bytes.NewReader(data)
		if err == nil {
			err = kind.add(&alone, io.NewSectionReader(r, 0, r.Size()), name)
		}
		switch release := alone.Release.Value; {
		case err != nil:
			s.skip(name, err.Error())
		case release != "" && release != s.version:
			s.skip(name, fmt.Sprintf("it is the kernel %s, and the modules are for %s", release, s.version))
		case len(s.files) == 0: // nothing that it could be worse than
			*s.facts = alone
			s.files = append(s.files, name)
			return
		default:
			_ = kind.add(s.facts, io.NewSectionReader(r, 0, r.Size()), name) // it has just been read
			s.files = append(s.files, name)
			return
		}
	}
}

func (s *kernelSide) skip(name, why string) {
	s.unused = append(s.unused, kernelinfo.Note{File: name, Text: why + "; not used"})
}

// addBuild adds what a build directory has.
func (k *kernelFlags) addBuild(s *kernelSide) error {
	if k.build == "" {
		return nil
	}
	if info, err := os.Stat(k.build); err != nil || !info.IsDir() {
		return &usageError{line: "--kernel-build DIR", err: fmt.Errorf("--kernel-build %s is not a directory", k.build)}
	}
	if err := s.facts.AddBuildDir(k.inputs.watch(k.build, os.DirFS(k.build)), filepath.Base(k.build)); err != nil {
		return withHint(fmt.Errorf("--kernel-build %s: %w", k.build, err), "name the directory in which make was run (O=)")
	}
	s.files = append(s.files, k.build)
	return nil
}

// on words whose kernel it is, for the end of a sentence.
func (s *kernelSide) on() string {
	switch {
	case s.facts.Release.Value != "":
		return " on " + s.facts.Release.Value
	case len(s.files) > 0:
		return " on this kernel"
	}
	return ""
}

// from words what is known of it, in brackets.
func (s *kernelSide) from() string {
	if len(s.files) == 0 {
		return " (no kernel to compare with)"
	}
	return " (" + strings.Join(s.files, ", ") + ")"
}

// unknown lists what is not known of the kernel that verdicts depend on.
func (s *kernelSide) unknown() []string {
	f := s.facts
	var all []string
	for _, fact := range []struct {
		known bool
		name  string
	}{
		{f.Vermagic.Value != "", "its version magic"},
		{f.Exports != nil, "the symbols that it exports"},
		{f.Relocations != nil || f.Machine != 0 && f.Machine != elf.EM_RISCV, "the relocations that it can do"},
		{f.Option("MODULE_SIG").Known() && f.Option("MODVERSIONS").Known(), "its options"},
		{f.KeysFrom.Source != kernelinfo.Unknown || f.Option("MODULE_SIG").No(), "the keys that it trusts"},
	} {
		if !fact.known {
			all = append(all, fact.name)
		}
	}
	return all
}

// missing tells which file would tell what is not known.
func (s *kernelSide) missing() string {
	f := s.facts
	switch {
	case f.Vermagic.From.Source != kernelinfo.FromImage:
		return "--kernel IMAGE names the kernel's image, which tells most"
	case f.Exports == nil:
		return "--symvers FILE names the kernel's Module.symvers"
	}
	return "--config FILE names the kernel's configuration"
}
