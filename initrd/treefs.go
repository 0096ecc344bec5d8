package initrd

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kstage/kstage/internal/chroot"
)

// FS shows the tree as a file system to read from, in which no link leads out of
// the tree: an absolute one starts at the tree's root. It is an [fs.ReadDirFS],
// [fs.StatFS] and [fs.ReadLinkFS], for several goroutines at once; an open file is
// an [io.ReaderAt] where the content that [Entry.Open] opens is one. Unlike an [fs.FS] should, it takes names that are not UTF-8.
//
// The tree must not be changed while it is read this way.
func (t *Tree) FS() fs.FS { return &treeFS{nodes: t.nodes} }

var (
	errNotDir = errors.New("not a directory")
	errIsDir  = errors.New("is a directory")
)

type treeFS struct {
	nodes map[string]*node

	once sync.Once
	kids map[string][]fs.DirEntry // made when a directory is first read
}

// find follows links in name, the last one as well if follow is set.
func (f *treeFS) find(op, name string, follow bool) (*node, error) {
	n := f.nodes[name]
	if n != nil && (!follow || n.Mode.Type() != fs.ModeSymlink) {
		return n, nil
	}
	if name == rootPath { // of a tree without entries
		return &node{Entry: Entry{Path: rootPath, Mode: fs.ModeDir | 0o755}}, nil
	}
	if checkPath(name) != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	walk := name
	if !follow {
		walk = path.Dir(name)
	}
	// Resolve asks Lstat for names free of links only, which come back here just
	// to be looked up.
	if n == nil && f.isDir(path.Dir(name)) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	real, err := chroot.Resolve(f, walk)
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: reason(err)}
	}
	if !follow {
		real = path.Join(real, path.Base(name))
	}
	if n = f.nodes[real]; n == nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return n, nil
}

func (f *treeFS) isDir(name string) bool {
	n := f.nodes[name]
	return name == rootPath || n != nil && n.Mode.IsDir()
}

// Open opens a file for reading, or a directory.
func (f *treeFS) Open(name string) (fs.File, error) {
	n, err := f.find("open", name, true)
	if err != nil {
		return nil, err
	}
	info := entryInfo{n}
	switch {
	case n.Mode.IsDir():
		return &openDir{info: info, left: f.list(n.Path)}, nil
	case !n.Mode.IsRegular():
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	case n.Open == nil:
		return openFileAt{openFile{info, io.NopCloser(strings.NewReader(""))}, strings.NewReader("")}, nil
	}
	content, err := n.Open()
	if err != nil {
		return nil, err
	}
	if at, ok := content.(io.ReaderAt); ok {
		return openFileAt{openFile{info, content}, at}, nil
	}
	return openFile{info, content}, nil
}

// ReadDir lists a directory, sorted by name.
func (f *treeFS) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := f.find("readdir", name, true)
	if err != nil {
		return nil, err
	}
	if !n.Mode.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errNotDir}
	}
	return slices.Clone(f.list(n.Path)), nil
}

// list gives what lies directly below dir.
func (f *treeFS) list(dir string) []fs.DirEntry {
	f.once.Do(func() {
		f.kids = make(map[string][]fs.DirEntry)
		for p, n := range f.nodes {
			if p != rootPath {
				up := path.Dir(p)
				f.kids[up] = append(f.kids[up], fs.FileInfoToDirEntry(entryInfo{n}))
			}
		}
		for _, list := range f.kids {
			slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
		}
	})
	return f.kids[dir]
}

// Stat describes what name leads to.
func (f *treeFS) Stat(name string) (fs.FileInfo, error) {
	n, err := f.find("stat", name, true)
	if err != nil {
		return nil, err
	}
	return entryInfo{n}, nil
}

// Lstat describes the entry itself, be it a link.
func (f *treeFS) Lstat(name string) (fs.FileInfo, error) {
	n, err := f.find("lstat", name, false)
	if err != nil {
		return nil, err
	}
	return entryInfo{n}, nil
}

// ReadLink gives a link's target.
func (f *treeFS) ReadLink(name string) (string, error) {
	n, err := f.find("readlink", name, false)
	if err != nil {
		return "", err
	}
	if n.Mode.Type() != fs.ModeSymlink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return n.Target, nil
}

// entryInfo describes an entry; Sys gives the [Entry].
type entryInfo struct{ n *node }

func (i entryInfo) Name() string      { return path.Base(i.n.Path) }
func (i entryInfo) Mode() fs.FileMode { return i.n.Mode }
func (i entryInfo) IsDir() bool       { return i.n.Mode.IsDir() }
func (i entryInfo) Sys() any          { return i.n.Entry }

// ModTime gives what an image said, or 1970.
func (i entryInfo) ModTime() time.Time { return time.Unix(int64(i.n.ModTime), 0) }

func (i entryInfo) Size() int64 {
	if i.n.Mode.Type() == fs.ModeSymlink {
		return int64(len(i.n.Target))
	}
	return i.n.Size
}

type openFile struct {
	info entryInfo
	io.ReadCloser
}

func (f openFile) Stat() (fs.FileInfo, error) { return f.info, nil }

type openFileAt struct {
	openFile
	io.ReaderAt
}

type openDir struct {
	info entryInfo
	left []fs.DirEntry
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *openDir) Close() error               { return nil }

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.info.n.Path, Err: errIsDir}
}

func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n > 0 && len(d.left) == 0 {
		return nil, io.EOF
	}
	if n <= 0 || n > len(d.left) {
		n = len(d.left)
	}
	list := slices.Clone(d.left[:n])
	d.left = d.left[n:]
	return list, nil
}
