package install

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/modinfo"
	"github.com/kstage/kstage/modinfo/kernel"
)

// A Build is what a kernel's build directory (O=) has to install.
type Build struct {
	Release string
	Modules []Module // in the order of modules.order
	Lists   []List
}

// A List is one of the files beside the modules that the kernel's build makes.
type List struct {
	Name string // below the module directory
	Data []byte
}

// ErrNotBuilt tells that a directory has not what a kernel's build leaves.
var ErrNotBuilt = errors.New("it is not there")

// maxRelease bounds include/config/kernel.release; the kernel allows 64 bytes.
const maxRelease = 4096

// BuildRelease tells which kernel a directory has built.
func BuildRelease(build fs.FS) (string, error) {
	data, err := buildFile(build, "include/config/kernel.release")
	if err != nil {
		return "", err
	}
	release := strings.TrimSpace(string(data))
	if release == "" || len(data) > maxRelease || strings.ContainsAny(release, "/ \n\x00") || release == "." || release == ".." {
		return "", errors.New("kernel build: include/config/kernel.release holds no name of a release")
	}
	return release, nil
}

func buildFile(build fs.FS, name string) ([]byte, error) {
	data, err := fs.ReadFile(build, name)
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNotBuilt
	}
	if err != nil {
		return nil, fmt.Errorf("kernel build: %s: %w", name, reason(err))
	}
	return data, nil
}

// ReadBuild reads what a kernel's build directory has to install: the modules of its
// modules.order, and the lists, as the kernel's scripts/Makefile.modinst installs them.
// Modules that are listed but not there are one error, which wraps [ErrNotBuilt].
func ReadBuild(build fs.FS) (*Build, error) {
	release, err := BuildRelease(build)
	if err != nil {
		return nil, err
	}
	b := &Build{Release: release}
	order, err := buildFile(build, "modules.order")
	if err != nil {
		return nil, err
	}
	order = depmod.InstalledOrder(order)
	b.Lists = []List{{"modules.order", order}}
	for _, name := range []string{"modules.builtin", "modules.builtin.modinfo"} {
		data, err := buildFile(build, name)
		if err != nil {
			return nil, err
		}
		b.Lists = append(b.Lists, List{name, data})
	}
	ranges, err := buildFile(build, "modules.builtin.ranges") // with BUILTIN_MODULE_RANGES, since 6.12
	switch {
	case err == nil:
		b.Lists = append(b.Lists, List{"modules.builtin.ranges", ranges})
	case !errors.Is(err, ErrNotBuilt):
		return nil, err
	}
	return b, b.takeModules(build, order)
}

func (b *Build) takeModules(build fs.FS, order []byte) error {
	var missing []string
	seen := make(map[string]bool)
	for line := range bytes.Lines(order) {
		to := strings.TrimSuffix(string(line), "\n")
		from := strings.TrimPrefix(to, "kernel/")
		if !fs.ValidPath(from) || path.Ext(from) != ".ko" {
			return fmt.Errorf("kernel build: modules.order: %q is no path of a module", from)
		}
		if seen[to] {
			continue
		}
		seen[to] = true
		if info, err := fs.Stat(build, from); err != nil || !info.Mode().IsRegular() {
			missing = append(missing, from)
		}
		b.Modules = append(b.Modules, Module{Path: to, FS: build, File: from})
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return fmt.Errorf("kernel build: modules.order lists %d modules that are not built, such as %s: %w", len(missing), missing[0], ErrNotBuilt)
	}
	return nil
}

// Packing tells how the kernel's build packs the modules that it installs. Up to 5.12
// and since 6.12 MODULE_COMPRESS says whether it does; the latter has MODULE_COMPRESS_ALL
// besides, and without it modules stay plain.
func Packing(c kernel.Config) modinfo.Compression {
	if c["MODULE_COMPRESS"] == "n" || c["MODULE_COMPRESS_ALL"] == "n" {
		return modinfo.None
	}
	for _, packing := range []modinfo.Compression{modinfo.Gzip, modinfo.XZ, modinfo.Zstd} {
		if c["MODULE_COMPRESS_"+strings.ToUpper(packing.String())] == "y" {
			return packing
		}
	}
	return modinfo.None
}
