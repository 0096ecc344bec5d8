package depmod

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"io"
	"io/fs"
	"path"
	"sync"

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
	var all listing
	var walkErr error
	var walk sync.WaitGroup
	walk.Go(func() { all, walkErr = o.Config.walk(fsys, real, "") })
	listed, err := indexed(fsys, real, fresh)
	walk.Wait()
	if err = cmp.Or(err, walkErr); err != nil || listed == nil {
		return false, err
	}
	files, _ := o.Config.choose(all.files)
	for _, f := range files {
		if _, fits := listed[f.path]; !fits {
			return false, nil
		}
		if info, err := f.stat(); err != nil || !fresh(info) {
			return false, nil
		}
	}
	return len(files) == len(listed), nil
}

// indexed gives the modules that an index lists, nil if it cannot be up to date.
func indexed(fsys fs.FS, dir string, fresh func(fs.FileInfo) bool) (map[string]struct{}, error) {
	for _, name := range []string{orderName, builtinName, builtinInfoName} {
		if info, err := fs.Lstat(fsys, path.Join(dir, name)); err == nil && !fresh(info) {
			return nil, nil
		}
	}
	for _, name := range IndexNames {
		if _, err := fs.Lstat(fsys, path.Join(dir, name)); err != nil && name != weakdepName {
			return nil, nil
		}
	}
	dep, err := fsys.Open(path.Join(dir, "modules.dep"))
	if err != nil {
		return nil, err
	}
	defer dep.Close()
	return readListed(dep)
}

// IndexNames are the files of an index, in the order of [Tree.Files].
var IndexNames = []string{"modules.dep", "modules.dep.bin", "modules.alias", "modules.alias.bin", "modules.softdep", weakdepName,
	"modules.symbols", "modules.symbols.bin", "modules.builtin.bin", "modules.builtin.alias.bin", "modules.devname"}

// weakdepName is the file that an index may lack: kmod has it since 33.
const weakdepName = "modules.weakdep"

// readListed gives the modules that a modules.dep lists; nil if it has one twice. No path
// is as long as its buffer; what follows one may be.
func readListed(dep io.Reader) (map[string]struct{}, error) {
	const many = 4096 // a distribution's
	listed := make(map[string]struct{}, many)
	in := bufio.NewReaderSize(dep, 64<<10)
	lines := 0
	for begins := true; ; {
		line, err := in.ReadSlice('\n')
		if begins && len(line) > 0 {
			file, _, _ := bytes.Cut(line, []byte(":"))
			listed[string(file)] = struct{}{}
			lines++
		}
		begins = err == nil
		switch {
		case errors.Is(err, io.EOF) && lines == len(listed):
			return listed, nil
		case errors.Is(err, io.EOF):
			return nil, nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}
