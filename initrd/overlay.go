package initrd

import (
	"fmt"
	"io/fs"
	"path"

	"github.com/kstage/kstage/internal/chroot"
)

// AddTree lays all of over, its root at the directory at ("." for the root),
// over the tree. Of two entries with the same path the later one counts, as with
// [Tree.Put], but for these:
//
//   - Where the tree has a link to a directory, in a merged /usr for example, and
//     over a directory, the link stays and what lies below goes to where the link
//     leads.
//   - A directory that over has only because something lies below it changes
//     nothing about one that is there.
//
// Entries pass the tree's Filter. A directory and something else still do not replace each other: that is a
// [*ReplaceError].
func (t *Tree) AddTree(at string, over *Tree) error {
	links := make(map[uint64]uint64) // over's to the tree's
	for e := range over.All() {
		implied := over.nodes[e.Path].implied
		e.Path = path.Join(at, e.Path)
		if !t.takes(&e) {
			continue
		}
		if e.Link != 0 {
			if links[e.Link] == 0 {
				links[e.Link] = t.NewLink()
			}
			e.Link = links[e.Link]
		}
		if err := t.lay(e, implied); err != nil {
			return err
		}
	}
	return nil
}

// lay puts e where its path leads in the tree.
func (t *Tree) lay(e Entry, implied bool) error {
	if err := e.check(); err != nil { // before its path is walked
		return fmt.Errorf("tree: %w", err)
	}
	dir, err := t.directory(path.Dir(e.Path))
	if err != nil {
		return fmt.Errorf("tree: %s: %w", e.Path, err)
	}
	e.Path = path.Join(dir, path.Base(e.Path))
	old := t.nodes[e.Path]
	switch {
	case old == nil:
		if err := t.insert(e); err != nil {
			return err
		}
		t.nodes[e.Path].implied = implied
		return nil
	case e.Mode.IsDir() && old.Mode.Type() == fs.ModeSymlink:
		if _, err := t.directory(e.Path); err == nil {
			return nil
		}
	case implied && old.Mode.IsDir():
		return nil
	}
	return t.Put(e)
}

// directory follows the links in the path of a directory, which need not be
// there yet, as the system that unpacks an archive would.
func (t *Tree) directory(dir string) (string, error) {
	if dir == rootPath {
		return dir, nil
	}
	n := t.nodes[dir]
	if n == nil {
		up, err := t.directory(path.Dir(dir))
		if err != nil {
			return "", err
		}
		real := path.Join(up, path.Base(dir))
		if n = t.nodes[real]; n == nil {
			return real, nil
		}
		dir = real
	}
	switch n.Mode.Type() {
	case fs.ModeDir:
		return dir, nil
	case fs.ModeSymlink:
		real, err := chroot.Resolve(t.FS(), dir)
		if err != nil {
			return "", fmt.Errorf("the link %s leads to %s: %w", dir, n.Target, reason(err))
		}
		if n = t.nodes[real]; n.Mode.IsDir() {
			return real, nil
		}
		dir = real
	}
	return "", &ReplaceError{Path: dir, Old: n.Mode, New: fs.ModeDir}
}
