package depmod

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"

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
	all, err := o.Config.walk(fsys, real, "")
	if err != nil {
		return false, err
	}
	files, byName, _ := o.Config.chooseByName(all.files)
	for _, f := range files {
		if info, err := f.stat(); err != nil || !fresh(info) {
			return false, nil
		}
	}
	listed, err := fsys.Open(path.Join(real, "modules.dep"))
	if err != nil {
		return false, err
	}
	defer listed.Close()
	fits := true
	err = eachListed(listed, func(file []byte) bool {
		name := ModuleName(string(file))
		i, ok := byName[name]
		fits = ok && files[i].path == string(file)
		delete(byName, name)
		return fits
	})
	return fits && len(byName) == 0, err
}

// indexNames are the files that an index cannot lack.
var indexNames = []string{"modules.dep.bin", "modules.alias", "modules.alias.bin", "modules.softdep", "modules.symbols",
	"modules.symbols.bin", "modules.builtin.bin", "modules.builtin.alias.bin", "modules.devname"}

// eachListed yields the paths in a modules.dep. No path is as long as its buffer; what
// follows one may be.
func eachListed(dep io.Reader, yield func(file []byte) bool) error {
	in := bufio.NewReaderSize(dep, 64<<10)
	for begins := true; ; {
		line, err := in.ReadSlice('\n')
		file, _, _ := bytes.Cut(line, []byte(":"))
		if begins && len(line) > 0 && !yield(file) {
			return nil
		}
		begins = err == nil
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}
