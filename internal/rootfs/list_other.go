//go:build !linux

package rootfs

import (
	"io/fs"
	"os"
	"path"
)

func (f *FS) list(d *os.File, _ string) ([]fs.DirEntry, error) { return d.ReadDir(-1) }

// A Dir is a directory of which those in it are reached.
type Dir struct {
	fsys *FS
	name string
}

// OpenDir opens a directory.
func (f *FS) OpenDir(name string) (*Dir, error) { return &Dir{f, name}, nil }

// OpenDir opens a directory in d.
func (d *Dir) OpenDir(name string) (*Dir, error) { return &Dir{d.fsys, path.Join(d.name, name)}, nil }

// ReadDir lists the directory, sorted by name.
func (d *Dir) ReadDir() ([]fs.DirEntry, error) { return d.fsys.ReadDir(d.name) }

// Close closes the directory.
func (d *Dir) Close() error { return nil }
