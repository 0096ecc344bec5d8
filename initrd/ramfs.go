package initrd

import (
	"io"
	"strings"
)

// ramfs follows in memory what the kernel does with the entries of an image
// (init/initramfs.c), one after the other, in a file system that is empty at
// first. Names are looked up as the kernel looks them up: symbolic links are
// followed, but never out of the root.
type ramfs struct {
	root   *inode
	linked map[linkKey]string // the name that the first of the linked entries had

	// parents makes directories that are missing above an entry, as cpio -d
	// does. The kernel leaves the entry out.
	parents bool

	pages  int64 // that the contents of files take up; only Verify keeps them
	inodes int64 // names there are, each of which costs one of the file system's inodes
}

// An inode is a file of any kind. Linked names share one.
type inode struct {
	mode, uid, gid, mtime uint32
	rdevMajor, rdevMinor  uint32
	target                string // of a symbolic link
	size                  int64  // of a regular file, see resize
	open                  func() (io.ReadCloser, error)
	kids                  map[string]*inode // of a directory
	names                 int               // that lead here
	implied               bool              // a directory that no entry has named yet
}

// linkKey tells which entries are names of one file. Only the type bits of the
// mode count.
type linkKey struct{ archive, major, minor, ino, typ uint32 }

func newRamfs(parents bool) *ramfs {
	return &ramfs{root: impliedDir(), linked: map[linkKey]string{}, parents: parents}
}

func impliedDir() *inode {
	return &inode{mode: typeDir | 0o755, kids: map[string]*inode{}, implied: true}
}

// addBuiltIn adds what the kernel's own initramfs has brought before any image is
// unpacked, unless it was configured otherwise (usr/default_cpio_list).
func (f *ramfs) addBuiltIn() {
	dev := &inode{mode: typeDir | 0o755, kids: map[string]*inode{}}
	dev.kids["console"] = &inode{mode: typeChar | 0o600, rdevMajor: 5, rdevMinor: 1, names: 1}
	f.root.kids["dev"] = dev
	f.root.kids["root"] = &inode{mode: typeDir | 0o700, kids: map[string]*inode{}}
	f.inodes = 3
}

// resize gives a regular file another size.
func (f *ramfs) resize(n *inode, size int64) {
	f.pages += (size+pageSize-1)/pageSize - (n.size+pageSize-1)/pageSize
	n.size = size
}

const pageSize = 4096

// A drop says why the kernel leaves an entry out. The empty drop is none.
type drop string

// Why entries are dropped. The kernel says nothing about any of them.
const (
	dropNameSize drop = "the length of its name is 0 or more than 4096"
	dropTarget   drop = "it is a symbolic link with a target of more than 4095 bytes"
	dropData     drop = "it has data but is neither a file nor a symbolic link"
	dropType     drop = "its mode has no file type"
	dropParent   drop = "the directory above it is missing"
	dropNotDir   drop = "what stands above it is not a directory"
	dropLoop     drop = "symbolic links above it lead in a circle"
	dropLong     drop = "a part of its name has more than 255 bytes"
	dropIsDir    drop = "a directory that is not empty is in its place"
	dropName     drop = "its name names no place for it"
	dropLinked   drop = "the file that it is a hard link of is gone"
)

// put does what the kernel does with an entry, the target being the data of a
// symbolic link. It returns the file that the data of the entry goes to, nil when
// it is no regular file or is dropped. Data replaces what the file had. Without data
// a further name of a linked file leaves it what it had; any other file is empty.
func (f *ramfs) put(h *Header, target string) (*inode, drop) {
	if why := h.skipped(); why != "" {
		return nil, why
	}
	switch h.Mode & typeMask {
	case typeRegular:
		return f.putFile(h)
	case typeSymlink:
		return nil, f.putSymlink(h, target)
	case typeDir:
		return nil, f.putDir(h)
	case typeChar, typeBlock, typeFIFO, typeSocket:
		return nil, f.putNode(h)
	}
	return nil, dropType
}

// skipped gives the reason why do_header does not even look at the name.
func (h *Header) skipped() drop {
	switch {
	case h.NameSize == 0 || h.NameSize > maxName:
		return dropNameSize
	case h.Mode&typeMask == typeSymlink && h.Size > maxName:
		return dropTarget
	case !h.named() && h.Mode&typeMask == 0:
		return dropType
	case !h.named():
		return dropData
	}
	return ""
}

func (f *ramfs) putFile(h *Header) (*inode, drop) {
	p, why := f.clear(h.Name, h.Mode)
	if why != "" {
		return nil, why
	}
	node, why := f.link(h, p)
	switch {
	case why != "":
		return nil, why
	case node == nil && p.node == nil:
		node = f.add(&p, &inode{})
	case node == nil:
		node = p.node
		f.resize(node, 0)
		node.open = nil
	}
	node.set(h)
	return node, ""
}

func (f *ramfs) putNode(h *Header) drop {
	p, why := f.clear(h.Name, h.Mode)
	if why != "" {
		return why
	}
	node, why := f.link(h, p)
	if why != "" || node != nil {
		return why
	}
	if p.node == nil {
		major, minor := h.device()
		f.add(&p, &inode{rdevMajor: major, rdevMinor: minor}).set(h)
		return ""
	}
	p.node.set(h) // mknod fails, chown and chmod do not
	return ""
}

func (f *ramfs) putDir(h *Header) drop {
	p, why := f.clear(h.Name, h.Mode)
	if why != "" {
		return why
	}
	if p.node == nil {
		f.add(&p, &inode{kids: map[string]*inode{}})
	}
	p.node.set(h)
	return ""
}

func (f *ramfs) putSymlink(h *Header, target string) drop {
	p, why := f.clear(h.Name, 0)
	switch {
	case why != "":
		return why
	case len(target) > maxPath:
		return dropTarget
	}
	f.add(&p, &inode{target: target}).set(h)
	return ""
}

// device gives the numbers that a device node gets: they are put together into 32
// bits (parse_header, MKDEV).
func (h *Header) device() (major, minor uint32) {
	dev := h.RdevMajor<<20 | h.RdevMinor
	return dev >> 20, dev & maxMinor
}

func (n *inode) set(h *Header) {
	n.mode, n.uid, n.gid, n.mtime, n.implied = h.Mode, h.UID, h.GID, h.ModTime, false
}

// link makes the entry another name of an earlier one, if it is to be that
// (maybe_link). A nil inode says that it is not.
func (f *ramfs) link(h *Header, p place) (*inode, drop) {
	if h.Links < 2 {
		return nil, ""
	}
	key := linkKey{uint32(h.Archive), h.DevMajor, h.DevMinor, h.Ino, h.Mode & typeMask}
	first, known := f.linked[key]
	if !known {
		f.linked[key] = h.Name
		return nil, ""
	}
	p, why := f.clear(h.Name, 0)
	if why != "" {
		return nil, why
	}
	old, why := f.find(first)
	if why != "" || old.node == nil || old.node.kids != nil {
		return nil, dropLinked
	}
	return f.add(&p, old.node), ""
}

// clear finds the place of a name and makes way there for something of another
// type (clean_path). Mode 0 is another type than any.
func (f *ramfs) clear(name string, mode uint32) (place, drop) {
	p, why := f.find(name)
	switch {
	case why != "":
		return p, why
	case p.node == nil || (p.node.mode^mode)&typeMask == 0:
	case p.dir == nil || len(p.node.kids) > 0:
		return p, dropIsDir
	default:
		f.remove(&p)
	}
	if p.slash && mode&typeMask != typeDir {
		return p, dropName
	}
	return p, ""
}

func (f *ramfs) remove(p *place) {
	delete(p.dir.kids, p.base)
	f.inodes--
	if p.node.names--; p.node.names == 0 {
		f.resize(p.node, 0)
	}
	p.node = nil
}

// A place is where a name leads: what is there, and in which directory.
type place struct {
	dir   *inode // nil at the root
	base  string
	node  *inode // nil: nothing
	slash bool   // the name ended in a slash
}

func (f *ramfs) add(p *place, n *inode) *inode {
	p.dir.kids[p.base] = n
	p.node = n
	n.names++
	f.inodes++
	return n
}

// maxFollow is how many symbolic links the kernel follows in one name (MAXSYMLINKS).
const maxFollow = 40

// find looks a name up. A link in the last part is followed only if a slash comes
// behind it, which asks for a directory.
func (f *ramfs) find(name string) (place, drop) {
	w := walk{fs: f, stack: []*inode{f.root}}
	last, slash, why := w.parent(name)
	if why != "" {
		return place{}, why
	}
	dir := w.at()
	switch last {
	case "", ".", "..":
		if last == ".." {
			w.up()
		}
		return place{node: w.at(), slash: slash}, ""
	}
	node := dir.kids[last]
	if slash && node != nil && node.kids == nil {
		why := w.down(last)
		return place{node: w.at(), slash: true}, why
	}
	return place{dir: dir, base: last, node: node, slash: slash}, ""
}

// follow finds what a name leads to, through links; nil if nothing.
func (f *ramfs) follow(name string) *inode {
	for range maxFollow {
		p, why := f.find(name)
		if why != "" || p.node == nil || p.node.mode&typeMask != typeSymlink {
			return p.node
		}
		if strings.HasPrefix(p.node.target, "/") {
			name = p.node.target
		} else {
			name = name[:strings.LastIndexByte(name, '/')+1] + p.node.target
		}
	}
	return nil
}

// walk is a way down through directories and links.
type walk struct {
	fs     *ramfs
	stack  []*inode // from the root to where it is
	follow int
}

func (w *walk) at() *inode { return w.stack[len(w.stack)-1] }

func (w *walk) up() {
	if len(w.stack) > 1 {
		w.stack = w.stack[:len(w.stack)-1]
	}
}

// parent goes to the directory that holds the last part of the name.
func (w *walk) parent(name string) (last string, slash bool, why drop) {
	trimmed := strings.TrimRight(name, "/")
	slash = trimmed != name && trimmed != ""
	if name == "" {
		return "", false, dropName
	}
	if strings.HasPrefix(name, "/") {
		w.stack = w.stack[:1]
	}
	dir, last := "", trimmed
	if i := strings.LastIndexByte(trimmed, '/'); i >= 0 {
		dir, last = trimmed[:i], trimmed[i+1:]
	}
	for part := range strings.SplitSeq(dir, "/") {
		if why := w.down(part); why != "" {
			return "", slash, why
		}
	}
	if len(last) > maxPart {
		return "", slash, dropLong
	}
	return last, slash, ""
}

// down goes into a directory, perhaps through a link to it.
func (w *walk) down(part string) drop {
	switch part {
	case "", ".":
		return ""
	case "..":
		w.up()
		return ""
	}
	if len(part) > maxPart {
		return dropLong
	}
	node := w.at().kids[part]
	if node == nil && w.fs.parents {
		node = impliedDir()
		w.at().kids[part] = node
	}
	switch {
	case node == nil:
		return dropParent
	case node.kids != nil:
		w.stack = append(w.stack, node)
		return ""
	case node.mode&typeMask == typeSymlink:
		return w.through(node.target)
	}
	return dropNotDir
}

// through follows a link to a directory.
func (w *walk) through(target string) drop {
	if w.follow++; w.follow > maxFollow {
		return dropLoop
	}
	if strings.HasPrefix(target, "/") {
		w.stack = w.stack[:1]
	}
	for part := range strings.SplitSeq(target, "/") {
		if why := w.down(part); why != "" {
			return why
		}
	}
	return ""
}
