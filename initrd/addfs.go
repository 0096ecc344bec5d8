package initrd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
)

// Problem is something found in a source that does not stop the work.
type Problem struct {
	Rule string `json:"rule"` // what kind of problem, one word: "socket" or "irregular"
	Path string `json:"path"` // where, as in [Entry.Path]
	Text string `json:"text"` // what, for a person to read
}

// AddFS lays all of fsys over the tree, as [Tree.Put] does entry by entry.
// A directory is best given as the FS of an [os.Root], which nothing in it can
// escape.
//
// Modes are taken as they are, but the root's own is not, which only tells how
// the directory at hand was made. A directory on Windows has no permission to
// execute in its modes: whoever adds one must know which files need it. Owners
// become 0:0, unless [Tree.HostOwners] is set. Symbolic links are recorded and
// never followed, which takes an fsys that is a [fs.ReadLinkFS].
// Device numbers and hard links are known where fsys shows the host's own file
// information; a device without numbers is an error.
//
// What an image has no place for, such as a socket, is left out and reported.
// After an error the tree holds what came before.
func (t *Tree) AddFS(fsys fs.FS) ([]Problem, error) {
	a := adder{tree: t, fsys: fsys, links: make(map[fileID]uint64)}
	if err := fs.WalkDir(fsys, rootPath, a.visit); err != nil {
		return a.problems, err
	}
	return a.problems, nil
}

// AddFile lays one file of fsys over the tree, at a path of its own, in the way
// of [Tree.AddFS].
func (t *Tree) AddFile(path string, fsys fs.FS, name string) ([]Problem, error) {
	a := adder{tree: t, fsys: fsys, links: make(map[fileID]uint64)}
	if err := a.add(path, name); err != nil && err != errNotTaken {
		return a.problems, err
	}
	return a.problems, nil
}

// adder is one walk of AddFS.
type adder struct {
	tree     *Tree
	fsys     fs.FS
	links    map[fileID]uint64
	problems []Problem
}

func (a *adder) visit(p string, d fs.DirEntry, err error) error {
	if err != nil {
		return fmt.Errorf("tree: %s: %w", p, reason(err))
	}
	if p == rootPath {
		return nil
	}
	err = a.add(p, p)
	if err == errNotTaken && d.IsDir() {
		return fs.SkipDir
	}
	if err == errNotTaken {
		return nil
	}
	return err
}

// errNotTaken tells that the filter does not want an entry.
var errNotTaken = errors.New("left out")

// add adds the file called name as the entry at p.
func (a *adder) add(p, name string) error {
	// Not the DirEntry's Info: an os.Root guards Lstat on every platform and
	// since its first release.
	fi, err := fs.Lstat(a.fsys, name)
	if err != nil {
		return fmt.Errorf("tree: %s: %w", p, reason(err))
	}
	e := Entry{Path: p, Mode: fi.Mode()}
	st, known := statOf(fi)
	if a.tree.HostOwners {
		e.UID, e.GID = st.uid, st.gid
	}
	if !a.tree.takes(&e) {
		return errNotTaken
	}
	if rule := leftOut(fi.Mode()); rule != "" {
		a.problems = append(a.problems, Problem{Rule: rule, Path: p, Text: kindOf(fi.Mode()) + " has no place in an image, left out"})
		return nil
	}
	e.Size = fi.Size()
	if err := a.fill(&e, name, st, known); err != nil {
		return fmt.Errorf("tree: %s: %w", p, reason(err))
	}
	return a.tree.Put(e)
}

func (t *Tree) takes(e *Entry) bool { return t.Filter == nil || t.Filter(e) }

// nodeTypes are the type bits an image has a place for.
const nodeTypes = fs.ModeDir | fs.ModeSymlink | fs.ModeNamedPipe | fs.ModeDevice | fs.ModeCharDevice

// leftOut returns the rule by which a file of this type is left out, if any.
func leftOut(m fs.FileMode) string {
	switch {
	case m.Type() == fs.ModeSocket:
		return "socket"
	case m.Type()&^nodeTypes != 0:
		return "irregular"
	}
	return ""
}

// fill adds to e what depends on its type, of the file called name.
func (a *adder) fill(e *Entry, name string, st stat, known bool) error {
	if e.Mode.Type() != 0 {
		e.Size = 0
	}
	switch e.Mode.Type() {
	case 0:
		e.Open = func() (io.ReadCloser, error) { return a.fsys.Open(name) }
		if st.links > 1 {
			e.Link = a.link(st.id)
		}
	case fs.ModeSymlink:
		target, err := fs.ReadLink(a.fsys, name)
		if err != nil {
			return err
		}
		e.Target = filepath.ToSlash(target) // Windows keeps links its own way
	case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
		if !known {
			return errors.New("the device's numbers are not known on this host")
		}
		e.Major, e.Minor = st.major, st.minor
	}
	return nil
}

func (a *adder) link(id fileID) uint64 {
	if a.links[id] == 0 {
		a.links[id] = a.tree.NewLink()
	}
	return a.links[id]
}

// fileID tells whether two names of one source are one file.
type fileID struct{ dev, ino uint64 }

// stat is what the host knows of a file beyond fs.FileInfo.
type stat struct {
	id           fileID
	links        uint64
	uid, gid     uint32
	major, minor uint32
}

// reason strips operation and path off an error of a file system: the messages
// here name the path themselves.
func reason(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}
