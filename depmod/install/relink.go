package install

import (
	"io/fs"
	"os"
	"path"

	"github.com/kstage/kstage/depmod"
	"github.com/kstage/kstage/internal/chroot"
	"github.com/kstage/kstage/modinfo"
)

// Relink gives links to modules, such as those of weak-updates, a new name and target
// where the file that they lead to has got another packing and its old name is gone. It is
// called once all module directories have been staged, since links lead from one kernel's
// modules to another's. It tells the old names.
func (t *Target) Relink(packing modinfo.Compression) (changed []string, err error) {
	err = walkModules(t.fsys, t.dir, func(rel string, typ fs.FileMode) error {
		if typ&fs.ModeSymlink == 0 {
			return nil
		}
		moved, err := t.relink(path.Join(t.dir, rel), packing)
		if moved {
			changed = append(changed, rel)
		}
		return err
	})
	return changed, err
}

func (t *Target) relink(link string, packing modinfo.Compression) (bool, error) {
	to, err := t.fsys.ReadLink(link)
	if err != nil {
		return false, err
	}
	if _, err := chroot.Resolve(t.fsys, link); err == nil || depmod.ModuleSuffix(to) == "" {
		return false, nil // it leads somewhere, or never led to a module
	}
	to = modulePath(to) + packing.Suffix()
	from := to
	if !path.IsAbs(to) {
		from = path.Join(path.Dir(link), to)
	}
	if _, err := chroot.Resolve(t.fsys, from); err != nil {
		return false, nil // it led nowhere before
	}
	name := modulePath(link) + packing.Suffix()
	if name != link {
		if _, err := t.fsys.Lstat(name); err == nil {
			return false, nil
		}
	}
	if err := os.Remove(t.host(link)); err != nil {
		return false, err
	}
	return true, os.Symlink(to, t.host(name))
}
