// Package rootfs shows a directory of the host as a file system that no link
// leads out of, quickly: an [os.Root] walks down from the top for every file, and
// a tree of modules has thousands of them nine directories deep.
package rootfs

import (
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
)

// FS is the tree below a directory. It keeps the directory that was used last
// open. It may be used by several goroutines.
type FS struct {
	top *os.Root

	mu   sync.Mutex
	name string   // of the directory in last
	last *os.Root // nil: none
}

// Open opens the directory.
func Open(dir string) (*FS, error) {
	top, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &FS{top: top}, nil
}

// Close ends the use of the directory.
func (f *FS) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last != nil {
		_ = f.last.Close() // only read from
		f.last = nil
	}
	return f.top.Close()
}

// parent gives the directory that holds name. Another goroutine may close it
// right away, and a link may lead out of it though not out of the tree: whatever
// fails there is tried again from the top.
func (f *FS) parent(name string) (*os.Root, string) {
	dir, base := path.Split(name)
	if dir == "" {
		return f.top, base
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last != nil && f.name == dir {
		return f.last, base
	}
	sub, err := f.top.OpenRoot(path.Clean(dir))
	if err != nil {
		return f.top, name
	}
	if f.last != nil {
		_ = f.last.Close() // only read from
	}
	f.name, f.last = dir, sub
	return sub, base
}

// Open opens a file or directory for reading.
func (f *FS) Open(name string) (fs.File, error) {
	file, err := f.open(name)
	if err != nil {
		return nil, err // not a nil *os.File in an interface
	}
	return file, nil
}

// valid is [fs.ValidPath], but for names that are not UTF-8: Unix has such.
func valid(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == ".." || part == "." && name != "." {
			return false
		}
	}
	return true
}

func (f *FS) open(name string) (*os.File, error) {
	if !valid(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	dir, base := f.parent(name)
	if file, err := dir.Open(base); err == nil {
		return file, nil
	}
	return f.top.Open(name)
}

// ReadDir lists a directory, sorted by name.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	d, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	entries, err := d.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}

// Lstat describes a file; a link is described itself.
func (f *FS) Lstat(name string) (fs.FileInfo, error) {
	dir, base := f.parent(name)
	if info, err := dir.Lstat(base); err == nil {
		return info, nil
	}
	return f.top.Lstat(name)
}

// ReadLink returns where a link leads.
func (f *FS) ReadLink(name string) (string, error) {
	dir, base := f.parent(name)
	if target, err := dir.Readlink(base); err == nil {
		return target, nil
	}
	return f.top.Readlink(name)
}
