package depmod

import (
	"io/fs"
	"path"
	"strings"

	"github.com/kstage/kstage/internal/chroot"
)

// UpToDate tells whether the index in dir still fits the modules there, by what
// a directory listing tells: all index files are there, modules.dep lists
// exactly these modules, and no module and none of the kernel's lists is newer
// than it. The last is all that kmod looks at, and it compares whole seconds.
func UpToDate(fsys fs.FS, dir string, o Options) (bool, error) {
	real, err := chroot.Resolve(fsys, dir)
	if err != nil {
		return false, err
	}
	dep, err := fs.Lstat(fsys, path.Join(real, "modules.dep"))
	if err != nil {
		return false, nil // which the caller finds out when it writes
	}
	fresh := func(info fs.FileInfo) bool { return !info.ModTime().After(dep.ModTime()) }
	for _, name := range []string{orderName, builtinName, builtinInfoName} {
		if info, err := fs.Lstat(fsys, path.Join(real, name)); err == nil && !fresh(info) {
			return false, nil
		}
	}
	for _, f := range indexNames {
		if _, err := fs.Lstat(fsys, path.Join(real, f)); err != nil {
			return false, nil
		}
	}
	w := walker{fsys: fsys, config: &o.Config}
	if err := w.walk(real, ""); err != nil {
		return false, err
	}
	modules, _ := o.Config.choose(w.files)
	listed, err := listedModules(fsys, path.Join(real, "modules.dep"))
	if err != nil || len(listed) != len(modules) {
		return false, err
	}
	for _, m := range modules {
		if !listed[m.Path] {
			return false, nil
		}
		if info, err := m.file.stat(); err != nil || !fresh(info) {
			return false, nil
		}
	}
	return true, nil
}

// indexNames are the files that an index cannot lack.
var indexNames = []string{"modules.dep.bin", "modules.alias", "modules.alias.bin", "modules.softdep", "modules.symbols",
	"modules.symbols.bin", "modules.builtin.bin", "modules.builtin.alias.bin", "modules.devname"}

// listedModules reads the paths in a modules.dep.
func listedModules(fsys fs.FS, name string) (map[string]bool, error) {
	data, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, err
	}
	listed := make(map[string]bool)
	for line := range strings.Lines(string(data)) {
		file, _, _ := strings.Cut(line, ":")
		listed[file] = true
	}
	return listed, nil
}
