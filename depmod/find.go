package depmod

import (
	"cmp"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kstage/kstage/internal/chroot"
	"github.com/kstage/kstage/internal/lazyregexp"
)

// moduleDirs are the places of module directories: /lib/modules by tradition,
// /usr/lib/modules where /usr is merged.
var moduleDirs = []string{"lib/modules", "usr/lib/modules"}

// releaseName is what kmod takes for a kernel release: it starts with two numbers.
var releaseName = lazyregexp.New(`^[0-9]+\.[0-9]+`)

// IsRelease tells whether a name can be that of a kernel release.
func IsRelease(name string) bool { return releaseName().MatchString(name) }

// Find returns the module directories of every kernel version below the root of
// fsys, sorted, free of links; none is not an error. They are looked for in tops,
// without any in lib/modules and usr/lib/modules. A directory that is reached in
// two ways is given once.
func Find(fsys fs.FS, tops ...string) ([]string, error) {
	if len(tops) == 0 {
		tops = moduleDirs
	}
	var dirs []string
	for _, top := range tops {
		real, err := chroot.Resolve(fsys, top)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		entries, err := fs.ReadDir(fsys, real)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !releaseName().MatchString(e.Name()) {
				continue
			}
			dir, err := chroot.Resolve(fsys, path.Join(real, e.Name()))
			if err != nil {
				continue // a link to nowhere holds no modules
			}
			if info, err := fs.Lstat(fsys, dir); err == nil && info.IsDir() && !slices.Contains(dirs, dir) {
				dirs = append(dirs, dir)
			}
		}
	}
	slices.SortFunc(dirs, compareReleases)
	return dirs, nil
}

// compareReleases sorts module directories by release, then by place.
func compareReleases(a, b string) int {
	return cmp.Or(strings.Compare(path.Base(a), path.Base(b)), strings.Compare(a, b))
}
