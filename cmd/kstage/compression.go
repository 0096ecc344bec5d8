package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/kstage/kstage/initrd"
	kernelinfo "github.com/kstage/kstage/modinfo/kernel"
)

// compressionFlags say how the image is compressed, or where to find out what
// the kernel can unpack.
type compressionFlags struct {
	text       string // of -c
	configPath string

	auto  bool
	asked initrd.Compression
	given *kernelConfig // of --kernel-config
}

func (f *compressionFlags) add(flags *pflag.FlagSet) {
	flags.StringVarP(&f.text, "compress", "c", "auto", "compression `METHOD`: auto (what the kernel can unpack), none, gzip, zstd, xz or lz4, with a level as in zstd:19")
	flags.StringVar(&f.configPath, "kernel-config", "", "the configuration `FILE` of the kernel that will unpack the image, such as /boot/config-6.12 or /proc/config.gz")
}

// check finds wrong calls.
func (f *compressionFlags) check() (err error) {
	if f.text == "auto" {
		f.auto = true
		return nil
	}
	if f.asked, err = initrd.ParseCompression(f.text); err != nil {
		return withHint(err, "leave out -c, and kstage takes what the kernel can unpack")
	}
	return nil
}

// open reads the file of --kernel-config.
func (f *compressionFlags) open() (err error) {
	if f.configPath != "" {
		f.given, err = openKernelConfig(f.configPath)
	}
	return err
}

func openKernelConfig(name string) (*kernelConfig, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, openError(name, err)
	}
	defer file.Close()
	c, err := kernelinfo.ParseConfig(file)
	if err != nil {
		return nil, withHint(fmt.Errorf("%s: %w", name, err), "the file is called .config in a build directory, /boot/config-VERSION or /proc/config.gz where a kernel is installed")
	}
	return &kernelConfig{name, c}, nil
}

// A kernelConfig is the configuration of a kernel that will unpack the image.
type kernelConfig struct {
	from   string // the file it is from
	config kernelinfo.Config
}

// target is what is known of the kernels that will unpack the image.
type target struct {
	known   []kernelConfig
	unknown []string // versions of kernels whose configuration was not found
}

// target looks for the configurations of the kernels: the file that was named,
// else the build directory's, else what lies in the tree. One in the tree that
// cannot be read is reported and not used.
func (p *packer) target(tree fs.FS, kernels []*kernel) (target, error) {
	if p.compress.given != nil {
		return target{known: []kernelConfig{*p.compress.given}}, nil
	}
	t, built, err := p.builtTarget(kernels)
	if err != nil {
		return target{}, err
	}
	if len(kernels) == 0 { // whichever is there
		names, _ := fs.Glob(tree, "boot/config-*") // the pattern is not a bad one
		names = slices.DeleteFunc(names, func(name string) bool { return path.Ext(name) == ".old" })
		if !p.addConfigs(&t, tree, names...) {
			p.addConfig(&t, tree, "boot/config", "boot/config.gz")
		}
	}
	for _, k := range kernels {
		if k.Version == built {
			continue
		}
		version := "boot/config-" + k.Version
		if !p.addConfig(&t, tree, version, version+".gz", k.Dir+"/config", k.Dir+"/config.gz", "boot/config", "boot/config.gz") {
			t.unknown = append(t.unknown, k.Version)
		}
	}
	return t, nil
}

// builtTarget takes the configuration of the build directory, and returns which
// of the kernels it is.
func (p *packer) builtTarget(kernels []*kernel) (t target, version string, err error) {
	var dirs []string
	for _, k := range kernels {
		dirs = append(dirs, k.Dir)
	}
	build, version, err := p.index.openBuild(dirs)
	if build == nil || err != nil {
		return target{}, "", err
	}
	c, err := readKernelConfig(build, ".config")
	if errors.Is(err, fs.ErrNotExist) {
		return target{}, "", nil // an installed subset of a build directory
	}
	from := p.index.kernelBuild + "/.config"
	if err != nil {
		return target{}, "", fmt.Errorf("%s: %w", from, err)
	}
	return target{known: []kernelConfig{{from, c}}}, version, nil
}

// addConfigs adds all of the files that can be read.
func (p *packer) addConfigs(t *target, tree fs.FS, names ...string) bool {
	any := false
	for _, name := range names {
		any = p.addConfig(t, tree, name) || any
	}
	return any
}

// addConfig adds the first of the files that is there and can be read.
func (p *packer) addConfig(t *target, tree fs.FS, names ...string) bool {
	for _, name := range names {
		c, err := readKernelConfig(tree, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			p.sources.problem(initrd.Problem{Rule: "kernel-config", Path: name, Text: err.Error() + ", not used"})
			continue
		}
		if !slices.ContainsFunc(t.known, func(k kernelConfig) bool { return k.from == name }) {
			t.known = append(t.known, kernelConfig{name, c})
		}
		return true
	}
	return false
}

func readKernelConfig(fsys fs.FS, name string) (kernelinfo.Config, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return kernelinfo.ParseConfig(f)
}

// unpackers are the methods that kstage writes, the preferred ones first, and
// the options of kernels that unpack them. zstd is unpacked fastest for its
// size; gzip is what most kernels have.
var unpackers = []struct {
	method initrd.Method
	option string
}{
	{initrd.Zstd, "RD_ZSTD"}, {initrd.Gzip, "RD_GZIP"}, {initrd.XZ, "RD_XZ"}, {initrd.LZ4, "RD_LZ4"},
}

// unpacks lists what the kernel can unpack.
func (k *kernelConfig) unpacks() []initrd.Method {
	var all []initrd.Method
	for _, u := range unpackers {
		if k.config[u.option] == "y" {
			all = append(all, u.method)
		}
	}
	return all
}

// takesNone says whether the kernel takes no image from a boot loader.
func (k *kernelConfig) takesNone() bool {
	on := k.config["BLK_DEV_INITRD"]
	return on == "n" || on != "y" && len(k.unpacks()) == 0
}

// choose settles the compression for the kernels that will unpack the image,
// and says why it is this one. Kernels that nothing is known of are taken to
// unpack gzip.
func (f *compressionFlags) choose(t target) (c initrd.Compression, why string, err error) {
	for _, k := range t.known {
		if k.takesNone() {
			return c, "", withHint(fmt.Errorf("%s: BLK_DEV_INITRD is not set: this kernel takes no initrd", k.from),
				"build the kernel with CONFIG_BLK_DEV_INITRD=y")
		}
	}
	if !f.auto {
		return f.asked, "", f.suits(t)
	}
	if len(t.known) == 0 {
		return initrd.Compression{Method: initrd.Gzip}, "no kernel configuration known", nil
	}
	var from []string
	for _, k := range t.known {
		from = append(from, k.from)
	}
	why = strings.Join(from, ", ") + ": "
	for _, u := range unpackers {
		if t.allUnpack(u.method) && (len(t.unknown) == 0 || u.method == initrd.Gzip) {
			why += u.option + "=y"
			if len(t.unknown) > 0 {
				why += "; " + strings.Join(t.unknown, ", ") + " not known"
			}
			return initrd.Compression{Method: u.method}, why, nil
		}
	}
	return initrd.Compression{}, why + "no RD_ option in common", nil
}

func (t *target) allUnpack(m initrd.Method) bool {
	for _, k := range t.known {
		if !slices.Contains(k.unpacks(), m) {
			return false
		}
	}
	return true
}

// suits refuses the compression that was asked for if one of the kernels cannot
// unpack it.
func (f *compressionFlags) suits(t target) error {
	for _, u := range unpackers {
		if u.method != f.asked.Method {
			continue
		}
		for _, k := range t.known {
			if k.config[u.option] == "y" {
				continue
			}
			hint := "this kernel unpacks nothing: -c none"
			if can := k.unpacks(); len(can) > 0 {
				var names []string
				for _, m := range can {
					names = append(names, m.String())
				}
				hint = "it unpacks " + strings.Join(names, ", ") + "; without -c kstage takes the first of them"
			}
			return withHint(fmt.Errorf("-c %s: the kernel cannot unpack it: %s is not set in %s", f.text, u.option, k.from), hint)
		}
	}
	return nil
}
