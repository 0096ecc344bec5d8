package initrd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"
)

// ExtractOptions say what [Tree.Extract] makes. The zero ExtractOptions make all
// but device nodes, owned by whoever runs the program, and replace nothing.
type ExtractOptions struct {
	// Select, if set, picks the entries. The directories above one that it picks
	// are made as well.
	Select func(e *Entry) bool

	// Owners gives everything the owner that the tree says, which only root can.
	Owners bool

	// Devices makes device nodes, which only root can.
	Devices bool

	// Overwrite replaces what is in the way, unless that is a directory. Without
	// it the work is not begun: that is an [*OccupiedError].
	Overwrite bool

	// Progress, if set, is called after each entry with the number of entries
	// made.
	Progress func(done, total int)
}

// Extracted tells what was made.
type Extracted struct {
	Entries  int       // that were asked for, the root not counted
	Bytes    int64     // of contents
	Problems []Problem // what was left out; rules "device" and "unsupported"
}

// OccupiedError tells that nothing was extracted because files are in the way.
type OccupiedError struct {
	Paths []string // sorted as in an image
	Dirs  bool     // Overwrite would not help: a directory is among them
}

func (e *OccupiedError) Error() string {
	return fmt.Sprintf("%q and %d more are in the way", e.Paths[0], len(e.Paths)-1)
}

// Extract makes the tree's files in the directory root, with modes, times and hard
// links, as GNU cpio -idm does: root's own mode, owner and time stay as they are. The
// times of symbolic links are set too, which that cpio does not do, and those of
// directories whatever the order of the image.
//
// Nothing outside root changes, whatever the tree says and root holds: a directory
// is entered only when it is none of root's links, and stays open while things are
// made in it by their last name, which must be free. Modes and times of directories
// are set when all in them is made. The setuid and setgid bits are set, whoever the
// owner is.
//
// A directory that is there already gets the tree's mode and time if it was picked.
// Directories that the image only implied get mode 0755, and the time as it comes.
// After an error root holds a part of the tree.
func (t *Tree) Extract(ctx context.Context, root *os.Root, o ExtractOptions) (Extracted, error) {
	x := extractor{ctx: ctx, o: o, top: root, links: make(map[uint64]string), buf: make([]byte, 256<<10)}
	entries := x.pick(t)
	if err := x.vacant(entries); err != nil {
		return Extracted{}, err
	}
	err := x.run(entries)
	return x.done, err
}

// extractor is one run of Extract.
type extractor struct {
	ctx   context.Context
	o     ExtractOptions
	top   *os.Root
	open  []openedDir       // from the top to where things are made
	links map[uint64]string // Entry.Link to the first name made
	buf   []byte
	done  Extracted
}

// A wanted entry was picked, or lies above one that was.
type wanted struct {
	Entry
	picked  bool
	implied bool
}

// pick gives what is to be made, every directory followed by all that lies below
// it.
func (x *extractor) pick(t *Tree) []wanted {
	all := make(map[string]*wanted)
	for e := range t.All() {
		if x.o.Select != nil && !x.o.Select(&e) {
			continue
		}
		if e.Mode.Type()&fs.ModeDevice != 0 && !x.o.Devices {
			x.leaveOut("device", e.Path, "is a device node, left out")
			continue
		}
		all[e.Path] = &wanted{e, true, t.nodes[e.Path].implied}
		for p := path.Dir(e.Path); all[p] == nil; p = path.Dir(p) {
			all[p] = &wanted{t.nodes[p].Entry, false, t.nodes[p].implied}
		}
	}
	entries := make([]wanted, 0, len(all))
	for _, w := range all {
		entries = append(entries, *w)
	}
	slices.SortFunc(entries, func(a, b wanted) int { return comparePartwise(a.Path, b.Path) })
	return entries
}

// comparePartwise puts all that lies below a directory right behind it.
func comparePartwise(a, b string) int {
	if a == rootPath || b == rootPath {
		return cmp.Compare(len(orderKey(a)), len(orderKey(b)))
	}
	for i := range min(len(a), len(b)) {
		switch {
		case a[i] == b[i]:
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		default:
			return cmp.Compare(a[i], b[i])
		}
	}
	return cmp.Compare(len(a), len(b))
}

func (x *extractor) leaveOut(rule, p, text string) {
	x.done.Problems = append(x.done.Problems, Problem{Rule: rule, Path: p, Text: text})
}

// vacant makes sure, before anything is made, that nothing is in the way.
func (x *extractor) vacant(entries []wanted) error {
	var in OccupiedError
	there := map[string]bool{rootPath: true} // directories
	for _, e := range entries {
		if e.Path == rootPath || !there[path.Dir(e.Path)] {
			continue
		}
		fi, err := x.top.Lstat(e.Path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return fmt.Errorf("extract: %s: %w", e.Path, reason(err))
		case fi.IsDir() && e.Mode.IsDir():
			there[e.Path] = true
		case fi.IsDir() || !x.o.Overwrite:
			in.Paths = append(in.Paths, e.Path)
			in.Dirs = in.Dirs || fi.IsDir()
		}
	}
	if len(in.Paths) > 0 {
		return fmt.Errorf("extract: %w", &in)
	}
	return nil
}

// run makes everything, and in the end leaves no directory open.
func (x *extractor) run(entries []wanted) error {
	defer x.abandon()
	for i := range entries {
		e := &entries[i]
		err := x.ctx.Err()
		if err == nil {
			err = x.leave(path.Dir(e.Path))
		}
		if err == nil {
			err = x.make(e)
		}
		if err != nil {
			return fmt.Errorf("extract: %s: %w", e.Path, reason(err))
		}
		if e.picked && e.Path != rootPath {
			x.done.Entries++
		}
		if x.o.Progress != nil {
			x.o.Progress(i+1, len(entries))
		}
	}
	if err := x.leave(""); err != nil {
		return fmt.Errorf("extract: %w", reason(err))
	}
	return nil
}

func (x *extractor) make(e *wanted) error {
	if e.Path == rootPath {
		root, err := x.top.OpenRoot(rootPath)
		x.open = append(x.open, openedDir{root: root, wanted: e})
		return err
	}
	dir, base := x.open[len(x.open)-1].root, path.Base(e.Path)
	if e.Mode.IsDir() {
		return x.enter(dir, base, e)
	}
	if x.o.Overwrite {
		if err := dir.Remove(base); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	switch e.Mode.Type() {
	case 0:
		return x.file(dir, base, &e.Entry)
	case fs.ModeSymlink:
		return x.symlink(dir, base, &e.Entry)
	}
	return x.node(dir, base, &e.Entry)
}

// file makes a regular file. A failed one is taken away again.
func (x *extractor) file(dir *os.Root, base string, e *Entry) error {
	if first := x.links[e.Link]; e.Link != 0 && first != "" {
		return x.top.Link(first, e.Path)
	}
	f, err := dir.OpenFile(base, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = x.fill(f, e)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = dir.Chtimes(base, e.modTime(), e.modTime())
	}
	if err != nil {
		_ = dir.Remove(base) // the first error says more
		return err
	}
	if e.Link != 0 {
		x.links[e.Link] = e.Path
	}
	return nil
}

func (e *Entry) modTime() time.Time { return time.Unix(int64(e.ModTime), 0) }

// fill gives a file its content and then owner and mode, in this order: chown
// takes the setuid bit away.
func (x *extractor) fill(f *os.File, e *Entry) error {
	if err := x.content(f, e); err != nil {
		return err
	}
	if x.o.Owners {
		if err := f.Chown(int(e.UID), int(e.GID)); err != nil {
			return err
		}
	}
	return f.Chmod(e.Mode)
}

func (x *extractor) content(f *os.File, e *Entry) error {
	if e.Size == 0 {
		return nil
	}
	src, err := e.Open()
	if err != nil {
		return err
	}
	defer src.Close()
	// one byte more than there should be, to see whether it is there
	n, err := io.CopyBuffer(struct{ io.Writer }{f}, io.LimitReader(contextReader{x.ctx, src}, e.Size+1), x.buf)
	x.done.Bytes += n
	if err == nil && n != e.Size {
		err = fmt.Errorf("has not the %d bytes it had when the tree was made", e.Size)
	}
	return err
}

func (x *extractor) symlink(dir *os.Root, base string, e *Entry) error {
	if err := dir.Symlink(e.Target, base); err != nil {
		return err
	}
	if x.o.Owners {
		if err := dir.Lchown(base, int(e.UID), int(e.GID)); err != nil {
			return err
		}
	}
	return linkTime(dir, base, e.modTime())
}

// node makes a named pipe or a device node.
func (x *extractor) node(dir *os.Root, base string, e *Entry) error {
	err := makeNode(dir, base, e)
	if errors.Is(err, errors.ErrUnsupported) {
		x.leaveOut("unsupported", e.Path, kindOf(e.Mode)+" cannot be made on this system, left out")
		return nil
	}
	if err == nil && x.o.Owners {
		err = dir.Lchown(base, int(e.UID), int(e.GID))
	}
	if err == nil {
		err = dir.Chmod(base, e.Mode)
	}
	if err == nil {
		err = dir.Chtimes(base, e.modTime(), e.modTime())
	}
	return err
}

// openedDir is a directory that things are made in.
type openedDir struct {
	*wanted
	root  *os.Root
	found bool // it was there
}

// enter goes into a directory, which is made if need be, for its owner only until
// all is in it.
func (x *extractor) enter(dir *os.Root, base string, e *wanted) error {
	fi, err := dir.Lstat(base)
	found := err == nil && fi.IsDir()
	if err == nil && !found && x.o.Overwrite {
		err = dir.Remove(base)
	}
	if !found && (err == nil || errors.Is(err, fs.ErrNotExist)) {
		if err = dir.Mkdir(base, 0o700); err == nil {
			fi, err = dir.Lstat(base)
		}
	}
	if err != nil {
		return err
	}
	sub, err := dir.OpenRoot(base)
	if err != nil {
		return err
	}
	x.open = append(x.open, openedDir{e, sub, found})
	if now, err := sub.Stat(rootPath); err != nil {
		return err
	} else if !os.SameFile(fi, now) { // a link has taken its place
		return errors.New("another program is changing the directory")
	}
	return nil
}

// leave leaves directories until the one at p is reached; "" is above the root.
func (x *extractor) leave(p string) error {
	for len(x.open) > 0 {
		d := x.open[len(x.open)-1]
		if d.Path == p {
			return nil
		}
		if err := x.finish(d); err != nil {
			return fmt.Errorf("%s: %w", d.Path, reason(err))
		}
		_ = d.root.Close() // nothing is written to it
		x.open = x.open[:len(x.open)-1]
	}
	return nil
}

// finish sets what a directory is to have. The mode comes last, because with it the
// directory may be closed to its owner.
func (x *extractor) finish(d openedDir) error {
	if d.Path == rootPath || d.found && (d.implied || !d.picked) {
		return nil
	}
	if x.o.Owners {
		if err := d.root.Lchown(rootPath, int(d.UID), int(d.GID)); err != nil {
			return err
		}
	}
	if !d.implied {
		if err := d.root.Chtimes(rootPath, d.modTime(), d.modTime()); err != nil {
			return err
		}
	}
	return d.root.Chmod(rootPath, d.Mode)
}

// abandon closes what an error has left open.
func (x *extractor) abandon() {
	for _, d := range x.open {
		if d.root != nil {
			_ = d.root.Close() // nothing is written to it
		}
	}
	x.open = nil
}
