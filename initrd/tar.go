package initrd

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"strings"
)

// AddTar adds what a tar archive holds, plain or compressed: a whole root file
// system, such as container tools export. Types, modes, owners (by number), device
// numbers and hard links are kept, also the mode of the root if the archive has
// it; times are not. Contents go to the spool and are read from there when the
// image is written.
//
// Names may begin with "./" or "/" and end with "/"; dot-dot is refused. Later
// entries lie over earlier ones as in [Tree.AddTree]. What an image has no place
// for is left out and reported: file capabilities, and the whiteouts by which one
// layer of a container image deletes files of another.
//
// The archive may have about a million entries with 64 GiB of contents. It must be
// whole: one without its end is refused. Errors give offsets in the unpacked
// archive. After an error the tree holds what came before, contents in part not
// written to the spool.
func (t *Tree) AddTar(r io.Reader, spool Spool) ([]Problem, error) {
	z, err := unpacked(bufio.NewReaderSize(r, 64<<10))
	if err != nil {
		return nil, fmt.Errorf("tar: %w", err)
	}
	defer z.Close() // it has only been read from
	to, err := newSpooler(spool, maxContents)
	if err != nil {
		return nil, err
	}
	a := newTarAdder(t, z, to, maxEntries)
	if err := a.run(); err != nil {
		return a.problems, err
	}
	return a.problems, to.flush()
}

// tarAdder is one run of AddTar.
type tarAdder struct {
	tree     *Tree
	in       tarInput
	tr       *tar.Reader
	to       *spooler
	entries  int // so far
	limit    int // of entries
	problems []Problem
}

func newTarAdder(t *Tree, r io.Reader, to *spooler, limit int) *tarAdder {
	a := &tarAdder{tree: t, in: tarInput{r: bufio.NewReaderSize(r, 64<<10)}, to: to, limit: limit}
	a.tr = tar.NewReader(&a.in)
	return a
}

func (a *tarAdder) run() error {
	for {
		at := a.in.off
		hdr, err := a.tr.Next()
		if err == io.EOF {
			return a.end()
		}
		if err != nil {
			return fmt.Errorf("tar: entry behind offset %d: %w", at, tarError(err))
		}
		if a.entries++; a.entries > a.limit {
			return fmt.Errorf("tar: entry behind offset %d: there are more than %d entries", at, a.limit)
		}
		e, ok, err := a.entry(hdr)
		if err != nil {
			return fmt.Errorf("tar: %s: %w", hdr.Name, err)
		}
		if !ok {
			continue
		}
		if err := a.tree.lay(e, false); err != nil {
			return err
		}
	}
}

// tarError says in our words what package tar says in its own.
func tarError(err error) error {
	switch {
	case errors.Is(err, tar.ErrHeader):
		return errors.New("the header is damaged")
	case errors.Is(err, tar.ErrFieldTooLong):
		return errors.New("a field is too long")
	}
	return cutOff(err)
}

// end makes sure that the archive has its end, a block of zeros at least, which
// package tar does not ask for, and reads what follows, so that a decompressor
// compares its checksum.
func (a *tarAdder) end() error {
	if a.in.zeros < tarBlock {
		return fmt.Errorf("tar: offset %d: the end of the archive is missing: it is cut off", a.in.off)
	}
	end := a.in.off
	if _, err := io.Copy(io.Discard, &a.in); err != nil {
		return fmt.Errorf("tar: behind the end at offset %d: %w", end, err)
	}
	if a.in.zeros < a.in.off-end {
		a.problem("trailing", rootPath, fmt.Sprintf("the tar archive ends at offset %d, what follows is left out", end))
	}
	return nil
}

func (a *tarAdder) problem(rule, path, text string) {
	a.problems = append(a.problems, Problem{Rule: rule, Path: path, Text: text})
}

// Types of entries that package tar has no names for.
const (
	tarVolumeLabel = 'V' // GNU: a title for the whole
	tarDumpDir     = 'D' // GNU: a directory, with the names in it as data
)

// entry makes an entry of the one that hdr describes; false says that there is
// none.
func (a *tarAdder) entry(hdr *tar.Header) (e Entry, ok bool, err error) {
	if hdr.Typeflag == tar.TypeXGlobalHeader || hdr.Typeflag == tarVolumeLabel {
		return e, false, nil
	}
	e.Mode = tarMode(hdr)
	if e.Path, err = cleanTarName(hdr.Name); err != nil {
		return e, false, err
	}
	if e.UID, e.GID, err = tarOwner(hdr); err != nil {
		return e, false, err
	}
	if a.leavesOut(&e, hdr) {
		return e, false, nil
	}
	if hdr.PAXRecords["SCHILY.xattr.security.capability"] != "" {
		a.problem("capability", e.Path, "its capabilities (setcap) have no place in an image, left out")
	}
	if hdr.Typeflag == tar.TypeLink {
		e, err = a.link(e.Path, hdr.Linkname)
	} else {
		err = a.fill(&e, hdr)
	}
	return e, err == nil, err
}

// leavesOut tells whether e is not wanted or has no place in an image.
func (a *tarAdder) leavesOut(e *Entry, hdr *tar.Header) bool {
	switch {
	case !a.tree.takes(e):
	case strings.HasPrefix(path.Base(e.Path), ".wh."):
		a.problem("whiteout", e.Path, "only says, in one layer of a container image, that something is deleted, left out")
	case e.Mode.Type() == fs.ModeIrregular:
		a.problem("irregular", e.Path, fmt.Sprintf("an entry of type %q has no place in an image, left out", hdr.Typeflag))
	default:
		return false
	}
	return true
}

// fill adds to e what depends on its type, a content to the spool.
func (a *tarAdder) fill(e *Entry, hdr *tar.Header) (err error) {
	switch e.Mode.Type() {
	case 0:
		e.Size = hdr.Size
		if e.Open, err = a.to.room(e.Size); err != nil {
			return err
		}
		if err := e.checkContent(); err != nil {
			return err
		}
		if err := a.to.copy(a.tr, e.Size); err != nil {
			return fmt.Errorf("data at offset %d: %w", a.in.off, tarError(err))
		}
	case fs.ModeSymlink:
		e.Target = hdr.Linkname
	case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
		if !fits(hdr.Devmajor) || !fits(hdr.Devminor) {
			return fmt.Errorf("device %d:%d is not possible", hdr.Devmajor, hdr.Devminor)
		}
		e.Major, e.Minor = uint32(hdr.Devmajor), uint32(hdr.Devminor)
	}
	return nil
}

// link makes another name of an earlier entry. An image can only hold such names
// of a regular file: others become an entry of their own.
func (a *tarAdder) link(name, target string) (e Entry, err error) {
	if target, err = cleanTarName(target); err != nil {
		return e, fmt.Errorf("hard link: %w", err)
	}
	dir, err := a.tree.directory(path.Dir(target))
	if err != nil {
		return e, fmt.Errorf("hard link to %s: %w", target, err)
	}
	n := a.tree.nodes[path.Join(dir, path.Base(target))]
	switch {
	case n == nil:
		return e, fmt.Errorf("is a hard link to %s, which does not come before it or is left out", target)
	case n.Mode.IsDir():
		return e, fmt.Errorf("is a hard link to %s, a directory", target)
	case n.Mode.IsRegular() && n.Link == 0:
		n.Link = a.tree.NewLink()
	}
	e = n.Entry
	e.Path = name
	return e, nil
}

// cleanTarName gives the path that an entry's name means.
func cleanTarName(name string) (string, error) {
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("the name %.80q has a dot-dot in it", name)
		}
	}
	if name == "" {
		return "", errors.New("the name is empty")
	}
	return path.Clean(strings.TrimLeft(name, "/")), nil
}

// tarMode gives the type by the type flag, whatever type the mode claims.
func tarMode(hdr *tar.Header) fs.FileMode {
	m := fileMode(uint32(hdr.Mode)&^typeMask | typeRegular)
	switch hdr.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse, tar.TypeLink:
		return m
	case tar.TypeDir, tarDumpDir:
		return m | fs.ModeDir
	case tar.TypeSymlink:
		return m | fs.ModeSymlink
	case tar.TypeFifo:
		return m | fs.ModeNamedPipe
	case tar.TypeChar:
		return m | fs.ModeDevice | fs.ModeCharDevice
	case tar.TypeBlock:
		return m | fs.ModeDevice
	}
	return m | fs.ModeIrregular
}

func tarOwner(hdr *tar.Header) (uid, gid uint32, err error) {
	if !fits(int64(hdr.Uid)) || !fits(int64(hdr.Gid)) {
		return 0, 0, fmt.Errorf("owner %d:%d is not possible", hdr.Uid, hdr.Gid)
	}
	return uint32(hdr.Uid), uint32(hdr.Gid), nil
}

func fits(n int64) bool { return n >= 0 && n <= math.MaxUint32 }

const tarBlock = 512

// tarInput counts what is read, and the zero bytes at its end.
type tarInput struct {
	r          io.Reader
	off, zeros int64
}

func (in *tarInput) Read(p []byte) (int, error) {
	n, err := in.r.Read(p)
	in.off += int64(n)
	zeros := n - len(bytes.TrimRight(p[:n], "\x00"))
	if zeros < n {
		in.zeros = 0
	}
	in.zeros += int64(zeros)
	return n, err
}

// isTar tells whether a file begins with the header of a tar entry, by its
// checksum, which every kind of tar has: the sum of all bytes with the checksum's
// own field taken for spaces.
func isTar(block []byte) bool {
	if len(block) < tarBlock || block[0] == 0 {
		return false
	}
	const at, end = 148, 156
	var sum, want int64
	for i, b := range block[:tarBlock] {
		if i >= at && i < end {
			b = ' '
		}
		sum += int64(b)
	}
	for _, b := range bytes.Trim(block[at:end], " \x00") {
		if b < '0' || b > '7' {
			return false
		}
		want = want<<3 + int64(b-'0')
	}
	return sum == want
}
