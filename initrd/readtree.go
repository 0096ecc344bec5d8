package initrd

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
)

// ReadTree reads an image into the tree of files that it unpacks to. Later entries
// replace earlier ones and names lead through symbolic links as they do for the
// kernel, never out of the root. Directories that are missing are made, as cpio -d
// does.
//
// Contents go to the spool and are read from there when they are opened. What
// nothing can be made of is left out and reported. An image that is damaged or cut
// off is an error, a [*StopError], and no tree.
func ReadTree(r io.Reader, spool Spool) (*Tree, []Problem, error) {
	return ReadImage(NewReader(r), spool)
}

// ErrMaxContents tells that an image has more contents than [Reader.MaxContents].
var ErrMaxContents = errors.New("the contents go beyond the limit")

// ReadImage is [ReadTree] of an image whose Reader tells of its segments besides.
func ReadImage(r *Reader, spool Spool) (*Tree, []Problem, error) {
	to, err := newSpooler(spool, cmp.Or(r.MaxContents, maxContents))
	if err != nil {
		return nil, nil, err
	}
	g := gatherer{in: r, to: to, fs: newRamfs(true)}
	if err := g.run(maxEntries); err != nil {
		return nil, nil, err
	}
	if err := to.flush(); err != nil {
		return nil, nil, err
	}
	var t Tree
	err = g.tree(&t, rootPath, g.fs.root)
	return &t, g.problems, err
}

// gatherer is one run of ReadImage.
type gatherer struct {
	in       *Reader
	to       *spooler
	fs       *ramfs
	links    map[*inode]uint64
	problems []Problem
}

func (g *gatherer) run(entries int) error {
	for range entries {
		h, err := g.in.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := g.entry(h); err != nil {
			return err
		}
	}
	return fmt.Errorf("image: there are more than %d entries", entries)
}

func (g *gatherer) entry(h *Header) error {
	target, err := g.in.target(h)
	if err != nil {
		return err
	}
	node, why := g.fs.put(h, target)
	if why != "" {
		g.problems = append(g.problems, Problem{Rule: "dropped", Path: h.Name, Text: "is left out: " + string(why)})
	}
	if node == nil || h.Size == 0 {
		return nil
	}
	g.fs.resize(node, int64(h.Size))
	if node.size > g.to.left {
		return fmt.Errorf("image: %.200s: %w of %d bytes in all files together", h.Name, ErrMaxContents, g.to.limit)
	}
	if node.open, err = g.to.room(node.size); err != nil {
		return fmt.Errorf("image: %.200s: %w", h.Name, err)
	}
	if err := g.to.copy(g.in, node.size); err != nil {
		if g.in.err != nil && g.in.err != io.EOF {
			return g.in.err
		}
		return fmt.Errorf("image: %.200s: %w", h.Name, err)
	}
	return nil
}

// target reads where the current entry leads if it is a symbolic link that the
// kernel would make.
func (r *Reader) target(h *Header) (string, error) {
	if h.Mode&typeMask != typeSymlink || h.Size > maxName {
		return "", nil
	}
	b, err := io.ReadAll(r)
	return nameOf(b), err
}

// tree puts what lies at p and below it into t.
func (g *gatherer) tree(t *Tree, p string, n *inode) error {
	if e, ok := g.asEntry(t, p, n); ok {
		if err := t.Put(e); err != nil {
			return err
		}
		t.nodes[p].implied = n.implied
	}
	for _, name := range slices.Sorted(maps.Keys(n.kids)) {
		if err := g.tree(t, path.Join(p, name), n.kids[name]); err != nil {
			return err
		}
	}
	return nil
}

func (g *gatherer) asEntry(t *Tree, p string, n *inode) (Entry, bool) {
	e := Entry{Path: p, Mode: fileMode(n.mode), UID: n.uid, GID: n.gid, ModTime: n.mtime, Target: n.target, Size: n.size, Open: n.open}
	switch n.mode & typeMask {
	case typeSocket:
		g.problems = append(g.problems, Problem{Rule: "socket", Path: p, Text: "a socket has no place in an image, left out"})
		return e, false
	case typeSymlink:
		if n.target == "" {
			g.problems = append(g.problems, Problem{Rule: "dropped", Path: p, Text: "is left out: it is a symbolic link without a target"})
			return e, false
		}
	case typeChar, typeBlock:
		e.Major, e.Minor = n.rdevMajor, n.rdevMinor
	case typeRegular:
		e.Link = g.link(t, n)
	}
	return e, true
}

// link gives the names of one file one value.
func (g *gatherer) link(t *Tree, n *inode) uint64 {
	if n.names < 2 {
		return 0
	}
	if g.links == nil {
		g.links = make(map[*inode]uint64)
	}
	if g.links[n] == 0 {
		g.links[n] = t.NewLink()
	}
	return g.links[n]
}

// fileMode turns the format's mode into Go's.
func fileMode(mode uint32) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	switch mode & typeMask {
	case typeDir:
		m |= fs.ModeDir
	case typeSymlink:
		m |= fs.ModeSymlink
	case typeFIFO:
		m |= fs.ModeNamedPipe
	case typeBlock:
		m |= fs.ModeDevice
	case typeChar:
		m |= fs.ModeDevice | fs.ModeCharDevice
	case typeSocket:
		m |= fs.ModeSocket
	case typeRegular:
	default:
		m |= fs.ModeIrregular
	}
	if mode&bitSetuid != 0 {
		m |= fs.ModeSetuid
	}
	if mode&bitSetgid != 0 {
		m |= fs.ModeSetgid
	}
	if mode&bitSticky != 0 {
		m |= fs.ModeSticky
	}
	return m
}

// FileMode gives the entry's mode as package fs has it.
func (h *Header) FileMode() fs.FileMode { return fileMode(h.Mode) }
