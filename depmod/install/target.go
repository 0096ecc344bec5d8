package install

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/kstage/kstage/internal/atomicfile"
	"github.com/kstage/kstage/internal/chroot"
	"github.com/kstage/kstage/internal/rootfs"
)

// A Target is the module directory of one kernel below a root that no link leads out of.
type Target struct {
	root string
	fsys *rootfs.FS
	dir  string
}

// OpenTarget opens the module directory dir (lib/modules/VERSION) below the directory
// root of this host. It need not exist: what is written makes it.
func OpenTarget(root, dir string) (*Target, error) {
	fsys, err := rootfs.Open(root)
	if err != nil {
		return nil, err
	}
	t := &Target{root: root, fsys: fsys}
	if t.dir, err = t.resolve(path.Clean(dir)); err != nil {
		return nil, errors.Join(err, fsys.Close())
	}
	return t, nil
}

// FS is the root, for reading.
func (t *Target) FS() fs.FS { return t.fsys }

// Dir is where the module directory lies in the root, free of links.
func (t *Target) Dir() string { return t.dir }

// Close ends the use of the directory.
func (t *Target) Close() error { return t.fsys.Close() }

// place gives where a file below the module directory lies in the root, free of links but
// for the file itself.
func (t *Target) place(name string) (string, error) {
	dir, base := path.Split(path.Join(t.dir, name))
	real, err := t.resolve(path.Clean(dir))
	return path.Join(real, base), err
}

// resolve follows the links of a directory of which a part may not exist.
func (t *Target) resolve(dir string) (string, error) {
	real, err := chroot.Resolve(t.fsys, dir)
	if !errors.Is(err, fs.ErrNotExist) || dir == "." {
		return real, err
	}
	above, err := t.resolve(path.Dir(dir))
	if err != nil {
		return "", err
	}
	real = path.Join(above, path.Base(dir))
	if info, err := t.fsys.Lstat(real); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return "", fmt.Errorf("%s: the link leads nowhere inside the tree", real)
	}
	return real, nil
}

// host gives the path on this host of a file in the root.
func (t *Target) host(real string) string { return filepath.Join(t.root, filepath.FromSlash(real)) }

// Put writes a file into the module directory, mode 0644, and tells whether it had to:
// one that is right already is left alone.
func (t *Target) Put(name string, data []byte) (bool, error) {
	real, err := t.place(name)
	if err != nil {
		return false, err
	}
	if there, err := t.read(real); err == nil && bytes.Equal(there, data) {
		return false, nil
	}
	return true, t.write(real, data)
}

// read reads a regular file, not what a link leads to.
func (t *Target) read(real string) ([]byte, error) {
	info, err := t.fsys.Lstat(real)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fs.ErrNotExist
	}
	return fs.ReadFile(t.fsys, real)
}

func (t *Target) write(real string, data []byte) error {
	host := t.host(real)
	if err := os.MkdirAll(filepath.Dir(host), 0o755); err != nil {
		return err
	}
	return atomicfile.Write(host, 0o644, func(f *os.File) error {
		_, err := f.Write(data)
		return err
	})
}

// Link makes a symbolic link in the module directory, such as build, and tells whether it
// had to. It takes the place of another link or file, but not of a directory.
func (t *Target) Link(name, to string) (bool, error) {
	real, err := t.place(name)
	if err != nil {
		return false, err
	}
	if old, err := t.fsys.ReadLink(real); err == nil && old == to {
		return false, nil
	}
	switch info, err := t.fsys.Lstat(real); {
	case err == nil && info.IsDir():
		return false, fmt.Errorf("%s: a directory is in the place of the link", real)
	case err == nil:
		if err := os.Remove(t.host(real)); err != nil {
			return false, err
		}
	}
	if err := os.MkdirAll(filepath.Dir(t.host(real)), 0o755); err != nil {
		return false, err
	}
	return true, os.Symlink(to, t.host(real))
}
