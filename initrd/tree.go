package initrd

import (
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"
)

// Tree is a tree of entries that is to become an image. The zero Tree is empty
// and ready to use. A Tree must not be changed by several goroutines at once.
type Tree struct {
	// Filter, if set, sees each entry that a source brings ([Tree.AddFS],
	// [Tree.AddTar], [Tree.AddTree] and so on), path, type, permissions and
	// owner, before more of it is looked at. It may
	// change permissions and owner; false leaves the entry out. Where it leaves
	// out a directory it must leave out all below, where AddFS does not look.
	Filter func(e *Entry) bool

	// HostOwners has AddFS take over the owners that files have on this host,
	// where it knows them, instead of 0:0.
	HostOwners bool

	nodes map[string]*node
	links uint64
}

type node struct {
	Entry
	kids    int  // entries directly below
	implied bool // a directory made for what lies below it
}

// A ReplaceError tells that an entry could not be laid over another one: of the
// two one is a directory.
type ReplaceError struct {
	Path     string      // of both
	Old, New fs.FileMode // what they are
}

func (e *ReplaceError) Error() string {
	return fmt.Sprintf("%s: %s cannot replace %s", e.Path, kindOf(e.New), kindOf(e.Old))
}

// Put adds e, or lays it over the entry that has the same path. Directories
// missing above it are made with mode 0755 and owner 0:0; so is the root,
// without which the kernel leaves / at mode 1777.
//
// An error says that the image could not hold e, or that e does not fit: a
// directory and something else do not replace each other (an empty directory
// excepted), because the entries below would be lost, or a link like lib ->
// usr/lib would silently hide what it leads to: that is a [*ReplaceError].
// [Tree.Remove] makes way.
func (t *Tree) Put(e Entry) error {
	if err := e.check(); err != nil {
		return fmt.Errorf("tree: %w", err)
	}
	old, ok := t.nodes[e.Path]
	if !ok {
		return t.insert(e)
	}
	if e.Mode.IsDir() != old.Mode.IsDir() && (e.Mode.IsDir() || old.kids > 0) {
		return fmt.Errorf("tree: %w", &ReplaceError{Path: e.Path, Old: old.Mode, New: e.Mode})
	}
	old.Entry, old.implied = e, false
	return nil
}

// insert adds an entry whose path is free.
func (t *Tree) insert(e Entry) error {
	if e.Path != rootPath {
		up, err := t.parent(e.Path)
		if err != nil {
			return err
		}
		up.kids++
	}
	if t.nodes == nil {
		t.nodes = make(map[string]*node)
	}
	t.nodes[e.Path] = &node{Entry: e}
	return nil
}

// parent returns the directory p lies in, made if need be.
func (t *Tree) parent(p string) (*node, error) {
	dir := path.Dir(p)
	if t.nodes[dir] == nil {
		if err := t.insert(Entry{Path: dir, Mode: fs.ModeDir | 0o755}); err != nil {
			return nil, err
		}
		t.nodes[dir].implied = true
	}
	up := t.nodes[dir]
	if !up.Mode.IsDir() {
		return nil, fmt.Errorf("tree: %s: %s is %s, not a directory", p, dir, kindOf(up.Mode))
	}
	return up, nil
}

// Get returns the entry at path. It does not follow symbolic links.
func (t *Tree) Get(path string) (Entry, bool) {
	n, ok := t.nodes[path]
	if !ok {
		return Entry{}, false
	}
	return n.Entry, true
}

// Remove takes out the entry at p with all that lies below it, and reports
// whether there was one.
func (t *Tree) Remove(p string) bool {
	if _, ok := t.nodes[p]; !ok {
		return false
	}
	if p == rootPath {
		clear(t.nodes)
		return true
	}
	t.nodes[path.Dir(p)].kids--
	maps.DeleteFunc(t.nodes, func(q string, _ *node) bool {
		return q == p || strings.HasPrefix(q, p+"/")
	})
	return true
}

// Len returns the number of entries, the root among them.
func (t *Tree) Len() int { return len(t.nodes) }

// All yields the entries in the order of the image: the root, then by the
// bytes of the path, which puts every directory before what it holds.
func (t *Tree) All() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for _, p := range slices.SortedFunc(maps.Keys(t.nodes), comparePaths) {
			if !yield(t.nodes[p].Entry) {
				return
			}
		}
	}
}

func comparePaths(a, b string) int { return strings.Compare(orderKey(a), orderKey(b)) }

// orderKey makes the root, above all else, sort before all else.
func orderKey(p string) string {
	if p == rootPath {
		return ""
	}
	return p
}

// NewLink returns a value for [Entry.Link] that no entry of the tree has yet.
func (t *Tree) NewLink() uint64 {
	t.links++
	return t.links
}

// AddBootDevices adds the character devices dev/console (5:1, mode 0600) and
// dev/null (1:3, mode 0666) where the tree has nothing at these paths. The
// kernel opens /dev/console for the init process before anything could have
// mounted devtmpfs; without it init has no output.
func (t *Tree) AddBootDevices() error {
	devices := []Entry{
		{Path: "dev/console", Mode: fs.ModeDevice | fs.ModeCharDevice | 0o600, Major: 5, Minor: 1},
		{Path: "dev/null", Mode: fs.ModeDevice | fs.ModeCharDevice | 0o666, Major: 1, Minor: 3},
	}
	for _, d := range devices {
		if _, ok := t.nodes[d.Path]; ok {
			continue
		}
		if err := t.Put(d); err != nil {
			return err
		}
	}
	return nil
}
