package rootfs

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kstage/kstage/internal/fileid"
)

// An entry is what a directory lists. Files are described with it, in the same memory:
// who lists modules wants to know of each when it was modified.
type entry struct {
	dir  *place
	name string
	mode fs.FileMode // only the type but for files
	id   fileid.ID   // zero but for files, as the next
	time unix.Timespec
}

// A place is where entries were listed.
type place struct {
	fsys *FS
	name string
}

func (e *entry) Name() string      { return e.name }
func (e *entry) Type() fs.FileMode { return e.mode.Type() }
func (e *entry) IsDir() bool       { return e.mode.IsDir() }
func (e *entry) String() string    { return fs.FormatDirEntry(e) }
func (e *entry) lstat() (fs.FileInfo, error) {
	return e.dir.fsys.Lstat(path.Join(e.dir.name, e.name))
}

func (e *entry) Info() (fs.FileInfo, error) {
	if e.mode.IsRegular() {
		return fileInfo{e}, nil
	}
	return e.lstat()
}

// A fileInfo describes a file.
type fileInfo struct{ e *entry }

func (i fileInfo) Name() string       { return i.e.name }
func (i fileInfo) Size() int64        { return i.e.id.Size }
func (i fileInfo) Mode() fs.FileMode  { return i.e.mode }
func (i fileInfo) ModTime() time.Time { return time.Unix(i.e.time.Unix()) }
func (i fileInfo) IsDir() bool        { return false }
func (i fileInfo) FileID() fileid.ID  { return i.e.id }
func (i fileInfo) String() string     { return fs.FormatFileInfo(i) }

// Sys asks again: more than the above is seldom wanted.
func (i fileInfo) Sys() any {
	info, err := i.e.lstat()
	if err != nil {
		return nil
	}
	return info.Sys()
}

// list reads a directory in the order that it has. Package os would describe directories
// too, and make an object of each entry and another of its description.
func (f *FS) list(d *os.File, dir string) ([]fs.DirEntry, error) {
	conn, err := d.SyscallConn()
	if err != nil {
		return nil, err
	}
	var list []fs.DirEntry
	controlErr := conn.Control(func(fd uintptr) { list, err = f.entries(handle{fd: int(fd)}, dir) })
	return list, cmp.Or(controlErr, err)
}

func (f *FS) entries(h handle, dir string) ([]fs.DirEntry, error) {
	entries, err := f.read(h, dir)
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: dir, Err: err}
	}
	list := make([]fs.DirEntry, len(entries))
	for i := range entries {
		list[i] = &entries[i]
	}
	return list, nil
}

// A Dir is an open directory, through which those in it are reached without the way
// from the top.
type Dir struct {
	fsys *FS
	name string
	handle
	file *os.File // whose handle it is, if it is that of a file
}

// OpenDir opens a directory.
func (f *FS) OpenDir(name string) (*Dir, error) {
	file, err := f.openFile(name)
	if err != nil {
		return nil, err
	}
	fd := int(file.Fd())
	return &Dir{f, name, handle{fd, isLocal(fd)}, file}, nil
}

// OpenDir opens a directory in d, which must not be a link.
func (d *Dir) OpenDir(name string) (*Dir, error) {
	h, err := d.open(name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path.Join(d.name, name), Err: err}
	}
	return &Dir{fsys: d.fsys, name: path.Join(d.name, name), handle: h}, nil
}

// ReadDir lists the directory, sorted by name.
func (d *Dir) ReadDir() ([]fs.DirEntry, error) {
	list, err := d.fsys.entries(d.handle, d.name)
	sortByName(list)
	return list, err
}

// Close closes the directory.
func (d *Dir) Close() error {
	if d.file != nil {
		return d.file.Close()
	}
	return d.close()
}

func (f *FS) read(h handle, dir string) ([]entry, error) {
	at := &place{f, dir}
	room := rooms.Get().(*dirRoom)
	defer rooms.Put(room)
	var entries []entry
	for {
		n, err := h.list(room)
		if n <= 0 || err != nil {
			return entries, err
		}
		entries = slices.Grow(entries, count(room[:n]))
		for name, typ := range dirents(room[:n]) {
			e := entry{dir: at, name: string(name), mode: typeOf(typ)}
			if typ == unix.DT_REG || typ == unix.DT_UNKNOWN {
				switch err := e.describe(h); {
				case errors.Is(err, fs.ErrNotExist):
					continue // removed since
				case err != nil:
					return entries, err
				}
			}
			entries = append(entries, e)
		}
	}
}

// dirRoom is room for what getdents64 writes.
type dirRoom [8 << 10]byte

var rooms = sync.Pool{New: func() any { return new(dirRoom) }}

// describe asks the kernel for a file's status, and for its type where the file system
// has not listed it.
func (e *entry) describe(dir handle) error {
	var stat unix.Stat_t
	if err := dir.stat(e.name, &stat); err != nil {
		return err
	}
	e.mode = typeOf(byte(stat.Mode>>12)) | fs.FileMode(stat.Mode&0o777) // S_IFREG is DT_REG << 12, and so on
	for i, special := range [3]fs.FileMode{fs.ModeSticky, fs.ModeSetgid, fs.ModeSetuid} {
		if stat.Mode>>(9+i)&1 != 0 {
			e.mode |= special
		}
	}
	e.time = stat.Mtim // the ID counts nanoseconds, which end in 2262
	e.id = fileid.ID{Device: uint64(stat.Dev), Inode: stat.Ino, Size: stat.Size, Modified: stat.Mtim.Nano(), Changed: stat.Ctim.Nano()}
	return nil
}

var types = [16]fs.FileMode{unix.DT_DIR: fs.ModeDir, unix.DT_LNK: fs.ModeSymlink, unix.DT_FIFO: fs.ModeNamedPipe,
	unix.DT_SOCK: fs.ModeSocket, unix.DT_CHR: fs.ModeDevice | fs.ModeCharDevice, unix.DT_BLK: fs.ModeDevice}

func typeOf(d byte) fs.FileMode { return types[d&15] }

// dirents yields the names in what getdents64 has written, with their DT_ types: of
// each its inode and its offset (8 bytes), its length (2), the type (1), the name and
// NULs.
func dirents(b []byte) iter.Seq2[[]byte, byte] {
	return func(yield func([]byte, byte) bool) {
		for len(b) > 19 {
			length := min(int(binary.NativeEndian.Uint16(b[16:])), len(b))
			name, typ := b[19:length], b[18]
			b = b[length:]
			name, _, _ = bytes.Cut(name, []byte{0})
			if s := string(name); s != "." && s != ".." && !yield(name, typ) {
				return
			}
		}
	}
}

func count(b []byte) int {
	n := 0
	for range dirents(b) {
		n++
	}
	return n
}
