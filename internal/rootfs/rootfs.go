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
	"syscall"
)

// FS is the tree below a directory. It keeps the directory that was used last
// open, and those above it. It may be used by several goroutines.
type FS struct {
	top *os.Root

	mu   sync.Mutex
	open []directory // from the top down, each in the one before
}

// mostOpen is more than the depth of a tree of modules.
const mostOpen = 32

type directory struct {
	name string
	root *os.Root
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
	f.leave("")
	return f.top.Close()
}

// parent gives the directory that holds name. Another goroutine may close it
// right away, and a link may lead out of it though not out of the tree: whatever
// fails there is tried again from the top.
func (f *FS) parent(name string) (*os.Root, string) {
	at, base := path.Split(name)
	at = strings.TrimSuffix(at, "/")
	f.mu.Lock()
	defer f.mu.Unlock()
	f.leave(at)
	dir, done := f.top, 0
	if n := len(f.open); n > 0 {
		dir, done = f.open[n-1].root, len(f.open[n-1].name)
	}
	for step := range strings.SplitSeq(strings.TrimPrefix(at[done:], "/"), "/") {
		if step == "" {
			break // at is what is open
		}
		if len(f.open) == mostOpen {
			return f.top, name
		}
		sub, err := dir.OpenRoot(step)
		if err != nil {
			return f.top, name
		}
		done += len(step) + min(done, 1) // the slash before
		f.open = append(f.open, directory{at[:done], sub})
		dir = sub
	}
	return dir, base
}

// leave closes the directories that neither are at nor hold it.
func (f *FS) leave(at string) {
	for n := len(f.open); n > 0; n-- {
		d := f.open[n-1]
		if rest, ok := strings.CutPrefix(at, d.name); ok && (rest == "" || rest[0] == '/') {
			return
		}
		_ = d.root.Close() // only read from
		f.open = f.open[:n-1]
	}
}

// Open opens a file or directory for reading.
func (f *FS) Open(name string) (fs.File, error) {
	file, err := f.openFile(name)
	if err != nil {
		return nil, err // not a nil *os.File in an interface
	}
	return file, nil
}

// readOnly does not wait for the writer of a pipe. It also spares the four system
// calls by which package os finds out that a file never has to be waited for.
const readOnly = os.O_RDONLY | syscall.O_NONBLOCK

// valid is [fs.ValidPath], but for names that are not UTF-8: Unix has such.
func valid(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == ".." || part == "." && name != "." {
			return false
		}
	}
	return true
}

func (f *FS) openFile(name string) (*os.File, error) {
	if !valid(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	dir, base := f.parent(name)
	if file, err := dir.OpenFile(base, readOnly, 0); err == nil {
		return file, nil
	}
	return f.top.OpenFile(name, readOnly, 0)
}

// ReadDir lists a directory, sorted by name.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	d, err := f.openFile(name)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	entries, err := f.list(d, name)
	sortByName(entries)
	return entries, err
}

func sortByName(entries []fs.DirEntry) {
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
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
